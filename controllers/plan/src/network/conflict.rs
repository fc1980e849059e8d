//! Who else has a range, told so that both sides are named.

use evenkeel_api::name::NetworkName;
use evenkeel_api::network::Cidr;

use super::names::LABEL_CLUSTER;
use super::state::{EngineNetwork, FabricState};

/// The first thing on this host that shares an address with one of `pools`, beside what stands on the
/// bridges in `ours`; `None`: nothing does.
///
/// `engine` is what the engine has, where it answered, and `cluster` tells which of that is ours.
pub fn overlap(
    pools: &[Cidr],
    fabric: &FabricState,
    engine: Option<&[EngineNetwork]>,
    cluster: &str,
    ours: &[&str],
) -> Option<String> {
    let hit = |range: &Cidr| pools.iter().find(|pool| pool.overlaps(range)).copied();
    for network in engine.unwrap_or_default() {
        if network.labels.get(LABEL_CLUSTER).is_some_and(|uid| uid == cluster) {
            continue;
        }
        for (range, _) in &network.subnets {
            if let Some(pool) = hit(range) {
                return Some(format!(
                    "pool {pool} overlaps {range} of Docker network {}, which is not evenkeel's",
                    network.name
                ));
            }
        }
    }
    for (name, link) in &fabric.links {
        if ours.contains(&name.as_str()) {
            continue;
        }
        for (address, prefix) in &link.addresses {
            if let Some(pool) = hit(&Cidr::new(*address, *prefix)) {
                return Some(format!(
                    "pool {pool} overlaps the host's own address {address}/{prefix} on {name}"
                ));
            }
        }
    }
    for route in &fabric.foreign {
        // A default route takes what nobody else does: no conflict.
        if route.to.prefix() == 0 || ours.contains(&route.link.as_str()) {
            continue;
        }
        if let Some(pool) = hit(&route.to) {
            let by = if route.link.is_empty() { String::new() } else { format!(" by {}", route.link) };
            return Some(format!("pool {pool} overlaps the host's route to {}{by}", route.to));
        }
    }
    None
}

/// Whether `name` in the engine, or the device `bridge`, belongs to somebody else.
pub fn name_taken(
    network: &NetworkName,
    fabric: &FabricState,
    engine: Option<&[EngineNetwork]>,
    cluster: &str,
    make: &super::state::Make,
) -> Option<String> {
    let engine = engine?;
    let is_ours = |n: &EngineNetwork| n.labels.get(LABEL_CLUSTER).is_some_and(|uid| uid == cluster);
    if let Some(found) = engine.iter().find(|n| n.name == make.name) {
        let what = match found.labels.get(LABEL_CLUSTER) {
            _ if is_ours(found) => return None,
            Some(uid) => format!("belongs to another evenkeel cluster ({uid})"),
            None => "was not made by evenkeel".to_owned(),
        };
        return Some(format!(
            "Network {network} needs Docker network {}, and the one of that name here {what}",
            make.name
        ));
    }
    if let Some(other) = engine.iter().find(|n| n.bridge.as_deref() == Some(&make.bridge)) {
        return Some(format!(
            "Network {network} needs the bridge {}, which Docker network {} has",
            make.bridge, other.name
        ));
    }
    // A bridge that the engine does not know may be one of ours from before its memory was lost: it
    // carries our address or none, and the engine adopts it.
    let link = fabric.links.get(&make.bridge)?;
    let adoptable =
        link.bridge && link.addresses.iter().all(|(a, p)| (*a, *p) == (make.gateway, make.pool.prefix()));
    (!adoptable).then(|| {
        format!(
            "Network {network} needs the device name {}, which something else on this host has",
            make.bridge
        )
    })
}
