//! Taking a service down: all copies gently out, and when the last is gone, its records.

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{InstanceId, ServiceId};

use super::batch::{Happening, MAX_BATCH, Plan};
use super::draft::Draft;
use super::endpoints;
use super::exclusive;
use super::failover::Presence;
use super::slots;
use super::world::Service;

/// Send all copies away. What lies on a lost host is forgotten: should the host return, it finds containers
/// without a record there, and removes them.
pub(crate) fn empty(draft: &mut Draft<'_>) {
    slots::reap(draft);
    let copies: Vec<InstanceId> = draft.copies.keys().cloned().collect();
    for id in copies {
        if draft.copies.get(&id).is_some_and(|copy| exclusive::concerns(draft, copy)) {
            exclusive::send_away(draft, &id, "the service is deleted");
            continue;
        }
        match draft.copies.get(&id).map(|copy| copy.presence) {
            Some(Presence::Lost | Presence::Removed) => draft.delete(&id),
            Some(_) => draft.leave(&id, "the service is deleted"),
            None => true,
        };
    }
}

/// The last batch: all records go with the last copies, oldest templates first if they are too many for one.
pub(crate) fn records(plan: &mut Plan, id: &ServiceId, service: &Service) {
    let mut templates: Vec<(Key, i64)> = Vec::new();
    for (number, revision) in &service.revisions {
        templates.push((Key::Revision(id.clone(), *number), revision.mod_revision));
    }
    for (number, digest) in &service.digests {
        templates.push((Key::Digest(id.clone(), *number), digest.mod_revision));
    }
    templates.sort_by_key(|(key, _)| match key {
        Key::Revision(_, number) | Key::Digest(_, number) => *number,
        _ => 0,
    });
    let object = ObjectRef::Service(id.clone());
    let mut last = endpoints::keys(id, &service.endpoints);
    last.extend(service.rollout.as_ref().map(|at| (Key::Rollout(id.clone()), at.mod_revision)));
    last.extend(service.status.as_ref().map(|at| (Key::Status(object.clone()), at.mod_revision)));
    last.extend(service.accepted.as_ref().map(|at| (Key::Accepted(object.clone()), at.mod_revision)));
    let mut all = templates;
    all.append(&mut last);
    let room = MAX_BATCH.saturating_sub(plan.batch.writes.len());
    plan.more = all.len() > room;
    if !plan.more {
        plan.events.push(Happening {
            object,
            instance: None,
            warning: false,
            reason: "Deleted",
            message: "all copies are gone".to_owned(),
        });
    }
    // A document that came back this moment is looked at first.
    let document = service.document.as_ref().map_or(0, |document| document.mod_revision);
    plan.batch.guards.insert(Key::Document(ObjectRef::Service(id.clone())), document);
    for (key, revision) in all.into_iter().take(room) {
        plan.batch.delete(key, revision);
    }
}
