use evenkeel_api::key::Controller;
use evenkeel_api::name::HostName;
use evenkeel_api::network::Cidr;
use evenkeel_api::record::{Condition, ConditionType};
use evenkeel_plan::network::subnet::Parts;
use serde_json::json;

use super::*;
use crate::network::tests::{LAN, World, host, lan, network};

/// A leader that is driven by hand.
async fn reign(world: &World) -> Reign {
    let key = Key::Leader(Controller::Network);
    world.put(&key, &json!({})).await;
    let (deps, mod_revision) = (world.deps(), world.store.revision());
    let writer = Writer::new(deps.store.clone(), deps.env.clone(), deps.host.clone(), Controller::Network);
    let reign = Reign::start(&deps, &writer, Lead { key, mod_revision });
    reign.mirror.synced().await;
    reign
}

fn part(n: usize) -> (HostName, Cidr) {
    (format!("p{n}").parse().unwrap(), format!("10.88.{n}.0/24").parse().unwrap())
}

/// The network is on its way out, and that many hosts own a part of it.
async fn deleting(parts: usize) -> (World, Reign) {
    let world = World::new().await;
    let accepted = json!({
        "source_revision": 1, "create_revision": 1, "metadata": {}, "deleting": true,
        "spec": {"ipam": {"config": [{"subnet": "10.88.0.0/16"}]}},
    });
    world.put(&Key::Accepted(network()), &accepted).await;
    for (host, subnet) in (0..parts).map(part) {
        world.put(&Key::Subnet(lan(), host), &Subnet { subnet }).await;
    }
    let reign = reign(&world).await;
    (world, reign)
}

#[test]
fn a_leader_watches_what_networks_are_decided_by() {
    let watched = prefixes();
    let is_watched = |key: &&str| watched.iter().any(|prefix| key.starts_with(prefix));
    let wanted = [
        "networks/lan",
        "accepted/networks/lan",
        "status/networks/lan",
        "accepted/hosts/h1",
        "accepted/services/shop/web",
        "subnets/lan/h1",
        "facts/h1",
        "alive/h1",
        "reports/h1/network/lan",
    ];
    let others = ["services/shop/web", "health/h1/shop.web.1.a", "endpoints/shop/web/0"];
    let all = wanted.iter().chain(&others).copied();
    assert_eq!(all.filter(is_watched).collect::<Vec<_>>(), wanted);
}

#[test]
fn a_service_uses_the_networks_that_it_names_or_the_default_one() {
    for (template, networks) in [
        (json!({"image": "web"}), &["default"][..]),
        (json!({"image": "web", "networks": {"back": {}, "lan": {}}}), &["back", "lan"]),
        (json!({"image": "web", "network_mode": "host"}), &[]),
    ] {
        let spec: ServiceSpec = serde_json::from_value(json!({"template": template})).unwrap();
        let names = used(&spec);
        assert_eq!(names.iter().map(NetworkName::as_str).collect::<Vec<_>>(), networks);
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_waits_for_its_second_unless_it_answers_a_document() {
    let world = World::new().await;
    let mut reign = reign(&world).await;
    let status = |observed_revision| Status { observed_revision, ..Status::default() };
    let (second, none) = (Some(STATUS_EVERY), None);
    for (told, observed, accepts, waits) in [
        (None, 7, false, none),
        (Some(0), 7, false, second),
        (Some(400), 7, false, Some(Duration::from_millis(600))),
        (Some(1000), 7, false, none),
        (Some(0), 8, false, none),
        (Some(0), 7, true, none),
        (Some(0), 8, true, none),
    ] {
        reign.told = told.map(|ms| (lan(), Instant::now() - Duration::from_millis(ms))).into_iter().collect();
        let accept = accepts.then(|| {
            let spec = json!({"ipam": {"config": [{"subnet": "10.88.0.0/16"}]}});
            let record = json!({"source_revision": 1, "create_revision": 1, "metadata": {}, "spec": spec});
            serde_json::from_value(record).unwrap()
        });
        let decision = Decision { accept, status: Some(status(observed)), ..Decision::default() };
        let view = View { statuses: [(lan(), status(7))].into(), ..View::default() };
        let of = format!("told {told:?} ms ago, of {observed}, accepts {accepts}");
        assert_eq!(reign.too_soon(&lan(), &view, &decision), waits, "{of}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_just_told_is_told_again_a_second_later() {
    let world = World::new().await;
    let mut reign = reign(&world).await;
    let available = async |world: &World| -> Condition {
        let status: Status = world.get(&Key::Status(network())).await.unwrap();
        status.condition(ConditionType::Available).unwrap().clone()
    };
    world.document(LAN).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    for _ in 0..3 {
        reign.pass().await;
    }
    let before = available(&world).await;
    world.write(TxnBuilder::new().delete(&Key::Alive(host()))).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let pause = reign.pass().await;
    assert!(pause <= STATUS_EVERY && available(&world).await == before, "{pause:?}");
    tokio::time::sleep(pause).await;
    assert_eq!(reign.pass().await, LOOK_EVERY);
    assert_ne!(available(&world).await, before);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_once_the_leader_the_document_or_the_record_is_another() {
    for (changed, is_done) in [
        (None, true),
        (Some(Key::Leader(Controller::Network)), false),
        (Some(Key::Document(network())), false),
        (Some(Key::Accepted(network())), false),
    ] {
        let world = World::new().await;
        world.document(LAN).await;
        let reign = reign(&world).await;
        let view = reign.view();
        let decisions = decide(&view, reign.deps.env.wall());
        if let Some(key) = &changed {
            world.put(key, &json!({})).await;
        }
        let done = reign.write(&lan(), &view, &decisions[&lan()]).await.unwrap();
        assert_eq!(done, is_done, "{changed:?}");
        assert_eq!(world.store.peek("status/networks/").len(), usize::from(is_done), "{changed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_transaction_takes_as_many_parts_as_there_is_room_for() {
    let world = World::new().await;
    let reign = reign(&world).await;
    let some: BTreeMap<HostName, Cidr> = (0..=MAX_WRITES).map(part).collect();
    let claims = Parts { claims: some.clone(), ..Parts::default() };
    let releases = Parts { releases: some, ..Parts::default() };
    for parts in [claims, releases] {
        let decision = Decision { parts, ..Decision::default() };
        assert_eq!(reign.parts(&lan(), &decision, TxnBuilder::new()).writes(), MAX_WRITES);
    }
}

#[tokio::test(start_paused = true)]
async fn the_records_of_a_network_go_with_the_last_of_its_parts() {
    let room = MAX_WRITES - 2;
    for (parts, left) in [(0, 0), (1, 0), (room, 0), (room + 1, 1)] {
        let (world, reign) = deleting(parts).await;
        assert!(reign.finish(&lan(), &reign.view()).await.unwrap());
        assert_eq!(world.store.peek("subnets/").len(), left, "of {parts}");
        assert_eq!(world.store.peek("accepted/networks/").len(), left, "of {parts}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_never_accepted_ends_without_waiting_for_a_record_that_is_not_there() {
    let world = World::new().await;
    world.put(&Key::Status(network()), &Status::default()).await;
    let reign = reign(&world).await;
    let began = Instant::now();
    assert!(reign.finish(&lan(), &reign.view()).await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(world.store.peek("status/networks/").is_empty());
}
