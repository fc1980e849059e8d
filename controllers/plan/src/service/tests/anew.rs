//! New copies of the same template, because a person wants them.

use evenkeel_api::record::{CheckState, Health, Verdict};
use evenkeel_api::service::FailureAction;

use super::cases::{check, set_check};
use super::rollbacks::say;
use super::*;

/// All copies that there are now are to be exchanged.
fn restart(lab: &mut Lab) -> Pin {
    let until = lab.service("shop/web").rollout.as_ref().unwrap().value.seq;
    let pin = Pin { restart: Some(until), ..Pin::default() };
    lab.model.revision += 1;
    say(lab, lab.model.revision, Some(pin.clone()));
    pin
}

fn settled(order: UpdateOrder) -> (Lab, i64) {
    let mut lab = Lab::new(3);
    let mut document = spec("web:1", 3);
    document.deploy.update_config.order = Some(order);
    let template = lab.put("shop/web", document);
    lab.seconds(60);
    (lab, template)
}

/// The copies that shall run.
fn ids(lab: &Lab) -> Vec<InstanceId> {
    let copies =
        lab.service("shop/web").copies.iter().filter(|(_, copy)| {
            copy.record.as_ref().is_some_and(|record| record.value.desired == Desired::Run)
        });
    copies.map(|(id, _)| id.clone()).collect()
}

/// Seconds of life, in which at least `least` copies are ready all the time.
fn live(lab: &mut Lab, seconds: u64, least: usize) {
    for _ in 0..seconds {
        lab.seconds(1);
        assert!(lab.ready("shop/web") >= least, "{} are ready", lab.ready("shop/web"));
    }
}

#[test]
fn all_copies_are_exchanged_one_after_the_other_once_and_the_template_stays() {
    for (order, least) in [(UpdateOrder::StopFirst, 2), (UpdateOrder::StartFirst, 3)] {
        let (mut lab, template) = settled(order);
        let before = ids(&lab);
        restart(&mut lab);
        lab.settle();
        assert_eq!(lab.phase("shop/web"), Phase::Rolling);
        let said = lab.condition("shop/web", evenkeel_api::record::ConditionType::Progressing);
        assert!(said.contains("of 3 copies are new"), "{said}");
        live(&mut lab, 120, least);
        let after = ids(&lab);
        assert!(after.len() == 3 && before.iter().all(|old| !after.contains(old)), "{before:?} {after:?}");
        assert_eq!((lab.phase("shop/web"), lab.templates("shop/web")), (Phase::Done, vec![template; 3]));
        lab.model.memory = Memory::new();
        live(&mut lab, 60, 3);
        assert_eq!(ids(&lab), after, "once, also for the next leader");
    }
}

/// Seconds of life in which a check finds those that `sick` names unhealthy, and all others well.
fn judged(lab: &mut Lab, seconds: u64, least: usize, sick: impl Fn(&InstanceId) -> bool) {
    for _ in 0..seconds {
        live(lab, 1, least);
        for (id, copy) in &mut lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies {
            let Some(started) = copy.observed.as_ref().and_then(|observed| observed.started) else {
                continue;
            };
            let verdict = if sick(id) { Verdict::Unhealthy } else { Verdict::Healthy };
            let state = CheckState { verdict, since: Timestamp(0), revision: 7, evidence: "seen".into() };
            copy.health = Some(Health { started, checks: [("tcp".parse().unwrap(), state)].into() });
        }
    }
}

#[test]
fn a_new_copy_that_fails_pauses_it_whatever_is_to_be_done_and_rejects_nothing() {
    for action in [FailureAction::Pause, FailureAction::Rollback] {
        let (mut lab, template) = settled(UpdateOrder::StartFirst);
        let mut document = lab.service("shop/web").accepted.clone().unwrap().value.spec;
        document.deploy.update_config.failure_action = Some(action);
        lab.put("shop/web", document);
        set_check(&mut lab, Some(check()));
        let before = ids(&lab);
        judged(&mut lab, 10, 3, |_| false);
        restart(&mut lab);
        judged(&mut lab, 60, 3, |id| !before.contains(id));
        let Phase::Paused { why } = lab.phase("shop/web") else { panic!("{:?}", lab.phase("shop/web")) };
        assert!(why.contains("check tcp: seen"), "{why}");
        assert_eq!(why.contains("it ran well before"), action == FailureAction::Rollback, "{why}");
        let rollout = &lab.service("shop/web").rollout.as_ref().unwrap().value;
        assert_eq!((rollout.target, rollout.rejected.len()), (Some(template), 0));
        assert!(before.iter().all(|old| ids(&lab).contains(old)), "what serves is left alone");
    }
}

#[test]
fn copies_that_are_to_go_do_not_speak_against_those_that_come() {
    let (mut lab, _) = settled(UpdateOrder::StopFirst);
    let old = ids(&lab);
    set_check(&mut lab, Some(check()));
    restart(&mut lab);
    judged(&mut lab, 120, 0, |id| old.contains(id));
    assert_eq!((lab.phase("shop/web"), lab.ready("shop/web")), (Phase::Done, 3));
}

#[test]
fn a_pause_holds_it_and_taking_both_back_ends_it() {
    let (mut lab, _) = settled(UpdateOrder::StopFirst);
    let before = ids(&lab);
    let pin = restart(&mut lab);
    lab.model.revision += 1;
    let revision = lab.model.revision;
    say(&mut lab, revision, Some(Pin { pause: true, ..pin.clone() }));
    live(&mut lab, 30, 3);
    assert_eq!(ids(&lab), before);
    say(&mut lab, revision + 1, Some(pin));
    live(&mut lab, 3, 2);
    assert_ne!(ids(&lab), before, "it goes on");
    say(&mut lab, revision + 2, None);
    live(&mut lab, 60, 2);
    assert!(before.iter().any(|old| ids(&lab).contains(old)), "those that were left stay");
    assert_eq!(lab.phase("shop/web"), Phase::Done);
}
