//! The folder in which `evenkeel dev` keeps its data. It takes away what it made, and nothing else.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Says that a folder is one of ours: what has another name than [`MADE`] may be anyone's.
const MARK: &str = ".evenkeel-dev";
/// What is made in it.
const MADE: [&str; 5] = ["etcd", "state", "etcd.log", "controllers.log", "config.yaml"];
/// What a person may have put there before the first start: the host's policy.
pub const POLICY: &str = "policy.yaml";

/// See the module.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_new: bool,
}

impl Folder {
    /// Makes it, or takes one that an earlier `evenkeel dev` has left.
    ///
    /// # Errors
    /// Somebody else has things there, or it cannot be made.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let told = |error| told(path, &error);
        fs::create_dir_all(path).map_err(told)?;
        let mark = path.join(MARK);
        let is_new = !mark.exists();
        if is_new {
            let others: Vec<_> = names(path)?.into_iter().filter(|name| name != POLICY).collect();
            if !others.is_empty() {
                return Err(Failure::new(format!(
                    "{} holds {}, and nothing says that `evenkeel dev` made it: name an empty folder, or one that is \
                     not there, with --data",
                    path.display(),
                    listed(&others)
                )));
            }
            fs::write(mark, "evenkeel dev keeps its data here, and takes them away\n").map_err(told)?;
        }
        Ok(Self { path: path.to_owned(), is_new })
    }

    /// Where something in it is.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Whether nothing was there that an earlier `evenkeel dev` had left.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Takes away what was made there; what is left, in words, if anything is.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn take_away(self) -> Result<Option<String>, Failure> {
        let Self { path, .. } = self;
        // The mark last: what ends in between is ours still.
        for name in MADE.into_iter().chain([MARK]) {
            let made = path.join(name);
            let is_folder = fs::symlink_metadata(&made).is_ok_and(|found| found.is_dir());
            let gone = if is_folder { fs::remove_dir_all(&made) } else { fs::remove_file(&made) };
            match gone {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(told(&made, &error)),
                _ => {}
            }
        }
        let left = names(&path)?;
        if left.is_empty() {
            // A link that leads to it, or a mount, stays.
            let _stays = fs::remove_dir(&path);
            return Ok(None);
        }
        Ok(Some(format!("{} in {}", listed(&left), path.display())))
    }
}

fn names(folder: &Path) -> Result<Vec<OsString>, Failure> {
    let entries = fs::read_dir(folder).map_err(|error| told(folder, &error))?;
    let mut names: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    names.sort();
    Ok(names)
}

/// Some of the names, as there may be many.
fn listed(names: &[OsString]) -> String {
    const SHOWN: usize = 3;
    let some: Vec<_> = names.iter().take(SHOWN).map(|name| name.to_string_lossy()).collect();
    let more = names.len().saturating_sub(SHOWN);
    format!("{}{}", some.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })
}

fn told(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a run leaves it.
    fn used(path: &Path) -> Folder {
        let folder = Folder::open(path).unwrap();
        for name in ["etcd/member", "state/host"] {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("data"), "x").unwrap();
        }
        for name in ["etcd.log", "controllers.log", "config.yaml"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        folder
    }

    #[test]
    fn what_was_made_is_gone_and_the_folder_with_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/dev");
        assert_eq!(used(&path).take_away().unwrap(), None);
        assert!(!path.exists() && home.path().join("a").exists());
        // One that has made nothing yet.
        let folder = Folder::open(&path).unwrap();
        assert!(folder.is_new() && !Folder::open(&path).unwrap().is_new());
        assert_eq!(folder.take_away().unwrap(), None);
    }

    #[test]
    fn a_strangers_file_stays() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("thesis"), "x").unwrap();
        let path = home.path().join("dev");
        let folder = used(&path);
        fs::write(path.join("notes"), "mine").unwrap();
        // A link in the place of a folder of ours leads elsewhere, and ends alone.
        fs::remove_dir_all(path.join("state")).unwrap();
        std::os::unix::fs::symlink(&outside, path.join("state")).unwrap();
        assert!(folder.take_away().unwrap().unwrap().contains("notes"));
        assert_eq!(names(&path).unwrap(), ["notes"]);
        assert!(outside.join("thesis").exists());
    }

    #[test]
    fn a_folder_with_other_things_is_refused_and_left_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("data");
        fs::create_dir_all(path.join("etcd")).unwrap();
        fs::write(path.join("etcd/db"), "another cluster's").unwrap();
        let refused = Folder::open(&path).unwrap_err().message;
        assert!(refused.contains("holds etcd") && refused.contains("--data"), "{refused}");
        assert_eq!(names(&path).unwrap(), ["etcd"]);
        // A policy may wait for the first start; what an earlier one kept is gone on with.
        let path = home.path().join("dev");
        fs::create_dir(&path).unwrap();
        fs::write(path.join(POLICY), "{}").unwrap();
        drop(used(&path));
        let left = Folder::open(&path).unwrap().take_away().unwrap();
        assert!(left.is_some_and(|left| left.contains(POLICY)) && path.join(POLICY).exists());
    }
}
