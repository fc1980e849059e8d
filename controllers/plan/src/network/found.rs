//! What concerns a host's plan: networks that have a part here, and networks that stand here.

use std::collections::BTreeMap;

use evenkeel_api::name::NetworkName;
use evenkeel_api::network::{Cidr, HostSubnet};

use super::conflict;
use super::firewall::Member;
use super::host::{Inputs, View};
use super::names::{LABEL_CLUSTER, LABEL_NETWORK, LABEL_SUBNET, bridge_name, engine_name};
use super::state::{EngineNetwork, FabricState, Make};

/// A network of ours in the engine.
pub(super) struct Standing<'a> {
    pub found: &'a EngineNetwork,
    pub part: Option<Cidr>,
}

/// A network that has a part here and is not deleting.
pub(super) struct Here {
    pub make: Make,
    pub member: Member,
    pub part: HostSubnet,
    pub conflict: Option<String>,
}

pub(super) fn standing<'a>(inputs: &Inputs, view: &View<'a>) -> BTreeMap<NetworkName, Standing<'a>> {
    let engine = view.engine.unwrap_or_default();
    let ours = engine.iter().filter(|n| n.labels.get(LABEL_CLUSTER) == Some(&inputs.cluster));
    ours.filter_map(|found| {
        let name: NetworkName = found.labels.get(LABEL_NETWORK)?.parse().ok()?;
        let part = found.labels.get(LABEL_SUBNET).and_then(|text| text.parse().ok());
        Some((name, Standing { found, part }))
    })
    .collect()
}

pub(super) fn here(
    inputs: &Inputs,
    view: &View<'_>,
    standing: &BTreeMap<NetworkName, Standing<'_>>,
) -> BTreeMap<NetworkName, Here> {
    let mut here = BTreeMap::new();
    for (name, wanted) in inputs.networks.iter().filter(|(_, wanted)| !wanted.deleting) {
        let Some(part) = inputs.subnets.get(name).and_then(|hosts| hosts.get(view.host)) else { continue };
        let Some(pool) = wanted.spec.pools().find(|pool| pool.overlaps(part)) else { continue };
        let part = HostSubnet { network: name.clone(), host: view.host.clone(), subnet: *part };
        let make = make(inputs, name, pool, &part);
        let member = Member {
            bridge: make.bridge.clone(),
            pools: wanted.spec.pools().collect(),
            part: part.subnet,
            from: wanted.spec.access_from().to_vec(),
        };
        here.insert(name.clone(), Here { make, member, part, conflict: None });
    }
    // A foreign device by such a name is found by its name.
    let mut ours: Vec<String> = here.values().map(|h| h.make.bridge.clone()).collect();
    ours.extend(standing.values().filter_map(|s| s.found.bridge.clone()));
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    for (name, here) in &mut here {
        here.conflict = conflict::name_taken(name, view.fabric, view.engine, &inputs.cluster, &here.make)
            .or_else(|| {
                conflict::overlap(&here.member.pools, view.fabric, view.engine, &inputs.cluster, &ours)
            });
    }
    here
}

fn make(inputs: &Inputs, name: &NetworkName, pool: Cidr, part: &HostSubnet) -> Make {
    Make {
        name: engine_name(name),
        bridge: bridge_name(name),
        pool,
        range: part.engine_range(),
        gateway: part.gateway(),
        labels: [
            (LABEL_CLUSTER.to_owned(), inputs.cluster.clone()),
            (LABEL_NETWORK.to_owned(), name.to_string()),
            (LABEL_SUBNET.to_owned(), part.subnet.to_string()),
        ]
        .into(),
    }
}

/// The bridge is there with the gateway's address.
pub(super) fn is_up(fabric: &FabricState, make: &Make) -> bool {
    fabric
        .links
        .get(&make.bridge)
        .is_some_and(|link| link.bridge && link.addresses.iter().any(|(address, _)| *address == make.gateway))
}

/// The engine's network is the one that is wanted.
pub(super) fn is_same(found: &EngineNetwork, make: &Make) -> bool {
    found.name == make.name
        && found.subnets == [(make.pool, Some(make.gateway))]
        && found.bridge.as_deref() == Some(&make.bridge)
}

/// Whether a network is, or will be after this plan, on this host. While the engine does not answer, the
/// bridge tells.
pub(super) fn stands(view: &View<'_>, here: &Here, standing: Option<&Standing<'_>>) -> bool {
    match view.engine {
        Some(_) => standing.is_some_and(|s| is_same(s.found, &here.make)),
        None => is_up(view.fabric, &here.make),
    }
}

/// Whose rules must hold: what is about to stand, and what stands still. A pool in conflict with the LAN
/// must not be among them before it stands: its rules would cut the LAN off.
pub(super) fn members(
    inputs: &Inputs,
    view: &View<'_>,
    here: &BTreeMap<NetworkName, Here>,
    standing: &BTreeMap<NetworkName, Standing<'_>>,
) -> Vec<Member> {
    let mut members = BTreeMap::new();
    for (name, here) in here {
        let standing = standing.get(name);
        if here.conflict.is_none() || stands(view, here, standing) {
            let mut member = here.member.clone();
            // A part that may not be exchanged yet is the one that copies have.
            let kept = standing.filter(|_| !view.may_remove).and_then(|standing| standing.part);
            member.part = kept.unwrap_or(member.part);
            members.insert(member.bridge.clone(), member);
        }
    }
    for (name, standing) in standing {
        // Deleting, or without any record: guarded by what its labels say until it is gone.
        let (Some(part), Some(bridge), [(pool, _), ..]) =
            (standing.part, standing.found.bridge.clone(), standing.found.subnets.as_slice())
        else {
            continue;
        };
        let known = inputs.networks.get(name).map(|wanted| wanted.spec.pools().collect::<Vec<_>>());
        let pools = known.filter(|pools| pools.contains(pool)).unwrap_or_else(|| vec![*pool]);
        members.entry(bridge.clone()).or_insert(Member { bridge, pools, part, from: Vec::new() });
    }
    if view.engine.is_none() {
        deleting_by_link(inputs, view, &mut members);
    }
    members.into_values().collect()
}

/// While the engine is away, a deleting network is known to stand by its bridge alone.
fn deleting_by_link(inputs: &Inputs, view: &View<'_>, members: &mut BTreeMap<String, Member>) {
    for (name, wanted) in inputs.networks.iter().filter(|(_, wanted)| wanted.deleting) {
        let bridge = bridge_name(name);
        let part = inputs.subnets.get(name).and_then(|hosts| hosts.get(view.host));
        if let (Some(part), true) = (part, view.fabric.links.contains_key(&bridge)) {
            let pools = wanted.spec.pools().collect();
            members.entry(bridge.clone()).or_insert(Member { bridge, pools, part: *part, from: Vec::new() });
        }
    }
}
