//! The state behind [`super::MemoryStore`]: keys, history, leases. No waiting happens here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_api::key::prefix;
use evenkeel_runtime::store::{Change, Compare, Header, Kv, Lease, Op, StoreError, Txn};
use tokio::time::Instant;

/// The shortest lease that is granted, as etcd with its default election timeout.
const MIN_TTL: Duration = Duration::from_secs(2);

/// All of a store. Cloning it is taking a snapshot.
#[derive(Debug, Clone)]
pub(super) struct Db {
    pub header: Header,
    pub compacted: i64,
    pub full: bool,
    keys: BTreeMap<String, Kv>,
    history: BTreeMap<i64, Vec<Change>>,
    leases: BTreeMap<i64, Held>,
    next_lease: i64,
    /// Keys that changed and of which nobody was told yet.
    untold: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    ttl: Duration,
    ends: Instant,
}

impl Db {
    pub fn new(cluster_id: u64) -> Self {
        Self {
            header: Header { cluster_id, revision: 1, raft_term: 2 },
            compacted: 0,
            full: false,
            keys: BTreeMap::new(),
            history: BTreeMap::new(),
            leases: BTreeMap::new(),
            next_lease: 1000,
            untold: Vec::new(),
        }
    }

    pub fn get(&self, key: &str) -> Option<Kv> {
        self.keys.get(key).cloned()
    }

    pub fn list(&self, prefix: &str) -> Vec<Kv> {
        let from = self.keys.range(prefix.to_owned()..);
        from.take_while(|(key, _)| prefix::covers(prefix, key)).map(|(_, kv)| kv.clone()).collect()
    }

    /// The changes under `prefix` after `revision`.
    pub fn since(&self, prefix: &str, revision: i64) -> Result<Vec<Change>, StoreError> {
        if revision + 1 < self.compacted {
            return Err(StoreError::Compacted(self.compacted));
        }
        let changes = self.history.range(revision + 1..).flat_map(|(_, changes)| changes);
        Ok(changes.filter(|change| prefix::covers(prefix, change.key())).cloned().collect())
    }

    pub fn holds(&self, compare: &Compare) -> bool {
        let kv = |key: &String| self.keys.get(key);
        match compare {
            Compare::ModRevision(key, revision) => kv(key).map_or(0, |kv| kv.mod_revision) == *revision,
            Compare::Lease(key, lease) => kv(key).map_or(0, |kv| kv.lease) == *lease,
        }
    }

    /// Whether etcd would take the transaction at all.
    pub fn check(&self, txn: &Txn) -> Result<(), StoreError> {
        for op in txn.writes() {
            let Op::Put(_, _, lease) = op else { continue };
            if self.full {
                return Err(StoreError::Full);
            }
            if *lease != 0 && !self.leases.contains_key(lease) && txn.compares().iter().all(|c| self.holds(c))
            {
                return Err(StoreError::LeaseGone);
            }
        }
        Ok(())
    }

    /// Do all writes at one new revision; without an effect there is none.
    pub fn apply(&mut self, writes: &[Op]) {
        let revision = self.header.revision + 1;
        let changes: Vec<Change> = writes.iter().filter_map(|op| self.write(op, revision)).collect();
        if !changes.is_empty() {
            self.header.revision = revision;
            self.untold.extend(changes.iter().map(|change| change.key().to_owned()));
            self.history.insert(revision, changes);
        }
    }

    fn write(&mut self, op: &Op, revision: i64) -> Option<Change> {
        match op {
            Op::Get(_) => None,
            Op::Delete(key) => {
                self.keys.remove(key)?;
                Some(Change::Delete { key: key.clone(), mod_revision: revision })
            }
            Op::Put(key, value, lease) => Some(Change::Put(self.put(key, value.clone(), *lease, revision))),
        }
    }

    fn put(&mut self, key: &str, value: Bytes, lease: i64, revision: i64) -> Kv {
        let create_revision = self.keys.get(key).map_or(revision, |kv| kv.create_revision);
        let kv = Kv { key: key.to_owned(), value, create_revision, mod_revision: revision, lease };
        self.keys.insert(key.to_owned(), kv.clone());
        kv
    }

    pub fn compact(&mut self, revision: i64) {
        self.compacted = self.compacted.max(revision.min(self.header.revision));
        self.history = self.history.split_off(&self.compacted);
    }

    pub fn grant(&mut self, ttl: Duration) -> Result<Lease, StoreError> {
        if self.full {
            return Err(StoreError::Full);
        }
        let whole = Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
        let ttl = whole.max(MIN_TTL);
        self.next_lease += 1;
        self.leases.insert(self.next_lease, Held { ttl, ends: Instant::now() + ttl });
        Ok(Lease { id: self.next_lease, ttl })
    }

    /// No lease of another past is granted again: etcd picks their ids by chance.
    pub fn grants_after(&mut self, other: &Db) {
        self.next_lease = self.next_lease.max(other.next_lease);
    }

    pub fn renew(&mut self, lease: i64) -> Result<Duration, StoreError> {
        let held = self.leases.get_mut(&lease).ok_or(StoreError::LeaseGone)?;
        held.ends = Instant::now() + held.ttl;
        Ok(held.ttl)
    }

    pub fn revoke(&mut self, lease: i64) -> Result<(), StoreError> {
        self.leases.remove(&lease).ok_or(StoreError::LeaseGone)?;
        let under = self.keys.values().filter(|kv| kv.lease == lease);
        let gone: Vec<Op> = under.map(|kv| Op::Delete(kv.key.clone())).collect();
        self.apply(&gone);
        Ok(())
    }

    /// The keys that changed since the last time.
    pub fn take_untold(&mut self) -> Vec<String> {
        std::mem::take(&mut self.untold)
    }

    /// All leases that there are.
    pub fn leases(&self) -> BTreeSet<i64> {
        self.leases.keys().copied().collect()
    }

    /// End what is overdue.
    pub fn expire(&mut self, now: Instant) {
        let overdue = self.leases.iter().filter(|(_, held)| held.ends <= now);
        let overdue: Vec<i64> = overdue.map(|(lease, _)| *lease).collect();
        // In the order of their ends would be truer; by number is as good and the same each time.
        for lease in overdue {
            let _there = self.revoke(lease);
        }
    }

    /// When the next lease ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.leases.values().map(|held| held.ends).min()
    }

    /// All leases start over, as after an election or a restart.
    pub fn extend_leases(&mut self) {
        let now = Instant::now();
        self.leases.values_mut().for_each(|held| held.ends = now + held.ttl);
    }
}
