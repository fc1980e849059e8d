//! State on disk: each controller's own file, and a look at those of its siblings on the host.
//!
//! A state file is one line of header (format and checksum) and then the value as JSON. It is replaced as a
//! whole (written beside, flushed, renamed), so a reader sees the old one or the new one. What cannot be
//! read is as good as absent: everything in it can be learnt anew.

mod dir;
mod files;
mod memory;
mod scratch;
mod siblings;

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_api::key::Controller;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use dir::{Disk, DiskWatch, Held, Refused, Stamp, StateDir};
pub use memory::MemoryDisk;
pub use scratch::{Scratch, peek};
pub use siblings::Siblings;

/// Changes with every change of the file's form that an older reader would misread.
const FORMAT: u32 = 1;
const STATE: &str = "state.json";

/// Why state could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has the lock.
    #[error("another process already runs the {0} controller: {1} is locked")]
    Locked(Controller, PathBuf),
    /// The disk refused.
    #[error("cannot {verb} {path}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The value cannot be written as JSON.
    #[error("cannot write the state as JSON")]
    Json(#[source] serde_json::Error),
}

impl From<Refused> for DiskError {
    fn from(refused: Refused) -> Self {
        DiskError::Io { verb: refused.verb, path: refused.path, source: refused.source }
    }
}

/// A controller's own state on disk. Holds the controller's lock as long as it, or a file beside it, lives.
pub struct StateFile<T> {
    dir: StateDir,
    /// Relative to the folder.
    path: PathBuf,
    lock: Arc<Held>,
    saved: Mutex<Option<Vec<u8>>>,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> StateFile<T> {
    /// Open `<dir>/<controller>/state.json` and take the lock beside it; the folder is made if it is
    /// not there. The lock ends with the process, however that ends.
    ///
    /// # Errors
    /// Another process holds the lock, or the disk refuses.
    pub fn open(dir: &StateDir, controller: Controller) -> Result<Self, DiskError> {
        let folder = Path::new(controller.as_str());
        let path = folder.join("lock");
        match dir.disk().lock(&path)? {
            Some(lock) => Ok(Self::at(dir.clone(), folder.join(STATE), Arc::new(lock))),
            None => Err(DiskError::Locked(controller, dir.path().join(path))),
        }
    }

    fn at(dir: StateDir, path: PathBuf, lock: Arc<Held>) -> Self {
        // The last life's value counts as saved: a restart that changes nothing writes nothing.
        let saved = dir.disk().read(&path).ok().flatten();
        Self { dir, path, lock, saved: Mutex::new(saved), of: PhantomData }
    }

    /// Another file of the same controller, `<name>.json`, under the same lock; siblings do not read it.
    pub fn beside<U: Serialize + DeserializeOwned>(&self, name: &str) -> StateFile<U> {
        let path = self.path.with_file_name(format!("{name}.json"));
        StateFile::at(self.dir.clone(), path, self.lock.clone())
    }

    /// What was saved last; none if there is nothing readable, which is logged.
    pub fn load(&self) -> Option<T> {
        load(&self.dir, &self.path)
    }

    /// Save, if it differs from what was saved last. Blocks until it is on the disk.
    ///
    /// # Errors
    /// The disk refuses; the file is as it was.
    pub fn save(&self, value: &T) -> Result<(), DiskError> {
        let bytes = encode(value).map_err(DiskError::Json)?;
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if saved.as_ref() == Some(&bytes) {
            return Ok(());
        }
        self.dir.disk().replace(&self.path, &bytes)?;
        *saved = Some(bytes);
        Ok(())
    }

    /// The same, off this thread where the disk may be slow.
    ///
    /// # Errors
    /// As [`StateFile::save`].
    pub async fn save_aside(self: &Arc<Self>, value: Arc<T>) -> Result<(), DiskError>
    where
        T: Send + Sync + 'static,
    {
        if !self.dir.disk().is_slow() {
            return self.save(&value);
        }
        let file = self.clone();
        let saved = tokio::task::spawn_blocking(move || file.save(&value)).await;
        saved.unwrap_or_else(|gone| {
            let source = std::io::Error::other(gone);
            Err(DiskError::Io { verb: "write", path: self.path.clone(), source })
        })
    }
}

#[derive(Serialize, Deserialize)]
struct FileHeader {
    format: u32,
    checksum: String,
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    encode_padded(value, 1)
}

/// The value is followed by spaces up to a multiple of `block` bytes.
fn encode_padded<T: Serialize>(value: &T, block: usize) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = serde_json::to_vec(value)?;
    body.resize(body.len().next_multiple_of(block), b' ');
    let mut bytes = serde_json::to_vec(&FileHeader { format: FORMAT, checksum: checksum(&body) })?;
    bytes.push(b'\n');
    bytes.extend(body);
    bytes.push(b'\n');
    Ok(bytes)
}

/// Why a state file counts as absent.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("it cannot be read: {0}")]
    Io(std::io::Error),
    #[error("its header is broken")]
    Header,
    #[error("it is of format {0}, and this program reads {FORMAT}")]
    Format(u32),
    #[error("its checksum does not hold")]
    Checksum,
    #[error("its value is not understood: {0}")]
    Value(serde_json::Error),
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Unreadable::Header)?;
    let header: FileHeader = serde_json::from_slice(&bytes[..end]).map_err(|_| Unreadable::Header)?;
    if header.format != FORMAT {
        return Err(Unreadable::Format(header.format));
    }
    let body = bytes[end + 1..].strip_suffix(b"\n").ok_or(Unreadable::Checksum)?;
    if checksum(body) != header.checksum {
        return Err(Unreadable::Checksum);
    }
    serde_json::from_slice(body).map_err(Unreadable::Value)
}

fn load<T: DeserializeOwned>(dir: &StateDir, path: &Path) -> Option<T> {
    let bytes = match dir.disk().read(path) {
        Ok(bytes) => Ok(bytes?),
        Err(error) => Err(Unreadable::Io(error)),
    };
    bytes
        .and_then(|bytes| decode(&bytes))
        .inspect_err(|why| {
            let path = dir.path().join(path);
            tracing::warn!(path = %path.display(), %why, "a state file counts as absent");
        })
        .ok()
}

/// FNV-1a: finds torn and rotten files; nobody is meant to be kept out by it.
fn checksum(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests;
