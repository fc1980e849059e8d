//! Where state is kept: a folder of a disk, real or in memory.

use std::any::Any;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::files::Files;

/// What holds files. Their names are relative to the state folder.
pub trait Disk: Send + Sync {
    /// A file's bytes; `None`: there is no such file.
    ///
    /// # Errors
    /// The disk refuses.
    fn read(&self, file: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Put a file in place of what is there, as a whole and to last: whoever reads sees the old bytes or
    /// the new ones, also after a power cut. Its folder is made if it is not there.
    ///
    /// # Errors
    /// The disk refuses; the file is as it was.
    fn replace(&self, file: &Path, bytes: &[u8]) -> Result<(), Refused>;

    /// Write a file where it stands, for readers who have it open or mounted. It may not outlive a power cut.
    ///
    /// # Errors
    /// The disk refuses; the file may be half written.
    fn overwrite(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Remove a file. One that is not there is removed already.
    ///
    /// # Errors
    /// The disk refuses.
    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Lock a file, which is made if it is not there, for as long as what is given lives, and as this
    /// process does; `None`: another process has the lock.
    ///
    /// # Errors
    /// The disk refuses.
    fn lock(&self, file: &Path) -> Result<Option<Held>, Refused>;

    /// Tells one version of a file from the next; `None`: there is no such file.
    fn stamp(&self, file: &Path) -> Option<Stamp>;

    /// Wake-ups from now on. Within a tokio runtime.
    fn watch(&self) -> Box<dyn DiskWatch>;

    /// Whether writing may hold up the thread for long.
    fn is_slow(&self) -> bool;
}

/// A lock, until dropped.
pub type Held = Box<dyn Any + Send + Sync>;

/// One version of a file.
pub type Stamp = (u64, i64, i64, u64);

/// What a disk refused.
#[derive(Debug)]
pub struct Refused {
    /// What was tried.
    pub verb: &'static str,
    /// On which file; relative or as the disk knows it.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Wake-ups: a state file may have been replaced.
#[async_trait]
pub trait DiskWatch: Send + Sync {
    /// Wait for the next one. Says nothing of what changed, may come without a change, and is cancel-safe.
    async fn changed(&mut self);
}

/// Where a host's controllers keep their state; a cheap handle.
#[derive(Clone)]
pub struct StateDir {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    real: bool,
}

impl StateDir {
    /// On a disk that is not a real one. `root`: what its files' names seem to begin with.
    pub fn on(disk: Arc<dyn Disk>, root: &Path) -> Self {
        Self { root: root.to_owned(), disk, real: false }
    }

    /// The same folder, with something put around what holds its files.
    #[must_use]
    pub fn around(self, wrap: impl FnOnce(Arc<dyn Disk>) -> Arc<dyn Disk>) -> Self {
        Self { disk: wrap(self.disk), ..self }
    }

    /// The folder: what names of files in it begin with.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The folder, if there is really one: sockets can be made in it.
    pub fn real_path(&self) -> Option<&Path> {
        self.real.then_some(self.root.as_path())
    }

    /// What holds the files.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}

impl From<PathBuf> for StateDir {
    /// A folder of the machine's own disk.
    fn from(root: PathBuf) -> Self {
        Self { disk: Arc::new(Files::new(&root)), root, real: true }
    }
}

impl From<&Path> for StateDir {
    fn from(root: &Path) -> Self {
        root.to_owned().into()
    }
}

impl fmt::Debug for StateDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateDir({})", self.root.display())
    }
}
