//! What the store says, as whoever looks on sees it: kept up change by change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::record::Endpoints;
use evenkeel_runtime::store::{Change, Kv};

use crate::cluster::Cluster;
use crate::look::Copy;

/// See the module.
#[derive(Default)]
pub struct Stored {
    revision: i64,
    restores: u64,
    /// Copies that have a record.
    records: BTreeSet<String>,
    /// The addresses of each shard, with their hosts.
    shards: BTreeMap<String, (String, Vec<(Ipv4Addr, String)>)>,
    /// What is listed, by service: the addresses with their hosts.
    pub listed: BTreeMap<String, BTreeMap<Ipv4Addr, String>>,
    /// The hosts that it knows alive.
    pub alive: BTreeSet<String>,
    /// Counts changes of what is listed and who is alive.
    pub version: u64,
}

/// What was written since the last look.
pub struct Written {
    /// Whether it is all that there is: what was known before is void.
    pub anew: bool,
    /// In its order.
    pub changes: Vec<Change>,
}

impl Stored {
    /// Brings it up to date; `None`: nothing was written.
    pub fn read(&mut self, cluster: &Cluster) -> Option<Written> {
        let (revision, restores) = (cluster.store.revision(), cluster.restores());
        if (revision, restores) == (self.revision, self.restores) {
            return None;
        }
        let since = (restores == self.restores).then(|| cluster.store.peek_changes(self.revision).ok());
        let written = match since.flatten() {
            Some(changes) if self.revision > 0 => Written { anew: false, changes },
            _ => {
                *self = Self { version: self.version, ..Self::default() };
                let all = cluster.store.peek("").into_iter().map(Change::Put);
                Written { anew: true, changes: all.collect() }
            }
        };
        (self.revision, self.restores) = (revision, restores);
        let before = (self.shards.len(), self.alive.len());
        let mut listed = written.anew || before == (0, 0);
        for change in &written.changes {
            listed |= self.take(change);
        }
        if listed {
            self.version += 1;
            self.listed.clear();
            for (service, endpoints) in self.shards.values() {
                self.listed.entry(service.clone()).or_default().extend(endpoints.iter().cloned());
            }
        }
        Some(written)
    }

    /// Whether it concerns what is listed or who is alive.
    fn take(&mut self, change: &Change) -> bool {
        let key = change.key();
        let put = match change {
            Change::Put(kv) => Some(kv),
            Change::Delete { .. } => None,
        };
        if key.starts_with(&prefix::instances()) {
            match put {
                Some(_) => self.records.insert(key.to_owned()),
                None => self.records.remove(key),
            };
            return false;
        }
        if let Some(host) = key.strip_prefix("alive/") {
            return match put {
                Some(_) => self.alive.insert(host.to_owned()),
                None => self.alive.remove(host),
            };
        }
        if !key.starts_with(&prefix::endpoints()) {
            return false;
        }
        match put.and_then(shard) {
            Some(shard) => drop(self.shards.insert(key.to_owned(), shard)),
            None => drop(self.shards.remove(key)),
        }
        true
    }

    /// Whether a copy has a record.
    pub fn is_recorded(&self, copy: &Copy) -> bool {
        self.records.contains(&format!("instances/h{}/{}", copy.host, copy.name))
    }
}

/// A service, and its addresses with their hosts.
fn shard(kv: &Kv) -> Option<(String, Vec<(Ipv4Addr, String)>)> {
    let Key::Endpoints(service, _) = kv.key.parse().ok()? else { return None };
    let endpoints: Endpoints = serde_json::from_slice(&kv.value).ok()?;
    let all = endpoints.endpoints.into_iter().flat_map(|endpoint| {
        let host = endpoint.host.to_string();
        endpoint.addresses.into_values().map(move |address| (address, host.clone()))
    });
    Some((service.name.to_string(), all.collect()))
}
