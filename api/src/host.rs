//! A Host: a machine with a Docker engine. Made by its own host controller at its first start, then the
//! operator's; what the machine *is* stands in its facts ([`crate::record::Facts`]).

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{Bytes, MilliCpus};

/// What people want of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// The host's address on the LAN, by which its peers reach its containers.
    pub address: Ipv4Addr,
    /// Whether it takes copies; active when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    /// What is kept back for the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
}

/// Whether a host takes copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It does.
    #[default]
    Active,
    /// It keeps those that it has, and takes no new ones.
    Pause,
    /// Its copies move elsewhere.
    Drain,
}

/// What is kept back for the machine itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<MilliCpus>,
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
}

impl HostSpec {
    /// Whether it takes copies.
    pub fn availability(&self) -> Availability {
        self.availability.unwrap_or_default()
    }
}
