//! The zone: everything that one host's name server answers from, and how it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use evenkeel_api::name::{HostName, NetworkName, ServiceId};
use evenkeel_api::network::Cidr;
use evenkeel_api::record::Endpoint;
use evenkeel_api::service::{EndpointsPolicy, Protocol};

use super::choose::{Rank, rank};
use super::world::{Here, World};

/// What a name server answers: immutable, made whole, exchanged whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    /// Whether what it is made from was ever known. Until then no name can be said not to exist.
    pub(super) complete: bool,
    /// The highest revision of an endpoints key that it holds.
    pub(super) revision: i64,
    /// The domains, those with the most labels first.
    pub(super) domains: Vec<Domain>,
    /// The networks' pools.
    pub(super) pools: Vec<(Cidr, NetworkName)>,
    /// Containers on several networks: which those are.
    pub(super) askers: BTreeMap<Ipv4Addr, BTreeSet<NetworkName>>,
    /// By namespace, services and their further names.
    pub(super) names: BTreeMap<String, BTreeMap<String, Name>>,
    /// Hosts' addresses on the LAN.
    pub(super) hosts: BTreeMap<String, Ipv4Addr>,
    /// The names of addresses, in full.
    pub(super) pointers: BTreeMap<Ipv4Addr, String>,
}

/// A domain that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) labels: Vec<String>,
    /// Seconds that answers may be cached.
    pub(super) ttl: u32,
}

/// A name in a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Name {
    /// The domains below which it is found; `None`: all of them.
    pub(super) domains: Option<BTreeSet<String>>,
    /// What it leads to, by network, the service's first network first.
    pub(super) views: Vec<View>,
    /// The same for each slot.
    pub(super) slots: BTreeMap<String, Vec<View>>,
}

/// What a name leads to on one network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    /// `None`: the hosts' own network.
    pub(super) network: Option<NetworkName>,
    /// Seconds; `None`: the domain's.
    pub(super) ttl: Option<u32>,
    /// Sorted, each once.
    pub(super) addresses: Vec<Ipv4Addr>,
    /// By protocol and name of the port.
    pub(super) targets: BTreeMap<(Protocol, String), Vec<Target>>,
}

/// Where one copy takes connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The copy's own name, up to its domain: `1.web.shop`.
    pub name: String,
    /// The port.
    pub port: u16,
    /// Its address.
    pub address: Ipv4Addr,
}

impl Zone {
    /// The zone of a server that has learnt nothing yet but what stands on its host: it can forward, and
    /// knows which names are none of the others' business.
    pub fn unknown(here: &Here) -> Self {
        Self { complete: false, ..zone(&World::default(), here, &BTreeSet::new()) }
    }

    /// The highest revision of an endpoints key that it holds.
    pub fn revision(&self) -> i64 {
        self.revision
    }
}

/// Makes the zone of the host `here`. `gone`: hosts whose `alive` has been gone for [`super::LIMIT`].
pub fn zone(world: &World, here: &Here, gone: &BTreeSet<HostName>) -> Zone {
    let copies = copies(world, here, gone);
    let mut names: BTreeMap<String, BTreeMap<String, Name>> = BTreeMap::new();
    for (id, copies) in &copies {
        let name = service_name(world, copies);
        names.entry(id.namespace.to_string()).or_default().insert(id.name.to_string(), name);
    }
    for ((namespace, alias), copies) in aliases(&copies) {
        // A service wins over others' further names: nobody can take it over by an alias.
        names.entry(namespace).or_default().entry(alias).or_insert_with(|| alias_name(world, &copies));
    }
    Zone {
        complete: true,
        revision: world.revision(),
        domains: domains(world, here),
        pools: pools(world, here),
        askers: askers(world, here),
        names,
        hosts: world.hosts.iter().map(|(host, address)| (host.to_string(), *address)).collect(),
        pointers: pointers(world, &copies),
    }
}

/// A service's copies as names see them.
struct Copies<'a> {
    id: &'a ServiceId,
    /// The service's networks, the first one first.
    networks: Vec<&'a NetworkName>,
    aliases: BTreeMap<&'a NetworkName, BTreeSet<&'a str>>,
    /// With their rank.
    copies: Vec<(Option<Rank>, &'a Endpoint)>,
}

fn copies<'a>(
    world: &'a World,
    here: &Here,
    gone: &BTreeSet<HostName>,
) -> BTreeMap<&'a ServiceId, Copies<'a>> {
    let known = world.endpoints.iter().filter(|(_, shards)| !shards.is_empty());
    known
        .map(|(id, shards)| {
            let mut it = Copies { id, networks: Vec::new(), aliases: BTreeMap::new(), copies: Vec::new() };
            for shard in shards.values() {
                let policy: EndpointsPolicy = shard.body.policy;
                it.networks.extend(&shard.body.networks);
                for (network, aliases) in &shard.body.aliases {
                    it.aliases.entry(network).or_default().extend(aliases.iter().map(|a| a.as_str()));
                }
                for endpoint in &shard.body.endpoints {
                    it.copies.push((rank(endpoint, policy, world, here, gone), endpoint));
                }
            }
            // Copies of an older template may still be on a network that the newest one left.
            let also = it.copies.iter().flat_map(|(_, endpoint)| endpoint.addresses.keys());
            it.networks.extend(also.collect::<BTreeSet<_>>());
            let mut seen = BTreeSet::new();
            it.networks.retain(|network| seen.insert(*network));
            (id, it)
        })
        .collect()
}

/// The name of a service: on all its networks, with its slots.
fn service_name(world: &World, service: &Copies<'_>) -> Name {
    let mut slots: BTreeMap<String, Vec<(Option<Rank>, &Endpoint)>> = BTreeMap::new();
    for copy in &service.copies {
        slots.entry(copy.1.slot.to_string()).or_default().push(*copy);
    }
    Name {
        domains: domains_of(world, &service.networks),
        views: views(world, &service.networks, &service.copies),
        slots: slots.into_iter().map(|(slot, own)| (slot, views(world, &service.networks, &own))).collect(),
    }
}

/// Who is meant by each further name: the services that carry it, and on which networks.
type Aliases<'a> = BTreeMap<(String, String), Vec<(&'a NetworkName, &'a Copies<'a>)>>;

fn aliases<'a>(services: &'a BTreeMap<&ServiceId, Copies<'a>>) -> Aliases<'a> {
    let mut found: Aliases<'a> = BTreeMap::new();
    for service in services.values() {
        for network in &service.networks {
            for alias in service.aliases.get(*network).into_iter().flatten() {
                let key = (service.id.namespace.to_string(), (*alias).to_owned());
                found.entry(key).or_default().push((network, service));
            }
        }
    }
    found
}

/// A further name, perhaps of several services: all their copies together, each on the networks where it
/// has the name.
fn alias_name(world: &World, meant: &[(&NetworkName, &Copies<'_>)]) -> Name {
    let mut networks: Vec<&NetworkName> = Vec::new();
    for (network, _) in meant {
        if !networks.contains(network) {
            networks.push(network);
        }
    }
    let view = |network: &NetworkName| {
        let on = meant.iter().filter(|(named, _)| *named == network);
        let copies: Vec<_> = on.flat_map(|(_, service)| service.copies.iter().copied()).collect();
        views(world, &[network], &copies)
    };
    Name {
        domains: domains_of(world, &networks),
        views: networks.iter().flat_map(|network| view(network)).collect(),
        slots: BTreeMap::new(),
    }
}

fn domains_of(world: &World, networks: &[&NetworkName]) -> Option<BTreeSet<String>> {
    if networks.is_empty() {
        // On the hosts' own network, which is part of no domain and reachable from all.
        return None;
    }
    let known = networks.iter().filter_map(|network| world.networks.get(*network));
    Some(known.map(|spec| spec.domain().to_owned()).collect())
}

fn views(world: &World, networks: &[&NetworkName], copies: &[(Option<Rank>, &Endpoint)]) -> Vec<View> {
    if networks.is_empty() {
        let on_host = |endpoint: &Endpoint| world.hosts.get(&endpoint.host).copied();
        return vec![view(None, None, copies, on_host)];
    }
    let on = |network: &&NetworkName| {
        let ttl = world.networks.get(*network).map(|spec| seconds(spec.ttl().0));
        view(Some((*network).clone()), ttl, copies, |endpoint| endpoint.addresses.get(*network).copied())
    };
    networks.iter().map(on).collect()
}

fn seconds(ttl: std::time::Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX).min(86_400)
}

/// The best copies among those that have an address here.
fn view(
    network: Option<NetworkName>,
    ttl: Option<u32>,
    copies: &[(Option<Rank>, &Endpoint)],
    address: impl Fn(&Endpoint) -> Option<Ipv4Addr>,
) -> View {
    let mut here: Vec<(Rank, &Endpoint, Ipv4Addr)> = Vec::new();
    for (rank, endpoint) in copies {
        if let (Some(rank), Some(address)) = (rank, address(endpoint)) {
            here.push((*rank, endpoint, address));
        }
    }
    let best = here.iter().map(|(rank, ..)| *rank).min();
    let chosen = here.iter().filter(|(rank, ..)| Some(*rank) == best);
    let mut view = View { network, ttl, ..View::default() };
    for (_, endpoint, address) in chosen {
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

/// The domains of all networks: those accepted, and those that stand on this host.
fn domains(world: &World, here: &Here) -> Vec<Domain> {
    let mut ttls: BTreeMap<&str, u32> = BTreeMap::new();
    for local in here.networks.iter().flat_map(|local| local.networks.values()) {
        ttls.insert(&local.domain, seconds(evenkeel_api::network::TTL.0));
    }
    let mut accepted: BTreeMap<&str, u32> = BTreeMap::new();
    for spec in world.networks.values() {
        let ttl = seconds(spec.ttl().0);
        accepted.entry(spec.domain()).and_modify(|least| *least = ttl.min(*least)).or_insert(ttl);
    }
    ttls.extend(accepted);
    let mut domains: Vec<Domain> = ttls
        .into_iter()
        .map(|(name, ttl)| Domain {
            name: name.to_owned(),
            labels: name.split('.').map(str::to_owned).collect(),
            ttl,
        })
        .collect();
    domains.sort_by_key(|domain| std::cmp::Reverse(domain.labels.len()));
    domains
}

fn pools(world: &World, here: &Here) -> Vec<(Cidr, NetworkName)> {
    let mut pools: BTreeSet<(Cidr, NetworkName)> = BTreeSet::new();
    for (name, spec) in &world.networks {
        pools.extend(spec.pools().map(|pool| (pool, name.clone())));
    }
    for (name, local) in here.networks.iter().flat_map(|local| &local.networks) {
        pools.insert((local.pool, name.clone()));
    }
    pools.into_iter().collect()
}

/// Containers on several networks ask from one of their addresses, and may use names on all of them.
fn askers(world: &World, here: &Here) -> BTreeMap<Ipv4Addr, BTreeSet<NetworkName>> {
    let shards = world.endpoints.values().flat_map(BTreeMap::values);
    let served = shards.flat_map(|shard| &shard.body.endpoints).map(|endpoint| &endpoint.addresses);
    // Copies that do not serve yet ask too: those of this host are known.
    let local = here.instances.iter().flat_map(|local| local.instances.values());
    let mut askers: BTreeMap<Ipv4Addr, BTreeSet<NetworkName>> = BTreeMap::new();
    for addresses in served.chain(local.map(|copy| &copy.observed.addresses)) {
        if addresses.len() > 1 {
            for address in addresses.values() {
                askers.entry(*address).or_default().extend(addresses.keys().cloned());
            }
        }
    }
    askers
}

fn pointers(world: &World, services: &BTreeMap<&ServiceId, Copies<'_>>) -> BTreeMap<Ipv4Addr, String> {
    let mut pointers = BTreeMap::new();
    let mut domains = world.networks.values().map(|spec| spec.domain()).collect::<Vec<_>>();
    domains.sort_unstable();
    if let Some(domain) = domains.first() {
        for (host, address) in &world.hosts {
            pointers.insert(*address, format!("{host}.node.{domain}"));
        }
    }
    for (network, host, address) in world.gateways() {
        if let Some(spec) = world.networks.get(network) {
            pointers.insert(address, format!("{host}.node.{}", spec.domain()));
        }
    }
    for service in services.values() {
        let ServiceId { namespace, name } = service.id;
        for (_, endpoint) in &service.copies {
            for (network, address) in &endpoint.addresses {
                if let Some(spec) = world.networks.get(network) {
                    let full = format!("{}.{name}.{namespace}.{}", endpoint.slot, spec.domain());
                    pointers.insert(*address, full);
                }
            }
        }
    }
    pointers
}
