//! What the end of a step, or of a pull, leaves behind.

use evenkeel_engine::{EngineError, Image};
use evenkeel_plan::instance::memory::Pull;

use super::super::event_of;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn refused() -> EngineError {
    EngineError::Refused("no such device".to_owned())
}

fn missing() -> EngineError {
    EngineError::NotFound("network".to_owned())
}

fn pulled(reference: &str) -> Pull {
    Pull::Done { reference: reference.to_owned(), digest: None }
}

#[tokio::test(start_paused = true)]
async fn a_start_is_tried_again_more_slowly_each_time_and_told_after_five_times() {
    let mut bench = Bench::booted().await;
    bench.set(Slot::default());
    let mut seen = Vec::new();
    for _ in 0..60 {
        let now = bench.driver.now();
        bench.slot().starting = true;
        bench.done(Outcome::Failed(missing()));
        let slot = bench.slot();
        assert!(slot.look && !slot.starting);
        seen.push(((slot.hold.unwrap() - now).as_millis(), slot.memory.trouble.is_some()));
    }
    let early =
        [(100, false), (200, false), (300, false), (400, false), (500, false), (600, true), (700, true)];
    assert_eq!(seen[..7], early);
    assert_eq!((seen[49], seen[59]), ((5000, true), (5000, true)));
}

#[tokio::test(start_paused = true)]
async fn only_the_start_of_what_is_there_in_a_moment_is_tried_again_in_silence() {
    let mut bench = Bench::booted().await;
    let conflict = || EngineError::Conflict { who: "its removal".to_owned() };
    let table = [
        // Whether it was a start, the error, whether it is tried again in silence, whether people are told.
        (true, missing(), true, false),
        (true, conflict(), true, false),
        (true, refused(), false, true),
        (true, EngineError::PortTaken("80".to_owned()), false, true),
        (true, EngineError::Unavailable("gone".to_owned()), false, false),
        (false, missing(), false, false),
        (false, conflict(), false, true),
        (false, refused(), false, true),
    ];
    for (starting, error, silent, told) in table {
        bench.set(Slot { starting, ..Slot::default() });
        bench.done(Outcome::Failed(error.clone()));
        let slot = bench.slot();
        assert_eq!(
            (slot.refusals, slot.memory.trouble.is_some()),
            (silent.into(), told),
            "{starting}: {error}"
        );
        assert!(slot.look && bench.driver.due.contains(&id(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn limits_that_the_engine_refuses_are_told_and_tried_again_later() {
    let mut bench = Bench::booted().await;
    let now = bench.driver.now();
    let asked = || Slot { asked_limits: Some(Limits::default()), ..Slot::default() };
    bench.set(asked());
    bench.done(Outcome::Failed(EngineError::Unavailable("gone".to_owned())));
    let slot = bench.slot();
    assert_eq!((slot.memory.limits_again, slot.hold), (None, Some(now + SECOND)), "it has not refused them");
    bench.set(asked());
    bench.done(Outcome::Failed(refused()));
    let slot = bench.slot();
    assert_eq!((slot.memory.limits_again, slot.hold), (Some(now + 30 * SECOND), None));
    assert!(slot.memory.trouble.is_none(), "it runs as before");
    assert_eq!(bench.events().await, [("LimitsRefused".to_owned(), refused().to_string())]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_pulled_and_is_missing_is_pulled_again_after_a_while() {
    let mut bench = Bench::booted().await;
    for (pull, again) in [(None, false), (Some(pulled(IMAGE)), true), (Some(pulled("other:1")), false)] {
        let mut slot = Slot { asked_image: Some(IMAGE.to_owned()), ..Slot::default() };
        slot.memory.pull.clone_from(&pull);
        bench.set(slot);
        bench.done(Outcome::Failed(EngineError::ImageMissing(IMAGE.to_owned())));
        let memory = &bench.slot().memory;
        assert_eq!(memory.missing.as_deref(), Some(IMAGE));
        assert_eq!(memory.trouble.is_some(), again, "{pull:?}");
        assert_eq!(memory.pull, pull.filter(|_| !again));
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_has_the_right_image_if_the_ids_are_the_same() {
    let image = |id: &str| Image { id: id.to_owned(), digests: Vec::new() };
    let mut bench = Bench::booted().await;
    let slot =
        || Slot { container: Some(container("c1", &id(1), ContainerState::Running)), ..Slot::default() };
    for (here, right) in
        [(Some(image("sha256:here")), true), (Some(image("sha256:other")), false), (None, false)]
    {
        bench.set(slot());
        bench.done(Outcome::Image(here.clone()));
        let memory = &bench.slot().memory;
        assert_eq!((memory.verified, memory.wrong_image), (right, !right), "compared with {here:?}");
    }
    // It was not known by its digest: what is pulled then tells.
    for (came, right) in [("sha256:here", true), ("sha256:other", false)] {
        let mut wrong = slot();
        wrong.memory.wrong_image = true;
        bench.set(wrong);
        assert!(bench.driver.pulls.want(IMAGE, &id(1)));
        bench.driver.hear(Message::Pulled(IMAGE.to_owned(), Ok(image(came))));
        let memory = &bench.slot().memory;
        assert_eq!((memory.verified, memory.wrong_image), (right, !right), "pulled {came}");
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_are_others_unless_a_container_of_ours_has_them_and_runs() {
    let mut bench = Bench::booted().await;
    let exited = ContainerState::Exited { code: 0, oom: false };
    for (seq, address, state) in [(1, "10.88.1.2", ContainerState::Running), (2, "10.88.1.3", exited)] {
        let container = Some(at(address, container("c", &id(seq), state)));
        bench.driver.slots.insert(id(seq), Slot { container, ..Slot::default() });
    }
    let found = ["10.88.1.2", "10.88.1.3", "10.88.1.4"].map(|at| at.parse().unwrap());
    bench.done(Outcome::AddressTaken(vec![("ek-lan".to_owned(), BTreeSet::from(found))]));
    assert!(bench.slot().memory.address_taken);
    assert_eq!(bench.driver.held_by_others("ek-lan"), BTreeSet::from([found[1], found[2]]));
    assert_eq!(bench.driver.held_by_others("ek-db"), BTreeSet::new());
}

#[test]
fn ends_and_failures_are_worth_an_event() {
    let exited = |oom| InstanceState::Exited { code: 3, oom };
    let table = [
        (exited(true), Some(("OutOfMemory", "the kernel killed it for memory; exit code 3"))),
        (exited(false), Some(("Exited", "it ended with exit code 3"))),
        (InstanceState::failed("no image"), Some(("Failed", "no image"))),
        (InstanceState::Running, None),
        (InstanceState::Pulling, None),
    ];
    for (state, expected) in table {
        let expected = expected.map(|(reason, message)| (reason, message.to_owned()));
        assert_eq!(event_of(&state), expected, "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_controller_of_before_told_is_not_told_again_for_a_field_that_it_did_not_have() {
    let words =
        "host policy on h1 does not allow privileged for namespace shop; see /etc/evenkeel/policy.yaml";
    for (before, told) in [(words, false), ("no image", true)] {
        let mut bench = Bench::on_a_store().await;
        let template = Template { image: IMAGE.into(), privileged: Some(true), ..Template::default() };
        put(&bench.store, &Key::Revision("shop/web".parse().unwrap(), 7), &Revision { template }).await;
        bench.driver.boot().await;
        let state = InstanceState::Failed { why: before.to_owned(), refused: None };
        bench.set(Slot { observed: Some(Observed { state, ..running() }), ..Slot::default() });
        bench.driver.step(&id(1));
        let now = bench.slot().observed.clone().unwrap();
        assert_eq!((now.state, now.since), (InstanceState::refused(words), Timestamp(1)));
        let events: Vec<_> = told.then(|| ("Failed".to_owned(), words.to_owned())).into_iter().collect();
        assert_eq!(bench.events().await, events);
    }
}
