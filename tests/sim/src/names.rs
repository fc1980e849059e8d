//! I7: what names say, beside what the store says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_plan::dns::{Found, Wanted, Zone};

use crate::cluster::Cluster;
use crate::documents::NAMESPACE;
use crate::host::Host;
use crate::stored::Stored;

/// Names are looked at that often.
const EVERY: Duration = Duration::from_millis(300);
/// So long they may say what the store says no more: 1.2 s, and the looks at either end.
const LATE: Duration = Duration::from_millis(1800);

/// Names give nobody that the store has long known to be gone, and are never empty while it lists somebody.
/// For hosts with which nothing is wrong.
#[derive(Default)]
pub struct Names {
    next: Duration,
    of: BTreeMap<u8, Seen>,
}

/// What was seen of one host's.
#[derive(Default)]
struct Seen {
    /// The zone, and which version of what is stored it was held against.
    against: Option<(Arc<Zone>, u64)>,
    /// What is not so, since when.
    wrong: BTreeMap<String, Duration>,
}

/// The addresses that a host's names give for a service; `None`: it answers nothing yet.
pub fn given_on(host: &Host, service: &str) -> Option<BTreeSet<Ipv4Addr>> {
    given(&host.names()?.zone(), service)
}

fn given(zone: &Zone, service: &str) -> Option<BTreeSet<Ipv4Addr>> {
    let asker = IpAddr::V4(Ipv4Addr::new(10, 88, 0, 1));
    match zone.lookup(&[service, NAMESPACE, "internal"], Wanted::A, asker) {
        Found::Addresses { addresses, .. } => Some(addresses.iter().copied().collect()),
        Found::Unknown => None,
        _ => Some(BTreeSet::new()),
    }
}

impl Names {
    /// Looks, when it is time to.
    pub fn look(&mut self, cluster: &Cluster, stored: &Stored) {
        let now = cluster.timeline.now();
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        for host in &cluster.hosts {
            let seen = self.of.entry(host.number).or_default();
            let Some(server) = host.names().filter(|_| cluster.is_calm(host.number)) else {
                *seen = Seen::default();
                continue;
            };
            let zone = server.zone();
            let same = seen
                .against
                .as_ref()
                .is_some_and(|(of, version)| Arc::ptr_eq(of, &zone) && *version == stored.version);
            if !same {
                let mut wrong = BTreeMap::new();
                for what in differs(&zone, stored) {
                    let since = seen.wrong.get(&what).copied().unwrap_or(now);
                    wrong.insert(what, since);
                }
                *seen = Seen { against: Some((zone, stored.version)), wrong };
            }
            for (what, since) in seen.wrong.iter().filter(|(_, since)| now - **since > LATE) {
                let what = format!("{} {what} since {since:?}", host.name);
                cluster.timeline.violated("I7 names", &what);
            }
        }
    }
}

fn differs(zone: &Zone, stored: &Stored) -> Vec<String> {
    let mut found = Vec::new();
    for (service, listed) in &stored.listed {
        let Some(given) = given(zone, service) else { continue };
        let lives = |address: &Ipv4Addr| listed.get(address).is_some_and(|of| stored.alive.contains(of));
        let some_live = listed.keys().any(lives);
        let stale = given.iter().filter(|address| !listed.contains_key(*address));
        let dead = given.iter().filter(|address| some_live && !lives(address));
        found.extend(stale.chain(dead).map(|address| format!("gives {address} for {service}")));
        if given.is_empty() && !listed.is_empty() {
            found.push(format!("gives nothing for {service}"));
        }
    }
    found
}
