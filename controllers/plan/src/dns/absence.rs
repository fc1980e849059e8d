//! How long hosts have been gone. A lease that is lost and won back within [`LIMIT`] changes no answer:
//! a stalled store kills many healthy leases at once, and they are back in no time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::name::HostName;

/// How long a host's `alive` is gone before names leave it out.
pub const LIMIT: Duration = Duration::from_millis(500);

/// Since when each host that should be alive is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Absences {
    since: BTreeMap<HostName, Duration>,
}

impl Absences {
    /// Takes note of who is alive at `now` (monotonic), among the hosts that names lead to.
    pub fn observe(&mut self, named: &BTreeSet<HostName>, alive: &BTreeSet<HostName>, now: Duration) {
        self.since.retain(|host, _| named.contains(host) && !alive.contains(host));
        for host in named.difference(alive) {
            self.since.entry(host.clone()).or_insert(now);
        }
    }

    /// The hosts that have been gone for [`LIMIT`] at `now`.
    pub fn gone(&self, now: Duration) -> BTreeSet<HostName> {
        let gone = self.since.iter().filter(|(_, since)| **since + LIMIT <= now);
        gone.map(|(host, _)| host.clone()).collect()
    }

    /// The next time after `now` at which [`Self::gone`] gives another answer by time alone.
    pub fn next(&self, now: Duration) -> Option<Duration> {
        self.since.values().map(|since| *since + LIMIT).filter(|due| *due > now).min()
    }
}
