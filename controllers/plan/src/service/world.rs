//! The cluster as the service planner sees it: typed, and kept up to date key by key by whoever watches the
//! store. Nothing here is a decision.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::healthcheck::HealthCheckSpec;
use evenkeel_api::host::{Availability, HostSpec};
use evenkeel_api::key::Key;
use evenkeel_api::meta::Metadata;
use evenkeel_api::name::{HostName, InstanceId, NetworkName, ObjectName, ServiceId};
use evenkeel_api::network::{Cidr, NetworkSpec};
use evenkeel_api::record::{
    Accepted, Alive, Brake, BrakeState, Confirmed, Digest, Endpoints, Facts, Health, Instance, Observed, Pin,
    Revision, Rollout, Status, Timestamp,
};
use evenkeel_api::service::{ServiceSpec, Template};

/// A value with the revisions that guard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// The revision of its last change.
    pub mod_revision: i64,
    /// The revision of its creation.
    pub create_revision: i64,
}

/// A document as it was read, good or bad.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<S> {
    /// The revision of its last change.
    pub mod_revision: i64,
    /// The revision of its creation.
    pub create_revision: i64,
    /// What it says, or why it is refused, in one line for people.
    pub parsed: Result<Parsed<S>, String>,
}

/// What a valid document says.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<S> {
    /// Its metadata, with name and namespace filled in from the key.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: S,
}

/// Everything that plans are made from.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// All hosts that anything is known of.
    pub hosts: BTreeMap<HostName, Host>,
    /// The accepted networks.
    pub networks: BTreeMap<NetworkName, Network>,
    /// All services that anything is known of.
    pub services: BTreeMap<ServiceId, Service>,
    /// Hosts that a person declared dead.
    pub brake: Option<At<Brake>>,
    /// What this controller says of its brakes.
    pub brakes: Option<At<BrakeState>>,
    /// The last mass deletion that a person meant.
    pub confirmed: Option<At<Confirmed>>,
    /// Numbers at or below this may have been used in a past that the store does not know.
    pub floor: i64,
    /// Why no exclusive copy may be started in this cluster, if so.
    pub no_exclusive: Option<String>,
    /// The time of day, for what people read.
    pub wall: Timestamp,
}

/// A host.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Its document.
    pub document: Option<Document<HostSpec>>,
    /// The revision at which its document was deleted, if that was seen.
    pub deleted: Option<i64>,
    /// The newest valid one.
    pub accepted: Option<At<Accepted<HostSpec>>>,
    /// How it is said to be.
    pub status: Option<At<Status>>,
    /// What the machine is.
    pub facts: Option<Facts>,
    /// Present while the host is.
    pub alive: Option<Alive>,
    /// Its part of each network.
    pub subnets: BTreeMap<NetworkName, Cidr>,
    /// The networks that it reports to stand.
    pub ready: BTreeSet<NetworkName>,
}

impl Host {
    /// Whether it takes new copies, as far as people say.
    pub fn availability(&self) -> Option<Availability> {
        let accepted = self.accepted.as_ref().filter(|accepted| !accepted.value.deleting)?;
        Some(accepted.value.spec.availability())
    }

    /// Whether nothing is known of it any more but what may lie about.
    pub fn is_removed(&self) -> bool {
        self.document.is_none() && self.accepted.as_ref().is_none_or(|accepted| accepted.value.deleting)
    }

    /// A label of its document.
    pub fn label(&self, key: &str) -> Option<&str> {
        let accepted = self.accepted.as_ref()?;
        accepted.value.metadata.labels.get(key).map(String::as_str)
    }
}

/// An accepted network.
#[derive(Debug, Clone)]
pub struct Network {
    /// What is wanted of it.
    pub spec: NetworkSpec,
    /// Whether it is being taken down.
    pub deleting: bool,
}

/// A service.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// Its document.
    pub document: Option<Document<ServiceSpec>>,
    /// The revision at which its document was deleted, if that was seen.
    pub deleted: Option<i64>,
    /// The newest valid one.
    pub accepted: Option<At<Accepted<ServiceSpec>>>,
    /// Its templates.
    pub revisions: BTreeMap<i64, At<Revision>>,
    /// What their images meant.
    pub digests: BTreeMap<i64, At<Option<Digest>>>,
    /// What is remembered of it.
    pub rollout: Option<At<Rollout>>,
    /// What people say about its rollout.
    pub pin: Option<At<Pin>>,
    /// The accepted checks on its copies.
    pub checks: BTreeMap<ObjectName, Check>,
    /// Its copies.
    pub copies: BTreeMap<InstanceId, Copy>,
    /// Who serves, by shard.
    pub endpoints: BTreeMap<u32, At<Endpoints>>,
    /// How it is said to be.
    pub status: Option<At<Status>>,
    /// Records of it that cannot be read and were never known: nothing is decided without them.
    pub unreadable: BTreeSet<Key>,
}

/// An accepted check.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What is asked.
    pub spec: HealthCheckSpec,
    /// The revision of its document.
    pub revision: i64,
}

/// One copy of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// The host that it is on.
    pub host: HostName,
    /// What it shall do; absent where only traces of it are left.
    pub record: Option<At<Instance>>,
    /// What became of it.
    pub observed: Option<Observed>,
    /// The verdicts on it.
    pub health: Option<Health>,
}

impl Service {
    /// The template with that number, if it is kept.
    pub fn template(&self, number: i64) -> Option<&Template> {
        self.revisions.get(&number).map(|revision| &revision.value.template)
    }

    /// Whether nothing is known of it any more.
    pub fn is_empty(&self) -> bool {
        self.document.is_none()
            && self.accepted.is_none()
            && self.rollout.is_none()
            && self.status.is_none()
            && self.pin.is_none()
            && self.revisions.is_empty()
            && self.copies.is_empty()
            && self.endpoints.is_empty()
            && self.checks.is_empty()
            && self.unreadable.is_empty()
    }
}

impl World {
    /// Where the sequence numbers of a service begin whose document was created at that revision: they are
    /// never used twice, also not by a service of the same name.
    pub(crate) fn first_seq(&self, create_revision: i64) -> u64 {
        u64::try_from(create_revision.max(self.floor)).unwrap_or(0)
    }

    /// The longest time that names of a copy on `networks` may be cached.
    pub fn ttl(&self, networks: &[NetworkName]) -> evenkeel_api::quantity::Span {
        let ttls =
            networks.iter().filter_map(|name| self.networks.get(name)).map(|network| network.spec.ttl());
        ttls.max().unwrap_or_default()
    }
}
