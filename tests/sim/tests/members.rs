//! What calls find that go to members of the store.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use evenkeel_runtime::store::StoreError;
use evenkeel_sim::wire::{Connection, Members};
use tokio::time::{Instant, timeout};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn three() -> (Arc<Members>, Connection, Connection) {
    let members = Arc::new(Members::default());
    let connection = |to| Connection::new(members.clone(), to);
    (members.clone(), connection(0), connection(1))
}

#[tokio::test(start_paused = true)]
async fn who_is_on_a_lost_member_goes_to_the_next() {
    let (members, _, second) = three();
    let mut stream = second.stream();
    assert!(timeout(ms(10_000), stream.breaks()).await.is_err());
    assert!(members.lose(1, ms(1000)));
    assert!(!members.lose(2, ms(1000)), "two of three must stay");
    timeout(ms(1), stream.breaks()).await.unwrap();
    let (error, late) = second.reach().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)) && late.is_none());
    second.reach().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_frozen_leader_costs_an_election_and_those_who_are_on_it_their_patience() {
    let (members, first, second) = three();
    let began = Instant::now();
    assert_eq!(members.freeze_leader(ms(1500)), Some(0));
    second.reach().await.unwrap();
    assert_eq!(began.elapsed(), ms(1500));
    let (error, _) = first.reach().await.unwrap_err();
    assert!(matches!(error, StoreError::Unknown(_)));
    first.reach().await.unwrap();
    assert!(members.thaw() && !members.thaw());
}

#[tokio::test(start_paused = true)]
async fn a_long_election_leaves_open_what_became_of_a_call() {
    let (members, _, second) = three();
    assert!(members.lose(0, ms(2500)));
    let (error, late) = second.reach().await.unwrap_err();
    assert!(matches!(error, StoreError::Unknown(_)));
    assert_eq!(late.unwrap() - Instant::now(), ms(500));
}
