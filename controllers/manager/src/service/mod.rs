//! The service controller: where it leads, it admits documents of services and hosts, places copies,
//! exchanges and replaces them, and tells names and people how things are. Elsewhere it stands by.

mod archive;
mod cache;
mod execute;
mod reign;
mod tally;
#[cfg(test)]
mod tests;
mod versions;

use std::sync::Arc;

use evenkeel_api::key::Controller;
use evenkeel_api::name::HostName;
use evenkeel_metrics::Meter;
use evenkeel_plan::service::World;
use evenkeel_runtime::disk::{DiskError, StateDir, StateFile};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::leader::Leadership;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use evenkeel_runtime::writer::{LastWrite, Writer};
use serde::{Deserialize, Serialize};

/// What the service controller works with.
#[derive(Clone)]
pub struct ServiceDeps {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub env: Arc<Env>,
    /// This host.
    pub host: HostName,
    /// Where controllers keep their state.
    pub state_dir: StateDir,
    /// Whether this host may lead.
    pub leads: bool,
    /// Exclusive services also on an etcd whose reads may be stale.
    pub exclusive_any_etcd: bool,
    /// What is counted with.
    pub meter: Meter,
}

/// Why the service controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Another process runs it, or the disk refuses.
    #[error("the service controller cannot keep its state")]
    Disk(#[source] DiskError),
}

/// The controller has no state of its own: all that it remembers is in the store. The file is its lock, and
/// stands beside the record of its last write.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Nothing {}

/// The parts of the store that [`world`] is made from.
pub fn prefixes() -> Vec<String> {
    cache::prefixes()
}

/// The cluster as the leader sees it: for whoever wants to know what it would do.
pub fn world(mirror: &Mirror) -> World {
    cache::Cache::load(mirror).world
}

/// Run for ever: idle while another leads.
///
/// # Errors
/// It cannot start.
pub async fn run(deps: ServiceDeps) -> Result<(), ServiceError> {
    let file =
        StateFile::<Nothing>::open(&deps.state_dir, Controller::Service).map_err(ServiceError::Disk)?;
    if !deps.leads {
        std::future::pending::<()>().await;
    }
    let last: StateFile<LastWrite> = file.beside("writer");
    let (store, env, host) = (deps.store.clone(), deps.env.clone(), deps.host.clone());
    let writer = Writer::new(store.clone(), env.clone(), host.clone(), Controller::Service).remember(last);
    let leadership = Leadership::start(store.clone(), env.clone(), host, Controller::Service, true);
    deps.meter.leads(leadership.subscribe());
    // A standby watches too: when its turn comes, it knows the cluster already.
    let mirror = Mirror::start(store.clone(), cache::prefixes());
    let archive = Arc::new(file.beside("archive"));
    let fitness = || versions::Fitness::start(deps.store.clone(), deps.exclusive_any_etcd);
    let archive = archive::run(store, deps.host.clone(), writer.clone(), mirror.clone(), archive);
    tokio::select! { biased;
        // Neither ever ends.
        () = archive => {}
        () = lead(&deps.meter, &env, &writer, &mirror, &leadership, fitness) => {}
    }
    Ok(())
}

/// Reign whenever we lead. Runs for ever.
async fn lead(
    meter: &Meter,
    env: &Arc<Env>,
    writer: &Writer,
    mirror: &Mirror,
    leadership: &Leadership,
    fitness: impl Fn() -> versions::Fitness,
) {
    let mut changes = leadership.subscribe();
    loop {
        let Some(lead) = leadership.current() else {
            changes.changed().await;
            continue;
        };
        tracing::info!(revision = lead.mod_revision, "leading");
        let reign = reign::Reign::new(env.clone(), writer.clone(), mirror.clone(), lead, fitness());
        let reign = reign.measured(meter.clone());
        tokio::select! { biased;
            () = changes.changed() => tracing::info!("not leading any more"),
            () = reign.run() => {}
        }
        // Another one tells of the cluster now: two who do would count all of it twice.
        meter.cluster(None);
    }
}
