//! What a writer does by itself: put events that found nothing to ride on, keep the last write on disk, and
//! while the store is not trusted, tell so and wait for a person's word.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::record::{Cluster, Distrust};
use tokio::time::{Instant, sleep};

use super::guarded::json;
use super::{Inner, Trust};
use crate::backoff::Backoff;
use crate::store::TxnBuilder;

/// The last write is kept on disk at most that often.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How often an untrusting writer looks whether a person has decided.
const ASK_EVERY: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(3600);

/// Tend a writer for ever; its last handle ends this.
pub(super) async fn tend(inner: Arc<Inner>) {
    let mut trust = inner.store.witness().trust_changes();
    let mut pace = Pace { backoff: Backoff::new(RETRY_MIN, RETRY_MAX), flush_from: None, keep_from: None };
    let mut told = false;
    // A report of distrust may stand: the last life's, or our own.
    let mut reported = true;
    loop {
        let trusted = *trust.borrow_and_update() == Trust::Trusted;
        let wait = if trusted {
            told = false;
            reported = reported && !inner.look_back().await;
            let rest = inner.tend_trusted(&mut pace).await;
            if reported { rest.min(RETRY_MIN) } else { rest }
        } else {
            reported = true;
            told = inner.tend_untrusted(told).await;
            ASK_EVERY
        };
        tokio::select! { biased;
            _ = trust.changed() => {}
            () = inner.news.notified(), if trusted => {}
            () = sleep(wait) => {}
        }
    }
}

/// When the next flush and the next save may be, at the earliest.
struct Pace {
    backoff: Backoff,
    flush_from: Option<Instant>,
    keep_from: Option<Instant>,
}

fn until(from: Option<Instant>) -> Duration {
    from.map_or(Duration::ZERO, |from| from.saturating_duration_since(Instant::now()))
}

impl Inner {
    /// Do what is due; gives how long to rest.
    async fn tend_trusted(&self, pace: &mut Pace) -> Duration {
        if self.next_due().is_zero() && until(pace.flush_from).is_zero() {
            pace.flush_from = None;
            match self.flush().await {
                Ok(()) => pace.backoff.reset(),
                Err(error) => {
                    tracing::debug!(%error, "events wait");
                    let wait = pace.backoff.next(self.store.witness().random());
                    pace.flush_from = Some(Instant::now() + wait);
                }
            }
        }
        if until(pace.keep_from).is_zero() && self.keep() {
            // Writes of the next second are kept together.
            pace.keep_from = Some(Instant::now() + KEEP_EVERY);
        }
        let flush = self.next_due().max(until(pace.flush_from));
        let keep = if self.kept().unsaved.is_some() { until(pace.keep_from) } else { LONG };
        // Never zero: what is due now and was not done must not spin.
        flush.min(keep).max(Duration::from_millis(1))
    }

    fn next_due(&self) -> Duration {
        self.events().due().map_or(LONG, |due| due.saturating_sub(self.env.now()))
    }

    /// Keep the last write; whether there was one to keep.
    fn keep(&self) -> bool {
        let mut kept = self.kept();
        let Some(last) = kept.unsaved.take() else { return false };
        if let Some(memory) = &kept.memory {
            memory.save(&last);
        }
        kept.memory.is_some()
    }

    /// Tell once, as well as it goes, and see whether a person has raised the epoch.
    async fn tend_untrusted(&self, told: bool) -> bool {
        let Trust::Untrusted { why } = self.store.witness().trust() else { return false };
        let told = told || self.tell_distrust(why).await;
        if let (Some(before), Some(now)) = (self.known_epoch().await, self.epoch_now().await)
            && now > before
        {
            tracing::warn!(epoch = now, "a person declared the store's past void; it is trusted again");
            self.store.witness().forgive();
        }
        told
    }

    async fn tell_distrust(&self, why: String) -> bool {
        let report = Distrust { why, since: self.env.wall() };
        // Unguarded: the guard is just what does not hold any more.
        let txn = TxnBuilder::new().put(&Key::Distrust(self.host.clone(), self.controller), json(&report));
        let Ok(txn) = txn.build() else { return false };
        self.store.commit(&txn).await.is_ok()
    }

    pub(super) async fn withdraw_distrust(&self) {
        let txn = TxnBuilder::new().delete(&Key::Distrust(self.host.clone(), self.controller)).build();
        let Ok(txn) = txn else { return };
        if let Err(error) = self.store.commit(&txn).await {
            tracing::debug!(%error, "an old distrust still stands in the store");
        }
    }

    /// The epoch that this process or its last life went by.
    async fn known_epoch(&self) -> Option<u64> {
        let epoch = self.chain.lock().await.as_ref().map(|link| link.last.epoch);
        epoch.or_else(|| self.kept().memory.as_ref().and_then(|memory| memory.load()).map(|last| last.epoch))
    }

    async fn epoch_now(&self) -> Option<u64> {
        let (kv, _) = self.store.get(&Key::Cluster).await.ok()?;
        serde_json::from_slice::<Cluster>(&kv?.value).ok().map(|cluster| cluster.epoch)
    }
}
