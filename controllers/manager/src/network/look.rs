//! What a host finds: its fabric, its engine's networks, and the ports that its instances publish.

use std::collections::BTreeSet;

use evenkeel_api::key::Controller;
use evenkeel_api::local::LocalInstances;
use evenkeel_engine::Network;
use evenkeel_fabric::FabricError;
use evenkeel_plan::network::state::{EngineNetwork, FabricState, Published};
use evenkeel_runtime::disk::Siblings;

use super::NetworkDeps;

/// What was found.
pub(super) struct Found {
    pub fabric: FabricState,
    /// `None`: the engine does not answer.
    pub engine: Option<Vec<EngineNetwork>>,
    pub published: BTreeSet<Published>,
}

pub(super) async fn look(deps: &NetworkDeps, siblings: &Siblings) -> Result<Found, FabricError> {
    let engine = match deps.engine.networks().await {
        Ok(networks) => Some(networks.iter().map(network).collect()),
        Err(error) => {
            tracing::debug!(%error, "the engine does not tell its networks");
            None
        }
    };
    // The engine first: a network that it has just made is then surely seen in the fabric as well.
    let fabric = deps.fabric.observe().await?;
    Ok(Found { fabric, engine, published: published(siblings) })
}

fn network(found: &Network) -> EngineNetwork {
    EngineNetwork {
        name: found.name.clone(),
        labels: found.labels.clone(),
        subnets: found.subnets.iter().map(|s| (s.subnet, s.gateway)).collect(),
        bridge: found.bridge.clone(),
    }
}

/// The ports of this host that lead into our instances, by what the instance controller keeps.
pub(super) fn published(siblings: &Siblings) -> BTreeSet<Published> {
    let local: LocalInstances = siblings.read(Controller::Instance).unwrap_or_default();
    let ports = local.instances.into_values().flat_map(|instance| instance.observed.ports);
    ports.map(|p| Published { address: p.address, protocol: p.protocol, port: p.port }).collect()
}
