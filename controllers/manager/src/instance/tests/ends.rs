//! Copies that end by themselves.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_copy_that_ends_before_anybody_sees_it_run_is_counted_and_told_and_waits_longer_each_time() {
    let world = World::started().await;
    world.engine.behave(IMAGE, Behaviour::Exits { after: Duration::ZERO, code: 127 });
    world.want(&id(1), Desired::Run).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    // After the first end at once, then after 1, 2, 4 and 8 seconds more.
    assert_eq!(world.count(Op::Start), 6);
    let told = world.told(&id(1)).await.unwrap();
    assert_eq!((told.restarts, told.state), (5, InstanceState::Exited { code: 127, oom: false }));
    let events = world.store.peek("events/h1.instance/").into_iter();
    let events = events.map(|kv| serde_json::from_slice::<Event>(&kv.value).unwrap());
    let ends: u32 = events.filter(|event| event.reason == "Exited").map(|event| event.count).sum();
    assert_eq!(ends, 6);
}
