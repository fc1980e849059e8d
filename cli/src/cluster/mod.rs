//! Making a cluster and bringing hosts in: what `init`, `host add` and `host join` share.

pub mod answers;
pub mod book;
pub mod deliver;
pub mod generations;
pub mod hold;
pub mod images;
pub mod machine;
pub mod person;
pub mod rights;
pub mod signers;
pub mod ssh;
pub mod trust;
pub mod whose;

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_runtime::env::{SystemClock, WallClock};

use crate::failure::Failure;

/// Writes a file as a whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let done = || -> std::io::Result<()> {
        // Of the whole name: of a key and its certificate, one must never be taken for the other.
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        // One that was left over has the rights of then.
        if let Err(error) = fs::remove_file(&new)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    done().map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// The time since 1970.
pub fn now() -> Duration {
    Duration::from_millis(SystemClock.now().0.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_nobody_elses_whatever_was_left_over() {
        let home = tempfile::tempdir().unwrap();
        let (path, left) = (home.path().join("a.key"), home.path().join("a.key.new"));
        fs::write(&left, "cut off").unwrap();
        fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, 0o600, "secret").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!left.exists());
    }
}
