//! Keeps the lease, and `alive/<h>` under it.
//!
//! What is written here carries no chain guard: that a host is alive is true in every past of the store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::name::HostName;
use evenkeel_api::record::Alive;
use evenkeel_plan::host::register::{self, Seen, Step};
use evenkeel_runtime::backoff::Backoff;
use evenkeel_runtime::env::Env;
use evenkeel_runtime::mirror::Changed;
use evenkeel_runtime::store::{Kv, Store, StoreError, TxnBuilder};
use evenkeel_runtime::writer::{NewEvent, Writer};
use tokio::time::Instant;

use super::memory::Memory;
use super::{Error, HostDeps, HostSettings, object};

/// How long the name must be seen held by another boot before we give up: some lives of a lease that
/// nobody renews, also when the store's own election lengthened one of them.
const NAME_TAKEN_AFTER: Duration = Duration::from_secs(10);
/// How often a held name is looked at.
const HELD_PAUSE: Duration = Duration::from_millis(250);
/// A linearizable look at the key each so many renewals: a renewal may be answered for a lease that the
/// store has already ended, and a watch may miss the deletion.
const LOOK_EVERY: u32 = 10;
/// Steps of one registration: grant, put, look, and as many again if another's write came between.
const STEPS: u32 = 6;

/// The loop that keeps the host alive in the store.
pub(super) struct Heart {
    store: Arc<dyn Store>,
    env: Arc<Env>,
    host: HostName,
    key: Key,
    settings: HostSettings,
    memory: Arc<Memory>,
    writer: Writer,
    changed: Changed,
    /// Looks that are left before the key is looked at again; 0: now.
    trusted: u32,
    /// Whether this process has registered, or found itself registered, before.
    registered: bool,
    /// Since when another boot has the name.
    held: Option<Instant>,
}

/// What came of one beat.
enum Beat {
    /// The host is registered.
    Stands,
    /// Another boot has the name.
    Held(String),
}

impl Heart {
    /// A heart that has not beaten yet.
    pub fn new(deps: &HostDeps, memory: Arc<Memory>, writer: Writer, changed: Changed) -> Self {
        Self {
            store: deps.lease_store.clone(),
            env: deps.env.clone(),
            host: deps.host.clone(),
            key: Key::Alive(deps.host.clone()),
            settings: deps.settings.clone(),
            memory,
            writer,
            changed,
            trusted: 0,
            registered: false,
            held: None,
        }
    }

    /// Beat until the name is lost to another machine.
    pub async fn run(mut self) -> Error {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(300));
        // Said once at either end of an outage: in between it would be said several times a second.
        let mut missed = false;
        loop {
            let pause = match self.beat().await {
                Ok(Beat::Stands) => {
                    backoff.reset();
                    if std::mem::take(&mut missed) {
                        tracing::info!("the lease is kept again");
                    }
                    self.held = None;
                    self.settings.renew_every
                }
                Ok(Beat::Held(boot_id)) => {
                    if self.held.is_none() {
                        tracing::warn!(host = %self.host, boot_id, "another boot is registered under this host's name");
                    }
                    let since = *self.held.get_or_insert_with(Instant::now);
                    if since.elapsed() >= NAME_TAKEN_AFTER {
                        return Error::NameTaken { host: self.host.clone(), boot_id };
                    }
                    HELD_PAUSE
                }
                Err(error) => {
                    // Only an unbroken row of answers says that another machine keeps the name alive.
                    self.held = None;
                    if !std::mem::replace(&mut missed, true) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the lease could not be kept"
                        );
                    }
                    backoff.next(self.env.random())
                }
            };
            self.rest(pause).await;
        }
    }

    /// Until `pause` is over, or our key changed. Changes of our own are found to be so by the next look.
    async fn rest(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        loop {
            let changed: BTreeSet<String> = tokio::select! {
                biased;
                // Cancel-safe: keys that are not taken out stay for the next call.
                changed = self.changed.next() => changed,
                () = tokio::time::sleep_until(end) => return,
            };
            if changed.contains(&self.key.to_string()) {
                self.trusted = 0;
                return;
            }
        }
    }

    /// Renew the lease, and see to it that the host is registered under it.
    async fn beat(&mut self) -> Result<Beat, StoreError> {
        self.memory.keep();
        self.renew().await?;
        if self.trusted > 0 {
            self.trusted -= 1;
            return Ok(Beat::Stands);
        }
        for _ in 0..STEPS {
            let (kv, header) = self.store.get(&self.key).await?;
            let seen = kv.as_ref().map(read);
            let memory = self.memory.get().registration;
            match register::step(&memory, &self.settings.boot_id, seen.as_ref()) {
                Step::Stand => {
                    self.trusted = LOOK_EVERY;
                    self.registered = true;
                    return Ok(Beat::Stands);
                }
                Step::Wait { boot_id } => {
                    return Ok(Beat::Held(boot_id));
                }
                Step::Grant => self.grant(seen.as_ref(), header.revision).await?,
                Step::Put { alive, lease, revision } => self.put(&alive, lease, revision).await?,
            }
        }
        Err(StoreError::Unavailable("the registration changed under our hands, again and again".to_owned()))
    }

    /// Renew the lease of this boot, if there is one. That it is gone is no error: a new one is taken.
    async fn renew(&mut self) -> Result<(), StoreError> {
        let memory = self.memory.get().registration;
        let Some(lease) = memory.lease.filter(|_| memory.boot_id == self.settings.boot_id) else {
            return Ok(());
        };
        match self.store.renew(lease).await {
            Ok(_) => Ok(()),
            Err(StoreError::LeaseGone) => {
                self.lost(lease);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Forget a lease that the store ended.
    fn lost(&mut self, lease: i64) {
        tracing::warn!(host = %self.host, lease, "etcd ended the lease; registering anew");
        self.memory.change(|state| state.registration.lease = None);
        self.trusted = 0;
    }

    /// Take a new lease. It is on disk before anything is put under it, so that a restart between the two
    /// goes on with it.
    async fn grant(&mut self, seen: Option<&Seen>, revision: i64) -> Result<(), StoreError> {
        let lease = self.store.grant(self.settings.lease_ttl).await?.id;
        let boot_id = &self.settings.boot_id;
        self.memory.change(|state| {
            state.registration = register::granted(&state.registration, boot_id, seen, lease, revision);
        });
        Ok(())
    }

    /// Register. Whether it was done is found by the look that follows.
    async fn put(&mut self, alive: &Alive, lease: i64, revision: i64) -> Result<(), StoreError> {
        let value = serde_json::to_vec(alive).map_err(|e| StoreError::Refused(e.to_string()))?;
        let txn = TxnBuilder::new().if_unchanged(&self.key, revision).put_leased(&self.key, value, lease);
        let txn = txn.build().map_err(|e| StoreError::Refused(e.to_string()))?;
        // On disk before it is asked for: after a crash it may have been done.
        let before = self.memory.get().registration.put;
        self.memory.change(|state| state.registration.put = true);
        let not_done = || self.memory.change(|state| state.registration.put = before);
        match self.store.commit(&txn).await {
            Ok(committed) if committed.succeeded => self.report(alive),
            Ok(_) => not_done(),
            Err(StoreError::Unknown(_)) => {}
            Err(StoreError::LeaseGone) => {
                not_done();
                self.lost(lease);
            }
            Err(error) => {
                not_done();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Tell of a registration.
    fn report(&self, alive: &Alive) {
        tracing::info!(host = %self.host, incarnation = alive.incarnation, "registered");
        let (reason, message) = if self.registered {
            ("RegisteredAnew", "etcd had ended its lease; its containers ran on")
        } else {
            ("Registered", "its host controller started")
        };
        self.writer.event(NewEvent {
            object: object(&self.host),
            instance: None,
            warning: self.registered,
            reason: reason.to_owned(),
            message: message.to_owned(),
        });
    }
}

/// The key as the plan sees it.
fn read(kv: &Kv) -> Seen {
    Seen { alive: serde_json::from_slice(&kv.value).ok(), lease: kv.lease, mod_revision: kv.mod_revision }
}
