//! Which image a copy runs, and what must happen before it is here.

use evenkeel_api::record::InstanceState;
use evenkeel_api::service::{PullPolicy, Template};

use super::super::container::{Container, ContainerState};
use super::super::memory::Pull;
use super::{Action, Decision, View, failed, waiting};

/// What must be done about a container that was made by tag, before the tag's meaning was pinned.
pub(super) fn right_image(view: &View<'_>, container: &Container) -> Option<Decision> {
    let (template, pin) = (view.template?, view.pin?);
    if template.pull_policy == Some(PullPolicy::Never) || container.image.contains('@') {
        return None;
    }
    let reference = by_digest(&template.image, pin);
    let memory = view.memory;
    let came_as = |pull: &Pull| matches!(pull, Pull::Done { reference, digest: Some(d) } if *reference == container.image && d == pin);
    if memory.verified || memory.pull.as_ref().is_some_and(came_as) {
        return None;
    }
    if !memory.wrong_image {
        // It serves on meanwhile: the answer is nearly always «the same».
        let state = match container.state {
            ContainerState::Running => Some(InstanceState::Running),
            _ => None,
        };
        return Some(Decision { action: Some(Action::Verify { reference }), state, ..Decision::default() });
    }
    if let Some(step) = pull(view, &reference) {
        // The wrong one runs until the right one is here.
        return Some(Decision { state: None, ..step });
    }
    view.may_destroy.then(|| Decision::act(Action::Remove))
}

/// The reference to run: what the tag was pinned to, if it was.
pub(super) fn wanted_image(template: &Template, pin: Option<&str>) -> String {
    match pin {
        Some(pin) if template.pull_policy != Some(PullPolicy::Never) => by_digest(&template.image, pin),
        _ => template.image.clone(),
    }
}

/// `reference` with its tag exchanged for `digest`; one that has a digest is left as it is.
fn by_digest(reference: &str, digest: &str) -> String {
    if reference.contains('@') {
        return reference.to_owned();
    }
    match reference.rsplit_once(':') {
        // A colon before the last slash is a registry's port.
        Some((path, tag)) if !tag.contains('/') => format!("{path}@{digest}"),
        _ => format!("{reference}@{digest}"),
    }
}

/// What must happen before the image is on this host; `None`: it is, as far as is known. Whether it really
/// is, the making says: asking first would cost every copy a call.
pub(super) fn image_here(view: &View<'_>, template: &Template, image: &str) -> Option<Decision> {
    let missing = view.memory.missing.as_deref() == Some(image);
    match template.pull_policy.unwrap_or(PullPolicy::Missing) {
        PullPolicy::Never if missing => {
            Some(failed(format!("the image {image} is not on {}, and pull_policy is never", view.host)))
        }
        PullPolicy::Never => None,
        PullPolicy::Missing if !missing => None,
        PullPolicy::Missing | PullPolicy::Always => pull(view, image),
    }
}

/// What must happen before `reference` has been pulled for this instance; `None`: it was.
fn pull(view: &View<'_>, reference: &str) -> Option<Decision> {
    match view.memory.pull.as_ref().filter(|pull| pull.reference() == reference) {
        Some(Pull::Done { .. }) => None,
        Some(Pull::Failed { why, until, certain, .. }) => {
            let step = if *certain { failed(why) } else { waiting(why) };
            let again = Action::Pull { reference: reference.to_owned() };
            Some(if view.now < *until { step.until(*until) } else { step.with(again) })
        }
        None => {
            let pull = Action::Pull { reference: reference.to_owned() };
            Some(Decision::of(InstanceState::Pulling).with(pull))
        }
    }
}
