//! Leading, on paused time over the store in memory.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_etcd::MemoryStore;
use evenkeel_etcd::memory::UnknownOutcome;
use evenkeel_runtime::env::{Env, SystemClock};
use evenkeel_runtime::leader::{Lead, Leadership};
use evenkeel_runtime::store::{Store, TxnBuilder};
use tokio::time::{Instant, sleep};

fn candidate(store: &MemoryStore, n: u64) -> Leadership {
    let env = Arc::new(Env::new(SystemClock, n));
    let host = format!("h{n}").parse().unwrap();
    Leadership::start(Arc::new(store.clone()), env, host, Controller::Service, true)
}

async fn leader(candidates: &[&Leadership], within: Duration) -> (usize, Lead) {
    let started = Instant::now();
    loop {
        let leading: Vec<_> =
            candidates.iter().enumerate().filter_map(|(n, c)| Some((n, c.current()?))).collect();
        assert!(leading.len() <= 1, "two lead");
        if let Some(one) = leading.into_iter().next() {
            return one;
        }
        assert!(started.elapsed() < within, "nobody leads");
        sleep(Duration::from_millis(1)).await;
    }
}

async fn stands(store: &MemoryStore, lead: &Lead) -> bool {
    let txn = TxnBuilder::new().if_unchanged(&lead.key, lead.mod_revision).get(&lead.key).build().unwrap();
    store.commit(&txn).await.unwrap().succeeded
}

#[tokio::test(start_paused = true)]
async fn one_of_many_leads_and_calm_is_silent() {
    let store = MemoryStore::new(1);
    let three: Vec<Leadership> = (0..3).map(|n| candidate(&store.client(n), n)).collect();
    let three: Vec<&Leadership> = three.iter().collect();
    let (who, lead) = leader(&three, Duration::from_secs(1)).await;
    assert!(stands(&store, &lead).await);
    sleep(Duration::from_secs(1)).await;
    let revision = store.revision();
    for _ in 0..600 {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(leader(&three, Duration::ZERO).await, (who, lead.clone()));
    }
    assert_eq!(store.revision(), revision);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_the_next_one_leads() {
    let stall = |store: &MemoryStore| store.delay(Duration::from_secs(60));
    let cut_off = |store: &MemoryStore| store.cut_off(true);
    for hurt in [stall as fn(&MemoryStore), cut_off] {
        let store = MemoryStore::new(1);
        let cut = store.client(1);
        let one = candidate(&cut, 1);
        let (_, old) = leader(&[&one], Duration::from_secs(1)).await;
        let two = candidate(&store.client(2), 2);
        sleep(Duration::from_millis(2900)).await;
        hurt(&cut);
        let away = Instant::now();
        let (who, new) = loop {
            if one.current().is_none() {
                break leader(&[&one, &two], Duration::from_secs(3)).await;
            }
            assert!(stands(&store, &old).await, "it led without a lease");
            sleep(Duration::from_millis(1)).await;
        };
        assert_eq!(who, 1);
        assert!(away.elapsed() <= Duration::from_millis(2100), "{:?}", away.elapsed());
        assert!(!stands(&store, &old).await && stands(&store, &new).await);
        cut.delay(Duration::ZERO);
        cut.cut_off(false);
        sleep(Duration::from_secs(30)).await;
        assert_eq!((one.current(), two.current()), (None, Some(new)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_resigns_or_is_dropped_hands_over_at_once() {
    let store = MemoryStore::new(1);
    let one = candidate(&store.client(1), 1);
    leader(&[&one], Duration::from_secs(1)).await;
    let two = candidate(&store.client(2), 2);
    sleep(Duration::from_secs(3)).await;
    one.resign().await;
    leader(&[&two], Duration::from_millis(100)).await;
    assert_eq!(one.current(), None);
    let three = candidate(&store.client(3), 3);
    sleep(Duration::from_secs(3)).await;
    drop(two);
    leader(&[&three], Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn leases_that_die_in_masses_cost_half_a_second() {
    let store = MemoryStore::new(1);
    let (one, two) = (candidate(&store.client(1), 1), candidate(&store.client(2), 2));
    let both = [&one, &two];
    let (_, old) = leader(&both, Duration::from_secs(1)).await;
    sleep(Duration::from_secs(3)).await;
    store.kill_all_leases();
    sleep(Duration::from_millis(1)).await;
    let (_, new) = leader(&both, Duration::from_millis(500)).await;
    assert_ne!(old, new);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_does_not_keep_us_from_leading() {
    for outcome in [UnknownOutcome::Done, UnknownOutcome::NotDone] {
        let store = MemoryStore::new(1);
        store.lose_next_answer(outcome);
        let one = candidate(&store, 1);
        let (_, lead) = leader(&[&one], Duration::from_secs(3)).await;
        assert!(stands(&store, &lead).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_or_full_brings_no_leader_until_it_is_back() {
    let store = MemoryStore::new(1);
    store.set_down(true);
    let one = candidate(&store, 1);
    sleep(Duration::from_secs(60)).await;
    store.set_down(false);
    leader(&[&one], Duration::from_secs(3)).await;
    store.set_full(true);
    let txn = TxnBuilder::new().put(&Key::Cluster, "x").build().unwrap();
    assert!(store.commit(&txn).await.is_err());
    sleep(Duration::from_secs(60)).await;
    assert!(one.current().is_some(), "leases are renewed in a full store");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_eligible_never_leads() {
    let store = MemoryStore::new(1);
    let env = Arc::new(Env::new(SystemClock, 1));
    let host = "h1".parse().unwrap();
    let one = Leadership::start(Arc::new(store.clone()), env, host, Controller::Service, false);
    sleep(Duration::from_secs(10)).await;
    assert_eq!((one.current(), store.revision()), (None, 1));
    one.resign().await;
}
