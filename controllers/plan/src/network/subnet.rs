//! Who owns which part of a network.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::name::HostName;
use evenkeel_api::network::{Cidr, NetworkSpec};
use evenkeel_api::record::Facts;

/// What to write about a network's parts, and why some hosts get none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// Hosts that get a part.
    pub claims: BTreeMap<HostName, Cidr>,
    /// Hosts that are gone, whose part is free again.
    pub releases: BTreeMap<HostName, Cidr>,
    /// Why hosts get none, each a sentence that names the host.
    pub refusals: Vec<String>,
}

/// The parts of one network: each host without one gets the lowest that is free, in the order of the hosts'
/// names, and keeps it until its Host document or the Network is deleted.
///
/// The first part of a pool is left out where there is another: it holds the pool's own network address,
/// and without it the hosts' numbers and their parts' tend to agree, which people like.
///
/// Nothing is claimed for a host whose facts are not known. Before the very first claim no host at all may
/// have the pool in use for something else: a network that would leave a host out is better refused while
/// its pool can still be changed.
pub fn parts(
    spec: &NetworkSpec,
    owned: &BTreeMap<HostName, Cidr>,
    hosts: &BTreeSet<HostName>,
    facts: &BTreeMap<HostName, Facts>,
) -> Parts {
    let releases: BTreeMap<_, _> =
        owned.iter().filter(|(host, _)| !hosts.contains(*host)).map(|(h, part)| (h.clone(), *part)).collect();
    let conflicts: BTreeMap<&HostName, String> = hosts
        .iter()
        .filter(|host| !owned.contains_key(*host))
        .filter_map(|host| Some((host, conflict(spec, host, facts.get(host)?)?)))
        .collect();
    let mut parts = Parts { releases, refusals: conflicts.values().cloned().collect(), ..Parts::default() };
    if owned.is_empty() && !conflicts.is_empty() {
        return parts;
    }
    // A part that is released now is not given away in the same breath: its old owner may still route it.
    let taken: BTreeSet<Cidr> = owned.values().copied().collect();
    let mut free = usable(spec).filter(|part| !taken.contains(part));
    let asking = hosts.iter().filter(|host| {
        !owned.contains_key(*host) && facts.contains_key(*host) && !conflicts.contains_key(host)
    });
    for host in asking {
        match free.next() {
            Some(part) => {
                parts.claims.insert(host.clone(), part);
            }
            None => parts.refusals.push(format!("{host}: all parts of the pools are taken; append a pool")),
        }
    }
    parts
}

/// All parts that hosts can have, in order.
fn usable(spec: &NetworkSpec) -> impl Iterator<Item = Cidr> {
    let length = spec.host_prefix_length();
    let pools: Vec<Cidr> = spec.pools().collect();
    pools.into_iter().flat_map(move |pool| pool.parts(length).skip(usize::from(pool.prefix() < length)))
}

/// What on a host is in the way of a network, by what its facts say; both sides named.
fn conflict(spec: &NetworkSpec, host: &HostName, facts: &Facts) -> Option<String> {
    spec.pools().find_map(|pool| {
        let address = facts.addresses.iter().find_map(|a| {
            let range = Cidr::new(a.address, a.prefix);
            range.overlaps(&pool).then(|| format!("its own address {}/{}", a.address, a.prefix))
        });
        let taken = || {
            let mut taken = facts.taken.iter();
            taken.find_map(|(who, range)| range.overlaps(&pool).then(|| format!("{who} ({range})")))
        };
        address.or_else(taken).map(|what| format!("{host}: pool {pool} overlaps {what}"))
    })
}
