//! A plan in the making: what its moves do, that it fits into one transaction, and what it tells.

use evenkeel_api::name::Slot;

use super::*;
use crate::service::draft::Draft;
use crate::service::failover::Presence;
use crate::service::filter::Leave;

/// What a new plan for `shop/web` answers.
pub(super) fn ask<T>(lab: &Lab, question: impl FnOnce(&mut Draft<'_>) -> T) -> T {
    let (world, id) = (&lab.model.world, id("shop/web"));
    let service = &world.services[&id];
    let accepted = &service.accepted.as_ref().unwrap().value;
    let wanted = (accepted.template.unwrap(), &accepted.spec);
    let mut ledger = lab.model.ledger.clone();
    let (memory, now) = (&lab.model.memory, lab.model.now);
    question(&mut Draft::new(world, (&id, service), accepted, wanted, memory, &mut ledger, now))
}

#[test]
fn what_was_on_a_host_that_left_is_forgotten_at_once_but_not_what_must_not_be_twice() {
    let drained = (Some(Desired::Drain), Some(Duration::from_secs(6)));
    for (presence, exclusive, left, lost) in [
        (Presence::Present, false, drained, Some(Desired::Lost)),
        (Presence::Present, true, drained, Some(Desired::Lost)),
        (Presence::Removed, false, (None, None), None),
        (Presence::Removed, true, drained, Some(Desired::Lost)),
    ] {
        let mut wanted = spec("web:1", 1);
        wanted.template.exclusive = exclusive;
        let mut lab = Lab::new(1);
        lab.put("shop/web", wanted);
        lab.seconds(20);
        let copy = lab.service("shop/web").copies.keys().next().unwrap().clone();
        let after = |lose: bool| {
            ask(&lab, |draft| {
                draft.copies.get_mut(&copy).unwrap().presence = presence;
                let done = if lose { draft.lose(&copy, "why") } else { draft.leave(&copy, "why") };
                assert!(done && draft.live(&copy.slot).is_empty());
                (draft.copies.get(&copy).map(|copy| copy.desired), draft.plan.wake_after)
            })
        };
        assert_eq!(after(false), left, "{presence:?} {exclusive}");
        // Nothing is waited for but the host.
        assert_eq!(after(true), (lost, None), "{presence:?} {exclusive}");
    }
}

#[test]
fn a_slot_of_an_exclusive_service_is_not_free_because_its_host_left_while_it_was_scaled_down() {
    let mut wanted = spec("web:1", 2);
    wanted.template.exclusive = true;
    let mut lab = Lab::new(3);
    lab.put("shop/web", wanted.clone());
    lab.seconds(20);
    assert_eq!(lab.running("shop/web"), ["1@h1", "2@h2"]);
    lab.host_gone("h2");
    let entry = lab.model.world.hosts.get_mut("h2").unwrap();
    entry.document = None;
    entry.accepted.as_mut().unwrap().value.deleting = true;
    wanted.deploy.replicas = Some(1);
    lab.put("shop/web", wanted.clone());
    lab.settle();
    wanted.deploy.replicas = Some(2);
    lab.put("shop/web", wanted);
    // What is cut off there ends for lack of its proofs of life, and not before.
    lab.seconds(5);
    assert_eq!(lab.running("shop/web"), ["1@h1"]);
    lab.seconds(10);
    assert_eq!(lab.running("shop/web").len(), 2);
}

#[test]
fn a_new_copy_is_in_the_way_of_the_next_one_whichever_templates_they_are_of() {
    let mut lab = Lab::new(2);
    let first = lab.put("shop/web", spec("web:1", 0));
    lab.settle();
    let second = lab.put("shop/web", spec("web:2", 0));
    lab.settle();
    for (made, asked) in [(first, second), (second, first), (second, second)] {
        ask(&lab, |draft| {
            let slot = Slot::numbered(2);
            assert_eq!(draft.pick(&slot, asked, Leave::default()), Ok(host("h1")));
            draft.create(&Slot::numbered(1), host("h1"), made, "why".into()).unwrap();
            assert_eq!(draft.pick(&slot, asked, Leave::default()), Ok(host("h2")));
        });
    }
}

#[test]
fn every_batch_fits_into_a_transaction_and_the_next_follows_at_once() {
    let mut lab = Lab::new(2);
    let passes = |lab: &mut Lab, replicas| {
        lab.put("shop/web", spec("web:1", replicas));
        let plans = lab.settle();
        assert!(plans.iter().all(|plan| plan.whole().writes.len() <= MAX_BATCH));
        let (last, before) = plans.split_last().unwrap();
        assert!(!last.more && before.iter().all(|plan| plan.more));
        lab.seconds(1);
        plans.len()
    };
    assert_eq!(passes(&mut lab, 100), 2, "a copy is one write");
    assert_eq!(passes(&mut lab, 0), 3, "one that leaves may be another in the names");
}

#[test]
fn what_happens_is_told_with_the_batch_that_does_it() {
    let mut lab = Lab::new(1);
    let told = |plans: Vec<Plan>| -> Vec<String> {
        let events = plans.into_iter().flat_map(|plan| plan.events);
        events.map(|event| format!("{} {}: {}", event.object, event.reason, event.message)).collect()
    };
    let first = lab.put("shop/web", spec("web:1", 1));
    assert_eq!(told(lab.settle()), [format!("Service shop/web Accepted: revision {first} is the first")]);
    lab.seconds(20);
    let second = lab.put("shop/web", spec("web:2", 1));
    assert_eq!(
        told(lab.settle()),
        [
            format!("Service shop/web RolloutStarted: copies are exchanged for those of template {second}"),
            format!("Service shop/web Accepted: revision {second} holds now"),
        ]
    );
}
