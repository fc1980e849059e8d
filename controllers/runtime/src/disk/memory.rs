//! A disk in memory: the twin of the machine's own. It tells of changes in the order in which they happen,
//! and loses at a power cut what was not flushed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::tick::{Tick, Ticks};
use async_trait::async_trait;

use super::dir::{Disk, DiskWatch, Held, Refused, Stamp};

/// A disk in memory, as one life of a process sees it.
#[derive(Clone)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
    life: u64,
}

struct Shared {
    state: Mutex<State>,
    tick: Arc<Tick>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, File>,
    /// Who holds what, by life.
    locks: BTreeMap<PathBuf, u64>,
    life: u64,
    changes: i64,
    full: bool,
}

#[derive(Default)]
struct File {
    now: Option<Vec<u8>>,
    /// What a power cut leaves.
    flushed: Option<Vec<u8>>,
    version: i64,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDisk {
    /// An empty disk, and its first life.
    pub fn new() -> Self {
        let shared = Shared { state: Mutex::default(), tick: Arc::default() };
        Self { shared: Arc::new(shared), life: 0 }
    }

    /// The same disk for the next life: the locks of earlier ones are free, and what they still write is
    /// refused, since they are dead.
    #[must_use]
    pub fn next_life(&self) -> Self {
        let mut state = self.state();
        state.life += 1;
        state.locks.clear();
        Self { shared: self.shared.clone(), life: state.life }
    }

    /// The machine loses its power: what was not flushed is gone.
    pub fn power_cut(&self) {
        for file in self.state().files.values_mut() {
            file.now.clone_from(&file.flushed);
        }
    }

    /// Take no more writes, or take them again.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Rot: a file's bytes become `bytes`.
    pub fn damage(&self, file: &Path, bytes: &[u8]) {
        let mut state = self.state();
        state.change(file, Some(bytes.to_owned()), true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, file: &Path, bytes: Option<Vec<u8>>, flush: bool) -> io::Result<()> {
        {
            let mut state = self.state();
            if state.life != self.life {
                return Err(io::Error::other("this process is dead"));
            }
            if state.full && bytes.is_some() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.change(file, bytes, flush);
        }
        self.shared.tick.tell();
        Ok(())
    }
}

impl State {
    fn change(&mut self, file: &Path, bytes: Option<Vec<u8>>, flush: bool) {
        self.changes += 1;
        let version = self.changes;
        let file = self.files.entry(file.to_owned()).or_default();
        if flush {
            file.flushed.clone_from(&bytes);
        }
        (file.now, file.version) = (bytes, version);
    }
}

impl Disk for MemoryDisk {
    fn read(&self, file: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.state().files.get(file).and_then(|file| file.now.clone()))
    }

    fn replace(&self, file: &Path, bytes: &[u8]) -> Result<(), Refused> {
        let refused = |source| Refused { verb: "write", path: file.to_owned(), source };
        self.write(file, Some(bytes.to_owned()), true).map_err(refused)
    }

    fn overwrite(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write(file, Some(bytes.to_owned()), false)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.write(file, None, false)
    }

    fn lock(&self, file: &Path) -> Result<Option<Held>, Refused> {
        let mut state = self.state();
        if state.life != self.life || state.locks.contains_key(file) {
            return Ok(None);
        }
        state.locks.insert(file.to_owned(), self.life);
        drop(state);
        Ok(Some(Box::new(Lock { disk: self.clone(), file: file.to_owned() })))
    }

    fn stamp(&self, file: &Path) -> Option<Stamp> {
        let state = self.state();
        let file = state.files.get(file).filter(|file| file.now.is_some())?;
        Some((0, file.version, 0, 0))
    }

    fn watch(&self) -> Box<dyn DiskWatch> {
        Box::new(self.shared.tick.listen())
    }

    fn is_slow(&self) -> bool {
        false
    }
}

struct Lock {
    disk: MemoryDisk,
    file: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.locks.get(&self.file) == Some(&self.disk.life) {
            state.locks.remove(&self.file);
        }
    }
}

#[async_trait]
impl DiskWatch for Ticks {
    async fn changed(&mut self) {
        Ticks::changed(self).await;
    }
}
