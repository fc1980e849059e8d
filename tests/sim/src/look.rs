//! A look at the whole cluster from outside: what ought to be, and what is. Only what changed since the last
//! look is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_api::key::{Key, prefix};
use evenkeel_plan::instance::container::{ContainerState, label};

use crate::cluster::Cluster;
use crate::documents::{Service, is_sick, is_well};
use crate::host::Host;
use crate::judge::Available;
use crate::names::Names;
use crate::rejected::Rejected;
use crate::stored::Stored;

/// A managed container may have no record that long.
const ORPHAN: Duration = Duration::from_secs(120);

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
    /// Whether it answers no check.
    pub sick: bool,
    /// Its address.
    pub address: Option<Ipv4Addr>,
}

impl Copy {
    /// Its slot's number, from 1.
    fn slot(&self) -> u32 {
        self.name.rsplit('.').nth(1).and_then(|slot| slot.parse().ok()).unwrap_or_default()
    }

    /// Whether it serves as far as anybody can tell: without a check nobody sees that it is sick.
    pub fn serves(&self, service: &Service) -> bool {
        let passes = !service.checked || !(self.sick || is_sick(&self.image));
        self.runs && passes && (is_well(&self.image) || is_sick(&self.image))
    }
}

/// What is seen over time.
#[derive(Default)]
pub struct Looker {
    versions: Vec<u64>,
    /// By host.
    copies: Vec<Vec<Copy>>,
    stored: Stored,
    names: Names,
    rejected: Rejected,
    /// Containers without a record, since when.
    orphans: BTreeMap<(u8, String), Duration>,
    /// Whether there may be such.
    orphaned: bool,
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
            sick: host.sick.is(container),
            address: container.addresses.values().next().copied(),
        });
    });
    found
}

impl Looker {
    /// Looks, and tells what does not hold.
    pub fn look(&mut self, cluster: &Cluster) {
        let moved = self.look_at_engines(cluster);
        let written = self.stored.read(cluster);
        if let Some(written) = &written {
            self.rejected.look(&cluster.timeline, written);
            halted(cluster);
        }
        if moved || written.is_some() {
            let orphaned = self.copies().any(|copy| !self.stored.is_recorded(copy));
            self.orphaned = orphaned;
            self.count(cluster);
        }
        self.orphans(cluster);
        self.names.look(cluster, &self.stored);
    }

    /// The same for what engines run alone: that is looked at whenever it changes. Whether it did.
    pub fn look_at_engines(&mut self, cluster: &Cluster) -> bool {
        self.versions.resize(cluster.hosts.len(), u64::MAX);
        self.copies.resize(cluster.hosts.len(), Vec::new());
        let mut moved = false;
        for ((host, known), copies) in cluster.hosts.iter().zip(&mut self.versions).zip(&mut self.copies) {
            let version = host.engine.version() + host.sick.version();
            if std::mem::replace(known, version) != version {
                *copies = copies_on(host);
                moved = true;
            }
        }
        if moved {
            self.exclusive(cluster);
        }
        moved
    }

    fn copies(&self) -> impl Iterator<Item = &Copy> {
        self.copies.iter().flatten()
    }

    /// I1: of an exclusive slot, never two run.
    fn exclusive(&self, cluster: &Cluster) {
        let mut slots: BTreeMap<(&str, &str), &Copy> = BTreeMap::new();
        for copy in self.copies().filter(|copy| copy.runs && cluster.exclusive.contains(&copy.service)) {
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
        let calm = cluster.is_sure() && (1..=cluster.hosts.len() as u8).all(|number| cluster.is_calm(number));
        let at = cluster.timeline.now();
        cluster.judge.knows(|name| cluster.wanted.contains_key(name));
        for (name, service) in &cluster.wanted {
            let now = service.replicas.filter(|_| calm).map(|replicas| Available {
                at,
                wanted: replicas as usize,
                well: self.well(name, service, replicas as usize),
            });
            cluster.judge.available(name, now);
        }
    }

    /// Which copies of a service count as its replicas.
    fn well(&self, name: &str, service: &Service, replicas: usize) -> BTreeSet<String> {
        let own = || self.copies().filter(|copy| copy.service == name);
        // Where each slot has a volume, the lowest numbers stay, however the others are.
        let stay = service.volume.then(|| own().map(Copy::slot).collect::<BTreeSet<u32>>());
        let stay = stay.map(|slots| slots.into_iter().take(replicas).collect::<BTreeSet<u32>>());
        let counts = |copy: &&Copy| stay.as_ref().is_none_or(|stay| stay.contains(&copy.slot()));
        own().filter(|copy| copy.serves(service)).filter(counts).map(|copy| copy.name.clone()).collect()
    }

    /// I3: what nobody wants is removed in time.
    fn orphans(&mut self, cluster: &Cluster) {
        if !self.orphaned {
            self.orphans.clear();
            return;
        }
        let now = cluster.timeline.now();
        let mut still = BTreeMap::new();
        for copy in self.copies() {
            // Time counts only while its controllers could do something about it.
            if self.stored.is_recorded(copy) || !cluster.is_calm(copy.host) {
                continue;
            }
            let key = (copy.host, copy.name.clone());
            let since = self.orphans.get(&key).copied().unwrap_or(now);
            if now - since > ORPHAN {
                let what = format!("{} on h{} has had no record for {:?}", copy.name, copy.host, now - since);
                cluster.timeline.violated("I3 no orphan", &what);
            }
            still.insert(key, since);
        }
        self.orphans = still;
    }
}

/// I10: nobody is halted for nothing.
fn halted(cluster: &Cluster) {
    if !cluster.is_past()
        && let Some(halt) = cluster.store.peek(&Key::Halt.to_string()).first()
    {
        let why = String::from_utf8_lossy(&halt.value);
        cluster.timeline.violated("I10 no halt for nothing", &why);
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
            let given = crate::names::given_on(host, name).unwrap_or_default();
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
