//! What comes before a start, and when it is looked at again.

use evenkeel_api::record::Restart;

use super::*;
use crate::instance::memory::Trouble;

fn troubled(until: u64) -> impl Fn(&mut Case) {
    move |case| case.memory.trouble = Some(Trouble { why: "no space".into(), times: 1, until: secs(until) })
}

fn failed() -> Option<InstanceState> {
    Some(InstanceState::failed("no space"))
}

#[test]
fn what_did_not_work_is_tried_again_when_its_time_has_come() {
    for case in [Case::new(), Case::new().is(ContainerState::Created)] {
        let early = case.clone().with(troubled(101)).decide();
        assert_eq!((early.action, early.state, early.wake), (None, failed(), Some(secs(101))));
        let due = case.with(troubled(100)).decide();
        assert!(matches!(due.action, Some(Action::Create { .. } | Action::Start)), "{:?}", due.action);
        assert_eq!((due.state, due.wake), (failed(), None), "until it works, people read why it did not");
    }
}

#[test]
fn each_failure_in_a_row_waits_longer() {
    let mut memory = Memory::default();
    memory.troubled("no space".into(), secs(100));
    assert_eq!(memory.trouble, Some(Trouble { why: "no space".into(), times: 1, until: secs(101) }));
    memory.troubled("no daemon".into(), secs(101));
    assert_eq!(memory.trouble, Some(Trouble { why: "no daemon".into(), times: 2, until: secs(103) }));
}

#[test]
fn an_end_is_told_with_its_code_and_as_one_for_memory_if_anybody_saw_that() {
    for (engine, kernel) in [(false, false), (true, false), (false, true), (true, true)] {
        let case = Case::new().is(ContainerState::Exited { code: 137, oom: engine });
        let told = case.with(|case| case.memory.oom = kernel).decide().state;
        assert_eq!(told, Some(InstanceState::Exited { code: 137, oom: engine || kernel }));
    }
}

#[test]
fn an_ended_run_is_followed_by_another_once_the_delay_has_passed() {
    let ended = Case::new().is(EXITED).with(|case| {
        case.accepted.as_mut().unwrap().deploy.restart_policy.delay = Some(Span::seconds(5));
        case.memory.runs.running(Some(Timestamp(1000)), secs(90));
        case.memory.runs.ended(secs(98));
    });
    let waits = ended.decide();
    assert_eq!((waits.action, waits.wake), (None, Some(secs(103))));
    assert_eq!(ended.with(|case| case.now = secs(103)).decide().action, Some(Action::Start));
}

#[test]
fn only_the_run_that_was_to_end_is_followed_by_one_for_its_health() {
    let asked = |run| {
        let restart = Restart { run: Timestamp(run), after: Span::seconds(6), count: 1 };
        Case::new().is(EXITED).with(|case| case.record.as_mut().unwrap().restart = Some(restart))
    };
    let for_health = Some(InstanceState::Waiting { why: "restarted for its health".into() });
    assert_eq!(asked(1000).decide().state, for_health);
    assert_eq!(asked(900).decide().state, Some(InstanceState::Exited { code: 1, oom: false }));
    // What is in the way of a start is told, and is dealt with as ever.
    assert_eq!(asked(1000).with(troubled(0)).decide().state, failed());
    let taken = |case: Case| case.with(|case| case.memory.address_taken = true).decide().action;
    assert_eq!([taken(asked(1000)), taken(asked(900))], [Some(Action::Remove), Some(Action::Remove)]);
}

#[test]
fn since_when_a_run_is_to_end_is_remembered_for_that_run() {
    let restart = |run| Restart { run: Timestamp(run), after: Span::seconds(6), count: 1 };
    let mut memory = Memory::default();
    for (run, now, since) in [(1000, 50, 50), (1000, 60, 50), (2000, 70, 70)] {
        memory.asked_for(Some(&restart(run)), secs(now));
        assert_eq!(memory.asked, Some((Timestamp(run), secs(since))));
    }
}

#[test]
fn the_engine_and_the_watchdog_are_asked_again_soon() {
    for desired in [Desired::Run, Desired::Stop] {
        let changing = Case::new().is(ContainerState::Changing).desired(desired).decide();
        assert_eq!((changing.action, changing.wake), (None, Some(secs(101))), "{desired:?}");
    }
    let restart = Restart { run: Timestamp(1000), after: Span::seconds(6), count: 1 };
    let asked = Case::new().is(EXITED).with(|case| case.record.as_mut().unwrap().restart = Some(restart));
    for case in [Case::new().is(ContainerState::Created), Case::new().is(EXITED), asked] {
        let uncovered = fenced(case).with(|case| case.uncovered = Some("no proof".into())).decide();
        assert_eq!(uncovered.wake, Some(secs(100) + Duration::from_millis(50)));
    }
}

#[test]
fn a_copy_says_which_network_it_waits_for() {
    let waits = Case::new().with(|case| case.networks.clear()).decide().state;
    assert_eq!(waits, Some(InstanceState::Waiting { why: "network lan is not ready on h1".into() }));
}

#[test]
fn a_container_says_whose_it_is() {
    let labelled = |case: Case| {
        let labels = case.created().labels;
        case.is(ContainerState::Running).with(|case| case.container.as_mut().unwrap().labels = labels)
    };
    let case = labelled(fenced(Case::new()));
    let container = case.container.unwrap();
    assert_eq!(container.instance(), Some(case.id.clone()));
    assert_eq!(container.template(), Some("shop/web@7".parse().unwrap()));
    let guard = container.guard().unwrap();
    assert_eq!((guard.instance, guard.stop_after), (case.id, Span::seconds(5)));
    assert_eq!(labelled(Case::new()).container.unwrap().guard(), None);
}
