//! The address book: which instance of this host has which address on each network. An instance keeps its
//! address for life, also over restarts of its container, the engine and the machine. An address that is
//! given back rests before another instance gets it: names and connections may still point there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_api::name::{InstanceId, NetworkName};
use evenkeel_api::network::HostSubnet;
use serde::{Deserialize, Serialize};

/// How long an address rests.
pub const REST: Duration = Duration::from_secs(60);

/// All addresses of this host that are given out or rest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Book {
    networks: BTreeMap<NetworkName, BTreeMap<Ipv4Addr, Entry>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    owner: InstanceId,
    /// It rests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    resting: bool,
    /// Since when, in this process's monotonic time. Not kept: after a restart the rest begins anew.
    #[serde(skip)]
    since: Option<Duration>,
}

/// All addresses of this host's part of a network are given out or rest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no address of {subnet} is free on network {network}: {used} are in use, {resting} rest")]
pub struct Full {
    /// The network.
    pub network: NetworkName,
    /// The host's part.
    pub subnet: evenkeel_api::network::Cidr,
    /// Addresses in use.
    pub used: usize,
    /// Addresses that rest.
    pub resting: usize,
}

impl Book {
    /// The address of `id` on a network: the one that it has, else the first that is free and not in
    /// `taken`, which are held by what is not ours.
    ///
    /// # Errors
    /// None is free.
    pub fn assign(
        &mut self,
        id: &InstanceId,
        subnet: &HostSubnet,
        taken: &BTreeSet<Ipv4Addr>,
        now: Duration,
    ) -> Result<Ipv4Addr, Full> {
        self.wake(now);
        let book = self.networks.entry(subnet.network.clone()).or_default();
        let had = book.iter().find(|(_, entry)| entry.owner == *id && !entry.resting).map(|(at, _)| *at);
        if let Some(address) = had.filter(|address| subnet.subnet.contains(*address)) {
            return Ok(address);
        }
        let free = subnet.addresses().find(|at| !book.contains_key(at) && !taken.contains(at));
        let Some(address) = free else {
            let resting = book.values().filter(|entry| entry.resting).count();
            let (network, used) = (subnet.network.clone(), book.len() - resting);
            return Err(Full { network, subnet: subnet.subnet, used, resting });
        };
        book.insert(address, Entry { owner: id.clone(), resting: false, since: None });
        Ok(address)
    }

    /// Notes an address that an instance was found with, unless another has it.
    pub fn adopt(&mut self, id: &InstanceId, network: &NetworkName, address: Ipv4Addr) {
        let book = self.networks.entry(network.clone()).or_default();
        let free = book.get(&address).is_none_or(|entry| entry.resting);
        let has = book.values().any(|entry| entry.owner == *id && !entry.resting);
        if free && !has {
            book.insert(address, Entry { owner: id.clone(), resting: false, since: None });
        }
    }

    /// The addresses that an instance has.
    pub fn of(&self, id: &InstanceId) -> BTreeMap<NetworkName, Ipv4Addr> {
        let mine = |book: &BTreeMap<Ipv4Addr, Entry>| {
            book.iter().find(|(_, entry)| entry.owner == *id && !entry.resting).map(|(at, _)| *at)
        };
        self.networks.iter().filter_map(|(name, book)| Some((name.clone(), mine(book)?))).collect()
    }

    /// The instance is gone: its addresses rest.
    pub fn release(&mut self, id: &InstanceId, now: Duration) {
        for entry in self.networks.values_mut().flat_map(BTreeMap::values_mut) {
            if entry.owner == *id && !entry.resting {
                (entry.resting, entry.since) = (true, Some(now));
            }
        }
    }

    /// The instance leaves its address on one network, where something else was found to have it. It gets
    /// another one.
    pub fn give_up(&mut self, id: &InstanceId, network: &NetworkName, now: Duration) {
        let entries = self.networks.get_mut(network).into_iter().flat_map(BTreeMap::values_mut);
        for entry in entries.filter(|entry| entry.owner == *id && !entry.resting) {
            (entry.resting, entry.since) = (true, Some(now));
        }
    }

    /// Who has addresses that do not rest.
    pub fn owners(&self) -> BTreeSet<&InstanceId> {
        let entries = self.networks.values().flat_map(BTreeMap::values);
        entries.filter(|entry| !entry.resting).map(|entry| &entry.owner).collect()
    }

    /// Strikes out what has rested long enough.
    fn wake(&mut self, now: Duration) {
        for book in self.networks.values_mut() {
            for entry in book.values_mut().filter(|entry| entry.resting && entry.since.is_none()) {
                entry.since = Some(now);
            }
            book.retain(|_, entry| !entry.resting || entry.since.is_none_or(|since| now < since + REST));
        }
    }
}
