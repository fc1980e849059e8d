//! Which slots there are, and that each has its copy: failed ones replaced, lost ones replaced, surplus ones
//! sent away.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_api::name::{InstanceId, Slot};
use evenkeel_api::record::{Desired, Phase};
use evenkeel_api::service::{Mode, RestartCondition, UpdateOrder};

use super::draft::{Draft, Held};
use super::exclusive;
use super::failover::Presence;
use super::filter::{self, Leave};
use super::lack::{Lack, Unplaced};
use super::rollback;
use super::survey::{self, Unmet};

/// Copies on their way out, one step further: out of the names long enough, or stopped and to be forgotten.
pub(crate) fn reap(draft: &mut Draft<'_>) {
    let delay = draft.stop_delay();
    let leaving = draft.copies.iter().filter(|(_, copy)| copy.desired != Desired::Run);
    let leaving: Vec<InstanceId> = leaving.map(|(id, _)| id.clone()).collect();
    for id in leaving {
        let Some(copy) = draft.copies.get(&id) else { continue };
        if exclusive::concerns(draft, copy) {
            exclusive::reap(draft, &id);
            continue;
        }
        let forgotten =
            copy.presence == Presence::Removed || (copy.desired != Desired::Drain && copy.has_stopped());
        if forgotten {
            draft.delete(&id);
        } else if copy.desired == Desired::Drain {
            let since =
                draft.memory.and_then(|memory| memory.copies.get(&id)).and_then(|copy| copy.drain_since);
            let due = since.unwrap_or(draft.now) + delay;
            if !copy.runs() || due <= draft.now {
                let cause = copy.cause.clone();
                draft.set(&id, Desired::Stop, &cause, 1);
            } else {
                draft.plan.wake(due - draft.now);
            }
        }
    }
}

/// The slots that shall have a copy, and those that are one too many.
pub(crate) fn choose(draft: &mut Draft<'_>) -> Vec<Slot> {
    match draft.spec().mode() {
        Mode::Replicated => replicated(draft),
        Mode::Global => global(draft),
    }
}

/// As many slots as replicas: those that there are, then the lowest free numbers. Surplus are the slots that
/// are missed least.
fn replicated(draft: &mut Draft<'_>) -> Vec<Slot> {
    let replicas = draft.spec().replicas() as usize;
    let keeps_order = draft.spec().volumes().next().is_some();
    let numbered = draft.live_slots().filter(|(slot, _)| slot.number().is_some());
    let mut slots: Vec<(Slot, Vec<InstanceId>)> =
        numbered.map(|(slot, ids)| (slot.clone(), ids.clone())).collect();
    let foreign = draft.live_slots().filter(|(slot, _)| slot.number().is_none());
    let foreign: Vec<Slot> = foreign.map(|(slot, _)| slot.clone()).collect();
    // Dearest first: on a host that stays, serving, oldest, lowest number.
    slots.sort_by_cached_key(|(slot, ids)| {
        let number = slot.number().unwrap_or(u32::MAX);
        if keeps_order {
            return (false, false, 0, number);
        }
        let copies = ids.iter().filter_map(|id| draft.copies.get(id));
        let drains = copies.clone().all(|copy| copy.host_drains);
        let idle = !copies.clone().any(Held::available);
        (drains, idle, ids.iter().map(|id| id.seq).min().unwrap_or(0), number)
    });
    let mut surplus: Vec<Slot> = slots.iter().skip(replicas).map(|(slot, _)| slot.clone()).collect();
    surplus.reverse();
    slots.truncate(replicas);
    let kept: BTreeSet<u32> = slots.iter().filter_map(|(slot, _)| slot.number()).collect();
    draft.wanted = survey::numbered(kept, replicas);
    surplus.extend(foreign);
    surplus
}

/// A slot on each host that is meant.
fn global(draft: &mut Draft<'_>) -> Vec<Slot> {
    let wanted =
        survey::global(draft.world, draft.spec(), |slot| draft.live_slots().any(|(known, _)| known == slot));
    let surplus =
        draft.live_slots().map(|(slot, _)| slot).filter(|slot| !wanted.contains(*slot)).cloned().collect();
    draft.wanted = wanted;
    surplus
}

/// Send surplus slots away. Slots of another mode wait until the wanted ones serve.
pub(crate) fn dismiss(draft: &mut Draft<'_>, surplus: &[Slot]) {
    let complete = draft
        .wanted
        .iter()
        .all(|slot| draft.live(slot).iter().any(|id| draft.copies.get(id).is_some_and(Held::available)));
    for slot in surplus {
        let of_this_mode = slot.number().is_some() == (draft.spec().mode() == Mode::Replicated);
        if !of_this_mode && !complete {
            continue;
        }
        for id in draft.live(slot) {
            draft.leave(&id, "not wanted any more");
        }
    }
}

/// See that every wanted slot has a copy.
pub(crate) fn fill(draft: &mut Draft<'_>) {
    if let Some(why) = dependencies(draft) {
        for slot in draft.wanted.clone() {
            draft.pending.insert(slot, Unplaced { lack: Lack::Dependency, why: why.clone() });
        }
        return;
    }
    for slot in draft.wanted.clone() {
        let live = draft.live(&slot);
        let covered = live.iter().any(|id| draft.copies.get(id).is_some_and(|copy| covers(draft, copy)));
        if !covered {
            replace(draft, &slot, &live);
        }
    }
}

/// Whether a copy keeps its slot from needing another.
fn covers(draft: &Draft<'_>, copy: &Held<'_>) -> bool {
    if ended_well(draft, copy) {
        return true;
    }
    if copy.has_failed() || copy.has_stopped() {
        return false;
    }
    match copy.presence {
        Presence::Lost => stays_home(draft, copy),
        Presence::Removed => false,
        Presence::Present | Presence::Absent | Presence::Held => true,
    }
}

/// A local volume is never moved: its slot waits for its host.
pub(crate) fn stays_home(draft: &Draft<'_>, copy: &Held<'_>) -> bool {
    let volumes = draft.spec().volumes().next().is_some();
    draft.spec().mode() == Mode::Global
        || (volumes && draft.rollout.homes.get(&copy.slot) == Some(&copy.host))
}

/// It ended, and was not meant to be started again.
fn ended_well(draft: &Draft<'_>, copy: &Held<'_>) -> bool {
    use evenkeel_api::record::InstanceState::Stopped;
    let Some(observed) = copy.observed else { return false };
    let ended = matches!(observed.state, Stopped { .. });
    match draft.spec().restart_condition() {
        RestartCondition::None => ended || (copy.has_failed() && observed.started.is_some()),
        RestartCondition::OnFailure => matches!(observed.state, Stopped { code: Some(0) }),
        RestartCondition::Any => false,
    }
}

/// Make a new copy for a slot whose copies, if any, are of no use any more.
fn replace(draft: &mut Draft<'_>, slot: &Slot, live: &[InstanceId]) {
    let template = template_for(draft, live);
    let not_before = draft.memory.and_then(|memory| memory.not_before(slot, template, draft.now));
    if let Some(at) = not_before {
        draft.plan.wake(at - draft.now);
        draft.waits.insert(slot.clone(), "is tried again in a while".to_owned());
        return;
    }
    if let Some((why, until)) = network_to_come(draft, template) {
        draft.plan.wake(until - draft.now);
        draft.plan.wants_room = true;
        draft.waits.insert(slot.clone(), why);
        return;
    }
    if exclusive::clear(draft, slot, template, live) {
        return;
    }
    if let Some(leaving) = in_the_way(draft, slot, template) {
        draft.waits.insert(slot.clone(), format!("waits for {leaving} to stop"));
        return;
    }
    if draft.room() < 1 + 2 * live.len() {
        draft.plan.more = true;
        return;
    }
    let cause = cause_of(draft, live);
    // One of no use whose host is there has ended, and holds nothing any more: its room is free for its successor.
    let ended =
        |id: &&InstanceId| draft.copies.get(*id).is_some_and(|copy| copy.presence == Presence::Present);
    let broken: Vec<InstanceId> = live.iter().filter(ended).cloned().collect();
    let mut found = draft.pick(slot, template, Leave::default());
    if found.is_err()
        && let [one] = broken.as_slice()
    {
        found = draft.without(one, |draft| draft.pick(slot, template, Leave::default()));
    }
    match found {
        Ok(host) => {
            for id in live {
                retire(draft, id, &cause);
            }
            draft.create(slot, host, template, cause);
        }
        Err(why) => {
            draft.plan.wants_room = true;
            let leaving = draft.copies.iter().find(|(_, copy)| {
                copy.slot == *slot && copy.desired != Desired::Run && copy.presence == Presence::Present
            });
            match leaving.map(|(id, _)| id.clone()) {
                // Its predecessor still holds what it needs, and is on its way out. One on a host that is gone is not
                // waited for: nobody knows whether it ever stops.
                Some(id) => drop(draft.waits.insert(slot.clone(), format!("waits for {id} to stop"))),
                None => drop(draft.pending.insert(slot.clone(), why)),
            }
        }
    }
}

/// A network of the template that is new, and that hosts which could take the copy are just setting up: in
/// words, with the time until which they are waited for.
fn network_to_come(draft: &Draft<'_>, number: i64) -> Option<(String, Duration)> {
    let template = draft.template(number)?;
    template.networks().into_iter().find_map(|name| {
        let until = draft.all.set_up_until(&name, draft.now)?;
        let hosts: Vec<&str> = draft
            .world
            .hosts
            .iter()
            .filter(|(host, it)| {
                filter::suits(it, draft.spec(), template, host).is_none() && !it.ready.contains(&name)
            })
            .map(|(host, _)| host.as_str())
            .collect();
        (!hosts.is_empty())
            .then(|| (format!("network {name} is being set up on {}", hosts.join(", ")), until))
    })
}

/// Send a useless copy away. One on a lost host stays as it is until its successor serves, so that the host's
/// return before that is a recovery and no loss.
fn retire(draft: &mut Draft<'_>, id: &InstanceId, cause: &str) {
    match draft.copies.get(id).map(|copy| copy.presence) {
        Some(Presence::Lost) => {}
        Some(_) => {
            draft.leave(id, cause);
        }
        None => {}
    }
}

/// Which template a new copy is made from.
/// Which template a new copy for a slot is of.
pub(crate) fn template_for(draft: &Draft<'_>, live: &[InstanceId]) -> i64 {
    let target = draft.target();
    if !matches!(draft.rollout.phase, Phase::Paused { .. }) {
        return target;
    }
    // While a rollout stands still, a slot stays with what it had, and others get what ran before.
    let before = live.last().and_then(|id| draft.copies.get(id)).map(|copy| copy.template);
    let before = before.or(draft.rollout.current).filter(|number| draft.template(*number).is_some());
    before.map_or(target, |number| rollback::in_place_of(draft, number))
}

fn cause_of(draft: &Draft<'_>, live: &[InstanceId]) -> String {
    let Some((id, copy)) = live.last().and_then(|id| Some((id, draft.copies.get(id)?))) else {
        return "wanted by the service".to_owned();
    };
    match copy.presence {
        Presence::Lost => format!("{} is lost", copy.host),
        Presence::Removed => format!("{} left the cluster", copy.host),
        _ => format!("{id} failed on {}", copy.host),
    }
}

/// A copy of the slot that is still on its way out, and that its successor must not meet.
fn in_the_way(draft: &Draft<'_>, slot: &Slot, template: i64) -> Option<InstanceId> {
    let volumes = draft.spec().volumes().next().is_some();
    let start_first = draft.spec().order() == UpdateOrder::StartFirst;
    let leaving = draft.copies.iter().filter(|(_, copy)| copy.slot == *slot && copy.desired != Desired::Run);
    let mut met = leaving
        .filter(|(_, copy)| !copy.is_forsaken() && !copy.has_stopped() && copy.desired != Desired::Lost);
    met.find(|(_, copy)| volumes || (!start_first && copy.template != template && !copy.has_failed()))
        .map(|(id, _)| id.clone())
}

/// What the first start of the service waits for.
fn dependencies(draft: &mut Draft<'_>) -> Option<String> {
    let created = draft.accepted.create_revision;
    let unmet = survey::unmet(draft.world, draft.id, draft.service, created, draft.spec());
    let mut waits = Vec::new();
    for Unmet { service, exists, .. } in unmet {
        let state = if exists { "ready" } else { "there" };
        waits.push(format!("{service} is not {state}"));
        draft.plan.waits_for.insert(service);
    }
    (!waits.is_empty()).then(|| format!("waits for its first start: {}", waits.join(", ")))
}
