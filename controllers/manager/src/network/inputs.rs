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
    prefix::network_reports_of(host)
}

/// What the store says; `None`: it has no cluster yet. Where a value cannot be read, what was `known` holds.
pub(super) fn read(mirror: &Mirror, known: &Inputs) -> Option<Inputs> {
    let cluster = mirror.json::<Cluster>(&Key::Cluster)?.value;
    let mut inputs = Inputs { cluster: cluster.uid, ..Inputs::default() };
    for key in keys(mirror, &prefix::accepted(Kind::Network)) {
        let Key::Accepted(ObjectRef::Network(name)) = &key else { continue };
        let found = mirror.json::<Accepted<NetworkSpec>>(&key).map(|found| found.value);
        let found = found.map(|found| Wanted { deleting: found.deleting, spec: found.spec });
        inputs
            .networks
            .extend(found.or_else(|| known.networks.get(name).cloned()).map(|it| (name.clone(), it)));
    }
    for key in keys(mirror, &prefix::accepted(Kind::Host)) {
        let Key::Accepted(ObjectRef::Host(host)) = &key else { continue };
        let found = mirror.json::<Accepted<HostSpec>>(&key).map(|found| found.value.spec.address);
        inputs.hosts.extend(found.or_else(|| known.hosts.get(host).copied()).map(|it| (host.clone(), it)));
    }
    for key in keys(mirror, &prefix::subnets()) {
        let Key::Subnet(network, host) = &key else { continue };
        let found = mirror.json::<Subnet>(&key).map(|found| found.value.subnet);
        let before = || known.subnets.get(network).and_then(|hosts| hosts.get(host)).copied();
        let hosts: &mut BTreeMap<_, _> = inputs.subnets.entry(network.clone()).or_default();
        hosts.extend(found.or_else(before).map(|it| (host.clone(), it)));
    }
    Some(inputs)
}

fn keys(mirror: &Mirror, prefix: &str) -> Vec<Key> {
    // What is no key of ours is no business of ours.
    mirror.list(prefix).iter().filter_map(|kv| kv.key.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_watches_what_its_plan_depends_on_and_its_own_reports() {
        let watched = prefixes(&"h1".parse().unwrap());
        let is_watched = |key: &&str| watched.iter().any(|prefix| key.starts_with(prefix));
        let wanted = [
            "cluster",
            "accepted/networks/lan",
            "accepted/hosts/h2",
            "subnets/lan/h2",
            "reports/h1/network/lan",
        ];
        let others = ["networks/lan", "reports/h1/dns", "reports/h2/network/lan", "reports/h10/network/lan"];
        let all = wanted.iter().chain(&others).copied();
        assert_eq!(all.filter(is_watched).collect::<Vec<_>>(), wanted);
    }
}
