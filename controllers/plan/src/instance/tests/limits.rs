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
