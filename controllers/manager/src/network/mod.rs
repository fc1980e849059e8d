//! The network controller. On every host it keeps bridges, routes and firewall rules as the accepted
//! networks want them; where it leads, it also admits documents and gives hosts their parts.

mod execute;
mod host;
mod inputs;
mod keep;
mod leader;
mod look;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use evenkeel_api::key::Controller;
use evenkeel_api::name::HostName;
use evenkeel_engine::Engine;
use evenkeel_fabric::Fabric;
use evenkeel_metrics::Meter;
use evenkeel_runtime::disk::{DiskError, StateDir};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::leader::Leadership;
use evenkeel_runtime::store::Store;
use evenkeel_runtime::writer::Writer;

use self::keep::Keep;

/// What the network controller works with.
#[derive(Clone)]
pub struct NetworkDeps {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub env: Arc<Env>,
    /// The engine of this host.
    pub engine: Arc<dyn Engine>,
    /// The network of this host.
    pub fabric: Arc<dyn Fabric>,
    /// This host.
    pub host: HostName,
    /// Where controllers keep their state.
    pub state_dir: StateDir,
    /// Whether this host may lead.
    pub leads: bool,
    /// Where etcd is, beside the hosts: containers must not reach its ports.
    pub etcd: BTreeSet<Ipv4Addr>,
    /// What is counted with.
    pub meter: Meter,
}

/// Why the network controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Another process runs it, or the disk refuses.
    #[error("the network controller cannot keep its state")]
    Disk(#[source] DiskError),
}

/// Run for ever.
///
/// # Errors
/// It cannot start.
pub async fn run(deps: NetworkDeps) -> Result<(), NetworkError> {
    let keep = Keep::open(&deps.state_dir).map_err(NetworkError::Disk)?;
    let (store, env, host) = (deps.store.clone(), deps.env.clone(), deps.host.clone());
    // One writer for both roles: their chain guard is one key.
    let writer = Writer::new(store.clone(), env.clone(), host.clone(), Controller::Network)
        .remember(keep.last_write());
    let leadership = Leadership::start(store, env, host, Controller::Network, deps.leads);
    if deps.leads {
        deps.meter.leads(leadership.subscribe());
    }
    let leading = leader::run(deps.clone(), writer.clone(), leadership);
    let hosting = host::run(deps, writer, keep);
    tokio::join!(leading, hosting);
    Ok(())
}
