//! A look at the whole cluster from outside: what ought to be, and what is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::record::Endpoints;
use evenkeel_plan::dns::{Found, Wanted};
use evenkeel_plan::instance::container::{ContainerState, label};

use crate::cluster::Cluster;
use crate::documents::{NAMESPACE, Service, is_sick, is_well};
use crate::host::Host;
use crate::judge::Available;

/// A managed container may have no record that long.
const ORPHAN: Duration = Duration::from_secs(120);

/// Names are looked at that often.
const NAMES_EVERY: Duration = Duration::from_millis(300);
/// So long they may say what the store says no more: 1.2 s, and the looks at either end.
const NAMES_LATE: Duration = Duration::from_millis(1800);

/// A container of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Which host it is on.
    pub host: u8,
    /// Its name, which is the instance's id.
    pub name: String,
    /// Of which service; empty if its labels do not tell.
    pub service: String,
    /// What its template runs.
    pub image: String,
    /// Whether it runs.
    pub runs: bool,
    /// Its address.
    pub address: Option<Ipv4Addr>,
}

impl Copy {
    /// Whether it serves as far as anybody can tell: without a check nobody sees that it is sick.
    pub fn serves(&self, service: &Service) -> bool {
        self.runs && (is_well(&self.image) || (is_sick(&self.image) && !service.checked))
    }
}

/// What is seen over time.
#[derive(Default)]
pub struct Looker {
    versions: Vec<u64>,
    revision: i64,
    copies: Vec<Copy>,
    records: BTreeSet<String>,
    /// Containers without a record, since when.
    orphans: BTreeMap<(u8, String), Duration>,
    /// What is listed, by service: the addresses with their hosts.
    listed: BTreeMap<String, BTreeMap<Ipv4Addr, String>>,
    /// The hosts that the store knows alive.
    alive: BTreeSet<String>,
    /// What names say that is not so, since when.
    wrong: BTreeMap<(u8, String), Duration>,
    next_names: Duration,
}

/// All containers of ours on one host.
pub fn copies_on(host: &Host) -> Vec<Copy> {
    let mut found = Vec::new();
    host.engine.look(|container, spec| {
        if !container.labels.contains_key(label::CLUSTER) {
            return;
        }
        let service = container.labels.get(label::SERVICE).cloned().unwrap_or_default();
        found.push(Copy {
            host: host.number,
            name: container.name.clone(),
            service,
            image: spec.map(|spec| spec.template.image.clone()).unwrap_or_default(),
            runs: container.state == ContainerState::Running,
            address: container.addresses.values().next().copied(),
        });
    });
    found
}

/// The addresses that a host's names give for a service; `None`: it answers nothing yet.
pub fn names_on(host: &Host, service: &str) -> Option<BTreeSet<Ipv4Addr>> {
    let zone = host.names()?.zone();
    let asker = IpAddr::V4(Ipv4Addr::new(10, 88, 0, 1));
    match zone.lookup(&[service, NAMESPACE, "internal"], Wanted::A, asker) {
        Found::Addresses { addresses, .. } => Some(addresses.iter().copied().collect()),
        Found::Unknown => None,
        _ => Some(BTreeSet::new()),
    }
}

impl Looker {
    /// Looks, and tells what does not hold.
    pub fn look(&mut self, cluster: &Cluster) {
        let versions: Vec<u64> = cluster.hosts.iter().map(|host| host.engine.version()).collect();
        let revision = cluster.store.revision();
        if versions != self.versions || revision != self.revision {
            (self.versions, self.revision) = (versions, revision);
            self.copies = cluster.hosts.iter().flat_map(|host| copies_on(host)).collect();
            self.exclusive(cluster);
            self.read_endpoints(cluster);
            self.count(cluster);
            self.records = cluster.store.peek(&prefix::instances()).into_iter().map(|kv| kv.key).collect();
        }
        self.orphans(cluster);
        if cluster.timeline.now() >= self.next_names {
            self.next_names = cluster.timeline.now() + NAMES_EVERY;
            self.names(cluster);
        }
    }

    fn read_endpoints(&mut self, cluster: &Cluster) {
        self.listed.clear();
        for kv in cluster.store.peek(&prefix::endpoints()) {
            let (Ok(Key::Endpoints(service, _)), Ok(endpoints)) =
                (kv.key.parse(), serde_json::from_slice::<Endpoints>(&kv.value))
            else {
                continue;
            };
            let listed = self.listed.entry(service.name.to_string()).or_default();
            for endpoint in endpoints.endpoints {
                let addresses = endpoint.addresses.values();
                listed.extend(addresses.map(|address| (*address, endpoint.host.to_string())));
            }
        }
        let alive = cluster.store.peek(&prefix::alive()).into_iter();
        self.alive = alive.filter_map(|kv| Some(kv.key.strip_prefix("alive/")?.to_owned())).collect();
    }

    /// I1: of an exclusive slot, never two run.
    fn exclusive(&self, cluster: &Cluster) {
        let mut slots: BTreeMap<(&str, &str), &Copy> = BTreeMap::new();
        for copy in self.copies.iter().filter(|copy| copy.runs && cluster.exclusive.contains(&copy.service)) {
            let Some((slot, _seq)) = copy.name.rsplit_once('.') else { continue };
            if let Some(other) = slots.insert((&copy.service, slot), copy) {
                let what =
                    format!("{} on h{} and {} on h{} run", other.name, other.host, copy.name, copy.host);
                cluster.timeline.violated("I1 never two", &what);
            }
        }
    }

    /// I6: how many copies are well, while nothing is wrong with anybody.
    fn count(&mut self, cluster: &Cluster) {
        let calm = (1..=cluster.hosts.len() as u8).all(|number| cluster.is_calm(number));
        let at = cluster.timeline.now();
        for (name, service) in &cluster.wanted {
            let well = self.copies.iter().filter(|copy| copy.service == *name && copy.serves(service));
            let now = Available {
                at,
                wanted: service.replicas.unwrap_or_default() as usize,
                well: well.map(|copy| copy.name.clone()).collect(),
            };
            cluster.judge.available(name, (calm && service.replicas.is_some()).then_some(now));
        }
    }

    /// I7: names give nobody that the store has long known to be gone, and are never empty while it lists
    /// somebody. For hosts with which nothing is wrong.
    fn names(&mut self, cluster: &Cluster) {
        let now = cluster.timeline.now();
        let mut wrong = BTreeMap::new();
        for host in cluster.hosts.iter().filter(|host| cluster.is_calm(host.number)) {
            for (service, listed) in &self.listed {
                let Some(given) = names_on(host, service) else { continue };
                let lives =
                    |address: &Ipv4Addr| listed.get(address).is_some_and(|of| self.alive.contains(of));
                let some_live = listed.keys().any(lives);
                let stale = given.iter().filter(|address| !listed.contains_key(*address));
                let dead = given.iter().filter(|address| some_live && !lives(address));
                let mut found: Vec<String> =
                    stale.chain(dead).map(|address| format!("gives {address} for {service}")).collect();
                if given.is_empty() && !listed.is_empty() {
                    found.push(format!("gives nothing for {service}"));
                }
                for what in found {
                    let key = (host.number, what);
                    let since = self.wrong.get(&key).copied().unwrap_or(now);
                    if now - since > NAMES_LATE {
                        let what = format!("{} {} since {:?}", host.name, key.1, since);
                        cluster.timeline.violated("I7 names", &what);
                    }
                    wrong.insert(key, since);
                }
            }
        }
        self.wrong = wrong;
    }

    /// I3: what nobody wants is removed in time.
    fn orphans(&mut self, cluster: &Cluster) {
        let now = cluster.timeline.now();
        let mut still = BTreeMap::new();
        for copy in &self.copies {
            let host = cluster.host(copy.host);
            let record = format!("instances/{}/{}", host.name, copy.name);
            // Time counts only while its controllers could do something about it.
            if self.records.contains(&record) || !cluster.is_calm(copy.host) {
                continue;
            }
            let key = (copy.host, copy.name.clone());
            let since = self.orphans.get(&key).copied().unwrap_or(now);
            if now - since > ORPHAN {
                let what = format!("{} on {} has had no record for {:?}", copy.name, host.name, now - since);
                cluster.timeline.violated("I3 no orphan", &what);
            }
            still.insert(key, since);
        }
        self.orphans = still;
    }
}

/// I2: why the cluster is not as people want it.
///
/// # Errors
/// The first difference.
pub fn converged(cluster: &Cluster) -> Result<(), String> {
    if !cluster.is_heard() {
        return Err("people are not heard".to_owned());
    }
    let all: Vec<Copy> = cluster.hosts.iter().flat_map(|host| copies_on(host)).collect();
    for copy in &all {
        if !cluster.wanted.contains_key(&copy.service) {
            return Err(format!("nobody wants {} on h{}", copy.name, copy.host));
        }
        if !copy.runs {
            return Err(format!("{} on h{} does not run", copy.name, copy.host));
        }
    }
    for (name, service) in &cluster.wanted {
        let image = service.image.reference(service.version);
        let own: Vec<&Copy> = all.iter().filter(|copy| copy.service == *name).collect();
        let wanted = service.replicas.map_or(cluster.hosts.len(), |replicas| replicas as usize);
        if own.len() != wanted {
            return Err(format!("{name} has {} copies, not {wanted}", own.len()));
        }
        if let Some(copy) = own.iter().find(|copy| copy.image != image) {
            return Err(format!("{} runs {}, not {image}", copy.name, copy.image));
        }
        let addresses: BTreeSet<Ipv4Addr> = own.iter().filter_map(|copy| copy.address).collect();
        for host in &cluster.hosts {
            let given = names_on(host, name).unwrap_or_default();
            if given != addresses {
                return Err(format!("{} gives {given:?} for {name}, not {addresses:?}", host.name));
            }
        }
    }
    let running: BTreeSet<String> = all.iter().map(|copy| format!("h{}/{}", copy.host, copy.name)).collect();
    for prefix in [prefix::instances(), prefix::observed()] {
        let there: BTreeSet<String> = cluster
            .store
            .peek(&prefix)
            .iter()
            .filter_map(|kv| kv.key.strip_prefix(&prefix).map(str::to_owned))
            .collect();
        if let Some(other) = there.symmetric_difference(&running).next() {
            return Err(format!("{prefix} and what runs differ in {other}"));
        }
    }
    for (host, name) in &cluster.foreign {
        if !cluster.host(*host).engine.any(|container, _| container.name == *name) {
            cluster.timeline.violated("I4 only ours", &format!("{name} on h{host} is gone"));
        }
    }
    Ok(())
}
