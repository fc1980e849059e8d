//! What controllers write for each other and for people: JSON, one writer a key (see [`crate::key`]).
//!
//! Times in records are wall clock, for people to read. No decision is taken from them: hosts' clocks
//! differ and jump.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::meta::{Metadata, ObjectRef};
use crate::name::{HostName, InstanceId};
use crate::network::Cidr;
use crate::quantity::{Bytes, MilliCpus};

mod workload;

pub use workload::{
    CheckState, Desired, Digest, ENDPOINTS_PER_SHARD, Endpoint, EndpointPort, Endpoints, Fence, Health,
    HostPort, Instance, InstanceState, Observed, Phase, Pin, Restart, Revision, Rollout, Verdict,
};

/// Wall-clock time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

/// The newest feature level that this version understands. What a record may hold that the version before cannot read has a level
/// of its own: nobody writes it before the cluster is at that level. New clusters are; others get there by `upgrade --finish`.
///
/// 2: [`Pin::restart`].
pub const LEVEL: u32 = 2;

/// `cluster`: who this cluster is. Create-only; epoch and level move by operator command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Set once, at random; the label `evenkeel.cluster` of all that is ours.
    pub uid: String,
    /// Grows whenever an operator declares the store's past void; since 1970 in seconds, or one more. A number
    /// that counted from one would be used again once the store goes back behind such a word.
    pub epoch: u64,
    /// The newest feature level that every controller understands.
    pub level: u32,
    /// At or below this number, every revision and every sequence number may have been used in a past that
    /// this store does not know: what is numbered anew begins above it. Grows with each recovery.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub floor: i64,
}

impl Cluster {
    /// Whether this declares void what was known of the cluster `uid` in `epoch`.
    pub fn voids(&self, uid: &str, epoch: u64) -> bool {
        self.uid == uid && self.epoch > epoch
    }
}

fn is_first(generation: &u32) -> bool {
    *generation == 0
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// `halt`: somebody saw that the store went back to the past. While it stands no controller decides, and
/// nothing is stopped or removed anywhere. Create-only; a person's recovery takes it away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// What was seen, and by whom.
    pub why: String,
    /// When.
    pub since: Timestamp,
}

/// `accepted/…`: the newest valid document of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted<S> {
    /// The store revision of the document.
    pub source_revision: i64,
    /// The revision at which the document was created; tells a re-made object from its namesake.
    pub create_revision: i64,
    /// The number of the newest template; Services only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<i64>,
    /// The document is gone; what it brought is being taken down.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleting: bool,
    /// As written, with name and namespace filled in from the key.
    pub metadata: Metadata,
    /// Parsed, undefaulted.
    pub spec: S,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// `subnets/<network>/<h>`: the part of a network that a host owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The part.
    pub subnet: Cidr,
}

/// `alive/<h>`: under the host's lease, so that it is gone when the host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Changes with every boot of the machine.
    pub boot_id: String,
    /// Counts every time that the host had to register anew: boot, or a lease that was lost.
    pub incarnation: u64,
}

/// How long after its last heartbeat a host's `alive` is gone, at the earliest: the time of its lease.
pub const ALIVE_TTL: std::time::Duration = std::time::Duration::from_secs(2);

/// `facts/<h>`: what a machine is and has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its CPUs.
    pub cpus: MilliCpus,
    /// Its memory.
    pub memory: Bytes,
    /// Like `linux`.
    pub os: String,
    /// Like `amd64`, as images spell it.
    pub arch: String,
    /// The engine's version.
    pub engine: String,
    /// Its addresses with their ranges, LAN first.
    pub addresses: Vec<Address>,
    /// Our named volumes that are there: `<ns>.<name>`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// Ranges that are taken by routes or Docker networks that are not ours, and by whom.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub taken: BTreeMap<String, Cidr>,
    /// The version of the controllers.
    pub evenkeel: String,
    /// Its watchdog runs, so that exclusive copies may be here. Also says that its controllers know what those
    /// are: older ones would start them unguarded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub watchdog: bool,
    /// The port at which it answers for its copies ([`crate::session`]), if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u16>,
    /// The generation of its users at etcd ([`crate::user`]): who answers by its name must have it.
    #[serde(default, skip_serializing_if = "is_first")]
    pub generation: u32,
}

/// An address of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: Ipv4Addr,
    /// The prefix length of its range.
    pub prefix: u8,
}

/// `reports/<h>/network/<n>`: what became of a network on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum NetworkReport {
    /// Bridge, routes and rules stand.
    Ready {
        /// The host's part.
        subnet: Cidr,
    },
    /// Something is in the way; nothing was touched.
    Conflict {
        /// Both sides, by name.
        why: String,
    },
    /// It failed, and is tried again.
    Failed {
        /// Why.
        why: String,
    },
    /// The network is deleting, and nothing of it is left here.
    Gone,
}

/// `reports/<h>/dns`: what a host's name server serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsReport {
    /// The highest revision of an endpoints key that its zone holds; without any there is no report.
    pub revision: i64,
}

/// `reports/<h>/trust/<controller>`: a controller that does not believe the store any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distrust {
    /// What it saw.
    pub why: String,
    /// When.
    pub since: Timestamp,
}

/// `status/<kind>/…`: how an object is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The newest revision of the document that was looked at.
    pub observed_revision: i64,
    /// The revision that is accepted; absent while none was ever valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_revision: Option<i64>,
    /// What holds and what does not.
    pub conditions: Vec<Condition>,
    /// Copies; Services only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Copies>,
}

impl Status {
    /// The condition of that type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}

/// One thing that holds or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Which.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: bool,
    /// One word for programs.
    pub reason: String,
    /// For people: what, where, what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when it holds, or does not.
    pub since: Timestamp,
}

/// The types of condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// The newest document is valid.
    Valid,
    /// It works as wanted: copies ready, network on every host.
    Available,
    /// Something is under way.
    Progressing,
    /// Something is in the way that a person must know of.
    Degraded,
}

/// Copies of a service, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Wanted.
    pub desired: u32,
    /// Running.
    pub running: u32,
    /// In the names.
    pub ready: u32,
    /// Of the template that is wanted.
    pub updated: u32,
}

/// `confirmed`: a person meant a mass deletion; put in the same Txn as the deletions, or after them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confirmed {
    /// Who.
    pub by: String,
    /// What was deleted, for people to read.
    pub what: String,
    /// The objects that are meant, where the deletions came before this.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub objects: BTreeSet<ObjectRef>,
}

/// `brake`: hosts that a person declared dead, so that their copies may be replaced in spite of the brake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brake {
    /// By host: the incarnation that is dead. A host that registers anew is not meant any more.
    pub dead: BTreeMap<HostName, u64>,
}

/// `brakes`: what the service leader says of its brakes; absent while none is on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrakeState {
    /// Hosts that are gone, with their incarnation, whose copies are not replaced because too many went
    /// at once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<HostName, u64>,
    /// Objects whose documents are gone, but which are kept because too many went at once.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub deletions: BTreeSet<ObjectRef>,
    /// Since when.
    pub since: Timestamp,
}

/// `events/<writer>/<n>`: something happened, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, the last time.
    pub time: Timestamp,
    /// To what.
    pub object: ObjectRef,
    /// Where, if on one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// Which copy, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Whether a person should care.
    pub warning: bool,
    /// One word for programs.
    pub reason: String,
    /// For people.
    pub message: String,
    /// How often, in a row.
    pub count: u32,
}

/// Events kept by one writer.
pub const EVENT_RING: u64 = 512;

/// `writers/<host>/<controller>`: the chain guard. Every writing Txn of a controller compares the revision
/// of this key that its last one left, and puts it anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Counts the writer's Txns.
    pub n: u64,
    /// Tells one process from the next.
    pub process: String,
    /// The next free number of the writer's event ring.
    #[serde(default)]
    pub event: u64,
}

/// `leaders/<controller>`: who leads, under its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The host that it runs on.
    pub host: HostName,
    /// Tells one process from the next.
    pub process: String,
}
