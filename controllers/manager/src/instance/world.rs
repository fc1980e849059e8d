//! What the controller is told: by the store, by its siblings' files, and by its own file of an earlier life.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use evenkeel_api::key::{Controller, Key, prefix};
use evenkeel_api::local::{LocalNetwork, LocalNetworks};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{HostName, InstanceId, NetworkName, ServiceId, TemplateRef};
use evenkeel_api::record::{
    Accepted, Address, Cluster, Desired, Digest, Facts, Instance, Observed, Revision, Subnet,
};
use evenkeel_api::service::{Port, ServiceSpec, Template};
use evenkeel_plan::instance::book::Book;
use evenkeel_runtime::disk::{Siblings, StateDir};
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use serde::{Deserialize, Serialize};

/// `instance/state.json`: what siblings read ([`evenkeel_api::local::LocalInstances`]), and what this
/// controller needs to go on without the store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Saved {
    pub uid: String,
    pub own: Vec<Address>,
    pub instances: BTreeMap<InstanceId, SavedInstance>,
    pub book: Book,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedInstance {
    pub desired: Desired,
    pub observed: Observed,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Absent: nobody wants it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Instance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<ServiceSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
}

pub(super) struct World {
    host: HostName,
    mirror: Mirror,
    pub siblings: Siblings,
    saved: Saved,
    pub networks: BTreeMap<NetworkName, LocalNetwork>,
    pub own: Vec<Address>,
    templates: BTreeMap<TemplateRef, Arc<Template>>,
    accepted: BTreeMap<ServiceId, (i64, Arc<ServiceSpec>)>,
}

impl World {
    pub(super) fn new(store: Arc<dyn Store>, host: &HostName, state_dir: &StateDir, saved: Saved) -> Self {
        let prefixes = vec![
            prefix::instances_on(host),
            prefix::observed_on(host),
            prefix::accepted(Kind::Service),
            prefix::revisions(),
            prefix::subnets(),
            prefix::alive(),
            Key::Cluster.to_string(),
            Key::Facts(host.clone()).to_string(),
        ];
        let mut world = Self {
            host: host.clone(),
            mirror: Mirror::start(store, prefixes),
            siblings: Siblings::new(state_dir),
            own: saved.own.clone(),
            saved,
            networks: BTreeMap::new(),
            templates: BTreeMap::new(),
            accepted: BTreeMap::new(),
        };
        world.read_networks();
        world
    }

    pub(super) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The store's word replaces the disk's once all of it has been read.
    pub(super) fn is_synced(&self) -> bool {
        self.mirror.is_synced()
    }

    pub(super) fn read_networks(&mut self) {
        self.networks = (self.siblings.read::<LocalNetworks>(Controller::Network))
            .map_or_else(|| std::mem::take(&mut self.networks), |local| local.networks);
    }

    pub(super) fn read_facts(&mut self) {
        if let Some(facts) = self.mirror.json::<Facts>(&Key::Facts(self.host.clone())) {
            self.own = facts.value.addresses;
        }
    }

    pub(super) fn uid(&self) -> Option<String> {
        let told = self.mirror.json::<Cluster>(&Key::Cluster).map(|cluster| cluster.value.uid);
        told.or_else(|| Some(self.saved.uid.clone()).filter(|uid| !uid.is_empty()))
    }

    /// An instance's record, with the revision to guard by; 0 while only the disk has spoken.
    pub(super) fn record(&self, id: &InstanceId) -> Option<(Instance, i64)> {
        if self.is_synced() {
            let key = Key::Instance(self.host.clone(), id.clone());
            return self.mirror.json::<Instance>(&key).map(|found| (found.value, found.mod_revision));
        }
        self.saved.instances.get(id).and_then(|saved| saved.record.clone()).map(|record| (record, 0))
    }

    /// Whether there is a record, be it readable or not: one that cannot be read is no reason to stop what
    /// it stands for.
    pub(super) fn is_recorded(&self, id: &InstanceId) -> bool {
        let key = Key::Instance(self.host.clone(), id.clone());
        !self.is_synced() || self.mirror.get(&key).is_some()
    }

    /// All instances that are wanted of, or reported by, this host.
    pub(super) fn ids(&self) -> BTreeSet<InstanceId> {
        if !self.is_synced() {
            return self.saved.instances.keys().cloned().collect();
        }
        let listed = self.mirror.list(&prefix::instances_on(&self.host)).into_iter();
        let reported = self.mirror.list(&prefix::observed_on(&self.host)).into_iter();
        let id = |kv: evenkeel_runtime::store::Kv| match kv.key.parse() {
            Ok(Key::Instance(_, id) | Key::Observed(_, id)) => Some(id),
            _ => None,
        };
        listed.chain(reported).filter_map(id).collect()
    }

    /// What the store holds of an instance.
    pub(super) fn in_store(&self, id: &InstanceId) -> Option<Observed> {
        self.mirror.json::<Observed>(&Key::Observed(self.host.clone(), id.clone())).map(|found| found.value)
    }

    /// Whether a key is a report of ours that somebody made unreadable.
    pub(super) fn is_spoilt(&self, key: &str) -> Option<InstanceId> {
        match key.parse() {
            Ok(key @ Key::Observed(..)) => {
                let spoilt =
                    self.mirror.get(&key).is_some() && self.mirror.stands::<Observed>(&key).is_none();
                let Key::Observed(host, id) = key else { return None };
                (spoilt && host == self.host).then_some(id)
            }
            _ => None,
        }
    }

    /// What an earlier life of this controller, or this one, has told the store.
    pub(super) fn reported(&self, id: &InstanceId) -> Option<Observed> {
        self.in_store(id).or_else(|| self.saved.instances.get(id).map(|saved| saved.observed.clone()))
    }

    pub(super) fn template(&mut self, reference: &TemplateRef, id: &InstanceId) -> Option<Arc<Template>> {
        if let Some(known) = self.templates.get(reference) {
            return Some(known.clone());
        }
        let key = Key::Revision(reference.service.clone(), reference.revision);
        let told = self.mirror.json::<Revision>(&key).map(|found| found.value.template);
        let template = Arc::new(told.or_else(|| self.saved.instances.get(id)?.template.clone())?);
        self.templates.insert(reference.clone(), template.clone());
        Some(template)
    }

    pub(super) fn accepted(&mut self, service: &ServiceId, id: &InstanceId) -> Option<Arc<ServiceSpec>> {
        let key = Key::Accepted(ObjectRef::Service(service.clone()));
        let Some(kv) = self.mirror.get(&key) else {
            return self.saved.instances.get(id)?.accepted.clone().map(Arc::new);
        };
        match self.accepted.get(service) {
            Some((revision, known)) if *revision == kv.mod_revision => Some(known.clone()),
            _ => {
                let spec = Arc::new(self.mirror.json::<Accepted<ServiceSpec>>(&key)?.value.spec);
                self.accepted.insert(service.clone(), (kv.mod_revision, spec.clone()));
                Some(spec)
            }
        }
    }

    pub(super) fn pin(&self, reference: &TemplateRef, id: &InstanceId) -> Option<String> {
        let key = Key::Digest(reference.service.clone(), reference.revision);
        let told = self.mirror.json::<Digest>(&key).map(|found| found.value.digest);
        told.or_else(|| self.saved.instances.get(id)?.pin.clone())
    }

    /// The name servers of the peers that are alive, on one network.
    pub(super) fn peers(&self, network: &NetworkName) -> BTreeMap<HostName, Ipv4Addr> {
        let subnets = self.mirror.list_json::<Subnet>(&prefix::subnets_of(network));
        let gateway = |(key, subnet): (Key, evenkeel_runtime::mirror::Versioned<Subnet>)| match key {
            Key::Subnet(_, host)
                if host != self.host && self.mirror.get(&Key::Alive(host.clone())).is_some() =>
            {
                Some((host, subnet.value.subnet.nth(1)?))
            }
            _ => None,
        };
        subnets.into_iter().filter_map(gateway).collect()
    }

    /// Forgets templates that no instance of this host has.
    pub(super) fn keep_templates(&mut self, used: &BTreeSet<TemplateRef>) {
        self.templates.retain(|reference, _| used.contains(reference));
        let services: BTreeSet<&ServiceId> = used.iter().map(|reference| &reference.service).collect();
        self.accepted.retain(|service, _| services.contains(service));
    }
}

#[cfg(test)]
mod tests;
