//! Documents that go: what is counted together, for how long, and how far a person's word reaches.

use std::time::Duration;

use super::*;
use crate::service::deletions::{Fate, fate, observe};
use crate::service::memory::{DeletionMemory, Vanished};

const THREE: [&str; 3] = ["a/a", "a/b", "a/c"];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn services(names: &[&str]) -> BTreeSet<ObjectRef> {
    names.iter().map(|name| ObjectRef::Service(id(name))).collect()
}

#[test]
fn a_document_is_gone_for_a_moment_before_that_counts() {
    let object = ObjectRef::Service(id("a/a"));
    let mut memory = Memory::new();
    memory.deletions.vanished.insert(object.clone(), Vanished { since: ms(1000), meant: false });
    for (at, expected) in [(1000, Fate::Wait(ms(200))), (1199, Fate::Wait(ms(1))), (1200, Fate::Delete)] {
        assert_eq!(fate(&memory, &object, ms(at)), expected, "at {at} ms");
    }
    let other = ObjectRef::Service(id("a/b"));
    assert_eq!(fate(&memory, &other, ms(5000)), Fate::Wait(ms(200)), "not observed yet");
    memory.deletions.held.insert(object.clone());
    assert_eq!(fate(&memory, &object, ms(5000)), Fate::Held);
}

#[test]
fn what_is_taken_down_is_counted_for_ten_seconds_unless_it_is_put_again() {
    let mut lab = Lab::new(1);
    lab.put("a/a", spec("web:1", 0));
    lab.settle();
    let back = lab.model.world.clone();
    let mut taken_down = back.clone();
    let service = taken_down.services.get_mut(&id("a/a")).unwrap();
    service.document = None;
    service.accepted.as_mut().unwrap().value.deleting = true;
    let at_host = taken_down.hosts.get_mut(&host("h1")).unwrap();
    at_host.document = None;
    at_host.accepted.as_mut().unwrap().value.deleting = true;
    for object in [ObjectRef::Service(id("a/a")), ObjectRef::Host(host("h1"))] {
        for (at, world, counted) in
            [(9_999, &taken_down, true), (10_000, &taken_down, false), (5_000, &back, false)]
        {
            let mut memory = DeletionMemory::default();
            memory.vanished.insert(object.clone(), Vanished { since: ms(0), meant: false });
            observe(&mut memory, world, ms(at), false);
            assert_eq!(memory.vanished.contains_key(&object), counted, "{object} after {at} ms");
        }
    }
}

#[test]
fn services_and_hosts_are_counted_apart_and_half_of_a_kind_is_a_slip() {
    for (services, hosts, services_gone, hosts_gone, expected) in
        [(12, 6, 0, 3, 3), (12, 7, 0, 3, 0), (6, 12, 3, 0, 3), (7, 3, 3, 0, 0), (4, 4, 2, 2, 0)]
    {
        let mut lab = Lab::new(hosts);
        for n in 0..services {
            lab.put(&format!("a/s{n}"), spec("web:1", 0));
        }
        lab.seconds(1);
        lab.model.revision += 1;
        let deleted = Some(lab.model.revision);
        for service in lab.model.world.services.values_mut().take(services_gone) {
            (service.document, service.deleted) = (None, deleted);
        }
        for host in lab.model.world.hosts.values_mut().take(hosts_gone) {
            (host.document, host.deleted) = (None, deleted);
        }
        lab.seconds(1);
        let gone = format!("{services_gone} of {services} services, {hosts_gone} of {hosts} hosts");
        assert_eq!(held(&lab).len(), expected, "{gone}");
    }
}

#[test]
fn a_new_leader_keeps_what_is_left_of_a_slip() {
    let mut lab = Lab::new(3);
    four(&mut lab);
    lab.delete_together(&THREE);
    lab.seconds(2);
    for name in ["a/a", "a/b"] {
        lab.put(name, spec("web:1", 1));
    }
    lab.seconds(1);
    assert_eq!(held(&lab), ["a/c"]);
    lab.model.memory = Memory::new();
    lab.seconds(20);
    assert_eq!((held(&lab), lab.running("a/c").len()), (vec!["a/c".to_owned()], 1));
}

#[test]
fn a_deletion_that_nobody_saw_is_meant_by_a_later_word_that_names_it() {
    // Whether the word names them, and how much newer than it the accepted documents are.
    for (named, newer, meant) in [(true, -1, true), (true, 0, false), (true, 1, false), (false, -1, false)] {
        let mut lab = Lab::new(3);
        four(&mut lab);
        lab.delete_together(&THREE);
        lab.confirm(if named { services(&THREE) } else { BTreeSet::new() });
        for name in THREE {
            let service = lab.model.world.services.get_mut(&id(name)).unwrap();
            service.deleted = None;
            service.accepted.as_mut().unwrap().value.source_revision = lab.model.revision + newer;
        }
        lab.model.memory = Memory::new();
        lab.seconds(20);
        assert_eq!(held(&lab).len(), if meant { 0 } else { 3 }, "named: {named}, newer by {newer}");
    }
}

#[test]
fn what_is_held_is_told_of_once() {
    let mut lab = Lab::new(3);
    four(&mut lab);
    lab.delete_together(&THREE);
    let mut told = Vec::new();
    for _ in 0..10 {
        let events = lab.settle().into_iter().flat_map(|plan| plan.events);
        told.extend(events.map(|event| format!("{} {} {}", event.object, event.reason, event.message)));
        lab.model.now += Duration::from_secs(1);
    }
    let message = "Service a/a, Service a/b, Service a/c kept: too many documents went at once";
    assert_eq!(told, [format!("Service a/a BrakeOn {message}")]);
    assert_eq!(lab.model.memory.held(), (BTreeSet::new(), services(&THREE)));
    let again = plan_brakes(&lab.model.world, &lab.model.memory, lab.model.now);
    assert_eq!(again, Plan::default(), "there is no news");
}

#[test]
fn the_brakes_are_looked_at_when_a_deletion_is_decided() {
    let mut lab = Lab::new(3);
    four(&mut lab);
    lab.delete("a/a");
    let gone = lab.model.now;
    lab.model.memory.observe(&lab.model.world, gone, true);
    let plan = plan_brakes(&lab.model.world, &lab.model.memory, gone + ms(150));
    assert_eq!(plan.wake_after, Some(ms(50)));
}
