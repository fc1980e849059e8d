//! Which image runs, and what must happen before it can.

use super::*;

#[test]
fn images() {
    let pull = |case: &Case| match case.decide().action {
        Some(Action::Pull { reference }) => reference,
        other => panic!("{other:?}"),
    };
    let tag = "registry.lan:5000/web:1";
    let pinned = "registry.lan:5000/web@sha256:aa";
    let missing = |case: &mut Case| case.memory.missing = Some(tag.into());
    assert_eq!(pull(&Case::new().with(missing)), tag);
    assert_eq!(Case::new().with(|case| case.pin = Some("sha256:aa".into())).created().image, pinned);
    let done = Pull::Done { reference: tag.into(), digest: None };
    assert_eq!(Case::new().with(missing).with(|case| case.memory.pull = Some(done)).created().image, tag);
    let failed = Pull::failed(tag, "manifest unknown", None, secs(99));
    let waits = Case::new().with(missing).with(|case| case.memory.pull = Some(failed)).decide();
    assert_eq!((waits.action, waits.wake), (None, Some(secs(104))));
    assert!(matches!(waits.state, Some(InstanceState::Failed { .. })), "{:?}", waits.state);
    // A registry that does not answer says nothing about the image, however often it does not.
    let mut away = None;
    for _ in 0..9 {
        let error = "Get https://registry.lan:5000/v2/: dial tcp: connect: no route to host";
        away = Some(Pull::failed(tag, error, away.as_ref(), secs(99)));
    }
    let waits = Case::new().with(missing).with(|case| case.memory.pull = away).decide();
    assert!(matches!(waits.state, Some(InstanceState::Waiting { .. })), "{:?}", waits.state);
    assert_eq!(waits.wake, Some(secs(99 + 300)));

    // Made by tag before it was pinned.
    let running = Case::new().is(ContainerState::Running).with(|case| case.pin = Some("sha256:aa".into()));
    assert_eq!(running.decide().action, Some(Action::Verify { reference: pinned.into() }));
    assert_eq!(running.clone().with(|case| case.memory.verified = true).decide().action, None);
    let wrong = running.with(|case| case.memory.wrong_image = true);
    assert_eq!(pull(&wrong), pinned);
    assert_eq!(wrong.decide().state, None, "it runs on until the right one is here");
    let done = Pull::Done { reference: pinned.into(), digest: None };
    assert_eq!(wrong.with(|case| case.memory.pull = Some(done)).decide().action, Some(Action::Remove));
}

#[test]
fn an_image_by_digest_is_named_without_its_tag_and_with_the_registrys_port() {
    let pinned = |image: &str| {
        let case = Case::new().template(|template| template.image = image.into());
        case.with(|case| case.pin = Some("sha256:aa".into())).created().image
    };
    assert_eq!(pinned("web:1"), "web@sha256:aa");
    assert_eq!(pinned("web"), "web@sha256:aa");
    assert_eq!(pinned("registry.lan:5000/web"), "registry.lan:5000/web@sha256:aa");
    assert_eq!(pinned("web@sha256:bb"), "web@sha256:bb");
}

#[test]
fn what_is_never_pulled_runs_as_the_host_has_it() {
    let never = |case: Case| case.template(|template| template.pull_policy = Some(PullPolicy::Never));
    let tag = "registry.lan:5000/web:1";
    let case = never(Case::new()).with(|case| case.pin = Some("sha256:aa".into()));
    assert_eq!(case.created().image, tag);
    let why = case.clone().with(|case| case.memory.missing = Some(tag.into())).refused();
    assert_eq!(why, format!("the image {tag} is not on h1, and pull_policy is never"));
    assert_eq!(case.is(ContainerState::Running).decide().action, None, "nothing to compare it with");
}

#[test]
fn a_container_made_by_digest_is_not_compared_and_one_by_tag_serves_on_meanwhile() {
    let running = Case::new().is(ContainerState::Running).with(|case| case.pin = Some("sha256:aa".into()));
    let verify = running.decide();
    assert!(matches!(verify.action, Some(Action::Verify { .. })), "{:?}", verify.action);
    assert_eq!(verify.state, Some(InstanceState::Running));
    let by_digest = "registry.lan:5000/web@sha256:aa";
    let made = running.clone().with(|case| case.container.as_mut().unwrap().image = by_digest.into());
    assert_eq!(made.decide().action, None);
    let pull = Pull::Done { reference: "registry.lan:5000/web:1".into(), digest: Some("sha256:aa".into()) };
    assert_eq!(running.with(|case| case.memory.pull = Some(pull)).decide().action, None, "it came as that");
}

#[test]
fn a_failed_pull_is_tried_again_at_its_time_and_another_image_begins_anew() {
    let tag = "registry.lan:5000/web:1";
    let failed = |before: Option<&Pull>| Pull::failed(tag, "no route to host", before, secs(95));
    let due = |pull: Pull| {
        let missing = Case::new().with(|case| case.memory.missing = Some(tag.into()));
        missing.with(|case| case.memory.pull = Some(pull)).decide()
    };
    let now = due(failed(None));
    assert_eq!((now.action, now.wake), (Some(Action::Pull { reference: tag.into() }), None));
    let later = due(failed(Some(&failed(None))));
    assert_eq!((later.action, later.wake), (None, Some(secs(105))));
    let other = Pull::failed("registry.lan:5000/web:2", "no route to host", None, secs(90));
    assert_eq!(failed(Some(&other)), failed(None));
}
