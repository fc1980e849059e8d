//! The zone: everything that one host's name server answers from, and how it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use evenkeel_api::name::{HostName, NetworkName, ServiceId};
use evenkeel_api::network::Cidr;
use evenkeel_api::service::Protocol;

use super::served::{Ground, Served, alias, seconds};
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
    pub(super) askers: BTreeMap<Ipv4Addr, Arc<BTreeSet<NetworkName>>>,
    /// By namespace, services and their further names.
    pub(super) names: BTreeMap<String, BTreeMap<String, Arc<Name>>>,
    /// Hosts' addresses on the LAN.
    pub(super) hosts: BTreeMap<String, Ipv4Addr>,
    /// The names of addresses, in full.
    pub(super) pointers: BTreeMap<Ipv4Addr, Arc<str>>,
    /// What it was made from, for the next one.
    ground: Arc<Ground>,
    services: BTreeMap<ServiceId, Arc<Served>>,
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
    /// Why it leads where it leads: a line for each copy.
    pub(super) why: Vec<Arc<str>>,
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

    /// The same as [`zone`], but what has not changed since this one is taken from it: a change of one
    /// service costs that service, and little for all others.
    pub fn next(&self, world: &World, here: &Here, gone: &BTreeSet<HostName>) -> Self {
        let ground = self.ground.renewed(world);
        let kept =
            |id: &ServiceId| self.services.get(id).filter(|_| Arc::ptr_eq(&ground, &self.ground)).cloned();
        let known = world.endpoints.iter().filter(|(_, shards)| !shards.is_empty());
        let services: BTreeMap<ServiceId, Arc<Served>> = known
            .map(|(id, shards)| {
                let standings = Served::standings(shards, world, here, gone);
                let kept = kept(id).filter(|kept| kept.is_of(shards, &standings));
                (id.clone(), kept.unwrap_or_else(|| Arc::new(Served::new(id, shards, standings, &ground))))
            })
            .collect();
        Self {
            complete: true,
            revision: world.revision(),
            domains: domains(world, here),
            pools: pools(world, here),
            askers: askers(&services, here),
            names: names(&services, &ground),
            hosts: world.hosts.iter().map(|(host, address)| (host.to_string(), *address)).collect(),
            pointers: pointers(world, &services),
            ground,
            services,
        }
    }
}

/// Makes the zone of the host `here`. `gone`: hosts whose `alive` has been gone for [`super::LIMIT`].
pub fn zone(world: &World, here: &Here, gone: &BTreeSet<HostName>) -> Zone {
    Zone::default().next(world, here, gone)
}

fn names(
    services: &BTreeMap<ServiceId, Arc<Served>>,
    ground: &Ground,
) -> BTreeMap<String, BTreeMap<String, Arc<Name>>> {
    let mut names: BTreeMap<String, BTreeMap<String, Arc<Name>>> = BTreeMap::new();
    let mut further: BTreeMap<(&str, &str), Vec<&Served>> = BTreeMap::new();
    for (id, served) in services {
        let room = names.entry(id.namespace.to_string()).or_default();
        room.insert(id.name.to_string(), served.name.clone());
        for alias in served.aliases.keys() {
            further.entry((id.namespace.as_str(), alias.as_str())).or_default().push(served);
        }
    }
    for ((namespace, name), carriers) in further {
        let room = names.entry(namespace.to_owned()).or_default();
        // A service wins over others' further names: nobody can take it over by an alias.
        room.entry(name.to_owned()).or_insert_with(|| match carriers.as_slice() {
            [one] => one.aliases.get(name).cloned().unwrap_or_default(),
            several => Arc::new(alias(name, several, ground)),
        });
    }
    names
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
fn askers(
    services: &BTreeMap<ServiceId, Arc<Served>>,
    here: &Here,
) -> BTreeMap<Ipv4Addr, Arc<BTreeSet<NetworkName>>> {
    let served = services.values().flat_map(|served| &served.askers);
    let mut askers: BTreeMap<_, _> = served.map(|(address, networks)| (*address, networks.clone())).collect();
    // Copies that do not serve yet ask too: those of this host are known.
    for copy in here.instances.iter().flat_map(|local| local.instances.values()) {
        askers.extend(Served::asking(&copy.observed.addresses));
    }
    askers
}

fn pointers(world: &World, services: &BTreeMap<ServiceId, Arc<Served>>) -> BTreeMap<Ipv4Addr, Arc<str>> {
    let mut pointers = Vec::new();
    let domain = world.networks.values().map(|spec| spec.domain()).min();
    for (host, address) in domain.iter().flat_map(|_| &world.hosts) {
        let domain = domain.unwrap_or_default();
        pointers.push((*address, Arc::from(format!("{host}.node.{domain}"))));
    }
    for (network, host, address) in world.gateways() {
        if let Some(spec) = world.networks.get(network) {
            pointers.push((address, Arc::from(format!("{host}.node.{}", spec.domain()))));
        }
    }
    pointers.extend(services.values().flat_map(|served| served.pointers.iter().cloned()));
    pointers.into_iter().collect()
}
