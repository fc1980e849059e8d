//! The world as the planner sees it, kept up to date key by key: what did not change is not decoded again.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::healthcheck::HealthCheckSpec;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, Metadata, ObjectRef};
use evenkeel_api::name::{CheckId, HostName, InstanceId, NetworkName, ServiceId};
use evenkeel_api::network::NetworkSpec;
use evenkeel_api::record::{Accepted, Alive, Cluster, Instance, NetworkReport, Subnet};
use evenkeel_api::service::ServiceSpec;
use evenkeel_api::text::{self, DocumentSpec, Origin};
use evenkeel_plan::service::{At, Check, Copy, Document, Host, Network, Parsed, Service, World};
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Kv;
use serde::de::DeserializeOwned;

/// The parts of the store that plans are made from.
pub(super) fn prefixes() -> Vec<String> {
    let mut all = vec![
        prefix::documents(Kind::Service),
        prefix::documents(Kind::Host),
        prefix::pins(),
        prefix::status(Kind::Service),
        prefix::status(Kind::Host),
        prefix::revisions(),
        prefix::rollouts(),
        prefix::instances(),
        prefix::endpoints(),
        prefix::observed(),
        prefix::health(),
        prefix::alive(),
        prefix::facts(),
        prefix::subnets(),
        prefix::reports(),
        Key::Cluster.to_string(),
        // For the archive alone.
        prefix::documents(Kind::Network),
        prefix::documents(Kind::HealthCheck),
        Key::Brake.to_string(),
        Key::Brakes.to_string(),
        Key::Confirmed.to_string(),
    ];
    all.extend(Kind::ALL.into_iter().map(prefix::accepted));
    all
}

/// What has to be planned anew.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// These services.
    pub services: BTreeSet<ServiceId>,
    /// These hosts, and the services with copies there.
    pub hosts: BTreeSet<HostName>,
    /// Room may have come: services that wait for it.
    pub room: bool,
    /// All services.
    pub all: bool,
    /// A person is waiting: no time is to be lost.
    pub urgent: bool,
}

/// The world, and what keeps it.
#[derive(Debug, Default)]
pub(super) struct Cache {
    pub world: World,
}

impl Cache {
    /// Everything that the mirror has.
    pub fn load(mirror: &Mirror) -> Self {
        let mut cache = Self::default();
        let mut touched = Touched::default();
        for prefix in prefixes() {
            for kv in mirror.list(&prefix) {
                if let Ok(key) = kv.key.parse() {
                    cache.apply(&key, Some(&kv), &mut touched);
                }
            }
        }
        cache.all_deleted(mirror);
        cache
    }

    /// When documents went of which more than that is still here.
    fn all_deleted(&mut self, mirror: &Mirror) {
        let at = |object| mirror.deleted_at(&Key::Document(object));
        for (id, service) in self.world.services.iter_mut().filter(|(_, one)| one.document.is_none()) {
            service.deleted = at(ObjectRef::Service(id.clone()));
        }
        for (name, host) in self.world.hosts.iter_mut().filter(|(_, one)| one.document.is_none()) {
            host.deleted = at(ObjectRef::Host(name.clone()));
        }
    }

    /// A document went, at this revision if it was seen to go.
    pub fn deleted(&mut self, object: &ObjectRef, at: Option<i64>) {
        match object {
            ObjectRef::Service(id) => {
                if let Some(service) = self.world.services.get_mut(id) {
                    service.deleted = at;
                }
            }
            ObjectRef::Host(name) => {
                if let Some(host) = self.world.hosts.get_mut(name) {
                    host.deleted = at;
                }
            }
            _ => {}
        }
    }

    /// Take over a key that changed.
    pub fn apply(&mut self, key: &Key, kv: Option<&Kv>, touched: &mut Touched) {
        match key {
            Key::Document(ObjectRef::Service(id)) => {
                let service = self.service(id, touched);
                set_document(&mut service.document, key, kv, |spec| match spec {
                    DocumentSpec::Service(spec) => Some(*spec),
                    _ => None,
                });
                touched.urgent = true;
            }
            Key::Document(ObjectRef::Host(name)) => {
                let host = self.host(name, touched);
                set_document(&mut host.document, key, kv, |spec| match spec {
                    DocumentSpec::Host(spec) => Some(spec),
                    _ => None,
                });
                touched.urgent = true;
            }
            Key::Accepted(object) => self.accepted(object, kv, touched),
            Key::Pin(id) => {
                set(&mut self.service(id, touched).pin, kv);
            }
            Key::Rollout(id) => {
                let service = self.service(id, touched);
                let read = set(&mut service.rollout, kv);
                note(service, key, read);
            }
            Key::Status(ObjectRef::Service(id)) => renew(&mut self.service(id, touched).status, kv),
            Key::Status(ObjectRef::Host(name)) => {
                renew(&mut self.world.hosts.entry(name.clone()).or_default().status, kv);
            }
            Key::Revision(id, k) => {
                let service = self.service(id, touched);
                let read = set_in(&mut service.revisions, *k, kv, set);
                note(service, key, read);
            }
            Key::Digest(id, k) => set_in(&mut self.service(id, touched).digests, *k, kv, renew),
            Key::Endpoints(id, n) => set_in(&mut self.service(id, touched).endpoints, *n, kv, renew),
            Key::Instance(host, id) => {
                let mut record: Option<At<Instance>> = self.copy(host, id, touched).record.take();
                let read = set(&mut record, kv);
                touched.room |= record.is_none();
                self.copy(host, id, touched).record = record;
                note(self.service(&id.service, touched), key, read);
                self.tidy_copy(id);
            }
            Key::Observed(host, id) => {
                keep(&mut self.copy(host, id, touched).observed, kv);
                self.tidy_copy(id);
            }
            Key::Health(host, id) => {
                keep(&mut self.copy(host, id, touched).health, kv);
                self.tidy_copy(id);
            }
            Key::Alive(name) => {
                let alive = &mut self.host(name, touched).alive;
                keep(alive, kv);
                // The lease speaks, whatever the value says.
                if kv.is_some() {
                    alive.get_or_insert_with(|| Alive { boot_id: String::new(), incarnation: 0 });
                }
            }
            Key::Facts(name) => keep(&mut self.host(name, touched).facts, kv),
            Key::Subnet(network, name) => self.subnet(network, name, kv, touched),
            Key::NetworkReport(name, network) => self.report(network, name, kv, touched),
            Key::Brake => {
                set(&mut self.world.brake, kv);
                touched.all = true;
            }
            Key::Cluster => {
                if let Some(cluster) = kv.and_then(read::<Cluster>) {
                    self.world.floor = cluster.floor;
                }
                touched.all = true;
            }
            Key::Brakes => renew(&mut self.world.brakes, kv),
            // That it was said counts, also if what was said cannot be read.
            Key::Confirmed => {
                self.world.confirmed = kv.map(|kv| At {
                    value: read(kv).unwrap_or_default(),
                    mod_revision: kv.mod_revision,
                    create_revision: kv.create_revision,
                });
            }
            _ => {}
        }
        self.world.services.retain(|_, service| !service.is_empty());
        self.world.hosts.retain(|_, host| !is_blank(host));
    }

    fn service(&mut self, id: &ServiceId, touched: &mut Touched) -> &mut Service {
        touched.services.insert(id.clone());
        self.world.services.entry(id.clone()).or_default()
    }

    fn host(&mut self, name: &HostName, touched: &mut Touched) -> &mut Host {
        touched.hosts.insert(name.clone());
        touched.room = true;
        self.world.hosts.entry(name.clone()).or_default()
    }

    fn copy(&mut self, host: &HostName, id: &InstanceId, touched: &mut Touched) -> &mut Copy {
        let blank = || Copy { host: host.clone(), record: None, observed: None, health: None };
        self.service(&id.service, touched).copies.entry(id.clone()).or_insert_with(blank)
    }

    /// A copy of which nothing is left is forgotten.
    fn tidy_copy(&mut self, id: &InstanceId) {
        if let Some(service) = self.world.services.get_mut(&id.service) {
            let gone =
                |copy: &Copy| copy.record.is_none() && copy.observed.is_none() && copy.health.is_none();
            if service.copies.get(id).is_some_and(gone) {
                service.copies.remove(id);
            }
        }
    }

    fn accepted(&mut self, object: &ObjectRef, kv: Option<&Kv>, touched: &mut Touched) {
        match object {
            ObjectRef::Service(id) => {
                let service = self.service(id, touched);
                let read = set(&mut service.accepted, kv);
                note(service, &Key::Accepted(object.clone()), read);
            }
            ObjectRef::Host(name) => {
                set(&mut self.host(name, touched).accepted, kv);
            }
            ObjectRef::Network(name) => {
                match kv.map(read::<Accepted<NetworkSpec>>) {
                    Some(Some(accepted)) => {
                        let network = Network { spec: accepted.spec, deleting: accepted.deleting };
                        self.world.networks.insert(name.clone(), network);
                    }
                    Some(None) => {}
                    None => drop(self.world.networks.remove(name)),
                }
                touched.all = true;
            }
            ObjectRef::HealthCheck(id) => match kv.map(read) {
                Some(None) => {}
                found => self.check(id, found.flatten(), touched),
            },
        }
    }

    /// A check belongs to the service that it asks; it may have asked another one before.
    fn check(&mut self, id: &CheckId, accepted: Option<Accepted<HealthCheckSpec>>, touched: &mut Touched) {
        for (service, known) in &mut self.world.services {
            if service.namespace == id.namespace && known.checks.remove(&id.name).is_some() {
                touched.services.insert(service.clone());
            }
        }
        let Some(accepted) = accepted.filter(|accepted| !accepted.deleting) else { return };
        let target =
            ServiceId { namespace: id.namespace.clone(), name: accepted.spec.target.service.clone() };
        let check = Check { revision: accepted.source_revision, spec: accepted.spec };
        self.service(&target, touched).checks.insert(id.name.clone(), check);
    }

    fn subnet(&mut self, network: &NetworkName, name: &HostName, kv: Option<&Kv>, touched: &mut Touched) {
        let host = self.host(name, touched);
        match kv.map(read::<Subnet>) {
            Some(Some(part)) => drop(host.subnets.insert(network.clone(), part.subnet)),
            Some(None) => {}
            None => drop(host.subnets.remove(network)),
        }
    }

    fn report(&mut self, network: &NetworkName, name: &HostName, kv: Option<&Kv>, touched: &mut Touched) {
        let report = kv.map(read);
        let host = self.host(name, touched);
        if matches!(report, Some(None)) {
            return;
        }
        let ready = matches!(report.flatten(), Some(NetworkReport::Ready { .. }));
        if ready {
            host.ready.insert(network.clone());
        } else {
            host.ready.remove(network);
        }
    }
}

fn is_blank(host: &Host) -> bool {
    host.document.is_none()
        && host.accepted.is_none()
        && host.status.is_none()
        && host.facts.is_none()
        && host.alive.is_none()
        && host.subnets.is_empty()
        && host.ready.is_empty()
}

/// A value; one that is not understood is logged, and no reason to forget what was known before.
fn read<T: DeserializeOwned>(kv: &Kv) -> Option<T> {
    serde_json::from_slice(&kv.value)
        .inspect_err(|error| tracing::warn!(key = kv.key, %error, "not understood: what was known holds"))
        .ok()
}

/// A value of which only the content counts.
fn keep<T: DeserializeOwned>(slot: &mut Option<T>, kv: Option<&Kv>) {
    match kv {
        None => *slot = None,
        Some(kv) => *slot = read(kv).or_else(|| slot.take()),
    }
}

/// A value that is guarded by its revision. What we wrote ourselves is known before the watch brings it, so
/// an older value is old news. Whether it is known now.
fn set<T: DeserializeOwned>(slot: &mut Option<At<T>>, kv: Option<&Kv>) -> bool {
    let Some(kv) = kv else {
        *slot = None;
        return true;
    };
    if slot.as_ref().is_some_and(|known| known.mod_revision >= kv.mod_revision) {
        return true;
    }
    let value = read(kv).or_else(|| slot.take().map(|known| known.value));
    let (mod_revision, create_revision) = (kv.mod_revision, kv.create_revision);
    *slot = value.map(|value| At { value, mod_revision, create_revision });
    slot.is_some()
}

/// The same for what can be made anew at any time: what is not understood is empty, and so is written again.
fn renew<T: DeserializeOwned + Default>(slot: &mut Option<At<T>>, kv: Option<&Kv>) {
    let known = slot.as_ref().map_or(0, |known| known.mod_revision);
    let Some(kv) = kv.filter(|kv| kv.mod_revision > known) else {
        if kv.is_none() {
            *slot = None;
        }
        return;
    };
    let value = read(kv).unwrap_or_default();
    *slot = Some(At { value, mod_revision: kv.mod_revision, create_revision: kv.create_revision });
}

fn set_in<K: Ord, T, R>(
    map: &mut BTreeMap<K, At<T>>,
    key: K,
    kv: Option<&Kv>,
    set: impl FnOnce(&mut Option<At<T>>, Option<&Kv>) -> R,
) -> R {
    let mut slot = map.remove(&key);
    let result = set(&mut slot, kv);
    map.extend(slot.map(|at| (key, at)));
    result
}

/// Take note of a record without which nothing may be decided.
fn note(service: &mut Service, key: &Key, known: bool) {
    if known {
        service.unreadable.remove(key);
    } else {
        service.unreadable.insert(key.clone());
    }
}

/// A document is read once, when it comes.
fn set_document<S>(
    slot: &mut Option<Document<S>>,
    key: &Key,
    kv: Option<&Kv>,
    pick: impl Fn(DocumentSpec) -> Option<S>,
) {
    let (Key::Document(object), Some(kv)) = (key, kv) else {
        *slot = None;
        return;
    };
    let parsed = match text::parse_document_bytes(&kv.value, &Origin::Key(object.clone())) {
        Ok(document) => match pick(document.spec) {
            Some(spec) => Ok(Parsed { metadata: named(document.metadata, object), spec }),
            None => Err(format!("the document is no {}", object.kind())),
        },
        Err(error) => Err(error.one_line()),
    };
    *slot = Some(Document { mod_revision: kv.mod_revision, create_revision: kv.create_revision, parsed });
}

/// Metadata with the name that the key gives.
fn named(mut metadata: Metadata, object: &ObjectRef) -> Metadata {
    metadata.namespace = object.namespace().cloned();
    metadata.name = match object {
        ObjectRef::Service(id) | ObjectRef::HealthCheck(id) => Some(id.name.clone()),
        ObjectRef::Network(name) => name.as_str().parse().ok(),
        ObjectRef::Host(name) => name.as_str().parse().ok(),
    };
    metadata
}

/// The services that a change of `hosts` concerns.
pub(super) fn with_copies_on(world: &World, hosts: &BTreeSet<HostName>) -> BTreeSet<ServiceId> {
    let concerned = world.services.iter().filter(|(_, service)| {
        let global = service.accepted.as_ref().is_some_and(|accepted| is_global(&accepted.value.spec));
        global || service.copies.values().any(|copy| hosts.contains(&copy.host))
    });
    concerned.map(|(id, _)| id.clone()).collect()
}

fn is_global(spec: &ServiceSpec) -> bool {
    spec.mode() == evenkeel_api::service::Mode::Global
}

#[cfg(test)]
mod tests;
