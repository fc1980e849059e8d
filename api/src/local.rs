//! What the controllers on one host tell each other through their state files, so that the host goes on
//! by itself while the store is away. A sibling's file is preferred to the store for its own host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{InstanceId, NetworkName};
use crate::network::Cidr;
use crate::quantity::Span;
use crate::record::{Desired, Health, Observed};
use crate::service::Port;

/// `instance/state.json`, as siblings read it: what this host runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalInstances {
    /// By instance.
    pub instances: BTreeMap<InstanceId, LocalInstance>,
}

/// One instance of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalInstance {
    /// What it shall do.
    pub desired: Desired,
    /// What became of it.
    pub observed: Observed,
    /// The ports of its template: for checks that name one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// `healthcheck/state.json`, as siblings read it: the verdicts on this host's instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalHealth {
    /// By instance.
    pub health: BTreeMap<InstanceId, Health>,
}

/// `network/state.json`, as siblings read it: this host's part of each network that stands here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalNetworks {
    /// By network.
    pub networks: BTreeMap<NetworkName, LocalNetwork>,
}

/// `instance/guards.json`: the exclusive containers of this host. One stands here before it is started, and
/// until it is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guards {
    /// By the engine's id of the container.
    pub guards: BTreeMap<String, Guard>,
}

/// One container that the watchdog guards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Whose it is.
    pub instance: InstanceId,
    /// It ends this long after the last proof of life.
    pub stop_after: Span,
}

/// `watchdog/beat.json`: that the watchdog runs, and what it could prove. Times are milliseconds of the
/// machine's clock since its boot, time in suspend included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Which boot the clock counts from.
    pub boot: String,
    /// When this was written.
    pub at: u64,
    /// By guarded container: when its newest proof of life was asked for; 0: there was none yet.
    pub proofs: BTreeMap<String, u64>,
}

/// One network of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalNetwork {
    /// The whole pool that the part belongs to.
    pub pool: Cidr,
    /// This host's part.
    pub subnet: Cidr,
    /// The engine's name of the network.
    pub engine_name: String,
    /// Its domain.
    pub domain: String,
}
