//! The mirror on paused time over the store in memory.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::record::Cluster;
use evenkeel_etcd::MemoryStore;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::{Store, TxnBuilder};
use evenkeel_runtime::witness::Trust;
use tokio::time::{Instant, sleep, timeout};

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

async fn put(store: &MemoryStore, name: &str, value: &str) -> i64 {
    let txn = TxnBuilder::new().put(&key(name), value.to_owned()).build().unwrap();
    store.commit(&txn).await.unwrap().header.revision
}

async fn delete(store: &MemoryStore, name: &str) -> i64 {
    let txn = TxnBuilder::new().delete(&key(name)).build().unwrap();
    store.commit(&txn).await.unwrap().header.revision
}

fn mirror(store: &MemoryStore, prefixes: &[&str]) -> Mirror {
    Mirror::start(Arc::new(store.clone()), prefixes.iter().map(|p| (*p).to_owned()).collect())
}

fn names(mirror: &Mirror, prefix: &str) -> Vec<String> {
    mirror
        .list(prefix)
        .into_iter()
        .map(|kv| format!("{}={}", kv.key, String::from_utf8_lossy(&kv.value)))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_there_and_what_comes_is_mirrored_and_nothing_else() {
    let store = MemoryStore::new(1);
    put(&store, "alive/h1", "a").await;
    let mirror = mirror(&store, &["alive/", "alive/h", "facts/"]);
    assert!(!mirror.is_synced());
    mirror.synced().await;
    let mut changed = mirror.subscribe();
    put(&store, "alive/h2", "b").await;
    put(&store, "leaders/dns", "x").await;
    put(&store, "facts/h1", "f").await;
    let last = delete(&store, "alive/h1").await;
    mirror.caught_up(last).await;
    assert_eq!(names(&mirror, ""), ["alive/h2=b", "facts/h1=f"]);
    sleep(Duration::from_millis(1)).await;
    let keys: Vec<String> = changed.next().await.into_iter().collect();
    assert_eq!(keys, ["alive/h1", "alive/h2", "facts/h1"]);
    assert!(timeout(Duration::from_secs(700), changed.next()).await.is_err(), "calm tells nothing");
}

#[tokio::test(start_paused = true)]
async fn what_was_compacted_while_we_were_away_is_listed_and_only_the_difference_is_told() {
    let store = MemoryStore::new(1);
    for name in ["alive/h1", "alive/h2", "alive/h3"] {
        put(&store, name, "old").await;
    }
    let own = store.client(2);
    let mirror = mirror(&own, &["alive/"]);
    mirror.synced().await;
    let mut changed = mirror.subscribe();
    own.cut_off(true);
    sleep(Duration::from_secs(3)).await;
    assert!(mirror.silence() >= Duration::from_secs(2));
    put(&store, "alive/h2", "new").await;
    delete(&store, "alive/h3").await;
    put(&store, "alive/h4", "new").await;
    store.compact(store.revision());
    assert_eq!(names(&mirror, "alive/").len(), 3, "the last that is known stands");
    own.cut_off(false);
    let keys: Vec<String> =
        timeout(Duration::from_secs(6), changed.next()).await.unwrap().into_iter().collect();
    assert_eq!(keys, ["alive/h2", "alive/h3", "alive/h4"]);
    assert_eq!(names(&mirror, "alive/"), ["alive/h1=old", "alive/h2=new", "alive/h4=new"]);
}

#[tokio::test(start_paused = true)]
async fn reconnecting_misses_nothing_and_starts_within_the_backoff() {
    let store = MemoryStore::new(1);
    let own = store.client(2);
    let mirror = mirror(&own, &["alive/"]);
    mirror.synced().await;
    own.cut_off(true);
    put(&store, "alive/h1", "a").await;
    delete(&store, "alive/h1").await;
    let last = put(&store, "alive/h2", "b").await;
    sleep(Duration::from_secs(60)).await;
    own.cut_off(false);
    let since = Instant::now();
    while mirror.get(&key("alive/h2")).is_none() {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(since.elapsed() <= Duration::from_millis(5100), "{:?}", since.elapsed());
    mirror.caught_up(last).await;
    assert_eq!(names(&mirror, ""), ["alive/h2=b"]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_one_read_a_second_for_all_mirrors_together_and_no_write() {
    let store = MemoryStore::new(1);
    let mirrors: Vec<Mirror> = (0..5).map(|_| mirror(&store, &["alive/", "facts/"])).collect();
    for mirror in &mirrors {
        mirror.synced().await;
    }
    let before = store.revision();
    for _ in 0..100 {
        sleep(Duration::from_millis(100)).await;
        assert!(mirrors[0].silence() < Duration::from_millis(1200));
    }
    assert_eq!(store.revision(), before);
    store.delay(Duration::from_secs(60));
    sleep(Duration::from_secs(10)).await;
    assert!(mirrors[0].silence() >= Duration::from_secs(9), "a stalled store is silent");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_is_not_followed_until_it_is_forgiven() {
    let store = MemoryStore::new(1);
    put(&store, "alive/h1", "a").await;
    let snapshot = store.snapshot();
    put(&store, "alive/h2", "b").await;
    let mirror = mirror(&store, &["alive/"]);
    mirror.synced().await;
    store.restore(&snapshot);
    sleep(Duration::from_secs(2)).await;
    assert!(matches!(store.witness().trust(), Trust::Untrusted { .. }));
    sleep(Duration::from_secs(900)).await;
    assert_eq!(names(&mirror, "").len(), 2, "what was known before it went back stands");
    store.witness().forgive();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(names(&mirror, ""), ["alive/h1=a"]);
    put(&store, "alive/h3", "c").await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(names(&mirror, ""), ["alive/h1=a", "alive/h3=c"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_not_believed_shows_nothing_even_to_a_mirror_that_never_saw_it() {
    let store = MemoryStore::new(1);
    put(&store, "alive/h1", "a").await;
    let snapshot = store.snapshot();
    put(&store, "alive/h2", "b").await;
    store.restore(&snapshot);
    // Its first question gives the store away, and all that it would list is the past.
    let mirror = mirror(&store, &["alive/"]);
    sleep(Duration::from_secs(60)).await;
    assert!(matches!(store.witness().trust(), Trust::Untrusted { .. }));
    assert_eq!((mirror.is_synced(), names(&mirror, "")), (false, Vec::new()));
    store.witness().forgive();
    timeout(Duration::from_secs(1), mirror.synced()).await.unwrap();
    assert_eq!(names(&mirror, ""), ["alive/h1=a"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_asked_for_before_a_person_decided_is_not_taken() {
    let ms = Duration::from_millis;
    let store = MemoryStore::new(1);
    put(&store, "alive/h1", "a").await;
    store.delay(ms(100));
    let mirror = mirror(&store, &["alive/"]);
    // A sign of life comes first; then the list is on its way.
    sleep(ms(150)).await;
    store.witness().forgive();
    sleep(ms(100)).await;
    assert_eq!((mirror.is_synced(), names(&mirror, "")), (false, Vec::new()));
    timeout(Duration::from_secs(1), mirror.fresh()).await.unwrap();
    assert_eq!(names(&mirror, ""), ["alive/h1=a"]);
}

#[tokio::test(start_paused = true)]
async fn values_that_do_not_parse_are_left_out() {
    let store = MemoryStore::new(1);
    put(&store, "cluster", r#"{"uid":"u","epoch":0,"level":1}"#).await;
    let mirror = mirror(&store, &["cluster", "leaders/"]);
    mirror.synced().await;
    let uid = mirror.json::<Cluster>(&Key::Cluster).map(|cluster| cluster.value.uid);
    assert_eq!(uid.as_deref(), Some("u"));
    put(&store, "leaders/dns", "{").await;
    let last = put(&store, "leaders/host", "7").await;
    mirror.caught_up(last).await;
    let found = mirror.list_json::<u64>("leaders/");
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].0, found[0].1.value), (&Key::Leader(Controller::Host), 7));
}

#[tokio::test(start_paused = true)]
async fn a_revision_of_others_is_waited_for_only_shortly() {
    let store = MemoryStore::new(1);
    let mirror = mirror(&store.client(2), &["alive/"]);
    mirror.synced().await;
    let foreign = put(&store, "facts/h1", "x").await;
    timeout(Duration::from_secs(1), mirror.caught_up(foreign)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_watching_ends_with_the_last_handle() {
    let store = MemoryStore::new(1);
    let mirror = mirror(&store, &["alive/"]);
    mirror.synced().await;
    let mut changed = mirror.clone().subscribe();
    drop(mirror);
    put(&store, "alive/h1", "a").await;
    assert_eq!(changed.next().await.len(), 1, "who listens keeps it up");
    drop(changed);
    sleep(Duration::from_secs(10)).await;
    assert!(store.witness().silence() >= Duration::from_secs(10), "nobody asks any more");
}

#[tokio::test(start_paused = true)]
async fn an_own_revision_is_waited_for_for_two_seconds_and_that_of_others_for_a_quarter_of_one() {
    let ms = Duration::from_millis;
    // Who wrote which key, whether the watch broke after that, and how long is waited.
    for (own, name, broken, wait) in [
        (true, "alive/h1", false, 0),
        (true, "facts/h1", true, 0),
        (true, "alive/h1", true, 2000),
        (false, "alive/h1", false, 0),
        (false, "facts/h1", false, 250),
        (false, "alive/h1", true, 250),
    ] {
        let store = MemoryStore::new(1);
        let mine = store.client(2);
        let mirror = mirror(&mine, &["alive/", "pins/"]);
        mirror.synced().await;
        put(&mine, "pins/shop/web", "x").await;
        sleep(ms(1)).await;
        let revision = put(if own { &mine } else { &store }, name, "x").await;
        if !own && !broken && name.starts_with("alive/") {
            // All that is mirrored must be that far: nothing tells where it was written.
            put(&store, "pins/shop/web", "y").await;
        }
        mine.cut_off(broken);
        let since = Instant::now();
        mirror.caught_up(revision).await;
        assert!(
            (ms(wait)..=ms(wait + 1)).contains(&since.elapsed()),
            "{own} {name} {broken}: {:?}",
            since.elapsed()
        );
        assert_eq!(mirror.get(&key("alive/h1")).is_some(), name == "alive/h1" && !broken);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_remembered_until_the_key_is_there_again() {
    let store = MemoryStore::new(1);
    let mirror = mirror(&store, &["alive/"]);
    mirror.synced().await;
    put(&store, "alive/h1", "a").await;
    let deleted = delete(&store, "alive/h1").await;
    mirror.caught_up(deleted).await;
    assert_eq!(mirror.deleted_at(&key("alive/h1")), Some(deleted));
    assert_eq!(mirror.deleted_at(&key("alive/h2")), None);
    let again = put(&store, "alive/h1", "b").await;
    mirror.caught_up(again).await;
    assert_eq!(mirror.deleted_at(&key("alive/h1")), None);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_read_leaves_the_last_one_in_force_but_not_for_its_owner() {
    let store = MemoryStore::new(1);
    let mirror = mirror(&store, &["leaders/"]);
    mirror.synced().await;
    let (name, key) = ("leaders/dns", key("leaders/dns"));
    let read = |mirror: &Mirror| {
        let json = mirror.json::<u64>(&key).map(|v| (v.value, v.mod_revision, v.create_revision));
        let listed = mirror.list_json::<u64>("leaders/");
        assert_eq!(listed.first().map(|(_, v)| v.value), json.map(|json| json.0));
        (json, mirror.stands::<u64>(&key).map(|v| (v.value, v.mod_revision, v.create_revision)))
    };
    let created = put(&store, name, "7").await;
    mirror.caught_up(created).await;
    assert_eq!(read(&mirror), (Some((7, created, created)), Some((7, created, created))));
    let broken = put(&store, name, "{").await;
    mirror.caught_up(broken).await;
    assert_eq!(read(&mirror), (Some((7, broken, created)), None));
    let mended = put(&store, name, "8").await;
    mirror.caught_up(mended).await;
    assert_eq!(read(&mirror), (Some((8, mended, created)), Some((8, mended, created))));
    delete(&store, name).await;
    let new = put(&store, name, "{").await;
    mirror.caught_up(new).await;
    assert_eq!(read(&mirror), (None, None), "the last one was that of a key that is gone");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_person_decided_is_the_past_until_it_is_read_again() {
    let store = MemoryStore::new(1);
    let mirror = mirror(&store, &["alive/", "facts/"]);
    assert!(!mirror.is_fresh());
    mirror.fresh().await;
    assert!(mirror.is_fresh() && mirror.is_synced());
    store.witness().forgive();
    assert!(!mirror.is_fresh());
    timeout(Duration::from_secs(1), mirror.fresh()).await.unwrap();
    assert!(mirror.is_fresh());
}

#[tokio::test]
async fn a_store_without_versions_tells_none() {
    assert_eq!(MemoryStore::new(1).versions().await, Ok([].into()));
}
