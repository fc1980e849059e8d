//! Hosts that are lost, and the brake.

use std::time::Duration;

use evenkeel_api::quantity::Span;
use evenkeel_api::record::Brake;

use super::*;
use crate::service::failover::{Presence, is_confirmed_dead, presence};

fn held(lab: &Lab) -> usize {
    lab.model.world.brakes.as_ref().map_or(0, |brakes| brakes.value.held.len())
}

#[test]
fn a_host_is_lost_at_the_instant_at_which_its_time_is_over() {
    let mut lab = Lab::new(3);
    lab.host_gone("h2");
    lab.settle();
    let gone = lab.model.now;
    let ask = |ms: u64| {
        let at = gone + Duration::from_millis(ms);
        presence(&lab.model.world, &lab.model.memory, &host("h2"), Span::seconds(4), at)
    };
    assert_eq!(ask(500), (Presence::Absent, Some(Duration::from_millis(1500))));
    assert_eq!(ask(1999), (Presence::Absent, Some(Duration::from_millis(1))));
    assert_eq!(ask(2000), (Presence::Lost, None));
}

#[test]
fn only_the_very_incarnation_that_a_person_named_is_confirmed_dead() {
    let mut lab = Lab::new(3);
    lab.host_back("h2");
    lab.settle();
    lab.host_gone("h2");
    lab.settle();
    for (named, dead) in [(0, false), (1, false), (2, true), (3, false)] {
        let brake = Brake { dead: [(host("h2"), named)].into() };
        lab.model.world.brake = Some(At { value: brake, mod_revision: 1, create_revision: 1 });
        assert_eq!(is_confirmed_dead(&lab.model.world, &lab.model.memory, &host("h2")), dead, "{named}");
    }
}

#[test]
fn a_new_leader_counts_hosts_that_went_with_their_copies_before_it_led() {
    let mut lab = Lab::new(4);
    lab.put("shop/web", spec("web:1", 8));
    lab.seconds(60);
    let before = lab.running("shop/web");
    lab.host_gone("h3");
    lab.host_gone("h4");
    lab.model.memory = Memory::new();
    lab.seconds(60);
    assert_eq!((held(&lab), lab.running("shop/web")), (2, before));
}

#[test]
fn a_new_leader_counts_no_host_that_had_nothing_to_give_up() {
    for later in [3, 20] {
        let mut lab = Lab::new(3);
        lab.put("shop/web", spec("web:1", 3));
        lab.seconds(20);
        for n in 4..=6 {
            lab.add_host(n);
        }
        lab.seconds(20);
        for n in 4..=6 {
            lab.host_gone(&format!("h{n}"));
        }
        lab.model.memory = Memory::new();
        lab.seconds(later);
        assert_eq!(held(&lab), 0);
        lab.host_gone("h2");
        lab.seconds(6);
        assert_eq!((held(&lab), lab.ready("shop/web")), (0, 3), "{later} s later");
    }
}

#[test]
fn a_new_leader_holds_what_its_predecessor_held_whatever_runs_there() {
    let mut lab = Lab::new(4);
    lab.host_gone("h3");
    lab.host_gone("h4");
    lab.seconds(10);
    assert_eq!(held(&lab), 2);
    lab.model.memory = Memory::new();
    lab.seconds(60);
    assert_eq!(held(&lab), 2);
}

#[test]
fn a_host_that_leaves_the_cluster_leaves_nothing_behind() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    let name = host("h2");
    let on_it = |lab: &Lab| lab.service("shop/web").copies.values().filter(|copy| copy.host == name).count();
    lab.model.world.hosts.get_mut(&name).unwrap().document = None;
    lab.seconds(1);
    let accepted = lab.model.world.hosts[&name].accepted.as_ref();
    assert!(
        on_it(&lab) > 0 && accepted.is_some_and(|accepted| accepted.value.deleting),
        "its copies go first"
    );
    lab.seconds(9);
    assert_eq!((on_it(&lab), lab.ready("shop/web")), (0, 3));
    let left = &lab.model.world.hosts[&name];
    assert!(left.accepted.is_none() && left.status.is_none());
}

#[test]
fn a_host_is_removed_once_its_document_is_gone_and_that_is_decided() {
    let mut lab = Lab::new(1);
    let known = lab.model.world.hosts.remove(&host("h1")).unwrap();
    // Whether it has a document, and whether it is being taken down or not, if it was ever accepted.
    for (documented, deleting, removed) in [
        (true, None, false),
        (true, Some(false), false),
        (true, Some(true), false),
        (false, None, true),
        (false, Some(false), false),
        (false, Some(true), true),
    ] {
        let mut it = known.clone();
        it.document = it.document.filter(|_| documented);
        it.accepted = it.accepted.zip(deleting).map(|(mut accepted, deleting)| {
            accepted.value.deleting = deleting;
            accepted
        });
        assert_eq!(it.is_removed(), removed, "document: {documented}, taken down: {deleting:?}");
    }
}

#[test]
fn suspicion_needs_answers_without_a_pause() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    lab.host_gone("h2");
    lab.seconds(1);
    // Our own reads are not answered for a moment: the count begins again.
    lab.model.memory.observe(&lab.model.world, lab.model.now, false);
    lab.seconds(1);
    assert!(lab.running("shop/web").iter().any(|copy| copy.ends_with("@h2")));
    lab.seconds(2);
    assert!(!lab.running("shop/web").iter().any(|copy| copy.ends_with("@h2")));
}

#[test]
fn clusters_of_each_size_replace_what_one_host_lost_and_brake_for_half() {
    for (hosts, lost, held) in [
        (2, 1, false),
        (2, 2, true),
        (3, 1, false),
        (3, 2, true),
        (4, 1, false),
        (4, 2, true),
        (5, 2, false),
        (6, 2, false),
        (6, 3, true),
    ] {
        let mut lab = Lab::new(hosts);
        lab.put("shop/web", spec("web:1", hosts * 2));
        lab.seconds(60);
        let before = lab.running("shop/web");
        let victims: Vec<String> = (1..=lost).map(|n| format!("h{n}")).collect();
        for victim in &victims {
            lab.host_gone(victim);
        }
        // `status` speaks of it within 5 s.
        lab.seconds(5);
        let on = lab.model.world.brakes.as_ref().map_or(0, |brakes| brakes.value.held.len());
        assert_eq!(on, if held { victims.len() } else { 0 }, "{lost} of {hosts}");
        lab.seconds(3600);
        let stay =
            lab.running("shop/web").iter().filter(|copy| victims.iter().any(|v| copy.ends_with(v))).count();
        assert_eq!(stay > 0, held, "{lost} of {hosts}");
        for victim in &victims {
            lab.host_back(victim);
        }
        lab.seconds(60);
        if held {
            assert_eq!(lab.running("shop/web"), before, "{lost} of {hosts}: back, and nothing moved");
        }
        assert!(lab.model.world.brakes.is_none());
    }
}

#[test]
fn leases_that_end_one_after_the_other_are_hosts_that_went_at_once() {
    // Hosts renew up to 0.7 s apart, and etcd ends leases in steps of 0.5 s.
    for apart in [0, 400, 800, 1200, 1900] {
        let mut lab = Lab::new(4);
        lab.put("shop/web", spec("web:1", 8));
        lab.seconds(60);
        let before = lab.running("shop/web");
        lab.host_gone("h3");
        lab.run(Duration::from_millis(apart));
        lab.host_gone("h4");
        lab.seconds(60);
        assert_eq!(lab.running("shop/web"), before, "{apart} ms apart");
        assert_eq!(lab.model.world.brakes.as_ref().unwrap().value.held.len(), 2);
    }
}

#[test]
fn hosts_that_blink_put_off_the_loss_of_another_by_no_more_than_a_suspicion() {
    let mut lab = Lab::new(2);
    lab.put("shop/web", spec("web:1", 4));
    lab.seconds(60);
    lab.host_gone("h2");
    // Given up 2 s after its lease without doubt.
    lab.run(Duration::from_millis(1900));
    let moved = |lab: &Lab| !lab.running("shop/web").iter().any(|copy| copy.ends_with("@h2"));
    for blink in 0..3 {
        lab.host_gone("h1");
        lab.run(Duration::from_millis(1000));
        assert!(blink > 0 || !moved(&lab), "h1 may have gone together with it");
        lab.host_back("h1");
        lab.run(Duration::from_millis(100));
    }
    assert!(moved(&lab));
}

#[test]
fn leases_of_healthy_hosts_that_die_in_waves_move_nothing() {
    let mut lab = Lab::new(50);
    lab.put("shop/web", spec("web:1", 100));
    lab.seconds(60);
    let before = lab.running("shop/web");
    for _ in 0..10 {
        // All at once after the thaw, and then all but the sixteen that were under way.
        for wave in [1..=50, 17..=50] {
            for n in wave.clone() {
                lab.host_gone(&format!("h{n}"));
            }
            lab.run(Duration::from_millis(500));
            for n in wave {
                lab.host_back(&format!("h{n}"));
            }
            lab.run(Duration::from_millis(6500));
        }
        lab.seconds(10);
    }
    assert_eq!(lab.running("shop/web"), before);
    assert!(lab.model.memory.flapping(lab.model.now).is_empty(), "nobody flaps for that");
}

#[test]
fn a_brake_is_not_pulled_by_hosts_that_never_came() {
    let mut lab = Lab::new(3);
    for n in 4..=8 {
        lab.put_host(n, |_| {}, &[]);
    }
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(20);
    assert!(lab.model.world.brakes.is_none());
    lab.host_gone("h2");
    lab.seconds(6);
    assert_eq!(lab.ready("shop/web"), 3);
}

#[test]
fn an_event_on_a_brake_is_about_what_it_holds() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    lab.host_gone("h2");
    lab.host_gone("h3");
    let mut told = Vec::new();
    let mut tell = |plans: Vec<Plan>| {
        let events = plans.into_iter().flat_map(|plan| plan.events);
        let brakes = events.filter(|event| event.reason.starts_with("Brake"));
        told.extend(brakes.map(|event| format!("{} {} {}", event.object, event.reason, event.message)));
    };
    for second in 0..25 {
        if second == 10 {
            assert_eq!(lab.model.memory.held().0, [host("h2"), host("h3")].into());
            lab.host_back("h2");
            lab.host_back("h3");
        }
        lab.model.now += Duration::from_secs(1);
        tell(lab.settle());
    }
    assert_eq!(
        told,
        [
            "Host h2 BrakeOn copies on h2, h3 are not replaced: too many hosts went at once",
            "Host h2 BrakeReleased nothing is held any more",
        ]
    );
}
