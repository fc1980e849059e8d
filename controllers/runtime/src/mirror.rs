//! A watched copy of parts of the store: list at a revision, watch from the next one, and list again when
//! the store has compacted what was missed. Readers never wait for the store.

mod follow;
mod state;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::store::{Kv, Store};
use state::{Inbox, Shared};

/// How long [`Mirror::caught_up`] waits for a revision that this process has not written.
const FOREIGN_REVISION: Duration = Duration::from_millis(250);
/// How long it waits for an own one: a store that went away must not hold up what needs no store.
const OWN_REVISION: Duration = Duration::from_secs(2);

/// A value with the revisions that guard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The revision of its last change.
    pub mod_revision: i64,
    /// The revision of its creation.
    pub create_revision: i64,
}

/// A watched copy of some prefixes; a cheap handle. The watching ends with the last handle.
#[derive(Clone)]
pub struct Mirror {
    shared: Arc<Shared>,
    tasks: Arc<JoinSet<()>>,
}

impl Mirror {
    /// Start to list and watch `prefixes`; one without a `/` at its end is a key, and means that key alone.
    /// Must be called within a tokio runtime.
    pub fn start(store: Arc<dyn Store>, prefixes: Vec<String>) -> Mirror {
        let shared = Arc::new(Shared::new(store, prefixes));
        let mut tasks = JoinSet::new();
        for prefix in shared.prefixes() {
            tasks.spawn(follow::follow(shared.clone(), prefix));
        }
        tasks.spawn(follow::keep_asking(shared.store.clone()));
        Mirror { shared, tasks: Arc::new(tasks) }
    }

    /// Until every prefix was listed once.
    pub async fn synced(&self) {
        self.shared.until(|state| state.is_synced()).await;
    }

    /// Whether every prefix was listed once.
    pub fn is_synced(&self) -> bool {
        self.shared.lock().is_synced()
    }

    /// Whether every prefix was listed since a person last declared the store's past void. While that is
    /// not so, what is here is the past.
    pub fn is_fresh(&self) -> bool {
        let now = self.shared.store.witness().generation();
        self.shared.lock().generation() == Some(now)
    }

    /// Until [`Mirror::is_fresh`].
    pub async fn fresh(&self) {
        let witness = self.shared.store.witness().clone();
        self.shared.until(|state| state.generation() == Some(witness.generation())).await;
    }

    /// One key.
    pub fn get(&self, key: &Key) -> Option<Kv> {
        self.shared.lock().get(&key.to_string()).cloned()
    }

    /// The revision at which a key was deleted, if its deletion was seen and is not long ago.
    pub fn deleted_at(&self, key: &Key) -> Option<i64> {
        self.shared.lock().deleted_at(&key.to_string())
    }

    /// One key, parsed. In place of a value that cannot be read, which is logged once, the last one that
    /// could be holds; without one it is none.
    pub fn json<T: DeserializeOwned>(&self, key: &Key) -> Option<Versioned<T>> {
        let kv = self.get(key)?;
        self.parse(&kv)
    }

    /// One key as it stands, for its owner: a value that cannot be read is none, and is to be written anew.
    pub fn stands<T: DeserializeOwned>(&self, key: &Key) -> Option<Versioned<T>> {
        let kv = self.get(key)?;
        let value = serde_json::from_slice(&kv.value).ok()?;
        Some(Versioned { value, mod_revision: kv.mod_revision, create_revision: kv.create_revision })
    }

    /// All keys that start with `prefix`, sorted.
    pub fn list(&self, prefix: &str) -> Vec<Kv> {
        self.shared.lock().list(prefix).cloned().collect()
    }

    /// All keys that start with `prefix`, parsed as by [`Mirror::json`] and sorted as text.
    pub fn list_json<T: DeserializeOwned>(&self, prefix: &str) -> Vec<(Key, Versioned<T>)> {
        self.list(prefix)
            .iter()
            .filter_map(|kv| match kv.key.parse() {
                Ok(key) => Some((key, self.parse(kv)?)),
                Err(error) => {
                    self.shared.warn_once(kv, &error);
                    None
                }
            })
            .collect()
    }

    fn parse<T: DeserializeOwned>(&self, kv: &Kv) -> Option<Versioned<T>> {
        let value = match serde_json::from_slice(&kv.value) {
            Ok(value) => {
                self.shared.lock().understood(kv);
                value
            }
            Err(error) => {
                self.shared.warn_once(kv, &error);
                let before = self.shared.lock().last_understood(&kv.key)?;
                serde_json::from_slice(&before).ok()?
            }
        };
        Some(Versioned { value, mod_revision: kv.mod_revision, create_revision: kv.create_revision })
    }

    /// Every key that changes from now on.
    pub fn subscribe(&self) -> Changed {
        let inbox = Arc::new(Inbox::default());
        self.shared.lock().subscribers.push(Arc::downgrade(&inbox));
        Changed { inbox, _tasks: self.tasks.clone() }
    }

    /// How long since the store last proved that it answers; an idle mirror asks every second.
    pub fn silence(&self) -> Duration {
        self.shared.store.witness().silence()
    }

    /// Until the mirror has seen `revision`: for own writes, to plan from what they left. Keys that are not
    /// mirrored are not waited for. Gives up after 2 s, so that a store that went away holds up nothing;
    /// and after 250 ms for a revision that this process did not write, since nothing tells whether it
    /// touched what is mirrored.
    pub async fn caught_up(&self, revision: i64) {
        let _late = match self.shared.store.witness().written_at(revision) {
            Some(keys) => {
                let seen = self.shared.until(|state| keys.iter().all(|key| state.has_seen(key, revision)));
                tokio::time::timeout(OWN_REVISION, seen).await
            }
            None => {
                let seen = self.shared.until(|state| state.all_seen(revision));
                tokio::time::timeout(FOREIGN_REVISION, seen).await
            }
        };
    }
}

/// Keys that changed, for one subscriber.
pub struct Changed {
    inbox: Arc<Inbox>,
    // The mirror goes on while anyone listens.
    _tasks: Arc<JoinSet<()>>,
}

impl Changed {
    /// The keys that changed since the last call; waits until there are any. Cancel-safe.
    pub async fn next(&mut self) -> BTreeSet<String> {
        loop {
            let keys = self.inbox.take();
            if !keys.is_empty() {
                return keys;
            }
            self.inbox.arrived.notified().await;
        }
    }
}
