//! Making a cluster and bringing hosts in: what `init`, `host add` and `host join` share.

pub mod book;
pub mod deliver;
pub mod images;
pub mod machine;
pub mod person;
pub mod rights;
pub mod signers;
pub mod ssh;
pub mod whose;
pub mod trust;

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use evenkeel_runtime::env::{SystemClock, WallClock};

use crate::failure::Failure;

/// Writes a file as a whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let done = || -> std::io::Result<()> {
        let new = path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
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
