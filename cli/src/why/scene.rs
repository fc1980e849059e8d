//! What an explanation is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use evenkeel_api::name::{CheckId, HostName, NetworkName, ServiceId};
use evenkeel_api::record::Timestamp;
use evenkeel_plan::dns::{self, Found, Here, Shard, Wanted, Zone};
use evenkeel_plan::service::{Service, World};

/// The cluster at one moment, and what an explanation needs beside what the service leader sees.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// What the service leader plans from.
    pub world: World,
    /// The time of day.
    pub now: Timestamp,
    /// Why nothing is decided at all, if so.
    pub idle: Option<String>,
    /// Checks whose newest document is refused, and why.
    pub refused_checks: BTreeMap<CheckId, String>,
    /// Networks that do not stand on a host, and why.
    pub networks: BTreeMap<(NetworkName, HostName), String>,
    /// The revision of endpoints that each host's name server serves.
    pub served: BTreeMap<HostName, i64>,
    /// What the names say.
    pub zone: Zone,
    /// The cluster was made by `evenkeel init`, from here.
    pub made_here: bool,
}

impl Scene {
    /// The scene of `world`, with nothing said yet beside it.
    pub fn new(world: World, now: Timestamp) -> Self {
        let zone = zone(&world);
        Self { world, now, zone, ..Self::default() }
    }

    /// The service, if anything is known of it.
    pub(super) fn service(&self, id: &ServiceId) -> Option<&Service> {
        self.world.services.get(id).filter(|service| service.document.is_some() || service.accepted.is_some())
    }

    /// All services that anything is known of.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.world.services.keys().filter(|id| self.service(id).is_some())
    }

    /// Whether a host is there.
    pub(super) fn is_alive(&self, host: &HostName) -> bool {
        self.world.hosts.get(host).is_some_and(|host| host.alive.is_some())
    }

    /// The domains of networks, the longest first.
    pub(super) fn domains(&self) -> Vec<&str> {
        let domains: BTreeSet<&str> =
            self.world.networks.values().map(|network| network.spec.domain()).collect();
        let mut domains: Vec<&str> = domains.into_iter().collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.split('.').count()));
        domains
    }

    /// The addresses that `name` leads to, for somebody who is on none of the networks.
    pub(super) fn addresses(&self, name: &str) -> Vec<Ipv4Addr> {
        let labels: Vec<&str> = name.split('.').collect();
        match self.zone.lookup(&labels, Wanted::A, NOBODY) {
            Found::Addresses { addresses, .. } => addresses.to_vec(),
            _ => Vec::new(),
        }
    }

    /// The ports that `name` leads to, with the copies' names.
    pub(super) fn ports(&self, name: &str) -> Vec<String> {
        let labels: Vec<&str> = name.split('.').collect();
        match self.zone.lookup(&labels, Wanted::Srv, NOBODY) {
            Found::Targets { domain, targets, .. } => {
                targets.iter().map(|target| format!("{}.{domain}:{}", target.name, target.port)).collect()
            }
            _ => Vec::new(),
        }
    }
}

const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What the names say: the name servers' own zone, of a host that carries nothing.
fn zone(world: &World) -> Zone {
    let mut stored = dns::World::default();
    for (id, service) in &world.services {
        let shards = service.endpoints.iter().map(|(number, shard)| {
            (*number, Shard { revision: shard.mod_revision, body: Arc::new(shard.value.clone()) })
        });
        stored.endpoints.insert(id.clone(), shards.collect());
    }
    for (name, network) in &world.networks {
        stored.networks.insert(name.clone(), network.spec.clone());
    }
    for (name, host) in &world.hosts {
        for (network, part) in &host.subnets {
            stored.subnets.entry(network.clone()).or_default().insert(name.clone(), *part);
        }
        if let Some(accepted) = &host.accepted {
            stored.hosts.insert(name.clone(), accepted.value.spec.address);
        }
        if host.alive.is_some() {
            stored.alive.insert(name.clone());
        }
    }
    let gone: BTreeSet<HostName> = stored.named_hosts().difference(&stored.alive).cloned().collect();
    // No host's name: so nothing counts as its own.
    let Ok(host) = "evenkeel-explain".parse() else { return Zone::default() };
    dns::zone(&stored, &Here { host, instances: None, health: None, networks: None }, &gone)
}
