//! Slots with more than one copy, for a while: which of them goes, and who gets a second one because its host is
//! emptied.

use evenkeel_api::name::{InstanceId, Slot};
use evenkeel_api::record::Phase;

use super::draft::{Draft, Held};
use super::failover::Presence;
use super::filter::Leave;
use super::slots::stays_home;
use super::{exclusive, rollback, rollout};

/// Slots with more than one copy: decide which one goes.
pub(crate) fn decide(draft: &mut Draft<'_>) {
    let pairs = draft.live_slots().filter(|(_, ids)| ids.len() > 1);
    let pairs: Vec<Vec<InstanceId>> = pairs.map(|(_, ids)| ids.clone()).collect();
    for ids in pairs {
        let Some((newest, older)) = ids.split_last() else { continue };
        let Some(new) = draft.copies.get(newest).cloned() else { continue };
        let back = |copy: &Held<'_>| copy.available() && draft.is_current(copy);
        if new.available()
            && draft.rollout.phase == Phase::Rolling
            && !draft.is_current(&new)
            && older.iter().filter_map(|id| draft.copies.get(id)).any(back)
        {
            // Its predecessor is of the template that is wanted again.
            draft.leave(newest, "its predecessor serves");
            continue;
        }
        if new.available() {
            for id in older {
                match draft.copies.get(id) {
                    Some(old) if old.is_forsaken() => {
                        let cause = format!("{} is lost; replaced by {newest}", old.host);
                        draft.lose(id, &cause);
                    }
                    _ => {
                        draft.leave(id, &format!("replaced by {newest}"));
                    }
                }
            }
            continue;
        }
        let rolling = draft.rollout.phase == Phase::Rolling;
        let needed = |draft: &Draft<'_>, old: &Held<'_>| {
            // The reason for a second copy stands: its host is emptied, or the template is exchanged.
            old.host_drains || old.spent.is_some() || (rolling && !draft.is_current(old))
        };
        let serving = older.iter().filter_map(|id| draft.copies.get(id)).filter(|copy| copy.available());
        let serving: Vec<Held<'_>> = serving.cloned().collect();
        if rolling && serving.is_empty() && !draft.is_current(&new) {
            thin_out(draft, newest, older);
            continue;
        }
        // Of a template that is wanted no more, and not a mere move of its predecessor.
        let moved = serving.iter().any(|old| old.template == new.template);
        let stale = rolling && !moved && !draft.is_current(&new);
        if new.has_failed()
            || (!serving.is_empty() && (stale || serving.iter().any(|old| !needed(draft, old))))
        {
            draft.leave(newest, "its predecessor serves");
        }
    }
}

/// Of the copies of a slot of which none serves and the newest is of a template that is wanted no more, leave
/// one: what waits for either of them to serve would hold up the template that is wanted now.
fn thin_out(draft: &mut Draft<'_>, newest: &InstanceId, older: &[InstanceId]) {
    let updated = |id: &InstanceId| draft.copies.get(id).is_some_and(|copy| draft.is_current(copy));
    if older.iter().any(updated) {
        draft.leave(newest, "its predecessor is of the template that is wanted");
        return;
    }
    for id in older {
        match draft.copies.get(id) {
            Some(old) if old.is_forsaken() => {
                let cause = format!("{} is lost, and its template is not wanted any more", old.host);
                draft.lose(id, &cause);
            }
            // Of a host that may be back at any moment nothing is known.
            Some(old) if old.presence == Presence::Present => {
                draft.leave(id, &format!("serves nobody, and {newest} is there"));
            }
            _ => {}
        }
    }
}

/// Empty drained hosts: a new copy first, and the old one goes when that serves.
pub(crate) fn evacuate(draft: &mut Draft<'_>) {
    for slot in draft.wanted.clone() {
        let live = draft.live(&slot);
        let [id] = live.as_slice() else { continue };
        let Some(copy) = draft.copies.get(id).cloned() else { continue };
        if (!copy.host_drains && copy.spent.is_none()) || copy.presence != Presence::Present || copy.touched {
            continue;
        }
        if stays_home(draft, &copy) {
            let why = copy.spent.map(|why| format!("; {why}")).unwrap_or_default();
            draft.notes.insert(format!("{id} cannot leave {}: its volume is there{why}", copy.host));
            continue;
        }
        let template = match draft.rollout.phase {
            Phase::Done => draft.target(),
            _ => rollback::in_place_of(draft, copy.template),
        };
        let exclusive = exclusive::applies(draft, &slot, template);
        if exclusive && copy.available() && !may_be_missed(draft, &slot) {
            draft.notes.insert(format!(
                "{id} cannot leave {} yet: it stops before another starts, and as many copies as may be missed are \
                 missing already",
                copy.host
            ));
            continue;
        }
        let not_before = draft.memory.and_then(|memory| memory.not_before(&slot, template, draft.now));
        if let Some(at) = not_before {
            draft.plan.wake(at - draft.now);
            continue;
        }
        match draft.pick(&slot, template, Leave::default()) {
            Ok(host) => {
                let drained = || format!("{} is drained", copy.host);
                let cause = copy.spent.clone().unwrap_or_else(drained);
                if exclusive {
                    draft.leave(id, &cause);
                } else {
                    draft.create(&slot, host, template, cause);
                }
            }
            Err(refusals) => {
                draft.plan.wants_room = true;
                draft.notes.insert(format!("{id} cannot leave {}: {refusals}", copy.host));
            }
        }
    }
}

/// Whether this slot may be without a copy that serves, besides those that are: as many at once as a rollout would
/// exchange. A copy that crashes again and again serves for a moment each time; it counts once it has been watched.
fn may_be_missed(draft: &mut Draft<'_>, slot: &Slot) -> bool {
    let others: Vec<Slot> = draft.wanted.iter().filter(|other| *other != slot).cloned().collect();
    let mut missing = 0;
    for other in others {
        let watched = draft.live(&other).iter().any(|id| rollout::is_good(draft, id));
        missing += usize::from(!watched);
    }
    missing < draft.spec().parallelism().map_or(draft.wanted.len(), |n| n as usize)
}
