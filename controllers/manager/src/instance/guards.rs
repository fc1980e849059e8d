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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use evenkeel_engine::FakeEngine;
    use evenkeel_plan::instance::container::label;
    use evenkeel_runtime::disk::MemoryDisk;
    use evenkeel_runtime::env::SystemClock;

    use super::*;

    #[tokio::test]
    async fn all_exclusive_containers_of_the_newest_list_are_guarded_also_such_as_stand_in_for_no_slot() {
        let engine = FakeEngine::new();
        for (name, labels) in [
            ("shop.db.1.1", vec![(label::INSTANCE, "shop.db.1.1"), (label::EXCLUSIVE, "5s")]),
            ("renamed", vec![(label::INSTANCE, "shop.db.1.1"), (label::EXCLUSIVE, "5s")]),
            ("shop.web.2.2", vec![(label::INSTANCE, "shop.web.2.2")]),
        ] {
            engine.add_foreign(name, labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
        }
        let all = engine.all();
        let dir = StateDir::on(Arc::new(MemoryDisk::new()), Path::new("/state"));
        let file = StateFile::<Guards>::open(&dir, Controller::Instance).unwrap().beside("guards");
        let mut warden = Warden::new(file, Arc::new(Env::new(SystemClock, 1)), &dir);
        let kept = |warden: &Warden, slots: &[Container]| {
            warden.keep(slots.iter());
            peek::<Guards>(&dir, Controller::Instance, "guards")
                .unwrap()
                .guards
                .into_keys()
                .collect::<Vec<_>>()
        };
        let named = |names: &[&str]| {
            let of = all.iter().filter(|one| names.contains(&one.name.as_str()));
            of.map(|one| one.id.clone()).collect::<Vec<_>>()
        };
        warden.listed(&all);
        assert_eq!(kept(&warden, &[]), named(&["shop.db.1.1", "renamed"]));
        warden.listed(&[]);
        assert_eq!(kept(&warden, &[]), [""; 0]);
        assert_eq!(kept(&warden, &all[..1]), named(&[all[0].name.as_str()]));
    }
}
