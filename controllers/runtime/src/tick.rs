//! Tells many that something changed, in the order in which they began to wait. A channel would wake them in
//! random order, and a cluster would not run the same way twice from one seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// What changes.
#[derive(Debug, Default)]
pub struct Tick {
    count: AtomicU64,
    changed: Notify,
}

impl Tick {
    /// It changed.
    pub fn tell(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Told of every change from now on.
    pub fn listen(self: &Arc<Self>) -> Ticks {
        Ticks { seen: self.count.load(Ordering::Acquire), tick: self.clone() }
    }
}

/// One who is told.
#[derive(Debug)]
pub struct Ticks {
    tick: Arc<Tick>,
    seen: u64,
}

impl Ticks {
    /// What changed so far counts as seen.
    pub fn skip(&mut self) {
        self.seen = self.tick.count.load(Ordering::Acquire);
    }

    /// Whether it has changed since the last time.
    pub fn has_changed(&self) -> bool {
        self.seen != self.tick.count.load(Ordering::Acquire)
    }

    /// Until it has changed since the last time. Cancel-safe.
    pub async fn changed(&mut self) {
        loop {
            // Made first: a change between the look and the wait is not missed.
            let changed = self.tick.changed.notified();
            let now = self.tick.count.load(Ordering::Acquire);
            if now != self.seen {
                self.seen = now;
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test(start_paused = true)]
    async fn all_are_told_in_the_order_in_which_they_wait_and_nothing_is_missed() {
        let (tick, order) = (Arc::new(Tick::default()), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..50 {
            let (mut ticks, order) = (tick.listen(), order.clone());
            tasks.spawn(async move {
                ticks.changed().await;
                order.lock().unwrap().push(n);
            });
        }
        let mut late = tick.listen();
        tokio::task::yield_now().await;
        tick.tell();
        tick.tell();
        while tasks.join_next().await.is_some() {}
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
        late.changed().await;
        let again = tokio::time::timeout(std::time::Duration::from_secs(1), late.changed()).await;
        assert!(again.is_err(), "two changes before a look are one");
    }
}
