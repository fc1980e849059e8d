//! What people say about a rollout that is under way.

use evenkeel_api::record::ConditionType;

use super::rollbacks::{going_back, of, rollout, say, wanted};
use super::*;

fn exits(lab: &mut Lab, copy: &InstanceId) {
    let copies = &mut lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies;
    copies.get_mut(copy).unwrap().observed =
        Some(observed(InstanceState::Exited { code: 1, oom: false }, 950));
}

#[test]
fn only_failing_copies_of_the_template_that_is_tried_again_get_another_chance() {
    let mut lab = Lab::new(4);
    let (good, bad) = going_back(&mut lab);
    let live = |lab: &Lab, template: i64| -> Vec<InstanceId> {
        let copies = &lab.service("shop/web").copies;
        let shall_run = |id: &InstanceId| copies[id].record.as_ref().unwrap().value.desired == Desired::Run;
        of(lab, template).into_keys().filter(shall_run).collect()
    };
    assert_eq!((live(&lab, good).len(), live(&lab, bad).len()), (1, 2));
    // One of each fails when a person speaks, and its turn to go back had not come.
    let failing = live(&lab, bad)[0].clone();
    let old = live(&lab, good)[0].clone();
    exits(&mut lab, &failing);
    exits(&mut lab, &old);
    say(&mut lab, 5000, Some(Pin { retry: Some(bad), ..Pin::default() }));
    lab.settle();
    assert!(rollout(&lab).rejected.is_empty(), "that it fails was known");
    let copies = lab.service("shop/web").copies.iter();
    let again = copies.filter(|(_, copy)| copy.record.as_ref().unwrap().value.cause == "tried again");
    assert_eq!(again.map(|(id, _)| id.clone()).collect::<Vec<_>>(), [failing]);
    lab.seconds(120);
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![bad; 4], Phase::Done));
}

#[test]
fn a_pause_in_the_middle_of_a_rollout_holds_until_it_is_taken_back() {
    let mut lab = Lab::new(3);
    let old = lab.put("shop/web", wanted("web:1", UpdateOrder::StopFirst));
    lab.seconds(20);
    let new = lab.put("shop/web", wanted("web:2", UpdateOrder::StopFirst));
    while of(&lab, new).is_empty() {
        lab.seconds(1);
    }
    say(&mut lab, 5000, Some(Pin { pause: true, ..Pin::default() }));
    lab.seconds(60);
    let mut templates = lab.templates("shop/web");
    templates.sort();
    assert_eq!(templates, [old, old, new]);
    assert_eq!(lab.phase("shop/web"), Phase::Paused { why: "a person paused it".into() });
    assert!(lab.condition("shop/web", ConditionType::Degraded).starts_with("false Fine"), "it is meant");
    assert!(lab.settle().is_empty());
    say(&mut lab, 5001, None);
    lab.seconds(90);
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![new; 3], Phase::Done));
    assert!(!rollout(&lab).held);
}
