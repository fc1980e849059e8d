//! Ending all processes of a container by its cgroup, without its engine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What was found in a container, and what of it is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Processes that were there.
    pub found: usize,
    /// Processes that are there still: to be ended by the next sweep.
    pub left: usize,
}

/// What ends containers.
pub trait Cgroups: Send + Sync + fmt::Debug {
    /// Whether it could.
    ///
    /// # Errors
    /// Why not.
    fn check(&self) -> Result<(), String>;

    /// Ends all processes of the container with that id of the engine. `search`: also look for cgroups of it
    /// that are not known yet. A container without a process is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    fn end(&self, container: &str, search: bool) -> std::io::Result<Sweep>;
}

/// Engines name a container's cgroup after it: `<id>`, or `docker-<id>.scope` under systemd.
const DEPTH: usize = 12;
/// Rounds in one sweep, where processes are ended one by one: each may have made others meanwhile.
const ROUNDS: usize = 50;
/// Of the trees of version 1, those that every engine puts its containers into.
const TREES: [&str; 4] = ["freezer", "pids", "memory", "devices"];

/// The kernel's cgroups, of version 2 or 1.
#[derive(Debug)]
pub struct LinuxCgroups {
    root: PathBuf,
    known: Mutex<BTreeMap<String, Vec<PathBuf>>>,
}

impl LinuxCgroups {
    /// Mounted at `root`, `/sys/fs/cgroup` where the process sees the host's own.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), known: Mutex::default() }
    }

    /// The trees to look into: the one of version 2, or two of version 1, should one be missing a container.
    fn trees(&self) -> Vec<PathBuf> {
        if self.root.join("cgroup.controllers").exists() {
            return vec![self.root.clone()];
        }
        let trees = TREES.iter().map(|name| self.root.join(name));
        trees.filter(|tree| tree.join("cgroup.procs").exists()).take(2).collect()
    }
}

impl Cgroups for LinuxCgroups {
    fn check(&self) -> Result<(), String> {
        if self.trees().is_empty() {
            return Err(format!(
                "{} is no mount of them; mount the host's /sys/fs/cgroup there, or name another place with --cgroup",
                self.root.display()
            ));
        }
        Ok(())
    }

    fn end(&self, container: &str, search: bool) -> std::io::Result<Sweep> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if search && known.get(container).is_none_or(|paths| paths.iter().all(|path| !path.exists())) {
            let mut found = Vec::new();
            for tree in self.trees() {
                find(&tree, container, DEPTH, &mut found);
            }
            if !found.is_empty() {
                known.insert(container.to_owned(), found);
            }
        }
        let mut all = Sweep::default();
        for path in known.get(container).into_iter().flatten() {
            let Sweep { found, left } = end_group(path)?;
            all = Sweep { found: all.found.max(found), left: all.left.max(left) };
        }
        Ok(all)
    }
}

/// The container's cgroups below `folder`.
fn find(folder: &Path, container: &str, depth: usize, found: &mut Vec<PathBuf>) {
    for sub in folders(folder) {
        if sub.file_name().is_some_and(|name| name.to_string_lossy().contains(container)) {
            found.push(sub);
        } else if depth > 0 {
            find(&sub, container, depth - 1, found);
        }
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    // A folder that went while it was read has nothing in it.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Ends all that is in a cgroup and below it.
fn end_group(group: &Path) -> std::io::Result<Sweep> {
    let at_once = group.join("cgroup.kill");
    let mut sweep = Sweep::default();
    for round in 0..ROUNDS {
        let mut pids = Vec::new();
        processes(group, DEPTH, &mut pids)?;
        sweep.left = pids.len();
        if round == 0 {
            sweep.found = pids.len();
        }
        if pids.is_empty() {
            break;
        }
        if at_once.exists() {
            std::fs::write(&at_once, "1")?;
        } else {
            end_each(&pids)?;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(sweep)
}

fn end_each(pids: &[i32]) -> std::io::Result<()> {
    for pid in pids {
        // The kernel takes these for groups of processes, or for all that there are.
        if *pid <= 0 {
            return Err(std::io::Error::other(
                "its processes are not seen from here: the watchdog must run in the host's PID namespace (--pid host)",
            ));
        }
        match kill(Pid::from_raw(*pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn processes(group: &Path, depth: usize, pids: &mut Vec<i32>) -> std::io::Result<()> {
    if is_there(std::fs::read_to_string(group.join("cgroup.procs")), pids)? && depth > 0 {
        for sub in folders(group) {
            processes(&sub, depth - 1, pids)?;
        }
    }
    Ok(())
}

/// Takes the processes from a list of them as it was read; whether its group is there, with others below it.
fn is_there(read: std::io::Result<String>, pids: &mut Vec<i32>) -> std::io::Result<bool> {
    let error = match read {
        Ok(text) => {
            pids.extend(text.lines().filter_map(|line| line.trim().parse::<i32>().ok()));
            return Ok(true);
        }
        Err(error) => error,
    };
    match error.raw_os_error() {
        // It went, and its processes before it. `ENODEV`: just now.
        Some(nix::libc::ENOENT | nix::libc::ENODEV) => Ok(false),
        // A threaded group of version 2: its processes are listed above it.
        Some(nix::libc::EOPNOTSUPP) => Ok(true),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// No machine counts processes so far.
    const NOBODY: &str = "2000000001\n2000000002\n";

    fn group(path: PathBuf, processes: &str) -> PathBuf {
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("cgroup.procs"), processes).unwrap();
        path
    }

    #[test]
    fn a_container_is_found_by_either_name_and_a_tree_without_it_is_calm() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let id = "0123456789abcdef";
        assert!(LinuxCgroups::new(root).check().is_err());
        std::fs::write(root.join("cgroup.controllers"), "").unwrap();
        let cgroups = LinuxCgroups::new(root);
        cgroups.check().unwrap();
        assert_eq!(cgroups.end(id, true).unwrap(), Sweep::default());
        let first = group(root.join(format!("system.slice/docker-{id}.scope")), NOBODY);
        std::fs::write(first.join("cgroup.kill"), "").unwrap();
        assert_eq!(cgroups.end(id, false).unwrap(), Sweep::default(), "not known yet");
        let sweep = cgroups.end(id, true).unwrap();
        assert_eq!(sweep, Sweep { found: 2, left: 2 });
        assert_eq!(std::fs::read_to_string(first.join("cgroup.kill")).unwrap(), "1");
        std::fs::remove_dir_all(&first).unwrap();
        assert_eq!(cgroups.end(id, false).unwrap(), Sweep::default());
        // Anew, elsewhere.
        let second = group(root.join(format!("docker/{id}")), NOBODY);
        std::fs::write(second.join("cgroup.kill"), "").unwrap();
        assert_eq!(cgroups.end(id, false).unwrap(), Sweep::default(), "only a search finds it");
        assert_eq!(cgroups.end(id, true).unwrap().found, 2);
    }

    #[test]
    fn what_was_found_is_counted_before_it_is_ended_and_what_is_left_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let group = group(folder.path().to_owned(), NOBODY);
        // To end them is to overwrite the list of them: one is listed from then on.
        std::os::unix::fs::symlink(group.join("cgroup.procs"), group.join("cgroup.kill")).unwrap();
        assert_eq!(end_group(&group).unwrap(), Sweep { found: 2, left: 1 });
    }

    #[test]
    fn where_a_group_cannot_be_ended_at_once_each_of_its_processes_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        let group = group(folder.path().to_owned(), &format!("{NOBODY}{}\n", child.id()));
        assert_eq!(end_group(&group).unwrap().found, 3);
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
        // The kernel lists what is in another namespace as 0.
        std::fs::write(group.join("cgroup.procs"), "0\n").unwrap();
        let error = end_group(&group).unwrap_err().to_string();
        assert!(error.contains("--pid host"), "{error}");
    }

    #[test]
    fn a_list_that_is_gone_is_empty_and_one_that_cannot_be_read_is_an_error() {
        use nix::libc::{EACCES, EINTR, EIO, EISDIR, ENODEV, ENOENT, EOPNOTSUPP};
        let list = |read| {
            let mut pids = Vec::new();
            is_there(read, &mut pids).map(|there| (there, pids))
        };
        let read = |errno| list(Err(std::io::Error::from_raw_os_error(errno)));
        assert_eq!(list(Ok("7\n\n 8 \nnone\n".to_owned())).unwrap(), (true, vec![7, 8]));
        for gone in [ENOENT, ENODEV] {
            assert_eq!(read(gone).unwrap(), (false, Vec::new()), "{gone}");
        }
        assert_eq!(read(EOPNOTSUPP).unwrap(), (true, Vec::new()), "those below it are listed");
        for refused in [EACCES, EINTR, EIO, EISDIR] {
            assert_eq!(read(refused).unwrap_err().raw_os_error(), Some(refused));
        }
    }

    #[test]
    fn trees_are_looked_into_to_a_depth_that_no_engine_reaches() {
        let folder = tempfile::tempdir().unwrap();
        let mut deepest = group(folder.path().to_owned(), "1\n");
        for level in 1..=DEPTH + 2 {
            deepest = group(deepest.join(format!("level{level}")), "1\n");
        }
        let mut pids = Vec::new();
        processes(folder.path(), DEPTH, &mut pids).unwrap();
        assert_eq!(pids.len(), DEPTH + 1, "its own, and those of so many levels");
        for (level, expected) in [(DEPTH + 1, 1), (DEPTH + 2, 0)] {
            let mut found = Vec::new();
            find(folder.path(), &format!("level{level}"), DEPTH, &mut found);
            assert_eq!(found.len(), expected, "on level {level}");
        }
    }
}
