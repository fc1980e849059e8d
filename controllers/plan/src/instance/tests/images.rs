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
    let done = Pull::Done { reference: pinned.into(), digest: None };
    assert_eq!(wrong.with(|case| case.memory.pull = Some(done)).decide().action, Some(Action::Remove));
}
