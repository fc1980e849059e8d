//! Copies that run where more is reserved by now than the host has: a reservation that is raised moves nobody, and so
//! nothing else would tell that they could not be placed again.

use std::collections::BTreeSet;

use evenkeel_api::name::HostName;
use evenkeel_api::record::Desired;

use super::draft::Draft;
use super::failover::Presence;
use super::filter::{self, Leave};

/// Where that is so, and why no other host would take them; `None`: nowhere, or there is room elsewhere.
pub(crate) fn told(draft: &mut Draft<'_>) -> Option<String> {
    let reserved = &draft.spec().deploy.reservations;
    if reserved.cpus.is_none() && reserved.memory.is_none() {
        return None;
    }
    let mut hosts: BTreeSet<&HostName> = BTreeSet::new();
    let mut slot = None;
    for copy in draft.copies.values() {
        let stays = copy.desired == Desired::Run && copy.presence == Presence::Present && !copy.host_drains;
        if stays && (hosts.contains(&copy.host) || has_too_little(draft, &copy.host)) {
            slot = slot.or(Some((copy.slot.clone(), copy.template)));
            hosts.insert(&copy.host);
        }
    }
    let hosts: Vec<String> = hosts.into_iter().map(ToString::to_string).collect();
    let (slot, template) = slot?;
    let nowhere = draft.pick(&slot, template, Leave::default()).err()?;
    // It may change with whatever else leaves a host.
    draft.plan.wants_room = true;
    let has = if hosts.len() == 1 { "it has" } else { "they have" };
    Some(format!(
        "more is reserved on {} than {has}: what runs there stays, and would fit nowhere if it had to move: {nowhere}",
        hosts.join(", ")
    ))
}

/// Whether more is reserved on a host than it has.
fn has_too_little(draft: &Draft<'_>, name: &HostName) -> bool {
    let capacity = draft.world.hosts.get(name).and_then(filter::capacity);
    let used = draft.ledger.used(name);
    capacity.zip(used).is_some_and(|((cpus, memory), used)| used.cpus.0 > cpus || used.memory.0 > memory)
}
