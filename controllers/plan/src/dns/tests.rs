use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::local::{LocalHealth, LocalInstance, LocalInstances};
use evenkeel_api::record::{
    CheckState, Desired, Endpoint, EndpointPort, Endpoints, Health, InstanceState, Observed, Timestamp,
    Verdict,
};
use evenkeel_api::service::EndpointsPolicy;

use super::*;

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
        ("cart.shop.internal", Wanted::A, LAN, "none"),
        ("shop.internal", Wanted::A, LAN, "empty"),
        ("shap.internal", Wanted::A, LAN, "none"),
        ("internal", Wanted::A, LAN, "empty"),
        ("internal", Wanted::Soa, LAN, "soa internal"),
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
fn a_container_on_two_networks_gets_what_it_can_reach() {
    let mut world = world();
    let other = r#"{"ipam":{"config":[{"subnet":"10.90.0.0/16"}]}}"#;
    world.networks.insert("far".parse().unwrap(), serde_json::from_str(other).unwrap());
    serve(&mut world, "shop/web", &["lan", "db"], &["h1 1 lan=10.88.1.10 db=10.89.1.10"]);
    serve(&mut world, "shop/pg", &["far", "db"], &["h2 1 far=10.90.2.20 db=10.89.2.20"]);
    let zone = zone(&world, &here(), &gone(&[]));
    assert_eq!(ask(&zone, "pg.shop.internal", Wanted::A, "10.88.1.10"), "10.89.2.20");
    assert_eq!(ask(&zone, "pg.shop.internal", Wanted::A, "10.88.1.11"), "10.90.2.20");
}

#[test]
fn sick_copies_are_a_last_resort_or_nothing() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10", "h2 2 lan=10.88.2.10 sick"]);
    assert_eq!(a(&world, &here(), &gone(&[]), "web.shop.internal"), "10.88.1.10");
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10 sick", "h2 2 lan=10.88.2.10 sick"]);
    assert_eq!(a(&world, &here(), &gone(&[]), "web.shop.internal"), "10.88.1.10 10.88.2.10");
    body(&mut world, "shop/web").policy = EndpointsPolicy::Empty;
    assert_eq!(a(&world, &here(), &gone(&[]), "web.shop.internal"), "empty");
    assert_eq!(a(&world, &here(), &gone(&[]), "1.web.shop.internal"), "empty");
}

#[test]
fn hosts_that_are_gone_are_left_out_but_never_all() {
    let mut world = world();
    let copies = ["h1 1 lan=10.88.1.10", "h2 2 lan=10.88.2.10", "h3 3 lan=10.88.3.10"];
    serve(&mut world, "shop/web", &["lan"], &copies);
    for (hosts, answer) in [
        (&["h2"][..], "10.88.1.10 10.88.3.10"),
        // The own host is there, whatever its lease says.
        (&["h1", "h2", "h3"], "10.88.1.10"),
    ] {
        assert_eq!(a(&world, &here(), &gone(hosts), "web.shop.internal"), answer);
    }
    serve(&mut world, "shop/web", &["lan"], &copies[1..]);
    assert_eq!(a(&world, &here(), &gone(&["h2", "h3"]), "web.shop.internal"), "10.88.2.10 10.88.3.10");
    body(&mut world, "shop/web").policy = EndpointsPolicy::Empty;
    assert_eq!(a(&world, &here(), &gone(&["h2", "h3"]), "web.shop.internal"), "10.88.2.10 10.88.3.10");
}

#[test]
fn half_a_second_decides_who_is_gone() {
    let mut absences = Absences::default();
    let (named, at) = (gone(&["h1", "h2"]), Duration::from_millis);
    absences.observe(&named, &gone(&["h1"]), at(1000));
    assert_eq!(absences.gone(at(1499)), gone(&[]));
    assert_eq!(absences.next(at(1499)), Some(at(1500)));
    absences.observe(&named, &gone(&["h1"]), at(1499));
    assert_eq!(absences.gone(at(1500)), gone(&["h2"]));
    assert_eq!(absences.next(at(1500)), None);
    absences.observe(&named, &gone(&["h1", "h2"]), at(1600));
    absences.observe(&named, &gone(&["h1"]), at(1700));
    assert_eq!(absences.gone(at(2199)), gone(&[]));
}

fn observed(state: InstanceState, started: i64) -> Observed {
    Observed {
        state,
        since: Timestamp(0),
        addresses: Default::default(),
        ports: Vec::new(),
        restarts: 0,
        started: Some(Timestamp(started)),
        engine_health: None,
        digest: None,
    }
}

fn local(desired: Desired, observed: Observed) -> Here {
    let id = "shop.web.1.1".parse().unwrap();
    let instances = [(id, LocalInstance { desired, observed, ports: Vec::new() })].into();
    Here { instances: Some(LocalInstances { instances }), ..here() }
}

fn verdict(mut here: Here, check: &str, verdict: Verdict, started: i64) -> Here {
    let state = CheckState { verdict, since: Timestamp(0), revision: 1, evidence: String::new() };
    let health = Health { started: Timestamp(started), checks: [(check.parse().unwrap(), state)].into() };
    here.health = Some(LocalHealth { health: [("shop.web.1.1".parse().unwrap(), health)].into() });
    here
}

#[test]
fn what_the_host_knows_itself_takes_its_copy_out_at_once() {
    let mut world = world();
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10", "h2 2 lan=10.88.2.10"]);
    world.checks.insert("shop/web-http".parse().unwrap(), "shop/web".parse().unwrap());
    let (both, other) = ("10.88.1.10 10.88.2.10", "10.88.2.10");
    let running = || local(Desired::Run, observed(InstanceState::Running, 5));
    let exited = observed(InstanceState::Exited { code: 1, oom: false }, 5);
    let mut engine = running();
    let copies = &mut engine.instances.as_mut().unwrap().instances;
    copies.get_mut(&"shop.web.1.1".parse().unwrap()).unwrap().observed.engine_health =
        Some(Verdict::Unhealthy);
    for (why, here, answer) in [
        ("running", running(), both),
        ("nothing known", here(), both),
        ("exited", local(Desired::Run, exited), other),
        ("draining", local(Desired::Drain, observed(InstanceState::Running, 5)), other),
        ("engine's check", engine, other),
        ("sick", verdict(running(), "web-http", Verdict::Unhealthy, 5), other),
        ("healthy", verdict(running(), "web-http", Verdict::Healthy, 5), both),
        ("a check that does not count", verdict(running(), "web-log", Verdict::Unhealthy, 5), both),
        ("started anew, not checked yet", verdict(running(), "web-http", Verdict::Healthy, 4), other),
        ("a new check has not passed yet", verdict(running(), "web-http", Verdict::Starting, 5), both),
    ] {
        assert_eq!(a(&world, &here, &gone(&[]), "web.shop.internal"), answer, "{why}");
    }
    // Local knowledge never lists what the leader has taken out.
    serve(&mut world, "shop/web", &["lan"], &["h2 2 lan=10.88.2.10"]);
    assert_eq!(a(&world, &running(), &gone(&[]), "web.shop.internal"), other);
    // The only copy, sick by local knowledge: still the last resort.
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10"]);
    let sick = verdict(running(), "web-http", Verdict::Unhealthy, 5);
    assert_eq!(a(&world, &sick, &gone(&[]), "web.shop.internal"), "10.88.1.10");
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
