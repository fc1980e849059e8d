//! When a copy is ready, and what speaks against it. The order of authority is the engine's state, the
//! engine's own check, then the checks that people wrote, all of which must agree.

use std::collections::BTreeMap;

use evenkeel_api::name::{InstanceId, ObjectName};
use evenkeel_api::record::{CheckState, InstanceState, Observed, Verdict};

use super::memory::CopyMemory;
use super::restarts;
use super::world::{Copy, Service};

/// The copies that names are told of, and whether as ready.
pub(crate) fn listed(service: &Service) -> BTreeMap<&InstanceId, bool> {
    let shards = service.endpoints.values().flat_map(|shard| &shard.value.endpoints);
    shards.map(|endpoint| (&endpoint.id, endpoint.ready)).collect()
}

/// Whether this very run was ready when it was last looked at. A new leader believes the endpoints of its
/// predecessor, if the checks spoke of this run.
pub(crate) fn was_ready(copy: &Copy, memory: Option<&CopyMemory>, listed: Option<bool>) -> bool {
    let Some(observed) = &copy.observed else { return false };
    match memory {
        Some(memory) => memory.ready_since.is_some() && memory.run == Some(observed.started),
        None => {
            listed == Some(true) && copy.health.as_ref().is_some_and(|h| Some(h.started) == observed.started)
        }
    }
}

/// Whether names should lead to a copy. `was_ready`: this run was so far; a check that is new or was edited
/// does not change that before it fails.
pub(crate) fn is_ready(service: &Service, copy: &Copy, was_ready: bool) -> bool {
    let Some(observed) = &copy.observed else { return false };
    let ending = copy.record.as_ref().is_some_and(|record| restarts::is_pending(&record.value, observed));
    runs(observed)
        && !ending
        && !matches!(observed.engine_health, Some(Verdict::Starting | Verdict::Unhealthy))
        && service.checks.iter().filter(|(_, check)| check.spec.affects_dns()).all(|(name, _)| match verdict(
            copy, observed, name,
        )
        .map(|state| state.verdict)
        {
            Some(Verdict::Healthy) => true,
            Some(Verdict::Unhealthy) => false,
            Some(Verdict::Starting) | None => was_ready,
        })
}

/// Whether its container runs.
pub(crate) fn runs(observed: &Observed) -> bool {
    matches!(observed.state, InstanceState::Running)
}

/// What a check says of the run that is there now.
pub(crate) fn says<'a>(copy: &'a Copy, check: &ObjectName) -> Option<&'a CheckState> {
    verdict(copy, copy.observed.as_ref()?, check)
}

/// What a check says of this run.
fn verdict<'a>(copy: &'a Copy, observed: &Observed, check: &ObjectName) -> Option<&'a CheckState> {
    copy.health.as_ref().filter(|health| Some(health.started) == observed.started)?.checks.get(check)
}

/// What speaks against a copy that is being watched, in words; `None`: nothing so far.
pub(crate) fn evidence(service: &Service, copy: &Copy, memory: Option<&CopyMemory>) -> Option<String> {
    let observed = copy.observed.as_ref()?;
    match &observed.state {
        InstanceState::Failed { why, .. } => return Some(why.clone()),
        InstanceState::Exited { oom: true, .. } => return Some("killed for memory".to_owned()),
        InstanceState::Exited { code, .. } => return Some(format!("exited with code {code}")),
        _ => {}
    }
    let before = memory.and_then(|memory| memory.restarts).unwrap_or(observed.restarts);
    if observed.restarts > before {
        return Some(format!("ended and was started again, {} times so far", observed.restarts));
    }
    if observed.engine_health == Some(Verdict::Unhealthy) {
        return Some("the engine's own check finds it unhealthy".to_owned());
    }
    let watched = service.checks.iter().filter(|(_, check)| check.spec.affects_rollout());
    watched.filter_map(|(name, _)| Some((name, verdict(copy, observed, name)?))).find_map(|(name, state)| {
        (state.verdict == Verdict::Unhealthy).then(|| format!("check {name}: {}", state.evidence))
    })
}

/// What a copy that is not ready is doing, in words.
pub(crate) fn doing(service: &Service, copy: &Copy) -> String {
    let Some(observed) = &copy.observed else { return format!("{} has not begun with it", copy.host) };
    let waited = || {
        service.checks.keys().filter(|name| {
            verdict(copy, observed, name).is_none_or(|state| state.verdict != Verdict::Healthy)
        })
    };
    match &observed.state {
        InstanceState::Waiting { why } => why.clone(),
        InstanceState::Pulling => "the image is on its way".to_owned(),
        InstanceState::Created => "its container does not start".to_owned(),
        InstanceState::Running => match waited().next() {
            Some(check) => format!("check {check} has not passed"),
            None => "the engine's own check has not passed".to_owned(),
        },
        InstanceState::Exited { code, .. } => format!("exited with code {code}"),
        InstanceState::Failed { why, .. } => why.clone(),
        InstanceState::Stopped { .. } => "it has stopped".to_owned(),
    }
}

/// Whether the checks that a rollout waits for have passed, or were never asked of this copy's service.
pub(crate) fn rollout_checks_pass(service: &Service, copy: &Copy) -> bool {
    let Some(observed) = &copy.observed else { return false };
    let waited =
        service.checks.iter().filter(|(_, check)| check.spec.affects_rollout() && !check.spec.affects_dns());
    waited
        .map(|(name, _)| verdict(copy, observed, name))
        .all(|state| state.is_some_and(|state| state.verdict == Verdict::Healthy))
}
