//! Which checks are accepted, and how each of them is.
//!
//! A document is parsed once: when its revision is newer than the one that its status speaks of. A bad
//! one changes the status alone, so that what was accepted before goes on.

use std::collections::BTreeMap;

use evenkeel_api::healthcheck::{HealthCheckSpec, PortRef};
use evenkeel_api::meta::{Metadata, ObjectRef};
use evenkeel_api::name::{CheckId, HostName, InstanceId, ServiceId};
use evenkeel_api::record::{
    Accepted, CheckState, Condition, ConditionType, Health, Status, Timestamp, Verdict,
};
use evenkeel_api::service::ServiceSpec;
use evenkeel_api::text::{DocumentSpec, Origin, parse_document_bytes};

/// Copies that a message names, at most.
const NAMED: usize = 3;

/// A document as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// As written.
    pub bytes: Vec<u8>,
    /// The revision of its last change.
    pub mod_revision: i64,
    /// The revision of its creation.
    pub create_revision: i64,
}

/// All that is known of one check.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    /// Its document; absent: a person deleted it.
    pub document: Option<&'a Text>,
    /// What was accepted last.
    pub accepted: Option<&'a Accepted<HealthCheckSpec>>,
    /// What was last said of it.
    pub status: Option<&'a Status>,
}

/// What every check is held against.
#[derive(Debug, Default)]
pub struct World<'a> {
    /// The accepted services that are not on their way out.
    pub services: BTreeMap<ServiceId, &'a ServiceSpec>,
    /// What hosts say of copies, by service.
    pub health: BTreeMap<ServiceId, Vec<(HostName, InstanceId, &'a Health)>>,
}

/// What to write about one check.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The document is gone: remove what was accepted, and the status.
    Remove,
    /// The document is new.
    Judge {
        /// What it asks, if it is valid; else what was accepted before stays.
        accepted: Option<Box<Accepted<HealthCheckSpec>>>,
        /// What is said of it.
        status: Status,
    },
    /// Nothing but what is said of it.
    Tell(Status),
}

/// What to write about `check` now, if anything.
pub fn decide(check: &CheckId, known: &Known<'_>, world: &World<'_>, wall: Timestamp) -> Option<Change> {
    let Some(document) = known.document else {
        let traces = known.accepted.is_some() || known.status.is_some();
        return traces.then_some(Change::Remove);
    };
    let judged = known.status.filter(|status| status.observed_revision == document.mod_revision);
    let old = known.status.map_or(&[][..], |status| &status.conditions);
    match judged {
        Some(status) => {
            let valid = status.condition(ConditionType::Valid).cloned();
            let told = tell(check, document.mod_revision, known.accepted, valid, world, old, wall);
            (told != *status).then_some(Change::Tell(told))
        }
        None => {
            let judged = judge(check, document);
            let (accepted, valid) = match judged {
                Ok(accepted) => (Some(accepted), (true, "Accepted", String::new())),
                Err(problem) => (None, (false, "Invalid", invalid(&problem, known.accepted))),
            };
            let (holds, reason, message) = valid;
            let valid = condition(ConditionType::Valid, holds, reason, message, old, wall);
            let speaks = accepted.as_ref().or(known.accepted);
            let status = tell(check, document.mod_revision, speaks, Some(valid), world, old, wall);
            Some(Change::Judge { accepted: accepted.map(Box::new), status })
        }
    }
}

/// Reads a document; the problem on one line if it is bad.
fn judge(check: &CheckId, text: &Text) -> Result<Accepted<HealthCheckSpec>, String> {
    let origin = Origin::Key(ObjectRef::HealthCheck(check.clone()));
    let document = parse_document_bytes(&text.bytes, &origin).map_err(|error| error.one_line())?;
    let DocumentSpec::HealthCheck(spec) = document.spec else {
        return Err(format!("this is a {}, not a HealthCheck", document.object.kind()));
    };
    let metadata = Metadata {
        name: Some(check.name.clone()),
        namespace: Some(check.namespace.clone()),
        ..document.metadata
    };
    Ok(Accepted {
        source_revision: text.mod_revision,
        create_revision: text.create_revision,
        template: None,
        deleting: false,
        metadata,
        spec,
    })
}

fn invalid(problem: &str, accepted: Option<&Accepted<HealthCheckSpec>>) -> String {
    match accepted {
        Some(accepted) => format!("{problem}; revision {} goes on", accepted.source_revision),
        None => problem.to_owned(),
    }
}

/// The whole status.
fn tell(
    check: &CheckId,
    observed_revision: i64,
    accepted: Option<&Accepted<HealthCheckSpec>>,
    valid: Option<Condition>,
    world: &World<'_>,
    old: &[Condition],
    wall: Timestamp,
) -> Status {
    let mut conditions: Vec<Condition> = valid.into_iter().collect();
    if let Some(accepted) = accepted {
        let tally = Tally::of(check, &accepted.spec, world);
        let fault = fault(check, &accepted.spec, world);
        // A copy that is about to start is nothing that a person must know of.
        let none_fails = fault.is_none() && tally.unhealthy.is_empty();
        let reason = match (none_fails, tally.starting.is_empty()) {
            (false, _) => "NotPassing",
            (true, false) => "Starting",
            (true, true) => "Passing",
        };
        let message = tally.counts();
        conditions.push(condition(ConditionType::Available, none_fails, reason, message, old, wall));
        let (holds, reason, message) = match (fault, tally.unhealthy.is_empty()) {
            (Some((reason, message)), _) => (true, reason, message),
            (None, false) => (true, "Unhealthy", named(&tally.unhealthy)),
            (None, true) => (false, "AsWanted", String::new()),
        };
        conditions.push(condition(ConditionType::Degraded, holds, reason, message, old, wall));
    }
    Status {
        observed_revision,
        accepted_revision: accepted.map(|accepted| accepted.source_revision),
        conditions,
        copies: None,
    }
}

/// What keeps a check from asking anybody: its target, or the port, does not exist. No error of the
/// document: the service may come later.
fn fault(check: &CheckId, spec: &HealthCheckSpec, world: &World<'_>) -> Option<(&'static str, String)> {
    let id = ServiceId { namespace: check.namespace.clone(), name: spec.target.service.clone() };
    let Some(service) = world.services.get(&id) else {
        return Some(("NoTarget", format!("there is no Service {id}; the check asks nobody")));
    };
    let Some(PortRef::Name(name)) = &spec.port else { return None };
    if service.template.ports.iter().any(|port| port.name.as_ref() == Some(name)) {
        return None;
    }
    let known: Vec<&str> =
        service.template.ports.iter().filter_map(|p| p.name.as_ref()).map(|n| n.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Some(("NoPort", format!("Service {id} has no port named {name}; it names {known}")))
}

/// What hosts say of the copies that a check asks.
#[derive(Debug, Default)]
struct Tally<'a> {
    healthy: usize,
    starting: Vec<(&'a InstanceId, &'a HostName, &'a CheckState)>,
    unhealthy: Vec<(&'a InstanceId, &'a HostName, &'a CheckState)>,
}

impl<'a> Tally<'a> {
    fn of(check: &CheckId, spec: &HealthCheckSpec, world: &'a World<'_>) -> Self {
        let id = ServiceId { namespace: check.namespace.clone(), name: spec.target.service.clone() };
        let mut tally = Self::default();
        for (host, instance, health) in world.health.get(&id).into_iter().flatten() {
            match health.checks.get(&check.name) {
                Some(CheckState { verdict: Verdict::Healthy, .. }) => tally.healthy += 1,
                Some(state @ CheckState { verdict: Verdict::Starting, .. }) => {
                    tally.starting.push((instance, host, state));
                }
                Some(state @ CheckState { verdict: Verdict::Unhealthy, .. }) => {
                    tally.unhealthy.push((instance, host, state));
                }
                None => {}
            }
        }
        tally
    }

    /// «3 healthy, 1 starting, 1 unhealthy».
    fn counts(&self) -> String {
        format!(
            "{} healthy, {} starting, {} unhealthy",
            self.healthy,
            self.starting.len(),
            self.unhealthy.len()
        )
    }
}

/// The first copies with what was seen, and how many more there are.
fn named(copies: &[(&InstanceId, &HostName, &CheckState)]) -> String {
    let mut names: Vec<String> = copies
        .iter()
        .take(NAMED)
        .map(|(instance, host, state)| format!("{instance} on {host}: {}", state.evidence))
        .collect();
    if copies.len() > NAMED {
        names.push(format!("and {} more", copies.len() - NAMED));
    }
    names.join("; ")
}

/// A condition that keeps its age while it says the same.
fn condition(
    kind: ConditionType,
    status: bool,
    reason: &str,
    message: String,
    old: &[Condition],
    wall: Timestamp,
) -> Condition {
    let same = old.iter().find(|old| old.kind == kind && old.status == status);
    Condition { kind, status, reason: reason.to_owned(), message, since: same.map_or(wall, |old| old.since) }
}

#[cfg(test)]
mod tests;
