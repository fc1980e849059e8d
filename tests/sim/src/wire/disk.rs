//! A host's disk as one life of its controllers sees it.

use std::io;
use std::path::Path;

use evenkeel_runtime::disk::{Disk, DiskWatch, Held, MemoryDisk, Refused, Stamp};

use crate::life::{Life, Point};

/// A disk in memory with points at which the process may be killed.
pub struct LifeDisk {
    disk: MemoryDisk,
    life: Life,
}

impl LifeDisk {
    /// For one life.
    pub fn new(disk: MemoryDisk, life: Life) -> Self {
        Self { disk, life }
    }
}

fn dead() -> io::Error {
    io::Error::other("this process is dead")
}

impl Disk for LifeDisk {
    fn read(&self, file: &Path) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(file)
    }

    fn replace(&self, file: &Path, bytes: &[u8]) -> Result<(), Refused> {
        let refused = || Refused { verb: "write", path: file.to_owned(), source: dead() };
        let what = || format!("saving {}", file.display());
        if !self.life.passes(Point::Before, &what()) {
            return Err(refused());
        }
        self.disk.replace(file, bytes)?;
        if self.life.passes(Point::After, &what()) { Ok(()) } else { Err(refused()) }
    }

    fn overwrite(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.life.is_dead() { Err(dead()) } else { self.disk.overwrite(file, bytes) }
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        if self.life.is_dead() { Err(dead()) } else { self.disk.remove(file) }
    }

    fn lock(&self, file: &Path) -> Result<Option<Held>, Refused> {
        self.disk.lock(file)
    }

    fn stamp(&self, file: &Path) -> Option<Stamp> {
        self.disk.stamp(file)
    }

    fn watch(&self) -> Box<dyn DiskWatch> {
        self.disk.watch()
    }

    fn is_slow(&self) -> bool {
        false
    }
}
