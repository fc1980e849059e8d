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
        if *pid == 0 {
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
    match std::fs::read_to_string(group.join("cgroup.procs")) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.trim().parse::<i32>().ok())),
        // It went, and its processes before it. `ENODEV`: just now.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => return Ok(()),
        // A threaded group of version 2: its processes are listed above it.
        Err(error) if error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    if depth > 0 {
        for sub in folders(group) {
            processes(&sub, depth - 1, pids)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let group = root.join(format!("system.slice/docker-{id}.scope"));
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join("cgroup.kill"), "").unwrap();
        std::fs::write(group.join("cgroup.procs"), "7\n8\n").unwrap();
        assert_eq!(cgroups.end(id, false).unwrap(), Sweep::default(), "not known yet");
        let sweep = cgroups.end(id, true).unwrap();
        assert_eq!(sweep, Sweep { found: 2, left: 2 });
        assert_eq!(std::fs::read_to_string(group.join("cgroup.kill")).unwrap(), "1");
        std::fs::remove_dir_all(&group).unwrap();
        assert_eq!(cgroups.end(id, false).unwrap(), Sweep::default());
        // Anew, elsewhere.
        let group = root.join(format!("docker/{id}"));
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join("cgroup.procs"), "").unwrap();
        assert_eq!(cgroups.end(id, true).unwrap(), Sweep::default());
    }
}
