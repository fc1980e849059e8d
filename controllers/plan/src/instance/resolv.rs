//! The file that is mounted on a container's `/etc/resolv.conf`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::service::Template;

use crate::fnv::fnv1a;

/// What is known of the resolvers of an instance's first network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolvers {
    /// This host's name server.
    pub gateway: Ipv4Addr,
    /// A peer's, should this host's be away.
    pub peer: Option<Ipv4Addr>,
    /// The network's domain.
    pub domain: String,
}

/// Whether an instance of the template gets the file: it is on our networks, and says nothing else.
pub fn is_mounted(template: &Template) -> bool {
    template.network_mode.is_none()
        && template.dns.is_empty()
        && template.dns_search.is_none()
        && !template.mounts.iter().any(|mount| mount.target == "/etc/resolv.conf")
}

/// The resolver options where a template says nothing: a name of two parts is tried below the search
/// domains first, and a silent server costs one second.
pub const OPTIONS: [&str; 3] = ["ndots:2", "timeout:1", "attempts:2"];

/// The file's text.
pub fn text(id: &InstanceId, template: &Template, resolvers: &Resolvers) -> String {
    let Resolvers { gateway, peer, domain } = resolvers;
    let second = peer.map(|peer| format!("nameserver {peer}\n")).unwrap_or_default();
    let options = if template.dns_opt.is_empty() { OPTIONS.join(" ") } else { template.dns_opt.join(" ") };
    let namespace = &id.service.namespace;
    format!("nameserver {gateway}\n{second}search {namespace}.{domain} {domain}\noptions {options}\n")
}

/// The peer whose name server an instance is given: by the highest hash of both names, so that a host that
/// comes or goes changes the files of few instances, and all hosts get their share.
pub fn peer(id: &InstanceId, gateways: &BTreeMap<HostName, Ipv4Addr>) -> Option<Ipv4Addr> {
    let id = id.to_string();
    gateways.iter().max_by_key(|(host, _)| hash(&id, host.as_str())).map(|(_, gateway)| *gateway)
}

fn hash(id: &str, host: &str) -> u64 {
    // The host first: what comes last hardly changes the upper bits, by which hosts of like names are told apart.
    fnv1a(host.bytes().chain([0]).chain(id.bytes()))
}
