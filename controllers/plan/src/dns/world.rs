//! What a zone is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use evenkeel_api::local::{LocalHealth, LocalInstances, LocalNetworks};
use evenkeel_api::name::{CheckId, HostName, NetworkName, ServiceId};
use evenkeel_api::network::{Cidr, HostSubnet, NetworkSpec};
use evenkeel_api::record::Endpoints;
use serde::{Deserialize, Serialize};

/// What the store says. Kept on disk, so that names are served without the store for as long as it takes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct World {
    /// Who serves, by service and shard.
    pub endpoints: BTreeMap<ServiceId, BTreeMap<u32, Shard>>,
    /// Networks as accepted.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// Each host's part of each network.
    pub subnets: BTreeMap<NetworkName, BTreeMap<HostName, Cidr>>,
    /// The hosts' addresses on the LAN.
    pub hosts: BTreeMap<HostName, Ipv4Addr>,
    /// The hosts that are alive.
    pub alive: BTreeSet<HostName>,
    /// The checks whose verdict counts for names: in which services' copies are asked by which.
    pub checks: BTreeMap<CheckId, ServiceId>,
}

/// One shard of a service's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// The revision of its key.
    pub revision: i64,
    /// Who serves. Shared with the zones made from it, which is how the next zone knows what to keep.
    pub body: Arc<Endpoints>,
}

impl World {
    /// The highest revision of an endpoints key; 0 with none.
    pub fn revision(&self) -> i64 {
        self.endpoints.values().flat_map(BTreeMap::values).map(|shard| shard.revision).max().unwrap_or(0)
    }

    /// The hosts that a name leads to.
    pub fn named_hosts(&self) -> BTreeSet<HostName> {
        let shards = self.endpoints.values().flat_map(BTreeMap::values);
        shards.flat_map(|shard| &shard.body.endpoints).map(|endpoint| endpoint.host.clone()).collect()
    }

    /// All hosts' own addresses on networks: their name servers. None of them may be asked on behalf of
    /// another, or two servers could send one question back and forth.
    pub fn gateways(&self) -> impl Iterator<Item = (&NetworkName, &HostName, Ipv4Addr)> {
        self.subnets.iter().flat_map(|(network, parts)| {
            parts.iter().map(move |(host, subnet)| (network, host, gateway(network, host, *subnet)))
        })
    }
}

/// A host's own address on a network.
fn gateway(network: &NetworkName, host: &HostName, subnet: Cidr) -> Ipv4Addr {
    HostSubnet { network: network.clone(), host: host.clone(), subnet }.gateway()
}

/// What this host knows by itself, from its other controllers. Each part is absent while its controller
/// has not spoken; the store alone counts then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// This host.
    pub host: HostName,
    /// What it runs.
    pub instances: Option<LocalInstances>,
    /// The verdicts on that.
    pub health: Option<LocalHealth>,
    /// Its part of each network.
    pub networks: Option<LocalNetworks>,
}

impl Here {
    /// This host's addresses on its networks: where its name server listens.
    pub fn addresses(&self, world: &World) -> BTreeSet<Ipv4Addr> {
        let stored =
            world.gateways().filter(|(_, host, _)| **host == self.host).map(|(_, _, address)| address);
        let standing = self.networks.iter().flat_map(|local| &local.networks);
        stored.chain(standing.map(|(name, local)| gateway(name, &self.host, local.subnet))).collect()
    }
}
