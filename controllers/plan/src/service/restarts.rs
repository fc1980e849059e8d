//! Copies that a check finds sick, and that its author wants restarted. Few at once, and none where it is
//! likely not the copy that is sick but what it depends on; one that restarts do not help gets a successor
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::name::{HostName, InstanceId, ObjectName, Slot};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{ConditionType, Desired, Instance, Observed, Restart, Verdict};

use super::draft::{Draft, Held};
use super::failover::Presence;
use super::memory::ServiceMemory;
use super::ready;
use super::world::{Check, Copy, Service};

/// A copy that was ready for so long after its last restart has all its restarts again.
const FORGIVEN: Duration = Duration::from_secs(600);

/// Whether this run shall end by the leader's word: it is out of the names until another one is ready.
pub(crate) fn is_pending(record: &Instance, observed: &Observed) -> bool {
    record.restart.as_ref().is_some_and(|restart| Some(restart.run) == observed.started)
}

/// What a check that restarts finds wrong with a copy.
struct Sick {
    check: ObjectName,
    evidence: String,
    limit: u32,
}

/// Restart what is sick, as far as that is allowed now.
pub(crate) fn grant(draft: &mut Draft<'_>) {
    let service = draft.service;
    let asking = service.checks.iter().filter(|(_, check)| check.spec.restart().is_some());
    if asking.clone().next().is_none() {
        return;
    }
    let suspected: BTreeMap<&ObjectName, (usize, usize)> =
        asking.filter_map(|(name, _)| Some((name, half(draft, name)?))).collect();
    let sick = all_sick(draft);
    if let Some((name, (failing, of))) =
        suspected.into_iter().find(|(name, _)| sick.iter().any(|(_, sick)| sick.check == **name))
    {
        suspect(
            draft,
            format!(
                "{failing} of {of} copies fail check {name}: what they depend on is suspected, and none is restarted \
             for it"
            ),
        );
    }
    let again: BTreeSet<InstanceId> = sick.iter().map(|(id, _)| id.clone()).collect();
    for (id, sick) in sick {
        let Some(copy) = draft.copies.get(&id).cloned() else { continue };
        if half(draft, &sick.check).is_some() || is_doubted(draft, &sick.check) {
            continue;
        }
        let given = given(draft, &id, &copy);
        if given >= sick.limit {
            if let Some(copy) = draft.copies.get_mut(&id) {
                copy.spent =
                    Some(format!("check {} fails after {given} restarts: {}", sick.check, sick.evidence));
            }
        } else if may_be_missed(draft, &copy, &again) {
            restart(draft, &id, given + 1, &sick);
        }
    }
}

/// Tell people, once: it is told already where the status says so.
fn suspect(draft: &mut Draft<'_>, why: String) {
    let status = draft.service.status.as_ref();
    let told = status.and_then(|status| status.value.condition(ConditionType::Degraded));
    if told.is_none_or(|told| !told.message.contains(&why)) {
        draft.tell(None, true, "DependencySuspected", why.clone());
    }
    draft.suspicion = Some(why);
}

/// Whether what a check depends on was suspected a moment ago: those that fail yet may only not know that it
/// is well again.
fn is_doubted(draft: &mut Draft<'_>, name: &ObjectName) -> bool {
    let last = draft.memory.and_then(|memory| memory.doubted.get(name).copied());
    let Some((last, check)) = last.zip(draft.service.checks.get(name)) else { return false };
    let rest = last.saturating_add(settle(check)).saturating_sub(draft.now);
    if rest.is_zero() {
        return false;
    }
    draft.plan.wake(rest);
    true
}

/// How many copies fail a check, and of how many, where that is half of them or more. Of a single copy it
/// cannot be told whose fault it is.
fn half(draft: &Draft<'_>, check: &ObjectName) -> Option<(usize, usize)> {
    let there = draft.copies.iter().filter(|(_, copy)| is_there(copy));
    let there: Vec<bool> = there
        .map(|(id, _)| {
            let copy = draft.service.copies.get(id);
            copy.and_then(|copy| ready::says(copy, check))
                .is_some_and(|state| state.verdict == Verdict::Unhealthy)
        })
        .collect();
    let failing = there.iter().filter(|failing| **failing).count();
    (there.len() > 1 && failing * 2 >= there.len()).then_some((failing, there.len()))
}

fn is_there(copy: &Held<'_>) -> bool {
    copy.desired == Desired::Run && copy.presence == Presence::Present && copy.runs()
}

/// The copies that may be restarted for their health, those that serve nobody first.
fn all_sick(draft: &mut Draft<'_>) -> Vec<(InstanceId, Sick)> {
    let copies: Vec<InstanceId> = draft
        .copies
        .iter()
        .filter(|(_, copy)| is_there(copy) && !copy.touched)
        .map(|(id, _)| id.clone())
        .collect();
    let mut all: Vec<(InstanceId, Sick)> =
        copies.into_iter().filter_map(|id| Some((id.clone(), sick(draft, &id)?))).collect();
    all.sort_by_key(|(id, _)| draft.copies.get(id).is_some_and(Held::available));
    all
}

/// What is wrong with a copy, once that has been so for long enough.
fn sick(draft: &mut Draft<'_>, id: &InstanceId) -> Option<Sick> {
    let service = draft.service;
    let copy = service.copies.get(id)?;
    if is_pending(&copy.record.as_ref()?.value, copy.observed.as_ref()?) {
        return None;
    }
    let memory = draft.memory?.copies.get(id)?;
    for (name, check) in &service.checks {
        let Some(restart) = check.spec.restart() else { continue };
        let Some(state) = ready::says(copy, name).filter(|state| state.verdict == Verdict::Unhealthy) else {
            continue;
        };
        let Some(due) = memory.sick_since.get(name).map(|since| {
            let grace =
                memory.run_since.map_or(draft.now, |(_, began)| began.saturating_add(restart.grace().0));
            grace.max(since.saturating_add(settle(check)))
        }) else {
            continue;
        };
        if due <= draft.now {
            let (check, evidence) = (name.clone(), state.evidence.clone());
            return Some(Sick { check, evidence, limit: restart.limit() });
        }
        draft.plan.wake(due - draft.now);
    }
    None
}

/// After a first verdict the others' are waited for: what they depend on may be gone, and they not know yet.
fn settle(check: &Check) -> Duration {
    check.spec.interval().0.saturating_add(check.spec.timeout().0)
}

/// Restarts that a copy got since it was well for long.
fn given(draft: &Draft<'_>, id: &InstanceId, copy: &Held<'_>) -> u32 {
    let well = draft.memory.and_then(|memory| memory.copies.get(id)).is_some_and(|memory| memory.well);
    copy.restart.as_ref().filter(|_| !well).map_or(0, |restart| restart.count)
}

/// Whether the service can be without this copy for a while: a quarter of all at once, and one that serves
/// only if all else of what a rollout would keep does.
fn may_be_missed(draft: &Draft<'_>, copy: &Held<'_>, sick: &BTreeSet<InstanceId>) -> bool {
    let most = (draft.wanted.len() / 4).max(1);
    let coming_back = |(id, held): &(&InstanceId, &Held<'_>)| {
        // Until it is ready, or could be restarted again.
        let there = held.desired == Desired::Run && held.presence == Presence::Present;
        there && held.restart.is_some() && !held.ready && (held.touched || !sick.contains(*id))
    };
    if draft.copies.iter().filter(coming_back).count() >= most {
        return false;
    }
    if !copy.available() {
        return true;
    }
    let missing = draft.wanted.iter().filter(|slot| !draft.serves(slot)).count();
    missing < draft.spec().parallelism().map_or(most, |n| n as usize).min(most)
}

fn restart(draft: &mut Draft<'_>, id: &InstanceId, count: u32, sick: &Sick) {
    let Some(run) = draft.copies.get(id).and_then(|copy| copy.observed?.started) else { return };
    if !draft.fits(2) {
        return;
    }
    let after = Span(draft.stop_delay());
    if let Some(copy) = draft.copies.get_mut(id) {
        copy.restart = Some(Restart { run, after, count });
        copy.cause = format!("check {}: {}", sick.check, sick.evidence);
        copy.touched = true;
        copy.ready = false;
    }
    draft.tell(
        Some(id),
        true,
        "HealthRestart",
        format!(
            "{id} is restarted, {count} of {} times: check {}: {}",
            sick.limit, sick.check, sick.evidence
        ),
    );
}

/// Hosts where restarts did not help a copy of `slot`: another one is better.
pub(crate) fn left(draft: &Draft<'_>, slot: &Slot) -> Vec<HostName> {
    let spent = draft.copies.values().filter(|copy| copy.slot == *slot && copy.spent.is_some());
    spent.map(|copy| copy.host.clone()).collect()
}

/// Take note of how long copies have been sick or well.
pub(crate) fn observe(memory: &mut ServiceMemory, service: &Service, now: Duration) {
    memory.doubted.retain(|name, _| service.checks.contains_key(name));
    for name in service.checks.keys() {
        let running = service.copies.values().filter(|copy| {
            let wanted = copy.record.as_ref().is_some_and(|record| record.value.desired == Desired::Run);
            wanted && copy.observed.as_ref().is_some_and(ready::runs)
        });
        let fails =
            |copy: &&Copy| ready::says(copy, name).is_some_and(|state| state.verdict == Verdict::Unhealthy);
        let (all, failing) = (running.clone().count(), running.filter(fails).count());
        if all > 1 && failing * 2 >= all {
            memory.doubted.insert(name.clone(), now);
        }
    }
    for (id, copy) in &service.copies {
        let Some(memory) = memory.copies.get_mut(id) else { continue };
        let run = copy.observed.as_ref().filter(|observed| ready::runs(observed)).map(|it| it.started);
        if memory.run_since.map(|(run, _)| run) != run {
            memory.run_since = run.map(|run| (run, now));
            memory.sick_since.clear();
        }
        memory.well = match memory.ready_since {
            Some(since) => memory.well || now.saturating_sub(since) >= FORGIVEN,
            // Still so until it is restarted: only then it counts anew.
            None => memory.well && run.is_some() && memory.run == run,
        };
        for name in service.checks.keys() {
            match ready::says(copy, name).is_some_and(|state| state.verdict == Verdict::Unhealthy) {
                true => drop(memory.sick_since.entry(name.clone()).or_insert(now)),
                false => drop(memory.sick_since.remove(name)),
            }
        }
        memory.sick_since.retain(|name, _| service.checks.contains_key(name));
    }
}
