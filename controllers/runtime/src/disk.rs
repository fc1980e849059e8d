//! State on disk.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use evenkeel_api::key::Controller;
use serde::Serialize;
use serde::de::DeserializeOwned;

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

/// A controller's own state on disk.
pub struct StateFile<T> {
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> StateFile<T> {
    /// Open `<state_dir>/<controller>/state.json` and take its lock.
    ///
    /// # Errors
    /// Another process holds the lock, or the disk refuses.
    pub fn open(_state_dir: &Path, _controller: Controller) -> Result<Self, DiskError> {
        Ok(Self { of: PhantomData })
    }
    /// What was saved last; none if there is nothing readable.
    pub fn load(&self) -> Option<T> {
        None
    }
    /// Save, if it differs from what was saved last.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn save(&self, _value: &T) -> Result<(), DiskError> {
        Ok(())
    }
}

/// The state of other controllers on this host, to read.
pub struct Siblings {}

impl Siblings {
    /// Look into `state_dir`.
    pub fn new(_state_dir: &Path) -> Siblings {
        Siblings {}
    }
    /// What a controller saved last.
    pub fn read<T: DeserializeOwned>(&self, _controller: Controller) -> Option<T> {
        None
    }
    /// The next controller whose state changed. Cancel-safe.
    pub async fn changed(&mut self) -> Controller {
        std::future::pending().await
    }
}
