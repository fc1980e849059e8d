//! A folder for what is not whole yet. One that was left behind, by a command that was killed, goes with the next one
//! that works in the same place.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::place::OWNED;

/// How its name begins; the process and a number follow.
const NAME: &str = ".evenkeel-cp.";

/// A folder into which nobody else looks. It goes with all that is left in it.
pub struct Aside {
    path: PathBuf,
    /// Locked: it is in use, for as long as this process lives. None where nothing can be locked.
    _held: Option<File>,
}

/// What comes of holding a folder.
enum Hold {
    Held(File),
    /// Nothing can be locked there.
    Unlocked,
    /// Another process holds it, or it is gone.
    Lost,
}

impl Aside {
    /// One within `folder`, so that what is in it can be moved to its place at once.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn within(folder: &Path) -> io::Result<Self> {
        remove_left_behind(folder);
        for n in 0..100 {
            let path = folder.join(format!("{NAME}{}.{n}", std::process::id()));
            let said =
                |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            match DirBuilder::new().mode(OWNED).create(&path) {
                Ok(()) => match hold(&path) {
                    Hold::Held(held) => return Ok(Self { path, _held: Some(held) }),
                    Hold::Unlocked => return Ok(Self { path, _held: None }),
                    // Another command has taken it for one that was left behind, and removes it.
                    Hold::Lost => {}
                },
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(said(error)),
            }
        }
        Err(io::Error::other("no folder for what arrives can be made"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes those that no process holds any more. Where that cannot be told, as on some network disks, they stay.
fn remove_left_behind(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_ours(&entry.file_name())) {
        let path = entry.path();
        let own = fs::symlink_metadata(&path)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == nix::unistd::geteuid().as_raw());
        if own && let Hold::Held(_held) = hold(&path) {
            remove(&path);
        }
    }
}

fn is_ours(name: &OsStr) -> bool {
    let numbers = name.to_str().and_then(|name| name.strip_prefix(NAME)?.split_once('.'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(process, n)| is_number(process) && is_number(n))
}

/// Holds a folder, if nobody else does and it is there still.
fn hold(path: &Path) -> Hold {
    let Ok(held) = File::open(path) else { return Hold::Lost };
    match held.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Hold::Lost,
        Err(TryLockError::Error(_)) => return Hold::Unlocked,
    }
    let place = |meta: Metadata| (meta.dev(), meta.ino());
    match (held.metadata().map(place), fs::symlink_metadata(path).map(place)) {
        (Ok(own), Ok(there)) if own == there => Hold::Held(held),
        _ => Hold::Lost,
    }
}

fn remove(folder: &Path) {
    open_up(folder);
    let _left = fs::remove_dir_all(folder);
}

/// Makes folders such that what is in them can be removed, whatever modes they came with.
fn open_up(top: &Path) {
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        let _not_ours = fs::set_permissions(&folder, Permissions::from_mode(OWNED));
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|is| is.is_dir()));
        folders.extend(below.map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_command_left_goes_and_what_is_in_use_or_is_not_ours_stays() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at(".evenkeel-cp.1.0/top/closed")).unwrap();
        fs::set_permissions(at(".evenkeel-cp.1.0/top/closed"), Permissions::from_mode(0o000)).unwrap();
        let others = [".evenkeel-cp.notes", ".evenkeel-cp.1.x", ".evenkeel-cp.1.", "x.evenkeel-cp.1.0"];
        for other in others {
            fs::create_dir(at(other)).unwrap();
        }
        std::os::unix::fs::symlink(home.path(), at(".evenkeel-cp.2.0")).unwrap();
        let first = Aside::within(home.path()).unwrap();
        fs::write(first.path().join("half"), "half").unwrap();
        let second = Aside::within(home.path()).unwrap();
        assert!(first.path() != second.path() && first.path().join("half").exists());
        assert!(!at(".evenkeel-cp.1.0").exists() && at(".evenkeel-cp.2.0").is_symlink());
        assert!(others.iter().all(|other| at(other).is_dir()));
        drop((first, second));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), others.len() + 1);
    }
}
