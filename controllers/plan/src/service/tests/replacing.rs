//! Slots whose copies are of no use any more: when there is a new one, where, and why.

use evenkeel_api::name::Slot;
use evenkeel_api::record::ConditionType;
use evenkeel_api::service::RestartCondition;

use super::drafts::ask;
use super::slots::becomes;
use super::*;
use crate::service::failover::Presence;
use crate::service::slots::fill;

fn failed() -> InstanceState {
    InstanceState::failed("no space left")
}

/// Hosts with copies that run and were watched.
fn lab(hosts: u32, wanted: &ServiceSpec) -> Lab {
    let mut lab = Lab::new(hosts);
    lab.put("shop/web", wanted.clone());
    lab.seconds(100);
    lab
}

/// The newest copy of a slot, and why it was made.
fn newest(lab: &Lab, slot: u32) -> (InstanceId, String) {
    let copies = lab.service("shop/web").copies.iter();
    let of_slot = copies.filter(|(id, _)| id.slot == Slot::numbered(slot));
    let (id, copy) = of_slot.max_by_key(|(id, _)| id.seq).unwrap();
    (id.clone(), copy.record.as_ref().unwrap().value.cause.clone())
}

#[test]
fn a_copy_says_why_it_was_made() {
    for why in ["wanted", "failed", "lost", "left"] {
        let mut lab = lab(3, &spec("web:1", 3));
        let (before, cause) = newest(&lab, 2);
        assert_eq!(cause, "wanted by the service");
        match why {
            "failed" => becomes(&mut lab, "2", &failed()),
            "lost" => lab.host_gone("h2"),
            "left" => {
                lab.host_gone("h2");
                lab.model.world.hosts.get_mut("h2").unwrap().document = None;
            }
            _ => {}
        }
        let expected = match why {
            "failed" => format!("{before} failed on h2"),
            "lost" => "h2 is lost".into(),
            "left" => "h2 left the cluster".into(),
            _ => continue,
        };
        lab.settle();
        lab.seconds(3);
        let (after, cause) = newest(&lab, 2);
        assert_ne!(before, after, "{why}");
        assert_eq!(cause, expected);
    }
}

#[test]
fn what_ended_as_it_was_meant_to_has_no_successor() {
    use RestartCondition::{Any, None as Never, OnFailure};
    let stopped = |code| InstanceState::Stopped { code: Some(code) };
    for (condition, state, began, replaced) in [
        (Never, stopped(0), true, false),
        (Never, stopped(1), true, false),
        (Never, failed(), true, false),
        (Never, failed(), false, true),
        (OnFailure, stopped(0), true, false),
        (OnFailure, stopped(1), true, true),
        (OnFailure, failed(), true, true),
        (Any, stopped(0), true, true),
        (Any, failed(), true, true),
    ] {
        let mut wanted = spec("web:1", 1);
        wanted.deploy.restart_policy.condition = Some(condition);
        let mut lab = lab(2, &wanted);
        let (before, _) = newest(&lab, 1);
        becomes(&mut lab, "1", &state);
        if !began {
            let service = lab.model.world.services.get_mut(&id("shop/web")).unwrap();
            service.copies.get_mut(&before).unwrap().observed.as_mut().unwrap().started = None;
        }
        lab.settle();
        assert_eq!(newest(&lab, 1).0 != before, replaced, "{condition:?} {state:?} {began}");
    }
}

#[test]
fn a_successor_does_not_meet_the_copy_before_it_where_the_two_would_be_in_each_others_way() {
    use Desired::{Drain, Lost, Stop};
    let (running, stopped) = (InstanceState::Running, InstanceState::Stopped { code: Some(0) });
    let (stop_first, start_first) = (UpdateOrder::StopFirst, UpdateOrder::StartFirst);
    let (here, away, lost) = (Presence::Present, Presence::Absent, Presence::Lost);
    // The document's order and whether it has a volume; what leaves: its slot, whether it is of an older template.
    for (what, waits, order, mounts, slot, older, presence, desired, state) in [
        ("of an older template", true, stop_first, false, 1, true, here, Drain, &running),
        ("of an older template, whose host is away", true, stop_first, false, 1, true, away, Drain, &running),
        ("of the same template", false, stop_first, false, 1, false, here, Drain, &running),
        ("of another slot", false, stop_first, false, 2, true, here, Drain, &running),
        ("that may be one of two", false, start_first, false, 1, true, here, Drain, &running),
        ("of one volume", true, stop_first, true, 1, false, here, Drain, &running),
        ("of one volume, in whatever order", true, start_first, true, 1, true, here, Drain, &running),
        ("that failed", false, stop_first, false, 1, true, here, Drain, &failed()),
        ("that has stopped", false, stop_first, false, 1, true, here, Stop, &stopped),
        ("that is lost", false, stop_first, false, 1, true, lost, Drain, &running),
        ("that was given up, its host back", false, stop_first, false, 1, true, here, Lost, &running),
    ] {
        let mut document = spec("web:1", 1);
        document.deploy.update_config.order = Some(order);
        document.template.mounts.extend(mounts.then(|| volume("data")));
        let mut lab = lab(2, &document);
        let (leaving, _) = newest(&lab, 1);
        becomes(&mut lab, "1", state);
        let service = lab.model.world.services.get_mut(&id("shop/web")).unwrap();
        let record = &mut service.copies.get_mut(&leaving).unwrap().record.as_mut().unwrap().value;
        (record.desired, record.slot) = (desired, Slot::numbered(slot));
        if older {
            record.template.revision = 1;
        }
        let (said, made) = ask(&lab, |draft| {
            let slot = Slot::numbered(1);
            draft.copies.get_mut(&leaving).unwrap().presence = presence;
            draft.wanted = vec![slot.clone()];
            fill(draft);
            (draft.waits.get(&slot).cloned(), draft.live(&slot).len())
        });
        let expected = waits.then(|| format!("waits for {leaving} to stop"));
        assert_eq!((said, made), (expected, usize::from(!waits)), "one {what}");
    }
}

#[test]
fn what_failed_leaves_its_room_to_its_successor() {
    let mut wanted = spec("web:1", 1);
    wanted.deploy.reservations.memory = Some(Bytes(4 << 30));
    let mut lab = lab(1, &wanted);
    let (before, _) = newest(&lab, 1);
    becomes(&mut lab, "1", &failed());
    lab.settle();
    assert_ne!(newest(&lab, 1).0, before);
    assert_eq!(lab.running("shop/web"), ["1@h1"]);
}

#[test]
fn a_slot_that_waits_for_its_own_predecessor_has_a_place_and_one_that_waits_for_another_has_none() {
    let mut wanted = spec("web:1", 2);
    wanted.deploy.update_config.order = Some(UpdateOrder::StartFirst);
    wanted.deploy.update_config.parallelism = Some(2);
    wanted.template.ports.push(published(80));
    let mut lab = lab(1, &wanted);
    let pending = "true Pending slot 2: the only host does not fit: 1 with port 80 taken";
    assert_eq!(lab.condition("shop/web", ConditionType::Degraded), pending);
    let (leaving, _) = newest(&lab, 1);
    wanted.template.image = "web:2".into();
    let template = lab.put("shop/web", wanted);
    lab.settle();
    assert_eq!(lab.condition("shop/web", ConditionType::Degraded), pending);
    assert_eq!(
        lab.condition("shop/web", ConditionType::Progressing),
        format!(
            "true RollingOut 0 of 2 copies are of template {template}; slot 1 waits for {leaving} to stop"
        )
    );
    lab.seconds(20);
    assert_eq!(lab.templates("shop/web"), [template]);
}

#[test]
fn a_copy_goes_in_the_batch_that_brings_its_successor() {
    // All of thirty failed. A successor is one write, and two are for the copy that goes.
    for (missing, made, gone) in [(false, 28, 28), (true, 28, 27)] {
        let mut lab = lab(3, &spec("web:1", 30));
        for slot in 1..=30 {
            becomes(&mut lab, &slot.to_string(), &failed());
        }
        if missing {
            let (first, _) = newest(&lab, 1);
            lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.remove(&first);
        }
        let plans = lab.settle();
        let count = |desired| {
            let of = |write: &&Write| matches!(write, Write::Instance(copy) if copy.desired == desired);
            plans[0].batch.writes.values().filter(of).count()
        };
        assert_eq!((count(Desired::Run), count(Desired::Stop)), (made, gone), "missing: {missing}");
        assert!(plans[0].more);
        assert_eq!(lab.running("shop/web").len(), 30);
    }
}

#[test]
fn a_slot_that_waits_is_looked_at_when_its_time_is_over() {
    let mut lab = lab(1, &spec("web:1", 1));
    lab.bad.insert("web:1".into(), InstanceState::failed("no space left"));
    // The first failure is made good at once, the second after a second.
    for _ in 0..2 {
        lab.obey();
        lab.settle();
    }
    assert_eq!(lab.model.settle().unwrap().1, Some(Duration::from_secs(1)));

    let mut lab = Lab::new(2);
    lab.seconds(100);
    let network: evenkeel_api::name::NetworkName = "default".parse().unwrap();
    lab.model.memory.networks.insert(network, Some(lab.model.now - Duration::from_secs(2)));
    lab.model.world.hosts.get_mut("h2").unwrap().ready.clear();
    lab.put("shop/web", spec("web:1", 2));
    assert_eq!(lab.model.settle().unwrap().1, Some(Duration::from_secs(3)));
}

#[test]
fn a_slot_whose_old_copy_goes_down_with_its_host_is_told_as_one_that_fits_nowhere() {
    use evenkeel_api::record::ConditionType::Degraded;
    let mut lab = Lab::new(3);
    let put = |lab: &mut Lab, image: &str| {
        let mut wanted = spec(image, 3);
        wanted.template.ports.push(published(8000));
        lab.put("shop/web", wanted)
    };
    put(&mut lab, "web:1");
    lab.seconds(30);
    put(&mut lab, "web:2");
    lab.settle();
    let copies = &lab.service("shop/web").copies;
    let leaves = |copy: &&Copy| copy.record.as_ref().unwrap().value.desired == Desired::Drain;
    let left = copies.values().find(leaves).unwrap().host.clone();
    lab.host_gone(left.as_str());
    let nowhere = "true Pending slot 1: none of 3 hosts fits: 2 with port 8000 taken, 1 gone";
    lab.seconds(30);
    assert_eq!(lab.condition("shop/web", Degraded), nowhere);
    lab.host_back(left.as_str());
    lab.seconds(60);
    assert!(lab.condition("shop/web", Degraded).starts_with("false Fine"));
    assert_eq!(lab.ready("shop/web"), 3);
}
