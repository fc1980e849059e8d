//! How a service is, in words for people and counts for programs.

use std::collections::BTreeSet;

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::HostName;
use evenkeel_api::record::{
    Condition, ConditionType, Copies, Desired, InstanceState, Phase, Status, Timestamp,
};
use evenkeel_api::service::Mode;

use super::admit::Admission;
use super::batch::StatusWrite;
use super::draft::{Draft, Held};
use super::failover::Presence;
use super::world::At;
use super::{deadline, pins, rollback, slots};

/// A condition before it is known since when it holds.
struct Finding {
    kind: ConditionType,
    status: bool,
    reason: &'static str,
    message: String,
}

impl Finding {
    fn new(kind: ConditionType, status: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status, reason, message: message.into() }
    }
}

/// The status of a service with the batch done, if it differs from what is written.
pub(crate) fn service<S>(draft: &Draft<'_>, admission: &Admission<S>) -> Option<StatusWrite> {
    let copies = count(draft);
    let findings = vec![
        valid(admission),
        available(draft, &copies),
        progressing(draft, &copies),
        degraded(draft, admission),
    ];
    let status = Status {
        observed_revision: admission.observed,
        accepted_revision: Some(draft.accepted.source_revision),
        conditions: Vec::new(),
        copies: Some(copies),
    };
    differs(
        ObjectRef::Service(draft.id.clone()),
        draft.service.status.as_ref(),
        status,
        findings,
        draft.world.wall,
    )
}

/// The status of an object of which no document was ever valid.
pub(crate) fn refused<S>(
    object: ObjectRef,
    known: Option<&At<Status>>,
    admission: &Admission<S>,
    wall: Timestamp,
) -> Option<StatusWrite> {
    let status = Status { observed_revision: admission.observed, ..Status::default() };
    differs(object, known, status, vec![valid(admission)], wall)
}

/// The status of a service with records that cannot be read: what was said of it may not be true any more.
pub(crate) fn unreadable(
    object: ObjectRef,
    known: Option<&At<Status>>,
    keys: &BTreeSet<Key>,
    wall: Timestamp,
) -> Option<StatusWrite> {
    let status = known.map_or_else(Status::default, |known| known.value.clone());
    let names: Vec<String> = keys.iter().map(Key::to_string).collect();
    let message = format!(
        "{} cannot be read, so nothing is changed: put the value back that was there before, or delete an \
         instance's key to have that copy made anew",
        names.join(", ")
    );
    differs(
        object,
        known,
        status,
        vec![Finding::new(ConditionType::Degraded, true, "Unreadable", message)],
        wall,
    )
}

/// The status of a host.
pub(crate) fn host<S>(
    (name, alive, trouble): (&HostName, bool, Option<HostTrouble>),
    known: Option<&At<Status>>,
    admission: &Admission<S>,
    wall: Timestamp,
) -> Option<StatusWrite> {
    let mut findings = vec![valid(admission)];
    findings.push(match alive {
        true => Finding::new(ConditionType::Available, true, "Alive", ""),
        false => Finding::new(ConditionType::Available, false, "Gone", "the host does not renew its lease"),
    });
    findings.push(match (trouble, admission.held) {
        (Some(HostTrouble::Held), _) => Finding::new(
            ConditionType::Degraded,
            true,
            "Brake",
            format!(
                "too many hosts went at once: its copies stay until it is back, or until a person declares it \
                 dead with `evenkeel host confirm-dead {name}`"
            ),
        ),
        (_, true) => Finding::new(ConditionType::Degraded, true, "DeletionHeld", HELD),
        (Some(HostTrouble::Flapping), false) => Finding::new(ConditionType::Degraded, true, "Flapping", FLAPPING),
        (None, false) => Finding::new(ConditionType::Degraded, false, "Fine", ""),
    });
    let accepted_revision = admission.accepted.as_ref().map(|accepted| accepted.source_revision);
    let status = Status { observed_revision: admission.observed, accepted_revision, ..Status::default() };
    differs(ObjectRef::Host(name.clone()), known, status, findings, wall)
}

/// What is to be said of a host beside whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostTrouble {
    /// The brake holds it.
    Held,
    /// It came and went too often.
    Flapping,
}

const FLAPPING: &str = "it was lost three times or more within ten minutes: its copies stay, and it gets new ones \
                        only where nothing else fits, until ten minutes have passed without that";

/// The reason of a service whose copies are to be exchanged, and cannot be.
pub const NO_ROOM: &str = "NoRoom";

/// The reason of a service that hosts' own policies keep from running: no further try brings it.
pub const REFUSED: &str = "Refused";

const HELD: &str = "its document is gone, and so are many others at once: it is kept until the documents are put \
                    back or a person confirms the deletion";

fn differs(
    object: ObjectRef,
    known: Option<&At<Status>>,
    mut status: Status,
    findings: Vec<Finding>,
    wall: Timestamp,
) -> Option<StatusWrite> {
    let before = known.map(|known| &known.value);
    status.conditions = findings
        .into_iter()
        .map(|finding| {
            let before = before.and_then(|before| before.condition(finding.kind));
            let since =
                before.filter(|before| before.status == finding.status).map_or(wall, |before| before.since);
            let Finding { kind, status, reason, message } = finding;
            Condition { kind, status, reason: reason.to_owned(), message, since }
        })
        .collect();
    let revision = known.map_or(0, |known| known.mod_revision);
    let differs = before != Some(&status);
    differs.then_some(StatusWrite { key: Key::Status(object), revision, status })
}

fn count(draft: &Draft<'_>) -> Copies {
    let live = || draft.copies.values().filter(|copy| copy.desired == Desired::Run);
    let there = |copy: &&Held<'_>| copy.presence == Presence::Present;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Copies {
        desired: number(draft.wanted.len()),
        running: number(live().filter(there).filter(|copy| copy.runs()).count()),
        ready: number(live().filter(|copy| copy.available()).count()),
        updated: number(live().filter(|copy| draft.is_current(copy)).count()),
    }
}

fn valid<S>(admission: &Admission<S>) -> Finding {
    match &admission.invalid {
        Some(why) => Finding::new(ConditionType::Valid, false, "Invalid", why.clone()),
        None => Finding::new(ConditionType::Valid, true, "Accepted", ""),
    }
}

fn available(draft: &Draft<'_>, copies: &Copies) -> Finding {
    let kind = ConditionType::Available;
    if draft.accepted.deleting {
        return Finding::new(kind, false, "Deleting", "the service is being taken down");
    }
    let spared = match draft.rollout.phase {
        Phase::Rolling => draft.spec().parallelism().unwrap_or(copies.desired),
        _ => 0,
    };
    if copies.ready >= copies.desired {
        Finding::new(kind, true, "AllReady", "")
    } else if copies.ready > 0 && copies.ready + spared >= copies.desired {
        Finding::new(
            kind,
            true,
            "EnoughReady",
            format!("{} of {} copies are ready", copies.ready, copies.desired),
        )
    } else {
        Finding::new(
            kind,
            false,
            "TooFewReady",
            format!("{} of {} copies are ready", copies.ready, copies.desired),
        )
    }
}

fn progressing(draft: &Draft<'_>, copies: &Copies) -> Finding {
    let kind = ConditionType::Progressing;
    if draft.accepted.deleting {
        let left = match draft.copies.len() {
            1 => "1 copy is left".to_owned(),
            n => format!("{n} copies are left"),
        };
        return Finding::new(kind, true, "Deleting", left);
    }
    match (&draft.rollout.phase, pins::note(draft.service, &draft.rollout, draft.id)) {
        (Phase::Rolling, _) => {
            let anew = draft.copies.values().any(|copy| copy.stale && copy.desired == Desired::Run);
            let of = match anew {
                true => "new".to_owned(),
                false => format!("of template {}", draft.target()),
            };
            let mut message = format!("{} of {} copies are {of}", copies.updated, copies.desired);
            for (slot, wait) in &draft.waits {
                message.push_str(&format!("; slot {slot} {wait}"));
            }
            for note in draft.cramped.iter().chain(&draft.notes) {
                message.push_str(&format!("; {note}"));
            }
            let back = rollback::goes_back(&draft.rollout);
            Finding::new(kind, true, if back { "RollingBack" } else { "RollingOut" }, message)
        }
        (_, Some((reason, message))) => Finding::new(kind, false, reason, message),
        (Phase::Paused { .. }, None) => Finding::new(kind, false, "Paused", "the rollout stands still"),
        (Phase::Done, None) if copies.ready < copies.desired => Finding::new(kind, true, "Starting", ""),
        (Phase::Done, None) => Finding::new(kind, false, "Settled", ""),
    }
}

fn degraded<S>(draft: &Draft<'_>, admission: &Admission<S>) -> Finding {
    let acute = acute(draft, admission);
    let Some(rejected) = rollback::rejected(draft) else { return acute };
    let message = match acute.status {
        true => format!("{rejected}; {}", acute.message),
        false => rejected,
    };
    Finding::new(ConditionType::Degraded, true, "RolledBack", message)
}

/// Slots that cannot have a copy now, and why.
fn pending(draft: &Draft<'_>) -> Option<String> {
    let (slot, why) = draft.pending.iter().next()?;
    let more = match draft.pending.len() - 1 {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    Some(format!("slot {slot}{more}: {why}"))
}

/// What is wrong at this moment.
fn acute<S>(draft: &Draft<'_>, admission: &Admission<S>) -> Finding {
    let kind = ConditionType::Degraded;
    if admission.held {
        return Finding::new(kind, true, "DeletionHeld", HELD);
    }
    if let Phase::Paused { why } = &draft.rollout.phase
        && !draft.rollout.held
    {
        let target = draft.target();
        let message = format!(
            "the rollout of template {target} stands still: {why}; put a better document, or let it go on with \
             `evenkeel rollout resume {}`{}",
            draft.id,
            pending(draft).map(|pending| format!("; {pending}")).unwrap_or_default()
        );
        return Finding::new(kind, true, "RolloutPaused", message);
    }
    if let Some(pending) = pending(draft) {
        return Finding::new(kind, true, "Pending", pending);
    }
    let live = || draft.copies.iter().filter(|(_, copy)| copy.desired == Desired::Run);
    if let Some((id, copy)) = live().find(|(_, copy)| copy.presence == Presence::Held) {
        let message =
            format!("{id} is on {}, which is gone; too many hosts went at once to replace it", copy.host);
        return Finding::new(kind, true, "Brake", message);
    }
    if let Some((id, copy)) = live().find(|(_, copy)| copy.presence == Presence::Lost) {
        let rest = match slots::stays_home(draft, copy) {
            true if draft.spec().mode() == Mode::Global => ": it waits for the host",
            true => &format!(
                ", and so is its volume: it waits for the host; if that is dead for good, give both up with \
                 `evenkeel host remove {host} --dead` (with an etcd of your own, `evenkeel delete host {host}`)",
                host = copy.host
            ),
            false => "",
        };
        let message = format!("{id} is on {}, which is lost{rest}", copy.host);
        return Finding::new(kind, true, "HostLost", message);
    }
    if let Some(why) = &draft.refused {
        return Finding::new(kind, true, REFUSED, why.clone());
    }
    if let Some((id, late)) = live().find_map(|(id, _)| Some((id, deadline::missed(draft, id)?))) {
        return Finding::new(kind, true, "ProgressDeadline", format!("{id} is {late}"));
    }
    if let Some((id, copy)) = live().find(|(_, copy)| copy.has_failed()) {
        let why = match copy.observed.map(|observed| &observed.state) {
            Some(InstanceState::Failed { why, .. } | InstanceState::Waiting { why }) => why.as_str(),
            _ => "it failed",
        };
        return Finding::new(kind, true, "CopyFailed", format!("{id} on {}: {why}", copy.host));
    }
    if let Some(why) = &draft.suspicion {
        return Finding::new(kind, true, "DependencySuspected", why.clone());
    }
    if let Some(why) = draft.cramped.iter().next() {
        return Finding::new(kind, true, NO_ROOM, why.clone());
    }
    if let Some(note) = draft.notes.iter().next() {
        return Finding::new(kind, true, "Blocked", note.clone());
    }
    if let Some(why) = &draft.crowded {
        return Finding::new(kind, true, "Crowded", why.clone());
    }
    Finding::new(kind, false, "Fine", "")
}
