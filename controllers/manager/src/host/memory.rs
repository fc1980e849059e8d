//! What the host controller remembers on disk.

use std::sync::{Mutex, MutexGuard, PoisonError};

use evenkeel_api::key::Controller;
use evenkeel_plan::host::join::Joined;
use evenkeel_plan::host::register;
use evenkeel_runtime::disk::{DiskError, StateDir, StateFile};
use evenkeel_runtime::writer::LastWrite;
use serde::{Deserialize, Serialize};

/// `host/state.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The lease and what is registered under it.
    #[serde(default)]
    pub registration: register::Memory,
    /// The cluster that the host belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Joined>,
}

/// The state in memory, and its file.
pub(super) struct Memory {
    file: StateFile<State>,
    state: Mutex<State>,
}

impl Memory {
    /// Take up what was saved last.
    pub fn open(state_dir: &StateDir) -> Result<Self, DiskError> {
        let file: StateFile<State> = StateFile::open(state_dir, Controller::Host)?;
        let state = Mutex::new(file.load().unwrap_or_default());
        Ok(Self { file, state })
    }

    /// Where the writer keeps its last write.
    pub fn last_write(&self) -> StateFile<LastWrite> {
        self.file.beside("writer")
    }

    /// The state as it is.
    pub fn get(&self) -> State {
        self.lock().clone()
    }

    /// Change the state, here and on disk. Here it is changed also if the disk refuses: a full disk must
    /// not cost the host its lease, it costs at most a new registration after a restart.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        if let Err(error) = self.file.save(&state) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the host's state is not on disk");
        }
    }

    /// What the disk refused is tried again: the watchdog reads the lease there. Nothing is written where
    /// nothing differs.
    pub fn keep(&self) {
        if let Err(error) = self.file.save(&self.lock()) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the host's state is still not on disk"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
