//! The state files of other controllers on this host, to read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use evenkeel_api::key::Controller;
use serde::de::DeserializeOwned;

use super::STATE;
use super::dir::{DiskWatch, Stamp, StateDir};

/// The state of other controllers on this host, to read.
pub struct Siblings {
    dir: StateDir,
    /// Each one's file, and the version of it that was told of last.
    known: BTreeMap<Controller, (PathBuf, Option<Stamp>)>,
    pending: BTreeSet<Controller>,
    /// None until first waited for, which is when there is surely a runtime.
    watch: Option<Box<dyn DiskWatch>>,
}

impl Siblings {
    /// Look into `dir`, which holds a folder for each controller, now or later.
    pub fn new(dir: &StateDir) -> Siblings {
        let file = |controller| (controller, (path(controller), dir.disk().stamp(&path(controller))));
        let known = Controller::ALL.into_iter().map(file).collect();
        Siblings { dir: dir.clone(), known, pending: BTreeSet::new(), watch: None }
    }

    /// What a controller saved last; none if there is nothing readable.
    pub fn read<T: DeserializeOwned>(&self, controller: Controller) -> Option<T> {
        super::load(&self.dir, &path(controller))
    }

    /// The next controller whose state changed since it was told of last, or since [`Siblings::new`].
    /// Cancel-safe.
    pub async fn changed(&mut self) -> Controller {
        loop {
            // Watched before it is looked at: what changes in between is not missed.
            let watch = self.watch.take().unwrap_or_else(|| self.dir.disk().watch());
            let watch = self.watch.insert(watch);
            for (controller, (file, known)) in &mut self.known {
                let now = self.dir.disk().stamp(file);
                if *known != now {
                    *known = now;
                    self.pending.insert(*controller);
                }
            }
            if let Some(controller) = self.pending.pop_first() {
                return controller;
            }
            watch.changed().await;
        }
    }
}

fn path(controller: Controller) -> PathBuf {
    [controller.as_str(), STATE].iter().collect()
}
