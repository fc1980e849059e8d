//! Exclusive slots: never two copies that run.
//!
//! A copy is replaced only when it is *known to have stopped*. Its host may say so. Of a host that is gone, a
//! record that says `lost` does: from the moment at which the store has that, no proof of life succeeds for
//! the copy (see [`crate::watchdog`]), whatever becomes of the host, its lease, or our view of either. So its
//! own time after that moment the watchdog ends it; two seconds are the watchdog's to act, and one, and a
//! hundredth of its time, are for clocks that do not run alike. We count from when we knew the record, which was not before it was written,
//! and a new leader counts anew.

use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::name::{InstanceId, Slot};
use evenkeel_api::record::{Desired, Fence};

use super::draft::{Draft, Held};
use super::failover::{self, Presence};
use super::filter::Leave;
use super::lack::{Lack, Unplaced};

/// What is waited for on top of a copy's own time.
pub const STOPPED_AFTER: Duration = Duration::from_secs(3);
/// How soon a plan that gave a copy up is followed by the next one, should the store's news be late.
const SOON: Duration = Duration::from_millis(100);

/// What a new copy of `template` is guarded by.
pub(crate) fn fence(draft: &Draft<'_>, template: i64, seq: u64) -> Option<Fence> {
    let exclusive = draft.template(template).is_some_and(|template| template.exclusive);
    exclusive.then(|| Fence { token: seq, stop_after: draft.spec().stop_on_client_after() })
}

/// Whether the rules of this file hold for a copy: it is guarded, or its successor will be.
pub(crate) fn concerns(draft: &Draft<'_>, copy: &Held<'_>) -> bool {
    copy.fence.is_some() || draft.spec().template.exclusive
}

/// Whether `slot` may have one copy only, with the next one of `template`.
pub(crate) fn applies(draft: &Draft<'_>, slot: &Slot, template: i64) -> bool {
    draft.template(template).is_some_and(|template| template.exclusive)
        || draft.copies.values().any(|copy| copy.slot == *slot && copy.fence.is_some())
}

/// How a copy that shall not run any more stands.
enum Rest {
    /// It does not run, and never will again.
    Stopped,
    /// It will surely have stopped after this time.
    Within(Duration),
    /// It may run.
    Unknown,
}

fn rest(draft: &Draft<'_>, id: &InstanceId, copy: &Held<'_>) -> Rest {
    if copy.desired < Desired::Stop {
        return Rest::Unknown;
    }
    if copy.has_stopped() {
        return Rest::Stopped;
    }
    let Some(fence) = copy.fence else {
        // Nobody ends it on a host that is cut off: only a person can know.
        let dead = failover::is_confirmed_dead(draft.world, draft.all, &copy.host);
        return if dead && copy.presence != Presence::Present { Rest::Stopped } else { Rest::Unknown };
    };
    if copy.desired != Desired::Lost {
        return Rest::Unknown;
    }
    let since = draft.memory.and_then(|memory| memory.copies.get(id)).and_then(|copy| copy.lost_since);
    let due = since.unwrap_or(draft.now) + surely_ended(fence);
    if due <= draft.now { Rest::Stopped } else { Rest::Within(due - draft.now) }
}

/// How long after it was given up a copy has surely ended.
fn surely_ended(fence: Fence) -> Duration {
    fence.stop_after.0 + fence.stop_after.0 / 100 + STOPPED_AFTER
}

/// The copy that keeps an exclusive slot from having a new one of `template`.
pub(crate) fn blocked(draft: &Draft<'_>, slot: &Slot, template: i64) -> Option<InstanceId> {
    if !applies(draft, slot, template) {
        return None;
    }
    let mut others = draft.copies.iter().filter(|(_, copy)| copy.slot == *slot);
    others.find(|(id, copy)| !matches!(rest(draft, id, copy), Rest::Stopped)).map(|(id, _)| id.clone())
}

/// A copy on its way out, one step further.
pub(crate) fn reap(draft: &mut Draft<'_>, id: &InstanceId) {
    let Some(copy) = draft.copies.get(id).cloned() else { return };
    match rest(draft, id, &copy) {
        Rest::Stopped => {
            draft.delete(id);
        }
        Rest::Within(time) => draft.plan.wake(time),
        Rest::Unknown if copy.is_forsaken() => give_up(draft, id, &copy.cause),
        // One that was told to stop already has no further step.
        Rest::Unknown => {
            let memory = draft.memory.and_then(|memory| memory.copies.get(id));
            let since = memory.and_then(|copy| copy.drain_since).unwrap_or(draft.now);
            let due = since + draft.stop_delay();
            if !copy.runs() || due <= draft.now {
                draft.set(id, Desired::Stop, &copy.cause, 1);
            } else {
                draft.plan.wake(due - draft.now);
            }
        }
    }
}

/// Send a copy away: gently where its host is there, for good where it is not.
pub(crate) fn send_away(draft: &mut Draft<'_>, id: &InstanceId, cause: &str) {
    let Some(copy) = draft.copies.get(id) else { return };
    if copy.is_forsaken() {
        give_up(draft, id, cause);
    } else {
        draft.leave(id, cause);
    }
}

/// Write down that a copy is lost, if its host is still gone when that is written: a host that is back has a
/// copy that serves.
fn give_up(draft: &mut Draft<'_>, id: &InstanceId, cause: &str) {
    let Some(copy) = draft.copies.get(id).filter(|copy| copy.desired < Desired::Lost) else { return };
    let alive = Key::Alive(copy.host.clone());
    if draft.set(id, Desired::Lost, cause, 2) {
        draft.plan.batch.guards.insert(alive, 0);
        draft.plan.wake(SOON);
    }
}

/// The slot needs another copy than `live`, which are of no use any more. `true`: all is said for now;
/// `false`: nothing of the slot runs, and the new copy may be made.
pub(crate) fn clear(draft: &mut Draft<'_>, slot: &Slot, template: i64, live: &[InstanceId]) -> bool {
    if !applies(draft, slot, template) {
        return false;
    }
    if let Some(why) = draft
        .world
        .no_exclusive
        .clone()
        .filter(|_| draft.template(template).is_some_and(|template| template.exclusive))
    {
        draft.pending.insert(slot.clone(), Unplaced { lack: Lack::Exclusive, why });
        return true;
    }
    let Some(other) = blocked(draft, slot, template) else { return false };
    if live.is_empty() {
        wait_for(draft, slot, &other);
        return true;
    }
    // Nothing is given up that could not be had again.
    match draft.pick(slot, template, Leave::default()) {
        Ok(_) => {
            for id in live {
                let cause = match draft.copies.get(id).map(|copy| (copy.presence, &copy.host)) {
                    Some((Presence::Lost, host)) => format!("{host} is lost"),
                    Some((Presence::Removed, host)) => format!("{host} left the cluster"),
                    Some((_, host)) => format!("{id} failed on {host}"),
                    None => continue,
                };
                send_away(draft, id, &cause);
            }
            wait_for(draft, slot, &other);
        }
        Err(why) => {
            draft.plan.wants_room = true;
            draft.pending.insert(slot.clone(), why);
        }
    }
    true
}

fn wait_for(draft: &mut Draft<'_>, slot: &Slot, other: &InstanceId) {
    draft.waits.insert(slot.clone(), format!("waits for {other} to stop"));
    let Some(copy) = draft.copies.get(other) else { return };
    let host = &copy.host;
    let note = match (copy.presence, copy.fence) {
        (Presence::Present, _) => {
            format!("slot {slot} is exclusive: its next copy starts when {other} has stopped on {host}")
        }
        (_, Some(fence)) => format!(
            "slot {slot} is exclusive: its next copy starts when {other} on {host}, which is gone, has surely \
             ended, {} after it was given up",
            evenkeel_api::quantity::Span(surely_ended(fence))
        ),
        (_, None) => format!(
            "slot {slot} is exclusive now, and {other} on {host}, which is gone, was made when it was not: nothing \
             ends it there. Bring {host} back, or, when it is surely off, say `evenkeel host confirm-dead {host}`"
        ),
    };
    draft.notes.insert(note);
}
