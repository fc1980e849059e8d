//! Containers as a plan sees them: what an engine is asked to make, and what it says that there is.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use evenkeel_api::local::Guard;
use evenkeel_api::name::{InstanceId, TemplateRef};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{HostPort, Timestamp, Verdict};
use evenkeel_api::service::{EngineCheck, Limits, Protocol, Template};
use serde::{Deserialize, Serialize};

/// The labels on all that is ours.
pub mod label {
    /// The cluster's uid. What lacks it is not ours and is never touched.
    pub const CLUSTER: &str = "evenkeel.cluster";
    /// The namespace.
    pub const NAMESPACE: &str = "evenkeel.namespace";
    /// The service's name in its namespace.
    pub const SERVICE: &str = "evenkeel.service";
    /// The instance id.
    pub const INSTANCE: &str = "evenkeel.instance";
    /// The template, `namespace/name@revision`.
    pub const TEMPLATE: &str = "evenkeel.template";
    /// On exclusive copies: how long after the last proof of life they end.
    pub const EXCLUSIVE: &str = "evenkeel.exclusive";
    /// On volumes: the name in its namespace.
    pub const VOLUME: &str = "evenkeel.volume";
}

/// A container as the engine reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// The engine's own id.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// The image's reference that it was made from.
    pub image: String,
    /// The image's id, `sha256:…`.
    pub image_id: String,
    /// How it is.
    pub state: ContainerState,
    /// When its newest run began.
    pub started: Option<Timestamp>,
    /// When its newest run ended.
    pub finished: Option<Timestamp>,
    /// What the engine's own check says, where there is one.
    pub health: Option<Verdict>,
    /// Its address on each engine network, whether it runs or not, as far as it is fixed.
    pub addresses: BTreeMap<String, Ipv4Addr>,
    /// Its ports on the host; empty while it does not run.
    pub ports: Vec<HostPort>,
    /// The limits in force.
    pub limits: Limits,
    /// PID 1 of it, as the host counts; while it runs.
    pub pid: Option<u32>,
}

impl Container {
    /// The instance that its labels name, if they do.
    pub fn instance(&self) -> Option<InstanceId> {
        self.labels.get(label::INSTANCE)?.parse().ok()
    }

    /// How the watchdog guards it, if it is an exclusive copy's. Its label says so, not its record: what was
    /// made so stays guarded until it is gone, whatever becomes of the record.
    pub fn guard(&self) -> Option<Guard> {
        let stop_after = self.labels.get(label::EXCLUSIVE)?.parse().ok()?;
        Some(Guard { instance: self.instance()?, stop_after })
    }

    /// The template that its labels name, if they do.
    pub fn template(&self) -> Option<TemplateRef> {
        self.labels.get(label::TEMPLATE)?.parse().ok()
    }
}

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// It runs.
    Running,
    /// A person stopped its processes.
    Paused,
    /// It ended.
    Exited {
        /// The exit code.
        code: i64,
        /// The kernel killed it for memory.
        oom: bool,
    },
    /// The engine is at work on it, or could not say how it is in time.
    Changing,
    /// The engine could not remove it.
    Dead,
}

/// What an engine is asked to make: a template, and all that had to be found out for this copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The container's name: the instance id.
    pub name: String,
    /// The image to run: the reference, or one by digest.
    pub image: String,
    /// All labels: the template's and ours.
    pub labels: BTreeMap<String, String>,
    /// What is taken as it is: environment, command, rights, namespaces and so on. Its image, labels,
    /// networks, ports, mounts, names and resolver settings are not read: those are below.
    pub template: Template,
    /// The limits to begin with.
    pub limits: Limits,
    /// Where its network is.
    pub network: NetworkChoice,
    /// The ports on the host; `None`: the engine picks the host's.
    pub ports: Vec<PortBinding>,
    /// What is mounted.
    pub mounts: Vec<MountSpec>,
    /// Resolvers; empty: the engine's own choice.
    pub dns: Vec<Ipv4Addr>,
    /// Search domains; empty: the engine's own choice.
    pub dns_search: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
    /// How long a stop by others (a person, the engine's end) may take.
    pub stop_grace: Span,
    /// The engine's own check.
    pub healthcheck: Option<EngineCheck>,
}

/// Where a container's network is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkChoice {
    /// The host's own.
    Host,
    /// Nowhere.
    None,
    /// On these engine networks; at least one, the first is given at the making.
    Attached(Vec<NetworkAttachment>),
}

/// A place on an engine network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachment {
    /// The engine's name of the network.
    pub network: String,
    /// The address.
    pub address: Ipv4Addr,
    /// Names for the engine's own resolver.
    pub aliases: Vec<String>,
}

/// A port on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// The host's address; `None`: all.
    pub address: Option<Ipv4Addr>,
    /// The port there; `None`: the engine picks one.
    pub port: Option<u16>,
    /// The port in the container.
    pub target: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// One thing that is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Where in the container.
    pub target: String,
    /// Not writable.
    pub read_only: bool,
    /// What.
    pub what: MountWhat,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountWhat {
    /// A volume of the engine, by its name; `None`: one that ends with the container.
    Volume {
        /// Its name.
        name: Option<String>,
        /// Do not copy the image's files into a new one.
        nocopy: bool,
    },
    /// A path of the host.
    Bind {
        /// The path.
        path: String,
        /// How mounts below it spread.
        propagation: Option<String>,
        /// SELinux relabelling, `z` or `Z`.
        selinux: Option<String>,
        /// Make the directory where it is missing; otherwise a missing path is an error.
        create: bool,
    },
    /// Memory, with mount options like `size=64m,noexec`.
    Tmpfs {
        /// The options.
        options: String,
    },
}
