//! Hosts that come and go. One that was lost again and again keeps its copies and gets no new ones for a
//! while: what is placed there would soon be gone, too. Where nothing else fits it is still better than none.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_api::name::HostName;

use super::memory::{HostMemory, Memory};

/// So many losses ...
const LOSSES: usize = 3;
/// ... within this time make a host one that flaps; it is trusted again when they are so long ago.
const WITHIN: Duration = Duration::from_secs(600);

/// What stays of a host's memory when it is back: its last losses, of which more would decide nothing. `lost`: it
/// was gone long enough to be a suspect, and it was not the whole cluster that was cut.
pub(crate) fn back(before: &HostMemory, lost: bool, now: Duration) -> Vec<Duration> {
    let mut losses: Vec<Duration> = before.losses.iter().copied().chain(lost.then_some(now)).collect();
    let early = losses.len().saturating_sub(LOSSES);
    losses.drain(..early);
    losses
}

/// Until when a host is given nothing new, if so.
fn until(host: &HostMemory, now: Duration) -> Option<Duration> {
    let until = *host.losses.iter().nth_back(LOSSES - 1)? + WITHIN;
    (until > now).then_some(until)
}

impl Memory {
    /// Hosts that flap, and until when they count as that.
    pub(crate) fn flapping(&self, now: Duration) -> BTreeMap<HostName, Duration> {
        let flapping = self.hosts.iter().filter_map(|(name, host)| Some((name.clone(), until(host, now)?)));
        flapping.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn three_losses_in_ten_minutes_and_not_over_a_day() {
        let mut host = HostMemory::default();
        for (at, lost, expected) in [
            (100, true, None),
            (200, false, None),
            (400, true, None),
            (700, true, None),
            (900, true, Some(1000)),
            (950, true, Some(1300)),
        ] {
            host.losses = back(&host, lost, secs(at));
            assert_eq!(until(&host, secs(at)), expected.map(secs), "{at}");
        }
        assert_eq!(until(&host, secs(1299)), Some(secs(1300)));
        assert_eq!(until(&host, secs(1300)), None);
    }
}
