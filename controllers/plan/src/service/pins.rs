//! What people say about a rollout: go on, try again, run that template, stand still. A person's word goes
//! before what follows from documents, and is looked at once where it is about one moment.

use evenkeel_api::name::InstanceId;
use evenkeel_api::record::{Desired, Phase, Pin, Rollout};

use super::draft::Draft;
use super::rollout;
use super::world::{At, Service};

/// Why a rollout stands still that a person paused.
const PAUSED: &str = "a person paused it";

/// Whether a person wants nothing to be exchanged.
pub(crate) fn pauses(service: &Service) -> bool {
    service.pin.as_ref().is_some_and(|pin| pin.value.pause)
}

/// The template that a person wants in place of `newest`. That ends with another newest template, and does
/// not begin anew when the old one comes back.
pub(crate) fn template(service: &Service, newest: i64) -> Option<i64> {
    let pin = service.pin.as_ref().filter(|pin| pin.value.of == Some(newest))?;
    let ended = service.rollout.as_ref().and_then(|rollout| rollout.value.ended);
    let number = pin.value.template.filter(|_| ended != Some(pin.mod_revision))?;
    service.template(number).map(|_| number)
}

/// Whether a person wants a new copy in place of `id`.
pub(crate) fn wants_anew(service: &Service, id: &InstanceId) -> bool {
    let until = service.pin.as_ref().and_then(|pin| pin.value.restart);
    until.is_some_and(|until| id.seq <= until)
}

/// The rejected template that a person wants to be tried again.
pub(crate) fn retries(service: &Service, newest: i64) -> bool {
    news(service).is_some_and(|pin| pin.value.retry == Some(newest))
}

/// What a person said and that was not looked at yet.
fn news(service: &Service) -> Option<&At<Pin>> {
    let looked = service.rollout.as_ref().and_then(|rollout| rollout.value.resumed);
    service.pin.as_ref().filter(|pin| looked != Some(pin.mod_revision))
}

/// Follow what people say. The target is chosen already.
pub(crate) fn obey(draft: &mut Draft<'_>) {
    let service = draft.service;
    let said = news(service).map(|pin| pin.value.clone());
    draft.rollout.resumed = service.pin.as_ref().map(|pin| pin.mod_revision);
    let newest = draft.accepted.template;
    if let Some(pin) = service.pin.as_ref().filter(|pin| pin.value.template.is_some())
        && pin.value.of != newest
    {
        draft.rollout.ended = Some(pin.mod_revision);
    }
    if let Some(number) = said.as_ref().and_then(|pin| pin.retry).filter(|number| Some(*number) == newest)
        && draft.rollout.rejected.remove(&number)
    {
        draft.rollout.evidence.remove(&number);
        draft.tell(None, false, "RolloutRetried", format!("template {number} is tried again"));
        try_again(draft);
    }
    let paused = matches!(draft.rollout.phase, Phase::Paused { .. });
    if said.is_some_and(|pin| pin.resume == Some(draft.target())) && paused {
        go_on(draft);
        try_again(draft);
    }
    hold(draft, pauses(service));
}

/// Stand still where a person wants it, and go on where that is over.
fn hold(draft: &mut Draft<'_>, pauses: bool) {
    match (&draft.rollout.phase, draft.rollout.held) {
        (Phase::Rolling, _) if pauses => {
            draft.rollout.phase = Phase::Paused { why: PAUSED.to_owned() };
            draft.rollout.held = true;
            let target = draft.target();
            draft.tell(None, false, "RolloutPaused", format!("the rollout of template {target}: {PAUSED}"));
        }
        (Phase::Paused { .. }, true) if !pauses => go_on(draft),
        _ => {}
    }
}

fn go_on(draft: &mut Draft<'_>) {
    draft.rollout.failed.clear();
    draft.rollout.phase = Phase::Rolling;
    draft.rollout.held = false;
    let target = draft.target();
    draft.tell(None, false, "RolloutResumed", format!("the rollout of template {target} goes on"));
}

/// What fails now gets another chance as a new copy: as it is, it would only be counted again.
fn try_again(draft: &mut Draft<'_>) {
    let target = draft.target();
    let failing = draft.copies.iter().filter(|(id, copy)| {
        copy.desired == Desired::Run
            && copy.template == target
            && !copy.ready
            && rollout::evidence(draft, id).is_some()
    });
    let failing: Vec<InstanceId> = failing.map(|(id, _)| id.clone()).collect();
    for id in failing {
        draft.leave(&id, "tried again");
    }
}

/// What a person should know of another person's word: a word for programs, and a sentence.
pub(crate) fn note(
    service: &Service,
    rollout: &Rollout,
    id: &impl std::fmt::Display,
) -> Option<(&'static str, String)> {
    let target = rollout.target?;
    let waits = rollout.instead_of.map(|newest| format!("; the document's template {newest} waits"));
    let waits = waits.unwrap_or_default();
    if pauses(service) {
        let message =
            format!("{PAUSED} at template {target}{waits}; let it go on with `evenkeel rollout resume {id}`");
        return Some(("Paused", message));
    }
    let newest = rollout.instead_of?;
    let pinned = template(service, newest)?;
    let message = format!(
        "a person pinned template {pinned}{waits}; it ends with another template, or with `evenkeel rollout unpin {id}`"
    );
    Some(("Pinned", message))
}
