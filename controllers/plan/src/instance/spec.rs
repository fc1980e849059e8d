//! From a template to the container of one copy.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use evenkeel_api::local::LocalNetwork;
use evenkeel_api::name::{HostName, InstanceId, Namespace, NetworkName, ObjectName, TemplateRef};
use evenkeel_api::record::{Address, Fence};
use evenkeel_api::service::{Limits, MountSource, NetworkMode, Port, ServiceSpec, Template};

use super::container::{
    ContainerSpec, MountSpec, MountWhat, NetworkAttachment, NetworkChoice, PortBinding, label,
};
use super::resolv;

/// All that makes the container of one copy.
#[derive(Debug, Clone, Copy)]
pub struct Making<'a> {
    /// The cluster's uid.
    pub uid: &'a str,
    /// This host.
    pub host: &'a HostName,
    /// The copy.
    pub id: &'a InstanceId,
    /// Its template's number and text.
    pub reference: &'a TemplateRef,
    /// Its template.
    pub template: &'a Template,
    /// The newest accepted service: what may change under a running copy comes from there.
    pub accepted: Option<&'a ServiceSpec>,
    /// The image to run: the reference, or one by digest.
    pub image: &'a str,
    /// Its addresses, from the book.
    pub addresses: &'a BTreeMap<NetworkName, Ipv4Addr>,
    /// The networks that stand here.
    pub networks: &'a BTreeMap<NetworkName, LocalNetwork>,
    /// The host's own addresses.
    pub own: &'a [Address],
    /// The resolver file of this copy, on the host.
    pub resolv: &'a str,
    /// What it is guarded by, if it is exclusive, and the file on the host that tells it its token.
    pub fence: Option<(Fence, &'a str)>,
}

/// Where an exclusive copy finds its fence token.
pub const FENCE_FILE: &str = "/run/evenkeel/fence";
/// The environment variable that says so.
pub const FENCE_VARIABLE: &str = "EVENKEEL_FENCE";

/// The limits in force: the newest.
pub fn limits(accepted: Option<&ServiceSpec>) -> Limits {
    accepted.map(|spec| spec.limits).unwrap_or_default()
}

/// The engine's name of a volume.
pub fn volume_name(namespace: &Namespace, volume: &ObjectName) -> String {
    format!("{namespace}.{volume}")
}

/// The named volumes of a template, with their labels: to be made where they are missing.
pub fn volumes(
    uid: &str,
    id: &InstanceId,
    template: &Template,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let namespace = &id.service.namespace;
    let named = template.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name),
        _ => None,
    });
    let labels = |name: &ObjectName| {
        BTreeMap::from([
            (label::CLUSTER.to_owned(), uid.to_owned()),
            (label::NAMESPACE.to_owned(), namespace.to_string()),
            (label::VOLUME.to_owned(), name.to_string()),
        ])
    };
    named.map(|name| (volume_name(namespace, name), labels(name))).collect()
}

/// The container of a copy.
///
/// # Errors
/// What of it cannot be had on this host, for people to read.
pub fn build(making: &Making<'_>) -> Result<ContainerSpec, String> {
    let template = making.template;
    let attached = attachments(making)?;
    let (dns, dns_search, dns_options) = resolver(making, &attached);
    let mut given = template.clone();
    if making.fence.is_some() {
        given.environment.insert(FENCE_VARIABLE.to_owned(), FENCE_FILE.to_owned());
    }
    Ok(ContainerSpec {
        name: making.id.to_string(),
        image: making.image.to_owned(),
        labels: labels(making),
        template: given,
        limits: limits(making.accepted),
        ports: ports(making)?,
        mounts: mounts(making),
        network: match template.network_mode {
            Some(NetworkMode::Host) => NetworkChoice::Host,
            Some(NetworkMode::None) => NetworkChoice::None,
            None => NetworkChoice::Attached(attached.into_iter().map(|(attachment, _)| attachment).collect()),
        },
        dns,
        dns_search,
        dns_options,
        stop_grace: stop_grace(making.accepted, template),
        healthcheck: template.healthcheck.clone(),
    })
}

/// Time to stop before a kill: the newest accepted word, else the template's.
pub fn stop_grace(accepted: Option<&ServiceSpec>, template: &Template) -> evenkeel_api::quantity::Span {
    let said = accepted.and_then(|spec| spec.template.stop_grace_period).or(template.stop_grace_period);
    said.unwrap_or(evenkeel_api::service::defaults::STOP_GRACE)
}

fn labels(making: &Making<'_>) -> BTreeMap<String, String> {
    let mut labels = making.template.labels.clone();
    let service = &making.id.service;
    labels.extend([
        (label::CLUSTER.to_owned(), making.uid.to_owned()),
        (label::NAMESPACE.to_owned(), service.namespace.to_string()),
        (label::SERVICE.to_owned(), service.name.to_string()),
        (label::INSTANCE.to_owned(), making.id.to_string()),
        (label::TEMPLATE.to_owned(), making.reference.to_string()),
    ]);
    labels.extend(making.fence.map(|(fence, _)| (label::EXCLUSIVE.to_owned(), fence.stop_after.to_string())));
    labels
}

type Attached<'a> = Vec<(NetworkAttachment, &'a LocalNetwork)>;

fn attachments<'a>(making: &Making<'a>) -> Result<Attached<'a>, String> {
    let attach = |name: NetworkName| {
        let network = making.networks.get(&name).ok_or_else(|| not_ready(&name, making.host))?;
        let address = *making.addresses.get(&name).ok_or_else(|| not_ready(&name, making.host))?;
        // No names for the engine's own resolver: it would know this host's copies only.
        let engine_name = network.engine_name.clone();
        Ok((NetworkAttachment { network: engine_name, address, aliases: Vec::new() }, network))
    };
    making.template.networks().into_iter().map(attach).collect()
}

/// Why a copy waits for a network.
pub fn not_ready(network: &NetworkName, host: &HostName) -> String {
    format!("network {network} is not ready on {host}")
}

type Resolver = (Vec<Ipv4Addr>, Vec<String>, Vec<String>);

/// The engine's own resolver settings. Beside the mounted file they serve what asks the engine's resolver
/// by its address; without it, they are all that there is.
fn resolver(making: &Making<'_>, attached: &Attached<'_>) -> Resolver {
    let template = making.template;
    let first = attached.first().map(|(_, network)| *network);
    let gateway = first.and_then(|network| network.subnet.nth(1));
    let dns = if template.dns.is_empty() { gateway.into_iter().collect() } else { template.dns.clone() };
    let search = match (&template.dns_search, first) {
        // The engine's word for «none at all».
        (Some(none), _) if none.is_empty() => vec![".".to_owned()],
        (Some(domains), _) => domains.clone(),
        (None, Some(network)) if template.dns.is_empty() => {
            let (namespace, domain) = (&making.id.service.namespace, &network.domain);
            vec![format!("{namespace}.{domain}"), domain.clone()]
        }
        (None, _) => Vec::new(),
    };
    let options = match (template.dns_opt.is_empty(), first) {
        (true, Some(_)) if template.dns.is_empty() => resolv::OPTIONS.map(str::to_owned).to_vec(),
        _ => template.dns_opt.clone(),
    };
    (dns, search, options)
}

fn ports(making: &Making<'_>) -> Result<Vec<PortBinding>, String> {
    if making.template.network_mode.is_some() {
        return Ok(Vec::new());
    }
    let mut bindings = Vec::new();
    for port in &making.template.ports {
        let Some(published) = &port.published else { continue };
        for address in host_addresses(making, port)? {
            let (port_on_host, target, protocol) = (published.port, port.target, port.protocol);
            bindings.push(PortBinding { address, port: port_on_host, target, protocol });
        }
    }
    Ok(bindings)
}

/// The host's addresses that a published port is for; `[None]`: all.
fn host_addresses(making: &Making<'_>, port: &Port) -> Result<Vec<Option<Ipv4Addr>>, String> {
    let Some(range) = port.published.as_ref().and_then(|published| published.host_ip) else {
        return Ok(vec![None]);
    };
    if range.prefix() == 0 {
        return Ok(vec![None]);
    }
    if range.prefix() == 32 {
        return Ok(vec![Some(range.network())]);
    }
    let own = making.own.iter().map(|own| own.address).filter(|address| range.contains(*address));
    let own: Vec<_> = own.map(Some).collect();
    if own.is_empty() {
        let host = making.host;
        return Err(format!(
            "no address of {host} lies in {range}, where port {} is to be published",
            port.target
        ));
    }
    Ok(own)
}

fn mounts(making: &Making<'_>) -> Vec<MountSpec> {
    let namespace = &making.id.service.namespace;
    let mount = |mount: &evenkeel_api::service::Mount| MountSpec {
        target: mount.target.clone(),
        read_only: mount.read_only,
        what: match &mount.source {
            MountSource::Volume { name, nocopy } => {
                MountWhat::Volume { name: Some(volume_name(namespace, name)), nocopy: *nocopy }
            }
            MountSource::Anonymous => MountWhat::Volume { name: None, nocopy: false },
            MountSource::Bind { path, propagation, selinux, create_host_path } => MountWhat::Bind {
                path: path.clone(),
                propagation: propagation.clone(),
                selinux: selinux.clone(),
                create: *create_host_path,
            },
            MountSource::Tmpfs { size, mode, options } => {
                let size = size.map(|size| format!("size={}", size.0));
                let mode = mode.map(|mode| format!("mode={mode:o}"));
                let all: Vec<String> = [size, mode, options.clone()].into_iter().flatten().collect();
                MountWhat::Tmpfs { options: all.join(",") }
            }
        },
    };
    let mut mounts: Vec<MountSpec> = making.template.mounts.iter().map(mount).collect();
    if resolv::is_mounted(making.template) {
        mounts.push(file("/etc/resolv.conf", making.resolv));
    }
    mounts.extend(making.fence.map(|(_, path)| file(FENCE_FILE, path)));
    mounts
}

/// A file of ours on the host, to read in the container.
fn file(target: &str, path: &str) -> MountSpec {
    let what = MountWhat::Bind { path: path.to_owned(), propagation: None, selinux: None, create: false };
    MountSpec { target: target.to_owned(), read_only: true, what }
}
