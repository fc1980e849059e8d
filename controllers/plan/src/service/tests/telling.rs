//! What is said of services and hosts, and what names are told.

use evenkeel_api::key::Key;
use evenkeel_api::name::{NetworkName, ObjectName};
use evenkeel_api::record::{ConditionType, Copies, Endpoints, Status};
use evenkeel_api::service::{EndpointsPolicy, Mode, Mount, MountSource, Port};

use super::*;

/// The first copies that serve exit.
fn exit(lab: &mut Lab, count: usize) {
    let copies = lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut();
    let serve = copies.filter(|copy| {
        let wanted = copy.record.as_ref().is_some_and(|record| record.value.desired == Desired::Run);
        wanted && copy.observed.as_ref().is_some_and(ready::runs)
    });
    for copy in serve.take(count) {
        copy.observed = Some(observed(InstanceState::Exited { code: 1, oom: false }, 900));
    }
    lab.settle();
}

fn status(lab: &Lab) -> Status {
    lab.service("shop/web").status.as_ref().unwrap().value.clone()
}

fn host_status(lab: &Lab, name: &str) -> Option<Status> {
    lab.model.world.hosts[&host(name)].status.as_ref().map(|at| at.value.clone())
}

#[test]
fn a_service_is_available_while_no_more_copies_are_missing_than_its_rollout_exchanges() {
    // Replicas, whether a rollout exchanges one of them, and how many others exit.
    for (replicas, rolls, exits, said, progress) in [
        (3, false, 0, "true AllReady ", "false Settled "),
        (3, false, 1, "false TooFewReady 2 of 3 copies are ready", "true Starting "),
        (3, true, 0, "true EnoughReady 2 of 3 copies are ready", "true RollingOut 0 of 3 copies"),
        (3, true, 1, "false TooFewReady 1 of 3 copies are ready", "true RollingOut 0 of 3 copies"),
        (1, true, 0, "false TooFewReady 0 of 1 copies are ready", "true RollingOut 0 of 1 copies"),
    ] {
        let mut lab = Lab::new(3);
        lab.put("shop/web", spec("web:1", replicas));
        lab.seconds(20);
        if rolls {
            lab.put("shop/web", spec("web:2", replicas));
            lab.settle();
        }
        exit(&mut lab, exits);
        let told = lab.condition("shop/web", ConditionType::Available);
        assert_eq!(told, said, "{replicas} replicas, rolls: {rolls}, {exits} exit");
        let progressing = lab.condition("shop/web", ConditionType::Progressing);
        assert!(progressing.starts_with(progress), "{progressing}, not {progress}");
    }
}

#[test]
fn a_service_that_no_host_may_run_is_told_apart_from_one_that_fails() {
    let words = "host policy on h1 does not allow privileged for namespace shop";
    let refused = || InstanceState::refused(words);
    // As hosts of 0.1.0 say it.
    let before = |why: &str| InstanceState::Failed { why: why.to_owned(), refused: None };
    for (replicas, state, said) in [
        (1, InstanceState::failed("no such image"), "true CopyFailed shop.web.1."),
        (1, refused(), "true Refused slot 1: host policy on h1 does"),
        (4, refused(), "true Refused slot 1 (and 3 more): host policy on h1 does"),
        (1, InstanceState::refused("not here"), "true Refused slot 1: not here; all 3 hosts"),
        (1, InstanceState::failed(words), "true CopyFailed shop.web.1."),
        (1, before(words), "true Refused slot 1: host policy on h1 does"),
        (1, before("no such image"), "true CopyFailed shop.web.1."),
    ] {
        let mut lab = Lab::new(3);
        lab.bad.insert("web:1".to_owned(), state);
        lab.put("shop/web", spec("web:1", replicas));
        let degraded = |lab: &Lab| lab.condition("shop/web", ConditionType::Degraded);
        lab.settle();
        lab.obey();
        lab.settle();
        // Other hosts may have other policies.
        assert!(!degraded(&lab).contains("Refused"), "{}", degraded(&lab));
        lab.seconds(60);
        assert!(degraded(&lab).starts_with(said), "{}, not {said}", degraded(&lab));
        lab.bad.clear();
        lab.seconds(120);
        assert!(degraded(&lab).starts_with("false Fine"), "{}", degraded(&lab));
    }
}

#[test]
fn a_slot_whose_own_copy_has_the_port_is_refused_everywhere_too_and_one_that_was_let_in_is_not() {
    let mut lab = Lab::new(1);
    lab.bad.insert("web:1".to_owned(), InstanceState::refused("host policy on h1 does not allow privileged"));
    let mut document = spec("web:1", 1);
    document.template.ports.push(published(80));
    lab.put("shop/web", document);
    lab.seconds(60);
    let degraded = |lab: &Lab| lab.condition("shop/web", ConditionType::Degraded);
    assert!(degraded(&lab).starts_with("true Refused slot 1: host policy"), "{}", degraded(&lab));
    // It came past the policy, and ended by itself.
    let copies = lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut();
    for copy in copies {
        copy.observed = Some(observed(InstanceState::Exited { code: 1, oom: false }, 900));
    }
    lab.settle();
    assert!(!degraded(&lab).contains("Refused"), "{}", degraded(&lab));
}

#[test]
fn copies_are_counted_as_far_as_they_are_to_stay() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(20);
    lab.put("shop/web", spec("web:2", 3));
    lab.settle();
    assert_eq!(status(&lab).copies, Some(Copies { desired: 3, running: 2, ready: 2, updated: 0 }));
    lab.seconds(8);
    assert_eq!(status(&lab).copies, Some(Copies { desired: 3, running: 3, ready: 3, updated: 1 }));
    exit(&mut lab, 1);
    assert_eq!(status(&lab).copies, Some(Copies { desired: 3, running: 2, ready: 2, updated: 1 }));
}

#[test]
fn a_condition_tells_since_when_it_holds_whatever_is_said_of_it() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    for (wall, exits, expected) in
        [(1000, 0, (true, 1000)), (2000, 1, (false, 2000)), (3000, 1, (false, 2000)), (4000, 0, (true, 4000))]
    {
        lab.model.world.wall = Timestamp(wall);
        if exits == 0 {
            lab.seconds(20);
        }
        exit(&mut lab, exits);
        let status = status(&lab);
        let available = status.condition(ConditionType::Available).unwrap();
        assert_eq!((available.status, available.since), (expected.0, Timestamp(expected.1)));
    }
}

#[test]
fn a_document_that_was_never_valid_is_told_of_and_leaves_nothing_behind() {
    let mut lab = Lab::new(1);
    lab.put_parsed("shop/web", Err("line 3: there is no image".into()));
    lab.settle();
    let said = lab.condition("shop/web", ConditionType::Valid);
    assert_eq!(said, "false Invalid line 3: there is no image; no revision of it was ever valid");
    lab.delete("shop/web");
    let plans = lab.settle();
    assert!(!lab.model.world.services.contains_key(&id("shop/web")));
    assert!(plans.iter().all(|plan| plan.events.is_empty()), "nothing was ever there to be deleted");
}

#[test]
fn nothing_of_a_service_with_a_record_that_cannot_be_read_is_changed() {
    let mut lab = Lab::new(2);
    lab.put("shop/web", spec("web:1", 2));
    lab.seconds(20);
    let (copies, counted) = (lab.service("shop/web").copies.clone(), status(&lab).copies);
    let service = lab.model.world.services.get_mut(&id("shop/web")).unwrap();
    service.unreadable.insert(Key::Rollout(id("shop/web")));
    lab.put("shop/web", spec("web:2", 3));
    lab.seconds(60);
    assert_eq!((&lab.service("shop/web").copies, status(&lab).copies), (&copies, counted));
    let said = lab.condition("shop/web", ConditionType::Degraded);
    let expected =
        format!("true Unreadable {} cannot be read, so nothing is changed", Key::Rollout(id("shop/web")));
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn a_host_has_a_status_for_as_long_as_it_has_a_document() {
    let mut lab = Lab::new(1);
    let name = host("h2");
    lab.model.world.hosts.entry(name.clone()).or_default().alive =
        Some(Alive { boot_id: "a".into(), incarnation: 1 });
    lab.settle();
    assert_eq!(host_status(&lab, "h2"), None, "only its lease is known");
    let parsed = Err("line 1: there is no address".into());
    lab.model.world.hosts.get_mut(&name).unwrap().document =
        Some(Document { mod_revision: 500, create_revision: 500, parsed });
    lab.settle();
    let status = host_status(&lab, "h2").unwrap();
    let valid = status.condition(ConditionType::Valid).unwrap();
    assert_eq!((valid.status, status.accepted_revision), (false, None));
    lab.model.world.hosts.get_mut(&name).unwrap().document = None;
    lab.settle();
    assert_eq!(host_status(&lab, "h2"), None);
}

#[test]
fn a_copy_that_stays_on_a_lost_host_tells_what_it_waits_for() {
    let mut global = spec("web:1", 1);
    global.deploy.mode = Some(Mode::Global);
    let mut homed = spec("web:1", 3);
    homed.template.mounts.push(Mount {
        target: "/data".into(),
        source: MountSource::Volume { name: "data".parse().unwrap(), nocopy: false },
        read_only: false,
    });
    let volume = ", and so is its volume: it waits for the host; if that is dead for good, give both up with \
                  `evenkeel host remove h2 --dead` (with an etcd of your own, `evenkeel delete host h2`)";
    for (document, rest) in [(global, ": it waits for the host"), (homed, volume)] {
        let mut lab = Lab::new(3);
        lab.put("shop/web", document);
        lab.seconds(20);
        lab.host_gone("h2");
        lab.seconds(20);
        let degraded = lab.condition("shop/web", ConditionType::Degraded);
        assert!(degraded.starts_with("true HostLost shop.web."), "{degraded}");
        assert!(degraded.ends_with(&format!(" is on h2, which is lost{rest}")), "{degraded}");
    }
}

#[test]
fn a_copy_that_fails_tells_why() {
    let mut lab = Lab::new(1);
    lab.bad.insert("web:1".into(), InstanceState::failed("exec format error"));
    lab.put("shop/web", spec("web:1", 1));
    lab.seconds(10);
    let degraded = lab.condition("shop/web", ConditionType::Degraded);
    assert!(degraded.starts_with("true CopyFailed shop.web.1."), "{degraded}");
    assert!(degraded.ends_with(" on h1: exec format error"), "{degraded}");
}

fn endpoints(lab: &Lab, service: &str) -> Endpoints {
    lab.service(service).endpoints[&0].value.clone()
}

#[test]
fn endpoints_are_in_the_order_of_their_slots_numbers() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 12));
    lab.seconds(1);
    let slots =
        endpoints(&lab, "shop/web").endpoints.into_iter().filter_map(|endpoint| endpoint.slot.number());
    assert_eq!(slots.collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
}

#[test]
fn names_are_told_of_ports_that_have_names_and_of_further_names() {
    let mut lab = Lab::new(1);
    let mut wanted = spec("web:1", 1);
    for (name, target) in [(Some("http"), 80), (None, 81), (Some("admin"), 82)] {
        let name = name.map(|name| name.parse().unwrap());
        wanted.template.ports.push(Port { name, target, protocol: Default::default(), published: None });
    }
    let network: NetworkName = "default".parse().unwrap();
    wanted.template.networks.entry(network.clone()).or_default().aliases.push("www".parse().unwrap());
    wanted.template.container_name = Some("front".parse().unwrap());
    lab.put("shop/web", wanted);
    lab.put("shop/plain", spec("web:1", 1));
    lab.seconds(1);
    let told = endpoints(&lab, "shop/web");
    let ports: Vec<String> =
        told.endpoints[0].ports.iter().map(|port| format!("{}:{}", port.name, port.port)).collect();
    assert_eq!(ports, ["admin:82", "http:80"]);
    let names: BTreeSet<ObjectName> = ["front", "www"].map(|name| name.parse().unwrap()).into();
    assert_eq!(told.aliases, [(network, names)].into());
    assert!(endpoints(&lab, "shop/plain").aliases.is_empty());
}

/// Each copy in a shard of its own: with many of them, more shards than a batch has room for.
pub(super) fn one_a_shard(lab: &mut Lab) {
    let service = lab.model.world.services.get_mut(&id("shop/web")).unwrap();
    let shards = std::mem::take(&mut service.endpoints);
    let head = shards[&0].clone();
    let all = shards.into_values().flat_map(|shard| shard.value.endpoints);
    let alone = all.zip(0..).map(|(endpoint, number)| {
        let value = Endpoints { endpoints: vec![endpoint], ..head.value.clone() };
        (number, At { value, ..head.clone() })
    });
    service.endpoints = alone.collect();
    assert!(lab.settle().is_empty(), "they stay where they are");
}

#[test]
fn copies_that_leave_are_out_of_the_names_in_the_batch_that_sends_them_away() {
    let mut lab = Lab::new(10);
    lab.put("shop/web", spec("web:1", 100));
    lab.seconds(10);
    one_a_shard(&mut lab);
    // All shards change.
    let mut wanted = spec("web:1", 50);
    wanted.endpoints_policy = Some(EndpointsPolicy::Empty);
    lab.put("shop/web", wanted);
    while lab.model.pass().unwrap().iter().any(|plan| !plan.is_empty()) {
        let service = lab.service("shop/web");
        let named = service.endpoints.values().flat_map(|shard| &shard.value.endpoints);
        for endpoint in named {
            let record = service.copies[&endpoint.id].record.as_ref().unwrap();
            assert_eq!(record.value.desired, Desired::Run, "{}", endpoint.id);
        }
    }
    let shards = &lab.service("shop/web").endpoints;
    assert!(shards.values().all(|shard| shard.value.policy == EndpointsPolicy::Empty));
    assert_eq!(shards.values().map(|shard| shard.value.endpoints.len()).sum::<usize>(), 50);
}

#[test]
fn a_status_names_the_revision_that_was_looked_at_and_the_one_that_holds() {
    let mut lab = Lab::new(1);
    let of_host = |lab: &Lab| {
        let status = host_status(lab, "h1").unwrap();
        (status.observed_revision, status.accepted_revision)
    };
    let first = lab.model.world.hosts[&host("h1")].document.as_ref().unwrap().mod_revision;
    assert_eq!(of_host(&lab), (first, Some(first)));
    lab.model.revision += 1;
    let second = lab.model.revision;
    let document = lab.model.world.hosts.get_mut(&host("h1")).unwrap().document.as_mut().unwrap();
    (document.mod_revision, document.parsed) = (second, Err("bad".to_owned()));
    lab.settle();
    assert_eq!(of_host(&lab), (second, Some(first)));
    let bad = lab.put_parsed("shop/web", Err("bad".to_owned()));
    lab.settle();
    let status = status(&lab);
    assert_eq!((status.observed_revision, status.accepted_revision), (bad, None));
}

#[test]
fn a_reservation_that_no_host_has_is_told_of_while_copies_stay_where_they_are() {
    let degraded = |lab: &Lab| lab.condition("shop/web", ConditionType::Degraded);
    let reserving = |memory: u64| {
        let mut wanted = spec("web:1", 3);
        wanted.deploy.reservations.memory = Some(Bytes(memory << 30));
        wanted
    };
    let mut lab = Lab::new(3);
    lab.put("shop/web", reserving(1));
    lab.seconds(20);
    let running = lab.running("shop/web");
    // Each host has 4G: with 3G there is room for one on each, and for none to move to.
    for (memory, told) in [
        (3, "false Fine "),
        (
            64,
            "true Crowded more is reserved on h1, h2, h3 than they have: what runs there stays, and would fit nowhere if it \
             had to move: none of 3 hosts fits: 3 lack memory (64G is reserved)",
        ),
        (1, "false Fine "),
    ] {
        lab.put("shop/web", reserving(memory));
        lab.seconds(5);
        assert_eq!(degraded(&lab), told);
        assert_eq!(lab.running("shop/web"), running);
        assert!(lab.settle().is_empty());
    }
    // One host has too little of late, and another has room.
    let facts = |lab: &mut Lab, name: &str, memory: u64| {
        lab.model.world.hosts.get_mut(&host(name)).unwrap().facts.as_mut().unwrap().memory =
            Bytes(memory << 20);
    };
    facts(&mut lab, "h1", 512);
    lab.seconds(60);
    assert_eq!(degraded(&lab), "false Fine ");
    for name in ["h2", "h3"] {
        facts(&mut lab, name, 1024);
    }
    lab.put("shop/web", reserving(1));
    lab.seconds(5);
    let said = degraded(&lab);
    assert!(
        said.starts_with("true Crowded more is reserved on h1 than it has: what runs there stays"),
        "{said}"
    );
}
