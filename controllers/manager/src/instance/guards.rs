//! Exclusive containers: the watchdog is told of each before it is started, and asked whether it may be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_api::key::Controller;
use evenkeel_api::local::{Beat, Guard, Guards};
use evenkeel_api::name::InstanceId;
use evenkeel_api::record::{Fence, Instance};
use evenkeel_plan::instance::container::Container;
use evenkeel_plan::watchdog;
use evenkeel_runtime::disk::{StateDir, StateFile, peek};
use evenkeel_runtime::env::Env;

use super::files::write_in_place;
use crate::watchdog::files::fence;

/// What this controller and the watchdog tell each other.
pub(super) struct Warden {
    file: StateFile<Guards>,
    env: Arc<Env>,
    state_dir: StateDir,
    /// Those of the newest list of all containers, also such as stand in for no slot.
    listed: BTreeMap<String, Guard>,
}

impl Warden {
    pub(super) fn new(file: StateFile<Guards>, env: Arc<Env>, state_dir: &StateDir) -> Self {
        let listed = file.load().unwrap_or_default().guards;
        Self { file, env, state_dir: state_dir.clone(), listed }
    }

    /// All containers of ours that the engine has.
    pub(super) fn listed(&mut self, containers: &[Container]) {
        self.listed = guards(containers.iter());
    }

    /// Names what is to be guarded: before any of it is started, as only then the watchdog speaks of it.
    pub(super) fn keep<'a>(&self, containers: impl Iterator<Item = &'a Container>) {
        let mut all = guards(containers);
        all.extend(self.listed.clone());
        if let Err(error) = self.file.save(&Guards { guards: all }) {
            tracing::error!(%error, "the watchdog cannot be told what to guard: nothing exclusive starts");
        }
    }

    /// Whether a container may be started.
    pub(super) fn cover(&self, record: Option<&Instance>, container: &Container) -> Result<(), String> {
        let Some(guard) = container.guard() else {
            return match record.and_then(|record| record.fence) {
                None => Ok(()),
                Some(_) => Err(format!(
                    "exclusive, and its container was made without a guard; `docker rm {}` gives it another",
                    container.name
                )),
            };
        };
        let beat = peek::<Beat>(&self.state_dir, Controller::Watchdog, "beat");
        let (boot, now) = (self.env.boot(), self.env.boot_time());
        watchdog::cover(beat.as_ref(), boot, now, &container.id, &guard)
    }

    /// The file that tells a container its token, as the host sees it.
    pub(super) fn path(&self, id: &InstanceId) -> PathBuf {
        self.state_dir.path().join(fence(id))
    }

    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written: why, for people.
    pub(super) fn write(&self, id: &InstanceId, held: Option<Fence>) -> Result<(), String> {
        let Some(held) = held else { return Ok(()) };
        write_in_place(&self.state_dir, &fence(id), &format!("{}\n", held.token))
            .map_err(|error| format!("its fence file {} cannot be written: {error}", self.path(id).display()))
    }

    /// Nobody needs it any more.
    pub(super) fn remove(&self, id: &InstanceId) {
        if let Err(error) = self.state_dir.disk().remove(&fence(id)) {
            tracing::debug!(instance = %id, %error, "its fence file stays; it costs nothing");
        }
    }
}

fn guards<'a>(containers: impl Iterator<Item = &'a Container>) -> BTreeMap<String, Guard> {
    containers.filter_map(|container| Some((container.id.clone(), container.guard()?))).collect()
}
