//! The store's part of what a host's plan depends on.

use std::collections::BTreeMap;

use evenkeel_api::host::HostSpec;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::HostName;
use evenkeel_api::network::NetworkSpec;
use evenkeel_api::record::{Accepted, Cluster, Subnet};
use evenkeel_plan::network::host::{Inputs, Wanted};
use evenkeel_runtime::mirror::Mirror;

/// What a host watches.
pub(super) fn prefixes(host: &HostName) -> Vec<String> {
    vec![
        Key::Cluster.to_string(),
        prefix::accepted(Kind::Network),
        prefix::accepted(Kind::Host),
        prefix::subnets(),
        reports(host),
    ]
}

/// This host's own reports about networks.
pub(super) fn reports(host: &HostName) -> String {
    format!("{}{host}/network/", prefix::reports())
}

/// What the store says; `None`: it has no cluster yet.
pub(super) fn read(mirror: &Mirror) -> Option<Inputs> {
    let cluster = mirror.json::<Cluster>(&Key::Cluster)?.value;
    let mut inputs = Inputs { cluster: cluster.uid, ..Inputs::default() };
    for (key, found) in mirror.list_json::<Accepted<NetworkSpec>>(&prefix::accepted(Kind::Network)) {
        if let Key::Accepted(ObjectRef::Network(name)) = key {
            let wanted = Wanted { deleting: found.value.deleting, spec: found.value.spec };
            inputs.networks.insert(name, wanted);
        }
    }
    for (key, found) in mirror.list_json::<Accepted<HostSpec>>(&prefix::accepted(Kind::Host)) {
        if let Key::Accepted(ObjectRef::Host(host)) = key {
            inputs.hosts.insert(host, found.value.spec.address);
        }
    }
    for (key, found) in mirror.list_json::<Subnet>(&prefix::subnets()) {
        if let Key::Subnet(network, host) = key {
            let hosts: &mut BTreeMap<_, _> = inputs.subnets.entry(network).or_default();
            hosts.insert(host, found.value.subnet);
        }
    }
    Some(inputs)
}
