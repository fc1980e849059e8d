//! What a writer does by itself: put events that found nothing to ride on, keep the last write on disk, and
//! while the store is not trusted, tell so and wait for a person's word.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::record::{Distrust, Halt};
use tokio::time::{Instant, sleep};

use super::guarded::json;
use super::{Inner, LastWrite, Trust};
use crate::backoff::Backoff;
use crate::store::TxnBuilder;
use crate::verify::{VERIFY_EVERY, record, verify};

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
        let trusted = trust.get() == Trust::Trusted;
        let wait = if trusted {
            told = false;
            reported = reported && !inner.look_back().await;
            let verify = inner.verify().await;
            let rest = inner.tend_trusted(&mut pace).await;
            if reported { rest.min(RETRY_MIN) } else { rest.min(verify) }
        } else {
            reported = true;
            told = inner.tend_untrusted(told).await;
            ASK_EVERY
        };
        tokio::select! { biased;
            () = trust.changed() => {}
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

    /// Compare the store with what was left there, once in a while for all writers of the process together;
    /// gives when to do so again.
    async fn verify(&self) -> Duration {
        let witness = self.store.witness();
        let left = |ago: Duration| VERIFY_EVERY.saturating_sub(ago);
        if witness.verified_ago().is_none_or(|ago| left(ago).is_zero())
            && let Err(error) = verify(&*self.store).await
        {
            tracing::debug!(%error, "what was written last is not compared");
            return RETRY_MIN;
        }
        witness.verified_ago().map_or(RETRY_MIN, left).max(Duration::from_millis(1))
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
        let generation = self.store.witness().generation();
        let Trust::Untrusted { why } = self.store.witness().trust() else { return false };
        let told = told || self.tell_distrust(why, generation).await;
        if let Some(epoch) = self.forgiven().await {
            tracing::warn!(epoch, "a person declared the store's past void; it is trusted again");
            self.store.witness().forgive();
        }
        told
    }

    async fn tell_distrust(&self, why: String, generation: u64) -> bool {
        let report = Distrust { why: why.clone(), since: self.env.wall() };
        // Unguarded: the guard is just what does not hold any more.
        let txn = TxnBuilder::new().put(&Key::Distrust(self.host.clone(), self.controller), json(&report));
        let Ok(txn) = txn.build() else { return false };
        self.store.commit(&txn).await.is_ok() && self.halt(why, generation).await
    }

    /// Tell all others, so that also those whose own keys are as they left them stop nothing. Not in another
    /// cluster's store, where we only came by mistake.
    async fn halt(&self, why: String, generation: u64) -> bool {
        let read = TxnBuilder::new().get(&Key::Cluster).get(&Key::Halt).build();
        let Ok(read) = read else { return false };
        let Ok(reads) = self.store.commit(&read).await.map(|committed| committed.reads) else { return false };
        let [cluster, None] = reads.as_slice() else { return true };
        if let (Some(now), Some(known)) = (record(cluster.as_ref()), self.known().await) {
            let strange = !now.uid.is_empty() && now.uid != known.cluster;
            // Who finds out only now that the store went back, after a person has decided, holds up nobody anew.
            if strange || now.voids(&known.cluster, known.epoch) {
                return true;
            }
        }
        // Another writer of this process has heard so meanwhile, and what is known is of after that.
        if generation != self.store.witness().generation() {
            return true;
        }
        let halt = Halt { why, since: self.env.wall() };
        let at = cluster.as_ref().map_or(0, |kv| kv.mod_revision);
        let txn = TxnBuilder::new().if_unchanged(&Key::Cluster, at).if_absent(&Key::Halt);
        let Ok(txn) = txn.put(&Key::Halt, json(&halt)).build() else { return false };
        self.store.commit(&txn).await.is_ok_and(|committed| committed.succeeded)
    }

    pub(super) async fn withdraw_distrust(&self) {
        let txn = TxnBuilder::new().delete(&Key::Distrust(self.host.clone(), self.controller)).build();
        let Ok(txn) = txn else { return };
        if let Err(error) = self.store.commit(&txn).await {
            tracing::debug!(%error, "an old distrust still stands in the store");
        }
    }

    /// What this process or its last life went by: of all its writers, the one that looked last. One that has
    /// never written knows nothing, or what a person has declared void before the others wrote.
    pub(super) async fn known(&self) -> Option<LastWrite> {
        let last = self.chain.lock().await.as_ref().map(|link| link.last.clone());
        let last = last.or_else(|| self.kept().memory.as_ref().and_then(|memory| memory.load()));
        let all = last.into_iter().chain(self.store.witness().marks().into_values());
        all.filter(|known| !known.cluster.is_empty()).max_by_key(|known| known.epoch)
    }

    /// The epoch by which a person declared void what we go by. Who goes by nothing waits only until nobody
    /// halts the cluster.
    async fn forgiven(&self) -> Option<u64> {
        let read = TxnBuilder::new().get(&Key::Cluster).get(&Key::Halt).build().ok()?;
        let reads = self.store.commit(&read).await.ok()?.reads;
        let [cluster, None] = reads.as_slice() else { return None };
        let now = record(cluster.as_ref());
        let epoch = now.as_ref().map_or(0, |now| now.epoch);
        match self.known().await {
            Some(known) => now.is_some_and(|now| now.voids(&known.cluster, known.epoch)).then_some(epoch),
            None => Some(epoch),
        }
    }
}
