//! A Service as controllers see it: parsed, every Compose form brought to one, and *undefaulted*: what the
//! user left out is absent here, so that a new default in a new binary changes no template.
//!
//! The forms that people may write are in [`crate::text`]; the defaults are in [`crate::service::defaults`].

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::name::{HostName, NetworkName, ObjectName};
use crate::quantity::{Bytes, MilliCpus, Span};

pub mod defaults;
mod deploy;
mod mounts;
mod ports;

pub use deploy::{
    Attribute, Constraint, Deploy, Disconnect, FailureAction, Mode, Placement, Reservations,
    RestartCondition, RestartPolicy, UpdateConfig, UpdateOrder,
};
pub use mounts::{Mount, MountSource};
pub use ports::{Port, Protocol, Published};

/// What people want of one service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceSpec {
    /// How each copy looks; a change here means new copies.
    pub template: Template,
    /// What may change under a running copy.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// How many copies, where, and how they are exchanged; no change here touches a running copy.
    pub deploy: Deploy,
    /// Services that must be there before the first start of a copy. Gates the first start only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub depends_on: BTreeMap<ObjectName, Dependency>,
    /// What the service's names give when no copy is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints_policy: Option<EndpointsPolicy>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What the container of a copy is made from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Template {
    /// The image's reference, as written.
    pub image: String,
    /// When to ask the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// `os/arch[/variant]`: what to pull, and a constraint on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The words of the command; an absent one is the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The words of the entrypoint; written, it clears the image's command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Labels on the container, beside evenkeel's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The networks, with further names on each. Empty: the Network named `default`, unless `network_mode`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<NetworkName, Attachment>,
    /// Instead of networks: the host's own network, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<NetworkMode>,
    /// Ports that the service names or publishes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// What is mounted, tmpfs included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// The engine's own health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<EngineCheck>,
    /// A further name of the service in its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<ObjectName>,
    /// The container's host name; absent: the engine's own choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The container's domain name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// `user[:group]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Further groups, names or numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// The working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// A root file system that cannot be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// All rights on the host; needs the host policy's leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// Capabilities to add, upper case, without `CAP_`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Capabilities to drop, upper case, without `CAP_`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// Devices of the host; needs the host policy's leave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// GPUs wanted: a count, -1 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<i64>,
    /// Security options, as the engine takes them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Resource limits of processes, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// The size of `/dev/shm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<Bytes>,
    /// A small init as PID 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// A terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// An open standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin_open: Option<bool>,
    /// The signal that asks the container to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How long a container may take to stop before it is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Span>,
    /// Where the container's output goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// Resolvers instead of evenkeel's; empty: evenkeel's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<Ipv4Addr>,
    /// Search domains instead of evenkeel's; `Some([])`: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_search: Option<Vec<String>>,
    /// Resolver options instead of evenkeel's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_opt: Vec<String>,
    /// Further lines of `/etc/hosts`: `name:address`, the address may be `host-gateway`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    /// The host's process namespace; needs the host policy's leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<HostNamespace>,
    /// The host's IPC namespace, or a kind that the engine knows (`private`, `shareable`, `none`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc: Option<String>,
    /// The host's user namespace; needs the host policy's leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userns_mode: Option<HostNamespace>,
    /// `host` or `private`; host needs the host policy's leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The runtime that the engine shall use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Storage driver options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_opt: BTreeMap<String, String>,
    /// How willingly the kernel kills it when memory runs out: -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i64>,
    /// Never kill it when memory runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kill_disable: Option<bool>,
    /// CPUs that it may run on, like `0-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// Annotations for the runtime.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Never two copies of a slot. Of the template, as a copy is guarded from its making on or never.
    #[serde(skip_serializing_if = "is_default")]
    pub exclusive: bool,
}

/// Limits that the engine can change while a container runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<MilliCpus>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<i64>,
    /// Memory that the kernel tries to leave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<Bytes>,
    /// Memory and swap together, in bytes; -1: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    /// Weight of its CPU share; the engine's default is 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<i64>,
}

/// When the registry is asked for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// For every new copy.
    Always,
    /// Where the host does not have it; Compose also calls it `if_not_present`.
    #[serde(alias = "if_not_present")]
    Missing,
    /// Never; the host must have it.
    Never,
}

/// Further names of a service on one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attachment {
    /// The names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<ObjectName>,
}

/// Instead of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// The host's own network; needs the host policy's leave.
    Host,
    /// No network at all.
    None,
}

/// A namespace of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostNamespace {
    /// The host's own.
    Host,
}

/// The engine's own health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineCheck {
    /// `[CMD, …]`, `[CMD-SHELL, line]` or `[NONE]`.
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// Time for one check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Failures before unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Time after the start in which failures do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Span>,
    /// Time between checks until the first pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<Span>,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// On the host.
    pub source: String,
    /// In the container.
    pub target: String,
    /// Of `rwm`.
    pub permissions: String,
}

/// A limit on processes; -1 is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// What holds now.
    pub soft: i64,
    /// What it may be raised to.
    pub hard: i64,
}

/// Where output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// The engine's log driver; absent: the engine's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Its options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// One service that must be there first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// How far it must be.
    pub condition: DependencyCondition,
    /// `false`: start also where the other service does not exist.
    #[serde(default = "yes")]
    pub required: bool,
}

fn yes() -> bool {
    true
}

/// How far a service must be before another starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DependencyCondition {
    /// A copy runs.
    ServiceStarted,
    /// A copy is ready.
    ServiceHealthy,
}

/// What names give when no copy is ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointsPolicy {
    /// All running copies.
    #[default]
    LastResort,
    /// Nothing.
    Empty,
}

impl ServiceSpec {
    /// The slot for a copy on `host`, in global mode.
    pub fn global_slot(&self, host: &HostName) -> Option<crate::name::Slot> {
        (self.deploy.mode == Some(Mode::Global)).then(|| host.into())
    }

    /// The named volumes that copies mount.
    pub fn volumes(&self) -> impl Iterator<Item = &ObjectName> {
        self.template.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name, .. } => Some(name),
            _ => None,
        })
    }
}
