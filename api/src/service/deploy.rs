//! `deploy`: how many copies, where, how they are exchanged, and what a lost host means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::quantity::{Bytes, MilliCpus, Span};

/// How many copies, where, and how they are exchanged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deploy {
    /// Replicated or global.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Copies, in replicated mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Labels of the service, not of its containers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where copies may be.
    #[serde(skip_serializing_if = "is_default")]
    pub placement: Placement,
    /// What the ledger sets aside for a copy.
    #[serde(skip_serializing_if = "is_default")]
    pub reservations: Reservations,
    /// When a container that ended is started again.
    #[serde(skip_serializing_if = "is_default")]
    pub restart_policy: RestartPolicy,
    /// How copies are exchanged.
    #[serde(skip_serializing_if = "is_default")]
    pub update_config: UpdateConfig,
    /// Between leaving the names and SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_delay: Option<Span>,
    /// What happens when a host is lost.
    #[serde(skip_serializing_if = "is_default")]
    pub disconnect: Disconnect,
}

/// How copies are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A number of copies.
    #[default]
    Replicated,
    /// One on every host that fits.
    Global,
}

/// Where copies may be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Placement {
    /// All must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Host labels over whose values copies are spread, first the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<String>,
    /// Copies that one host may carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replicas_per_node: Option<u32>,
}

/// `node.labels.disk == ssd` and the like, parsed at admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// What is looked at.
    pub attribute: Attribute,
    /// `true` for `==`, `false` for `!=`.
    pub equal: bool,
    /// What it is compared with.
    pub value: String,
}

/// What a constraint looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// `node.hostname`: the host's name.
    Hostname,
    /// `node.platform.os`.
    Os,
    /// `node.platform.arch`.
    Arch,
    /// `node.labels.<key>`: a label of the Host document.
    Label(String),
}

/// What the ledger sets aside for a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reservations {
    /// CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<MilliCpus>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RestartPolicy {
    /// After which ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<RestartCondition>,
    /// Time between end and start; absent: at once, with back-off when it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Starts in `window` before it counts as failed here; absent: without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The time in which attempts count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
}

/// After which ends a container is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartCondition {
    /// After none.
    None,
    /// After an end with an exit code other than 0.
    OnFailure,
    /// After any.
    #[default]
    Any,
}

/// How copies are exchanged for those of a new template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateConfig {
    /// Copies at once; 0: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// Time between batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Which of the two copies of a slot goes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<UpdateOrder>,
    /// How long a new copy is watched before it counts as good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Span>,
    /// A new copy that is not ready after this time counts as failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Span>,
    /// What happens when too many new copies fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_action: Option<FailureAction>,
    /// The share of new copies that may fail, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failure_ratio: Option<f64>,
}

/// Which of the two copies of a slot goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The old one stops, then the new one starts.
    #[default]
    StopFirst,
    /// The new one is ready, then the old one stops.
    StartFirst,
}

/// What happens when too many new copies fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureAction {
    /// The rollout stops where it is.
    #[default]
    Pause,
    /// The rollout goes on.
    Continue,
    /// The new template is rejected, and copies go back to the one before it.
    Rollback,
}

/// What happens when a host is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Disconnect {
    /// From the last possible heartbeat to the replacement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_after: Option<Span>,
    /// An exclusive copy ends this long after its host's last proof of life; 5s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_on_client_after: Option<Span>,
}
