//! The host controller: keeps `alive/<h>` under this host's lease, and says what the machine is.
//!
//! Two loops that share a disk and nothing else, so that a slow engine never costs a host its lease:
//! [`heart`] renews and registers, [`card`] observes the machine and writes its facts.

mod card;
mod heart;
pub mod machine;
mod memory;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::name::HostName;
use evenkeel_api::record::ALIVE_TTL;
use evenkeel_engine::Engine;
use evenkeel_metrics::Meter;
use evenkeel_runtime::disk::{DiskError, Siblings, StateDir};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use evenkeel_runtime::writer::Writer;

use self::machine::Machine;
use self::memory::Memory;

/// What the host controller works with.
#[derive(Clone)]
pub struct HostDeps {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The store by a connection of its own, for the lease alone: nothing may queue in front of it.
    pub lease_store: Arc<dyn Store>,
    /// Time and chance.
    pub env: Arc<Env>,
    /// The engine of this host.
    pub engine: Arc<dyn Engine>,
    /// The kernel of this host.
    pub machine: Arc<dyn Machine>,
    /// This host.
    pub host: HostName,
    /// Where controllers keep their state.
    pub state_dir: StateDir,
    /// What is set from outside.
    pub settings: HostSettings,
    /// What is counted with.
    pub meter: Meter,
}

/// What is set from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// Where the other hosts reach this one.
    pub address: Ipv4Addr,
    /// Changes with every boot of the machine: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The version of the controllers.
    pub version: String,
    /// The port at which people reach its copies, if they do.
    pub sessions: Option<u16>,
    /// The generation of its users at etcd.
    pub generation: u32,
    /// How long after its last renewal the host counts as gone.
    pub lease_ttl: Duration,
    /// How often the lease is renewed.
    pub renew_every: Duration,
    /// How often the machine is looked at anew, if nothing else wakes us.
    pub observe_every: Duration,
}

impl HostSettings {
    /// The usual times: a lease of 2 s, renewed each 0.7 s, so that it outlives one lost renewal and the
    /// next try at another member.
    pub fn new(address: Ipv4Addr, boot_id: String, version: String) -> Self {
        Self {
            address,
            boot_id,
            version,
            sessions: None,
            generation: 0,
            lease_ttl: ALIVE_TTL,
            renew_every: Duration::from_millis(700),
            observe_every: Duration::from_secs(15),
        }
    }
}

/// Why the host controller gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state on disk cannot be kept.
    #[error("the host controller cannot keep its state")]
    Disk(#[source] DiskError),
    /// Another machine is registered under this host's name, and is alive.
    #[error(
        "host name {host} is taken: another machine (boot {boot_id}) is alive under it. \
         Give one of the two another name (EVENKEEL_HOST)"
    )]
    NameTaken {
        /// The name.
        host: HostName,
        /// The boot id of the machine that has it.
        boot_id: String,
    },
}

/// Keep this host registered and described; ends only with an error.
///
/// # Errors
/// See [`Error`].
pub async fn run(deps: HostDeps) -> Result<(), Error> {
    let memory = Arc::new(Memory::open(&deps.state_dir).map_err(Error::Disk)?);
    let own = [
        Key::Alive(deps.host.clone()),
        Key::Cluster,
        Key::Document(object(&deps.host)),
        Key::Facts(deps.host.clone()),
    ];
    let mirror = Mirror::start(deps.store.clone(), own.iter().map(Key::to_string).collect());
    let writer = Writer::new(deps.store.clone(), deps.env.clone(), deps.host.clone(), Controller::Host)
        .remember(memory.last_write());
    let siblings = Siblings::new(&deps.state_dir);
    let heart = heart::Heart::new(&deps, memory.clone(), writer.clone(), mirror.subscribe());
    let card = card::Card::new(&deps, memory, writer, mirror, siblings);
    tokio::select! {
        biased;
        // Neither is cancelled but when the other has failed, and then the process starts anew.
        error = heart.run() => Err(error),
        error = card.run() => Err(error),
    }
}

/// This host as an object.
fn object(host: &HostName) -> evenkeel_api::meta::ObjectRef {
    evenkeel_api::meta::ObjectRef::Host(host.clone())
}
