//! What is made of a copy's state and of the verdicts on it.

use evenkeel_api::healthcheck::Effects;
use evenkeel_api::record::{CheckState, Health, Verdict};

use super::*;
use crate::service::memory::CopyMemory;
use crate::service::ready::{doing, evidence, rollout_checks_pass, was_ready};

/// The run that verdicts are on.
const RUN: i64 = 5;

fn check(dns: bool, rollout: bool) -> Check {
    let text = r#"{"target": {"service": "web"}, "type": "tcp"}"#;
    let mut check = Check { spec: serde_json::from_str(text).unwrap(), revision: 7 };
    check.spec.effects = Some(Effects { dns: Some(dns), rollout: Some(rollout), ..Effects::default() });
    check
}

fn checked(checks: &[(&str, Check)]) -> Service {
    let checks = checks.iter().map(|(name, check)| (name.parse().unwrap(), check.clone())).collect();
    Service { checks, ..Service::default() }
}

fn copy(state: InstanceState, verdicts: &[(&str, Verdict)]) -> Copy {
    let state_of =
        |verdict| CheckState { verdict, since: Timestamp(0), revision: 7, evidence: "seen".into() };
    let checks = verdicts.iter().map(|(name, verdict)| (name.parse().unwrap(), state_of(*verdict))).collect();
    let health = Some(Health { started: Timestamp(RUN), checks });
    Copy { host: host("h1"), record: None, observed: Some(observed(state, RUN)), health }
}

#[test]
fn a_new_leader_believes_the_names_only_of_the_run_that_checks_spoke_of() {
    for (listed, judged, expected) in [
        (Some(true), Some(RUN), true),
        (Some(true), Some(RUN - 1), false),
        (Some(true), None, false),
        (Some(false), Some(RUN), false),
        (None, Some(RUN), false),
    ] {
        let mut copy = copy(InstanceState::Running, &[]);
        copy.health = judged.map(|started| Health { started: Timestamp(started), checks: BTreeMap::new() });
        assert_eq!(was_ready(&copy, None, listed), expected, "{listed:?} {judged:?}");
    }
}

#[test]
fn what_speaks_against_a_copy_is_told_in_the_order_of_authority() {
    let failed = InstanceState::failed("no such image");
    let exited = |code, oom| InstanceState::Exited { code, oom };
    for (state, expected) in [
        (InstanceState::Running, None),
        (InstanceState::Pulling, None),
        (failed, Some("no such image")),
        (exited(137, true), Some("killed for memory")),
        (exited(3, false), Some("exited with code 3")),
    ] {
        let found = evidence(&Service::default(), &copy(state, &[]), None);
        assert_eq!(found.as_deref(), expected);
    }
    // Restarts since it was first seen, its engine's check, and those that a rollout waits for.
    let service = checked(&[("lax", check(true, false)), ("tcp", check(true, true))]);
    let sick = [("lax", Verdict::Unhealthy), ("tcp", Verdict::Unhealthy)];
    for (before, engine, verdicts, expected) in [
        (1, Some(Verdict::Unhealthy), &sick[..], Some("ended and was started again, 2 times so far")),
        (2, Some(Verdict::Unhealthy), &sick[..], Some("the engine's own check finds it unhealthy")),
        (2, None, &sick[..], Some("check tcp: seen")),
        (2, None, &sick[..1], None),
    ] {
        let mut copy = copy(InstanceState::Running, verdicts);
        let seen = copy.observed.as_mut().unwrap();
        (seen.restarts, seen.engine_health) = (2, engine);
        let memory = CopyMemory { restarts: Some(before), ..CopyMemory::default() };
        let found = evidence(&service, &copy, Some(&memory));
        assert_eq!(found.as_deref(), expected);
        let found = evidence(&service, &copy, None);
        assert!(!found.is_some_and(|found| found.contains("started again")), "who knows when that was");
    }
}

#[test]
fn of_a_copy_that_runs_the_first_check_is_named_that_has_not_passed() {
    let service = checked(&[("a", check(true, true)), ("b", check(true, true))]);
    for (a, b, expected) in [
        (Some(Verdict::Healthy), Some(Verdict::Starting), "check b has not passed"),
        (Some(Verdict::Healthy), None, "check b has not passed"),
        (Some(Verdict::Unhealthy), Some(Verdict::Healthy), "check a has not passed"),
        (Some(Verdict::Healthy), Some(Verdict::Healthy), "the engine's own check has not passed"),
    ] {
        let verdicts = [("a", a), ("b", b)].into_iter().filter_map(|(name, verdict)| Some((name, verdict?)));
        let verdicts: Vec<(&str, Verdict)> = verdicts.collect();
        assert_eq!(doing(&service, &copy(InstanceState::Running, &verdicts)), expected);
    }
}

#[test]
fn a_rollout_waits_itself_for_the_checks_that_names_do_not_wait_for() {
    for (dns, rollout, waits) in [(false, true, true), (true, true, false), (false, false, false)] {
        let service = checked(&[("tcp", check(dns, rollout))]);
        for verdict in [None, Some(Verdict::Starting), Some(Verdict::Unhealthy), Some(Verdict::Healthy)] {
            let verdicts: Vec<_> = verdict.map(|verdict| ("tcp", verdict)).into_iter().collect();
            let passes = rollout_checks_pass(&service, &copy(InstanceState::Running, &verdicts));
            assert_eq!(passes, !waits || verdict == Some(Verdict::Healthy), "{dns} {rollout} {verdict:?}");
        }
    }
}
