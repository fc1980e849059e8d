//! What one service's names lead to, made once for each change of the service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use evenkeel_api::name::{HostName, NetworkName, ServiceId};
use evenkeel_api::network::NetworkSpec;
use evenkeel_api::record::{Endpoint, Endpoints};

use super::build::{Name, Target, View};
use super::choose::{Rank, Standing, stand};
use super::why::why;
use super::world::{Here, Shard, World};

/// What the names of all services stand on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ground {
    networks: BTreeMap<NetworkName, NetworkSpec>,
    hosts: BTreeMap<HostName, Ipv4Addr>,
}

impl Ground {
    /// The same one, unless the world stands on another now.
    pub(super) fn renewed(self: &Arc<Self>, world: &World) -> Arc<Self> {
        if self.networks == world.networks && self.hosts == world.hosts {
            return self.clone();
        }
        Arc::new(Self { networks: world.networks.clone(), hosts: world.hosts.clone() })
    }

    /// Where the copy is reached on a network; `None`: on the hosts' own.
    pub(super) fn address(&self, network: Option<&NetworkName>, endpoint: &Endpoint) -> Option<Ipv4Addr> {
        match network {
            Some(network) => endpoint.addresses.get(network).copied(),
            None => self.hosts.get(&endpoint.host).copied(),
        }
    }

    fn domains(&self, networks: &[NetworkName]) -> Option<BTreeSet<String>> {
        if networks.is_empty() {
            // On the hosts' own network, which is part of no domain and reachable from all.
            return None;
        }
        let known = networks.iter().filter_map(|network| self.networks.get(network));
        Some(known.map(|spec| spec.domain().to_owned()).collect())
    }
}

/// One service, and what it was made from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Served {
    shards: Vec<Arc<Endpoints>>,
    /// Of each endpoint of each shard, in order.
    standings: Vec<Standing>,
    pub(super) name: Arc<Name>,
    /// Further names, as they are if no other service carries them too.
    pub(super) aliases: BTreeMap<String, Arc<Name>>,
    pub(super) pointers: Vec<(Ipv4Addr, Arc<str>)>,
    pub(super) askers: Vec<(Ipv4Addr, Arc<BTreeSet<NetworkName>>)>,
}

/// A copy with what becomes of it.
pub(super) type Copy<'a> = (Standing, &'a Endpoint);

impl Served {
    /// What becomes of each endpoint.
    pub(super) fn standings(
        shards: &BTreeMap<u32, Shard>,
        world: &World,
        here: &Here,
        gone: &BTreeSet<HostName>,
    ) -> Vec<Standing> {
        let all = shards.values().flat_map(|shard| shard.body.endpoints.iter().map(move |it| (shard, it)));
        all.map(|(shard, endpoint)| stand(endpoint, shard.body.policy, world, here, gone)).collect()
    }

    /// Whether it was made from these.
    pub(super) fn is_of(&self, shards: &BTreeMap<u32, Shard>, standings: &[Standing]) -> bool {
        // The very same values: while this holds them, no other can stand in their place.
        let mut pairs = self.shards.iter().zip(shards.values());
        self.shards.len() == shards.len()
            && pairs.all(|(own, shard)| Arc::ptr_eq(own, &shard.body))
            && self.standings == standings
    }

    /// Made anew.
    pub(super) fn new(
        id: &ServiceId,
        shards: &BTreeMap<u32, Shard>,
        standings: Vec<Standing>,
        ground: &Ground,
    ) -> Self {
        let it = Self {
            shards: shards.values().map(|shard| shard.body.clone()).collect(),
            standings,
            name: Arc::default(),
            aliases: BTreeMap::new(),
            pointers: Vec::new(),
            askers: Vec::new(),
        };
        let (networks, copies) = (it.networks(), it.copies());
        let mut slots: BTreeMap<String, Vec<Copy<'_>>> = BTreeMap::new();
        for copy in &copies {
            slots.entry(copy.1.slot.to_string()).or_default().push(*copy);
        }
        let slots = slots.into_iter().map(|(slot, own)| (slot, views(ground, &networks, &own))).collect();
        let views = views(ground, &networks, &copies);
        let why = why(&views, &copies, ground);
        let name = Arc::new(Name { domains: ground.domains(&networks), views, slots, why });
        let carried: BTreeSet<&str> =
            it.shards.iter().flat_map(|s| s.aliases.values().flatten()).map(|name| name.as_str()).collect();
        let aliases =
            carried.into_iter().map(|a| (a.to_owned(), Arc::new(alias(a, &[&it], ground)))).collect();
        let pointers = pointers(id, &copies, ground);
        let askers = copies.iter().flat_map(|(_, endpoint)| Self::asking(&endpoint.addresses)).collect();
        Self { name, aliases, pointers, askers, ..it }
    }

    /// What a container with these addresses may ask from each of them; nothing to say of one address.
    pub(super) fn asking(
        addresses: &BTreeMap<NetworkName, Ipv4Addr>,
    ) -> Vec<(Ipv4Addr, Arc<BTreeSet<NetworkName>>)> {
        if addresses.len() < 2 {
            return Vec::new();
        }
        let networks: Arc<BTreeSet<NetworkName>> = Arc::new(addresses.keys().cloned().collect());
        addresses.values().map(|address| (*address, networks.clone())).collect()
    }

    fn copies(&self) -> Vec<Copy<'_>> {
        let endpoints = self.shards.iter().flat_map(|shard| &shard.endpoints);
        self.standings.iter().copied().zip(endpoints).collect()
    }

    /// The service's networks, the first one first.
    fn networks(&self) -> Vec<NetworkName> {
        let said = self.shards.iter().flat_map(|shard| &shard.networks);
        // Copies of an older template may still be on a network that the newest one left.
        let endpoints = self.shards.iter().flat_map(|shard| &shard.endpoints);
        let also: BTreeSet<&NetworkName> = endpoints.flat_map(|endpoint| endpoint.addresses.keys()).collect();
        let mut seen = BTreeSet::new();
        said.chain(also).filter(|network| seen.insert(*network)).cloned().collect()
    }

    /// The networks on which it has the further name.
    fn networks_of(&self, alias: &str) -> Vec<NetworkName> {
        let has = |network: &NetworkName| {
            let on = self.shards.iter().filter_map(|shard| shard.aliases.get(network));
            on.flatten().any(|name| name.as_str() == alias)
        };
        self.networks().into_iter().filter(has).collect()
    }
}

/// A further name, perhaps of several services: all their copies together, each on the networks where it
/// has the name.
pub(super) fn alias(name: &str, carriers: &[&Served], ground: &Ground) -> Name {
    let on: Vec<(Vec<NetworkName>, &&Served)> =
        carriers.iter().map(|served| (served.networks_of(name), served)).collect();
    let mut networks: Vec<NetworkName> = Vec::new();
    for network in on.iter().flat_map(|(networks, _)| networks) {
        if !networks.contains(network) {
            networks.push(network.clone());
        }
    }
    let views = networks.iter().flat_map(|network| {
        let there = on.iter().filter(|(networks, _)| networks.contains(network));
        let copies: Vec<Copy<'_>> = there.flat_map(|(_, served)| served.copies()).collect();
        views(ground, std::slice::from_ref(network), &copies)
    });
    let views: Vec<View> = views.collect();
    let copies: Vec<Copy<'_>> = carriers.iter().flat_map(|served| served.copies()).collect();
    let why = why(&views, &copies, ground);
    // Without networks there is no such name, and not one under all domains.
    let domains = ground.domains(&networks).or_else(|| Some(BTreeSet::new()));
    Name { domains, views, slots: BTreeMap::new(), why }
}

fn views(ground: &Ground, networks: &[NetworkName], copies: &[Copy<'_>]) -> Vec<View> {
    if networks.is_empty() {
        return vec![view(None, None, copies, |endpoint| ground.address(None, endpoint))];
    }
    let on = |network: &NetworkName| {
        let ttl = ground.networks.get(network).map(|spec| seconds(spec.ttl().0));
        view(Some(network.clone()), ttl, copies, |endpoint| ground.address(Some(network), endpoint))
    };
    networks.iter().map(on).collect()
}

/// A time to live as records have it.
pub(super) fn seconds(ttl: std::time::Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX).min(86_400)
}

/// The best copies among those that have an address here.
fn view(
    network: Option<NetworkName>,
    ttl: Option<u32>,
    copies: &[Copy<'_>],
    address: impl Fn(&Endpoint) -> Option<Ipv4Addr>,
) -> View {
    let mut here: Vec<(Rank, &Endpoint, Ipv4Addr)> = Vec::new();
    for (standing, endpoint) in copies {
        if let (Some(rank), Some(address)) = (standing.rank(), address(endpoint)) {
            here.push((rank, endpoint, address));
        }
    }
    let best = here.iter().map(|(rank, ..)| *rank).min();
    let mut view = View { network, ttl, ..View::default() };
    for (_, endpoint, address) in here.iter().filter(|(rank, ..)| Some(*rank) == best) {
        view.addresses.push(*address);
        for port in &endpoint.ports {
            let service = &endpoint.id.service;
            let name = format!("{}.{}.{}", endpoint.slot, service.name, service.namespace);
            let target = Target { name, port: port.port, address: *address };
            view.targets.entry((port.protocol, port.name.to_string())).or_default().push(target);
        }
    }
    view.addresses.sort_unstable();
    view.addresses.dedup();
    for targets in view.targets.values_mut() {
        targets.sort_unstable();
        targets.dedup();
    }
    view
}

fn pointers(id: &ServiceId, copies: &[Copy<'_>], ground: &Ground) -> Vec<(Ipv4Addr, Arc<str>)> {
    let ServiceId { namespace, name } = id;
    let mut pointers = Vec::new();
    for (_, endpoint) in copies {
        for (network, address) in &endpoint.addresses {
            if let Some(spec) = ground.networks.get(network) {
                let full = format!("{}.{name}.{namespace}.{}", endpoint.slot, spec.domain());
                pointers.push((*address, Arc::from(full)));
            }
        }
    }
    pointers
}
