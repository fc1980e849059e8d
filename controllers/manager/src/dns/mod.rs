//! The dns controller: keeps this host's name server answering from the newest zone, whatever else stands
//! still.

mod driver;
mod keep;
mod listen;
mod observe;
mod report;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::name::HostName;
use evenkeel_metrics::Meter;
use evenkeel_names::forward::Forwarder;
use evenkeel_names::handover::Sockets;
use evenkeel_runtime::disk::{DiskError, StateDir, StateFile};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use evenkeel_runtime::writer::Writer;
use tokio::sync::watch;

/// The port that name servers have.
pub const PORT: u16 = 53;

/// What the dns controller works with.
pub struct DnsDeps {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub env: Arc<Env>,
    /// This host.
    pub host: HostName,
    /// Where controllers keep their state.
    pub state_dir: StateDir,
    /// The host's resolvers, in the form of `resolv.conf`.
    pub resolv: PathBuf,
    /// Where listening sockets come from.
    pub sockets: Sockets,
    /// The port to listen on: [`PORT`], but for tests.
    pub port: u16,
    /// Further addresses to listen on, beside the host's own on its networks.
    pub listen: Vec<Ipv4Addr>,
    /// What is counted with.
    pub meter: Meter,
}

/// Why the dns controller gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state on disk cannot be kept.
    #[error("the dns controller cannot keep its state")]
    Disk(#[source] DiskError),
}

/// Serve names; ends only with an error.
///
/// # Errors
/// The controller already runs on this host, or its state cannot be opened.
pub async fn run(deps: DnsDeps) -> Result<(), Error> {
    let file = StateFile::open(&deps.state_dir, Controller::Dns).map_err(Error::Disk)?;
    let (store, env, host) = (deps.store.clone(), deps.env.clone(), deps.host.clone());
    let writer =
        Writer::new(store.clone(), env, host.clone(), Controller::Dns).remember(file.beside("writer"));
    let reports = Mirror::start(store, vec![Key::DnsReport(host.clone()).to_string()]);
    let kept = file.load().unwrap_or_default();
    let forwarder = Forwarder::new();
    let (own, owned) = watch::channel(Default::default());
    let (state, stated) = watch::channel(Arc::new(kept));
    let (serve, served) = watch::channel(None);
    let resolv = evenkeel_names::resolv::File::new(deps.resolv.clone());
    let driver = driver::Driver::new(deps, forwarder.clone(), driver::Told { own, state, serve });
    let never: Infallible = tokio::select! {
        biased;
        // None of them ever ends.
        never = driver.run() => never,
        never = report::run(host, writer, reports, served) => never,
        never = keep::run(file, stated) => never,
        never = listen::resolvers(resolv, forwarder, owned) => never,
    };
    match never {}
}
