//! A watched copy of parts of the store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use serde::de::DeserializeOwned;

use crate::store::{Kv, Store};

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

/// A watched copy of some prefixes; a cheap handle.
#[derive(Clone)]
pub struct Mirror {}

impl Mirror {
    /// Start to list and watch `prefixes`.
    pub fn start(_store: Arc<dyn Store>, _prefixes: Vec<String>) -> Mirror {
        Mirror {}
    }
    /// Until every prefix was listed once.
    pub async fn synced(&self) {
        std::future::pending().await
    }
    /// Whether every prefix was listed once.
    pub fn is_synced(&self) -> bool {
        false
    }
    /// One key.
    pub fn get(&self, _key: &Key) -> Option<Kv> {
        None
    }
    /// One key, parsed; a bad value is none, and logged once.
    pub fn json<T: DeserializeOwned>(&self, _key: &Key) -> Option<Versioned<T>> {
        None
    }
    /// All keys that start with `prefix`.
    pub fn list(&self, _prefix: &str) -> Vec<Kv> {
        Vec::new()
    }
    /// All keys that start with `prefix`, parsed; what does not parse is left out, and logged once.
    pub fn list_json<T: DeserializeOwned>(&self, _prefix: &str) -> Vec<(Key, Versioned<T>)> {
        Vec::new()
    }
    /// Every key that changes from now on.
    pub fn subscribe(&self) -> Changed {
        Changed {}
    }
    /// How long since the store last proved that it answers.
    pub fn silence(&self) -> Duration {
        Duration::MAX
    }
    /// Until the mirror has seen `revision`.
    pub async fn caught_up(&self, _revision: i64) {
        std::future::pending().await
    }
}

/// Keys that changed, for one subscriber.
pub struct Changed {}

impl Changed {
    /// The keys that changed since the last call; waits until there are any. Cancel-safe.
    pub async fn next(&mut self) -> BTreeSet<String> {
        std::future::pending().await
    }
}
