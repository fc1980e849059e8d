//! The host's own policy: what services may do here that would give them the host. It lies on the host,
//! so that whoever may write Services cannot widen it. Nothing of it is allowed unless it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use evenkeel_api::name::{HostName, Namespace};
use evenkeel_api::service::{MountSource, NetworkMode, Template};
use serde::{Deserialize, Serialize};

/// What the policy file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostPolicy {
    /// By namespace of the service; `*` is every namespace that is not named.
    pub namespaces: BTreeMap<String, Leave>,
}

impl HostPolicy {
    /// Allows what another one does, too.
    pub fn join(&mut self, other: HostPolicy) {
        for (namespace, leave) in other.namespaces {
            self.namespaces.entry(namespace).or_default().join(leave);
        }
    }
}

/// What the services of a namespace may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leave {
    /// `privileged: true`, which is all of the below and more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// `network`, `pid`, `ipc`, `uts`, `userns`, `cgroup`: the host's own.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub host_namespaces: BTreeSet<String>,
    /// Capabilities besides those that the engine gives anyway.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<String>,
    /// Devices by their path on the host; `gpus` for those that drivers hand out.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub devices: BTreeSet<String>,
    /// Folders that may be mounted with all below them; with `:ro` read-only.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub host_paths: BTreeSet<String>,
    /// The engine's socket.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub engine_socket: bool,
    /// Security options that take the engine's confinement away.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unconfined: bool,
}

impl Leave {
    /// Allows what another one does, too.
    pub fn join(&mut self, other: Leave) {
        let Leave {
            privileged,
            host_namespaces,
            capabilities,
            devices,
            host_paths,
            engine_socket,
            unconfined,
        } = other;
        self.privileged |= privileged;
        self.host_namespaces.extend(host_namespaces);
        self.capabilities.extend(capabilities);
        self.devices.extend(devices);
        self.host_paths.extend(host_paths);
        self.engine_socket |= engine_socket;
        self.unconfined |= unconfined;
    }
}

/// The least that a template needs of its host; nothing where it asks for nothing that is not harmless.
pub fn needed(template: &Template) -> Leave {
    let mut leave = Leave::default();
    // All else is part of it.
    if template.privileged == Some(true) {
        return Leave { privileged: true, ..leave };
    }
    asked(template).into_iter().for_each(|need| need.grant(&mut leave));
    leave
}

/// What every container may have: the engine's own default.
const CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Where engines have their sockets.
const SOCKETS: [&str; 3] = ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"];

/// Why a template may not run on `host`; `None`: it may.
pub fn refusal(
    policy: &HostPolicy,
    host: &HostName,
    namespace: &Namespace,
    template: &Template,
) -> Option<String> {
    let none = Leave::default();
    let named = policy.namespaces.get(namespace.as_str());
    let leave = named.or_else(|| policy.namespaces.get("*")).unwrap_or(&none);
    if leave.privileged {
        return None;
    }
    let refused =
        asked(template).into_iter().filter(|need| !need.granted(leave)).map(|need| need.to_string());
    let refused: Vec<String> = refused.collect();
    (!refused.is_empty()).then(|| {
        format!(
            "host policy on {host} does not allow {} for namespace {namespace}; see /etc/evenkeel/policy.yaml",
            refused.join(", ")
        )
    })
}

/// The same in words, each thing by itself.
pub fn wishes(template: &Template) -> Vec<String> {
    asked(template).iter().map(Need::to_string).collect()
}

/// One thing that needs leave.
enum Need<'a> {
    Privileged,
    Namespace(&'static str),
    Capability(&'a str),
    Device(&'a str),
    Path { path: &'a str, read_only: bool },
    Socket(&'a str),
    Unconfined(&'a str),
}

impl std::fmt::Display for Need<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Need::Privileged => f.write_str("privileged"),
            Need::Namespace(name) => write!(f, "the host's {name} namespace"),
            Need::Capability(name) => write!(f, "capability {name}"),
            Need::Device(path) => write!(f, "device {path}"),
            Need::Path { path, read_only: true } => write!(f, "host path {path} (read-only)"),
            Need::Path { path, read_only: false } => write!(f, "host path {path}"),
            Need::Socket(path) => write!(f, "the engine's socket by {path}"),
            Need::Unconfined(option) => write!(f, "security_opt {option}"),
        }
    }
}

impl Need<'_> {
    fn grant(&self, leave: &mut Leave) {
        match self {
            Need::Privileged => leave.privileged = true,
            Need::Namespace(name) => drop(leave.host_namespaces.insert((*name).to_owned())),
            Need::Capability(name) => drop(leave.capabilities.insert((*name).to_owned())),
            Need::Device(path) => drop(leave.devices.insert((*path).to_owned())),
            Need::Path { path, read_only } => {
                let only = if *read_only { ":ro" } else { "" };
                leave.host_paths.insert(format!("{path}{only}"));
            }
            Need::Socket(_) => leave.engine_socket = true,
            Need::Unconfined(_) => leave.unconfined = true,
        }
    }

    fn granted(&self, leave: &Leave) -> bool {
        match self {
            Need::Privileged => leave.privileged,
            Need::Namespace(name) => leave.host_namespaces.contains(*name),
            Need::Capability(name) => leave.capabilities.contains(*name),
            Need::Device(path) => leave.devices.contains(*path),
            Need::Path { path, read_only } => leave.host_paths.iter().any(|allowed| {
                let (folder, only_read) = match allowed.strip_suffix(":ro") {
                    Some(folder) => (folder, true),
                    None => (allowed.as_str(), false),
                };
                (*read_only || !only_read) && plain(path) && Path::new(path).starts_with(folder)
            }),
            Need::Socket(_) => leave.engine_socket,
            Need::Unconfined(_) => leave.unconfined,
        }
    }
}

/// Whether a path leads nowhere but down.
fn plain(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

fn asked(template: &Template) -> Vec<Need<'_>> {
    let mut needs = Vec::new();
    if template.privileged == Some(true) {
        needs.push(Need::Privileged);
    }
    needs.extend(namespaces(template).into_iter().map(Need::Namespace));
    let beyond = template.cap_add.iter().filter(|name| !CAPABILITIES.contains(&name.as_str()));
    needs.extend(beyond.map(|name| Need::Capability(name)));
    needs.extend(template.devices.iter().map(|device| Need::Device(&device.source)));
    needs.extend(template.gpus.map(|_| Need::Device("gpus")));
    needs.extend(
        template.security_opt.iter().filter(|option| unconfined(option)).map(|o| Need::Unconfined(o)),
    );
    for mount in &template.mounts {
        let MountSource::Bind { path, .. } = &mount.source else { continue };
        if SOCKETS.contains(&path.as_str()) {
            needs.push(Need::Socket(path));
            continue;
        }
        // A folder above the socket gives the socket, also read-only.
        if SOCKETS.iter().any(|socket| Path::new(socket).starts_with(path)) {
            needs.push(Need::Socket(path));
        }
        needs.push(Need::Path { path, read_only: mount.read_only });
    }
    needs
}

fn namespaces(template: &Template) -> Vec<&'static str> {
    let host = |mode: &Option<String>| mode.as_deref() == Some("host");
    let asked = [
        ("network", template.network_mode == Some(NetworkMode::Host)),
        ("pid", template.pid.is_some()),
        ("ipc", host(&template.ipc)),
        ("userns", template.userns_mode.is_some()),
        ("cgroup", host(&template.cgroup)),
    ];
    asked.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect()
}

/// Options that make a container less confined than the engine would.
fn unconfined(option: &str) -> bool {
    let option = option.to_ascii_lowercase().replace(':', "=");
    option.ends_with("=unconfined") || option == "label=disable" || option == "no-new-privileges=false"
}
