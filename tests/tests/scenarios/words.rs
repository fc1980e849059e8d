//! A plan in words.

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{Desired, Endpoints, Phase, Rollout, Status};
use evenkeel_plan::service::{Batch, World, Write};

/// What a batch does to a world, a line a write; copies first.
pub fn of(world: &World, batch: &Batch) -> Vec<String> {
    let mut lines: Vec<(u8, String)> = Vec::new();
    for (key, write) in &batch.writes {
        match (key, write) {
            (Key::Instance(host, id), Write::Instance(instance)) => {
                let (rank, verb) = match instance.desired {
                    Desired::Run if instance.restart.is_some() => (3, format!("restart {id} on {host}")),
                    Desired::Run => {
                        (2, format!("create {id} on {host}, template {}", instance.template.revision))
                    }
                    Desired::Drain => (3, format!("drain {id} on {host}")),
                    Desired::Stop => (3, format!("stop {id} on {host}")),
                    Desired::Lost => (3, format!("give up {id} on {host}")),
                };
                lines.push((rank, format!("{verb}: {}", instance.cause)));
            }
            (Key::Instance(host, id), _) => lines.push((1, format!("forget {id} on {host}"))),
            (Key::Accepted(object), Write::Accepted(accepted)) if accepted.deleting => {
                lines.push((0, format!("take down {object}")));
            }
            (Key::Accepted(object), Write::AcceptedHost(accepted)) if accepted.deleting => {
                lines.push((0, format!("take down {object}")));
            }
            (Key::Accepted(object), Write::Delete) => lines.push((0, format!("forget {object}"))),
            (Key::Accepted(ObjectRef::Service(id)), _) => lines.push((0, format!("accept Service {id}"))),
            (Key::Rollout(id), Write::Rollout(rollout)) => {
                lines.extend(rolled(world, id, rollout).map(|line| (4, line)));
                lines.extend(rejected(world, id, rollout).map(|line| (4, line)));
            }
            (Key::Endpoints(id, _), Write::Endpoints(endpoints)) => lines.push((5, names(id, endpoints))),
            (Key::Status(object), Write::Status(status)) => {
                lines.extend(conditions(world, object, status).into_iter().map(|line| (6, line)));
            }
            (Key::Brakes, Write::Brakes(state)) => {
                let hosts: Vec<String> = state.held.keys().map(ToString::to_string).collect();
                let objects: Vec<String> = state.deletions.iter().map(ToString::to_string).collect();
                if !hosts.is_empty() {
                    lines.push((0, format!("brake: copies on {} are not replaced", hosts.join(", "))));
                }
                if !objects.is_empty() {
                    lines.push((0, format!("brake: {} kept", objects.join(", "))));
                }
            }
            (Key::Brakes, _) => lines.push((0, "brake released".to_owned())),
            _ => {}
        }
    }
    lines.sort_by_key(|(rank, _)| *rank);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn rolled(world: &World, id: &ServiceId, rollout: &Rollout) -> Option<String> {
    let before = world.services.get(id).and_then(|service| service.rollout.as_ref()).map(|at| &at.value)?;
    if (&before.phase, before.target) == (&rollout.phase, rollout.target) {
        return None;
    }
    let target = rollout.target.unwrap_or(0);
    Some(match &rollout.phase {
        Phase::Done => format!("rollout of {id} to template {target} is done"),
        Phase::Rolling => format!("rollout of {id} to template {target} goes on"),
        Phase::Paused { why } => format!("rollout of {id} to template {target} is paused: {why}"),
    })
}

/// The newest template that is rejected and was not before.
fn rejected(world: &World, id: &ServiceId, rollout: &Rollout) -> Option<String> {
    let before = world.services.get(id).and_then(|service| service.rollout.as_ref()).map(|at| &at.value)?;
    let news = rollout.rejected.difference(&before.rejected).max()?;
    Some(format!("template {news} of {id} is rejected: {}", rollout.evidence.get(news)?))
}

fn names(id: &ServiceId, endpoints: &Endpoints) -> String {
    let list = |ready: bool| -> Vec<String> {
        let those = endpoints.endpoints.iter().filter(|endpoint| endpoint.ready == ready);
        those.map(|endpoint| format!("{} on {}", endpoint.slot, endpoint.host)).collect()
    };
    let (ready, others) = (list(true), list(false));
    let ready = if ready.is_empty() { "nobody".to_owned() } else { ready.join(", ") };
    match others.is_empty() {
        true => format!("names of {id}: {ready}"),
        false => format!("names of {id}: {ready}; not ready: {}", others.join(", ")),
    }
}

/// The conditions that are other than they were.
fn conditions(world: &World, object: &ObjectRef, status: &Status) -> Vec<String> {
    let before = match object {
        ObjectRef::Service(id) => world.services.get(id).and_then(|service| service.status.as_ref()),
        ObjectRef::Host(name) => world.hosts.get(name).and_then(|host| host.status.as_ref()),
        _ => None,
    };
    let mut lines = Vec::new();
    for condition in &status.conditions {
        let known = before.and_then(|before| before.value.condition(condition.kind));
        let told = known.map(|known| (known.status, known.reason.as_str(), known.message.as_str()));
        let news = (condition.status, condition.reason.as_str(), condition.message.as_str());
        // A host that is well when it comes is no news.
        let expected =
            known.is_none() && matches!(object, ObjectRef::Host(_)) && condition.reason != "Invalid";
        if told == Some(news) || expected {
            continue;
        }
        let sign = if condition.status { "" } else { "not " };
        let message =
            if condition.message.is_empty() { String::new() } else { format!(": {}", condition.message) };
        lines.push(format!("{object} is {sign}{:?}, {}{message}", condition.kind, condition.reason));
    }
    lines
}
