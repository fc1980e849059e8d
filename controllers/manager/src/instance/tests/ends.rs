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
    let counted = "evenkeel_copy_restarts_total{namespace=\"shop\",service=\"web\"} 5".to_owned();
    assert_eq!(world.figure("evenkeel_copy_restarts_total{"), [counted]);
}

#[tokio::test(start_paused = true)]
async fn restarts_of_a_service_are_on_the_page_once_there_was_one_and_until_its_last_copy_is_gone() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.want(&id(2), Desired::Run).await;
    world.until_running(&id(2)).await;
    world.until_running(&id(1)).await;
    // Told again with something else about it, and no restart.
    world.engine.pause("shop.web.2.2", true);
    world.until_told(&id(2), |state| matches!(state, InstanceState::Waiting { .. })).await;
    world.engine.pause("shop.web.2.2", false);
    world.until_running(&id(2)).await;
    assert_eq!(world.figure("evenkeel_copy_restarts_total{"), Vec::<String>::new());
    for ends in 1..=2 {
        world.engine.crash("shop.web.1.1", 1, false);
        let again = |told: Option<Observed>| told.filter(|told| told.restarts == ends);
        eventually("it runs again", || async { again(world.told(&id(1)).await) }).await;
        let lines = world.figure("evenkeel_copy_restarts_total{");
        assert!(lines.len() == 1 && lines[0].ends_with(&format!(" {ends}")), "{lines:?}");
    }
    for (copy, left) in [(2, 1), (1, 0)] {
        world.want(&id(copy), Desired::Stop).await;
        world.until_told(&id(copy), |state| matches!(state, InstanceState::Stopped { .. })).await;
        world.delete(&Key::Instance(host(), id(copy))).await;
        eventually("it is forgotten", || async { world.told(&id(copy)).await.is_none().then_some(()) }).await;
        assert_eq!(world.figure("evenkeel_copy_restarts_total{").len(), left);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_refuses_is_counted_and_what_is_only_not_there_is_not() {
    let world = World::started().await;
    world.engine.behave(IMAGE, Behaviour::FailsToStart("exec: no such file".into()));
    world.want(&id(1), Desired::Run).await;
    world.until_told(&id(1), |state| matches!(state, InstanceState::Failed { .. })).await;
    let lines = world.figure("evenkeel_reconcile_errors_total{controller=\"instance\",kind=\"engine\"}");
    assert_eq!(lines.len(), 1, "{lines:?}");
    // Its image is taken away under it: that is pulled again, and nobody's fault.
    let calm = World::started().await;
    calm.want(&id(1), Desired::Run).await;
    calm.until_running(&id(1)).await;
    calm.engine.fail_next(Op::Create, EngineError::ImageMissing(IMAGE.to_owned()));
    calm.engine.person_removes(&id(1).to_string());
    eventually("it is made again", || async { calm.runs(&id(1)).then_some(()) }).await;
    assert_eq!(calm.figure("evenkeel_reconcile_errors_total{"), Vec::<String>::new());
}
