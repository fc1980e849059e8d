//! Who may take a copy. The filters stand in a fixed order, each counts whom it refused, and a host is
//! counted by the first that refused it.

use std::collections::BTreeMap;
use std::fmt;

use evenkeel_api::host::Availability;
use evenkeel_api::name::{HostName, InstanceId, NetworkName, ObjectName, ServiceId, Slot};
use evenkeel_api::service::{Attribute, Constraint, Protocol, ServiceSpec, Template};

use super::ledger::{HeldPort, Ledger, clash, held_ports};
use super::world::{Host, World};

/// Why a host cannot take a copy, in the order of the filters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It takes no new copies.
    Paused,
    /// Its copies move elsewhere.
    Drained,
    /// It is gone.
    Absent,
    /// It has not said what it is.
    NoFacts,
    /// The copy is exclusive, and nobody would guard it there.
    NoWatchdog,
    /// It is another platform.
    Platform(String),
    /// There is no such network.
    NoNetwork(NetworkName),
    /// The network does not stand there.
    NetworkNotReady(NetworkName),
    /// A constraint does not hold.
    Constraint(String),
    /// A published range picks no address of the host.
    NoAddress,
    /// A port is taken.
    Port(u16, Protocol),
    /// The slot's volume, or one that it shares, is elsewhere.
    Volume(ObjectName),
    /// The host's part of the network is used up.
    Addresses(NetworkName),
    /// Too few CPUs are free.
    Cpus,
    /// Too little memory is free.
    Memory,
    /// It has as many copies as one host may.
    MaxPerHost,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Paused => f.write_str("paused"),
            Refusal::Drained => f.write_str("drained"),
            Refusal::Absent => f.write_str("gone"),
            Refusal::NoFacts => f.write_str("not registered yet"),
            Refusal::NoWatchdog => f.write_str("no watchdog"),
            Refusal::Platform(wanted) => write!(f, "not {wanted}"),
            Refusal::NoNetwork(name) => write!(f, "no Network named {name}"),
            Refusal::NetworkNotReady(name) => write!(f, "network {name} not ready"),
            Refusal::Constraint(text) => write!(f, "constraint {text}"),
            Refusal::NoAddress => f.write_str("no address in host_ip"),
            Refusal::Port(port, Protocol::Tcp) => write!(f, "port {port}"),
            Refusal::Port(port, Protocol::Udp) => write!(f, "port {port}/udp"),
            Refusal::Volume(name) => write!(f, "volume {name} elsewhere"),
            Refusal::Addresses(name) => write!(f, "addresses of {name} used up"),
            Refusal::Cpus => f.write_str("cpus"),
            Refusal::Memory => f.write_str("memory"),
            Refusal::MaxPerHost => f.write_str("max_replicas_per_node"),
        }
    }
}

impl Refusal {
    /// The same in one of a few words.
    fn lack(&self) -> Lack {
        match self {
            Refusal::Paused | Refusal::Drained | Refusal::Absent | Refusal::NoFacts => Lack::Hosts,
            Refusal::NoWatchdog => Lack::Exclusive,
            Refusal::Platform(_) | Refusal::Constraint(_) => Lack::Constraint,
            Refusal::NoNetwork(_) | Refusal::NetworkNotReady(_) => Lack::Network,
            Refusal::NoAddress | Refusal::Addresses(_) => Lack::Address,
            Refusal::Port(..) => Lack::Port,
            Refusal::Volume(_) => Lack::Volume,
            Refusal::Cpus => Lack::Cpus,
            Refusal::Memory => Lack::Memory,
            Refusal::MaxPerHost => Lack::MaxPerHost,
        }
    }
}

/// What is lacking most where no host takes a copy: for programs, which count by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// Another service must come first.
    Dependency,
    /// Hosts that are there and take copies.
    Hosts,
    /// What exclusive copies rely on.
    Exclusive,
    /// A host that the document means.
    Constraint,
    /// A network.
    Network,
    /// An address.
    Address,
    /// A port.
    Port,
    /// The volume: it is elsewhere.
    Volume,
    /// CPUs.
    Cpus,
    /// Memory.
    Memory,
    /// Leave to have more copies on one host.
    MaxPerHost,
}

impl Lack {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Lack::Dependency => "dependency",
            Lack::Hosts => "hosts",
            Lack::Exclusive => "exclusive",
            Lack::Constraint => "constraint",
            Lack::Network => "network",
            Lack::Address => "address",
            Lack::Port => "port",
            Lack::Volume => "volume",
            Lack::Cpus => "cpus",
            Lack::Memory => "memory",
            Lack::MaxPerHost => "max_per_host",
        }
    }
}

/// Who refused a copy, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// By reason.
    pub counts: BTreeMap<Refusal, u32>,
}

impl Refusals {
    /// What the most hosts lack; of several, what the later filter asks for: who fails there has all the rest.
    pub fn lack(&self) -> Lack {
        let most = self.counts.iter().max_by_key(|(_, count)| **count);
        most.map_or(Lack::Hosts, |(refusal, _)| refusal.lack())
    }

    pub(crate) fn add(&mut self, refusal: Refusal) {
        *self.counts.entry(refusal).or_default() += 1;
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u32 = self.counts.values().sum();
        if all == 0 {
            return f.write_str("there are no hosts");
        }
        write!(f, "0/{all} hosts fit: ")?;
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (n, (refusal, count)) in counts.into_iter().enumerate() {
            write!(f, "{}{count} {refusal}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// What the filters that look at the host alone say.
pub(crate) fn refuses(
    world: &World,
    host: &Host,
    spec: &ServiceSpec,
    template: &Template,
    name: &HostName,
) -> Option<Refusal> {
    suits(host, spec, template, name).or_else(|| network(world, host, template))
}

/// Whether a host is meant at all: availability, platform, constraints. Global mode has a slot on each host
/// that passes these.
pub(crate) fn suits(
    host: &Host,
    spec: &ServiceSpec,
    template: &Template,
    name: &HostName,
) -> Option<Refusal> {
    match host.availability() {
        Some(Availability::Active) => {}
        Some(Availability::Pause) => return Some(Refusal::Paused),
        Some(Availability::Drain) | None => return Some(Refusal::Drained),
    }
    if host.alive.is_none() {
        return Some(Refusal::Absent);
    }
    match &host.facts {
        None => return Some(Refusal::NoFacts),
        Some(facts) if template.exclusive && !facts.watchdog => return Some(Refusal::NoWatchdog),
        Some(_) => {}
    }
    fits_platform(host, template).or_else(|| fits_constraints(host, spec, name))
}

fn fits_platform(host: &Host, template: &Template) -> Option<Refusal> {
    let wanted = template.platform.as_deref()?;
    let facts = host.facts.as_ref()?;
    let mut parts = wanted.split('/');
    let (os, arch) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let fits = os == facts.os && (arch.is_empty() || arch == facts.arch);
    (!fits).then(|| Refusal::Platform(wanted.to_owned()))
}

/// The first constraint that does not hold on a host.
pub(crate) fn fits_constraints(host: &Host, spec: &ServiceSpec, name: &HostName) -> Option<Refusal> {
    let broken =
        spec.deploy.placement.constraints.iter().find(|constraint| !holds(host, constraint, name))?;
    let attribute = match &broken.attribute {
        Attribute::Hostname => "node.hostname".to_owned(),
        Attribute::Os => "node.platform.os".to_owned(),
        Attribute::Arch => "node.platform.arch".to_owned(),
        Attribute::Label(key) => format!("node.labels.{key}"),
    };
    let sign = if broken.equal { "==" } else { "!=" };
    Some(Refusal::Constraint(format!("{attribute} {sign} {}", broken.value)))
}

fn holds(host: &Host, constraint: &Constraint, name: &HostName) -> bool {
    let facts = host.facts.as_ref();
    let found = match &constraint.attribute {
        Attribute::Hostname => Some(name.as_str()),
        Attribute::Os => facts.map(|facts| facts.os.as_str()),
        Attribute::Arch => facts.map(|facts| facts.arch.as_str()),
        Attribute::Label(key) => host.label(key),
    };
    (found == Some(constraint.value.as_str())) == constraint.equal
}

fn network(world: &World, host: &Host, template: &Template) -> Option<Refusal> {
    template.networks().into_iter().find_map(|name| match world.networks.get(&name) {
        None => Some(Refusal::NoNetwork(name)),
        Some(network) if network.deleting => Some(Refusal::NoNetwork(name)),
        Some(_) if host.subnets.contains_key(&name) && host.ready.contains(&name) => None,
        Some(_) => Some(Refusal::NetworkNotReady(name)),
    })
}

/// A host that passed the filters which look at it alone, with what is free there.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a> {
    pub name: &'a HostName,
    pub host: &'a Host,
    pub ports: Vec<HeldPort>,
    /// Ports that are wanted there and taken, by whom: one holder of each.
    pub taken: Vec<(HeldPort, Vec<InstanceId>)>,
    pub capacity: (u64, u64),
    pub used: (u64, u64),
    pub addresses: Vec<(NetworkName, u64)>,
    /// All copies there.
    pub copies: u32,
    /// Copies of this service there that stay.
    pub stay: u32,
    /// All copies of this service there.
    pub own: Vec<InstanceId>,
    /// A copy of this service failed there of late.
    pub failed: bool,
    /// For each spread, the index of the host's value.
    pub spread: Vec<usize>,
}

/// What to leave out of the account for one question.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Leave<'a> {
    /// This copy's ports and its place on its host count as free.
    pub ports_of: Option<&'a InstanceId>,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(
        world: &World,
        ledger: &Ledger,
        id: &ServiceId,
        (name, host): (&'a HostName, &'a Host),
        spec: &ServiceSpec,
        template: &Template,
    ) -> Result<Self, Refusal> {
        if let Some(refusal) = refuses(world, host, spec, template, name) {
            return Err(refusal);
        }
        let ports = held_ports(Some(host), &template.ports).ok_or(Refusal::NoAddress)?;
        let used = ledger.used(name);
        let facts = host.facts.as_ref().ok_or(Refusal::NoFacts)?;
        let reserved =
            host.accepted.as_ref().and_then(|accepted| accepted.value.spec.reserved).unwrap_or_default();
        let capacity = (
            facts.cpus.0.saturating_sub(reserved.cpus.unwrap_or_default().0),
            facts.memory.0.saturating_sub(reserved.memory.unwrap_or_default().0),
        );
        let addresses = template.networks().into_iter().map(|network| {
            let size = host.subnets.get(&network).map_or(0, |subnet| subnet.size().saturating_sub(18));
            let taken = used.and_then(|used| used.addresses.get(&network)).copied().unwrap_or(0);
            (network, size.saturating_sub(u64::from(taken)))
        });
        let mut candidate = Self {
            name,
            host,
            taken: Vec::new(),
            capacity,
            used: used.map_or((0, 0), |used| (used.cpus.0, used.memory.0)),
            addresses: addresses.collect(),
            copies: used.map_or(0, |used| used.copies),
            stay: 0,
            own: Vec::new(),
            failed: false,
            spread: Vec::new(),
            ports,
        };
        if let Some(used) = used {
            for port in &candidate.ports {
                let total: u32 =
                    used.ports.iter().filter(|(held, _)| clash(held, port)).map(|(_, count)| count).sum();
                if total > 0 {
                    let mine = ledger.copies(id).filter(|(_, charge)| charge.host == *name);
                    let mine = mine.filter(|(_, charge)| charge.ports.iter().any(|held| clash(held, port)));
                    let mut holders: Vec<InstanceId> = mine.map(|(id, _)| id.clone()).collect();
                    let foreign = total as usize > holders.len();
                    if foreign {
                        holders.clear();
                    }
                    candidate.taken.push((*port, holders));
                }
            }
        }
        Ok(candidate)
    }

    /// What the filters that look at the account say.
    pub(crate) fn refuses(&self, spec: &ServiceSpec, leave: Leave<'_>) -> Option<Refusal> {
        let free = |holders: &[InstanceId]| matches!(holders, [one] if Some(one) == leave.ports_of);
        if let Some((port, _)) = self.taken.iter().find(|(_, holders)| !free(holders)) {
            return Some(Refusal::Port(port.0, port.1));
        }
        if let Some((network, _)) = self.addresses.iter().find(|(_, free)| *free == 0) {
            return Some(Refusal::Addresses(network.clone()));
        }
        let wanted = &spec.deploy.reservations;
        if wanted.cpus.is_some_and(|cpus| self.used.0 + cpus.0 > self.capacity.0) {
            return Some(Refusal::Cpus);
        }
        if wanted.memory.is_some_and(|memory| self.used.1 + memory.0 > self.capacity.1) {
            return Some(Refusal::Memory);
        }
        let max = spec.deploy.placement.max_replicas_per_node?;
        let own = self.own.iter().filter(|id| Some(*id) != leave.ports_of).count();
        (own >= max as usize).then_some(Refusal::MaxPerHost)
    }

    /// How full the host is with one more copy, in thousandths.
    pub(crate) fn load(&self, spec: &ServiceSpec) -> u64 {
        let wanted = &spec.deploy.reservations;
        let share = |used: u64, capacity: u64| (used * 1000).checked_div(capacity).unwrap_or(1000);
        let cpus = share(self.used.0 + wanted.cpus.unwrap_or_default().0, self.capacity.0);
        cpus.max(share(self.used.1 + wanted.memory.unwrap_or_default().0, self.capacity.1))
    }
}

/// Where the volumes of a slot are, if it has any: the hosts that may take it, and the volume that says so.
pub(crate) fn volume_homes(
    world: &World,
    id: &ServiceId,
    spec: &ServiceSpec,
    homes: &BTreeMap<Slot, HostName>,
    slot: &Slot,
) -> Option<(ObjectName, std::collections::BTreeSet<HostName>)> {
    let volumes: Vec<&ObjectName> = spec.volumes().collect();
    let first = (*volumes.first()?).clone();
    let stands = |host: &HostName| world.hosts.get(host).is_some_and(|host| !host.is_removed());
    if let Some(home) = homes.get(slot).filter(|home| stands(home)) {
        return Some((first, std::iter::once(home.clone()).collect()));
    }
    let others: std::collections::BTreeSet<&HostName> =
        homes.iter().filter(|(s, _)| *s != slot).map(|(_, h)| h).collect();
    let names: Vec<String> = volumes.iter().map(|volume| format!("{}.{volume}", id.namespace)).collect();
    let found = world.hosts.iter().filter(|(_, host)| {
        let facts = host.facts.as_ref();
        facts.is_some_and(|facts| names.iter().any(|name| facts.volumes.contains(name)))
    });
    let mut found: std::collections::BTreeSet<HostName> = found.map(|(name, _)| name.clone()).collect();
    let neighbours =
        world.services.iter().filter(|(other, _)| *other != id && other.namespace == id.namespace);
    for (_, service) in neighbours {
        let (Some(accepted), Some(rollout)) = (&service.accepted, &service.rollout) else { continue };
        if accepted.value.spec.volumes().any(|volume| volumes.contains(&volume)) {
            found.extend(rollout.value.homes.values().cloned());
        }
    }
    found.retain(|host| !others.contains(host) && stands(host));
    (!found.is_empty()).then_some((first, found))
}
