use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_api::record::{Endpoint, EndpointPort, Endpoints};
use evenkeel_api::service::Protocol;

use super::*;

mod choosing;

/// Two networks in one domain, three hosts, nothing that serves yet.
fn world() -> World {
    let mut world = World::default();
    for (name, n) in [("lan", 88), ("db", 89)] {
        let spec = format!(
            r#"{{"ipam":{{"config":[{{"subnet":"10.{n}.0.0/16"}}]}},"dns":{{"ttl":"{}s"}}}}"#,
            n - 83
        );
        let network: evenkeel_api::name::NetworkName = name.parse().unwrap();
        world.networks.insert(network.clone(), serde_json::from_str(&spec).unwrap());
        for host in 1..=3 {
            let subnet = format!("10.{n}.{host}.0/24").parse().unwrap();
            let parts = world.subnets.entry(network.clone()).or_default();
            parts.insert(format!("h{host}").parse().unwrap(), subnet);
        }
    }
    for host in 1..=3 {
        let name: evenkeel_api::name::HostName = format!("h{host}").parse().unwrap();
        world.hosts.insert(name.clone(), format!("10.0.0.1{host}").parse().unwrap());
        world.alive.insert(name);
    }
    world
}

/// `h1 1 lan=10.88.1.10 db=10.89.1.10`, with `sick` at the end if it is not ready.
fn endpoint(service: &str, text: &str) -> Endpoint {
    let mut words = text.split(' ');
    let (host, slot) = (words.next().unwrap(), words.next().unwrap());
    let mut it = Endpoint {
        id: format!("{}.{slot}.{}", service.replace('/', "."), &host[1..]).parse().unwrap(),
        slot: slot.parse().unwrap(),
        host: host.parse().unwrap(),
        addresses: Default::default(),
        ports: vec![EndpointPort { name: "http".parse().unwrap(), port: 8080, protocol: Default::default() }],
        ready: true,
    };
    for word in words {
        match word.split_once('=') {
            Some((network, address)) => {
                it.addresses.insert(network.parse().unwrap(), address.parse().unwrap());
            }
            None => it.ready = word != "sick",
        }
    }
    it
}

fn serve(world: &mut World, service: &str, networks: &[&str], copies: &[&str]) {
    let body = Endpoints {
        networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
        endpoints: copies.iter().map(|text| endpoint(service, text)).collect(),
        ..Endpoints::default()
    };
    world
        .endpoints
        .entry(service.parse().unwrap())
        .or_default()
        .insert(0, Shard { revision: 7, body: body.into() });
}

fn body<'a>(world: &'a mut World, service: &str) -> &'a mut Endpoints {
    let shards = world.endpoints.get_mut(&service.parse().unwrap()).unwrap();
    Arc::make_mut(&mut shards.get_mut(&0).unwrap().body)
}

fn here() -> Here {
    Here { host: "h1".parse().unwrap(), instances: None, health: None, networks: None }
}

fn gone(hosts: &[&str]) -> BTreeSet<evenkeel_api::name::HostName> {
    hosts.iter().map(|host| host.parse().unwrap()).collect()
}

const LAN: &str = "10.88.2.77";
const DB: &str = "10.89.2.77";

/// Asks as text and answers as text: addresses, `none` for no such name, `empty`, `foreign`, ….
fn ask(zone: &Zone, name: &str, wanted: Wanted, asker: &str) -> String {
    let labels: Vec<&str> = name.split('.').collect();
    let asker: IpAddr = asker.parse().unwrap();
    match zone.lookup(&labels, wanted, asker) {
        Found::Foreign => "foreign".into(),
        Found::Unknown => "unknown".into(),
        Found::NoName { .. } => "none".into(),
        Found::NoData { .. } => "empty".into(),
        Found::Addresses { addresses, .. } => {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Found::Targets { domain, targets, .. } => targets
            .iter()
            .map(|t| format!("{}.{domain}:{}@{}", t.name, t.port, t.address))
            .collect::<Vec<_>>()
            .join(" "),
        Found::Pointer { name, .. } => name.into(),
        Found::Texts { lines, .. } => lines.join("; "),
        Found::Soa { zone: Origin::Domain(name) } => format!("soa {name}"),
        Found::Soa { zone: Origin::Reverse { octets, .. } } => format!("soa reverse {octets}"),
    }
}

fn a(world: &World, here: &Here, gone: &BTreeSet<evenkeel_api::name::HostName>, name: &str) -> String {
    ask(&zone(world, here, gone), name, Wanted::A, LAN)
}

#[test]
fn names_of_all_kinds() {
    let mut world = world();
    serve(
        &mut world,
        "shop/web",
        &["lan", "db"],
        &["h1 1 lan=10.88.1.10 db=10.89.1.10", "h2 2 lan=10.88.2.10 db=10.89.2.10"],
    );
    let zone = zone(&world, &here(), &gone(&[]));
    for (name, wanted, asker, answer) in [
        ("web.shop.internal", Wanted::A, LAN, "10.88.1.10 10.88.2.10"),
        ("web.shop.internal", Wanted::A, DB, "10.89.1.10 10.89.2.10"),
        ("web.shop.internal", Wanted::A, "10.0.0.7", "10.88.1.10 10.88.2.10"),
        ("web.shop.internal", Wanted::A, "::1", "10.88.1.10 10.88.2.10"),
        ("web.shop.internal", Wanted::Any, LAN, "10.88.1.10 10.88.2.10"),
        ("web.shop.internal", Wanted::Other, LAN, "empty"),
        ("2.web.shop.internal", Wanted::A, LAN, "10.88.2.10"),
        ("3.web.shop.internal", Wanted::A, LAN, "none"),
        ("why.web.shop.internal", Wanted::Txt, LAN, "1.web.shop on h1: answers; 2.web.shop on h2: answers"),
        ("why.web.shop.internal", Wanted::Any, LAN, "1.web.shop on h1: answers; 2.web.shop on h2: answers"),
        ("why.web.shop.internal", Wanted::A, LAN, "empty"),
        ("why.cart.shop.internal", Wanted::Txt, LAN, "none"),
        ("why.1.web.shop.internal", Wanted::Txt, LAN, "none"),
        ("web.shop.internal", Wanted::Txt, LAN, "empty"),
        ("cart.shop.internal", Wanted::A, LAN, "none"),
        ("shop.internal", Wanted::A, LAN, "empty"),
        ("shap.internal", Wanted::A, LAN, "none"),
        ("internal", Wanted::A, LAN, "empty"),
        ("internal", Wanted::Soa, LAN, "soa internal"),
        ("shop.internal", Wanted::Soa, LAN, "empty"),
        ("shop.internal", Wanted::Any, LAN, "empty"),
        ("node.internal", Wanted::A, LAN, "empty"),
        ("h3.node.internal", Wanted::A, LAN, "10.0.0.13"),
        ("h9.node.internal", Wanted::A, LAN, "none"),
        ("_tcp.web.shop.internal", Wanted::Srv, LAN, "empty"),
        ("_udp.web.shop.internal", Wanted::Srv, LAN, "none"),
        (
            "_http._tcp.web.shop.internal",
            Wanted::Srv,
            LAN,
            "1.web.shop.internal:8080@10.88.1.10 2.web.shop.internal:8080@10.88.2.10",
        ),
        ("_http._tcp.web.shop.internal", Wanted::A, LAN, "empty"),
        ("_http._udp.web.shop.internal", Wanted::Srv, LAN, "none"),
        ("10.1.88.10.in-addr.arpa", Wanted::Ptr, LAN, "1.web.shop.internal"),
        ("10.1.88.10.in-addr.arpa", Wanted::A, LAN, "empty"),
        ("10.2.89.10.in-addr.arpa", Wanted::Ptr, LAN, "2.web.shop.internal"),
        ("1.3.88.10.in-addr.arpa", Wanted::Ptr, LAN, "h3.node.internal"),
        ("12.0.0.10.in-addr.arpa", Wanted::Ptr, LAN, "h2.node.internal"),
        ("99.0.0.10.in-addr.arpa", Wanted::Ptr, LAN, "foreign"),
        ("99.1.88.10.in-addr.arpa", Wanted::Ptr, LAN, "none"),
        ("1.88.10.in-addr.arpa", Wanted::Ptr, LAN, "empty"),
        ("88.10.in-addr.arpa", Wanted::Soa, LAN, "soa reverse 2"),
        ("1.88.10.in-addr.arpa", Wanted::Soa, LAN, "empty"),
        ("1.88.10.in-addr.arpa", Wanted::Any, LAN, "empty"),
        ("10.in-addr.arpa", Wanted::Soa, LAN, "foreign"),
        ("x.1.88.10.in-addr.arpa", Wanted::Ptr, LAN, "none"),
        ("9.10.1.88.10.in-addr.arpa", Wanted::Ptr, LAN, "none"),
        ("x.in-addr.arpa", Wanted::Ptr, LAN, "foreign"),
        ("example.org", Wanted::A, LAN, "foreign"),
        ("web", Wanted::A, LAN, "foreign"),
    ] {
        assert_eq!(ask(&zone, name, wanted, asker), answer, "{name} {wanted:?} for {asker}");
    }
    assert_eq!(zone.revision(), 7);
}

#[test]
fn each_port_is_found_by_its_own_name_and_protocol() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10"]);
    let port = |name: &str, port, protocol| EndpointPort { name: name.parse().unwrap(), port, protocol };
    body(&mut world, "shop/web").endpoints[0].ports = vec![
        port("admin", 9000, Protocol::Tcp),
        port("dns", 53, Protocol::Tcp),
        port("dns", 5353, Protocol::Udp),
    ];
    let zone = zone(&world, &here(), &gone(&[]));
    for (name, answer) in [
        ("_admin._tcp", "1.web.shop.internal:9000@10.88.1.10"),
        ("_dns._tcp", "1.web.shop.internal:53@10.88.1.10"),
        ("_dns._udp", "1.web.shop.internal:5353@10.88.1.10"),
        ("_admin._udp", "none"),
    ] {
        assert_eq!(ask(&zone, &format!("{name}.web.shop.internal"), Wanted::Srv, LAN), answer, "{name}");
    }
}

#[test]
fn a_pool_that_is_smaller_than_an_octet_has_a_zone_for_each_address() {
    let mut world = world();
    let small = r#"{"ipam":{"config":[{"subnet":"10.91.0.0/28"}]}}"#;
    world.networks.insert("small".parse().unwrap(), serde_json::from_str(small).unwrap());
    serve(&mut world, "shop/web", &["small"], &["h1 1 small=10.91.0.5"]);
    let zone = zone(&world, &here(), &gone(&[]));
    for (name, wanted, answer) in [
        ("5.0.91.10.in-addr.arpa", Wanted::Ptr, "1.web.shop.internal"),
        ("5.0.91.10.in-addr.arpa", Wanted::Any, "1.web.shop.internal"),
        ("5.0.91.10.in-addr.arpa", Wanted::Soa, "soa reverse 4"),
        ("6.0.91.10.in-addr.arpa", Wanted::Soa, "none"),
        ("0.91.10.in-addr.arpa", Wanted::Soa, "foreign"),
    ] {
        assert_eq!(ask(&zone, name, wanted, LAN), answer, "{name} {wanted:?}");
    }
}

#[test]
fn a_ttl_is_that_of_the_network() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan", "db"], &["h1 1 lan=10.88.1.10 db=10.89.1.10"]);
    let zone = zone(&world, &here(), &gone(&[]));
    for (asker, seconds) in [(LAN, 5), (DB, 6), ("10.0.0.7", 5)] {
        let found = zone.lookup(&["web", "shop", "internal"], Wanted::A, asker.parse().unwrap());
        assert!(matches!(found, Found::Addresses { ttl, .. } if ttl == seconds), "{asker}: {found:?}");
    }
}

#[test]
fn a_container_on_several_networks_gets_what_it_can_reach() {
    let mut world = world();
    let other = r#"{"ipam":{"config":[{"subnet":"10.90.0.0/16"}]}}"#;
    world.networks.insert("far".parse().unwrap(), serde_json::from_str(other).unwrap());
    let three = "h1 2 lan=10.88.1.12 db=10.89.1.12 mid=10.92.1.12";
    serve(&mut world, "shop/web", &["lan", "db"], &["h1 1 lan=10.88.1.10 db=10.89.1.10", three]);
    serve(&mut world, "shop/pg", &["far", "db"], &["h2 1 far=10.90.2.20 db=10.89.2.20"]);
    let zone = zone(&world, &here(), &gone(&[]));
    assert_eq!(ask(&zone, "pg.shop.internal", Wanted::A, "10.88.1.10"), "10.89.2.20");
    assert_eq!(ask(&zone, "pg.shop.internal", Wanted::A, "10.88.1.12"), "10.89.2.20");
    assert_eq!(ask(&zone, "pg.shop.internal", Wanted::A, "10.88.1.11"), "10.90.2.20");
}

#[test]
fn aliases_merge_and_never_hide_a_service() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10"]);
    serve(&mut world, "shop/old", &["lan", "db"], &["h2 1 lan=10.88.2.20 db=10.89.2.20 sick"]);
    for service in ["shop/web", "shop/old"] {
        let names = ["www".parse().unwrap(), "web".parse().unwrap()].into();
        body(&mut world, service).aliases = [("lan".parse().unwrap(), names)].into();
    }
    let zone = |world: &World| zone(world, &here(), &gone(&[]));
    assert_eq!(ask(&zone(&world), "web.shop.internal", Wanted::A, LAN), "10.88.1.10");
    assert_eq!(ask(&zone(&world), "www.shop.internal", Wanted::A, LAN), "10.88.1.10");
    body(&mut world, "shop/old").endpoints[0].ready = true;
    assert_eq!(ask(&zone(&world), "www.shop.internal", Wanted::A, LAN), "10.88.1.10 10.88.2.20");
    // Only on the network that it was given on.
    assert_eq!(ask(&zone(&world), "www.shop.internal", Wanted::A, DB), "10.88.1.10 10.88.2.20");
    assert_eq!(ask(&zone(&world), "www.crew.internal", Wanted::A, LAN), "none");
    let names = [("lan", "front"), ("db", "back")];
    body(&mut world, "shop/old").aliases =
        names.map(|(network, name)| (network.parse().unwrap(), [name.parse().unwrap()].into())).into();
    for (name, answer) in [("front", "10.88.2.20"), ("back", "10.89.2.20")] {
        for asker in [LAN, DB] {
            let name = format!("{name}.shop.internal");
            assert_eq!(ask(&zone(&world), &name, Wanted::A, asker), answer, "{name} for {asker}");
        }
    }
    let names = ["www".parse().unwrap(), "web".parse().unwrap()].into();
    body(&mut world, "shop/old").aliases = [("lan".parse().unwrap(), names)].into();
    assert_eq!(
        ask(&zone(&world), "_http._tcp.www.shop.internal", Wanted::Srv, LAN),
        "1.old.shop.internal:8080@10.88.2.20 1.web.shop.internal:8080@10.88.1.10"
    );
}

#[test]
fn domains_may_differ_and_nest() {
    let mut world = world();
    let dns = serde_json::from_value(serde_json::json!({"domain": "shop.internal"})).unwrap();
    world.networks.get_mut("db").unwrap().dns = Some(dns);
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10"]);
    serve(&mut world, "crew/pg", &["db"], &["h1 1 db=10.89.1.10"]);
    serve(&mut world, "crew/agent", &[], &["h2 h2", "h3 h3"]);
    for (name, answer) in [
        ("web.shop.internal", "10.88.1.10"),
        ("pg.crew.shop.internal", "10.89.1.10"),
        ("pg.crew.internal", "none"),
        ("nothing.shop.internal", "none"),
        // On the hosts' own network: under every domain, by the hosts' addresses.
        ("agent.crew.internal", "10.0.0.12 10.0.0.13"),
        ("h3.agent.crew.shop.internal", "10.0.0.13"),
    ] {
        assert_eq!(a(&world, &here(), &gone(&[]), name), answer, "{name}");
    }
}

#[test]
fn a_service_without_copies_has_a_name_and_one_without_shards_has_none() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan"], &[]);
    assert_eq!(a(&world, &here(), &gone(&[]), "web.shop.internal"), "empty");
    world.endpoints.get_mut(&"shop/web".parse().unwrap()).unwrap().clear();
    assert_eq!(a(&world, &here(), &gone(&[]), "web.shop.internal"), "none");
}

#[test]
fn a_zone_that_was_never_learnt_denies_nothing() {
    let lan = r#"{"networks":{"lan":{"pool":"10.88.0.0/16","subnet":"10.88.1.0/24",
        "engine_name":"ek-lan","domain":"internal"}}}"#;
    let zone = Zone::unknown(&Here { networks: Some(serde_json::from_str(lan).unwrap()), ..here() });
    assert_eq!(ask(&zone, "web.shop.internal", Wanted::A, LAN), "unknown");
    assert_eq!(ask(&zone, "9.1.88.10.in-addr.arpa", Wanted::Ptr, LAN), "unknown");
    assert_eq!(ask(&zone, "example.org", Wanted::A, LAN), "foreign");
    assert_eq!(ask(&Zone::unknown(&here()), "web.shop.internal", Wanted::A, LAN), "foreign");
}

#[test]
fn equal_worlds_make_equal_zones_and_survive_the_disk() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan"], &["h2 2 lan=10.88.2.10", "h1 1 lan=10.88.1.10"]);
    let again: World = serde_json::from_str(&serde_json::to_string(&world).unwrap()).unwrap();
    assert_eq!(zone(&world, &here(), &gone(&[])), zone(&again, &here(), &gone(&[])));
}

#[test]
fn the_server_listens_on_the_hosts_gateways() {
    let addresses: Vec<String> = here().addresses(&world()).iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.88.1.1", "10.89.1.1"]);
}

#[test]
fn a_zone_from_the_last_one_is_the_zone_from_nothing() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10", "h2 2 lan=10.88.2.10"]);
    serve(&mut world, "shop/pg", &["lan", "db"], &["h3 1 lan=10.88.3.20 db=10.89.3.20"]);
    let mut zone = zone(&world, &here(), &gone(&[]));
    let changes: [fn(&mut World); 6] = [
        |world| serve(world, "shop/web", &["lan"], &["h2 2 lan=10.88.2.10 sick", "h1 3 lan=10.88.1.30"]),
        |world| body(world, "shop/pg").endpoints[0].ready = false,
        |world| {
            let names = ["web-alias".parse().unwrap()].into();
            body(world, "shop/web").aliases = [("lan".parse().unwrap(), names)].into();
        },
        |world| drop(world.endpoints.remove(&"shop/pg".parse().unwrap())),
        |world| assert!(world.hosts.remove("h3").is_some()),
        |world| drop(world.networks.remove("db")),
    ];
    for (at, change) in changes.iter().enumerate() {
        change(&mut world);
        for gone in [gone(&[]), gone(&["h2"])] {
            zone = zone.next(&world, &here(), &gone);
            assert_eq!(zone, super::zone(&world, &here(), &gone), "after change {at}");
        }
    }
}

#[test]
fn a_change_of_one_service_costs_no_other() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10"]);
    serve(&mut world, "shop/pg", &["lan"], &["h2 1 lan=10.88.2.20"]);
    let before = zone(&world, &here(), &gone(&[]));
    body(&mut world, "shop/web").endpoints[0].ready = false;
    let after = before.next(&world, &here(), &gone(&[]));
    let same = |name: &str| Arc::ptr_eq(&before.names["shop"][name], &after.names["shop"][name]);
    assert_eq!((same("web"), same("pg")), (false, true));
}

#[test]
fn names_lead_to_the_hosts_of_all_copies() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10", "h2 2 lan=10.88.2.10 sick"]);
    serve(&mut world, "shop/pg", &["db"], &["h2 1 db=10.89.2.20"]);
    assert_eq!(world.named_hosts(), gone(&["h1", "h2"]));
}

#[test]
fn a_copy_at_another_address_is_no_copy_that_is_known() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan"], &["h2 1 lan=10.88.2.10"]);
    let before = zone(&world, &here(), &gone(&[]));
    serve(&mut world, "shop/web", &["lan"], &["h2 1 lan=10.88.2.11"]);
    let after = before.next(&world, &here(), &gone(&[]));
    assert_eq!(ask(&after, "web.shop.internal", Wanted::A, LAN), "10.88.2.11");
}
