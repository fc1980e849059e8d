//! Who leads: a key under a lease of one's own. What a leader writes is guarded by that key, so two who
//! both believe to lead do no harm; this is about there being one soon.

mod seen;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::name::HostName;
use evenkeel_api::record::Leader;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::backoff::Backoff;
use crate::env::Env;
use crate::latest::{Latest, Listener};
use crate::store::{Kv, Lease, Store, StoreError, TxnBuilder, Watch};
use seen::Seen;

/// As short as the store grants it.
const TTL: Duration = Duration::from_secs(2);
/// A leader steps down that long before its lease can end.
const MARGIN: Duration = Duration::from_millis(250);
/// The crowd that sees a leader go does not come in step.
const RUSH_MS: u64 = 50;
/// A standby looks anew though its watch says nothing: a proxy's streams outlive what is behind it.
const RECHECK: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A leader that goes gives its lease back, but does not wait long for that.
const RESIGN: Duration = Duration::from_secs(1);

/// That we lead: every write of a leader demands that `key` is unchanged since `mod_revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// `leaders/<controller>`.
    pub key: Key,
    /// The revision at which we put it.
    pub mod_revision: i64,
}

/// A candidate for leading a controller; a cheap handle. With the last handle the campaign ends, and the
/// lease is given back.
#[derive(Clone)]
pub struct Leadership {
    standing: Arc<Standing>,
    campaign: Arc<Campaign>,
}

/// Ends the campaign when dropped.
struct Campaign {
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

/// How we stand.
struct Standing {
    lead: Latest<Option<Lead>>,
    /// Until when the lease surely holds.
    until: Mutex<Instant>,
}

impl Leadership {
    /// Start to campaign, if `eligible`; else nobody leads here, ever. Within a tokio runtime.
    pub fn start(
        store: Arc<dyn Store>,
        env: Arc<Env>,
        host: HostName,
        controller: Controller,
        eligible: bool,
    ) -> Leadership {
        let standing = Arc::new(Standing { lead: Latest::new(None), until: Mutex::new(Instant::now()) });
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = watch::channel(!eligible);
        if eligible {
            let me = Leader { host, process: format!("{:016x}", env.random()) };
            let key = Key::Leader(controller);
            let standing = standing.clone();
            let seen = Seen::default();
            let candidate = Candidate { store, env, controller, key, me, standing, lease: None, seen };
            tokio::spawn(async move {
                candidate.run(stopped).await;
                end.send_replace(true);
            });
        }
        Leadership { standing, campaign: Arc::new(Campaign { stop, ended }) }
    }

    /// Some while we lead: our key stands, and our lease cannot have ended yet.
    pub fn current(&self) -> Option<Lead> {
        let lead = self.standing.lead.get();
        lead.filter(|_| Instant::now() < self.standing.until())
    }

    /// Told of every change.
    pub fn subscribe(&self) -> Listener<Option<Lead>> {
        self.standing.lead.listen()
    }

    /// End the campaign and give the lease back, so that another one leads at once. Waits at most about a
    /// second. In a full store the lease is kept, since there would be no new one.
    pub async fn resign(&self) {
        self.campaign.stop.send_replace(true);
        let mut ended = self.campaign.ended.clone();
        let _ended = timeout(RESIGN * 2, ended.wait_for(|ended| *ended)).await;
    }
}

impl Standing {
    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_until(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn set(&self, lead: Option<Lead>) {
        self.lead.set(lead);
    }
}

/// Also when the last handle is gone.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _gone = stopped.wait_for(|stop| *stop).await;
}

/// How long a lease is left alone: a third of it, or up to a tenth less, leaves room for two more tries.
fn renew_after(ttl: Duration, random: u64) -> Duration {
    let third = ttl / 3;
    let spread = u64::try_from(third.as_millis()).unwrap_or(u64::MAX) / 10 + 1;
    third - Duration::from_millis(random % spread)
}

struct Candidate {
    store: Arc<dyn Store>,
    env: Arc<Env>,
    controller: Controller,
    key: Key,
    me: Leader,
    standing: Arc<Standing>,
    lease: Option<Lease>,
    /// What those who led have written.
    seen: Seen,
}

impl Candidate {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let result = tokio::select! { biased;
                () = told_to_stop(&mut stopped) => break,
                result = self.round() => result,
            };
            self.standing.set(None);
            match result {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::debug!(key = %self.key, %error, "the campaign goes on");
                    let wait = backoff.next(self.env.random());
                    let _stop = timeout(wait, told_to_stop(&mut stopped)).await;
                }
            }
        }
        self.standing.set(None);
        self.give_back().await;
    }

    /// One turn: stand by while another one leads, lead if nobody does, until something changes.
    async fn round(&mut self) -> Result<(), StoreError> {
        let (kv, header) = self.store.get(&self.key).await?;
        if let Some(leader) = kv.as_ref().and_then(|kv| serde_json::from_slice::<Leader>(&kv.value).ok()) {
            self.seen.leads(leader.host);
        }
        self.seen.look(&*self.store, self.controller).await?;
        match kv {
            Some(kv) if self.is_mine(&kv) => self.resume(&kv).await,
            Some(_) => self.stand_by(header.revision).await,
            None => self.run_for_it().await,
        }
    }

    fn is_mine(&self, kv: &Kv) -> bool {
        serde_json::from_slice::<Leader>(&kv.value).is_ok_and(|leader| leader == self.me)
    }

    async fn stand_by(&mut self, revision: i64) -> Result<(), StoreError> {
        let mut watch = self.store.watch(&self.key.to_string(), revision).await?;
        if timeout(RECHECK, watch.next()).await.is_ok() {
            sleep(Duration::from_millis(self.env.random() % RUSH_MS)).await;
        }
        Ok(())
    }

    /// Our key stands, but we did not know (an answer was lost), or had stepped down to be sure.
    async fn resume(&mut self, kv: &Kv) -> Result<(), StoreError> {
        let asked = Instant::now();
        match self.lease.filter(|lease| lease.id == kv.lease) {
            Some(lease) => {
                let ttl = self.store.renew(lease.id).await?;
                self.lead(kv.mod_revision, lease, asked + ttl).await
            }
            // Our own key under a lease that we do not have: it ends by itself.
            None => self.stand_by(kv.mod_revision).await,
        }
    }

    async fn run_for_it(&mut self) -> Result<(), StoreError> {
        let asked = Instant::now();
        self.give_back().await;
        let lease = self.store.grant(TTL).await?;
        self.lease = Some(lease);
        let value = crate::writer::json(&self.me);
        let txn = TxnBuilder::new().if_absent(&self.key).put_leased(&self.key, value, lease.id);
        let txn = txn.get(&self.key).build().map_err(|error| StoreError::Refused(error.to_string()))?;
        // If the outcome is unknown, the next round finds our key, or gives the lease back first, after
        // which a late put is refused.
        let committed = self.store.commit(&txn).await?;
        if committed.succeeded {
            return self.lead(committed.header.revision, lease, asked + lease.ttl).await;
        }
        self.give_back().await;
        Ok(())
    }

    /// Lead until the key or the lease is lost, or may be.
    async fn lead(&mut self, mod_revision: i64, lease: Lease, ends: Instant) -> Result<(), StoreError> {
        self.standing.set_until(ends - MARGIN);
        self.standing.set(Some(Lead { key: self.key.clone(), mod_revision }));
        tracing::info!(key = %self.key, mod_revision, "this process leads");
        let lost = tokio::select! { biased;
            lost = self.keep(lease, ends) => lost,
            lost = self.until_taken(mod_revision) => lost,
        };
        self.standing.set(None);
        tracing::info!(key = %self.key, why = lost, "this process does not lead any more");
        Ok(())
    }

    /// Renew until that fails for too long.
    async fn keep(&self, lease: Lease, mut ends: Instant) -> &'static str {
        loop {
            sleep(renew_after(lease.ttl, self.env.random())).await;
            loop {
                let asked = Instant::now();
                match timeout_at(ends - MARGIN, self.store.renew(lease.id)).await {
                    Ok(Ok(ttl)) => {
                        ends = ends.max(asked + ttl);
                        self.standing.set_until(ends - MARGIN);
                        break;
                    }
                    Ok(Err(StoreError::LeaseGone)) => return "the lease is gone",
                    Ok(Err(_)) => sleep_until((Instant::now() + RETRY_MIN).min(ends - MARGIN)).await,
                    Err(_) => {}
                }
                if Instant::now() >= ends - MARGIN {
                    return "the lease could not be renewed in time";
                }
            }
        }
    }

    /// Until the key is not as we put it. A watch that breaks is no sign of that.
    async fn until_taken(&self, mod_revision: i64) -> &'static str {
        loop {
            if let Ok(watch) = self.store.watch(&self.key.to_string(), mod_revision).await
                && self.taken(watch).await
            {
                return "the key was taken";
            }
            sleep(RETRY_MIN + Duration::from_millis(self.env.random() % RUSH_MS)).await;
            if let Ok((kv, _)) = self.store.get(&self.key).await
                && kv.is_none_or(|kv| kv.mod_revision != mod_revision)
            {
                return "the key was taken";
            }
        }
    }

    async fn taken(&self, mut watch: Box<dyn Watch>) -> bool {
        let key = self.key.to_string();
        while let Ok(changes) = watch.next().await {
            if changes.changes.iter().any(|change| change.key() == key) {
                return true;
            }
        }
        false
    }

    async fn give_back(&mut self) {
        // A full store grants no lease, so one that is there is kept; it ends by itself.
        if self.store.witness().is_full() {
            return;
        }
        if let Some(lease) = self.lease.take() {
            let _late = timeout(RESIGN, self.store.revoke(lease.id)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_lease_is_renewed_after_a_third_of_it_or_up_to_a_tenth_sooner() {
        let waits: BTreeSet<u128> = (0..1000).map(|random| renew_after(TTL, random).as_millis()).collect();
        assert_eq!(waits, (600..=666).collect());
        assert_eq!(renew_after(Duration::ZERO, 7), Duration::ZERO);
    }
}
