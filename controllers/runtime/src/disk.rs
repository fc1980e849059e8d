//! State on disk: each controller's own file, and a look at those of its siblings on the host.
//!
//! A state file is one line of header (format and checksum) and then the value as JSON. It is replaced as a
//! whole (written beside, flushed, renamed), so a reader sees the old one or the new one. What cannot be
//! read is as good as absent: everything in it can be learnt anew.

mod siblings;

use std::fs::File;
use std::io::Write;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_api::key::Controller;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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

fn io<T>(verb: &'static str, path: &Path, result: std::io::Result<T>) -> Result<T, DiskError> {
    result.map_err(|source| DiskError::Io { verb, path: path.to_owned(), source })
}

/// A controller's own state on disk. Holds the controller's lock as long as it, or a file beside it, lives.
pub struct StateFile<T> {
    path: PathBuf,
    lock: Arc<Flock<File>>,
    saved: Mutex<Option<Vec<u8>>>,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> StateFile<T> {
    /// Open `<state_dir>/<controller>/state.json` and take the lock beside it; the folder is made if it is
    /// not there. The lock ends with the process, however that ends.
    ///
    /// # Errors
    /// Another process holds the lock, or the disk refuses.
    pub fn open(state_dir: &Path, controller: Controller) -> Result<Self, DiskError> {
        let folder = state_dir.join(controller.as_str());
        io("create", &folder, std::fs::create_dir_all(&folder))?;
        let path = folder.join("lock");
        let options = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = match Flock::lock(io("open", &path, options)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => return Err(DiskError::Locked(controller, path)),
            Err((_, errno)) => return io("lock", &path, Err(errno.into())),
        };
        Ok(Self::at(folder.join(STATE), Arc::new(lock)))
    }

    fn at(path: PathBuf, lock: Arc<Flock<File>>) -> Self {
        // The last life's value counts as saved: a restart that changes nothing writes nothing.
        let saved = std::fs::read(&path).ok();
        Self { path, lock, saved: Mutex::new(saved), of: PhantomData }
    }

    /// Another file of the same controller, `<name>.json`, under the same lock; siblings do not read it.
    pub fn beside<U: Serialize + DeserializeOwned>(&self, name: &str) -> StateFile<U> {
        StateFile::at(self.path.with_file_name(format!("{name}.json")), self.lock.clone())
    }

    /// What was saved last; none if there is nothing readable, which is logged.
    pub fn load(&self) -> Option<T> {
        load(&self.path)
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
        let tmp = self.path.with_extension("tmp");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&tmp)?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        io("write", &tmp, write())?;
        io("replace", &self.path, std::fs::rename(&tmp, &self.path))?;
        *saved = Some(bytes);
        // The rename itself must outlive a power cut, too.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        io("flush", folder, File::open(folder).and_then(|folder| folder.sync_all()))
    }
}

#[derive(Serialize, Deserialize)]
struct FileHeader {
    format: u32,
    checksum: String,
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::to_vec(value)?;
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

fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let read = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        other => other.map_err(Unreadable::Io),
    };
    read.and_then(|bytes| decode(&bytes))
        .inspect_err(|why| tracing::warn!(path = %path.display(), %why, "a state file counts as absent"))
        .ok()
}

/// FNV-1a: finds torn and rotten files; nobody is meant to be kept out by it.
fn checksum(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests;
