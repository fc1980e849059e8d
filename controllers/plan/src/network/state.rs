//! What is found on a host, and what can be done to it: the words that the planner and the fabric share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use evenkeel_api::name::NetworkName;
use evenkeel_api::network::Cidr;
use evenkeel_api::service::Protocol;
use serde::{Deserialize, Serialize};

/// The protocol number that marks a route as ours. Unassigned in iproute2's table.
pub const ROUTE_PROTOCOL: u8 = 212;

/// The host's network as far as it concerns us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FabricState {
    /// All devices, by name.
    pub links: BTreeMap<String, Link>,
    /// Our routes.
    pub routes: BTreeSet<Route>,
    /// All other routes of the main table.
    pub foreign: Vec<ForeignRoute>,
    /// Our firewall table.
    pub table: Option<Table>,
    /// What the engine's firewall chains hold of ours.
    pub engine: EngineRules,
}

/// A device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether it is a bridge.
    pub bridge: bool,
    /// Its addresses with their prefix lengths.
    pub addresses: BTreeSet<(Ipv4Addr, u8)>,
    /// Whether it answers ARP for addresses that it has routes to.
    pub proxy_arp: bool,
    /// How long it waits before such an answer, in milliseconds; the kernel's default is 800.
    pub proxy_delay: u64,
}

/// A route of ours: to a peer's part, by the peer's LAN address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The peer's part.
    pub to: Cidr,
    /// The peer's LAN address.
    pub via: Ipv4Addr,
    /// The source of what this host itself sends there: its own gateway address, which peers let in.
    pub src: Ipv4Addr,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} via {} src {}", self.to, self.via, self.src)
    }
}

/// A route that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignRoute {
    /// Where to.
    pub to: Cidr,
    /// By which device; empty where it has none.
    pub link: String,
}

/// Our firewall table, as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The mark of the text that it was made from.
    pub mark: String,
    /// Nobody has changed it since. False too where that cannot be told, as after a restart.
    pub intact: bool,
}

/// What the engine's firewall chains hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineRules {
    /// Where those chains live.
    pub backend: Backend,
    /// Our accept rules in `DOCKER-USER`.
    pub forward: Accepts,
    /// Our accept rules in `raw PREROUTING`.
    pub raw: Accepts,
    /// How `FORWARD` leads to `DOCKER-USER`.
    pub jump: Jump,
    /// The engine's own chains are there. Without them published ports are not served by the kernel, and
    /// only a restart of the engine brings them back.
    pub present: bool,
}

/// Which of the kernel's two firewalls the engine's iptables writes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backend {
    /// nftables, by iptables-nft.
    #[default]
    Nft,
    /// The old tables, by iptables-legacy.
    Legacy,
}

/// Our accept rules in one chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepts {
    /// In the order in which they stand.
    pub pairs: Vec<Pair>,
    /// No foreign rule stands before the last of them.
    pub first: bool,
}

/// What an accept rule lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// From these sources.
    pub from: Cidr,
    /// To these destinations.
    pub to: Cidr,
}

/// How `FORWARD` leads to `DOCKER-USER`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Jump {
    /// Before the engine's other chains, as it should be; or there is no `FORWARD` that could drop.
    #[default]
    Fine,
    /// Not at all, or too late: engines before 28 leave it out when chains were there before them.
    Missing,
}

/// A network of the engine, ours or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineNetwork {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its ranges with their gateways.
    pub subnets: Vec<(Cidr, Option<Ipv4Addr>)>,
    /// Its bridge device.
    pub bridge: Option<String>,
}

/// A port of this host that leads into a container of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The host's address; unspecified for all of them.
    pub address: Ipv4Addr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// An engine network that shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Make {
    /// The engine's name.
    pub name: String,
    /// Its bridge device.
    pub bridge: String,
    /// The whole pool: containers reach all of it on the link, with the host answering ARP for its peers.
    pub pool: Cidr,
    /// What the engine picks from for containers that bring no address.
    pub range: Cidr,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Which of the engine's chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chain {
    /// `DOCKER-USER`, which every engine passes through before its own forward rules.
    Forward,
    /// `raw PREROUTING`, where engines from 28 on drop what comes for a container by another device.
    Raw,
}

/// One thing to be done to the host's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FabricAction {
    /// Replace our table, whole and at once.
    LoadTable {
        /// For nft.
        text: String,
        /// The mark in it.
        mark: String,
    },
    /// Remove our table.
    DropTable,
    /// Make these, and only these, our accept rules in a chain, before all others.
    Accept {
        /// The chain.
        chain: Chain,
        /// The rules in order; none removes ours.
        pairs: Vec<Pair>,
    },
    /// Let `FORWARD` lead to `DOCKER-USER` first.
    Jump,
    /// Answer ARP for peers' containers on this bridge.
    ProxyArp {
        /// The bridge.
        bridge: String,
    },
    /// Answer at once.
    ProxyDelay {
        /// The bridge.
        bridge: String,
    },
    /// Make or replace a route.
    PutRoute(Route),
    /// Remove a route.
    DropRoute(Route),
}

/// One thing to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// To the host's network.
    Fabric(FabricAction),
    /// Make an engine network.
    MakeNetwork(Make),
    /// Remove an engine network of ours that has no containers.
    RemoveNetwork {
        /// The engine's name.
        name: String,
    },
}

impl Action {
    /// Whether something goes that may be wanted, were the store wrong.
    pub fn removes(&self) -> bool {
        let drops =
            |action: &FabricAction| matches!(action, FabricAction::DropTable | FabricAction::DropRoute(_));
        matches!(self, Action::RemoveNetwork { .. })
            || matches!(self, Action::Fabric(action) if drops(action))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::MakeNetwork(make) => write!(f, "make engine network {} ({})", make.name, make.gateway),
            Action::RemoveNetwork { name } => write!(f, "remove engine network {name}"),
            Action::Fabric(action) => match action {
                FabricAction::LoadTable { mark, .. } => write!(f, "load firewall table {mark}"),
                FabricAction::DropTable => f.write_str("remove firewall table"),
                FabricAction::Accept { chain, pairs } => {
                    write!(f, "set {} accept rules in {chain:?}", pairs.len())
                }
                FabricAction::Jump => f.write_str("let FORWARD lead to DOCKER-USER first"),
                FabricAction::ProxyArp { bridge } => write!(f, "proxy ARP on {bridge}"),
                FabricAction::ProxyDelay { bridge } => write!(f, "no proxy delay on {bridge}"),
                FabricAction::PutRoute(route) => write!(f, "put route {route}"),
                FabricAction::DropRoute(route) => write!(f, "remove route {route}"),
            },
        }
    }
}

/// An action, and for which network; `None`: for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// For which network.
    pub network: Option<NetworkName>,
    /// What.
    pub action: Action,
}
