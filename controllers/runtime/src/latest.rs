//! A value of which only the latest counts, and who is told of its changes: as tokio's `watch`, but with all
//! woken in the order in which they wait ([`crate::tick`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::tick::{Tick, Ticks};

/// The value; whoever has it may change it.
#[derive(Debug, Default)]
pub struct Latest<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug, Default)]
struct Shared<T> {
    value: Mutex<T>,
    tick: Arc<Tick>,
}

impl<T> Shared<T> {
    fn value(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Latest<T> {
    /// With its first value, which is no change.
    pub fn new(value: T) -> Self {
        Self { shared: Arc::new(Shared { value: Mutex::new(value), tick: Arc::default() }) }
    }

    /// What it is.
    pub fn get(&self) -> T {
        self.shared.value().clone()
    }

    /// Change it; `change` says whether it did.
    pub fn change(&self, change: impl FnOnce(&mut T) -> bool) {
        if change(&mut self.shared.value()) {
            self.shared.tick.tell();
        }
    }

    /// Told of every change from now on.
    pub fn listen(&self) -> Listener<T> {
        Listener { ticks: self.shared.tick.listen(), shared: self.shared.clone() }
    }
}

impl<T: Clone + PartialEq> Latest<T> {
    /// Make it this, which is no change if it is so already.
    pub fn set(&self, value: T) {
        self.change(|now| {
            let changed = *now != value;
            *now = value;
            changed
        });
    }
}

/// One who is told.
#[derive(Debug)]
pub struct Listener<T> {
    shared: Arc<Shared<T>>,
    ticks: Ticks,
}

impl<T: Clone> Listener<T> {
    /// What it is; the change to it counts as seen.
    pub fn get(&mut self) -> T {
        // In this order: what changes in between is seen, and told again.
        self.ticks.skip();
        self.shared.value().clone()
    }

    /// What changed so far counts as seen.
    pub fn skip(&mut self) {
        self.ticks.skip();
    }

    /// Whether it has changed since it was seen last.
    pub fn has_changed(&self) -> bool {
        self.ticks.has_changed()
    }

    /// Until it has changed since it was seen last. Cancel-safe.
    pub async fn changed(&mut self) {
        self.ticks.changed().await;
    }

    /// Until it is as `wanted` says. Cancel-safe.
    pub async fn until(&mut self, wanted: impl Fn(&T) -> bool) -> T {
        loop {
            let now = self.get();
            if wanted(&now) {
                return now;
            }
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_latest_value_counts_and_all_are_told_in_the_order_in_which_they_wait() {
        let (latest, order) = (Latest::new(0), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..50 {
            let (mut listener, order) = (latest.listen(), order.clone());
            tasks.spawn(async move {
                let value = listener.until(|value| *value == 2).await;
                order.lock().unwrap().push((n, value));
            });
        }
        let mut late = latest.listen();
        tokio::task::yield_now().await;
        latest.set(1);
        latest.set(2);
        while tasks.join_next().await.is_some() {}
        assert_eq!(*order.lock().unwrap(), (0..50).map(|n| (n, 2)).collect::<Vec<_>>());
        assert!(late.has_changed());
        assert_eq!(late.get(), 2);
        latest.set(2);
        assert!(!late.has_changed(), "what is the same again is no change");
        latest.set(3);
        late.skip();
        assert!(!late.has_changed());
    }
}
