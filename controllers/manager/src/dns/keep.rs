//! What survives a restart: the last inputs of the zone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::record::Cluster;
use evenkeel_plan::dns::World;
use evenkeel_runtime::disk::StateFile;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// `dns/state.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// The cluster that the rest is of; none: nothing was learnt yet.
    pub(super) cluster: Option<Cluster>,
    /// What the store said last.
    pub(super) world: World,
}

/// Between two saves. What is lost with a crash within it is read from the store again, or was a second
/// newer at most.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// Saves the newest state, off the thread that serves names: a slow disk delays no answer.
pub(super) async fn run(file: StateFile<State>, mut told: watch::Receiver<Arc<State>>) -> Infallible {
    let file = Arc::new(file);
    loop {
        if told.changed().await.is_err() {
            // Nobody tells any more: this controller ends.
            std::future::pending::<()>().await;
        }
        let state = told.borrow_and_update().clone();
        if let Err(error) = file.save_aside(state).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the zone is not kept");
        }
    }
}
