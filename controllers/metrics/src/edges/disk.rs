//! The disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use evenkeel_runtime::disk::{Disk, DiskWatch, Held, Refused, Stamp};

use crate::meter::Meter;

/// A disk that counts what it does not take.
pub struct MeteredDisk {
    disk: Arc<dyn Disk>,
    meter: Meter,
}

impl MeteredDisk {
    /// Around a disk.
    pub fn new(disk: Arc<dyn Disk>, meter: Meter) -> Self {
        Self { disk, meter }
    }

    fn told<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.meter.figures.disk_errors.get_or_create(&[self.meter.of()]).inc();
        }
        result
    }
}

impl Disk for MeteredDisk {
    fn read(&self, file: &Path) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(file)
    }

    fn replace(&self, file: &Path, bytes: &[u8]) -> Result<(), Refused> {
        self.told(self.disk.replace(file, bytes))
    }

    fn overwrite(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.told(self.disk.overwrite(file, bytes))
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.disk.remove(file)
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
        self.disk.is_slow()
    }
}
