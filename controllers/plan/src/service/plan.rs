//! The plan for one service, and the plan for what belongs to no service.

use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, ServiceId};
use evenkeel_api::record::{BrakeState, Revision};
use evenkeel_api::service::ServiceSpec;

use super::admit::{self, Admission};
use super::batch::{Happening, MAX_BATCH, Plan, Write};
use super::deletions::{Fate, fate};
use super::draft::Draft;
use super::failover;
use super::ledger::Ledger;
use super::memory::Memory;
use super::status::HostTrouble;
use super::world::{Service, World};
use super::{
    crowded, deadline, digests, endpoints, pairs, pins, refused, remove, restarts, rollback, rollout, slots,
    status,
};

/// Templates of a service that are kept beside those in use.
const HISTORY: usize = 10;

/// What is to be done for one service now. [`Memory::observe`] and [`Memory::observe_service`] come first.
pub fn plan_service(
    world: &World,
    id: &ServiceId,
    memory: &Memory,
    ledger: &mut Ledger,
    now: Duration,
) -> Plan {
    let Some(service) = world.services.get(id) else { return Plan::default() };
    if !service.unreadable.is_empty() {
        let (object, known) = (ObjectRef::Service(id.clone()), service.status.as_ref());
        let status = status::unreadable(object, known, &service.unreadable, world.wall);
        return Plan { status, ..Plan::default() };
    }
    let admission = admit::service(service, id, world.floor, memory, now);
    ledger.refresh_as(world, id, admission.accepted.as_ref().map(|accepted| &accepted.spec));
    let Some(accepted) = admission.accepted.clone() else {
        return never_valid(world, id, service, &admission);
    };
    let number = rollback::running(service, &accepted);
    let spec = rollback::spec(service, &accepted, number);
    let mut draft = Draft::new(world, (id, service), &accepted, (number, &spec), memory, ledger, now);
    if accepted.deleting {
        remove::empty(&mut draft);
        if draft.copies.is_empty() {
            draft.write_copies();
            remove::records(&mut draft.plan, id, service);
            return draft.plan;
        }
    } else {
        rollout::begin(&mut draft);
        slots::reap(&mut draft);
        let surplus = slots::choose(&mut draft);
        deadline::watch(&mut draft);
        restarts::grant(&mut draft);
        // What is made of a rejected template is planned anew, with the one that copies go back to.
        if !rollout::judge(&mut draft) {
            slots::fill(&mut draft);
            pairs::decide(&mut draft);
            slots::dismiss(&mut draft, &surplus);
            rollout::exchange(&mut draft);
            pairs::evacuate(&mut draft);
            rollback::prove(&mut draft);
            draft.crowded = crowded::told(&mut draft);
        }
    }
    write(draft, &admission, service)
}

/// A service of which no document was ever valid: only that is said, as long as there is a document.
fn never_valid(world: &World, id: &ServiceId, service: &Service, admission: &Admission<ServiceSpec>) -> Plan {
    let mut plan = Plan::default();
    let object = ObjectRef::Service(id.clone());
    if service.document.is_some() {
        plan.status = status::refused(object, service.status.as_ref(), admission, world.wall);
    } else {
        remove::records(&mut plan, id, service);
        plan.events.clear();
    }
    plan
}

/// Turn a draft into writes.
fn write(mut draft: Draft<'_>, admission: &Admission<ServiceSpec>, service: &Service) -> Plan {
    let id = draft.id;
    let object = ObjectRef::Service(id.clone());
    if let Some(wait) = admission.wait {
        draft.plan.wake(wait);
    }
    draft.write_copies();
    write_accepted(&mut draft, service, &object);
    endpoints::write(&mut draft);
    rollback::forget(&mut draft.rollout, service, draft.accepted.template);
    let known = service.rollout.as_ref().map(|at| &at.value);
    if known != Some(&draft.rollout) {
        let revision = service.rollout.as_ref().map_or(0, |at| at.mod_revision);
        draft.plan.batch.put(Key::Rollout(id.clone()), revision, Write::Rollout(draft.rollout.clone()));
    }
    trim(&mut draft, service);
    digests::pin(&mut draft, service);
    draft.refused = refused::everywhere(&mut draft);
    draft.plan.status = status::service(&draft, admission);
    for unplaced in draft.pending.values() {
        *draft.plan.pending.entry(unplaced.lack).or_default() += 1;
    }
    guard(&mut draft, service, &object);
    draft.plan
}

fn write_accepted(draft: &mut Draft<'_>, service: &Service, object: &ObjectRef) {
    let known = service.accepted.as_ref();
    if known.is_some_and(|known| known.value == *draft.accepted) {
        return;
    }
    let revision = known.map_or(0, |known| known.mod_revision);
    let accepted = draft.accepted.clone();
    if let Some(number) = accepted.template.filter(|number| !service.revisions.contains_key(number)) {
        let template = accepted.spec.template.clone();
        let key = Key::Revision(draft.id.clone(), number);
        draft.plan.batch.put(key, 0, Write::Revision(Box::new(Revision { template })));
    }
    let (reason, message) = match (accepted.deleting, known) {
        (true, _) => ("Deleting", "the document is gone; all copies are taken down".to_owned()),
        (false, None) => ("Accepted", format!("revision {} is the first", accepted.source_revision)),
        (false, Some(_)) => ("Accepted", format!("revision {} holds now", accepted.source_revision)),
    };
    draft.tell(None, false, reason, message);
    draft.plan.batch.put(Key::Accepted(object.clone()), revision, Write::Accepted(Box::new(accepted)));
}

/// What the batch relies on beside what it writes.
fn guard(draft: &mut Draft<'_>, service: &Service, object: &ObjectRef) {
    if draft.plan.batch.is_empty() {
        return;
    }
    let guards = &mut draft.plan.batch.guards;
    let accepted = service.accepted.as_ref().map_or(0, |at| at.mod_revision);
    guards.entry(Key::Accepted(object.clone())).or_insert(accepted);
    let rollout = service.rollout.as_ref().map_or(0, |at| at.mod_revision);
    guards.entry(Key::Rollout(draft.id.clone())).or_insert(rollout);
    let document = service.document.as_ref().map_or(0, |document| document.mod_revision);
    if draft.plan.batch.writes.contains_key(&Key::Accepted(object.clone())) {
        guards.insert(Key::Document(object.clone()), document);
    }
}

/// Forget templates that nothing is made from, but for the last few.
fn trim(draft: &mut Draft<'_>, service: &Service) {
    let mut used: Vec<i64> = draft.copies.values().map(|copy| copy.template).collect();
    used.extend(draft.rollout.target);
    used.extend(draft.rollout.current);
    used.extend(&draft.rollout.rejected);
    used.extend(draft.accepted.template.and_then(|newest| pins::template(service, newest)));
    used.extend(draft.accepted.template);
    let newest = service.revisions.keys().rev().take(HISTORY);
    used.extend(newest);
    for (number, revision) in &service.revisions {
        let writes = draft.plan.batch.writes.len();
        if used.contains(number) || writes + 3 > MAX_BATCH {
            continue;
        }
        draft.plan.batch.delete(Key::Revision(draft.id.clone(), *number), revision.mod_revision);
        if let Some(digest) = service.digests.get(number) {
            draft.plan.batch.delete(Key::Digest(draft.id.clone(), *number), digest.mod_revision);
        }
    }
}

/// What is to be done for one host's document and status.
pub fn plan_host(world: &World, name: &HostName, memory: &Memory, now: Duration) -> Plan {
    let mut plan = Plan::default();
    let Some(host) = world.hosts.get(name) else { return plan };
    let object = ObjectRef::Host(name.clone());
    let admission = admit::admit(&object, host.document.as_ref(), host.accepted.as_ref(), memory, now);
    if let Some(wait) = admission.wait {
        plan.wake(wait);
    }
    let document = host.document.as_ref().map_or(0, |document| document.mod_revision);
    let known = host.accepted.as_ref();
    let revision = known.map_or(0, |known| known.mod_revision);
    match &admission.accepted {
        Some(accepted) if accepted.deleting => {
            let empty = !has_copies(world, name);
            if empty {
                plan.batch.delete(Key::Accepted(object.clone()), revision);
                if let Some(status) = &host.status {
                    plan.batch.delete(Key::Status(object.clone()), status.mod_revision);
                }
                plan.batch.guards.insert(Key::Document(object), document);
                return plan;
            }
        }
        None if host.document.is_none() => {
            if let Some(status) = &host.status {
                plan.batch.delete(Key::Status(object), status.mod_revision);
            }
            return plan;
        }
        _ => {}
    }
    if let Some(accepted) =
        admission.accepted.as_ref().filter(|accepted| known.map(|known| &known.value) != Some(*accepted))
    {
        plan.batch.guards.insert(Key::Document(object.clone()), document);
        plan.batch.put(
            Key::Accepted(object.clone()),
            revision,
            Write::AcceptedHost(Box::new(accepted.clone())),
        );
    }
    let held = memory.brake.held.contains(name);
    let flaps = memory.flapping(now).get(name).copied();
    if let Some(until) = flaps {
        plan.wake(until.saturating_sub(now));
    }
    let trouble = held.then_some(HostTrouble::Held).or(flaps.map(|_| HostTrouble::Flapping));
    let alive = host.alive.is_some();
    plan.status = status::host((name, alive, trouble), host.status.as_ref(), &admission, world.wall);
    plan
}

fn has_copies(world: &World, name: &HostName) -> bool {
    let copies = world.services.values().flat_map(|service| service.copies.values());
    copies.into_iter().any(|copy| copy.host == *name && copy.record.is_some())
}

/// What is to be said of the brakes, and when hosts or documents may change by time alone.
pub fn plan_brakes(world: &World, memory: &Memory, now: Duration) -> Plan {
    let mut plan = Plan::default();
    let wanted = failover::brake_state(memory, world);
    let known = world.brakes.as_ref();
    let revision = known.map_or(0, |known| known.mod_revision);
    let was = known.and_then(|known| about(&known.value));
    let is = wanted.as_ref().and_then(about);
    let changed = wanted.as_ref() != known.map(|known| &known.value);
    let event = match (was, is) {
        (_, Some(object)) if changed => Some((object, true, "BrakeOn", holding(wanted.as_ref()))),
        (Some(object), None) => Some((object, false, "BrakeReleased", "nothing is held any more".to_owned())),
        _ => None,
    };
    if let Some((object, warning, reason, message)) = event {
        plan.events.push(Happening { object, instance: None, warning, reason, message });
    }
    match wanted {
        None if known.is_some() => plan.batch.delete(Key::Brakes, revision),
        Some(state) if changed => plan.batch.put(Key::Brakes, revision, Write::Brakes(state)),
        _ => {}
    }
    let undecided = memory.deletions.vanished.keys().filter_map(|object| match fate(memory, object, now) {
        Fate::Wait(time) => Some(time),
        _ => None,
    });
    for wake in undecided.chain(failover::next_change(memory, now)) {
        plan.wake(wake);
    }
    plan
}

/// What brakes hold, and why.
fn holding(brakes: Option<&BrakeState>) -> String {
    let Some(brakes) = brakes else { return String::new() };
    let mut parts = Vec::new();
    if !brakes.held.is_empty() {
        let hosts: Vec<&str> = brakes.held.keys().map(HostName::as_str).collect();
        parts.push(format!("copies on {} are not replaced: too many hosts went at once", hosts.join(", ")));
    }
    if !brakes.deletions.is_empty() {
        let objects: Vec<String> = brakes.deletions.iter().map(ToString::to_string).collect();
        parts.push(format!("{} kept: too many documents went at once", objects.join(", ")));
    }
    parts.join("; ")
}

/// The first of what brakes hold: events are about objects.
fn about(brakes: &BrakeState) -> Option<ObjectRef> {
    let host = brakes.held.keys().next().cloned().map(ObjectRef::Host);
    host.or_else(|| brakes.deletions.iter().next().cloned())
}
