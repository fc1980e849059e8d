//! Limits of a container that runs.

use super::*;

#[test]
fn limits_are_changed_only_where_they_differ() {
    let limited = |observed: Limits, wanted: Limits| {
        let case = Case::new().is(ContainerState::Running);
        let case = case.with(|case| case.accepted.as_mut().unwrap().limits = wanted);
        case.with(|case| case.container.as_mut().unwrap().limits = observed).decide().action
    };
    let none = Limits::default();
    let some = Limits { pids: Some(5), ..none };
    assert_eq!(limited(none, some), Some(Action::Update(some)));
    assert_eq!(limited(some, none), Some(Action::Update(none)));
    assert_eq!(limited(Limits { cpu_shares: Some(1024), memory_swap: Some(7), ..none }, none), None);
    assert_eq!(limited(none, Limits { pids: Some(-1), ..none }), None);
}

#[test]
fn swap_counts_where_something_is_said_of_it_and_no_processes_are_any_number() {
    let limited = |observed: Limits, wanted: Limits| {
        let case = Case::new().is(ContainerState::Running);
        let case = case.with(|case| case.accepted.as_mut().unwrap().limits = wanted);
        case.with(|case| case.container.as_mut().unwrap().limits = observed).decide().action
    };
    let none = Limits::default();
    let swap = |bytes| Limits { memory_swap: Some(bytes), ..none };
    assert_eq!(limited(swap(7), swap(7)), None);
    assert_eq!(limited(swap(8), swap(7)), Some(Action::Update(swap(7))));
    assert_eq!(limited(none, swap(7)), Some(Action::Update(swap(7))));
    assert_eq!(limited(Limits { pids: Some(0), ..none }, none), None, "the engine's word for no limit");
}

#[test]
fn limits_that_the_engine_refused_are_tried_again_at_their_time_and_those_it_took_are_not() {
    let wanted = Limits { pids: Some(5), ..Limits::default() };
    let running = |observed, again: Option<u64>, set| {
        let mut case = Case::new().is(ContainerState::Running);
        case.accepted.as_mut().unwrap().limits = wanted;
        case.container.as_mut().unwrap().limits = observed;
        (case.memory.limits_again, case.memory.limits_set) = (again.map(secs), set);
        let decision = case.decide();
        assert_eq!(decision.state, Some(InstanceState::Running));
        (decision.action, decision.wake)
    };
    let (none, update) = (Limits::default(), Some(Action::Update(wanted)));
    assert_eq!(running(none, Some(101), None), (None, Some(secs(101))));
    assert_eq!(running(none, Some(100), None), (update, None));
    assert_eq!(running(wanted, Some(100), None), (None, None));
    // The engine rounds, or cannot say: what it took is not given to it again.
    assert_eq!(running(none, None, Some(wanted)), (None, None));
}
