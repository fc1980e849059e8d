use evenkeel_api::network::Cidr;

use super::admission::name;
use super::hosts::World;
use super::parts::spec;
use crate::network::host::{Verdict, Wanted};
use crate::network::state::*;

fn deleting(world: &mut World) {
    world.inputs.networks.get_mut(&name("lan")).unwrap().deleting = true;
}

/// The host gets another part of `lan`.
fn another_part(world: &mut World) {
    let part = "10.88.7.0/24".parse().unwrap();
    world.inputs.subnets.get_mut(&name("lan")).unwrap().insert("h1".parse().unwrap(), part);
}

fn blocked(world: &World) -> String {
    match &world.plan().verdicts[&name("lan")] {
        Verdict::Blocked { why } => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_network_waits_for_its_own_steps_only() {
    let mut world = World::new();
    let (db, part): (_, Cidr) = (name("db"), "10.89.1.0/24".parse().unwrap());
    world.inputs.networks.insert(db.clone(), Wanted { spec: spec(&["10.89.0.0/16"], 24), deleting: false });
    world.inputs.subnets.insert(db.clone(), [("h1".parse().unwrap(), part)].into());
    world.settle();
    world.fabric.links.get_mut("ek-db").unwrap().proxy_arp = false;
    let verdicts = world.plan().verdicts;
    assert_eq!(verdicts[&db], Verdict::Pending);
    assert!(matches!(verdicts[&name("lan")], Verdict::Ready { .. }), "{verdicts:?}");
}

#[test]
fn nothing_is_told_of_a_network_without_a_part_here() {
    let mut world = World::new();
    world.inputs.subnets.get_mut(&name("lan")).unwrap().remove("h1");
    assert!(world.plan().verdicts.is_empty());
}

#[test]
fn a_deleting_network_is_gone_when_nothing_of_it_can_be_here() {
    let told = |world: &World| world.plan().verdicts[&name("lan")].clone();
    let mut world = World::new();
    deleting(&mut world);
    assert_eq!(told(&world), Verdict::Gone);
    world.engine = None;
    assert_eq!(told(&world), Verdict::Pending, "the engine may have it");

    let mut world = World::new();
    world.settle();
    deleting(&mut world);
    world.may_remove = false;
    assert_eq!((world.shown(), told(&world)), (Vec::new(), Verdict::Pending), "it stands");
    world.may_remove = true;
    world.apply(&world.plan());
    assert_eq!(told(&world), Verdict::Pending, "its rules and routes stand");
    world.settle();
    assert_eq!(told(&world), Verdict::Gone);
}

#[test]
fn a_bridge_without_its_address_is_not_ready_and_the_engine_is_to_be_restarted() {
    let edits: [fn(&mut Link); 2] = [|link| link.addresses.clear(), |link| link.bridge = false];
    for edit in edits {
        let mut world = World::new();
        world.settle();
        edit(world.fabric.links.get_mut("ek-lan").unwrap());
        let why =
            "Docker network ek-lan is there, but its bridge ek-lan with 10.88.1.1 is not: restart the engine";
        assert_eq!(blocked(&world), why);
        assert!(world.plan().local.networks.is_empty(), "nobody is to rely on it");
    }
}

#[test]
fn without_trust_a_network_with_another_part_stays_as_it_is() {
    let mut world = World::new();
    world.settle();
    another_part(&mut world);
    world.may_remove = false;
    assert_eq!(world.shown(), Vec::<String>::new(), "its copies are still reached, and guarded");
    let why = "Docker network ek-lan stands with other addresses, and nothing is removed while the store is not trusted";
    assert_eq!(blocked(&world), why);
}

#[test]
fn without_trust_what_stands_is_still_mended() {
    let mut world = World::new();
    world.settle();
    world.may_remove = false;
    world.fabric.links.get_mut("ek-lan").unwrap().proxy_arp = false;
    assert_eq!(world.shown(), ["proxy ARP on ek-lan"]);
}

#[test]
fn the_route_to_a_part_that_was_given_back_goes_while_the_network_stays() {
    let mut world = World::new();
    world.settle();
    world.inputs.subnets.get_mut(&name("lan")).unwrap().remove("h2");
    assert_eq!(world.shown(), ["remove route 10.88.2.0/24 via 10.0.0.12 src 10.88.1.1"]);
}

#[test]
fn rules_fall_only_with_trust_and_once_the_engine_says_that_nothing_stands() {
    let mut world = World::new();
    world.settle();
    world.inputs.networks.clear();
    world.inputs.subnets.clear();
    world.fabric.routes.clear();
    let empty = Some(Vec::new());
    for (may_remove, engine, steps) in
        [(false, empty.clone(), 0), (true, None, 0), (false, None, 0), (true, empty, 3)]
    {
        (world.may_remove, world.engine) = (may_remove, engine);
        assert_eq!(world.shown().len(), steps, "{:?}", world.shown());
    }
}

#[test]
fn while_the_engine_is_away_a_deleting_network_is_guarded_as_long_as_its_bridge_is_there() {
    let mut world = World::new();
    world.settle();
    deleting(&mut world);
    world.engine = None;
    world.fabric.table = None;
    let plan = world.plan();
    let loads = |step: &Step| matches!(&step.action, Action::Fabric(FabricAction::LoadTable { text, .. }) if text.contains("ek-lan"));
    assert!(plan.steps.iter().any(loads) && plan.boot.contains("10.88.0.0/16"), "{plan:?}");
    assert!(
        !plan.steps.iter().any(|step| step.action.removes()),
        "its last copies may still need the routes"
    );
    world.fabric.links.remove("ek-lan");
    assert!(!world.plan().steps.iter().any(loads));
}

#[test]
fn the_engines_rules_are_lost_only_where_a_network_of_ours_stands() {
    let mut world = World::new();
    world.fabric.engine.present = false;
    assert!(!world.plan().engine_firewall_lost, "the engine makes them with its first network");
    world.settle();
    assert!(world.plan().engine_firewall_lost);
    world.fabric.engine.present = true;
    assert!(!world.plan().engine_firewall_lost);
}

#[test]
fn the_bridge_of_another_engine_network_is_a_conflict_and_its_own_bridge_is_none() {
    let mut world = World::new();
    let other = |bridge: &str| {
        let network = EngineNetwork { name: "other".into(), ..EngineNetwork::default() };
        Some(vec![EngineNetwork { bridge: Some(bridge.into()), ..network }])
    };
    world.engine = other("br-1");
    assert_eq!(world.plan().verdicts[&name("lan")], Verdict::Pending);
    world.engine = other("ek-lan");
    let why = "Network lan needs the bridge ek-lan, which Docker network other has".to_owned();
    assert_eq!(world.plan().verdicts[&name("lan")], Verdict::Conflict { why });
}

#[test]
fn what_may_be_wanted_were_the_store_wrong_is_known() {
    let route =
        Route { to: "10.88.2.0/24".parse().unwrap(), via: [10, 0, 0, 12].into(), src: [10, 88, 1, 1].into() };
    let removes = |action| Action::Fabric(action).removes();
    assert!(Action::RemoveNetwork { name: "ek-lan".into() }.removes());
    assert!(removes(FabricAction::DropTable) && removes(FabricAction::DropRoute(route)));
    assert!(!removes(FabricAction::PutRoute(route)) && !removes(FabricAction::Jump));
}
