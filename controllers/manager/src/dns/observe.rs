//! What is: the store's part, kept up key by key, and the siblings' part.

use std::collections::BTreeSet;
use std::sync::Arc;

use evenkeel_api::healthcheck::HealthCheckSpec;
use evenkeel_api::host::HostSpec;
use evenkeel_api::key::{Controller, Key, prefix};
use evenkeel_api::local::{LocalHealth, LocalInstances, LocalNetworks};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{HostName, Scoped};
use evenkeel_api::network::NetworkSpec;
use evenkeel_api::record::{Accepted, Cluster, Endpoints, Subnet};
use evenkeel_plan::dns::{Here, Shard, World};
use evenkeel_runtime::disk::Siblings;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::{Kv, Store};
use evenkeel_runtime::writer::Trust;
use serde::de::DeserializeOwned;

use super::keep::State;

/// What of the store is watched.
pub(super) fn prefixes() -> Vec<String> {
    vec![
        Key::Cluster.to_string(),
        prefix::endpoints(),
        prefix::alive(),
        prefix::accepted(Kind::Network),
        prefix::accepted(Kind::Host),
        prefix::accepted(Kind::HealthCheck),
        prefix::subnets(),
    ]
}

/// The store's part.
pub(super) struct Stored {
    store: Arc<dyn Store>,
    mirror: Mirror,
    pub(super) state: State,
    /// Keys that changed and were not looked at yet; `None`: all of them.
    changed: Option<BTreeSet<String>>,
    /// Why the store is not followed, as it was told.
    told: Option<String>,
}

impl Stored {
    /// From what was kept, until the store has answered.
    pub(super) fn new(store: Arc<dyn Store>, mirror: Mirror, state: State) -> Self {
        Self { store, mirror, state, changed: None, told: None }
    }

    /// Whether anything was ever learnt.
    pub(super) fn learnt(&self) -> bool {
        self.state.cluster.is_some()
    }

    /// Until the store was read once.
    pub(super) async fn synced(&self) {
        self.mirror.synced().await;
    }

    /// Takes note of keys that changed.
    pub(super) fn note(&mut self, keys: BTreeSet<String>) {
        if let Some(changed) = &mut self.changed {
            changed.extend(keys);
        }
    }

    /// Brings the state up to what the store says, as long as it is the store that it was: names of a
    /// store that was wiped or exchanged would be no names at all, while the copies run on. `true`: it may
    /// have changed.
    pub(super) fn observe(&mut self) -> bool {
        if !self.mirror.is_synced() || !self.followed() {
            return false;
        }
        if let Some(cluster) = self.mirror.json::<Cluster>(&Key::Cluster) {
            self.state.cluster = Some(cluster.value);
        }
        let keys = match self.changed.replace(BTreeSet::new()) {
            Some(keys) => keys,
            None => {
                let there = prefixes().into_iter().flat_map(|prefix| self.mirror.list(&prefix));
                there.map(|kv| kv.key).chain(keys_of(&self.state.world)).collect()
            }
        };
        for key in &keys {
            if let Ok(key) = key.parse::<Key>() {
                take(&mut self.state.world, &key, self.mirror.get(&key));
            }
        }
        !keys.is_empty()
    }

    fn followed(&mut self) -> bool {
        let why = match (self.store.witness().trust(), self.mirror.json::<Cluster>(&Key::Cluster)) {
            (Trust::Untrusted { why }, _) => Some(why),
            (Trust::Trusted, Some(now)) => self.state.cluster.as_ref().and_then(|kept| {
                // A person who declared the past void has raised the epoch.
                let other = kept.uid != now.value.uid && now.value.epoch <= kept.epoch;
                other.then(|| format!("it is cluster {}, not {}", now.value.uid, kept.uid))
            }),
            // Nobody has founded the cluster, or its founding was lost.
            (Trust::Trusted, None) => self.learnt().then(|| "it knows of no cluster any more".to_owned()),
        };
        match why {
            Some(why) => {
                self.told.get_or_insert_with(|| {
                    tracing::error!(why, "the store is not followed; the last names are served");
                    why
                });
                // Whatever it says meanwhile is looked at as a whole, once it is followed again.
                self.changed = None;
                false
            }
            None => {
                self.told = None;
                self.mirror.get(&Key::Cluster).is_some()
            }
        }
    }
}

/// The keys that the world is of.
fn keys_of(world: &World) -> impl Iterator<Item = String> {
    let shards = world.endpoints.iter();
    let shards =
        shards.flat_map(|(id, shards)| shards.keys().map(|shard| Key::Endpoints(id.clone(), *shard)));
    let networks = world.networks.keys().map(|name| Key::Accepted(ObjectRef::Network(name.clone())));
    let hosts = world.hosts.keys().map(|host| Key::Accepted(ObjectRef::Host(host.clone())));
    let checks = world.checks.keys().map(|check| Key::Accepted(ObjectRef::HealthCheck(check.clone())));
    let alive = world.alive.iter().map(|host| Key::Alive(host.clone()));
    let subnets = world.subnets.iter();
    let subnets = subnets
        .flat_map(|(network, parts)| parts.keys().map(|host| Key::Subnet(network.clone(), host.clone())));
    let all = shards.chain(networks).chain(hosts).chain(checks).chain(alive).chain(subnets);
    all.map(|key| key.to_string())
}

/// Takes one key's value over. A value that cannot be read changes nothing: what was known is better.
fn take(world: &mut World, key: &Key, kv: Option<Kv>) {
    match key {
        Key::Endpoints(service, shard) => {
            let shards = world.endpoints.entry(service.clone()).or_default();
            let revision = kv.as_ref().map_or(0, |kv| kv.mod_revision);
            set(
                kv,
                |body: Endpoints| Shard { revision, body: Arc::new(body) },
                |value| match value {
                    Some(value) => drop(shards.insert(*shard, value)),
                    None => drop(shards.remove(shard)),
                },
            );
            if shards.is_empty() {
                world.endpoints.remove(service);
            }
        }
        Key::Alive(host) => match kv {
            Some(_) => drop(world.alive.insert(host.clone())),
            None => drop(world.alive.remove(host)),
        },
        Key::Subnet(network, host) => {
            let parts = world.subnets.entry(network.clone()).or_default();
            set(
                kv,
                |it: Subnet| it.subnet,
                |value| match value {
                    Some(value) => drop(parts.insert(host.clone(), value)),
                    None => drop(parts.remove(host)),
                },
            );
            if parts.is_empty() {
                world.subnets.remove(network);
            }
        }
        Key::Accepted(ObjectRef::Network(name)) => {
            set(
                kv,
                |it: Accepted<NetworkSpec>| it.spec,
                |value| match value {
                    Some(value) => drop(world.networks.insert(name.clone(), value)),
                    None => drop(world.networks.remove(name)),
                },
            );
        }
        Key::Accepted(ObjectRef::Host(name)) => {
            set(
                kv,
                |it: Accepted<HostSpec>| it.spec.address,
                |value| match value {
                    Some(value) => drop(world.hosts.insert(name.clone(), value)),
                    None => drop(world.hosts.remove(name)),
                },
            );
        }
        Key::Accepted(ObjectRef::HealthCheck(id)) => {
            let target = |it: Accepted<HealthCheckSpec>| {
                let counts = !it.deleting && it.spec.affects_dns();
                let service =
                    || Scoped { namespace: id.namespace.clone(), name: it.spec.target.service.clone() };
                counts.then(service)
            };
            set(kv, target, |value| match value.flatten() {
                Some(service) => drop(world.checks.insert(id.clone(), service)),
                None => drop(world.checks.remove(id)),
            });
        }
        _ => {}
    }
}

/// `None` for a key that is gone, nothing at all for a value that cannot be read.
fn set<T: DeserializeOwned, V>(kv: Option<Kv>, part: impl FnOnce(T) -> V, put: impl FnOnce(Option<V>)) {
    match kv {
        None => put(None),
        Some(kv) => match serde_json::from_slice(&kv.value) {
            Ok(value) => put(Some(part(value))),
            Err(error) => tracing::warn!(key = kv.key, %error, "cannot be read; what was known is served"),
        },
    }
}

/// Looks at a sibling's file.
pub(super) fn look(here: &mut Here, siblings: &Siblings, controller: Controller) {
    // A file that cannot be read for once leaves what it said before.
    match controller {
        Controller::Instance => keep(&mut here.instances, siblings.read::<LocalInstances>(controller)),
        Controller::Healthcheck => keep(&mut here.health, siblings.read::<LocalHealth>(controller)),
        Controller::Network => keep(&mut here.networks, siblings.read::<LocalNetworks>(controller)),
        Controller::Host | Controller::Service | Controller::Dns | Controller::Watchdog => {}
    }
}

fn keep<T>(known: &mut Option<T>, read: Option<T>) {
    if read.is_some() {
        *known = read;
    }
}

/// All that siblings say now.
pub(super) fn here(host: &HostName, siblings: &Siblings) -> Here {
    let mut here = Here { host: host.clone(), instances: None, health: None, networks: None };
    for controller in Controller::ALL {
        look(&mut here, siblings, controller);
    }
    here
}

#[cfg(test)]
mod tests;
