//! For how long something has been so, and what follows at which instant.

use std::time::Duration;

use evenkeel_api::name::Slot;

use super::*;
use crate::service::memory::{Backoff, ServiceMemory};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A service with one copy, which was made at this moment.
fn one_copy() -> (Lab, InstanceId) {
    let mut lab = Lab::new(1);
    lab.put("shop/web", spec("web:1", 1));
    lab.settle();
    let copy = lab.service("shop/web").copies.keys().next().unwrap().clone();
    (lab, copy)
}

fn copies(lab: &mut Lab) -> &mut BTreeMap<InstanceId, Copy> {
    &mut lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies
}

/// What is measured of the service `after` the time of the model.
fn measured(lab: &mut Lab, after: Duration) -> &mut ServiceMemory {
    let (model, service) = (&mut lab.model, id("shop/web"));
    model.memory.observe_service(&model.world, &service, model.now + after);
    model.memory.services.get_mut(&service).unwrap()
}

fn broken() -> Option<Observed> {
    Some(observed(InstanceState::failed("broken"), 900))
}

/// It waits, and so far nothing of it ran.
fn waiting() -> Observed {
    Observed { started: None, ..observed(InstanceState::Waiting { why: "no route to host".into() }, 0) }
}

#[test]
fn a_host_where_a_slot_failed_is_avoided_for_five_minutes_for_that_slot_and_template() {
    let (mut lab, copy) = one_copy();
    let template = lab.templates("shop/web")[0];
    copies(&mut lab).get_mut(&copy).unwrap().observed = broken();
    for (after, slot, template, avoided) in [
        (0, 1, template, true),
        (0, 2, template, false),
        (0, 1, template + 1, false),
        (299_999, 1, template, true),
        (300_000, 1, template, false),
    ] {
        let hosts = measured(&mut lab, ms(after)).avoids(&Slot::numbered(slot), template);
        let expected = if avoided { [host("h1")].into() } else { BTreeSet::new() };
        assert_eq!(hosts, expected, "slot {slot}, template {template}, after {after} ms");
    }
}

#[test]
fn only_a_later_copy_that_was_ready_for_half_a_minute_makes_good_for_one_that_failed() {
    // By how much it is later, and for how long it was ready.
    for (later, ready, good) in
        [(1, 29_999, false), (1, 30_000, true), (0, 30_000, false), (-1, 30_000, false)]
    {
        let (mut lab, copy) = one_copy();
        lab.obey();
        let seq = copy.seq.checked_add_signed(-later).unwrap();
        let failed = Backoff { seq, failures: 1, ..Backoff::default() };
        measured(&mut lab, ms(0)).slots.insert(copy.slot.clone(), failed);
        let forgiven = !measured(&mut lab, ms(ready)).slots.contains_key(&copy.slot);
        assert_eq!(forgiven, good, "later by {later}, ready for {ready} ms");
    }
}

#[test]
fn a_slot_is_tried_again_at_once_and_then_after_times_that_double() {
    let (mut lab, first) = one_copy();
    let broken = Copy { observed: broken(), ..copies(&mut lab)[&first].clone() };
    let mut waits = Vec::new();
    for n in 0..9 {
        copies(&mut lab).insert(InstanceId { seq: first.seq + n, ..first.clone() }, broken.clone());
        let until = measured(&mut lab, ms(0)).slots[&first.slot].until;
        waits.push((until - lab.model.now).as_secs());
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn failures_in_a_row_are_of_one_template_and_begin_with_the_first() {
    let mut tries = Backoff::default();
    // Template, copy, when it was made and when it failed; what is known then.
    for (template, seq, since, now, expected) in
        [(7, 1, 5, 10, (7, 1, 5, 1, 10)), (7, 2, 11, 20, (7, 2, 5, 2, 21)), (8, 3, 22, 30, (8, 3, 22, 1, 30))]
    {
        tries.fail(template, seq, Duration::from_secs(since), Duration::from_secs(now));
        let known = (tries.template, tries.seq, tries.since.as_secs(), tries.failures, tries.until.as_secs());
        assert_eq!(known, expected);
    }
}

#[test]
fn a_copy_that_never_started_is_left_to_wait_for_half_a_minute() {
    let (mut lab, copy) = one_copy();
    let pulling = Observed { started: None, ..observed(InstanceState::Pulling, 0) };
    let ran = Observed { started: Some(Timestamp(5)), ..waiting() };
    let now = lab.model.now;
    for (seen, after, until) in [
        (waiting(), 0, Some(30)),
        (waiting(), 29_999, Some(30)),
        (waiting(), 30_000, None),
        (ran, 0, None),
        (pulling, 0, None),
    ] {
        let at = measured(&mut lab, ms(0)).stuck_at(&copy, &seen, now + ms(after));
        let until = until.map(|seconds| now + Duration::from_secs(seconds));
        assert_eq!(at, until, "{seen:?} after {after} ms");
    }
}

#[test]
fn a_plan_wakes_when_the_time_of_a_copy_is_over() {
    // Of a copy that waits, after 30 s another host is tried; of any, after 10 minutes it is told that it is late.
    for (seen, wakes) in [
        (Some(waiting()), [(0, Some(30)), (29, Some(1))]),
        (None, [(0, Some(600)), (599, Some(1))]),
        (None, [(0, Some(600)), (600, None)]),
    ] {
        let (mut lab, copy) = one_copy();
        copies(&mut lab).get_mut(&copy).unwrap().observed = seen;
        let began = lab.model.now;
        for (after, wake) in wakes {
            lab.model.now = began + Duration::from_secs(after);
            let looked = lab.model.settle().unwrap().1;
            assert_eq!(looked, wake.map(Duration::from_secs), "after {after} s");
        }
    }
}

#[test]
fn a_new_network_is_waited_for_until_five_seconds_are_over() {
    let mut memory = Memory::new();
    memory.networks.insert("new".parse().unwrap(), Some(ms(1000)));
    memory.networks.insert("old".parse().unwrap(), None);
    for (network, at, until) in [("new", 5999, Some(6000)), ("new", 6000, None), ("old", 0, None)] {
        let found = memory.set_up_until(&network.parse().unwrap(), ms(at));
        assert_eq!(found, until.map(ms), "{network} at {at} ms");
    }
}
