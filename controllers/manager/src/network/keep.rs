//! What the network controller keeps on disk.

use std::path::{Path, PathBuf};

use evenkeel_api::key::Controller;
use evenkeel_api::local::LocalNetworks;
use evenkeel_plan::network::host::Inputs;
use evenkeel_runtime::disk::{DiskError, StateDir, StateFile};
use evenkeel_runtime::writer::LastWrite;
use serde::{Deserialize, Serialize};

/// `network/state.json`. Siblings read the local networks and nothing else of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// What stands here.
    #[serde(flatten)]
    pub local: LocalNetworks,
    /// What the store said last: enough to go on without it.
    #[serde(default)]
    pub inputs: Inputs,
}

/// Our files.
pub(super) struct Keep {
    file: StateFile<State>,
    dir: StateDir,
    booted: Option<String>,
}

impl Keep {
    pub fn open(state_dir: &StateDir) -> Result<Self, DiskError> {
        let file = StateFile::open(state_dir, Controller::Network)?;
        let booted = state_dir.disk().read(&boot()).ok().flatten();
        let booted = booted.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(Self { file, dir: state_dir.clone(), booted })
    }

    pub fn last_write(&self) -> StateFile<LastWrite> {
        self.file.beside("writer")
    }

    pub fn load(&self) -> State {
        self.file.load().unwrap_or_default()
    }

    /// Failures are logged: a full disk must not stop the network from being kept.
    pub fn save(&self, state: &State) {
        if let Err(error) = self.file.save(state) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the networks' state is not on disk");
        }
    }

    /// What the host loads before its engine at the next boot.
    pub fn save_boot(&mut self, text: &str) {
        if self.booted.as_deref().unwrap_or_default() == text {
            return;
        }
        // The boot reads the old text or the new one.
        match self.dir.disk().replace(&boot(), text.as_bytes()).map_err(DiskError::from) {
            Ok(()) => self.booted = Some(text.to_owned()),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the rules for the next boot are not on disk"
                );
            }
        }
    }
}

fn boot() -> PathBuf {
    Path::new(Controller::Network.as_str()).join("boot.nft")
}
