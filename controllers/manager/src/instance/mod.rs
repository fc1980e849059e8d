//! The instance controller: keeps the containers of one host as their records want them, whether the store
//! answers or not.
//!
//! All that it knows is held by one task ([`driver`]); calls of the engine, pulls and writes run beside it
//! and report back. An instance has at most one call under way. What it wants of whom:
//!
//! - records, templates and pins from the store; from the disk while the store has never answered;
//! - this host's part of each network from the network controller's file;
//! - that something may be stopped or removed, from a guarded transaction just before.

mod driver;
mod events;
mod exec;
mod execute;
mod files;
mod guards;
mod pulls;
mod report;
mod sessions;
mod slot;
#[cfg(test)]
mod tests;
mod world;

use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_api::name::HostName;
use evenkeel_engine::Engine;
use evenkeel_runtime::disk::{DiskError, StateDir};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::store::Store;

pub use sessions::Sessions;

/// What the controller is made of.
#[derive(Clone)]
pub struct InstanceDeps {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub env: Arc<Env>,
    /// This host's engine.
    pub engine: Arc<dyn Engine>,
    /// This host.
    pub host: HostName,
    /// Where controllers keep their state; the same path on the host as in here, as resolver files are
    /// mounted from it.
    pub state_dir: StateDir,
    /// The host's policy; need not exist.
    pub policy: PathBuf,
    /// Registry credentials, a docker `config.json`; need not exist.
    pub registry_auth: PathBuf,
    /// How people reach the copies of this host; `None`: not at all.
    pub sessions: Option<Sessions>,
}

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its state cannot be kept.
    #[error("the instance controller cannot keep its state")]
    Disk(#[source] DiskError),
    /// No thread can be had for sessions.
    #[error("no thread for sessions")]
    Sessions(#[source] std::io::Error),
    /// The channel of the checks cannot be opened.
    #[error("cannot listen on {path}")]
    Exec {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Runs the controller; does not return in normal life. When it is dropped, containers run on.
///
/// # Errors
/// See [`Error`].
pub async fn run(deps: InstanceDeps) -> Result<(), Error> {
    driver::Driver::start(deps).await?.run().await
}
