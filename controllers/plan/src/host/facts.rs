//! What a machine says of itself, put together from what the kernel and the engine say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use evenkeel_api::network::Cidr;
use evenkeel_api::quantity::{Bytes, MilliCpus};
use evenkeel_api::record::{Address, Facts};

/// The routing protocol number of all routes that are ours.
pub const ROUTE_PROTOCOL: u8 = 212;

/// What the kernel says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The IPv4 addresses of all devices.
    pub addresses: Vec<DeviceAddress>,
    /// The unicast IPv4 routes of the main table.
    pub routes: Vec<Route>,
}

/// An address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAddress {
    /// Like `eth0`.
    pub device: String,
    /// The address.
    pub address: Ipv4Addr,
    /// The prefix length of its range.
    pub prefix: u8,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: Cidr,
    /// By which device; empty if by none.
    pub device: String,
    /// Who made it, as the kernel numbers protocols.
    pub protocol: u8,
}

/// What the engine says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engine {
    /// Its version.
    pub version: String,
    /// Like `linux`.
    pub os: String,
    /// The architecture, as the kernel or as images spell it.
    pub arch: String,
    /// The machine's CPUs.
    pub cpus: MilliCpus,
    /// The machine's memory.
    pub memory: Bytes,
    /// All its networks.
    pub networks: Vec<EngineNetwork>,
    /// The names of our volumes.
    pub volumes: BTreeSet<String>,
}

/// A network of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineNetwork {
    /// Its name.
    pub name: String,
    /// Its IPv4 ranges.
    pub subnets: Vec<Cidr>,
    /// It bears our cluster's label.
    pub ours: bool,
}

/// A host's facts; `lan` is the address by which its peers reach it, `evenkeel` our version, `watchdog` whether
/// it runs.
pub fn facts(lan: Ipv4Addr, machine: &Machine, engine: &Engine, evenkeel: &str, watchdog: bool) -> Facts {
    Facts {
        cpus: engine.cpus,
        memory: engine.memory,
        os: engine.os.clone(),
        arch: arch(&engine.arch).to_owned(),
        engine: engine.version.clone(),
        addresses: addresses(lan, machine, engine),
        volumes: engine.volumes.clone(),
        taken: taken(machine, engine),
        evenkeel: evenkeel.to_owned(),
        watchdog,
        // Set by hand, not found.
        sessions: None,
        generation: 0,
    }
}

/// An architecture as images spell it.
fn arch(kernel: &str) -> &str {
    match kernel {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armhf" => "arm",
        "i686" | "i386" => "386",
        other => other,
    }
}

/// Whether a device is one of our bridges.
fn our_device(device: &str) -> bool {
    device.starts_with("ek-")
}

/// The machine's addresses, `lan` first, without those that only its containers use: the engine's
/// networks come and go, and the facts should not.
fn addresses(lan: Ipv4Addr, machine: &Machine, engine: &Engine) -> Vec<Address> {
    let of_engine =
        |address| engine.networks.iter().flat_map(|n| &n.subnets).any(|subnet| subnet.contains(address));
    let prefix = machine.addresses.iter().find(|a| a.address == lan).map_or(32, |a| a.prefix);
    let others: BTreeMap<Ipv4Addr, u8> = machine
        .addresses
        .iter()
        .filter(|a| a.address != lan && !our_device(&a.device))
        .filter(|a| !a.address.is_loopback() && !a.address.is_link_local() && !of_engine(a.address))
        .map(|a| (a.address, a.prefix))
        .collect();
    let others = others.into_iter().map(|(address, prefix)| Address { address, prefix });
    std::iter::once(Address { address: lan, prefix }).chain(others).collect()
}

/// The ranges that a new network must keep out of, each by the name of who has it. A range that both a
/// Docker network and its route tell of is given once, by the network's name.
fn taken(machine: &Machine, engine: &Engine) -> BTreeMap<String, Cidr> {
    let networks = engine.networks.iter().flat_map(|network| {
        network
            .subnets
            .iter()
            .map(move |subnet| (format!("Docker network {}", network.name), *subnet, network.ours))
    });
    let routes = machine
        .routes
        .iter()
        // A default route takes nothing: every range lies in it.
        .filter(|route| route.destination.prefix() > 0)
        .map(|route| {
            let by = if route.device.is_empty() {
                "route".to_owned()
            } else {
                format!("route on {}", route.device)
            };
            (by, route.destination, route.protocol == ROUTE_PROTOCOL || our_device(&route.device))
        });
    let mut told: BTreeSet<Cidr> = BTreeSet::new();
    let mut taken = BTreeMap::new();
    for (by, range, ours) in networks.chain(routes) {
        if told.insert(range) && !ours {
            let name = (2..).map(|n| format!("{by} ({n})"));
            let free = std::iter::once(by.clone()).chain(name).find(|name| !taken.contains_key(name));
            taken.insert(free.unwrap_or(by), range);
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(device: &str, address: &str, prefix: u8) -> DeviceAddress {
        DeviceAddress { device: device.into(), address: address.parse().unwrap(), prefix }
    }

    fn route(destination: &str, device: &str, protocol: u8) -> Route {
        Route { destination: destination.parse().unwrap(), device: device.into(), protocol }
    }

    fn network(name: &str, subnet: &str, ours: bool) -> EngineNetwork {
        EngineNetwork { name: name.into(), subnets: vec![subnet.parse().unwrap()], ours }
    }

    #[test]
    fn facts_name_what_is_taken_and_leave_out_what_is_ours() {
        let machine = Machine {
            addresses: vec![
                at("lo", "127.0.0.1", 8),
                at("wg0", "10.9.0.1", 24),
                at("docker0", "172.17.0.1", 16),
                at("ek-lan", "10.88.1.1", 16),
                at("eth0", "10.0.0.11", 24),
            ],
            routes: vec![
                route("0.0.0.0/0", "eth0", 3),
                route("10.0.0.0/24", "eth0", 2),
                route("10.9.0.0/24", "wg0", 2),
                route("10.10.0.0/16", "wg0", 4),
                route("172.17.0.0/16", "docker0", 2),
                route("10.88.0.0/16", "ek-lan", 2),
                route("10.88.2.0/24", "eth0", ROUTE_PROTOCOL),
            ],
        };
        let engine = Engine {
            version: "28.5.2".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            networks: vec![
                network("bridge", "172.17.0.0/16", false),
                network("ek-lan", "10.88.0.0/16", true),
            ],
            ..Engine::default()
        };
        let facts = facts("10.0.0.11".parse().unwrap(), &machine, &engine, "0.1.0", true);
        let addresses: Vec<String> =
            facts.addresses.iter().map(|a| format!("{}/{}", a.address, a.prefix)).collect();
        assert_eq!(addresses, ["10.0.0.11/24", "10.9.0.1/24"]);
        let taken: Vec<String> = facts.taken.iter().map(|(by, range)| format!("{by}: {range}")).collect();
        assert_eq!(
            taken,
            [
                "Docker network bridge: 172.17.0.0/16",
                "route on eth0: 10.0.0.0/24",
                "route on wg0: 10.9.0.0/24",
                "route on wg0 (2): 10.10.0.0/16",
            ]
        );
        assert_eq!(facts.arch, "amd64");
    }

    #[test]
    fn an_address_that_no_device_has_is_still_the_first() {
        let lan = "203.0.113.9".parse().unwrap();
        let facts = facts(lan, &Machine::default(), &Engine::default(), "0.1.0", false);
        assert_eq!(facts.addresses, [Address { address: lan, prefix: 32 }]);
    }

    #[test]
    fn a_bridge_of_ours_that_the_engine_forgot_is_still_ours() {
        let machine = Machine {
            addresses: vec![at("eth0", "10.0.0.11", 24), at("ek-lan", "10.88.1.1", 16)],
            routes: vec![route("10.88.0.0/16", "ek-lan", 2)],
        };
        let lan = "10.0.0.11".parse().unwrap();
        let facts = facts(lan, &machine, &Engine::default(), "0.1.0", false);
        assert_eq!(facts.addresses, [Address { address: lan, prefix: 24 }]);
        assert!(facts.taken.is_empty(), "{:?}", facts.taken);
    }
}
