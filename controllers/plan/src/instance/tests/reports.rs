//! What a host says of an instance.

use evenkeel_api::record::{Observed, Verdict as Health};

use super::*;
use crate::instance::report::observed;

fn tell(case: &Case, before: Option<&Observed>, state: InstanceState, wall: i64) -> Observed {
    let container = case.container.as_ref();
    observed(before, Some(state), container, &case.addresses, &case.memory, Timestamp(wall)).unwrap()
}

fn waits(why: &str) -> InstanceState {
    InstanceState::Waiting { why: why.into() }
}

#[test]
fn a_report_says_since_when_it_is_so() {
    let ran = Case::new().is(ContainerState::Running);
    let first = tell(&ran, None, InstanceState::Running, 5000);
    assert_eq!(first.since, Timestamp(1000), "a run is as old as the engine says");
    let anew = ran.clone().with(|case| case.container.as_mut().unwrap().started = Some(Timestamp(2000)));
    let earlier = Observed { since: Timestamp(900), ..first.clone() };
    let since = |case: &Case, before, state| tell(case, Some(before), state, 7000).since;
    assert_eq!(since(&ran, &earlier, InstanceState::Running), Timestamp(900), "still the same");
    assert_eq!(since(&anew, &earlier, InstanceState::Running), Timestamp(2000), "another run");
    let exited = InstanceState::Exited { code: 1, oom: false };
    assert_eq!(since(&ran, &earlier, exited), Timestamp(7000), "it ended");

    let none = Case::new();
    let waiting = tell(&none, None, waits("for a network"), 5000);
    let other = tell(&none, Some(&waiting), waits("for a template"), 7000);
    assert_eq!((other.since, other.state), (Timestamp(5000), waits("for a template")), "it waits on");
}

#[test]
fn without_news_the_state_is_as_it_was_and_nothing_is_said_of_what_was_never_known() {
    let case = Case::new().is(ContainerState::Running);
    let none = |before| {
        let container = case.container.as_ref();
        observed(before, None, container, &case.addresses, &case.memory, Timestamp(7000))
    };
    assert_eq!(none(None), None);
    let running = tell(&case, None, InstanceState::Running, 5000);
    assert_eq!(none(Some(&running)), Some(running.clone()));
}

#[test]
fn addresses_and_the_engines_check_are_told_of_what_is_there_and_of_what_runs() {
    let with = |state| {
        let case = Case::new().is(state);
        case.with(|case| case.container.as_mut().unwrap().health = Some(Health::Healthy))
    };
    let exited = InstanceState::Exited { code: 1, oom: false };
    let stopped = InstanceState::Stopped { code: Some(0) };
    let table = [
        ("runs", with(ContainerState::Running), InstanceState::Running, true, true),
        ("ended", with(EXITED), exited, true, false),
        ("its container is gone", Case::new(), waits("for an image"), false, false),
        ("stopped", with(EXITED), stopped, false, false),
    ];
    for (what, case, state, there, healthy) in table {
        let told = tell(&case, None, state, 5000);
        assert_eq!(told.addresses, if there { case.addresses.clone() } else { BTreeMap::new() }, "{what}");
        assert_eq!(told.started.is_some(), there, "{what}");
        assert_eq!(told.engine_health, healthy.then_some(Health::Healthy), "{what}");
    }
}

#[test]
fn the_digest_is_that_of_the_image_which_runs() {
    let tag = "registry.lan:5000/web:1";
    let done =
        |reference: &str| Some(Pull::Done { reference: reference.into(), digest: Some("sha256:aa".into()) });
    let table = [
        ("made by digest", "registry.lan:5000/web@sha256:bb", done(tag), Some("sha256:bb")),
        ("made by the tag that was pulled", tag, done(tag), Some("sha256:aa")),
        ("another tag was pulled", tag, done("registry.lan:5000/web:2"), None),
        ("it did not come", tag, Some(Pull::failed(tag, "denied", None, secs(0))), None),
        ("nothing was pulled", tag, None, None),
    ];
    for (what, image, pull, digest) in table {
        let mut case = Case::new().is(ContainerState::Running);
        case.container.as_mut().unwrap().image = image.into();
        case.memory.pull = pull;
        assert_eq!(tell(&case, None, InstanceState::Running, 5000).digest.as_deref(), digest, "{what}");
    }
}
