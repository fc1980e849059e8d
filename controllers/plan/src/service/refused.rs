//! Services that the hosts' own policies keep from running. Another try brings nothing there until a person has changed a
//! policy or the document, which is why it is told apart from copies that fail.

use evenkeel_api::name::{InstanceId, Slot};
use evenkeel_api::record::InstanceState;

use super::draft::Draft;
use super::filter::Leave;
use super::slots;

/// Why no copy that is missing will come; `None`: one may, or none is missing.
pub(crate) fn everywhere(draft: &mut Draft<'_>) -> Option<String> {
    // Most services never meet a policy: no slot of theirs is looked at.
    draft.memory?.failed_on.values().find(|failed| failed.refused.is_some())?;
    let missing: Vec<Slot> = draft.wanted.iter().filter(|slot| !draft.serves(slot)).cloned().collect();
    let mut said = None;
    for slot in &missing {
        let why = of_slot(draft, slot)?;
        said.get_or_insert(why);
    }
    let more = match missing.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    Some(format!("slot {}{more}: {}", missing.first()?, said?))
}

/// What the policies say, if a copy for the slot was refused on every host that could take it.
fn of_slot(draft: &mut Draft<'_>, slot: &Slot) -> Option<String> {
    let live = draft.live(slot);
    let template = slots::template_for(draft, &live);
    let failed = draft.memory?.failed_there(slot, template);
    let refused: Vec<_> =
        failed.map(|(host, failed)| Some((host.clone(), failed.refused.clone()?))).collect::<Option<_>>()?;
    if refused.is_empty() || live.iter().any(|id| was_let_in(draft, id)) {
        return None;
    }
    // Where a copy failed it goes only if nothing else fits.
    let next = match live.as_slice() {
        [one] => draft.without(one, |draft| draft.pick(slot, template, Leave::default())),
        _ => draft.pick(slot, template, Leave::default()),
    };
    let next = next.ok()?;
    let (_, why) = refused.iter().find(|(host, _)| *host == next)?;
    Some(match refused.len() {
        1 => why.clone(),
        n => format!("{why}; all {n} hosts that could take it refuse it"),
    })
}

/// Whether a copy is past its host's policy.
fn was_let_in(draft: &Draft<'_>, id: &InstanceId) -> bool {
    let state = draft.copies.get(id).and_then(|copy| copy.observed).map(|observed| &observed.state);
    !matches!(state, None | Some(InstanceState::Failed { .. } | InstanceState::Waiting { .. }))
}
