//! The loop behind each prefix of a mirror.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use tokio::time::{Instant, sleep, sleep_until};

use super::state::Shared;
use crate::backoff::Backoff;
use crate::latest::Listener;
use crate::store::{Changes, Store, StoreError, Watch};
use crate::verify::verify;
use crate::witness::Trust;

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// An idle mirror asks the store for a sign of life that often: one small read, no write.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// A list is compared with the mirror every five to ten minutes, in case a watch has lost something.
const RELIST_MIN: Duration = Duration::from_secs(300);
const RELIST_SPREAD_MS: u64 = 300_000;

/// Follow one prefix for ever.
pub(super) async fn follow(shared: Arc<Shared>, prefix: String) {
    let mut follower = Follower {
        generations: shared.store.witness().generations(),
        trust: shared.store.witness().trust_changes(),
        backoff: Backoff::new(RETRY_MIN, RETRY_MAX),
        relist: true,
        last_listed: None,
        shared,
        prefix,
    };
    let mut refused = String::new();
    loop {
        let error = match follower.run().await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        // Nothing else would tell: who may not see it waits for ever.
        if let StoreError::Refused(why) = &error
            && refused != *why
        {
            refused.clone_from(why);
            tracing::warn!(prefix = follower.prefix, why, "etcd does not show it to this identity");
        }
        let wait = follower.after(&error);
        tracing::debug!(prefix = follower.prefix, %error, ?wait, "the watch is over");
        sleep(wait).await;
    }
}

struct Follower {
    shared: Arc<Shared>,
    prefix: String,
    backoff: Backoff,
    generations: Listener<u64>,
    /// What is here cannot be gone on from.
    relist: bool,
    /// In which generation the last list was taken.
    last_listed: Option<u64>,
    trust: Listener<Trust>,
}

impl Follower {
    async fn run(&mut self) -> Result<Infallible, StoreError> {
        loop {
            if !self.is_trusted() {
                // What was seen last holds on, as when the store is away.
                until(&mut self.trust, true).await;
                self.relist = true;
            }
            if self.relist {
                self.verify().await?;
                self.list().await?;
            }
            let seen = self.shared.lock().revision(&self.prefix).unwrap_or_default();
            let watch = self.shared.store.watch(&self.prefix, seen).await?;
            // A store that was restored takes back its clients in silence: nothing of it is taken over before
            // it was compared with what was seen of it and left in it.
            self.verify().await?;
            if self.is_trusted() {
                self.listen(watch).await?;
            }
        }
    }

    fn is_trusted(&self) -> bool {
        self.shared.store.witness().trust() == Trust::Trusted
    }

    async fn verify(&self) -> Result<(), StoreError> {
        let witness = self.shared.store.witness();
        if witness.marks().is_empty() {
            return self.shared.store.get(&Key::Cluster).await.map(drop);
        }
        verify(&*self.shared.store).await
    }

    /// Until the watch breaks, or until all that was read before is void, or is not believed any more.
    async fn listen(&mut self, mut watch: Box<dyn Watch>) -> Result<(), StoreError> {
        let mut relist_at = self.next_relist();
        loop {
            tokio::select! { biased;
                () = self.generations.changed() => {
                    self.relist = true;
                    return Ok(());
                }
                () = until(&mut self.trust, false) => return Ok(()),
                changes = watch.next() => self.take(changes?),
                () = sleep_until(relist_at) => {
                    self.list().await?;
                    relist_at = self.next_relist();
                }
            }
        }
    }

    /// How long to wait before trying again.
    fn after(&mut self, error: &StoreError) -> Duration {
        self.relist |= matches!(error, StoreError::Compacted(_));
        self.backoff.next(self.shared.store.witness().random())
    }

    fn take(&mut self, changes: Changes) {
        self.backoff.reset();
        self.shared.change(|state| state.apply(&self.prefix, changes));
    }

    async fn list(&mut self) -> Result<(), StoreError> {
        let generation = self.generations.get();
        let listing = self.shared.store.list(&self.prefix).await?;
        let current = self.shared.store.witness().generation();
        let known = self.shared.lock().revision(&self.prefix);
        // A list from a store that went back is not taken until a person says that it is the truth.
        let forgiven = self.last_listed != Some(current);
        let is_of_now = generation == current && self.is_trusted();
        if is_of_now && (forgiven || reaches(listing.header.revision, known)) {
            self.last_listed = Some(current);
            self.relist = false;
            self.shared.change(|state| state.swap(&self.prefix, listing, current));
        }
        Ok(())
    }

    fn next_relist(&self) -> Instant {
        Instant::now() + relist_after(self.shared.store.witness().random())
    }
}

/// Whether a list has all that is known already.
fn reaches(listed: i64, known: Option<i64>) -> bool {
    known.is_none_or(|known| listed >= known)
}

fn relist_after(random: u64) -> Duration {
    RELIST_MIN + Duration::from_millis(random % RELIST_SPREAD_MS)
}

/// Until the store is believed, or is not.
async fn until(trust: &mut Listener<Trust>, believed: bool) {
    let _now = trust.until(|trust| (*trust == Trust::Trusted) == believed).await;
}

/// Ask for a sign of life whenever nothing was heard for a second, whoever shares the store.
pub(super) async fn keep_asking(store: Arc<dyn Store>) {
    loop {
        let silence = store.witness().silence();
        if silence >= ASK_AFTER
            && let Err(error) = store.get(&Key::Cluster).await
        {
            tracing::debug!(%error, "the store gives no sign of life");
        }
        let jitter = Duration::from_millis(store.witness().random() % 100);
        let rest = ASK_AFTER.saturating_sub(store.witness().silence());
        sleep(if rest.is_zero() { ASK_AFTER } else { rest } + jitter).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reaches_what_is_known_or_is_of_the_past() {
        for (listed, known, reaches_it) in
            [(7, None, true), (7, Some(6), true), (7, Some(7), true), (7, Some(8), false)]
        {
            assert_eq!(reaches(listed, known), reaches_it, "{listed} {known:?}");
        }
    }

    #[test]
    fn a_list_is_compared_every_five_to_ten_minutes() {
        for (random, ms) in [(0, 300_000), (7, 300_007), (299_999, 599_999), (300_000, 300_000)] {
            assert_eq!(relist_after(random), Duration::from_millis(ms));
        }
    }
}
