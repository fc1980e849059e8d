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

/// Something that a transaction demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key's last change was at this revision; 0: there is no such key.
    ModRevision(String, i64),
    /// The key is under this lease.
    Lease(String, i64),
}

impl Compare {
    /// Of which key.
    pub fn key(&self) -> &str {
        match self {
            Self::ModRevision(key, _) | Self::Lease(key, _) => key,
        }
    }
}

/// Something that a transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Set a value, under a lease or none (0).
    Put(String, Bytes, i64),
    /// Remove one key.
    Delete(String),
    /// Read one key.
    Get(String),
}

/// The most writes that one transaction carries; the store's limit is 128 operations.
pub const MAX_WRITES: usize = 100;
/// The most demands of one transaction, and the most reads and writes together; the store's limit is 128
/// each. Above [`MAX_WRITES`], so that a full transaction has room for guards.
pub const MAX_OPERATIONS: usize = 125;
/// The most bytes that one transaction carries; the store's limit is 1.5 MiB.
pub const MAX_BYTES: usize = 1_400_000;

/// A transaction that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxnError {
    /// A transaction of compares alone is answered from one member's memory and proves nothing.
    #[error("a transaction needs at least one read or write")]
    NoOperation,
    /// More than [`MAX_WRITES`].
    #[error("{0} writes in one transaction; at most {MAX_WRITES} can be taken together")]
    TooManyWrites(usize),
    /// More than [`MAX_OPERATIONS`].
    #[error("{0} demands or operations in one transaction; at most {MAX_OPERATIONS} can be taken together")]
    TooManyOperations(usize),
    /// More than [`MAX_BYTES`].
    #[error("{0} bytes in one transaction; at most {MAX_BYTES} can be taken together")]
    TooLarge(usize),
    /// The store refuses two operations on one key.
    #[error("key {0} is written twice in one transaction")]
    Twice(String),
}

/// What a transaction is built from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TxnBuilder {
    compares: Vec<Compare>,
    writes: Vec<Op>,
    reads: Vec<String>,
}

impl TxnBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Demand that `key` was last changed at `revision`; 0: that it does not exist.
    #[must_use]
    pub fn if_unchanged(mut self, key: &Key, revision: i64) -> Self {
        self.compares.push(Compare::ModRevision(key.to_string(), revision));
        self
    }

    /// Demand that `key` does not exist.
    #[must_use]
    pub fn if_absent(self, key: &Key) -> Self {
        self.if_unchanged(key, 0)
    }

    /// Demand that `key` is under `lease`.
    #[must_use]
    pub fn if_leased(mut self, key: &Key, lease: i64) -> Self {
        self.compares.push(Compare::Lease(key.to_string(), lease));
        self
    }

    /// Set `key`.
    #[must_use]
    pub fn put(mut self, key: &Key, value: impl Into<Bytes>) -> Self {
        self.writes.push(Op::Put(key.to_string(), value.into(), 0));
        self
    }

    /// Set `key`, to vanish with `lease`.
    #[must_use]
    pub fn put_leased(mut self, key: &Key, value: impl Into<Bytes>, lease: i64) -> Self {
        self.writes.push(Op::Put(key.to_string(), value.into(), lease));
        self
    }

    /// Remove `key`.
    #[must_use]
    pub fn delete(mut self, key: &Key) -> Self {
        self.writes.push(Op::Delete(key.to_string()));
        self
    }

    /// Read `key`, whether the demands hold or not.
    #[must_use]
    pub fn get(mut self, key: &Key) -> Self {
        self.reads.push(key.to_string());
        self
    }

    /// How many writes it carries so far.
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// How many bytes its writes carry so far.
    pub fn bytes(&self) -> usize {
        self.writes.iter().map(bytes_of).sum()
    }

    /// The transaction.
    ///
    /// # Errors
    /// It has no operation, is too large, or writes a key twice.
    pub fn build(self) -> Result<Txn, TxnError> {
        self.build_within(MAX_WRITES)
    }

    /// The same with room for `writes`: a chain guard rides on top of a full transaction.
    pub(crate) fn build_within(self, writes: usize) -> Result<Txn, TxnError> {
        if self.writes.is_empty() && self.reads.is_empty() {
            return Err(TxnError::NoOperation);
        }
        if self.writes.len() > writes {
            return Err(TxnError::TooManyWrites(self.writes.len()));
        }
        let operations = self.compares.len().max(self.writes.len() + self.reads.len());
        if operations > MAX_OPERATIONS {
            return Err(TxnError::TooManyOperations(operations));
        }
        let mut keys = std::collections::BTreeSet::new();
        let mut bytes = 0;
        for op in &self.writes {
            let (Op::Put(key, ..) | Op::Delete(key) | Op::Get(key)) = op;
            if !keys.insert(key) {
                return Err(TxnError::Twice(key.clone()));
            }
            bytes += bytes_of(op);
        }
        if bytes > MAX_BYTES {
            return Err(TxnError::TooLarge(bytes));
        }
        Ok(Txn { compares: self.compares, writes: self.writes, reads: self.reads })
    }
}

fn bytes_of(op: &Op) -> usize {
    match op {
        Op::Put(key, value, _) => key.len() + value.len(),
        Op::Delete(key) | Op::Get(key) => key.len(),
    }
}

/// A transaction: if all compares hold, all writes are done; the reads are done either way, and see the
/// writes. Flat, never nested, never of compares alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    compares: Vec<Compare>,
    writes: Vec<Op>,
    reads: Vec<String>,
}

impl Txn {
    /// What it demands.
    pub fn compares(&self) -> &[Compare] {
        &self.compares
    }

    /// What it writes if that holds.
    pub fn writes(&self) -> &[Op] {
        &self.writes
    }

    /// The keys that it writes.
    pub fn written(&self) -> std::collections::BTreeSet<String> {
        let key = |op: &Op| match op {
            Op::Put(key, ..) | Op::Delete(key) | Op::Get(key) => key.clone(),
        };
        self.writes.iter().map(key).collect()
    }

    /// What it reads either way.
    pub fn reads(&self) -> &[String] {
        &self.reads
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_of_compares_alone_cannot_be_built() {
        let txn = TxnBuilder::new().if_absent(&Key::Cluster);
        assert_eq!(txn.clone().build(), Err(TxnError::NoOperation));
        assert!(txn.get(&Key::Cluster).build().is_ok());
    }

    #[test]
    fn limits_are_refused_with_the_number() {
        let many = (0..101)
            .fold(TxnBuilder::new(), |txn, n| txn.put(&Key::Revision("shop/web".parse().unwrap(), n), "x"));
        assert_eq!(many.build(), Err(TxnError::TooManyWrites(101)));
        let large = TxnBuilder::new().put(&Key::Cluster, vec![0; MAX_BYTES]);
        assert_eq!(large.build(), Err(TxnError::TooLarge(MAX_BYTES + 7)));
        let twice = TxnBuilder::new().put(&Key::Cluster, "x").delete(&Key::Cluster);
        assert_eq!(twice.build(), Err(TxnError::Twice("cluster".into())));
    }

    #[test]
    fn exactly_what_the_limits_say_can_be_taken_together() {
        let revision = |n: i64| Key::Revision("shop/web".parse().unwrap(), n);
        let writes = |n: i64| (0..n).fold(TxnBuilder::new(), |txn, n| txn.put(&revision(n), "x"));
        let reads = |txn: TxnBuilder, n: i64| (0..n).fold(txn, |txn, _| txn.get(&Key::Cluster));
        let demands = |txn: TxnBuilder, n: i64| (0..n).fold(txn, |txn, n| txn.if_absent(&revision(n)));
        let large = |bytes| TxnBuilder::new().put(&Key::Cluster, vec![0; bytes]);
        for (txn, refused) in [
            (writes(100), None),
            (reads(writes(100), 25), None),
            (reads(writes(100), 26), Some(TxnError::TooManyOperations(126))),
            (demands(writes(1), 125), None),
            (demands(writes(1), 126), Some(TxnError::TooManyOperations(126))),
            (large(MAX_BYTES - 7), None),
            (large(MAX_BYTES - 6), Some(TxnError::TooLarge(MAX_BYTES + 1))),
            (large(MAX_BYTES - 7).delete(&Key::Brake), Some(TxnError::TooLarge(MAX_BYTES + 5))),
        ] {
            assert_eq!(txn.build().err(), refused);
        }
    }

    #[test]
    fn a_transaction_tells_what_it_carries() {
        let txn = TxnBuilder::new().put_leased(&Key::Cluster, "abc", 5).delete(&Key::Brake).get(&Key::Halt);
        assert_eq!((txn.writes(), txn.bytes()), (2, "cluster".len() + 3 + "brake".len()));
        let demands = txn.if_absent(&Key::Cluster).if_unchanged(&Key::Brake, 3);
        let txn = demands.if_leased(&Key::Brake, 4).build().unwrap();
        let brake = || "brake".to_owned();
        let compares = [
            Compare::ModRevision("cluster".to_owned(), 0),
            Compare::ModRevision(brake(), 3),
            Compare::Lease(brake(), 4),
        ];
        assert_eq!(txn.compares(), compares);
        assert_eq!(txn.written(), ["brake".to_owned(), "cluster".to_owned()].into());
        assert_eq!(txn.reads(), ["halt"]);
        let ops = [Op::Put("cluster".to_owned(), "abc".into(), 5), Op::Delete(brake())];
        assert_eq!(txn.writes(), ops);
    }
}
