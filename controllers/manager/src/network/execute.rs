//! Doing what was planned, one step after the other.

use std::collections::BTreeMap;

use evenkeel_api::name::NetworkName;
use evenkeel_engine::{EngineError, NetworkCreate};
use evenkeel_plan::network::state::{Action, Make, Step};

use super::NetworkDeps;

/// What failed.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// A step for all networks.
    pub all: Option<String>,
    /// The first failed step of a network.
    pub of: BTreeMap<NetworkName, String>,
}

impl Failures {
    pub fn is_empty(&self) -> bool {
        self.all.is_none() && self.of.is_empty()
    }
}

/// Does the steps in order. After a failure it goes on, but for what needs the failed step: the later steps
/// of the same network, and new networks while their rules do not stand.
pub(super) async fn execute(deps: &NetworkDeps, steps: &[Step]) -> Failures {
    let mut failures = Failures::default();
    for step in steps {
        if let (Some(network), Some(why), Action::MakeNetwork(_)) =
            (&step.network, &failures.all, &step.action)
        {
            failures.of.entry(network.clone()).or_insert_with(|| why.clone());
        }
        if step.network.as_ref().is_some_and(|network| failures.of.contains_key(network)) {
            continue;
        }
        match one(deps, &step.action).await {
            Ok(()) => tracing::info!(action = %step.action, "done"),
            Err(why) => {
                tracing::warn!(action = %step.action, why, "failed");
                match &step.network {
                    Some(network) => drop(failures.of.entry(network.clone()).or_insert(why)),
                    None => drop(failures.all.get_or_insert(why)),
                }
            }
        }
    }
    failures
}

async fn one(deps: &NetworkDeps, action: &Action) -> Result<(), String> {
    match action {
        Action::Fabric(action) => deps.fabric.apply(action).await.map_err(|error| error.to_string()),
        Action::MakeNetwork(make) => {
            deps.engine.create_network(&create(make)).await.map_err(|error| error.to_string())
        }
        Action::RemoveNetwork { name } => match deps.engine.remove_network(name).await {
            Ok(()) | Err(EngineError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn create(make: &Make) -> NetworkCreate {
    NetworkCreate {
        name: make.name.clone(),
        subnet: make.pool,
        ip_range: make.range,
        gateway: make.gateway,
        bridge: make.bridge.clone(),
        // Ours does it: the engine's would also change the source of what goes to peers.
        options: [("com.docker.network.bridge.enable_ip_masquerade".to_owned(), "false".to_owned())].into(),
        labels: make.labels.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_one_network_or_of_all_is_one() {
        let why = || "no room".to_owned();
        let of = || [("lan".parse().unwrap(), why())].into();
        for (all, of, is_empty) in [
            (None, BTreeMap::new(), true),
            (Some(why()), BTreeMap::new(), false),
            (None, of(), false),
            (Some(why()), of(), false),
        ] {
            let failures = Failures { all, of };
            assert_eq!(failures.is_empty(), is_empty, "{failures:?}");
        }
    }
}
