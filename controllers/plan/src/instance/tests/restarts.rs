//! When an ended run is followed by another.

use super::*;

#[test]
fn a_run_that_shall_end_does_so_gently_and_another_begins() {
    use evenkeel_api::record::Restart;
    let ends = |state, policy| {
        let restart = Restart { run: Timestamp(1000), after: Span::seconds(6), count: 1 };
        let mut case = Case::new().is(state);
        case.accepted.as_mut().unwrap().deploy.restart_policy.condition = policy;
        case.record.as_mut().unwrap().restart = Some(restart);
        case.memory.asked_for(Some(&restart), secs(100));
        case
    };
    let mut case = ends(ContainerState::Running, None);
    let waits = case.decide();
    assert_eq!(
        (waits.action, waits.wake, waits.state),
        (None, Some(secs(106)), Some(InstanceState::Running))
    );
    case.now = secs(106);
    assert!(matches!(case.decide().action, Some(Action::Stop { grace }) if grace == Span::seconds(10)));
    assert_eq!(case.clone().with(|case| case.may_destroy = false).decide().action, None);
    // Another run is there: it is done.
    case.container.as_mut().unwrap().started = Some(Timestamp(2000));
    assert_eq!(case.decide().action, None);
    // Whatever the policy says of ends: this one was asked for.
    for policy in [None, Some(RestartCondition::None)] {
        let anew = ends(EXITED, policy).decide();
        assert_eq!(anew.action, Some(Action::Start));
        assert!(matches!(anew.state, Some(InstanceState::Waiting { .. })));
        // An exclusive one is started by nobody whom the watchdog does not let.
        let uncovered = ends(EXITED, policy).with(|case| case.uncovered = Some("no proof".into()));
        assert_eq!(uncovered.decide().action, None);
    }
}

#[test]
fn a_run_that_was_to_end_counts_as_no_restart() {
    let mut runs = Runs::default();
    runs.running(Some(Timestamp(1)), secs(0));
    runs.excuse(Timestamp(1));
    runs.ended(secs(5));
    runs.running(Some(Timestamp(2)), secs(6));
    assert_eq!(runs.total, 0);
    runs.ended(secs(7));
    runs.running(Some(Timestamp(3)), secs(8));
    assert_eq!(runs.total, 1);
}

#[test]
fn restarts() {
    let policy = |condition, delay: Option<u64>, max_attempts, window: Option<u64>| RestartPolicy {
        condition: Some(condition),
        delay: delay.map(Span::seconds),
        max_attempts,
        window: window.map(Span::seconds),
    };
    // Runs of a second each, one after the other without a pause.
    let after = |runs: u64| {
        let mut known = Runs::default();
        for n in 0..runs {
            known.running(Some(Timestamp(n as i64)), secs(n));
            known.ended(secs(n + 1));
        }
        known
    };
    use RestartCondition as C;
    let any = policy(C::Any, None, None, None);
    let waits: Vec<_> = (1..9).map(|n| after(n).verdict(&any, 1, secs(n))).collect();
    let expected = [0, 1, 2, 4, 8, 16, 32, 60];
    let expected: Vec<_> = (1..).zip(expected).map(|(n, wait)| Verdict::StartAt(secs(n + wait))).collect();
    assert_eq!(waits, expected);
    assert_eq!(after(5).verdict(&policy(C::Any, Some(3), None, None), 0, secs(5)), Verdict::StartAt(secs(8)));
    assert_eq!(after(1).verdict(&policy(C::None, None, None, None), 1, secs(1)), Verdict::Rest);
    assert_eq!(after(1).verdict(&policy(C::OnFailure, None, None, None), 0, secs(1)), Verdict::Rest);
    assert_ne!(after(1).verdict(&policy(C::OnFailure, None, None, None), 2, secs(1)), Verdict::Rest);
    let few = policy(C::Any, None, Some(2), Some(10));
    assert!(matches!(after(2).verdict(&few, 1, secs(2)), Verdict::StartAt(_)));
    assert!(
        matches!(after(3).verdict(&few, 1, secs(3)), Verdict::UsedUp(why) if why.contains("2 times within 10s"))
    );
    assert!(matches!(after(3).verdict(&few, 1, secs(30)), Verdict::StartAt(_)), "the window has passed");
    assert_eq!(after(9).total, 8);
}

#[test]
fn a_run_of_ten_seconds_is_a_good_one_and_the_back_off_begins_anew() {
    let any = RestartPolicy::default();
    let lasted = |length: u64| {
        let mut runs = Runs::default();
        for n in 0..3 {
            runs.running(Some(Timestamp(n)), secs(n as u64));
            runs.ended(secs(n as u64 + 1));
        }
        runs.running(Some(Timestamp(3)), secs(10));
        runs.ended(secs(10 + length));
        runs
    };
    assert_eq!(lasted(9).verdict(&any, 1, secs(19)), Verdict::StartAt(secs(19 + 4)));
    let mut good = lasted(10);
    assert_eq!(good.verdict(&any, 1, secs(20)), Verdict::StartAt(secs(20)));
    good.running(Some(Timestamp(4)), secs(20));
    good.ended(secs(21));
    assert_eq!(good.verdict(&any, 1, secs(21)), Verdict::StartAt(secs(22)));
}

#[test]
fn a_start_that_fails_waits_longer_each_time_and_is_no_restart() {
    let (any, mut runs) = (RestartPolicy::default(), Runs::default());
    for (now, start) in [(100, 101), (101, 103), (103, 107)] {
        runs.failed_to_start(secs(now));
        assert_eq!(runs.verdict(&any, 1, secs(now)), Verdict::StartAt(secs(start)));
    }
    assert_eq!(runs.total, 0);
}

#[test]
fn a_run_that_nobody_saw_counts_once_when_its_end_is_seen() {
    let any = RestartPolicy::default();
    let mut runs = Runs::default();
    let mut waits = Vec::new();
    for n in 1..6 {
        let now = secs(100 * n);
        runs.over(Some(Timestamp(n as i64)), now);
        // Looked at again, and once more by a list.
        runs.over(Some(Timestamp(n as i64)), now + secs(1));
        waits.push(runs.verdict(&any, 127, now));
    }
    let at = |n: u64, wait: u64| Verdict::StartAt(secs(100 * n + wait));
    assert_eq!(waits, [at(1, 0), at(2, 1), at(3, 2), at(4, 4), at(5, 8)]);
    assert_eq!(runs.total, 4);
    // The run that an earlier life of the controller knew.
    let mut known = Runs::known(Some(Timestamp(7)), 3);
    known.over(Some(Timestamp(7)), secs(1));
    assert_eq!(known.total, 3);
    known.over(None, secs(2));
    assert_eq!(known.total, 3, "which run it was is not known");
}

#[test]
fn a_restarted_controller_counts_on_and_knows_the_run_that_it_left() {
    let mut runs = Runs::known(Some(Timestamp(1)), 3);
    runs.running(Some(Timestamp(1)), secs(0));
    assert_eq!(runs.total, 3);
    runs.running(Some(Timestamp(2)), secs(5));
    assert_eq!(runs.total, 4);
    let mut away = Runs::known(Some(Timestamp(1)), 3);
    away.running(Some(Timestamp(2)), secs(0));
    assert_eq!(away.total, 4, "it was restarted meanwhile");
}

#[test]
fn restarts_are_counted_up_to_a_thousand() {
    let mut runs = Runs::default();
    for n in 0..=1000 {
        runs.running(Some(Timestamp(n)), secs(n as u64));
        runs.ended(secs(n as u64));
    }
    let policy = RestartPolicy { max_attempts: Some(1000), ..RestartPolicy::default() };
    assert!(matches!(runs.verdict(&policy, 1, secs(1000)), Verdict::UsedUp(_)));
}
