//! A Service as people may write it: every form of Compose. The JSON Schema is made from these types, and
//! `lower` brings them to the one form that controllers see.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::name::ObjectName;
use crate::quantity::{Bytes, MilliCpus, Span};
use crate::service::{EndpointsPolicy, HostNamespace, NetworkMode, PullPolicy};

pub(crate) mod deploy;
pub(crate) mod forms;
pub(crate) mod mounts;
pub(crate) mod named;
pub(crate) mod ports;
pub(crate) mod small;
pub(crate) mod words;

use deploy::Deploy;
use forms::{Environment, OneOrMany, Pairs, Scalar, Words};
use mounts::{MountEntry, TmpfsEntries};
use named::{DependsOn, ExtraHosts, Networks};
use ports::PortEntry;
use small::{Check, DeviceEntry, Gpus, Logging, Restart, UlimitEntry};

/// What people want of one service, in Compose's words.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ServiceSpec")]
pub(crate) struct Service {
    /// The image's reference.
    pub image: String,
    /// When the registry is asked for the image.
    #[serde(default)]
    #[schemars(schema_with = "pull_policy")]
    pub pull_policy: Option<PullPolicy>,
    /// `os/arch[/variant]`: what to pull, and a constraint on the host.
    pub platform: Option<String>,
    /// The command; absent: the image's.
    pub command: Option<Words>,
    /// The entrypoint; written, it clears the image's command.
    pub entrypoint: Option<Words>,
    /// Environment variables. Every name needs a value: there is no shell to take it from.
    pub environment: Option<Environment>,
    /// Labels on the containers.
    pub labels: Option<Pairs>,
    /// The networks; absent: the Network named `default`.
    pub networks: Option<Networks>,
    /// Instead of networks: `host` or `none`.
    pub network_mode: Option<NetworkMode>,
    /// Ports that the service names or publishes.
    pub ports: Option<Vec<PortEntry>>,
    /// Volumes and paths of the host that are mounted.
    pub volumes: Option<Vec<MountEntry>>,
    /// Memory that is mounted, as `path` or `path:options`.
    pub tmpfs: Option<TmpfsEntries>,
    /// The engine's own health check, run in the container.
    pub healthcheck: Option<Check>,
    /// A further name of the service in its namespace; containers have names of evenkeel's own.
    pub container_name: Option<ObjectName>,
    /// The host name inside the container.
    pub hostname: Option<String>,
    /// The domain name inside the container.
    pub domainname: Option<String>,
    /// `user[:group]`, names or numbers.
    pub user: Option<Scalar>,
    /// Further groups, names or numbers.
    pub group_add: Option<Vec<Scalar>>,
    /// The working directory, an absolute path.
    pub working_dir: Option<String>,
    /// A root file system that cannot be written.
    pub read_only: Option<bool>,
    /// All rights on the host; needs the host policy's leave.
    pub privileged: Option<bool>,
    /// Capabilities to add.
    pub cap_add: Option<Vec<String>>,
    /// Capabilities to drop.
    pub cap_drop: Option<Vec<String>>,
    /// Devices of the host; need the host policy's leave.
    pub devices: Option<Vec<DeviceEntry>>,
    /// GPUs: `all` or a number.
    pub gpus: Option<Gpus>,
    /// Security options, like `no-new-privileges:true`.
    pub security_opt: Option<Vec<String>>,
    /// Kernel parameters of the container.
    pub sysctls: Option<Pairs>,
    /// Limits of processes, one number or soft and hard.
    pub ulimits: Option<BTreeMap<String, UlimitEntry>>,
    /// The size of `/dev/shm`.
    pub shm_size: Option<Bytes>,
    /// A small init as PID 1.
    pub init: Option<bool>,
    /// A terminal.
    pub tty: Option<bool>,
    /// An open standard input.
    pub stdin_open: Option<bool>,
    /// The signal that asks the container to stop.
    pub stop_signal: Option<String>,
    /// How long a container may take to stop before it is killed; 10s when absent.
    pub stop_grace_period: Option<Span>,
    /// Where the container's output goes.
    pub logging: Option<Logging>,
    /// Resolvers instead of evenkeel's, which alone know the services' names.
    pub dns: Option<OneOrMany>,
    /// Search domains instead of evenkeel's; an empty text: none.
    pub dns_search: Option<OneOrMany>,
    /// Resolver options instead of evenkeel's.
    pub dns_opt: Option<Vec<String>>,
    /// Further lines of `/etc/hosts`.
    pub extra_hosts: Option<ExtraHosts>,
    /// `host`: the host's process namespace; needs the host policy's leave.
    pub pid: Option<HostNamespace>,
    /// `host`, `private`, `shareable` or `none`.
    pub ipc: Option<String>,
    /// `host`: the host's user namespace; needs the host policy's leave.
    pub userns_mode: Option<HostNamespace>,
    /// `host` or `private`.
    pub cgroup: Option<String>,
    /// The engine's runtime.
    pub runtime: Option<String>,
    /// Storage driver options.
    pub storage_opt: Option<BTreeMap<String, Scalar>>,
    /// How willingly the kernel kills it when memory runs out: -1000 to 1000.
    #[schemars(range(min = -1000, max = 1000))]
    pub oom_score_adj: Option<i64>,
    /// Never kill it when memory runs out.
    pub oom_kill_disable: Option<bool>,
    /// CPUs that it may run on, like `0-1`.
    pub cpuset: Option<String>,
    /// Annotations for the runtime.
    pub annotations: Option<Pairs>,
    /// `always`, `unless-stopped`, `on-failure[:attempts]` or `"no"`; or write `deploy.restart_policy`.
    pub restart: Option<Restart>,
    /// The same as `deploy.replicas`.
    pub scale: Option<u32>,
    /// The same as `deploy.resources.limits.memory`.
    pub mem_limit: Option<Bytes>,
    /// As `deploy.resources.reservations.memory`; the kernel is told too.
    pub mem_reservation: Option<Bytes>,
    /// Memory and swap together; -1: no limit.
    pub memswap_limit: Option<Scalar>,
    /// The same as `deploy.resources.limits.pids`.
    pub pids_limit: Option<i64>,
    /// The same as `deploy.resources.limits.cpus`.
    pub cpus: Option<MilliCpus>,
    /// The weight of its CPU share; the engine's default is 1024.
    pub cpu_shares: Option<i64>,
    /// Services that must be there before the first start of a copy.
    pub depends_on: Option<DependsOn>,
    /// What the service's names give when no copy is ready.
    pub endpoints_policy: Option<EndpointsPolicy>,
    /// How many copies, where, and how they are exchanged.
    pub deploy: Option<Deploy>,
}

/// With the other name that Compose has for one of them.
fn pull_policy(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ["always", "missing", "if_not_present", "never", null]})
}
