//! How copies are exchanged for those of a new template: so many at once, each watched, and stopped when too
//! many fail.

use std::time::Duration;

use evenkeel_api::name::{InstanceId, Slot};
use evenkeel_api::record::{Desired, Phase};
use evenkeel_api::service::{FailureAction, UpdateOrder};

use super::draft::{Draft, Held};
use super::exclusive;
use super::failover::Presence;
use super::filter::Leave;
use super::{deadline, pins, ready, rollback};

/// A new template begins a rollout or turns one round, and people are obeyed.
pub(crate) fn begin(draft: &mut Draft<'_>) {
    let wanted = draft.wanted_template;
    let newest = draft.accepted.template;
    draft.rollout.instead_of = newest.filter(|newest| *newest != wanted);
    match draft.rollout.target {
        None => draft.rollout.target = Some(wanted),
        Some(target) if target != wanted => {
            rollback::keep_good(draft);
            let rollout = &mut draft.rollout;
            rollout.target = Some(wanted);
            rollout.phase = Phase::Rolling;
            rollout.held = false;
            rollout.failed.clear();
            draft.tell(
                None,
                false,
                "RolloutStarted",
                format!("copies are exchanged for those of template {wanted}"),
            );
        }
        Some(_) => anew(draft),
    }
    pins::obey(draft);
}

/// A person wants new copies of the template that all are of already: a rollout like any other, but that there
/// is no template to blame or to go back to.
fn anew(draft: &mut Draft<'_>) {
    let stale = draft.copies.values().any(|copy| copy.stale && copy.desired == Desired::Run);
    if draft.rollout.phase != Phase::Done || !stale {
        return;
    }
    draft.rollout.phase = Phase::Rolling;
    draft.rollout.failed.clear();
    draft.tell(None, false, "RolloutStarted", "a person wants all copies exchanged for new ones".to_owned());
}

/// Why a copy is exchanged.
fn cause(draft: &Draft<'_>, old: &Held<'_>) -> String {
    match old.stale && draft.is_updated(old.template) {
        true => "a person wants a new copy".to_owned(),
        false => format!("rollout of template {}", draft.target()),
    }
}

/// How long a new copy must be ready before the next one's turn.
pub(crate) fn watch_time(draft: &Draft<'_>) -> Duration {
    let delay = draft.spec().deploy.update_config.delay.unwrap_or_default();
    draft.spec().monitor().0.max(delay.0)
}

/// Whether a copy has been watched to the end; if it only lacks time, the plan wakes for it.
pub(crate) fn is_good(draft: &mut Draft<'_>, id: &InstanceId) -> bool {
    let watch = watch_time(draft);
    let Some(copy) = draft.copies.get(id) else { return false };
    if !copy.available()
        || !draft.service.copies.get(id).is_some_and(|copy| ready::rollout_checks_pass(draft.service, copy))
    {
        return false;
    }
    let since = draft.memory.and_then(|memory| memory.ready_since(id)).unwrap_or(draft.now);
    let rest = (since + watch).saturating_sub(draft.now);
    if rest.is_zero() {
        return true;
    }
    draft.plan.wake(rest);
    false
}

/// Count new copies that failed while they were watched, and act when there are too many. Whether the target
/// was rejected, so that nothing more is to be planned for it.
pub(crate) fn judge(draft: &mut Draft<'_>) -> bool {
    if draft.rollout.phase != Phase::Rolling {
        return false;
    }
    let target = draft.target();
    let watched = draft.copies.iter().filter(|(id, copy)| {
        copy.template == target
            && !copy.stale
            && copy.desired == Desired::Run
            && !draft.rollout.failed.contains(*id)
    });
    let watched: Vec<InstanceId> = watched.map(|(id, _)| id.clone()).collect();
    let mut newly = Vec::new();
    for id in watched {
        if is_good(draft, &id) {
            continue;
        }
        if let Some(evidence) = evidence(draft, &id) {
            newly.push((id, evidence));
        }
    }
    let Some((id, evidence)) = newly.first().cloned() else { return false };
    for (id, _) in newly {
        // One a slot: its share of what may fail is one, however often it is tried.
        draft.rollout.failed.retain(|known| known.slot != id.slot);
        draft.rollout.failed.insert(id);
    }
    let config = &draft.spec().deploy.update_config;
    let ratio = draft.rollout.failed.len() as f64 / draft.wanted.len().max(1) as f64;
    let too_many = ratio > config.max_failure_ratio.unwrap_or(0.0);
    match config.failure_action.unwrap_or_default() {
        FailureAction::Pause if too_many && !rollback::goes_back(&draft.rollout) => {
            pause(draft, &id, format!("{id} failed: {evidence}"));
        }
        FailureAction::Rollback if too_many && !rollback::goes_back(&draft.rollout) => {
            match rollback::good(draft) {
                Ok(good) => {
                    rollback::reject(draft, &id, &evidence, good);
                    return true;
                }
                Err(why) => pause(draft, &id, format!("{id} failed: {evidence}; {why}")),
            }
        }
        _ => draft.tell(Some(&id), true, "CopyFailed", format!("{id} failed: {evidence}")),
    }
    false
}

fn pause(draft: &mut Draft<'_>, id: &InstanceId, why: String) {
    let target = draft.target();
    draft.rollout.phase = Phase::Paused { why: why.clone() };
    draft.tell(
        Some(id),
        true,
        "RolloutPaused",
        format!("the rollout of template {target} stands still: {why}"),
    );
}

/// What speaks against a new copy, and where.
pub(crate) fn evidence(draft: &Draft<'_>, id: &InstanceId) -> Option<String> {
    let memory = draft.memory.and_then(|memory| memory.copies.get(id));
    let copy = draft.service.copies.get(id)?;
    let evidence = ready::evidence(draft.service, copy, memory).or_else(|| deadline::missed(draft, id))?;
    Some(format!("{evidence} (on {})", copy.host))
}

/// How a wanted slot stands in the rollout.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// One copy, of an older template.
    Outdated,
    /// One copy of the target, watched to the end.
    Good,
    /// Without a copy, and nobody can take one.
    Homeless,
    /// A copy failed, and the rollout goes on all the same.
    WrittenOff,
    /// Anything between.
    UnderWay,
}

/// Exchange the next copies.
pub(crate) fn exchange(draft: &mut Draft<'_>) {
    if draft.rollout.phase != Phase::Rolling {
        return;
    }
    let wanted = draft.wanted.clone();
    let standings: Vec<Standing> = wanted.iter().map(|slot| standing(draft, slot)).collect();
    let done = standings.iter().all(|standing| matches!(standing, Standing::Good | Standing::WrittenOff));
    if done && wanted.iter().all(|slot| is_exchanged(draft, slot)) && !draft.plan.more {
        let target = draft.target();
        draft.rollout.phase = Phase::Done;
        draft.tell(None, false, "RolloutDone", format!("all copies are of template {target}"));
        return;
    }
    let parallelism = draft.spec().parallelism().map_or(wanted.len(), |n| n as usize);
    let mut under_way = standings.iter().filter(|standing| **standing == Standing::UnderWay).count();
    let mut missing = wanted
        .iter()
        .zip(&standings)
        .filter(|(slot, standing)| **standing != Standing::WrittenOff && !draft.serves(slot))
        .count();
    let outdated = wanted.iter().zip(&standings).filter(|(_, standing)| **standing == Standing::Outdated);
    let mut outdated: Vec<Slot> = outdated.map(|(slot, _)| slot.clone()).collect();
    // What serves nobody goes first: that costs nothing.
    outdated.sort_by_cached_key(|slot| (draft.serves(slot), slot.number(), slot.clone()));
    for slot in outdated {
        if under_way >= parallelism {
            break;
        }
        let serves = draft.serves(&slot);
        let may_stop = !serves || missing < parallelism;
        match exchange_slot(draft, &slot, may_stop) {
            Some(UpdateOrder::StopFirst) => {
                under_way += 1;
                missing += usize::from(serves);
            }
            Some(UpdateOrder::StartFirst) => under_way += 1,
            None => {}
        }
    }
}

/// Whether no older copy of a slot is left: one that serves on beside a copy that failed is exchanged yet.
fn is_exchanged(draft: &Draft<'_>, slot: &Slot) -> bool {
    let live = draft.live(slot);
    live.iter().filter_map(|id| draft.copies.get(id)).all(|copy| draft.is_current(copy))
}

fn standing(draft: &mut Draft<'_>, slot: &Slot) -> Standing {
    let live = draft.live(slot);
    // Had it been one too many, the rollout would stand still; on the way back it is tried again until it is
    // well, and no other copy goes for it.
    let failed =
        !rollback::goes_back(&draft.rollout) && draft.rollout.failed.iter().any(|id| id.slot == *slot);
    let [id] = live.as_slice() else {
        return match live.is_empty() && draft.pending.contains_key(slot) {
            true => Standing::Homeless,
            false if failed => Standing::WrittenOff,
            false => Standing::UnderWay,
        };
    };
    let updated = draft.copies.get(id).is_some_and(|copy| draft.is_current(copy));
    match updated {
        false => Standing::Outdated,
        true if is_good(draft, id) => Standing::Good,
        true if failed => Standing::WrittenOff,
        true => Standing::UnderWay,
    }
}

/// Begin to exchange the one copy of a slot; which way, or `None` where it has to wait.
fn exchange_slot(draft: &mut Draft<'_>, slot: &Slot, may_stop: bool) -> Option<UpdateOrder> {
    let live = draft.live(slot);
    let [old] = live.as_slice() else { return None };
    let copy = draft.copies.get(old).cloned()?;
    let target = draft.target();
    // A host that is away answers nothing: neither is anything gained nor is it known what would be lost.
    if copy.presence != Presence::Present || copy.touched {
        return None;
    }
    if let Some(at) = draft.memory.and_then(|memory| memory.not_before(slot, target, draft.now)) {
        draft.plan.wake(at - draft.now);
        return None;
    }
    let volumes = draft.spec().volumes().next().is_some();
    let one_only = volumes || exclusive::applies(draft, slot, target);
    if draft.spec().order() == UpdateOrder::StartFirst && !one_only {
        match draft.pick(slot, target, Leave::default()) {
            Ok(host) => {
                let cause = cause(draft, &copy);
                return draft.create(slot, host, target, cause).map(|_| UpdateOrder::StartFirst);
            }
            Err(refusals) => {
                // Only its own port or its own place among the copies of a host may be in the way.
                let own = Leave { ports_of: Some(old) };
                if draft.pick(slot, target, own).is_err() {
                    draft.plan.wants_room = true;
                    draft.cramped.insert(format!("no room for a second copy beside {old}: {refusals}"));
                    return None;
                }
            }
        }
    }
    if !may_stop {
        draft.notes.insert("waits until enough copies are ready".to_owned());
        return None;
    }
    // Nothing is stopped that could not be started again.
    if let Err(refusals) = draft.without(old, |draft| draft.pick(slot, target, Leave::default())) {
        draft.plan.wants_room = true;
        draft.cramped.insert(format!("{old} stays, since nothing could take its place: {refusals}"));
        return None;
    }
    let cause = cause(draft, &copy);
    draft.leave(old, &cause).then_some(UpdateOrder::StopFirst)
}
