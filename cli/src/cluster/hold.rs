//! One command at a time changes what is kept of a cluster: of two that read it and write it back, one would undo what the
//! other did.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::book::told;
use crate::failure::Failure;

/// Who holds it, in the folder.
const FILE: &str = "lock";

/// What this process holds, until it ends: commands call one another.
static HELD: Mutex<Option<File>> = Mutex::new(None);

/// Lets no other process change what is in that folder, until this one ends.
///
/// # Errors
/// Another one does so now, which is named.
pub fn hold(folder: &Path) -> Result<(), Failure> {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if held.is_none() {
        let words: Vec<_> =
            std::env::args().skip(1).take_while(|word| !word.starts_with('-')).take(2).collect();
        *held =
            Some(take(folder, &format!("`evenkeel {}` (process {})", words.join(" "), std::process::id()))?);
    }
    Ok(())
}

fn take(folder: &Path, who: &str) -> Result<File, Failure> {
    let path = folder.join(FILE);
    let failed = |error: std::io::Error| told(&path, error);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
        Err(TryLockError::WouldBlock) => {
            let mut other = String::new();
            file.read_to_string(&mut other).map_err(failed)?;
            return Err(Failure::new(format!(
                "{} changes the cluster of {} in this very moment: wait until it has ended, then do this again",
                other.trim(),
                folder.display()
            )));
        }
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(who.as_bytes()));
    written.map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_was_first_and_a_lock_ends_with_its_holder() {
        let home = tempfile::tempdir().unwrap();
        let first = take(home.path(), "`evenkeel etcd add` (process 7)").unwrap();
        let refused = take(home.path(), "`evenkeel upgrade` (process 8)").unwrap_err().message;
        assert!(refused.starts_with("`evenkeel etcd add` (process 7)"), "{refused}");
        drop(first);
        drop(take(home.path(), "x").unwrap());
        assert_eq!(std::fs::read_to_string(home.path().join(FILE)).unwrap(), "x");
    }
}
