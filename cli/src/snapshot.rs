//! The cluster as a command sees it: typed records read from the store, one list a kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_api::host::HostSpec;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{HostName, InstanceId, ServiceId};
use evenkeel_api::record::{Accepted, Alive, Facts, Health, Instance, Observed, Status};
use evenkeel_runtime::store::{Kv, Store};
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// A record, and the revision of its last change.
#[derive(Debug, Clone)]
pub struct Found<T> {
    /// The record.
    pub value: T,
    /// Its revision.
    pub mod_revision: i64,
}

/// All records of a prefix, by key; what does not parse is left out, with a line on standard error.
///
/// # Errors
/// The store does not answer.
pub async fn list<T: DeserializeOwned>(
    store: &Arc<dyn Store>,
    prefix: &str,
) -> Result<BTreeMap<Key, Found<T>>, Failure> {
    let listing = store.list(prefix).await?;
    Ok(listing.kvs.iter().filter_map(|kv| read(kv).map(|found| (found.0, found.1))).collect())
}

/// One record, where it is.
///
/// # Errors
/// The store does not answer, or the record cannot be read.
pub async fn get<T: DeserializeOwned>(
    store: &Arc<dyn Store>,
    key: &Key,
) -> Result<Option<Found<T>>, Failure> {
    let (kv, _) = store.get(key).await?;
    kv.map(|kv| {
        let value = serde_json::from_slice(&kv.value)
            .map_err(|error| Failure::new(format!("the record {key} cannot be read: {error}")))?;
        Ok(Found { value, mod_revision: kv.mod_revision })
    })
    .transpose()
}

fn read<T: DeserializeOwned>(kv: &Kv) -> Option<(Key, Found<T>)> {
    let key: Key = kv.key.parse().ok()?;
    match serde_json::from_slice(&kv.value) {
        Ok(value) => Some((key, Found { value, mod_revision: kv.mod_revision })),
        Err(error) => {
            eprintln!("warning: the record {key} cannot be read: {error}");
            None
        }
    }
}

/// Hosts: what people want of them, what they are, and whether they are there.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Accepted documents.
    pub accepted: BTreeMap<HostName, Accepted<HostSpec>>,
    /// What the machines are.
    pub facts: BTreeMap<HostName, Facts>,
    /// Those that are there.
    pub alive: BTreeMap<HostName, Alive>,
}

/// Reads all that is known of hosts.
///
/// # Errors
/// The store does not answer.
pub async fn hosts(store: &Arc<dyn Store>) -> Result<Hosts, Failure> {
    let accepted = list(store, &prefix::accepted(Kind::Host)).await?;
    let facts = list(store, &prefix::facts()).await?;
    let alive = list(store, &prefix::alive()).await?;
    Ok(Hosts {
        accepted: by(accepted, |key| match key {
            Key::Accepted(ObjectRef::Host(host)) => Some(host),
            _ => None,
        }),
        facts: by(facts, |key| if let Key::Facts(host) = key { Some(host) } else { None }),
        alive: by(alive, |key| if let Key::Alive(host) = key { Some(host) } else { None }),
    })
}

fn by<K: Ord, T>(found: BTreeMap<Key, Found<T>>, name: impl Fn(Key) -> Option<K>) -> BTreeMap<K, T> {
    found.into_iter().filter_map(|(key, found)| Some((name(key)?, found.value))).collect()
}

/// One copy: what is wanted of it, what became of it, what its checks say.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Copy {
    /// Which.
    pub id: InstanceId,
    /// Where.
    pub host: HostName,
    /// Whether that host is there.
    pub host_alive: bool,
    /// What is wanted.
    pub instance: Instance,
    /// What became of it, once its host has said.
    pub observed: Option<Observed>,
    /// What its checks say.
    pub health: Option<Health>,
}

/// The copies of one service, or of all.
///
/// # Errors
/// The store does not answer.
pub async fn copies(store: &Arc<dyn Store>, service: Option<&ServiceId>) -> Result<Vec<Copy>, Failure> {
    let instances: BTreeMap<Key, Found<Instance>> = list(store, &prefix::instances()).await?;
    let mut observed: BTreeMap<Key, Found<Observed>> = list(store, &prefix::observed()).await?;
    let mut health: BTreeMap<Key, Found<Health>> = list(store, &prefix::health()).await?;
    let alive: BTreeMap<Key, Found<Alive>> = list(store, &prefix::alive()).await?;
    let mut copies: Vec<Copy> = instances
        .into_iter()
        .filter_map(|(key, found)| {
            let Key::Instance(host, id) = key else { return None };
            if service.is_some_and(|service| *service != id.service) {
                return None;
            }
            let observed = observed.remove(&Key::Observed(host.clone(), id.clone())).map(|found| found.value);
            let health = health.remove(&Key::Health(host.clone(), id.clone())).map(|found| found.value);
            let host_alive = alive.contains_key(&Key::Alive(host.clone()));
            Some(Copy { id, host, host_alive, instance: found.value, observed, health })
        })
        .collect();
    copies.sort_by(|a, b| {
        let order =
            |copy: &Copy| (copy.id.service.clone(), copy.id.slot.number(), copy.id.slot.clone(), copy.id.seq);
        order(a).cmp(&order(b))
    });
    Ok(copies)
}

/// The status of all objects of a kind.
///
/// # Errors
/// The store does not answer.
pub async fn statuses(store: &Arc<dyn Store>, kind: Kind) -> Result<BTreeMap<ObjectRef, Status>, Failure> {
    let found = list(store, &prefix::status(kind)).await?;
    Ok(by(found, |key| if let Key::Status(object) = key { Some(object) } else { None }))
}
