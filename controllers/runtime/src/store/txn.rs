//! Transactions, and what one may be: never without a read or a write, and within what the store takes.

use bytes::Bytes;
use evenkeel_api::key::Key;

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
    fn a_transaction_tells_which_keys_it_looks_at() {
        let txn = TxnBuilder::new().if_absent(&Key::Halt).if_unchanged(&Key::Brake, 3).get(&Key::Cluster);
        let keys: Vec<_> = txn.build().unwrap().compares().iter().map(|it| it.key().to_owned()).collect();
        assert_eq!(keys, ["halt", "brake"]);
        assert_eq!(Compare::Lease("alive/h1".to_owned(), 7).key(), "alive/h1");
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
