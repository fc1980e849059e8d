//! The store as controllers see it: keys with revisions, guarded transactions, leases, watches. Real in
//! the etcd adapter, and in memory beside it; both pass one suite.
//!
//! Keys are relative to the cluster's prefix ([`evenkeel_api::key`]). All reads are linearizable.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_api::key::Key;

use crate::witness::Witness;

mod txn;

pub use txn::{Compare, MAX_BYTES, MAX_OPERATIONS, MAX_WRITES, Op, Txn, TxnBuilder, TxnError};

/// One key's newest value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kv {
    /// The key, without the prefix.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// The revision of its creation.
    pub create_revision: i64,
    /// The revision of its last change.
    pub mod_revision: i64,
    /// The lease that it is under; 0: none.
    pub lease: i64,
}

/// What every answer says of the store itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// The store's identity.
    pub cluster_id: u64,
    /// The store's revision.
    pub revision: i64,
    /// The consensus term.
    pub raft_term: u64,
}

/// All keys of a prefix at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by key.
    pub kvs: Vec<Kv>,
    /// At which revision.
    pub header: Header,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has a new value.
    Put(Kv),
    /// It is gone.
    Delete {
        /// The key.
        key: String,
        /// The revision of the deletion.
        mod_revision: i64,
    },
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Change::Put(kv) => &kv.key,
            Change::Delete { key, .. } => key,
        }
    }

    /// The revision at which it changed.
    pub fn mod_revision(&self) -> i64 {
        match self {
            Change::Put(kv) => kv.mod_revision,
            Change::Delete { mod_revision, .. } => *mod_revision,
        }
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The demands held and the writes are done.
    pub succeeded: bool,
    /// The reads, in order.
    pub reads: Vec<Option<Kv>>,
    /// The store's revision; that of the writes, if they were done.
    pub header: Header,
}

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nobody answered; a write has surely not been done.
    #[error("etcd is not reachable: {0}")]
    Unavailable(String),
    /// No answer in time: whether a write was done is not known.
    #[error("etcd did not answer in time: {0}")]
    Unknown(String),
    /// The store is full and takes no more writes.
    #[error("etcd is full (NOSPACE): compact, defragment and disarm the alarm")]
    Full,
    /// The revision asked for is not kept any more.
    #[error("etcd has compacted revision {0} away")]
    Compacted(i64),
    /// There is no such lease.
    #[error("etcd does not know the lease any more")]
    LeaseGone,
    /// The store refuses, and would again.
    #[error("etcd refused: {0}")]
    Refused(String),
}

/// Changes under one prefix, in the order of their revisions.
#[async_trait]
pub trait Watch: Send {
    /// The next changes; waits until there are any. Changes of one revision come together. Cancel-safe.
    ///
    /// # Errors
    /// The watch is over: open a new one from the last revision seen, or list anew after `Compacted`.
    async fn next(&mut self) -> Result<Changes, StoreError>;
}

/// Some changes, and how far the watch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// In the order of their revisions.
    pub changes: Vec<Change>,
    /// The store's header when they were sent.
    pub header: Header,
}

/// The store.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// What this process knows of the store; the adapter feeds it with every answer.
    fn witness(&self) -> &Arc<Witness>;

    /// One key.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn get(&self, key: &Key) -> Result<(Option<Kv>, Header), StoreError>;

    /// All keys that `prefix` means, as [`evenkeel_api::key::prefix::covers`] has it.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// All of a transaction or nothing.
    ///
    /// # Errors
    /// See [`StoreError`]; after `Unknown` it must be read back whether it was done.
    async fn commit(&self, txn: &Txn) -> Result<Committed, StoreError>;

    /// The changes of what `prefix` means after `revision`.
    ///
    /// # Errors
    /// See [`StoreError`]; `Compacted` may also come with the first changes.
    async fn watch(&self, prefix: &str, revision: i64) -> Result<Box<dyn Watch>, StoreError>;

    /// A new lease that ends `ttl` after its last renewal. The store may make it longer.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError>;

    /// Renew a lease: its time to live from now on.
    ///
    /// # Errors
    /// `LeaseGone` when it has ended.
    async fn renew(&self, lease: i64) -> Result<Duration, StoreError>;

    /// End a lease, and what is under it.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn revoke(&self, lease: i64) -> Result<(), StoreError>;

    /// The versions of the store's members, as far as they tell, by what they are reached by. Empty: a store
    /// without versions.
    ///
    /// # Errors
    /// No member tells.
    async fn versions(&self) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(BTreeMap::new())
    }
}

/// A lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: i64,
    /// Its time to live.
    pub ttl: Duration,
}
