//! What a writer does at the edges: room for events, answers that are lost in a row, ends and beginnings.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use evenkeel_runtime::store::{Committed, Header, Kv, Lease, Listing, MAX_BYTES, Txn, Watch};
use evenkeel_runtime::witness::Witness;

use super::*;

/// The events of the writer that stand in the ring.
fn told(store: &MemoryStore) -> usize {
    store.peek("events/h1.dns/").len()
}

#[tokio::test(start_paused = true)]
async fn events_take_the_writes_that_a_transaction_leaves() {
    let store = MemoryStore::new(1);
    let writer = writer(&store, 1);
    for n in 0..10 {
        writer.event(event(&format!("R{n}")));
    }
    let txn = (0..95).fold(TxnBuilder::new(), |txn, n| txn.put(&key(&format!("facts/h{n}")), "x"));
    assert!(is_done(&writer.commit(txn).await));
    assert_eq!(told(&store), 4, "beside 95 writes and the guard");
}

#[tokio::test(start_paused = true)]
async fn events_take_64_kib_of_a_transaction_and_ride_where_there_are_as_many() {
    let facts = |bytes: usize| put("facts/h1", &"x".repeat(bytes - "facts/h1".len()));
    let room = MAX_BYTES - 64 * 1024;
    for (bytes, rides) in [(room, 1), (room + 1, 0), (100, 1)] {
        let store = MemoryStore::new(1);
        let writer = writer(&store, 1);
        writer.event(event("Rides"));
        assert!(is_done(&writer.commit(facts(bytes)).await));
        assert_eq!(told(&store), rides, "beside {bytes} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn long_messages_are_cut_between_letters() {
    let store = MemoryStore::new(1);
    let writer = writer(&store, 1);
    for (message, kept) in [("short", 5), (&*"a".repeat(1025), 1024), (&*"é".repeat(600), 1024)] {
        writer.event(NewEvent { message: message.to_owned(), ..event("Long") });
        assert!(is_done(&writer.commit(put("facts/h1", message)).await));
        let newest = guard(&store).await.event - 1;
        let told = value(&store, &format!("events/h1.dns/{newest}")).await.unwrap();
        let told: Event = serde_json::from_str(&told).unwrap();
        assert_eq!(told.message, message[..kept]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fence_whose_answer_is_lost_is_no_sign_that_the_write_was_done() {
    let store = MemoryStore::new(1);
    let writer = writer(&store, 1);
    assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
    store.lose_next_answer(UnknownOutcome::NotDone);
    store.lose_next_answer(UnknownOutcome::Done);
    let outcome = writer.commit(put("facts/h1", "b")).await;
    assert!(matches!(outcome, Ok(Outcome::Lost)), "{outcome:?}");
    assert_eq!(value(&store, "facts/h1").await.as_deref(), Some("a"));
    assert!(is_done(&writer.commit(put("facts/h1", "c")).await));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_read_back_again_and_again_but_not_from_who_refuses() {
    let store = MemoryStore::new(1);
    let own = store.client(2);
    let writer = writer(&own, 1);
    assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
    own.lose_next_answer(UnknownOutcome::Done);
    let waits = tokio::spawn({
        let writer = writer.clone();
        async move { writer.commit(put("facts/h1", "b")).await }
    });
    tokio::task::yield_now().await;
    own.cut_off(true);
    sleep(Duration::from_secs(3)).await;
    own.cut_off(false);
    assert!(is_done(&waits.await.unwrap()));
    own.lose_next_answer(UnknownOutcome::NotDone);
    let begun = Instant::now();
    store.set_full(true);
    let outcome = writer.commit(put("facts/h1", "c")).await;
    assert!(matches!(outcome, Err(WriteError::Store(StoreError::Unknown(_)))), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    store.set_full(false);
    assert!(is_done(&writer.commit(put("facts/h1", "d")).await));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_believe_the_store_sends_it_nothing() {
    let store = MemoryStore::new(1);
    let writer = writer(&store, 1);
    assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
    store.witness().distrust("a test says so".to_owned());
    let refused = writer.commit(put("facts/h1", "b")).await;
    assert!(matches!(&refused, Err(WriteError::Untrusted(why)) if why == "a test says so"), "{refused:?}");
    assert_eq!(value(&store, "facts/h1").await.as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_made_later_is_ours_and_another_one_is_not() {
    let store = MemoryStore::new(1);
    let writer = writer(&store, 1);
    assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
    assert_eq!(writer.known().await, None, "there was no cluster");
    cluster(&store, 1).await;
    assert!(is_done(&writer.commit(put("facts/h1", "b")).await));
    let left = store.get(&key("writers/h1/dns")).await.unwrap().0.unwrap().mod_revision;
    let known = LastWrite { cluster: "u".to_owned(), epoch: 1, revision: left };
    assert_eq!(writer.known().await, Some(known));
    raw(&store, put("cluster", r#"{"uid":"v","epoch":1,"level":1}"#)).await;
    let refused = writer.commit(put("facts/h1", "c")).await;
    assert!(matches!(refused, Err(WriteError::Untrusted(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_after_the_last_handle() {
    let store = MemoryStore::new(1);
    let writer = writer(&store, 1);
    tokio::task::yield_now().await;
    writer.event(event("Late"));
    drop(writer);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(told(&store), 0);
}

/// Counts how often it is written.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<Vec<Instant>>>);
impl Memory for Counted {
    fn load(&self) -> Option<LastWrite> {
        None
    }
    fn save(&self, _: &LastWrite) {
        self.0.lock().unwrap().push(Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_write_is_kept_at_once_and_then_once_a_second() {
    let store = MemoryStore::new(1);
    let disk = Counted::default();
    let writer = writer(&store, 1).remember(disk.clone());
    sleep(Duration::from_secs(10)).await;
    disk.0.lock().unwrap().clear();
    let begun = Instant::now();
    for n in 0..30 {
        assert!(is_done(&writer.commit(put("facts/h1", &n.to_string())).await));
        sleep(Duration::from_millis(100)).await;
    }
    let saved = disk.0.lock().unwrap().clone();
    assert!(saved[0] - begun < Duration::from_millis(100), "{:?}", saved[0] - begun);
    assert!((3..=4).contains(&saved.len()), "{}", saved.len());
}

/// Counts the transactions that would write.
#[derive(Debug)]
struct Asked(MemoryStore, AtomicU64);

#[async_trait]
impl Store for Asked {
    fn witness(&self) -> &Arc<Witness> {
        self.0.witness()
    }
    async fn get(&self, key: &Key) -> Result<(Option<Kv>, Header), StoreError> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.0.list(prefix).await
    }
    async fn commit(&self, txn: &Txn) -> Result<Committed, StoreError> {
        self.1.fetch_add(u64::from(!txn.writes().is_empty()), Ordering::Relaxed);
        self.0.commit(txn).await
    }
    async fn watch(&self, prefix: &str, revision: i64) -> Result<Box<dyn Watch>, StoreError> {
        self.0.watch(prefix, revision).await
    }
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.0.grant(ttl).await
    }
    async fn renew(&self, lease: i64) -> Result<Duration, StoreError> {
        self.0.renew(lease).await
    }
    async fn revoke(&self, lease: i64) -> Result<(), StoreError> {
        self.0.revoke(lease).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_nothing_is_asked_less_and_less() {
    let store = MemoryStore::new(1);
    let asked = Arc::new(Asked(store.clone(), AtomicU64::new(0)));
    let env = Arc::new(Env::new(Midnight, 1));
    let writer = Writer::new(asked.clone(), env, "h1".parse().unwrap(), Controller::Dns);
    assert!(is_done(&writer.commit(put("facts/h1", "a")).await));
    store.set_full(true);
    writer.event(event("Waits"));
    sleep(Duration::from_secs(300)).await;
    let times = asked.1.load(Ordering::Relaxed);
    assert!((8..30).contains(&times), "{times} times in 300 s");
}
