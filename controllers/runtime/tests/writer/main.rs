//! The writer on paused time over the store in memory.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod edges;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::record::{Event, Timestamp, Writer as Guard};
use evenkeel_etcd::MemoryStore;
use evenkeel_etcd::memory::UnknownOutcome;
use evenkeel_runtime::env::{Env, WallClock};
use evenkeel_runtime::store::{MAX_WRITES, Store, StoreError, TxnBuilder};
use evenkeel_runtime::writer::{LastWrite, Memory, NewEvent, Outcome, Trust, WriteError, Writer};
use tokio::time::{Instant, sleep};

struct Midnight;
impl WallClock for Midnight {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
}

#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Option<LastWrite>>>);
impl Memory for Disk {
    fn load(&self) -> Option<LastWrite> {
        self.0.lock().unwrap().clone()
    }
    fn save(&self, last: &LastWrite) {
        *self.0.lock().unwrap() = Some(last.clone());
    }
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn writer(store: &MemoryStore, seed: u64) -> Writer {
    let env = Arc::new(Env::new(Midnight, seed));
    Writer::new(Arc::new(store.clone()), env, "h1".parse().unwrap(), Controller::Dns)
}

fn put(name: &str, value: &str) -> TxnBuilder {
    TxnBuilder::new().put(&key(name), value.to_owned())
}

async fn raw(store: &MemoryStore, txn: TxnBuilder) {
    assert!(store.commit(&txn.build().unwrap()).await.unwrap().succeeded);
}

async fn value(store: &MemoryStore, name: &str) -> Option<String> {
    let kv = store.get(&key(name)).await.unwrap().0?;
    Some(String::from_utf8(kv.value.to_vec()).unwrap())
}

async fn guard(store: &MemoryStore) -> Guard {
    serde_json::from_str(&value(store, "writers/h1/dns").await.unwrap()).unwrap()
}

async fn cluster(store: &MemoryStore, epoch: u64) {
    let cluster = put("cluster", &format!(r#"{{"uid":"u","epoch":{epoch},"level":1}}"#));
    raw(store, cluster.delete(&key("halt"))).await;
}

fn is_done(result: &Result<Outcome, WriteError>) -> bool {
    matches!(result, Ok(Outcome::Done { .. }))
}

#[tokio::test(start_paused = true)]
async fn transactions_follow_each_other_and_a_lost_demand_is_no_error() {
    let store = MemoryStore::new(1);
    let writer = writer(&store, 1);
    assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
    let demand = TxnBuilder::new().if_absent(&key("facts/h1")).put(&key("facts/h1"), "b");
    assert!(matches!(writer.commit(demand).await, Ok(Outcome::Lost)));
    let both = tokio::join!(writer.commit(put("facts/h1", "c")), writer.commit(put("facts/h2", "d")));
    assert!(is_done(&both.0) && is_done(&both.1), "they wait for each other");
    assert_eq!(guard(&store).await.n, 3);
    assert_eq!(value(&store, "facts/h1").await.as_deref(), Some("c"));
}

#[tokio::test(start_paused = true)]
async fn a_full_transaction_still_has_its_guard_and_more_is_refused_with_the_number() {
    let store = MemoryStore::new(1);
    let writer = writer(&store, 1);
    let many = |n: usize| (0..n).fold(TxnBuilder::new(), |txn, n| txn.put(&key(&format!("facts/h{n}")), "x"));
    writer.event(event("Waits"));
    assert!(is_done(&writer.commit(many(MAX_WRITES)).await));
    assert_eq!(value(&store, "events/h1.dns/0").await, None, "no room");
    assert!(matches!(writer.commit(many(MAX_WRITES + 1)).await, Err(WriteError::Txn(_))));
    assert!(is_done(&writer.commit(many(1)).await));
    assert!(value(&store, "events/h1.dns/0").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_told_surely() {
    for (really, done) in [(UnknownOutcome::Done, true), (UnknownOutcome::NotDone, false)] {
        let store = MemoryStore::new(1);
        let writer = writer(&store, 1);
        assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
        writer.event(event("Once"));
        store.lose_next_answer(really);
        let outcome = writer.commit(put("facts/h1", "b")).await;
        assert_eq!(is_done(&outcome), done, "{outcome:?}");
        assert_eq!(value(&store, "facts/h1").await.as_deref(), Some(if done { "b" } else { "a" }));
        if let Ok(Outcome::Done { revision }) = outcome {
            assert_eq!(store.get(&key("facts/h1")).await.unwrap().0.unwrap().mod_revision, revision);
        }
        assert!(is_done(&writer.commit(put("facts/h1", "c")).await));
        let told: Event = serde_json::from_str(&value(&store, "events/h1.dns/0").await.unwrap()).unwrap();
        assert_eq!((told.count, value(&store, "events/h1.dns/1").await), (1, None), "told once");
        assert_eq!(writer.trust(), Trust::Trusted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_dropped_half_way_is_settled_by_the_next() {
    for reaches in [true, false] {
        let store = MemoryStore::new(1);
        let writer = writer(&store, 1);
        assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
        store.delay(Duration::from_secs(1));
        let slow = tokio::time::timeout(Duration::from_millis(100), writer.commit(put("facts/h1", "b")));
        assert!(slow.await.is_err());
        store.delay(Duration::ZERO);
        if reaches {
            // What the dropped call had sent arrives after all.
            let kv = store.get(&key("writers/h1/dns")).await.unwrap().0.unwrap();
            let mut guard = guard(&store).await;
            guard.n += 1;
            let late = TxnBuilder::new().if_unchanged(&key("writers/h1/dns"), kv.mod_revision);
            let late = late.put(&key("writers/h1/dns"), serde_json::to_vec(&guard).unwrap());
            raw(&store, late.put(&key("facts/h1"), "b")).await;
        }
        assert!(is_done(&writer.commit(put("facts/h2", "c")).await));
        assert_eq!(value(&store, "facts/h1").await.as_deref(), Some(if reaches { "b" } else { "a" }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_told_in_time_and_the_outcome_is_settled_later() {
    let store = MemoryStore::new(1);
    let own = store.client(2);
    let writer = writer(&own, 1);
    assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
    let started = Instant::now();
    own.delay(Duration::from_secs(60));
    let outcome = writer.commit(put("facts/h1", "b")).await;
    assert!(matches!(outcome, Err(WriteError::Store(StoreError::Unknown(_)))));
    assert!(started.elapsed() < Duration::from_secs(11), "{:?}", started.elapsed());
    own.delay(Duration::ZERO);
    own.cut_off(true);
    assert!(writer.commit(put("facts/h1", "c")).await.is_err());
    own.cut_off(false);
    assert!(is_done(&writer.commit(put("facts/h1", "d")).await));
    assert_eq!(value(&store, "facts/h1").await.as_deref(), Some("d"));
}

#[tokio::test(start_paused = true)]
async fn refusals_leave_the_chain_whole() {
    let store = MemoryStore::new(1);
    let own = store.client(2);
    let writer = writer(&own, 1);
    assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
    store.set_full(true);
    assert!(matches!(writer.commit(put("facts/h1", "b")).await, Err(WriteError::Store(StoreError::Full))));
    store.set_full(false);
    own.fail_next(1);
    let away = writer.commit(put("facts/h1", "b")).await;
    assert!(matches!(away, Err(WriteError::Store(StoreError::Unavailable(_)))), "{away:?}");
    let dead = TxnBuilder::new().put_leased(&key("alive/h1"), "b", 77);
    assert!(matches!(writer.commit(dead).await, Err(WriteError::Store(StoreError::LeaseGone))));
    assert!(is_done(&writer.commit(put("facts/h1", "c")).await));
    assert_eq!(guard(&store).await.n, 2);
}

#[tokio::test(start_paused = true)]
async fn a_twin_costs_a_lost_round_but_no_trust() {
    let store = MemoryStore::new(1);
    let (one, two) = (writer(&store, 1), writer(&store, 2));
    assert!(is_done(&one.commit(put("facts/h1", "a")).await));
    assert!(is_done(&two.commit(put("facts/h1", "b")).await));
    assert!(matches!(one.commit(put("facts/h1", "c")).await, Ok(Outcome::Lost)));
    assert!(is_done(&one.commit(put("facts/h1", "c")).await));
    assert_eq!(one.trust(), Trust::Trusted);
}

#[tokio::test(start_paused = true)]
async fn a_restored_store_is_noticed_even_when_it_has_overtaken_and_halts_until_a_person_decides() {
    let store = MemoryStore::new(1);
    cluster(&store, 1).await;
    let own = store.client(2);
    let writer = writer(&own, 1).remember(Disk::default());
    assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
    let snapshot = store.snapshot();
    assert!(is_done(&writer.commit(put("facts/h1", "b")).await));
    store.restore(&snapshot);
    for n in 0..20 {
        raw(&store, put("facts/other", &n.to_string())).await;
    }
    let refused = writer.commit(put("facts/h1", "c")).await;
    assert!(matches!(refused, Err(WriteError::Untrusted(_))), "{refused:?}");
    assert!(matches!(writer.trust(), Trust::Untrusted { .. }));
    assert_eq!(value(&store, "facts/h1").await.as_deref(), Some("a"));
    sleep(Duration::from_secs(1)).await;
    assert!(value(&store, "reports/h1/trust/dns").await.unwrap().contains("guard"));
    sleep(Duration::from_secs(3600)).await;
    assert!(writer.commit(put("facts/h1", "c")).await.is_err(), "time heals nothing");
    cluster(&store, 2).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(writer.trust(), Trust::Trusted);
    assert_eq!(
        value(&store, "reports/h1/trust/dns").await,
        None,
        "withdrawn though there is nothing to write"
    );
    assert!(is_done(&writer.commit(put("facts/h1", "c")).await));
}

#[tokio::test(start_paused = true)]
async fn what_the_last_life_told_is_withdrawn_by_a_next_one_that_has_nothing_to_write() {
    let store = MemoryStore::new(1);
    cluster(&store, 1).await;
    let disk = Disk::default();
    let first = writer(&store, 1).remember(disk.clone());
    assert!(is_done(&first.commit(put("facts/h1", "a")).await));
    sleep(Duration::from_secs(2)).await;
    drop(first);
    raw(&store, put("reports/h1/trust/dns", r#"{"why":"once","since":1}"#)).await;
    let own = store.client(2);
    own.cut_off(true);
    let _second = writer(&own, 2).remember(disk);
    sleep(Duration::from_secs(60)).await;
    own.cut_off(false);
    sleep(Duration::from_secs(31)).await;
    assert_eq!(value(&store, "reports/h1/trust/dns").await, None);
}

#[tokio::test(start_paused = true)]
async fn the_next_life_notices_what_happened_between() {
    type Between = fn(&MemoryStore, &evenkeel_etcd::memory::Snapshot);
    let cases: [(&str, Between, bool); 4] = [
        ("nothing", |_, _| {}, true),
        ("restore", |store, snapshot| store.restore(snapshot), false),
        ("wipe", |store, _| store.wipe(), false),
        ("another", |store, _| store.replace(7), false),
    ];
    for (name, between, trusted) in cases {
        let store = MemoryStore::new(1);
        cluster(&store, 1).await;
        let snapshot = store.snapshot();
        let disk = Disk::default();
        let first = writer(&store, 1).remember(disk.clone());
        assert!(is_done(&first.commit(put("facts/h1", "a")).await));
        sleep(Duration::from_secs(2)).await;
        drop(first);
        between(&store, &snapshot);
        let fresh = store.client(9);
        let second = writer(&fresh, 2).remember(disk);
        let outcome = second.commit(put("facts/h1", "b")).await;
        assert_eq!(is_done(&outcome), trusted, "{name}: {outcome:?}");
        assert_eq!(second.trust() == Trust::Trusted, trusted, "{name}");
    }
}

fn event(reason: &str) -> NewEvent {
    let Key::Document(object) = key("services/shop/web") else { unreachable!() };
    let message = "for people".to_owned();
    NewEvent { object, instance: None, warning: false, reason: reason.to_owned(), message }
}

#[tokio::test(start_paused = true)]
async fn events_ride_along_or_are_flushed_within_a_second_and_calm_is_silent() {
    let store = MemoryStore::new(1);
    let writer = writer(&store, 1);
    writer.event(event("Rides"));
    assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
    assert!(value(&store, "events/h1.dns/0").await.is_some());
    writer.event(event("Alone"));
    sleep(Duration::from_millis(1100)).await;
    let told: Event = serde_json::from_str(&value(&store, "events/h1.dns/1").await.unwrap()).unwrap();
    assert_eq!((told.reason.as_str(), told.count), ("Alone", 1));
    let revision = store.revision();
    for _ in 0..100 {
        writer.event(event("Alone"));
        sleep(Duration::from_millis(100)).await;
    }
    assert!(store.revision() - revision <= 3, "repeats are put again every 5 s at most");
    sleep(Duration::from_secs(10)).await;
    let told: Event = serde_json::from_str(&value(&store, "events/h1.dns/1").await.unwrap()).unwrap();
    assert_eq!(told.count, 101);
    assert_eq!(guard(&store).await.event, 2);
    let revision = store.revision();
    sleep(Duration::from_secs(7200)).await;
    assert_eq!(store.revision(), revision);
}

#[tokio::test(start_paused = true)]
async fn the_ring_goes_on_where_the_last_life_left_it_and_wraps() {
    let store = MemoryStore::new(1);
    let guard = Guard { n: 9, process: "old".to_owned(), event: 511 };
    raw(&store, put("writers/h1/dns", &serde_json::to_string(&guard).unwrap())).await;
    let writer = writer(&store, 1);
    writer.event(event("A"));
    writer.event(event("B"));
    writer.flush().await.unwrap();
    assert!(value(&store, "events/h1.dns/511").await.unwrap().contains("\"A\""));
    assert!(value(&store, "events/h1.dns/0").await.unwrap().contains("\"B\""));
}

#[tokio::test(start_paused = true)]
async fn events_wait_out_a_store_that_is_away() {
    let store = MemoryStore::new(1);
    store.set_down(true);
    let writer = writer(&store, 1);
    writer.event(event("Waits"));
    sleep(Duration::from_secs(300)).await;
    store.set_down(false);
    sleep(Duration::from_secs(31)).await;
    assert!(value(&store, "events/h1.dns/0").await.is_some());
}
