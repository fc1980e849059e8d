//! The etcd adapter, and what stands on it, while etcd is dead, frozen, restarted or wiped.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_etcd::{EtcdConfig, EtcdStore};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::leader::Leadership;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::{Store, StoreError, TxnBuilder};
use evenkeel_runtime::writer::{Outcome, Trust, WriteError, Writer};
use evenkeel_tests::etcd::{PrivateEtcd, free_port};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn put(value: &str) -> TxnBuilder {
    TxnBuilder::new().put(&key("facts/h1"), value.to_owned())
}

fn store(endpoints: &[String]) -> EtcdStore {
    EtcdStore::new(&EtcdConfig::new(endpoints.iter().cloned())).unwrap()
}

async fn write(store: &EtcdStore, value: &str) -> Result<i64, StoreError> {
    store.commit(&put(value).build().unwrap()).await.map(|committed| committed.header.revision)
}

async fn mirrored(mirror: &Mirror, value: &str, within: Duration) {
    let started = Instant::now();
    while mirror.get(&key("facts/h1")).is_none_or(|kv| kv.value != value.as_bytes()) {
        assert!(started.elapsed() < within, "{value} is not mirrored");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A member that takes connections and never says a word.
async fn mute() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let keep = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    (endpoint, keep)
}

#[tokio::test]
async fn a_dead_first_member_costs_nothing() {
    let etcd = PrivateEtcd::start(&[]).await;
    let dead = format!("http://127.0.0.1:{}", free_port());
    let store = store(&[dead, etcd.endpoint()]);
    let started = Instant::now();
    for n in 0..20 {
        write(&store, &n.to_string()).await.unwrap();
    }
    let lease = store.grant(Duration::from_secs(2)).await.unwrap();
    store.renew(lease.id).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let mirror = Mirror::start(Arc::new(store.clone()), vec!["facts/".to_owned()]);
    timeout(Duration::from_secs(2), mirror.synced()).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_surely_not_done() {
    let dead = || format!("http://127.0.0.1:{}", free_port());
    let store = store(&[dead(), dead()]);
    let started = Instant::now();
    assert!(matches!(write(&store, "a").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.list("facts/").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.grant(Duration::from_secs(2)).await, Err(StoreError::Unavailable(_))));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_mute_first_member_costs_a_lease_half_a_second_once() {
    let etcd = PrivateEtcd::start(&[]).await;
    let (mute, _keep) = mute().await;
    let store = store(&[mute, etcd.endpoint()]);
    let started = Instant::now();
    let lease = store.grant(Duration::from_secs(2)).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
    // Each that met the mute one would take half a second more.
    let started = Instant::now();
    for _ in 0..5 {
        store.renew(lease.id).await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
    let started = Instant::now();
    store.get(&Key::Cluster).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(4000), "{:?}", started.elapsed());
    let started = Instant::now();
    write(&store, "a").await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(1500), "it stays with the one that answers");
}

#[tokio::test]
async fn a_frozen_etcd_is_told_in_time_and_what_was_missed_comes() {
    let etcd = PrivateEtcd::start(&[]).await;
    let (ours, theirs) = (store(&[etcd.endpoint()]), store(&[etcd.endpoint()]));
    write(&theirs, "before").await.unwrap();
    let mirror = Mirror::start(Arc::new(ours.clone()), vec!["facts/".to_owned()]);
    mirrored(&mirror, "before", Duration::from_secs(2)).await;
    etcd.freeze();
    let started = Instant::now();
    let frozen = write(&ours, "frozen").await;
    assert!(matches!(frozen, Err(StoreError::Unknown(_))), "{frozen:?}");
    assert!(matches!(ours.list("facts/").await, Err(StoreError::Unknown(_))));
    assert!(started.elapsed() < Duration::from_secs(18), "{:?}", started.elapsed());
    assert!(mirror.silence() > Duration::from_secs(3));
    etcd.thaw();
    sleep(Duration::from_millis(500)).await;
    write(&theirs, "after").await.unwrap();
    mirrored(&mirror, "after", Duration::from_secs(7)).await;
    assert!(mirror.silence() < Duration::from_secs(3));
    assert_eq!(ours.witness().trust(), Trust::Trusted);
}

#[tokio::test]
async fn a_restarted_etcd_takes_everyone_back() {
    let mut etcd = PrivateEtcd::start(&[]).await;
    let ours = store(&[etcd.endpoint()]);
    let env = Arc::new(Env::system().unwrap());
    let host: evenkeel_api::name::HostName = "h1".parse().unwrap();
    let writer = Writer::new(Arc::new(ours.clone()), env.clone(), host.clone(), Controller::Host);
    let mirror = Mirror::start(Arc::new(ours.clone()), vec!["facts/".to_owned()]);
    let leadership = Leadership::start(Arc::new(ours.clone()), env, host, Controller::Service, true);
    let mut lead = leadership.subscribe();
    timeout(Duration::from_secs(5), lead.until(Option::is_some)).await.unwrap();
    assert!(matches!(writer.commit(put("one")).await, Ok(Outcome::Done { .. })));
    mirrored(&mirror, "one", Duration::from_secs(2)).await;
    etcd.kill();
    let away = writer.commit(put("lost")).await;
    assert!(matches!(away, Err(WriteError::Store(_))), "{away:?}");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(leadership.current(), None);
    etcd.start_again().await;
    let again = async {
        while !matches!(writer.commit(put("two")).await, Ok(Outcome::Done { .. })) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(10), again).await.unwrap();
    mirrored(&mirror, "two", Duration::from_secs(6)).await;
    timeout(Duration::from_secs(10), lead.until(Option::is_some)).await.unwrap();
    assert_eq!(writer.trust(), Trust::Trusted);
    timeout(Duration::from_secs(3), leadership.resign()).await.unwrap();
    assert_eq!(ours.get(&Key::Leader(Controller::Service)).await.unwrap().0, None);
}

#[tokio::test]
async fn a_wiped_etcd_is_not_trusted() {
    let mut etcd = PrivateEtcd::start(&[]).await;
    let ours = store(&[etcd.endpoint()]);
    let mirror = Mirror::start(Arc::new(ours.clone()), vec!["facts/".to_owned()]);
    for n in 0..10 {
        write(&ours, &n.to_string()).await.unwrap();
    }
    mirrored(&mirror, "9", Duration::from_secs(2)).await;
    etcd.kill();
    etcd.wipe();
    etcd.start_again().await;
    let mut trust = ours.witness().trust_changes();
    let lost = trust.until(|trust| *trust != Trust::Trusted);
    let lost = timeout(Duration::from_secs(8), lost).await.unwrap();
    assert!(matches!(lost, Trust::Untrusted { .. }));
    assert!(mirror.get(&key("facts/h1")).is_some(), "what was known stands");
}

#[tokio::test]
async fn an_idle_watch_is_not_hung_up_on() {
    let etcd = PrivateEtcd::start(&[]).await;
    let (ours, theirs) = (store(&[etcd.endpoint()]), store(&[etcd.endpoint()]));
    let first = write(&theirs, "a").await.unwrap();
    let mut watch = ours.watch("facts/", first).await.unwrap();
    assert!(timeout(Duration::from_secs(26), watch.next()).await.is_err(), "calm, for several pings");
    write(&theirs, "b").await.unwrap();
    let told = timeout(Duration::from_secs(2), watch.next()).await.unwrap().unwrap();
    assert_eq!(told.changes.len(), 1);
}

#[tokio::test]
async fn the_nearest_member_is_taken_again_when_it_is_back() {
    let etcd = PrivateEtcd::start(&[]).await;
    let near = free_port();
    let store = store(&[format!("http://127.0.0.1:{near}"), etcd.endpoint()]);
    write(&store, "a").await.unwrap();
    let listener = TcpListener::bind(("127.0.0.1", near)).await.unwrap();
    let target = etcd.endpoint().trim_start_matches("http://").to_owned();
    let forward = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
        tokio::io::copy_bidirectional(&mut near, &mut far).await
    });
    let early = store.get(&Key::Cluster).await;
    assert!(early.is_ok() && !forward.is_finished());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    // This call still goes to the other one, and has the near one tried beside it.
    store.get(&Key::Cluster).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    forward.abort();
    sleep(Duration::from_millis(50)).await;
    // Had we not come back to the near one, nobody would notice that it is gone.
    let started = Instant::now();
    let lost = write(&store, "b").await;
    assert!(matches!(lost, Ok(_) | Err(StoreError::Unknown(_))), "{lost:?}");
    write(&store, "c").await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
}
