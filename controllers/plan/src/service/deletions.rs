//! The brake on deletions: many documents gone at once is more often a slip than a wish.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_api::meta::ObjectRef;

use super::memory::{DeletionMemory, Memory, Vanished};
use super::world::World;

/// Documents of which each goes within this time of another are counted together: that is one command, and
/// not a person who deletes one after the other.
const TOGETHER: Duration = Duration::from_secs(1);
/// One that went is counted for so long, though what it brought is already being taken down.
const WINDOW: Duration = Duration::from_secs(10);
/// A document must be gone for so long before that counts: deletions in a row are seen together.
const SETTLE: Duration = Duration::from_millis(200);
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
        Some(went) if now.saturating_sub(went.since) >= SETTLE => Fate::Delete,
        Some(went) => Fate::Wait((went.since + SETTLE).saturating_sub(now)),
        None => Fate::Wait(SETTLE),
    }
}

/// Take note of documents that are gone. `first`: nothing was observed before, so what is gone went at a time
/// that nobody knows.
pub(crate) fn observe(memory: &mut DeletionMemory, world: &World, now: Duration, first: bool) {
    if first && let Some(brakes) = &world.brakes {
        memory.held = brakes.value.deletions.clone();
    }
    let gone = gone(world);
    // What is being taken down stays counted for the window, so that a slow slip is held at its middle.
    memory.vanished.retain(|object, went| {
        let recent = now.saturating_sub(went.since) < WINDOW && !has_document(world, object);
        recent || gone.contains_key(object)
    });
    for (object, at) in &gone {
        let went = memory.vanished.entry(object.clone()).or_insert(Vanished { since: now, meant: false });
        went.meant |= is_meant(world, object, *at);
    }
    let vanished = &memory.vanished;
    memory
        .held
        .retain(|object| gone.contains_key(object) && !vanished.get(object).is_some_and(|went| went.meant));
    for slip in slips(memory, world) {
        memory.held.extend(slip.into_iter().filter(|object| gone.contains_key(object)));
    }
}

fn has_document(world: &World, object: &ObjectRef) -> bool {
    match object {
        ObjectRef::Service(id) => world.services.get(id).is_some_and(|service| service.document.is_some()),
        ObjectRef::Host(name) => world.hosts.get(name).is_some_and(|host| host.document.is_some()),
        _ => false,
    }
}

/// Whether a person said that this very deletion is meant: in the same transaction, or by name after it. A
/// document that was put again since then, and deleted again, is not meant.
fn is_meant(world: &World, object: &ObjectRef, at: Gone) -> bool {
    let Some(confirmed) = &world.confirmed else { return false };
    let named = confirmed.value.objects.contains(object);
    match at.deleted {
        Some(deleted) => match deleted.cmp(&confirmed.mod_revision) {
            Ordering::Less => named,
            Ordering::Equal => true,
            Ordering::Greater => false,
        },
        None => named && at.accepted < confirmed.mod_revision,
    }
}

/// What vanished together, if that is so much that it looks like a slip. Services and hosts are counted apart.
fn slips(memory: &DeletionMemory, world: &World) -> Vec<Vec<ObjectRef>> {
    let services = world.services.values().filter(|service| service.accepted.is_some()).count();
    let hosts = world.hosts.values().filter(|host| host.accepted.is_some()).count();
    let mut slips = Vec::new();
    for (is_service, all) in [(true, services), (false, hosts)] {
        let of_kind = |object: &&ObjectRef| matches!(object, ObjectRef::Service(_)) == is_service;
        let unmeant = memory.vanished.iter().filter(|(object, went)| of_kind(object) && !went.meant);
        let mut went: Vec<(Duration, &ObjectRef)> =
            unmeant.map(|(object, went)| (went.since, object)).collect();
        went.sort();
        let runs = went.chunk_by(|before, after| after.0.saturating_sub(before.0) <= TOGETHER);
        let many = runs.filter(|run| run.len() >= FEW && 2 * run.len() >= all);
        slips.extend(many.map(|run| run.iter().map(|(_, object)| (*object).clone()).collect()));
    }
    slips
}

/// When a document went, as far as that is known.
#[derive(Debug, Clone, Copy)]
struct Gone {
    /// The revision of its deletion.
    deleted: Option<i64>,
    /// The revision of the document that was accepted last.
    accepted: i64,
}

/// Objects that are accepted, not being taken down, and whose documents are gone.
fn gone(world: &World) -> BTreeMap<ObjectRef, Gone> {
    let services = world.services.iter().filter_map(|(id, service)| {
        let accepted = service.accepted.as_ref().filter(|_| service.document.is_none())?;
        let gone = Gone { deleted: service.deleted, accepted: accepted.value.source_revision };
        (!accepted.value.deleting).then(|| (ObjectRef::Service(id.clone()), gone))
    });
    let hosts = world.hosts.iter().filter_map(|(name, host)| {
        let accepted = host.accepted.as_ref().filter(|_| host.document.is_none())?;
        let gone = Gone { deleted: host.deleted, accepted: accepted.value.source_revision };
        (!accepted.value.deleting).then(|| (ObjectRef::Host(name.clone()), gone))
    });
    services.chain(hosts).collect()
}
