//! What a host says of an instance.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use evenkeel_api::name::NetworkName;
use evenkeel_api::record::{InstanceState, Observed, Timestamp};

use super::container::{Container, ContainerState};
use super::memory::{Memory, Pull};

/// The report, after `before`; a state of `None` is «as it was». `wall` is for people to read.
pub fn observed(
    before: Option<&Observed>,
    state: Option<InstanceState>,
    container: Option<&Container>,
    addresses: &BTreeMap<NetworkName, Ipv4Addr>,
    memory: &Memory,
    wall: Timestamp,
) -> Option<Observed> {
    let state = state.or_else(|| before.map(|before| before.state.clone()))?;
    let running = state == InstanceState::Running;
    let container = container.filter(|_| !matches!(state, InstanceState::Stopped { .. }));
    let started = container.and_then(|container| container.started);
    let same = before.filter(|before| {
        std::mem::discriminant(&before.state) == std::mem::discriminant(&state) && before.started == started
    });
    let began = started.filter(|_| running).unwrap_or(wall);
    Some(Observed {
        since: same.map_or(began, |before| before.since),
        addresses: if container.is_some() { addresses.clone() } else { BTreeMap::new() },
        ports: container.map(|container| container.ports.clone()).unwrap_or_default(),
        restarts: memory.runs.total,
        started,
        engine_health: container
            .filter(|container| container.state == ContainerState::Running)
            .and_then(|container| container.health),
        digest: container.and_then(|container| digest(container, memory)),
        state,
    })
}

fn digest(container: &Container, memory: &Memory) -> Option<String> {
    if let Some((_, digest)) = container.image.split_once('@') {
        return Some(digest.to_owned());
    }
    match &memory.pull {
        Some(Pull::Done { reference, digest }) if *reference == container.image => digest.clone(),
        _ => None,
    }
}
