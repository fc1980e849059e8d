//! The time that a copy has to become ready. After it, a new copy of a rollout counts as failed; any other
//! is only told of, and tried on.

use std::time::Duration;

use evenkeel_api::name::InstanceId;
use evenkeel_api::record::Desired;

use super::draft::Draft;
use super::failover::Presence;
use super::ready;

/// How a copy that shall run and was never ready is late, in words; `None`: it is not.
pub(crate) fn missed(draft: &Draft<'_>, id: &InstanceId) -> Option<String> {
    let time = draft.spec().progress_deadline();
    let memory = draft.memory?.copies.get(id).filter(|memory| !memory.arrived)?;
    let waited_for = draft.copies.get(id)?.presence == Presence::Present;
    if !waited_for || since(draft, id, memory.since?).saturating_add(time.0) > draft.now {
        return None;
    }
    let doing = ready::doing(draft.service, draft.service.copies.get(id)?);
    Some(format!("not ready after {time}: {doing}"))
}

/// When the slot of a copy that came at `came` began to wait for one of its template: with those that
/// failed before it, once there is something to say of this one.
fn since(draft: &Draft<'_>, id: &InstanceId, came: Duration) -> Duration {
    let copy = draft.copies.get(id).filter(|copy| copy.observed.is_some());
    let tried = copy.and_then(|copy| draft.memory?.tried_since(&id.slot, copy.template));
    tried.map_or(came, |tried| tried.min(came))
}

/// Look again when the time of a copy is over, or its time to wait where it is.
pub(crate) fn watch(draft: &mut Draft<'_>) {
    let Some(memory) = draft.memory else { return };
    let time = draft.spec().progress_deadline().0;
    let awaited = draft.copies.iter().filter(|(_, copy)| copy.desired == Desired::Run);
    let due = awaited.filter_map(|(id, copy)| {
        let came = memory.copies.get(id).filter(|memory| !memory.arrived)?.since?;
        let stuck = copy.observed.and_then(|observed| memory.stuck_at(id, observed, draft.now));
        let late = Some(since(draft, id, came).saturating_add(time)).filter(|due| *due > draft.now);
        stuck.into_iter().chain(late).min()
    });
    if let Some(due) = due.min() {
        draft.plan.wake(due - draft.now);
    }
}
