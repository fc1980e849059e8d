//! A Host: a machine with a Docker engine. Made by its own host controller at its first start, then the
//! operator's; what the machine *is* stands in its facts ([`crate::record::Facts`]).

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::quantity::{Bytes, MilliCpus};

/// What people want of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// The host's address on the LAN, by which its peers reach its containers.
    #[serde(deserialize_with = "address")]
    pub address: Ipv4Addr,
    /// Whether it takes copies; active when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    /// What is kept back for the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ipv4Addr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{text:?} is no IPv4 address; write the host's own on the LAN, like 10.0.0.11"
        ))
    })
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
