//! What is taken on each host.

use std::net::Ipv4Addr;

use evenkeel_api::service::Protocol;

use super::*;
use crate::service::ledger::{clash, held_ports};

/// Copies, CPUs, memory, ports and addresses that are taken on a host.
fn taken(ledger: &Ledger, name: &str) -> (u32, u64, u64, u32, u32) {
    let Some(used) = ledger.used(&host(name)) else { return (0, 0, 0, 0, 0) };
    let (ports, addresses) = (used.ports.values().sum(), used.addresses.values().sum());
    (used.copies, used.cpus.0, used.memory.0, ports, addresses)
}

/// Whether the copies of `shop/web` stay, by host.
fn stay(ledger: &Ledger) -> Vec<(String, bool)> {
    ledger.copies(&id("shop/web")).map(|(_, charge)| (charge.host.to_string(), charge.stays)).collect()
}

/// Two hosts with a copy of each of two services.
fn lab() -> Lab {
    let mut lab = Lab::new(2);
    lab.put("shop/plain", spec("plain:1", 2));
    let mut wanted = spec("web:1", 2);
    wanted.deploy.reservations.cpus = Some(MilliCpus(500));
    wanted.deploy.reservations.memory = Some(Bytes(1000));
    wanted.template.ports.push(published(80));
    lab.put("shop/web", wanted);
    lab.settle();
    assert_eq!(lab.running("shop/web"), ["1@h1", "2@h2"]);
    lab
}

const PLAIN: (u32, u64, u64, u32, u32) = (1, 0, 0, 0, 1);
const BOTH: (u32, u64, u64, u32, u32) = (2, 500, 1000, 1, 2);

#[test]
fn the_account_of_a_world_is_the_one_that_was_kept_while_it_was_planned() {
    let lab = lab();
    for ledger in [Ledger::of(&lab.model.world), lab.model.ledger] {
        assert_eq!((taken(&ledger, "h1"), taken(&ledger, "h2")), (BOTH, BOTH));
        assert_eq!(stay(&ledger), [("h1".into(), true), ("h2".into(), true)]);
    }
}

#[test]
fn an_account_follows_what_became_of_a_service() {
    let mut lab = lab();
    let (world, web) = (&mut lab.model.world, id("shop/web"));
    let mut ledger = Ledger::of(world);
    let copies = &mut world.services.get_mut(&web).unwrap().copies;
    copies.retain(|_, copy| copy.host != host("h1"));
    for _ in 0..2 {
        ledger.refresh(world, &web);
        assert_eq!((taken(&ledger, "h1"), taken(&ledger, "h2")), (PLAIN, BOTH));
    }
    // On its way out it holds what it held, but stays no more.
    for copy in world.services.get_mut(&web).unwrap().copies.values_mut() {
        copy.record.as_mut().unwrap().value.desired = Desired::Drain;
    }
    ledger.refresh(world, &web);
    assert_eq!((taken(&ledger, "h2"), stay(&ledger)), (BOTH, vec![("h2".into(), false)]));
    world.services.remove(&web);
    ledger.refresh(world, &web);
    assert_eq!((taken(&ledger, "h1"), taken(&ledger, "h2")), (PLAIN, PLAIN));
    assert_eq!(stay(&ledger), []);
}

#[test]
fn a_copy_is_struck_out_and_entered_again_with_all_that_it_takes() {
    let lab = lab();
    let mut ledger = lab.model.ledger;
    let copy = lab.model.world.services[&id("shop/web")].copies.keys().next().unwrap();
    let charge = ledger.strike(copy).unwrap();
    assert_eq!(taken(&ledger, "h1"), PLAIN);
    assert_eq!(ledger.strike(copy), None);
    for _ in 0..2 {
        ledger.charge(copy, charge.clone());
        assert_eq!(taken(&ledger, "h1"), BOTH, "once, however often it is entered");
    }
    ledger.leaves(copy);
    assert_eq!(taken(&ledger, "h1"), BOTH);
    assert_eq!(stay(&ledger), [("h1".into(), false), ("h2".into(), true)]);
}

#[test]
fn a_published_port_is_held_on_the_address_that_its_range_picks() {
    let lab = Lab::new(1);
    let host = &lab.model.world.hosts[&host("h1")];
    for (range, expected) in [
        (None, Some([0, 0, 0, 0])),
        (Some(([0, 0, 0, 0], 0)), Some([0, 0, 0, 0])),
        (Some(([127, 0, 0, 1], 32)), Some([127, 0, 0, 1])),
        (Some(([10, 0, 0, 1], 32)), Some([10, 0, 0, 1])),
        (Some(([10, 0, 0, 0], 24)), Some([10, 0, 0, 1])),
        (Some(([10, 0, 1, 0], 24)), None),
    ] {
        let range = range.map(|(address, prefix)| Cidr::new(address.into(), prefix));
        let mut port = published(80);
        port.published = Some(Published { port: Some(80), host_ip: range });
        let held = held_ports(Some(host), std::slice::from_ref(&port));
        let expected = expected.map(|address| vec![(80, Protocol::Tcp, Ipv4Addr::from(address))]);
        assert_eq!(held, expected, "{range:?}");
        // One that the engine picks is in nobody's way, if there is an address for it.
        port.published = Some(Published { port: None, host_ip: range });
        assert_eq!(held_ports(Some(host), &[port]), expected.map(|_| Vec::new()), "{range:?}");
    }
}

#[test]
fn ports_clash_on_one_address_and_with_those_on_all() {
    let [all, one, two] = [[0, 0, 0, 0], [10, 0, 0, 1], [10, 0, 0, 2]].map(Ipv4Addr::from);
    for (a, b, expected) in [
        ((80, Protocol::Tcp, one), (80, Protocol::Tcp, one), true),
        ((80, Protocol::Tcp, one), (80, Protocol::Tcp, two), false),
        ((80, Protocol::Tcp, one), (80, Protocol::Tcp, all), true),
        ((80, Protocol::Tcp, all), (80, Protocol::Tcp, all), true),
        ((80, Protocol::Tcp, one), (81, Protocol::Tcp, one), false),
        ((80, Protocol::Tcp, one), (81, Protocol::Tcp, all), false),
        ((80, Protocol::Tcp, one), (80, Protocol::Udp, one), false),
    ] {
        assert_eq!((clash(&a, &b), clash(&b, &a)), (expected, expected), "{a:?} {b:?}");
    }
}
