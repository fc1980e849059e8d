//! What is taken on each host: one account of the whole cluster, kept from plan to plan, so that two
//! services planned one after the other never take the same room.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use evenkeel_api::name::{HostName, InstanceId, NetworkName, ServiceId};
use evenkeel_api::quantity::{Bytes, MilliCpus};
use evenkeel_api::record::Desired;
use evenkeel_api::service::{Port, Protocol, ServiceSpec, Template};

use super::world::{Host, World};

/// A port of a host that a copy holds.
pub(crate) type HeldPort = (u16, Protocol, Ipv4Addr);

/// The account of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    hosts: BTreeMap<HostName, Used>,
    services: BTreeMap<ServiceId, BTreeMap<InstanceId, Charge>>,
}

/// What is taken on one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used {
    pub cpus: MilliCpus,
    pub memory: Bytes,
    pub copies: u32,
    pub addresses: BTreeMap<NetworkName, u32>,
    pub ports: BTreeMap<HeldPort, u32>,
}

/// What one copy takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Charge {
    pub host: HostName,
    /// It is not on its way out.
    pub stays: bool,
    pub cpus: MilliCpus,
    pub memory: Bytes,
    pub ports: Vec<HeldPort>,
    pub networks: Vec<NetworkName>,
}

impl Ledger {
    /// Nothing taken.
    pub fn new() -> Self {
        Self::default()
    }

    /// The account of a whole world.
    pub fn of(world: &World) -> Self {
        let mut ledger = Self::new();
        for id in world.services.keys() {
            ledger.refresh(world, id);
        }
        ledger
    }

    /// Bring one service's part in line with the world. Needed whenever its copies, its document or a plan
    /// for it changed; a plan that was not carried out is forgotten by it.
    pub fn refresh(&mut self, world: &World, id: &ServiceId) {
        let service = world.services.get(id);
        let spec = service.and_then(|service| service.accepted.as_ref()).map(|accepted| &accepted.value.spec);
        self.refresh_as(world, id, spec);
    }

    /// The same, with the reservations of a spec that is about to hold.
    pub(crate) fn refresh_as(&mut self, world: &World, id: &ServiceId, spec: Option<&ServiceSpec>) {
        let wanted = charges(world, id, spec);
        let known = self.services.remove(id).unwrap_or_default();
        if known == wanted {
            if !wanted.is_empty() {
                self.services.insert(id.clone(), known);
            }
            return;
        }
        for (copy, charge) in &known {
            if wanted.get(copy) != Some(charge) {
                self.give_back(charge);
            }
        }
        for (copy, charge) in &wanted {
            if known.get(copy) != Some(charge) {
                self.take(charge);
            }
        }
        if !wanted.is_empty() {
            self.services.insert(id.clone(), wanted);
        }
    }

    /// Enter a copy.
    pub(crate) fn charge(&mut self, id: &InstanceId, charge: Charge) {
        self.take(&charge);
        let before = self.services.entry(id.service.clone()).or_default().insert(id.clone(), charge);
        if let Some(before) = before {
            self.give_back(&before);
        }
    }

    /// Strike a copy out; what it took, if it was entered.
    pub(crate) fn strike(&mut self, id: &InstanceId) -> Option<Charge> {
        let charge = self.services.get_mut(&id.service)?.remove(id)?;
        self.give_back(&charge);
        Some(charge)
    }

    /// Note that a copy is on its way out.
    pub(crate) fn leaves(&mut self, id: &InstanceId) {
        if let Some(charge) = self.services.get_mut(&id.service).and_then(|copies| copies.get_mut(id)) {
            charge.stays = false;
        }
    }

    /// What is taken on a host.
    pub(crate) fn used(&self, host: &HostName) -> Option<&Used> {
        self.hosts.get(host)
    }

    /// The copies of a service.
    pub(crate) fn copies(&self, id: &ServiceId) -> impl Iterator<Item = (&InstanceId, &Charge)> {
        self.services.get(id).into_iter().flatten()
    }

    fn take(&mut self, charge: &Charge) {
        let used = self.hosts.entry(charge.host.clone()).or_default();
        used.cpus.0 += charge.cpus.0;
        used.memory.0 += charge.memory.0;
        used.copies += 1;
        for port in &charge.ports {
            *used.ports.entry(*port).or_default() += 1;
        }
        for network in &charge.networks {
            *used.addresses.entry(network.clone()).or_default() += 1;
        }
    }

    fn give_back(&mut self, charge: &Charge) {
        let Some(used) = self.hosts.get_mut(&charge.host) else { return };
        used.cpus.0 = used.cpus.0.saturating_sub(charge.cpus.0);
        used.memory.0 = used.memory.0.saturating_sub(charge.memory.0);
        used.copies = used.copies.saturating_sub(1);
        for port in &charge.ports {
            drop_one(&mut used.ports, port);
        }
        for network in &charge.networks {
            drop_one(&mut used.addresses, network);
        }
    }
}

fn drop_one<K: Ord + Clone>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// What the copies of a service take, as the world says.
fn charges(world: &World, id: &ServiceId, spec: Option<&ServiceSpec>) -> BTreeMap<InstanceId, Charge> {
    let Some(service) = world.services.get(id) else { return BTreeMap::new() };
    let copies = service.copies.iter().filter_map(|(id, copy)| Some((id, copy, copy.record.as_ref()?)));
    copies
        .map(|(id, copy, record)| {
            let template = service.template(record.value.template.revision);
            let host = world.hosts.get(&copy.host);
            let mut charge = charge_of(&copy.host, host, spec, template);
            charge.stays = record.value.desired == Desired::Run;
            (id.clone(), charge)
        })
        .collect()
}

/// What a copy of `template` takes on `host`.
pub(crate) fn charge_of(
    name: &HostName,
    host: Option<&Host>,
    spec: Option<&ServiceSpec>,
    template: Option<&Template>,
) -> Charge {
    let reservations = spec.map(|spec| spec.deploy.reservations).unwrap_or_default();
    let ports = template.and_then(|template| held_ports(host, &template.ports)).unwrap_or_default();
    Charge {
        host: name.clone(),
        stays: true,
        cpus: reservations.cpus.unwrap_or_default(),
        memory: reservations.memory.unwrap_or_default(),
        ports,
        networks: template.map(Template::networks).unwrap_or_default(),
    }
}

/// The ports of a host that `ports` would hold there; `None`: a range picks no address of that host.
pub(crate) fn held_ports(host: Option<&Host>, ports: &[Port]) -> Option<Vec<HeldPort>> {
    let mut held = Vec::new();
    for port in ports {
        let Some(published) = &port.published else { continue };
        let address = match published.host_ip {
            None => Ipv4Addr::UNSPECIFIED,
            Some(range) if range.prefix() == 0 || range.network().is_loopback() => range.network(),
            Some(range) => {
                let facts = host?.facts.as_ref()?;
                let own = facts.addresses.iter().map(|own| own.address);
                own.into_iter().find(|address| range.contains(*address))?
            }
        };
        if let Some(number) = published.port {
            held.push((number, port.protocol, address));
        }
    }
    Some(held)
}

/// Whether two held ports are in each other's way.
pub(crate) fn clash(a: &HeldPort, b: &HeldPort) -> bool {
    (a.0, a.1) == (b.0, b.1) && (a.2 == b.2 || a.2.is_unspecified() || b.2.is_unspecified())
}
