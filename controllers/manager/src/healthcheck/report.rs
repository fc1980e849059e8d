//! Tells the store what this host knows of its copies: the first change at once, then at most one
//! transaction each [`PACE`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_plan::health::report::{Told, Write, plan};
use evenkeel_runtime::backoff::Backoff;
use evenkeel_runtime::env::Env;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::{MAX_WRITES, TxnBuilder};
use evenkeel_runtime::writer::{Outcome, WriteError, Writer};
use tokio::sync::watch;
use tokio::time::Instant;

use super::HealthcheckDeps;
use super::local::Known;

/// The time from one transaction to the next.
const PACE: Duration = Duration::from_millis(100);

/// The loop that tells.
pub(super) struct Reporter {
    env: Arc<Env>,
    host: HostName,
    mirror: Mirror,
    writer: Writer,
    known: watch::Receiver<Known>,
}

impl Reporter {
    /// A loop that has told nothing yet.
    pub fn new(
        deps: &HealthcheckDeps,
        mirror: Mirror,
        writer: Writer,
        known: watch::Receiver<Known>,
    ) -> Self {
        Self { env: deps.env.clone(), host: deps.host.clone(), mirror, writer, known }
    }

    /// Tell for ever.
    pub async fn run(mut self) -> Infallible {
        let mut backoff = Backoff::new(PACE, Duration::from_secs(5));
        let mut changed = self.mirror.subscribe();
        self.mirror.synced().await;
        loop {
            let began = Instant::now();
            match self.tell().await {
                Ok(true) => {
                    backoff.reset();
                    tokio::time::sleep_until(began + PACE).await;
                    continue;
                }
                Ok(false) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "verdicts are not in the store yet"
                    );
                    tokio::time::sleep(backoff.next(self.env.random())).await;
                    continue;
                }
            }
            tokio::select! {
                biased;
                // Both are cancel-safe. The sender lives as long as we do.
                _ = self.known.changed() => {}
                _ = changed.next() => {}
            }
        }
    }

    /// Tell what differs; whether there was anything.
    async fn tell(&mut self) -> Result<bool, WriteError> {
        let Some(known) = self.known.borrow_and_update().clone() else { return Ok(false) };
        let writes = plan(&known, &self.told(), MAX_WRITES);
        if writes.is_empty() {
            return Ok(false);
        }
        let mut txn = TxnBuilder::new();
        for Write { instance, health, revision } in writes {
            let key = Key::Health(self.host.clone(), instance);
            txn = txn.if_unchanged(&key, revision);
            txn = match health.map(|health| serde_json::to_vec(&health)) {
                Some(Ok(value)) => txn.put(&key, value),
                // A record of ours is always JSON; were it not, it would be told by its absence.
                Some(Err(_)) | None => txn.delete(&key),
            };
        }
        if let Outcome::Done { revision } = self.writer.commit(txn).await? {
            self.mirror.caught_up(revision).await;
        }
        Ok(true)
    }

    /// What the store knows.
    fn told(&self) -> BTreeMap<InstanceId, Told> {
        let kvs = self.mirror.list(&prefix::health_on(&self.host));
        let told = kvs.into_iter().filter_map(|kv| match kv.key.parse() {
            Ok(Key::Health(_, instance)) => {
                let health = serde_json::from_slice(&kv.value).ok();
                Some((instance, Told { health, mod_revision: kv.mod_revision }))
            }
            _ => None,
        });
        told.collect()
    }
}
