//! Which copies names lead to.

use std::time::Duration;

use evenkeel_api::local::{LocalHealth, LocalInstance, LocalInstances};
use evenkeel_api::record::{CheckState, Desired, Health, InstanceState, Observed, Timestamp, Verdict};
use evenkeel_api::service::EndpointsPolicy;

use super::*;

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
    // A new run need not pass before names lead to it where no check counts for them.
    world.checks = [("shop/pg-tcp".parse().unwrap(), "shop/pg".parse().unwrap())].into();
    let anew = verdict(running(), "web-log", Verdict::Healthy, 4);
    assert_eq!(a(&world, &anew, &gone(&[]), "web.shop.internal"), both);
    world.checks.insert("shop/web-http".parse().unwrap(), "shop/web".parse().unwrap());
    // Local knowledge never lists what the leader has taken out.
    serve(&mut world, "shop/web", &["lan"], &["h2 2 lan=10.88.2.10"]);
    assert_eq!(a(&world, &running(), &gone(&[]), "web.shop.internal"), other);
    // The only copy, sick by local knowledge: still the last resort.
    serve(&mut world, "shop/web", &["lan"], &["h1 1 lan=10.88.1.10"]);
    let sick = verdict(running(), "web-http", Verdict::Unhealthy, 5);
    assert_eq!(a(&world, &sick, &gone(&[]), "web.shop.internal"), "10.88.1.10");
}

fn why(world: &World, here: &Here, hosts: &[&str]) -> Vec<String> {
    let said = ask(&zone(world, here, &gone(hosts)), "why.web.shop.internal", Wanted::Txt, LAN);
    said.split("; ").map(|line| line.replace(".web.shop", "")).collect()
}

#[test]
fn a_name_says_why_it_leads_where_it_leads() {
    let mut world = world();
    let well = ["h1 1 lan=10.88.1.10", "h2 2 lan=10.88.2.10", "h3 3 lan=10.88.3.10"];
    let sick = well.map(|copy| format!("{copy} sick"));
    serve(&mut world, "shop/web", &["lan"], &[well[0], &sick[1], well[2]]);
    assert_eq!(
        why(&world, &here(), &["h3"]),
        ["1 on h1: answers", "2 on h2: left out, not ready", "3 on h3: left out, its host is silent"]
    );
    let away = local(Desired::Stop, observed(InstanceState::Running, 5));
    assert_eq!(why(&world, &away, &[])[0], "1 on h1: left out, it does not run");
    serve(&mut world, "shop/web", &["lan"], &[&sick[0], &sick[1], &sick[2]]);
    assert_eq!(
        why(&world, &here(), &["h3"]),
        [
            "1 on h1: answers, though not ready: no copy is",
            "2 on h2: answers, though not ready: no copy is",
            "3 on h3: left out, not ready and its host is silent"
        ]
    );
    assert_eq!(
        why(&world, &away, &["h2", "h3"])[1],
        "2 on h2: answers, though not ready and its host silent: there is no better one"
    );
    body(&mut world, "shop/web").policy = EndpointsPolicy::Empty;
    assert_eq!(
        why(&world, &here(), &["h3"]),
        [
            "1 on h1: left out, not ready",
            "2 on h2: left out, not ready",
            "3 on h3: left out, not ready and its host is silent"
        ]
    );
    serve(&mut world, "shop/web", &["lan"], &[well[1], "h3 3"]);
    assert_eq!(
        why(&world, &here(), &["h2"]),
        [
            "2 on h2: answers, though its host is silent: no other copy is ready",
            "3 on h3: left out, it has no address here"
        ]
    );
    // On the hosts' own network.
    serve(&mut world, "shop/web", &[], &["h2 2", "h3 3 sick"]);
    assert_eq!(why(&world, &here(), &[]), ["2 on h2: answers", "3 on h3: left out, not ready"]);
    // A slot has the name before that.
    serve(&mut world, "shop/web", &["lan"], &["h2 why lan=10.88.2.10"]);
    assert_eq!(why(&world, &here(), &[]), ["empty"]);
}
