//! One step after the other, from any situation.

use super::*;

/// What an engine would make of an action, in the plainest way.
fn apply(case: &mut Case, action: Action) {
    match action {
        Action::Pull { reference } => case.memory.pull = Some(Pull::Done { reference, digest: None }),
        Action::Verify { .. } => case.memory.verified = true,
        Action::Create { spec, .. } => {
            let mut made = container(&case.id, ContainerState::Created);
            (made.image, made.limits) = (spec.image.clone(), spec.limits);
            case.container = Some(made);
        }
        Action::Start => {
            if let Some(container) = &mut case.container {
                container.state = ContainerState::Running;
            }
            case.memory.runs.running(Some(Timestamp(2000)), case.now);
        }
        Action::Update(limits) => {
            if let Some(container) = &mut case.container {
                container.limits = limits;
            }
        }
        Action::Stop { .. } => {
            if let Some(container) = &mut case.container {
                container.state = ContainerState::Exited { code: 143, oom: false };
            }
            case.memory.last_code = Some(143);
        }
        Action::Remove => {
            case.container = None;
            case.memory.container_gone();
        }
    }
}

fn situation() -> impl Strategy<Value = Case> {
    let desired = prop_oneof![
        Just(None),
        Just(Some(Desired::Run)),
        Just(Some(Desired::Drain)),
        Just(Some(Desired::Stop)),
        Just(Some(Desired::Lost)),
    ];
    let state = prop_oneof![
        Just(None),
        Just(Some(ContainerState::Created)),
        Just(Some(ContainerState::Running)),
        Just(Some(ContainerState::Paused)),
        Just(Some(ContainerState::Dead)),
        (0i64..3).prop_map(|code| Some(ContainerState::Exited { code, oom: false })),
    ];
    let flags = proptest::array::uniform6(any::<bool>());
    (desired, state, flags, proptest::option::of(1i64..500)).prop_map(|(desired, state, flags, pids)| {
        let [pinned, missing, wrong, trusted, always, taken] = flags;
        let mut case = Case::new();
        match desired {
            Some(desired) => case.record.as_mut().unwrap().desired = desired,
            None => case.record = None,
        }
        case.container = state.map(|state| container(&case.id, state));
        case.pin = pinned.then(|| "sha256:aa".to_owned());
        case.memory.missing = missing.then(|| "registry.lan:5000/web:1".to_owned());
        case.memory.wrong_image = wrong;
        case.memory.address_taken = taken && case.container.is_some();
        case.may_destroy = trusted;
        let policy = always.then_some(PullPolicy::Always);
        case.template.as_mut().unwrap().pull_policy = policy;
        case.accepted.as_mut().unwrap().limits.pids = pids;
        case
    })
}

proptest! {
    /// From anywhere, a few steps lead to where nothing is to be done, and that is what was wanted.
    #[test]
    fn steps_end_where_they_should(mut case in situation()) {
        let began = case.container.clone();
        let mut steps = 0;
        while let Some(action) = case.decide().action {
            let destroys = matches!(action, Action::Stop { .. } | Action::Remove);
            prop_assert!(!destroys || case.may_destroy, "{:?}", action);
            apply(&mut case, action);
            case.now += secs(100);
            steps += 1;
            prop_assert!(steps < 10, "no end: {:?}", case.decide());
        }
        let wanted = case.record.as_ref().map(|record| record.desired);
        let state = case.container.as_ref().map(|container| container.state);
        match wanted {
            _ if !case.may_destroy => {}
            None | Some(Desired::Stop | Desired::Lost) => prop_assert_eq!(state, None),
            Some(Desired::Run) => {
                let paused = state == Some(ContainerState::Paused);
                prop_assert!(paused || state == Some(ContainerState::Running), "{:?}", state);
            }
            Some(Desired::Drain) => prop_assert!(began.is_some() || state.is_none()),
        }
        prop_assert_eq!(case.decide(), case.decide());
    }
}
