//! What an engine has beside containers, as plain values.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_api::network::Cidr;

/// What an engine and its machine are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// The engine's version, like `26.1.5`.
    pub version: String,
    /// The API version that is spoken with it, like `1.45`.
    pub api: String,
    /// CPUs that containers can use.
    pub cpus: u64,
    /// Memory, in bytes.
    pub memory: u64,
    /// Like `linux`.
    pub os: String,
    /// As images spell it: `amd64`, `arm64`.
    pub arch: String,
    /// Whether containers outlive the engine.
    pub live_restore: bool,
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id, `sha256:…`.
    pub id: String,
    /// What registries call it: `repository@sha256:…`.
    pub digests: Vec<String>,
}

impl Image {
    /// The digest, `sha256:…`, under which the repository of `reference` has it.
    pub fn digest_for(&self, reference: &str) -> Option<String> {
        let wanted = crate::reference::Reference::parse(reference);
        self.digests
            .iter()
            .filter_map(|digest| digest.split_once('@'))
            .find(|(repository, _)| crate::reference::Reference::parse(repository).same_repository(&wanted))
            .map(|(_, digest)| digest.to_owned())
    }
}

/// Who asks a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    /// The user; empty with an identity token.
    pub username: String,
    /// The password.
    pub password: String,
    /// A token instead of both.
    pub identity_token: Option<String>,
    /// The registry's host and port.
    pub server: String,
}

impl std::fmt::Debug for RegistryAuth {
    /// Without the password: errors and logs carry this.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegistryAuth({}@{})", self.username, self.server)
    }
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A network of the engine, ours or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The engine's own id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Like `bridge`, `host`, `null`.
    pub driver: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its driver's options.
    pub options: BTreeMap<String, String>,
    /// Its IPv4 ranges.
    pub subnets: Vec<NetworkSubnet>,
    /// Its bridge device, where it has one: as asked for, or `br-` and 12 digits of its id.
    pub bridge: Option<String>,
    /// Who has which IPv4 address on it, by container id; running containers only. Filled by
    /// [`crate::Engine::network`], empty in lists.
    pub containers: BTreeMap<String, Ipv4Addr>,
}

/// One range of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkSubnet {
    /// The range.
    pub subnet: Cidr,
    /// What the engine picks from.
    pub ip_range: Option<Cidr>,
    /// The gateway.
    pub gateway: Option<Ipv4Addr>,
}

/// A bridge network to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkCreate {
    /// Its name.
    pub name: String,
    /// The whole pool.
    pub subnet: Cidr,
    /// What the engine picks from.
    pub ip_range: Cidr,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// The bridge device's name, at most 15 characters.
    pub bridge: String,
    /// Further options of the bridge driver.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What a command in a container did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code.
    pub code: i64,
    /// The first [`EXEC_OUTPUT`] bytes of what it wrote, both streams.
    pub output: String,
}

/// Bytes of a command's output that are kept.
pub const EXEC_OUTPUT: usize = 4096;

/// Something happened: look again. Never a fact to act upon by itself, but for the `die` of a container
/// that is known: starting one that runs already does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// `container`, `network`, `volume`, `daemon` and so on.
    pub kind: String,
    /// `die`, `start`, `destroy`, `health_status: healthy` and so on.
    pub action: String,
    /// The engine's id of what it happened to.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Labels and further attributes, like `exitCode`.
    pub attributes: BTreeMap<String, String>,
}

/// Deadlines of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For calls that only read.
    pub read: Duration,
    /// For calls that change something; stops have their grace on top.
    pub write: Duration,
    /// For one pull as a whole.
    pub pull: Duration,
    /// For a pull that shows no progress.
    pub pull_silence: Duration,
}

impl Default for Deadlines {
    /// Long enough for a busy engine on a slow disk, short enough to be noticed.
    fn default() -> Self {
        Self {
            read: Duration::from_secs(10),
            write: Duration::from_secs(60),
            pull: Duration::from_secs(3600),
            pull_silence: Duration::from_secs(120),
        }
    }
}
