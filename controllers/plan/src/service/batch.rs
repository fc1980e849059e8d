//! What a plan comes to: guarded writes that go together, things to tell, and when to look again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::host::HostSpec;
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{InstanceId, ServiceId};
use evenkeel_api::record::{Accepted, BrakeState, Digest, Endpoints, Instance, Revision, Rollout, Status};
use evenkeel_api::service::ServiceSpec;

use super::lack::Lack;

/// Writes in one batch, at most: the store takes 100, and the writer adds its chain guard and events.
pub const MAX_BATCH: usize = 90;

/// A value for a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// `accepted/services/…`
    Accepted(Box<Accepted<ServiceSpec>>),
    /// `accepted/hosts/…`
    AcceptedHost(Box<Accepted<HostSpec>>),
    /// `revisions/…`
    Revision(Box<Revision>),
    /// `revisions/…/digest`
    Digest(Digest),
    /// `rollouts/…`
    Rollout(Rollout),
    /// `instances/…`
    Instance(Instance),
    /// `endpoints/…`
    Endpoints(Endpoints),
    /// `status/…`
    Status(Status),
    /// `brakes`
    Brakes(BrakeState),
    /// Nothing: the key goes.
    Delete,
}

/// Writes that are done together or not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The revision that each key must still have; 0: it must not exist.
    pub guards: BTreeMap<Key, i64>,
    /// The writes, at most [`MAX_BATCH`].
    pub writes: BTreeMap<Key, Write>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Set `key`, which had `revision` when this was planned; 0: it did not exist.
    pub fn put(&mut self, key: Key, revision: i64, value: Write) {
        self.guards.insert(key.clone(), revision);
        self.writes.insert(key, value);
    }

    /// Remove `key`, which had `revision` when this was planned.
    pub fn delete(&mut self, key: Key, revision: i64) {
        self.put(key, revision, Write::Delete);
    }
}

/// Something that happens with a batch, to be told once it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// To what.
    pub object: ObjectRef,
    /// Which copy, if one.
    pub instance: Option<InstanceId>,
    /// Whether a person should care.
    pub warning: bool,
    /// One word for programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What is to be done for one object now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What to write; may be empty.
    pub batch: Batch,
    /// How the object is, where that differs from what is written. Kept apart, because whoever writes may
    /// put it off; it may ride with the batch.
    pub status: Option<StatusWrite>,
    /// What to tell when the batch is done.
    pub events: Vec<Happening>,
    /// Plan again after this time even if nothing changes.
    pub wake_after: Option<Duration>,
    /// There is more to write at once: plan again when this batch is done.
    pub more: bool,
    /// It waits for room: plan again when hosts, networks or other services' copies change.
    pub wants_room: bool,
    /// It waits for other services: plan again when one of them changes.
    pub waits_for: BTreeSet<ServiceId>,
    /// Copies that no host takes, by what is lacking.
    pub pending: BTreeMap<Lack, u32>,
}

/// A status to write.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusWrite {
    /// Its key.
    pub key: Key,
    /// The revision that it must still have.
    pub revision: i64,
    /// How the object is.
    pub status: Status,
}

impl Plan {
    /// Nothing to do, not even a status.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.status.is_none()
    }

    /// The batch with the status in it.
    pub fn whole(&self) -> Batch {
        let mut batch = self.batch.clone();
        if let Some(status) = &self.status {
            batch.put(status.key.clone(), status.revision, Write::Status(status.status.clone()));
        }
        batch
    }

    /// Wake at the latest after `time`.
    pub(crate) fn wake(&mut self, time: Duration) {
        self.wake_after = Some(self.wake_after.map_or(time, |known| known.min(time)));
    }
}
