//! A HealthCheck: a question that is asked of every copy of a service, and what its answer changes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::ObjectName;
use crate::quantity::Span;

/// What people want of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheckSpec {
    /// Whose copies are asked.
    pub target: Target,
    /// How they are asked.
    #[serde(rename = "type")]
    pub probe: ProbeKind,
    /// The port in the container, by number or by its name in the Service; http and tcp need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortRef>,
    /// http: the path; `/` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// http: the method; GET when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// http: further header lines.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, String>,
    /// exec: the words of the command, run in the container; exit code 0 is a pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Time between checks; 10s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// Time for one check; 2s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Failures in a row before unhealthy; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub retries: Option<u32>,
    /// Passes in a row before healthy; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub success_before_passing: Option<u32>,
    /// Time after a start in which failures do not count; 0s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Span>,
    /// Time between checks until the first pass; 200ms when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<Span>,
    /// What the answer changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effects: Option<Effects>,
}

/// Whose copies are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// A Service of the same namespace.
    pub service: ObjectName,
}

/// How copies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// An HTTP request; a status of 200 to 399 is a pass.
    Http,
    /// A connection that is accepted is a pass.
    Tcp,
    /// A command in the container.
    Exec,
}

/// A port by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PortRef {
    /// The port in the container.
    Number(u16),
    /// A port's `name` in the Service.
    Name(ObjectName),
}

impl<'de> Deserialize<'de> for PortRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = PortRef;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a port number or the name of a port")
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<PortRef, E> {
                u16::try_from(n)
                    .ok()
                    .filter(|port| *port > 0)
                    .map(PortRef::Number)
                    .ok_or_else(|| E::custom(format!("{n} is no port: 1 to 65535")))
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<PortRef, E> {
                u64::try_from(n)
                    .map_err(|_| E::custom(format!("{n} is no port: 1 to 65535")))
                    .and_then(|n| self.visit_u64(n))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PortRef, E> {
                match text.parse::<u64>() {
                    Ok(n) => self.visit_u64(n),
                    Err(_) => text.parse().map(PortRef::Name).map_err(E::custom),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What an answer changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Effects {
    /// An unhealthy copy leaves the names; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<bool>,
    /// A rollout waits for it and counts its failures; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<bool>,
    /// An unhealthy copy is restarted where it is; not when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartEffect>,
}

/// How an unhealthy copy is restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartEffect {
    /// Restarts that do not help before the copy is replaced on another host; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u32>,
    /// Time after a start in which the check asks for none; 30s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
}

impl RestartEffect {
    /// Restarts that do not help before the copy is replaced.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(3).max(1)
    }

    /// Time after a start in which the check asks for none.
    pub fn grace(&self) -> Span {
        self.grace.unwrap_or(Span::seconds(30))
    }
}

impl HealthCheckSpec {
    /// Time between checks.
    pub fn interval(&self) -> Span {
        self.interval.unwrap_or(Span::seconds(10))
    }

    /// Time for one check.
    pub fn timeout(&self) -> Span {
        self.timeout.unwrap_or(Span::seconds(2))
    }

    /// Failures in a row before unhealthy.
    pub fn retries(&self) -> u32 {
        self.retries.unwrap_or(3).max(1)
    }

    /// Passes in a row before healthy.
    pub fn success_before_passing(&self) -> u32 {
        self.success_before_passing.unwrap_or(1).max(1)
    }

    /// Time after a start in which failures do not count.
    pub fn start_period(&self) -> Span {
        self.start_period.unwrap_or_default()
    }

    /// Time between checks until the first pass.
    pub fn start_interval(&self) -> Span {
        self.start_interval.unwrap_or(Span::millis(200))
    }

    /// Whether an unhealthy copy leaves the names.
    pub fn affects_dns(&self) -> bool {
        self.effects.as_ref().and_then(|effects| effects.dns).unwrap_or(true)
    }

    /// Whether an unhealthy copy is restarted, and how.
    pub fn restart(&self) -> Option<RestartEffect> {
        self.effects.as_ref().and_then(|effects| effects.restart)
    }

    /// Whether a rollout waits for it.
    pub fn affects_rollout(&self) -> bool {
        self.effects.as_ref().and_then(|effects| effects.rollout).unwrap_or(true)
    }
}
