//! What one host must do for its networks: wanted against found, in the order in which it is safe.
//!
//! Rules stand before the bridge that they guard, and fall after it. Removal comes first, since what is
//! removed may hold the range or the name of what is to be made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use evenkeel_api::local::{LocalNetwork, LocalNetworks};
use evenkeel_api::name::{HostName, NetworkName};
use evenkeel_api::network::{Cidr, NetworkSpec};
use serde::{Deserialize, Serialize};

use super::firewall::{self, Rules};
use super::found::{Here, Standing, here, is_same, is_up, members, standing, stands};
use super::state::{
    Action, Chain, EngineNetwork, FabricAction, FabricState, Jump, Make, Published, Route, Step,
};

/// What the store says, as far as hosts need it. Kept on disk, so that a host goes on without the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The cluster's uid.
    pub cluster: String,
    /// The accepted networks.
    pub networks: BTreeMap<NetworkName, Wanted>,
    /// Who owns which part.
    pub subnets: BTreeMap<NetworkName, BTreeMap<HostName, Cidr>>,
    /// The hosts' LAN addresses.
    pub hosts: BTreeMap<HostName, Ipv4Addr>,
}

/// An accepted network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// What is wanted of it.
    pub spec: NetworkSpec,
    /// It is to be taken down.
    #[serde(default)]
    pub deleting: bool,
}

/// What else a host's plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// This host.
    pub host: &'a HostName,
    /// Where etcd is beside the hosts.
    pub etcd: &'a BTreeSet<Ipv4Addr>,
    /// Ports of this host that lead into containers of ours.
    pub published: &'a BTreeSet<Published>,
    /// What was found.
    pub fabric: &'a FabricState,
    /// What the engine has; `None`: it does not answer.
    pub engine: Option<&'a [EngineNetwork]>,
    /// Whether what is not wanted may be removed: the inputs were read in full, and are trusted.
    pub may_remove: bool,
}

/// What to do, and how things are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPlan {
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// How each network is that has a part here, or is deleting.
    pub verdicts: BTreeMap<NetworkName, Verdict>,
    /// What stands here, for siblings.
    pub local: LocalNetworks,
    /// What must be loaded before the engine at the next boot.
    pub boot: String,
    /// The engine's own chains are gone: only its restart brings published ports back.
    pub engine_firewall_lost: bool,
}

/// How a network is on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of it stands.
    Ready {
        /// This host's part.
        part: Cidr,
    },
    /// Something is in the way, and nothing is touched.
    Conflict {
        /// Both sides.
        why: String,
    },
    /// Steps remain.
    Pending,
    /// It cannot be made now.
    Blocked {
        /// Why.
        why: String,
    },
    /// It is deleting, and nothing of it is here.
    Gone,
}

/// The plan of a host.
pub fn plan(inputs: &Inputs, view: &View<'_>) -> HostPlan {
    let standing = standing(inputs, view);
    let here = here(inputs, view, &standing);
    let rules = Rules {
        members: members(inputs, view, &here, &standing),
        guarded: inputs.hosts.values().chain(view.etcd).copied().collect(),
        published: if here.is_empty() { BTreeSet::new() } else { view.published.clone() },
    };
    let mut steps = Vec::new();
    remove(&mut steps, view, &here, &standing);
    guard(&mut steps, view, &rules);
    build(&mut steps, view, &here, &standing);
    routes(&mut steps, inputs, view, &here, &standing);
    if rules.members.is_empty() {
        unguard(&mut steps, view);
    }
    let lost = !view.fabric.engine.present && !standing.is_empty();
    HostPlan {
        verdicts: verdicts(inputs, view, &here, &standing, &steps),
        local: local(inputs, view, &here),
        boot: firewall::boot(&rules),
        engine_firewall_lost: lost,
        steps,
    }
}

fn remove(
    steps: &mut Vec<Step>,
    view: &View<'_>,
    here: &BTreeMap<NetworkName, Here>,
    standing: &BTreeMap<NetworkName, Standing<'_>>,
) {
    if !view.may_remove {
        return;
    }
    for (name, standing) in standing {
        let keep = match here.get(name) {
            Some(here) => is_same(standing.found, &here.make) || here.conflict.is_some(),
            // Deleting, deleted, or this host's part was taken back and may be another's tomorrow.
            None => false,
        };
        if !keep {
            let action = Action::RemoveNetwork { name: standing.found.name.clone() };
            steps.push(Step { network: Some(name.clone()), action });
        }
    }
}

fn fabric(network: Option<&NetworkName>, action: FabricAction) -> Step {
    Step { network: network.cloned(), action: Action::Fabric(action) }
}

fn guard(steps: &mut Vec<Step>, view: &View<'_>, rules: &Rules) {
    if rules.members.is_empty() {
        return;
    }
    let table = firewall::table(rules);
    if view.fabric.table.as_ref().is_none_or(|found| found.mark != table.mark || !found.intact) {
        steps.push(fabric(None, FabricAction::LoadTable { text: table.text, mark: table.mark }));
    }
    let pairs = firewall::accepts(rules);
    let engine = &view.fabric.engine;
    for (chain, found) in [(Chain::Forward, &engine.forward), (Chain::Raw, &engine.raw)] {
        if found.pairs != pairs || !found.first {
            steps.push(fabric(None, FabricAction::Accept { chain, pairs: pairs.clone() }));
        }
    }
    if engine.jump == Jump::Missing {
        steps.push(fabric(None, FabricAction::Jump));
    }
}

/// Only once no network stands: the last engine network must be gone before its rules are.
fn unguard(steps: &mut Vec<Step>, view: &View<'_>) {
    if !view.may_remove || view.engine.is_none() {
        return;
    }
    for (chain, found) in
        [(Chain::Forward, &view.fabric.engine.forward), (Chain::Raw, &view.fabric.engine.raw)]
    {
        if !found.pairs.is_empty() {
            steps.push(fabric(None, FabricAction::Accept { chain, pairs: Vec::new() }));
        }
    }
    if view.fabric.table.is_some() {
        steps.push(fabric(None, FabricAction::DropTable));
    }
}

/// Whether a network stands, or will after this plan.
fn comes(view: &View<'_>, here: &Here, standing: Option<&Standing<'_>>) -> bool {
    // One that stands with another part can only be made anew once it may be removed.
    let may_be_made = view.engine.is_some() && (standing.is_none() || view.may_remove);
    stands(view, here, standing) || (here.conflict.is_none() && may_be_made)
}

fn build(
    steps: &mut Vec<Step>,
    view: &View<'_>,
    here: &BTreeMap<NetworkName, Here>,
    standing: &BTreeMap<NetworkName, Standing<'_>>,
) {
    for (name, here) in here {
        if !comes(view, here, standing.get(name)) {
            continue;
        }
        let there = stands(view, here, standing.get(name));
        if !there {
            steps.push(Step { network: Some(name.clone()), action: Action::MakeNetwork(here.make.clone()) });
        }
        let bridge = &here.make.bridge;
        let link = view.fabric.links.get(bridge).filter(|_| there);
        if link.is_none_or(|link| !link.proxy_arp) {
            steps.push(fabric(Some(name), FabricAction::ProxyArp { bridge: bridge.clone() }));
        }
        if link.is_none_or(|link| link.proxy_delay != 0) {
            steps.push(fabric(Some(name), FabricAction::ProxyDelay { bridge: bridge.clone() }));
        }
    }
}

fn routes(
    steps: &mut Vec<Step>,
    inputs: &Inputs,
    view: &View<'_>,
    here: &BTreeMap<NetworkName, Here>,
    standing: &BTreeMap<NetworkName, Standing<'_>>,
) {
    let mut wanted: BTreeMap<Cidr, (NetworkName, Route)> = BTreeMap::new();
    for (name, here) in here {
        // Without a bridge there is no address for a route's source.
        if !comes(view, here, standing.get(name)) {
            continue;
        }
        for (host, part) in inputs.subnets.get(name).into_iter().flatten() {
            if let (true, Some(via)) = (host != view.host, inputs.hosts.get(host)) {
                let route = Route { to: *part, via: *via, src: here.part.gateway() };
                wanted.insert(*part, (name.clone(), route));
            }
        }
    }
    // What is leaving is not known while the engine does not answer.
    let may_drop = view.may_remove && view.engine.is_some();
    for found in &view.fabric.routes {
        if may_drop && !wanted.contains_key(&found.to) && !leaving(found, here, standing) {
            steps.push(fabric(None, FabricAction::DropRoute(*found)));
        }
    }
    for (name, route) in wanted.values() {
        if !view.fabric.routes.contains(route) {
            steps.push(fabric(Some(name), FabricAction::PutRoute(*route)));
        }
    }
}

/// A network on its way out keeps its routes until the engine has let go of it: the last containers on it
/// may still be saying goodbye to their peers.
fn leaving(
    route: &Route,
    here: &BTreeMap<NetworkName, Here>,
    standing: &BTreeMap<NetworkName, Standing<'_>>,
) -> bool {
    standing.iter().any(|(name, standing)| {
        !here.contains_key(name) && standing.found.subnets.iter().any(|(pool, _)| pool.overlaps(&route.to))
    })
}

fn verdicts(
    inputs: &Inputs,
    view: &View<'_>,
    here: &BTreeMap<NetworkName, Here>,
    standing: &BTreeMap<NetworkName, Standing<'_>>,
    steps: &[Step],
) -> BTreeMap<NetworkName, Verdict> {
    let pending = |name: &NetworkName| steps.iter().any(|s| s.network.as_ref().is_none_or(|n| n == name));
    let mut verdicts = BTreeMap::new();
    for (name, wanted) in &inputs.networks {
        let verdict = match here.get(name) {
            Some(Here { conflict: Some(why), .. }) => Verdict::Conflict { why: why.clone() },
            Some(_) if pending(name) => Verdict::Pending,
            Some(here) if stands(view, here, standing.get(name)) && is_up(view.fabric, &here.make) => {
                Verdict::Ready { part: here.part.subnet }
            }
            Some(here) => Verdict::Blocked { why: blocked(view, here, standing.get(name)) },
            None if !wanted.deleting => continue,
            None if view.engine.is_none() || standing.contains_key(name) || pending(name) => Verdict::Pending,
            None => Verdict::Gone,
        };
        verdicts.insert(name.clone(), verdict);
    }
    verdicts
}

fn blocked(view: &View<'_>, here: &Here, standing: Option<&Standing<'_>>) -> String {
    let Make { name, bridge, gateway, .. } = &here.make;
    match (view.engine, standing) {
        (None, _) => "the Docker engine does not answer".to_owned(),
        (Some(_), Some(s)) if is_same(s.found, &here.make) => {
            format!(
                "Docker network {name} is there, but its bridge {bridge} with {gateway} is not: restart the engine"
            )
        }
        _ => format!(
            "Docker network {name} stands with other addresses, and nothing is removed while the store is not trusted"
        ),
    }
}

/// What siblings may rely on: the bridge is there with its address.
fn local(inputs: &Inputs, view: &View<'_>, here: &BTreeMap<NetworkName, Here>) -> LocalNetworks {
    let mut networks = BTreeMap::new();
    for (name, here) in here {
        if let (true, Some(wanted)) = (is_up(view.fabric, &here.make), inputs.networks.get(name)) {
            networks.insert(
                name.clone(),
                LocalNetwork {
                    pool: here.make.pool,
                    subnet: here.part.subnet,
                    engine_name: here.make.name.clone(),
                    domain: wanted.spec.domain().to_owned(),
                },
            );
        }
    }
    LocalNetworks { networks }
}
