//! How often the machine is looked at, and what is found of the watchdog.

use evenkeel_api::local::Beat;
use evenkeel_engine::fake::Op;
use evenkeel_runtime::disk::Scratch;

use super::*;

#[tokio::test(start_paused = true)]
async fn the_machine_is_looked_at_anew_in_no_more_than_its_time() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(Duration::from_secs(1)).await;
    world.engine.take_calls();
    sleep(Duration::from_secs(300)).await;
    let looks = world.engine.take_calls().iter().filter(|(op, _)| *op == Op::Info).count();
    assert!((20..=23).contains(&looks), "in five minutes: {looks}");
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn a_host_tells_whether_its_watchdog_runs() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(ms(500)).await;
    assert!(!world.facts().await.watchdog);
    let watchdog = Scratch::new(&world.dir.path().into(), Controller::Watchdog, "beat");
    let env = Env::new(SystemClock, 1);
    let beats = tokio::spawn(async move {
        loop {
            let at = u64::try_from(env.boot_time().as_millis()).unwrap();
            watchdog.write(&Beat { boot: env.boot().to_owned(), at, proofs: BTreeMap::new() }).unwrap();
            sleep(ms(500)).await;
        }
    });
    sleep(Duration::from_secs(16)).await;
    assert!(world.facts().await.watchdog);
    beats.abort();
    sleep(Duration::from_secs(18)).await;
    assert!(!world.facts().await.watchdog);
    host.abort();
}
