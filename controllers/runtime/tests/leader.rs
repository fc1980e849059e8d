//! Leading, on paused time over the store in memory.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
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

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The process is held up: time goes on, and nothing in it runs.
async fn hold_up(time: Duration) {
    let mut time = pin!(tokio::time::advance(time));
    poll_fn(|cx| Poll::Ready(time.as_mut().poll(cx).is_ready())).await;
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
        let (two, mut told) = (candidate(&store.client(2), 2), one.subscribe());
        sleep(Duration::from_millis(2900)).await;
        hurt(&cut);
        let away = Instant::now();
        let (who, new) = loop {
            if one.current().is_none() {
                sleep(ms(1)).await;
                assert_eq!(told.get(), None, "who acts by what it is told is told in time, too");
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
        // What was put by the lost call is found by the first try after it, and gone on from.
        let (_, lead) = leader(&[&one], ms(110)).await;
        assert!(stands(&store, &lead).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_held_up_does_not_go_by_a_lease_that_may_have_ended() {
    // The lease is of 2 s and renewed after 600 to 667 ms; a quarter of a second is kept clear of its end.
    for (lived, held_up, leads) in
        [(0, 1749, true), (0, 1750, false), (1000, 1300, true), (1000, 1420, false)]
    {
        let store = MemoryStore::new(1);
        let one = candidate(&store, 1);
        while one.current().is_none() {
            tokio::task::yield_now().await;
        }
        if lived > 0 {
            sleep(ms(lived)).await;
        }
        hold_up(ms(held_up)).await;
        assert_eq!(one.current().is_some(), leads, "after {lived} ms, held up for {held_up}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_costs_nothing_but_a_key_that_is_gone_costs_the_lead() {
    let store = MemoryStore::new(1);
    let own = store.client(1);
    let one = candidate(&own, 1);
    let (_, mut lead) = leader(&[&one], ms(1000)).await;
    let mut told = one.subscribe();
    for _ in 0..20 {
        store.set_down(true);
        store.set_down(false);
        sleep(ms(200)).await;
    }
    assert_eq!(one.current(), Some(lead.clone()));
    assert!(!told.has_changed());
    for (broken, soonest, latest) in [(false, 0, 1), (true, 100, 150)] {
        own.cut_off(broken);
        sleep(ms(1)).await;
        let since = Instant::now();
        let gone = TxnBuilder::new().delete(&lead.key).build().unwrap();
        assert!(store.commit(&gone).await.unwrap().succeeded);
        own.cut_off(false);
        let new = told.until(|now| *now != Some(lead.clone())).await;
        let after = since.elapsed();
        assert!(after + ms(1) >= ms(soonest) && after <= ms(latest), "{broken}: {after:?}");
        assert_eq!(new, one.current(), "nobody else runs for it");
        lead = new.unwrap();
        assert!(stands(&store, &lead).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_under_our_lease_in_which_another_is_named_is_not_ours() {
    let store = MemoryStore::new(1);
    let one = candidate(&store, 1);
    let (_, lead) = leader(&[&one], ms(1000)).await;
    let ours = store.peek("leaders/").remove(0);
    let other = TxnBuilder::new().put_leased(&lead.key, r#"{"host":"h9","process":"x"}"#, ours.lease);
    assert!(store.commit(&other.build().unwrap()).await.unwrap().succeeded);
    sleep(ms(1)).await;
    assert_eq!(one.current(), None);
    leader(&[&one], ms(3000)).await;
    assert_eq!(store.peek("leaders/").remove(0).value, ours.value);
}

#[tokio::test(start_paused = true)]
async fn who_resigns_in_a_stalled_store_waits_for_it_for_a_second() {
    let store = MemoryStore::new(1);
    let one = candidate(&store, 1);
    leader(&[&one], ms(1000)).await;
    store.delay(Duration::from_secs(60));
    let since = Instant::now();
    one.resign().await;
    assert!((ms(1000)..=ms(1001)).contains(&since.elapsed()), "{:?}", since.elapsed());
    assert_eq!(one.current(), None);
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
    one.resign().await;
    assert_eq!(store.peek("leaders/").len(), 1, "there would be no new lease");
    sleep(Duration::from_secs(2)).await;
    assert!(store.peek("leaders/").is_empty(), "it ends by itself");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_eligible_never_leads() {
    let store = MemoryStore::new(1);
    let env = Arc::new(Env::new(SystemClock, 1));
    let host = "h1".parse().unwrap();
    let one = Leadership::start(Arc::new(store.clone()), env, host, Controller::Service, false);
    sleep(Duration::from_secs(10)).await;
    assert_eq!((one.current(), store.revision()), (None, 1));
    let since = Instant::now();
    one.resign().await;
    assert_eq!(since.elapsed(), Duration::ZERO, "there is nothing to wait for");
}
