//! What controllers write for each other and for people: JSON, one writer a key (see [`crate::key`]).
//!
//! Times in records are wall clock, for people to read. No decision is taken from them: hosts' clocks
//! differ and jump.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::meta::{Metadata, ObjectRef};
use crate::name::{HostName, InstanceId, NetworkName, ObjectName, Slot, TemplateRef};
use crate::network::Cidr;
use crate::quantity::{Bytes, MilliCpus, Span};
use crate::service::{EndpointsPolicy, Protocol};

/// Wall-clock time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

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

/// `revisions/services/<ns>/<n>/<k>`: one template for ever.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// The template.
    pub template: crate::service::Template,
}

/// `revisions/…/<k>/digest`: what the image's reference meant at the first pull that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// `sha256:…`.
    pub digest: String,
    /// The host that pulled first.
    pub host: HostName,
}

/// `rollouts/<ns>/<n>`: what the service controller remembers of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The last sequence number given to an instance; starts at the document's create revision.
    pub seq: u64,
    /// The last template whose copies ran well: what a rollback goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<i64>,
    /// The template that copies are exchanged for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<i64>,
    /// How far that is.
    #[serde(default)]
    pub phase: Phase,
    /// Instances of the target that failed within their monitor time.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failed: BTreeSet<InstanceId>,
    /// The newest template, where the target is another one on purpose: because the newest is rejected, or
    /// because a person said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<i64>,
    /// Templates that failed and are not tried again before a person says so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rejected: BTreeSet<i64>,
    /// What spoke against each rejected template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<i64, String>,
    /// A person paused the exchange that was under way.
    #[serde(default, skip_serializing_if = "is_false")]
    pub held: bool,
    /// The revision of a pin on a template that ended, since the newest template is another one now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<i64>,
    /// The revision of the pin that was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<i64>,
    /// The hosts where slots have their named volumes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub homes: BTreeMap<Slot, HostName>,
}

/// How far a rollout is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// All copies are of the target.
    #[default]
    Done,
    /// Copies are being exchanged.
    Rolling,
    /// Stopped until a person resumes it or the template changes.
    Paused {
        /// Why.
        why: String,
    },
}

/// `pins/<ns>/<n>`: what people say about a rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Go on with the paused rollout of this template, whatever failed so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<i64>,
    /// Try this rejected template again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<i64>,
    /// Run this template, as long as the newest is the one below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<i64>,
    /// The newest template when that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<i64>,
    /// Exchange nothing, whatever documents say, until this is taken back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pause: bool,
}

/// `instances/<h>/<id>`: what a host must run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// What it is made from; never changes.
    pub template: TemplateRef,
    /// The place that it fills; never changes.
    pub slot: Slot,
    /// What it shall do.
    pub desired: Desired,
    /// Why it is wanted, or why not any more.
    pub cause: String,
    /// Of exclusive copies: what they are guarded by; never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// A run of it that is to end for a new one, since a check finds it sick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
}

/// What an exclusive copy is guarded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Higher than that of every copy of the slot before it: for storage that refuses lower ones.
    pub token: u64,
    /// The copy ends this long after its host's last proof of life.
    pub stop_after: Span,
}

/// That a run of an instance is to end for a new one. It is done when another run is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// Which run: [`Observed::started`].
    pub run: Timestamp,
    /// Not before this time has passed: names may lead to it so long.
    pub after: Span,
    /// The how manieth this is, since the copy was last well for long.
    pub count: u32,
}

/// What an instance shall do. Goes forward only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// Run.
    Run,
    /// Run on, but out of the names.
    Drain,
    /// Stop and be removed.
    Stop,
    /// Its host is lost: replaced elsewhere, and to be removed should the host return.
    Lost,
}

/// `observed/<h>/<id>`: what became of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// How far it is.
    pub state: InstanceState,
    /// When that began.
    pub since: Timestamp,
    /// Its address on each network.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<NetworkName, Ipv4Addr>,
    /// The ports that it has on the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<HostPort>,
    /// How often it was started again after an end.
    #[serde(default)]
    pub restarts: u32,
    /// The engine's start time of the container: tells one run from the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// What the engine's own check says, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_health: Option<Verdict>,
    /// The image that it runs, `sha256:…`, where the registry gave a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// How far an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum InstanceState {
    /// Something must come first.
    Waiting {
        /// What.
        why: String,
    },
    /// The image is on its way.
    Pulling,
    /// The container exists.
    Created,
    /// It runs.
    Running,
    /// It ended and will be started again.
    Exited {
        /// Its exit code.
        code: i64,
        /// The kernel killed it for memory.
        #[serde(default)]
        oom: bool,
    },
    /// It cannot run here, or restarts are used up.
    Failed {
        /// Why.
        why: String,
    },
    /// It was stopped as asked and is removed.
    Stopped {
        /// Its exit code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i64>,
    },
}

/// A port on the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// The host's address; 0.0.0.0 for all.
    pub address: Ipv4Addr,
    /// The port there.
    pub port: u16,
    /// The port in the container.
    pub target: u16,
    /// TCP or UDP.
    #[serde(default)]
    pub protocol: Protocol,
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No pass yet, and not too many failures.
    Starting,
    /// It passes.
    Healthy,
    /// It fails.
    Unhealthy,
}

/// `health/<h>/<id>`: the verdicts on one run of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Which run was checked: [`Observed::started`].
    pub started: Timestamp,
    /// By check.
    pub checks: BTreeMap<ObjectName, CheckState>,
}

/// The verdict of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckState {
    /// What it says.
    pub verdict: Verdict,
    /// Since when.
    pub since: Timestamp,
    /// The accepted revision of the check that says so.
    pub revision: i64,
    /// What the deciding probe saw, like `503 Service Unavailable` or `connection refused`.
    pub evidence: String,
}

/// `endpoints/<ns>/<n>/<shard>`: who serves. At most [`ENDPOINTS_PER_SHARD`] a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// What names give when none is ready.
    #[serde(default)]
    pub policy: EndpointsPolicy,
    /// Further names of the service in its namespace, by network; the same in every shard.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<NetworkName, BTreeSet<ObjectName>>,
    /// The networks of the service, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkName>,
    /// The copies that run and are not on their way out.
    pub endpoints: Vec<Endpoint>,
}

/// Endpoints in one shard, at most.
pub const ENDPOINTS_PER_SHARD: usize = 100;

/// One copy that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The copy.
    pub id: InstanceId,
    /// Its place.
    pub slot: Slot,
    /// Its host.
    pub host: HostName,
    /// Its address on each network.
    pub addresses: BTreeMap<NetworkName, Ipv4Addr>,
    /// The ports that have names: for SRV.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointPort>,
    /// Whether names should lead to it.
    pub ready: bool,
}

/// A named port of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointPort {
    /// Its name.
    pub name: ObjectName,
    /// The port in the container.
    pub port: u16,
    /// TCP or UDP.
    #[serde(default)]
    pub protocol: Protocol,
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
