//! Telling what is remembered, on paused time over the store in memory.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::name::HostName;
use evenkeel_api::recall::{Recall, Remembered};
use evenkeel_etcd::MemoryStore;
use evenkeel_runtime::env::{Env, SystemClock};
use evenkeel_runtime::recall::tell;
use evenkeel_runtime::store::{Store, TxnBuilder};
use evenkeel_runtime::writer::Writer;
use tokio::time::sleep;

/// A recall of six pieces, which are more than one transaction carries.
fn recall(epoch: u64) -> Recall {
    let value = "x".repeat(1_100_000);
    let records = [("services/shop/web".to_owned(), Remembered { value, revision: 7 })].into();
    Recall { uid: "u".to_owned(), epoch, revision: 9, records }
}

/// What the store has of it.
fn told(store: &MemoryStore) -> (usize, Option<Recall>) {
    let kvs = store.peek("reports/h1/memory/instance/");
    let pieces: BTreeMap<u32, _> =
        (0..).zip(&kvs).map(|(n, kv)| (n, serde_json::from_slice(&kv.value).unwrap())).collect();
    (kvs.len(), Recall::join(&pieces))
}

async fn set_cluster(store: &MemoryStore, epoch: u64) {
    let cluster = format!(r#"{{"uid":"u","epoch":{epoch},"level":1}}"#);
    let txn = TxnBuilder::new().put(&Key::Cluster, cluster).delete(&Key::Halt).build().unwrap();
    assert!(store.commit(&txn).await.unwrap().succeeded);
}

/// A process that tells what `recall` gives, and its client of the store.
async fn start(store: &MemoryStore, recall: Option<Recall>) -> MemoryStore {
    set_cluster(store, 3).await;
    let own = store.client(2);
    let host: HostName = "h1".parse().unwrap();
    let env = Arc::new(Env::new(SystemClock, 1));
    let writer = Writer::new(Arc::new(own.clone()), env, host.clone(), Controller::Instance);
    writer.commit(TxnBuilder::new().put(&"facts/h1".parse().unwrap(), "a")).await.unwrap();
    tokio::spawn({
        let own = own.clone();
        async move { tell(&own, &host, Controller::Instance, &writer, || recall.clone()).await }
    });
    sleep(Duration::from_secs(1)).await;
    own
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_stands_in_the_store_for_as_long_as_that_is_not_trusted() {
    // The epoch that the process has seen since counts, too.
    for (epoch, as_told) in [(0, 3), (3, 3), (8, 8)] {
        let store = MemoryStore::new(1);
        let own = start(&store, Some(recall(epoch))).await;
        assert_eq!(told(&store), (0, None), "it is trusted");
        own.witness().distrust("a test".to_owned());
        sleep(Duration::from_secs(1)).await;
        assert_eq!(told(&store), (6, Some(recall(as_told))));
        set_cluster(&store, 9).await;
        sleep(Duration::from_secs(20)).await;
        assert_eq!(told(&store), (0, None), "it is trusted again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_is_told_five_seconds_later_and_without_a_memory_nothing_is() {
    let store = MemoryStore::new(1);
    let own = start(&store, Some(recall(3))).await;
    own.cut_off(true);
    own.witness().distrust("a test".to_owned());
    sleep(Duration::from_secs(1)).await;
    own.cut_off(false);
    sleep(Duration::from_millis(3990)).await;
    assert_eq!(told(&store).0, 0);
    sleep(Duration::from_millis(20)).await;
    assert_eq!(told(&store).0, 6);
    let store = MemoryStore::new(1);
    start(&store, None).await.witness().distrust("a test".to_owned());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(told(&store).0, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_last_life_told_is_taken_away_though_it_is_much() {
    let store = MemoryStore::new(1);
    for tens in 0..15 {
        let txn = (0..10).fold(TxnBuilder::new(), |txn, n| {
            let key = Key::Recall("h1".parse().unwrap(), Controller::Instance, tens * 10 + n);
            txn.put(&key, r#"{"of":150,"digest":"","text":""}"#)
        });
        store.commit(&txn.build().unwrap()).await.unwrap();
    }
    start(&store, Some(recall(3))).await;
    assert_eq!(told(&store).0, 0);
}
