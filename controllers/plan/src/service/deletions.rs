//! The brake on deletions: many documents gone at once is more often a slip than a wish.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_api::meta::ObjectRef;

use super::memory::{DeletionMemory, Memory};
use super::world::World;

/// Documents that go within this time of each other are counted together.
pub const WINDOW: Duration = Duration::from_secs(10);
/// A document must be gone for so long before that counts: deletions in a row are seen together.
pub const SETTLE: Duration = Duration::from_millis(200);
/// Fewer deletions than these are never held.
const FEW: usize = 3;

/// What is to become of an object whose document is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is to be taken down.
    Delete,
    /// Not yet decided; look again after this time.
    Wait(Duration),
    /// It is kept: too many went at once.
    Held,
}

/// What is to become of `object`, whose document is gone.
pub(crate) fn fate(memory: &Memory, object: &ObjectRef, now: Duration) -> Fate {
    let memory = &memory.deletions;
    match memory.vanished.get(object) {
        _ if memory.held.contains(object) => Fate::Held,
        Some(since) if now.saturating_sub(*since) >= SETTLE => Fate::Delete,
        Some(since) => Fate::Wait((*since + SETTLE).saturating_sub(now)),
        None => Fate::Wait(SETTLE),
    }
}

/// Take note of documents that are gone.
pub(crate) fn observe(memory: &mut DeletionMemory, world: &World, now: Duration) {
    let first = memory.confirmed.is_none() && memory.vanished.is_empty() && memory.held.is_empty();
    match (world.confirmed, memory.confirmed) {
        (Some(revision), Some((known, _))) if revision != known => {
            memory.confirmed = Some((revision, Some(now)))
        }
        // What stood there when we began may be of any age.
        (Some(revision), None) => memory.confirmed = Some((revision, None)),
        (None, None) => memory.confirmed = Some((0, None)),
        _ => {}
    }
    if first && let Some(brakes) = &world.brakes {
        memory.held = brakes.value.deletions.clone();
        memory.held_at = Some(brakes.mod_revision);
    }
    let gone = gone(world);
    // What is being taken down stays counted for the window, so that a slow slip is held at its middle.
    memory.vanished.retain(|object, since| gone.contains(object) || now.saturating_sub(*since) < WINDOW);
    for object in &gone {
        memory.vanished.entry(object.clone()).or_insert(now);
    }
    memory.held.retain(|object| gone.contains(object));
    let newer = memory.confirmed.map_or(0, |(revision, _)| revision) > memory.held_at.unwrap_or(0);
    if newer {
        memory.held.clear();
    }
    let fresh = memory.confirmed.and_then(|(_, at)| at).is_some_and(|at| now.saturating_sub(at) < WINDOW);
    if fresh {
        return;
    }
    hold(memory, world, &gone, now);
}

fn hold(memory: &mut DeletionMemory, world: &World, gone: &BTreeSet<ObjectRef>, now: Duration) {
    let services = world.services.values().filter(|service| service.accepted.is_some()).count();
    let hosts = world.hosts.values().filter(|host| host.accepted.is_some()).count();
    for (is_service, all) in [(true, services), (false, hosts)] {
        let of_kind = |object: &&ObjectRef| matches!(object, ObjectRef::Service(_)) == is_service;
        let together = |object: &&ObjectRef| {
            memory.held.contains(*object)
                || memory.vanished.get(*object).is_some_and(|since| now.saturating_sub(*since) < WINDOW)
        };
        let recent = memory.vanished.keys().filter(of_kind).filter(together).count();
        if recent >= FEW && 2 * recent >= all {
            let open = gone.iter().filter(of_kind);
            let fresh: Vec<ObjectRef> =
                open.filter(|object| !memory.held.contains(*object)).cloned().collect();
            if !fresh.is_empty() {
                memory.held.extend(fresh);
                memory.held_at = Some(memory.confirmed.map_or(0, |(revision, _)| revision));
            }
        }
    }
}

/// Objects that are accepted, not being taken down, and whose documents are gone.
fn gone(world: &World) -> BTreeSet<ObjectRef> {
    let services = world.services.iter().filter(|(_, service)| {
        service.document.is_none()
            && service.accepted.as_ref().is_some_and(|accepted| !accepted.value.deleting)
    });
    let hosts = world.hosts.iter().filter(|(_, host)| {
        host.document.is_none() && host.accepted.as_ref().is_some_and(|accepted| !accepted.value.deleting)
    });
    let services = services.map(|(id, _)| ObjectRef::Service(id.clone()));
    services.chain(hosts.map(|(name, _)| ObjectRef::Host(name.clone()))).collect()
}
