//! When a host is lost, and the brake that keeps a fault of the network or of the store from looking like
//! the death of many hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{ALIVE_TTL, BrakeState, Desired};

use super::flapping;
use super::memory::{HostMemory, Memory};
use super::world::World;

/// A host that was gone for so long without a pause is a suspect: a stalled store kills leases of healthy
/// hosts, and those are back within half a second.
pub const SUSPICION: Duration = Duration::from_millis(1500);
/// Suspects within this time of each other are counted together, and the brake holds for this long after
/// the last reason for it.
pub const BRAKE_WINDOW: Duration = Duration::from_secs(10);

/// How a host is, for its copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is there.
    Present,
    /// It is gone, and may come back.
    Absent,
    /// It is gone, and its copies are given up.
    Lost,
    /// It is gone, its copies would be given up, and the brake is on.
    Held,
    /// Its document is gone too: nothing there is waited for.
    Removed,
}

/// How `host` is for copies that are given up after `lost_after`, and when that may change by time alone.
pub(crate) fn presence(
    world: &World,
    memory: &Memory,
    host: &HostName,
    lost_after: Span,
    now: Duration,
) -> (Presence, Option<Duration>) {
    let known = world.hosts.get(host);
    if known.is_some_and(|known| known.alive.is_some()) {
        return (Presence::Present, None);
    }
    if known.is_none_or(super::world::Host::is_removed) {
        return (Presence::Removed, None);
    }
    let dead = is_confirmed_dead(world, memory, host);
    if memory.brake.on && memory.brake.held.contains(host) && !dead {
        return (Presence::Held, None);
    }
    let Some(since) = memory.hosts.get(host).and_then(|measured| measured.absent_since) else {
        return (Presence::Absent, Some(SUSPICION));
    };
    // `lost_after` counts from the last heartbeat, which was at least a lease's time before we missed it.
    let patience = if dead { SUSPICION } else { SUSPICION.max(lost_after.0.saturating_sub(ALIVE_TTL)) };
    let due = since + patience;
    // Leases that end one after the other may be hosts that went at once.
    let open = memory.brake.open_until.filter(|_| !dead).map_or(due, |until| until.min(due + SUSPICION));
    let due = due.max(open);
    if now < due { (Presence::Absent, Some(due - now)) } else { (Presence::Lost, None) }
}

/// Whether a person declared this very incarnation of a host dead.
pub(crate) fn is_confirmed_dead(world: &World, memory: &Memory, host: &HostName) -> bool {
    let said = world.brake.as_ref().and_then(|brake| brake.value.dead.get(host));
    said.is_some_and(|incarnation| *incarnation == incarnation_of(memory, host))
}

fn incarnation_of(memory: &Memory, host: &HostName) -> u64 {
    memory.hosts.get(host).and_then(|measured| measured.incarnation).unwrap_or(0)
}

/// Take note of who is there.
pub(crate) fn observe(memory: &mut Memory, world: &World, now: Duration, answered: bool) {
    let first = !memory.began;
    let carried: BTreeMap<HostName, u64> =
        world.brakes.as_ref().map(|brakes| brakes.value.held.clone()).unwrap_or_default();
    let with_copies = if first { hosts_with_copies(world) } else { BTreeSet::new() };
    memory.hosts.retain(|host, _| world.hosts.contains_key(host));
    for (name, host) in &world.hosts {
        let unknown = !memory.hosts.contains_key(name);
        let measured = memory.hosts.entry(name.clone()).or_default();
        if let Some(alive) = &host.alive {
            let gone = measured.absent_since.is_some_and(|since| now.saturating_sub(since) >= SUSPICION);
            let losses = flapping::back(measured, gone && !memory.brake.on, now);
            let incarnation = Some(alive.incarnation);
            *measured = HostMemory { incarnation, losses, ..HostMemory::default() };
            continue;
        }
        match &mut measured.absent_since {
            // What was not answered was not seen: the count begins again.
            Some(since) if !answered => *since = now,
            Some(_) => {}
            None => measured.absent_since = Some(now),
        }
        if unknown {
            // Gone since before we led, with nothing on it to give up; or never there yet.
            measured.incarnation = carried.get(name).copied();
            let settled = !with_copies.contains(name) && !carried.contains_key(name);
            measured.evicted = settled.then_some(None);
        }
    }
    if first && !carried.is_empty() {
        memory.brake.on = true;
        memory.brake.held = carried.into_keys().collect();
    }
    brake(memory, world, now);
}

fn hosts_with_copies(world: &World) -> BTreeSet<HostName> {
    let copies = world.services.values().flat_map(|service| service.copies.values());
    copies
        .filter(|copy| copy.record.as_ref().is_some_and(|record| record.value.desired != Desired::Lost))
        .map(|copy| copy.host.clone())
        .collect()
}

/// Decide whether the brake is on, and for whom.
fn brake(memory: &mut Memory, world: &World, now: Duration) {
    let mut suspects: BTreeMap<HostName, Duration> = BTreeMap::new();
    let mut present = 0;
    let mut just_gone: Vec<Duration> = Vec::new();
    for (name, host) in world.hosts.iter().filter(|(_, host)| !host.is_removed()) {
        let Some(measured) = memory.hosts.get(name) else { continue };
        match measured.absent_since {
            None => present += 1,
            Some(since) if now.saturating_sub(since) < SUSPICION => {
                present += 1;
                just_gone.push(since);
            }
            Some(_) if measured.evicted == Some(None) || is_confirmed_dead(world, memory, name) => {}
            Some(since) if host.accepted.is_some() => {
                suspects.insert(name.clone(), since);
            }
            Some(_) => {}
        }
    }
    let given_up =
        |name: &HostName| memory.hosts.get(name).is_some_and(|measured| measured.evicted.is_some());
    let open: BTreeSet<HostName> = suspects.keys().filter(|name| !given_up(name)).cloned().collect();
    let newest = open.iter().filter_map(|name| suspects.get(name)).max().copied();
    let recent = suspects.iter().filter(|(name, since)| {
        given_up(name) && newest.is_some_and(|newest| newest.saturating_sub(**since) <= BRAKE_WINDOW)
    });
    let counted = open.len() + recent.count();
    let active = present + suspects.len();
    let too_many = |gone: usize| !open.is_empty() && gone >= usize::max(2, active.div_ceil(2));
    let over = too_many(counted);
    memory.brake.open_until = just_gone
        .iter()
        .max()
        .filter(|_| !over && too_many(counted + just_gone.len()))
        .map(|since| *since + SUSPICION);
    if over {
        memory.brake.on = true;
        memory.brake.low_since = None;
    } else if memory.brake.on {
        let low_since = *memory.brake.low_since.get_or_insert(now);
        if now.saturating_sub(low_since) >= BRAKE_WINDOW {
            memory.brake.on = false;
            memory.brake.low_since = None;
        }
    }
    memory.brake.held = match memory.brake.on {
        true => {
            let still =
                |name: &&HostName| memory.hosts.get(*name).is_some_and(|host| host.absent_since.is_some());
            let before = memory.brake.held.iter().filter(still).filter(|name| !given_up(name));
            before.chain(&open).cloned().collect()
        }
        false => BTreeSet::new(),
    };
    if !memory.brake.on {
        let lost_after = evenkeel_api::service::defaults::LOST_AFTER.0;
        for name in open {
            if let Some(measured) = memory.hosts.get_mut(&name) {
                let gone_for =
                    measured.absent_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
                if gone_for >= lost_after {
                    measured.evicted = Some(Some(now));
                }
            }
        }
    }
}

/// What is to be said of the brakes; `None`: none is on.
pub(crate) fn brake_state(memory: &Memory, world: &World) -> Option<BrakeState> {
    let deletions = memory.deletions.held.clone();
    if !memory.brake.on && deletions.is_empty() {
        return None;
    }
    let held = memory.brake.held.iter().map(|host| (host.clone(), incarnation_of(memory, host))).collect();
    let since = world.brakes.as_ref().map_or(world.wall, |brakes| brakes.value.since);
    Some(BrakeState { held, deletions, since })
}

/// When a host or brake may change by time alone.
pub(crate) fn next_change(memory: &Memory, now: Duration) -> Option<Duration> {
    let suspicions =
        memory.hosts.values().filter(|host| host.evicted.is_none()).filter_map(|host| host.absent_since);
    let lost_after = evenkeel_api::service::defaults::LOST_AFTER.0;
    let due = suspicions.flat_map(|since| [since + SUSPICION, since + lost_after]);
    let flapping = memory.flapping(now).into_values();
    let low = memory.brake.low_since.map(|since| since + BRAKE_WINDOW);
    due.chain(low).chain(flapping).filter(|at| *at > now).min().map(|at| at - now)
}
