//! A file that is written so often that it must not cost the disk anything: in place, and never flushed. It
//! outlives the process, not a power cut. A reader that comes in the middle of a write finds the checksum
//! wrong, and looks again.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use evenkeel_api::key::Controller;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DiskError, StateDir, decode, encode_padded};

/// Lengths are rounded up to this, so that a value which grows by a digit does not move the file's end.
const BLOCK: usize = 256;

/// The writer of one such file. There is one process that writes it: the one that holds the controller's lock.
#[derive(Debug)]
pub struct Scratch<T> {
    dir: StateDir,
    file: PathBuf,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Scratch<T> {
    /// `<dir>/<controller>/<name>.json`.
    pub fn new(dir: &StateDir, controller: Controller, name: &str) -> Self {
        Self { dir: dir.clone(), file: file(controller, name), of: PhantomData }
    }

    /// What was written last; none if there is nothing readable.
    pub fn load(&self) -> Option<T> {
        read(&self.dir, &self.file)
    }

    /// Write.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, value: &T) -> Result<(), DiskError> {
        let bytes = encode_padded(value, BLOCK).map_err(DiskError::Json)?;
        let path = || self.dir.path().join(&self.file);
        let written = self.dir.disk().overwrite(&self.file, &bytes);
        written.map_err(|source| DiskError::Io { verb: "write", path: path(), source })
    }
}

/// Another controller's file `<dir>/<controller>/<name>.json`; none if there is nothing readable, about which
/// nothing is said.
pub fn peek<T: DeserializeOwned>(dir: &StateDir, controller: Controller, name: &str) -> Option<T> {
    read(dir, &file(controller, name))
}

fn file(controller: Controller, name: &str) -> PathBuf {
    [controller.as_str(), &format!("{name}.json")].iter().collect()
}

fn read<T: DeserializeOwned>(dir: &StateDir, file: &Path) -> Option<T> {
    decode(&dir.disk().read(file).ok()??).ok()
}
