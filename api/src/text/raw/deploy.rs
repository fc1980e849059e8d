//! `deploy`: how many copies, where, and how they are exchanged.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de;
use serde::{Deserialize, Deserializer};

use crate::quantity::{Bytes, MilliCpus, Span};
use crate::service::{Attribute, Constraint, Disconnect, Mode, Reservations, RestartPolicy, UpdateConfig};

use super::forms::Pairs;

/// How many copies, where, and how they are exchanged.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deploy {
    /// A number of copies, or one on every host that fits.
    pub mode: Option<Mode>,
    /// Names give the copies' own addresses, always.
    #[expect(dead_code, reason = "there is only one mode")]
    pub endpoint_mode: Option<EndpointMode>,
    /// Copies, in replicated mode; 1 when absent.
    pub replicas: Option<u32>,
    /// Labels of the service, not of its containers.
    pub labels: Option<Pairs>,
    /// Where copies may be.
    pub placement: Option<Placement>,
    /// What a copy may use, and what is set aside for it.
    pub resources: Option<Resources>,
    /// When a container that ended is started again.
    pub restart_policy: Option<RestartPolicy>,
    /// How copies are exchanged.
    pub update_config: Option<UpdateConfig>,
    /// Between leaving the names and SIGTERM; the names' `ttl` and one second when absent.
    pub stop_delay: Option<Span>,
    /// What happens when a host is lost.
    pub disconnect: Option<Disconnect>,
    /// Never two copies of a slot: a copy whose host cannot prove that it lives is ended, and is replaced
    /// only when it has surely ended.
    pub exclusive: Option<bool>,
}

/// What a name gives.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EndpointMode {
    /// The addresses of the copies.
    Dnsrr,
}

/// Where copies may be.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Placement {
    /// All must hold, like `node.labels.disk == ssd`.
    pub constraints: Option<Vec<ConstraintText>>,
    /// Over whose values copies are spread, first the first.
    pub preferences: Option<Vec<Preference>>,
    /// Copies that one host may carry.
    #[schemars(range(min = 1))]
    pub max_replicas_per_node: Option<u32>,
}

/// One preference.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preference {
    /// A host label, like `node.labels.rack`.
    pub spread: SpreadLabel,
}

/// What a copy may use, and what is set aside for it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resources {
    /// The most that a copy may use.
    pub limits: Option<Limits>,
    /// What is set aside for a copy.
    pub reservations: Option<Reservations>,
}

/// The most that a copy may use.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// CPUs.
    pub cpus: Option<MilliCpus>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Processes and threads.
    pub pids: Option<i64>,
}

/// A constraint as it is written.
#[derive(Debug, Clone)]
pub(crate) struct ConstraintText(pub Constraint);

impl<'de> Deserialize<'de> for ConstraintText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        constraint(&String::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

impl JsonSchema for ConstraintText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Constraint".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^ *node\\.(hostname|platform\\.(os|arch)|labels\\.[^ =!]+) *(==|!=) *\\S",
            "description": "Like node.labels.disk == ssd, node.hostname != h3 or node.platform.arch == x86_64",
        })
    }
}

fn constraint(text: &str) -> Result<Constraint, String> {
    let (left, equal, value) = text
        .split_once("==")
        .map(|(left, right)| (left, true, right))
        .or_else(|| text.split_once("!=").map(|(left, right)| (left, false, right)))
        .ok_or_else(|| {
            format!("{text:?} is no constraint: write it like node.labels.disk == ssd, with == or !=")
        })?;
    let (left, value) = (left.trim(), value.trim());
    if value.is_empty() {
        return Err(format!(
            "{text:?} compares with nothing: write a value after {}",
            if equal { "==" } else { "!=" }
        ));
    }
    Ok(Constraint { attribute: attribute(left)?, equal, value: value.to_owned() })
}

fn attribute(text: &str) -> Result<Attribute, String> {
    Ok(match text {
        "node.hostname" => Attribute::Hostname,
        "node.platform.os" => Attribute::Os,
        "node.platform.arch" => Attribute::Arch,
        "node.role" => {
            return Err(
                "`node.role`: there are no managers and workers here; label the hosts that you mean, and \
                        write node.labels.<key> == <value>"
                    .to_owned(),
            );
        }
        "node.id" => return Err("`node.id`: hosts have no id here; write node.hostname == <name>".to_owned()),
        label if label.starts_with("engine.labels.") => {
            return Err(
                "`engine.labels`: the engine's labels are not looked at; put the label into the Host \
                        document, and write node.labels.<key>"
                    .to_owned(),
            );
        }
        other => match other.strip_prefix("node.labels.").filter(|key| !key.is_empty()) {
            Some(key) => Attribute::Label(key.to_owned()),
            None => {
                return Err(format!(
                    "{other:?} is not known: there are node.labels.<key>, node.hostname, node.platform.os and \
                     node.platform.arch"
                ));
            }
        },
    })
}

/// `node.labels.<key>`, of which the key is kept.
#[derive(Debug, Clone)]
pub(crate) struct SpreadLabel(pub String);

impl<'de> Deserialize<'de> for SpreadLabel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.trim().strip_prefix("node.labels.").filter(|key| !key.is_empty()) {
            Some(key) => Ok(Self(key.to_owned())),
            None => Err(de::Error::custom(format!(
                "{text:?}: copies are spread over the values of a host label; write it like node.labels.rack"
            ))),
        }
    }
}

impl JsonSchema for SpreadLabel {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SpreadLabel".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^ *node\\.labels\\.."})
    }
}
