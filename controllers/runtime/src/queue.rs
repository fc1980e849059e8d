//! A queue of keys to work on. A key waits once however often it is added, with the earliest of its times;
//! it is worked on by one at a time; and after a failure it waits longer each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::env::Env;

/// See the module. Shared by reference: [`Queue::next`] may be awaited by several workers.
pub struct Queue<K> {
    env: Arc<Env>,
    at_once: usize,
    backoff: (Duration, Duration),
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    /// What waits, by time.
    due: BTreeSet<(Instant, K)>,
    /// The same by key, and keys that are worked on and were added again.
    at: BTreeMap<K, Instant>,
    running: BTreeSet<K>,
    failures: BTreeMap<K, Backoff>,
}

impl<K: Ord + Clone> Queue<K> {
    /// A queue that gives out at most `at_once` keys at a time, and lets one that failed wait from `min` to
    /// `max`.
    pub fn new(env: Arc<Env>, at_once: usize, min: Duration, max: Duration) -> Self {
        let state = State {
            due: BTreeSet::new(),
            at: BTreeMap::new(),
            running: BTreeSet::new(),
            failures: BTreeMap::new(),
        };
        let backoff = (min, max);
        Self { env, at_once: at_once.max(1), backoff, state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Work on `key` as soon as may be; also if it failed and waits. If it is being worked on, once more
    /// after that.
    pub fn add(&self, key: K) {
        self.add_after(key, Duration::ZERO);
    }

    /// Work on `key` after `delay` at the latest; what is due earlier stays so.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.state().add(key, Instant::now() + delay);
        self.changed.notify_one();
    }

    /// The next key to work on; waits until there is one. Must be followed by [`Queue::done`] or
    /// [`Queue::retry`]. Cancel-safe.
    pub async fn next(&self) -> K {
        loop {
            let next = {
                let mut state = self.state();
                let full = state.running.len() >= self.at_once;
                let first = state.due.first().cloned();
                match first {
                    Some((at, key)) if !full && at <= Instant::now() => {
                        state.due.remove(&(at, key.clone()));
                        state.at.remove(&key);
                        state.running.insert(key.clone());
                        // Another worker may be waiting, and the notice may have woken only us.
                        self.changed.notify_one();
                        return key;
                    }
                    first => first.filter(|_| !full).map(|(at, _)| at),
                }
            };
            match next {
                None => self.changed.notified().await,
                Some(at) => tokio::select! { biased;
                    () = self.changed.notified() => {}
                    () = sleep_until(at) => {}
                },
            }
        }
    }

    /// The work on `key` succeeded: its failures are forgotten.
    pub fn done(&self, key: &K) {
        let mut state = self.state();
        state.failures.remove(key);
        state.finish(key);
        drop(state);
        self.changed.notify_one();
    }

    /// The work on `key` failed: again after a while, or at once if it was added meanwhile. Gives how long
    /// it waits at most.
    pub fn retry(&self, key: &K) -> Duration {
        let random = self.env.random();
        let (min, max) = self.backoff;
        let mut state = self.state();
        let wait = state.failures.entry(key.clone()).or_insert_with(|| Backoff::new(min, max)).next(random);
        state.add(key.clone(), Instant::now() + wait);
        state.finish(key);
        drop(state);
        self.changed.notify_one();
        wait
    }

    /// Forget what is known of `key`'s failures and times; for keys that are no more. Work that is under
    /// way must still be ended.
    pub fn forget(&self, key: &K) {
        let mut state = self.state();
        state.failures.remove(key);
        if let Some(at) = state.at.remove(key) {
            state.due.remove(&(at, key.clone()));
        }
    }
}

impl<K: Ord + Clone> State<K> {
    fn add(&mut self, key: K, at: Instant) {
        let known = self.at.get(&key).copied();
        let at = known.map_or(at, |known| known.min(at));
        if let Some(known) = known {
            self.due.remove(&(known, key.clone()));
        }
        self.at.insert(key.clone(), at);
        if !self.running.contains(&key) {
            self.due.insert((at, key));
        }
    }

    fn finish(&mut self, key: &K) {
        self.running.remove(key);
        if let Some(at) = self.at.get(key) {
            self.due.insert((*at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SystemClock;
    use tokio::time::timeout;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn queue(at_once: usize) -> Queue<&'static str> {
        Queue::new(Arc::new(Env::new(SystemClock, 1)), at_once, ms(100), ms(1000))
    }

    async fn next_within(queue: &Queue<&'static str>, wait: Duration) -> Option<&'static str> {
        timeout(wait, queue.next()).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_its_earliest_time_counts() {
        let queue = queue(9);
        queue.add_after("a", ms(500));
        queue.add_after("a", ms(200));
        queue.add_after("a", ms(900));
        assert_eq!(next_within(&queue, ms(150)).await, None);
        assert_eq!(next_within(&queue, ms(60)).await, Some("a"));
        queue.done(&"a");
        assert_eq!(next_within(&queue, ms(2000)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_and_once_more_if_it_was_added_meanwhile() {
        let queue = queue(9);
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        queue.add("a");
        assert_eq!(next_within(&queue, ms(1000)).await, None, "it is being worked on");
        queue.done(&"a");
        assert_eq!(next_within(&queue, ms(0)).await, Some("a"));
        queue.done(&"a");
        assert_eq!(next_within(&queue, ms(1000)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_at_once() {
        let queue = Arc::new(queue(2));
        for key in ["a", "b", "c"] {
            queue.add(key);
        }
        assert_eq!((queue.next().await, queue.next().await), ("a", "b"));
        let third = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        tokio::time::sleep(ms(100)).await;
        assert!(!third.is_finished());
        queue.done(&"a");
        assert_eq!(third.await.unwrap(), "c");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_and_a_success_forgives() {
        let queue = queue(9);
        queue.add("a");
        let mut waits = Vec::new();
        for _ in 0..6 {
            let key = queue.next().await;
            waits.push(queue.retry(&key));
        }
        for (wait, most) in waits.iter().zip([100, 200, 400, 800, 1000, 1000]) {
            assert!(*wait >= ms(most / 2) && *wait <= ms(most), "{wait:?} of {most}");
        }
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        assert!(queue.retry(&"a") <= ms(100));
        queue.add("a");
        assert_eq!(next_within(&queue, ms(0)).await, Some("a"), "news do not wait for the back-off");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_workers_are_all_served() {
        let queue = Arc::new(queue(9));
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::time::sleep(ms(1)).await;
        for key in ["a", "b", "c"] {
            queue.add(key);
        }
        for worker in workers {
            timeout(ms(100), worker).await.unwrap().unwrap();
        }
        queue.add("d");
        queue.forget(&"d");
        assert_eq!(next_within(&queue, ms(100)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_comes_after_the_wait_that_was_told_unless_it_was_added_meanwhile() {
        let queue = queue(9);
        queue.add("a");
        let wait = queue.retry(&queue.next().await);
        assert_eq!(next_within(&queue, wait - ms(2)).await, None);
        assert_eq!(next_within(&queue, ms(3)).await, Some("a"));
        queue.add_after("a", ms(10));
        queue.retry(&"a");
        assert_eq!(next_within(&queue, ms(9)).await, None);
        assert_eq!(next_within(&queue, ms(2)).await, Some("a"), "it was to be by then");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_starts_over_also_while_it_is_worked_on() {
        let queue = queue(9);
        queue.add("a");
        for _ in 0..5 {
            queue.retry(&queue.next().await);
        }
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        queue.forget(&"a");
        assert_eq!(next_within(&queue, ms(5000)).await, None, "it is being worked on");
        queue.add("a");
        assert_eq!(next_within(&queue, ms(5000)).await, None, "it still is");
        assert!(queue.retry(&"a") <= ms(100));
        assert_eq!(next_within(&queue, ms(0)).await, Some("a"));
        queue.forget(&"a");
        queue.done(&"a");
        assert_eq!(next_within(&queue, ms(5000)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_for_none_at_once_is_one_for_one() {
        let queue = queue(0);
        queue.add("a");
        queue.add("b");
        assert_eq!(next_within(&queue, ms(0)).await, Some("a"));
        assert_eq!(next_within(&queue, ms(5000)).await, None);
        queue.done(&"a");
        assert_eq!(next_within(&queue, ms(0)).await, Some("b"));
    }
}
