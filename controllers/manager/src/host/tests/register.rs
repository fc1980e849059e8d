//! What is told of a registration, and how one that vanished in silence is found.

use evenkeel_api::record::Event;
use evenkeel_runtime::store::TxnBuilder;

use super::*;

impl World {
    /// What was told, how often, and whether a person should care.
    fn events(&self) -> Vec<(String, u32, bool)> {
        let events = self.store.peek("events/").into_iter();
        let events = events.map(|kv| serde_json::from_slice::<Event>(&kv.value).unwrap());
        events.map(|event| (event.reason, event.count, event.warning)).collect()
    }

    async fn put_alive(&self, value: Option<&'static str>) {
        let (key, txn) = (Key::Alive("h1".parse().unwrap()), TxnBuilder::new());
        let txn = match value {
            Some(value) => txn.put(&key, value),
            None => txn.delete(&key),
        };
        self.store.commit(&txn.build().unwrap()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_is_told_and_one_that_the_store_had_ended_is_a_warning() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(Duration::from_secs(3)).await;
    let first = ("Registered".to_owned(), 1, false);
    assert_eq!(world.events(), std::slice::from_ref(&first));
    world.store.kill_all_leases();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.events(), [first, ("RegisteredAnew".to_owned(), 1, true)]);
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_another_write_came_before_is_not_told() {
    let world = World::new();
    let line = world.store.client(50);
    line.delay(ms(100));
    let deps = HostDeps { lease_store: Arc::new(line), ..world.deps(world.dir.path(), "boot-1", 7) };
    let host = tokio::spawn(run(deps));
    for _ in 0..100 {
        world.put_alive(Some("nonsense")).await;
        sleep(ms(30)).await;
    }
    assert_eq!(world.events(), []);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.events(), [("Registered".to_owned(), 1, false)]);
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_vanished_unheard_is_found_missing_at_the_next_look() {
    let world = World::new();
    let mirror = world.store.client(50);
    let deps = HostDeps { store: Arc::new(mirror.clone()), ..world.deps(world.dir.path(), "boot-1", 7) };
    let host = tokio::spawn(run(deps));
    world.until_alive(true).await;
    sleep(ms(1000)).await;
    mirror.cut_off(true);
    world.put_alive(None).await;
    let back = world.until_alive(true).await;
    // Each tenth renewal looks.
    assert!(back > ms(5000) && back < ms(8000), "{back:?}");
    host.abort();
}
