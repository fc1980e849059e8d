//! Which template runs: the one that a person wants; else the newest one, unless it failed and is rejected;
//! then the last one that ran well. What was rejected stays so, over leaders and over the same content put
//! again, until a person says otherwise.

use std::borrow::Cow;
use std::collections::BTreeSet;

use evenkeel_api::name::InstanceId;
use evenkeel_api::record::{Accepted, Phase, Rollout};
use evenkeel_api::service::{ServiceSpec, Template};

use super::draft::{Draft, Held};
use super::world::Service;
use super::{pins, rollout};

/// Templates that are remembered as rejected, and as good: those before are too old to come back by mistake, and
/// hardly kept.
const REMEMBERED: usize = 10;

/// The template that copies shall be of.
pub(crate) fn running(service: &Service, accepted: &Accepted<ServiceSpec>) -> i64 {
    let newest = accepted.template.unwrap_or(accepted.source_revision);
    let Some(rollout) = service.rollout.as_ref().map(|at| &at.value) else { return newest };
    let kept = |number: &i64| service.template(*number).is_some();
    if pins::pauses(service)
        && let Some(target) = rollout.target.filter(kept)
    {
        return target;
    }
    if let Some(number) = pins::template(service, newest) {
        return number;
    }
    match rollout.rejected.contains(&newest) && !pins::retries(service, newest) {
        true => rollout.current.filter(kept).unwrap_or(newest),
        false => newest,
    }
}

/// What holds for copies of template `number`: all of the newest document but for the template itself.
pub(crate) fn spec<'a>(
    service: &Service,
    accepted: &'a Accepted<ServiceSpec>,
    number: i64,
) -> Cow<'a, ServiceSpec> {
    match service.template(number) {
        Some(template) if accepted.template != Some(number) => {
            Cow::Owned(ServiceSpec { template: template.clone(), ..accepted.spec.clone() })
        }
        _ => Cow::Borrowed(&accepted.spec),
    }
}

/// The number of a rejected template with this content: put again, it is the same template.
pub(crate) fn rejected_as(service: &Service, content: &Template) -> Option<i64> {
    let rollout = service.rollout.as_ref()?;
    let mut newest_first = rollout.value.rejected.iter().rev();
    newest_first.find(|number| service.template(**number) == Some(content)).copied()
}

/// Whether copies go back because the newest template is rejected. Going back is not given up: there is
/// nothing better to go to.
pub(crate) fn goes_back(rollout: &Rollout) -> bool {
    rollout.target == rollout.current
        && rollout.instead_of.is_some_and(|newest| rollout.rejected.contains(&newest))
}

/// The template that copies can go back to, if the target fails.
///
/// # Errors
/// Why there is none, for people.
pub(crate) fn good(draft: &Draft<'_>) -> Result<i64, &'static str> {
    if draft.rollout.instead_of.is_some() {
        return Err("a person pinned it");
    }
    let current = draft.rollout.current;
    if current.is_some_and(|number| draft.is_updated(number)) {
        return Err("it ran well before: there is nothing to go back to");
    }
    current
        .filter(|number| draft.service.template(*number).is_some())
        .ok_or("no template before it ever ran well: there is nothing to go back to")
}

/// The template of a copy that takes the place of one of template `number`: the same, unless that is rejected.
pub(crate) fn in_place_of(draft: &Draft<'_>, number: i64) -> i64 {
    if draft.rollout.rejected.contains(&number) { draft.target() } else { number }
}

/// Reject the target in favour of `good`. What follows from it is planned next.
pub(crate) fn reject(draft: &mut Draft<'_>, id: &InstanceId, evidence: &str, good: i64) {
    let target = draft.target();
    let why = format!("{id} failed: {evidence}");
    draft.tell(
        Some(id),
        true,
        "TemplateRejected",
        format!("template {target} is rejected: {why}; copies go back to template {good}"),
    );
    draft.rollout.rejected.insert(target);
    draft.rollout.evidence.insert(target, why);
    draft.plan.more = true;
}

/// Remember a target that turned out well as the one to go back to.
pub(crate) fn prove(draft: &mut Draft<'_>) {
    let target = draft.target();
    if draft.rollout.phase != Phase::Done || draft.rollout.current == Some(target) {
        return;
    }
    let copies: Vec<InstanceId> =
        draft.copies.iter().filter(|(_, copy)| copy.template == target).map(|(id, _)| id.clone()).collect();
    if copies.iter().any(|id| rollout::is_good(draft, id)) {
        ran_well(&mut draft.rollout, target);
        // Only a person's word lets a rejected template run until it proves good.
        draft.rollout.rejected.remove(&target);
        draft.rollout.evidence.remove(&target);
    }
}

/// Before another target: the one that was is worth going back to if its copies serve.
pub(crate) fn keep_good(draft: &mut Draft<'_>) {
    let serves = |copy: &Held<'_>| copy.available() && draft.is_updated(copy.template);
    if draft.rollout.phase == Phase::Done
        && draft.copies.values().any(serves)
        && let Some(target) = draft.rollout.target
    {
        ran_well(&mut draft.rollout, target);
    }
}

/// Remember that a template ran well, as the last one that did.
fn ran_well(rollout: &mut Rollout, number: i64) {
    // Where the list begins only now, the one before is known all the same.
    for known in rollout.current.into_iter().chain([number]) {
        rollout.proven.retain(|other| *other != known);
        rollout.proven.push(known);
    }
    let forgotten = rollout.proven.len().saturating_sub(REMEMBERED);
    rollout.proven.drain(..forgotten);
    rollout.current = Some(number);
}

/// What a person should know of the newest template if it is rejected.
pub(crate) fn rejected(draft: &Draft<'_>) -> Option<String> {
    let rollout = &draft.rollout;
    let newest = rollout.instead_of.filter(|newest| rollout.rejected.contains(newest))?;
    let why = rollout.evidence.get(&newest).map_or("its copies failed", String::as_str);
    let id = draft.id;
    Some(format!(
        "template {newest} is rejected: {why}; template {} runs in its place: put a better document, or try it \
         again with `evenkeel rollout retry {id}`",
        draft.target()
    ))
}

/// Forget rejections of templates that are forgotten themselves.
pub(crate) fn forget(rollout: &mut Rollout, service: &Service, newest: Option<i64>) {
    let late: BTreeSet<i64> = rollout.rejected.iter().rev().take(REMEMBERED).copied().collect();
    rollout.rejected.retain(|number| {
        let kept = late.contains(number) && service.template(*number).is_some();
        kept || newest == Some(*number)
    });
    rollout.evidence.retain(|number, _| rollout.rejected.contains(number));
}
