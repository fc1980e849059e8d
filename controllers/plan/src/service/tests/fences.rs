//! Exclusive copies on their way out: which of them are waited for, and until when.

use std::time::Duration;

use super::exclusive::{GIVEN_UP, S, db, lab, until_replaced};
use super::*;

#[test]
fn a_copy_that_is_guarded_or_whose_successor_will_be_outlives_its_hosts_document() {
    let of = |image: &str, exclusive: bool| if exclusive { db(image, 1) } else { spec(image, 1) };
    for (was, becomes) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut lab = Lab::new(3);
        lab.put("shop/db", of("db:1", was));
        lab.seconds(60);
        assert_eq!(lab.running("shop/db"), ["1@h1"]);
        lab.host_gone("h1");
        lab.model.world.hosts.get_mut("h1").unwrap().document = None;
        lab.put("shop/db", of("db:2", becomes));
        let after = until_replaced(&mut lab);
        let expected = match (was, becomes) {
            // Nothing of it is waited for, nor kept.
            (false, false) => after.is_some_and(|after| after < Duration::from_secs(1)),
            // Nobody ends it there, so only a person can know.
            (false, true) => after.is_none(),
            (true, _) => after.is_some_and(|after| after >= S + STOPPED_AFTER),
        };
        assert!(expected, "exclusive: {was}, then {becomes}: {after:?}");
        let left = lab.service("shop/db").copies.values().filter(|copy| copy.host == host("h1")).count();
        assert_eq!(left, usize::from(after.is_none()), "exclusive: {was}, then {becomes}");
    }
}

#[test]
fn a_copy_whose_host_is_lost_while_it_leaves_is_given_up_like_any() {
    let mut lab = lab();
    lab.seconds(60);
    lab.put("shop/db", db("db:2", 1));
    lab.settle();
    assert!(lab.running("shop/db").is_empty());
    lab.host_gone("h1");
    let after = until_replaced(&mut lab).unwrap();
    assert!(after >= GIVEN_UP + S + STOPPED_AFTER, "{after:?}");
    assert!(after <= GIVEN_UP + S + STOPPED_AFTER + Duration::from_millis(300), "{after:?}");
}

#[test]
fn the_next_step_of_a_copy_that_leaves_is_planned_for_its_very_time() {
    // Given up two seconds after its host went, and ended for sure its own time and 3.05 s later.
    let mut lost = lab();
    lost.seconds(60);
    lost.host_gone("h1");
    lost.seconds(7);
    assert_eq!(lost.model.settle().unwrap().1, Some(Duration::from_millis(3050)));
    // Told to stop a stop delay, six seconds, after it left the names.
    let mut drained = lab();
    drained.seconds(60);
    drained.put_host(1, |spec| spec.availability = Some(Availability::Drain), &[]);
    drained.seconds(2);
    assert_eq!(drained.model.settle().unwrap().1, Some(Duration::from_secs(4)));
}
