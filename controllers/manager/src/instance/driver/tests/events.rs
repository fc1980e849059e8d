//! What the engine's events change.

use std::net::Ipv4Addr;

use evenkeel_api::record::{HostPort, Verdict};
use evenkeel_api::service::Protocol;
use evenkeel_engine::EngineEvent;

use super::*;

const ENDED: ContainerState = ContainerState::Exited { code: 7, oom: false };

/// What happened to the container with that id of the engine's.
fn event(action: &str, engine_id: &str, exit: Option<&str>) -> Message {
    let label = (label::INSTANCE.to_owned(), id(1).to_string());
    let exit = exit.map(|code| ("exitCode".to_owned(), code.to_owned()));
    Message::Event(EngineEvent {
        kind: "container".to_owned(),
        action: action.to_owned(),
        id: engine_id.to_owned(),
        name: "renamed".to_owned(),
        attributes: exit.into_iter().chain([label]).collect(),
    })
}

/// What became of the slot.
#[derive(Debug, PartialEq)]
enum Left {
    AsItWas,
    /// The driver looks before anything else.
    Look,
    /// The step under way goes on, and a look follows it.
    LookLater,
    /// The event said all.
    Known(Option<ContainerState>),
}

fn left(bench: &mut Bench, before: Option<ContainerState>) -> Left {
    let due = bench.driver.due.contains(&id(1));
    let slot = bench.slot();
    let now = slot.container.as_ref().map(|one| one.state);
    assert_eq!(slot.hold.is_none(), due, "nothing holds up what is due");
    match (slot.look, due) {
        (false, true) => Left::Known(now),
        (look, due) => {
            assert_eq!(now, before);
            match (look, due) {
                (true, true) => Left::Look,
                (true, false) => Left::LookLater,
                _ => Left::AsItWas,
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_leads_to_a_look_unless_it_says_all_or_nothing() {
    use ContainerState::{Exited, Running};
    let mut bench = Bench::booted().await;
    let known = |code| Left::Known(Some(Exited { code, oom: false }));
    let table = [
        ("start", "c1", None, Some(Running), Left::AsItWas),
        ("start", "c1", None, Some(ENDED), Left::Look),
        ("start", "c1", None, None, Left::AsItWas),
        ("health_status: healthy", "c1", None, Some(Running), Left::Look),
        ("exec_create: ls", "c1", None, Some(Running), Left::AsItWas),
        ("pause", "c1", None, Some(Running), Left::Look),
        ("unpause", "c1", None, Some(Running), Left::Look),
        ("rename", "c1", None, Some(Running), Left::Look),
        ("update", "c1", None, Some(Running), Left::Look),
        ("die", "c1", Some("3"), Some(Running), known(3)),
        ("die", "c1", None, Some(Running), known(-1)),
        ("die", "c1", Some("3"), Some(ENDED), Left::Look),
        ("die", "c0", Some("3"), Some(Running), Left::AsItWas),
        ("die", "c0", Some("3"), None, Left::Look),
        ("destroy", "c1", None, Some(Running), Left::Known(None)),
        ("destroy", "c0", None, Some(Running), Left::AsItWas),
        // What was in the way of the making is gone.
        ("destroy", "c0", None, None, Left::Known(None)),
    ];
    for (action, engine_id, exit, state, expected) in table {
        let container = state.map(|state| container("c1", &id(1), state));
        bench.set(Slot { container, hold: Some(Duration::MAX), ..Slot::default() });
        bench.driver.hear(event(action, engine_id, exit));
        assert_eq!(left(&mut bench, state), expected, "{action} of {engine_id} at {state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_has_no_ports_no_health_and_no_process() {
    let mut bench = Bench::booted().await;
    let port = HostPort { address: Ipv4Addr::UNSPECIFIED, port: 8080, target: 80, protocol: Protocol::Tcp };
    let running = Container {
        health: Some(Verdict::Healthy),
        ports: vec![port],
        pid: Some(77),
        ..container("c1", &id(1), ContainerState::Running)
    };
    bench.set(Slot { container: Some(running), ..Slot::default() });
    bench.driver.hear(event("die", "c1", Some("0")));
    let ended = container("c1", &id(1), ContainerState::Exited { code: 0, oom: false });
    assert_eq!(bench.slot().container, Some(ended));
}

#[tokio::test(start_paused = true)]
async fn during_a_step_only_what_it_does_not_do_itself_leads_to_a_look_after_it() {
    let mut bench = Bench::booted().await;
    for (action, expected) in [
        ("start", Left::AsItWas),
        ("update", Left::AsItWas),
        ("rename", Left::AsItWas),
        ("die", Left::LookLater),
        ("destroy", Left::LookLater),
        ("health_status: unhealthy", Left::LookLater),
    ] {
        let container = Some(container("c1", &id(1), ENDED));
        bench.set(Slot { container, busy: true, hold: Some(Duration::MAX), ..Slot::default() });
        bench.driver.hear(event(action, "c1", None));
        assert_eq!(left(&mut bench, Some(ENDED)), expected, "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_after_the_kernels_word_of_no_memory_is_for_want_of_it() {
    let mut bench = Bench::booted().await;
    let container = Some(container("c1", &id(1), ContainerState::Running));
    bench.set(Slot { container, ..Slot::default() });
    bench.driver.hear(event("oom", "c1", None));
    assert!(bench.driver.due.is_empty(), "it may live on");
    bench.driver.hear(event("die", "c1", Some("137")));
    let state = bench.slot().container.as_ref().unwrap().state;
    assert_eq!(state, ContainerState::Exited { code: 137, oom: true });
}
