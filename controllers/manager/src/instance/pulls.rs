//! Pulls: one at a time for an image however many instances want it, and none of them holds up another.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::name::InstanceId;

/// Who waits for which image.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    waiting: BTreeMap<String, BTreeSet<InstanceId>>,
}

impl Pulls {
    /// An instance wants an image; `true`: nobody did before, so the pull is to be made.
    pub(super) fn want(&mut self, reference: &str, id: &InstanceId) -> bool {
        let first = !self.waiting.contains_key(reference);
        self.waiting.entry(reference.to_owned()).or_default().insert(id.clone());
        first
    }

    /// The pull is over: who waited.
    pub(super) fn over(&mut self, reference: &str) -> BTreeSet<InstanceId> {
        self.waiting.remove(reference).unwrap_or_default()
    }
}
