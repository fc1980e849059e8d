//! Of workloads: templates, rollouts, copies, what they do, their health, and who answers for a service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{Timestamp, is_false};
use crate::name::{HostName, InstanceId, NetworkName, ObjectName, Slot, TemplateRef};
use crate::quantity::Span;
use crate::service::{EndpointsPolicy, Protocol};

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
    /// Templates that ran well, the last one last; what ran well before leaders kept this list is not in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proven: Vec<i64>,
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
    /// Exchange the copies up to this sequence number for new ones, though nothing about them is to differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<u64>,
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
        /// Whether it was the host's policy that refused it. Absent: the host does not say, see [`InstanceState::refusal`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<bool>,
    },
    /// It was stopped as asked and is removed.
    Stopped {
        /// Its exit code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i64>,
    },
}

/// How a refusal begins in the words of hosts of 0.1.0, which have nothing else for it.
const REFUSAL_IN_WORDS: &str = "host policy on ";

impl InstanceState {
    /// It cannot run here, for a reason other than the host's policy.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), refused: Some(false) }
    }

    /// The host's policy refused it: another try brings nothing before a person has changed something.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), refused: Some(true) }
    }

    /// What the host's policy says of an instance that it refused.
    ///
    /// Hosts of 0.1.0, which are of level 1, do not say which failures are that: of them, and of them alone, it is known by how
    /// their words begin. That goes, and the field becomes a plain one, with the first version that no longer runs beside
    /// such hosts: a cluster at level 2 has none.
    pub fn refusal(&self) -> Option<&str> {
        let Self::Failed { why, refused } = self else { return None };
        refused.unwrap_or_else(|| why.starts_with(REFUSAL_IN_WORDS)).then_some(why)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A failure as 0.1.0 knows it.
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "is", rename_all = "snake_case")]
    enum Before {
        Failed { why: String },
    }

    #[test]
    fn a_refusal_is_known_by_its_field_and_by_words_only_of_hosts_that_have_no_field() {
        for (text, refused) in [
            (r#"{"is": "failed", "why": "host policy on h1 does not allow privileged"}"#, true),
            (r#"{"is": "failed", "why": "no image; see the host policy on h1"}"#, false),
            (r#"{"is": "failed", "why": "not here", "refused": true}"#, true),
            (r#"{"is": "failed", "why": "not here", "refused": true, "newer": 1}"#, true),
            (r#"{"is": "failed", "why": "host policy on h1: no such file", "refused": false}"#, false),
            (r#"{"is": "waiting", "why": "host policy on h1 does not allow privileged"}"#, false),
        ] {
            let state: InstanceState = serde_json::from_str(text).unwrap();
            assert_eq!(state.refusal().is_some(), refused, "{text}");
            let again: InstanceState = serde_json::from_value(serde_json::to_value(&state).unwrap()).unwrap();
            assert_eq!(again, state);
        }
        assert_eq!(InstanceState::refused("not here").refusal(), Some("not here"));
    }

    #[test]
    fn a_failure_says_whether_it_is_a_refusal_and_0_1_0_reads_it() {
        for (state, refused) in [(InstanceState::failed("why"), false), (InstanceState::refused("why"), true)]
        {
            let text = serde_json::json!({"is": "failed", "why": "why", "refused": refused});
            assert_eq!(serde_json::to_value(&state).unwrap(), text);
            assert_eq!(
                serde_json::from_value::<Before>(text).unwrap(),
                Before::Failed { why: "why".to_owned() }
            );
        }
    }
}
