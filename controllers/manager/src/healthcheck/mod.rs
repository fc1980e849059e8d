//! The healthcheck controller: asks the copies of this host for their health, and, where it leads, accepts
//! HealthCheck documents.

mod leader;
mod local;
mod report;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;

use evenkeel_api::key::{Controller, prefix};
use evenkeel_api::meta::Kind;
use evenkeel_api::name::HostName;
use evenkeel_metrics::Meter;
use evenkeel_probe::Probe;
use evenkeel_runtime::disk::{DiskError, StateDir, StateFile};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::leader::Leadership;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use evenkeel_runtime::writer::Writer;
use tokio::sync::watch;

/// What the healthcheck controller works with.
#[derive(Clone)]
pub struct HealthcheckDeps {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub env: Arc<Env>,
    /// This host.
    pub host: HostName,
    /// Where controllers keep their state.
    pub state_dir: StateDir,
    /// How copies are asked.
    pub probe: Arc<dyn Probe>,
    /// Whether this process may lead.
    pub may_lead: bool,
    /// What is counted with.
    pub meter: Meter,
}

/// Why the healthcheck controller gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state on disk cannot be kept.
    #[error("the healthcheck controller cannot keep its state")]
    Disk(#[source] DiskError),
}

/// Ask, judge and tell; ends only with an error.
///
/// # Errors
/// The controller already runs on this host, or the disk refuses.
pub async fn run(deps: HealthcheckDeps) -> Result<(), Error> {
    let file = StateFile::open(&deps.state_dir, Controller::Healthcheck).map_err(Error::Disk)?;
    let HealthcheckDeps { store, env, host, may_lead, .. } = deps.clone();
    let writer = Writer::new(store.clone(), env.clone(), host.clone(), Controller::Healthcheck)
        .remember(file.beside("writer"));
    let own = vec![prefix::accepted(Kind::HealthCheck), prefix::health_on(&host)];
    let mirror = Mirror::start(store.clone(), own);
    let leadership = Leadership::start(store, env, host, Controller::Healthcheck, may_lead);
    if may_lead {
        deps.meter.leads(leadership.subscribe());
    }
    let (tell, told) = watch::channel(None);
    let never: Infallible = tokio::select! {
        biased;
        // None of them ever ends.
        never = local::Local::new(&deps, file, mirror.clone(), writer.clone(), tell).run() => never,
        never = report::Reporter::new(&deps, mirror, writer.clone(), told).run() => never,
        never = leader::Leader::new(&deps, writer, leadership).run() => never,
    };
    match never {}
}
