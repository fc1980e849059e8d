//! A store in memory that behaves as etcd does, revision by revision, on tokio's time (which a test can
//! pause), and that can be hurt in all the ways in which etcd is.
//!
//! One [`MemoryStore`] is one client; [`MemoryStore::client`] makes another one of the same store, with
//! faults and a witness of its own, so that one host can be cut off while others go on.

mod db;
mod faults;
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::key::Key;
use evenkeel_runtime::store::{
    Change, Changes, Committed, Header, Kv, Lease, Listing, Store, StoreError, Txn, Watch,
};
use evenkeel_runtime::tick::Ticks;
use evenkeel_runtime::witness::Witness;
use tokio::time::Instant;

use db::Db;
pub use faults::{Snapshot, UnknownOutcome};
use topics::{Topic, Topics};

/// How long a call waits for an answer, as the real adapter's.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Leases of a store that is down are looked at that often.
const REAP_DOWN: Duration = Duration::from_millis(100);

/// A client of a store in memory. Clones are the same client.
#[derive(Clone)]
pub struct MemoryStore {
    server: Arc<Server>,
    client: Arc<Client>,
}

struct Server {
    state: Mutex<State>,
    topics: Topics,
    versions: Mutex<BTreeMap<String, String>>,
    /// Somebody sees to it that leases end in time.
    reaped: AtomicBool,
}

struct State {
    db: Db,
    /// Nobody is answered, and leases stand still.
    down: bool,
    /// Counts restarts: streams do not outlive one.
    boots: u64,
}

struct Client {
    witness: Arc<Witness>,
    faults: Mutex<faults::Faults>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(0)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("revision", &self.revision()).finish()
    }
}

impl MemoryStore {
    /// An empty store and its first client. `seed`: for the jitter of those who use it.
    pub fn new(seed: u64) -> Self {
        let state = State { db: Db::new(0xe7cd), down: false, boots: 0 };
        let server = Server {
            state: Mutex::new(state),
            topics: Topics::default(),
            versions: Mutex::default(),
            reaped: AtomicBool::new(false),
        };
        Self { server: Arc::new(server), client: Client::new(seed) }
    }

    /// Another client of the same store, without faults.
    pub fn client(&self, seed: u64) -> Self {
        Self { server: self.server.clone(), client: Client::new(seed) }
    }

    /// The newest revision.
    pub fn revision(&self) -> i64 {
        self.state().db.header.revision
    }

    /// From now on its members say that they are of these versions; at first there are none.
    pub fn set_versions(&self, versions: BTreeMap<String, String>) {
        *self.server.versions.lock().unwrap_or_else(PoisonError::into_inner) = versions;
    }

    /// All keys that start with `prefix` as they are, whatever hurts the store: for whoever looks on.
    pub fn peek(&self, prefix: &str) -> Vec<Kv> {
        self.state().db.list(prefix)
    }

    /// The same for all that changed after `revision`.
    ///
    /// # Errors
    /// It has been compacted away.
    pub fn peek_changes(&self, revision: i64) -> Result<Vec<Change>, StoreError> {
        self.state().db.since("", revision)
    }

    /// The state with overdue leases ended; those who watch are told.
    fn state(&self) -> MutexGuard<'_, State> {
        self.server.state()
    }

    fn wake(&self) {
        self.server.topics.tell_all();
    }

    /// What happens to a call on its way.
    async fn reach(&self) -> Result<(), StoreError> {
        let (fault, delay) = self.client.faults().on_call();
        if !delay.is_zero() {
            tokio::time::sleep(delay.min(CALL_TIMEOUT)).await;
        }
        if delay >= CALL_TIMEOUT {
            return Err(StoreError::Unknown("no answer in time".to_owned()));
        }
        if fault || self.state().down {
            return Err(StoreError::Unavailable("connection refused".to_owned()));
        }
        Ok(())
    }

    /// Do something, and let the witness see the answer, which is a linearizable one.
    async fn call<T>(
        &self,
        work: impl FnOnce(&mut Db) -> Result<T, StoreError> + Send,
    ) -> Result<(T, Header), StoreError> {
        let asked = self.client.witness.asking();
        let (result, header) = self.serve(work).await?;
        self.client.witness.answered(asked, &header);
        Ok((result?, header))
    }

    /// The same for leases: their answers prove nothing about a quorum, so the witness is not told.
    async fn lease<T>(
        &self,
        work: impl FnOnce(&mut Db) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        self.serve(work).await?.0
    }

    /// Reach the store and do something there. Outer errors: it was not reached.
    async fn serve<T>(
        &self,
        work: impl FnOnce(&mut Db) -> Result<T, StoreError> + Send,
    ) -> Result<(Result<T, StoreError>, Header), StoreError> {
        self.reach().await?;
        let (result, header) = {
            let mut state = self.state();
            let result = work(&mut state.db);
            self.server.tell(&mut state);
            (result, state.db.header)
        };
        if matches!(&result, Err(StoreError::Full)) {
            self.client.witness.set_full(true);
        }
        Ok((result, header))
    }
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.down {
            state.db.expire(Instant::now());
            self.tell(&mut state);
        }
        state
    }

    /// Tells those whom it concerns what changed.
    fn tell(&self, state: &mut State) {
        let keys = state.db.take_untold();
        self.topics.tell(&keys, state.db.header.revision);
    }

    /// When a lease ends next; `None`: there is none.
    fn reap(&self) -> Option<Instant> {
        let state = self.state();
        // Time stands still meanwhile.
        let down = state.down.then(|| Instant::now() + REAP_DOWN);
        state.db.next_end().map(|end| down.unwrap_or(end))
    }
}

/// Ends leases though nobody asks, until there are none.
async fn reaper(server: Weak<Server>) {
    while let Some(next) = server.upgrade().and_then(|server| {
        let next = server.reap();
        server.reaped.store(next.is_some(), Ordering::Relaxed);
        next
    }) {
        tokio::time::sleep_until(next).await;
    }
}

impl Client {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { witness: Arc::new(Witness::new(seed)), faults: Mutex::default() })
    }

    fn faults(&self) -> MutexGuard<'_, faults::Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn witness(&self) -> &Arc<Witness> {
        &self.client.witness
    }

    async fn get(&self, key: &Key) -> Result<(Option<Kv>, Header), StoreError> {
        let key = key.to_string();
        self.call(|db| Ok(db.get(&key))).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let (kvs, header) = self.call(|db| Ok(db.list(prefix))).await?;
        Ok(Listing { kvs, header })
    }

    async fn commit(&self, txn: &Txn) -> Result<Committed, StoreError> {
        self.client.faults().on_write(txn)?;
        let unknown = self.client.faults().on_commit();
        if unknown == Some(UnknownOutcome::NotDone) {
            return Err(StoreError::Unknown("the answer was lost".to_owned()));
        }
        let (committed, _) = self.call(|db| commit(db, txn)).await?;
        if unknown == Some(UnknownOutcome::Done) {
            return Err(StoreError::Unknown("the answer was lost".to_owned()));
        }
        if committed.succeeded && !txn.writes().is_empty() {
            self.client.witness.wrote(committed.header.revision, txn.written());
            self.client.witness.set_full(false);
        }
        Ok(committed)
    }

    async fn watch(&self, prefix: &str, revision: i64) -> Result<Box<dyn Watch>, StoreError> {
        self.reach().await?;
        let boots = self.state().boots;
        let topic = self.server.topics.of(prefix);
        let ticks = topic.tick.listen();
        let (store, prefix) = (self.clone(), prefix.to_owned());
        Ok(Box::new(MemoryWatch { store, prefix, seen: revision, is_new: true, boots, topic, ticks }))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let lease = self.lease(|db| db.grant(ttl)).await?;
        if !self.server.reaped.swap(true, Ordering::Relaxed) {
            tokio::spawn(reaper(Arc::downgrade(&self.server)));
        }
        Ok(lease)
    }

    async fn renew(&self, lease: i64) -> Result<Duration, StoreError> {
        self.lease(|db| db.renew(lease)).await
    }

    async fn revoke(&self, lease: i64) -> Result<(), StoreError> {
        self.lease(|db| db.revoke(lease)).await
    }

    async fn versions(&self) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(self.server.versions.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn commit(db: &mut Db, txn: &Txn) -> Result<Committed, StoreError> {
    db.check(txn)?;
    let succeeded = txn.compares().iter().all(|compare| db.holds(compare));
    if succeeded {
        db.apply(txn.writes());
    }
    let reads = txn.reads().iter().map(|key| db.get(key)).collect();
    Ok(Committed { succeeded, reads, header: db.header })
}

struct MemoryWatch {
    store: MemoryStore,
    prefix: String,
    seen: i64,
    /// It has not looked yet.
    is_new: bool,
    boots: u64,
    topic: Arc<Topic>,
    ticks: Ticks,
}

impl MemoryWatch {
    /// What there is by now.
    fn look(&mut self) -> Result<Changes, StoreError> {
        self.ticks.skip();
        if self.store.client.faults().silent() {
            return Ok(Changes { changes: Vec::new(), header: Header::default() });
        }
        let state = self.store.state();
        if state.down || state.boots != self.boots || self.store.client.faults().cut_off() {
            return Err(StoreError::Unavailable("the stream broke".to_owned()));
        }
        // Whoever follows is told at once, and misses nothing by a compaction.
        let quiet = !self.is_new && self.topic.is_quiet(self.seen);
        let changes = if quiet { Vec::new() } else { state.db.since(&self.prefix, self.seen)? };
        self.is_new = false;
        self.seen = self.seen.max(state.db.header.revision);
        Ok(Changes { changes, header: state.db.header })
    }
}

#[async_trait]
impl Watch for MemoryWatch {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        loop {
            let changes = self.look()?;
            if !changes.changes.is_empty() {
                self.store.client.witness.heard(&changes.header);
                return Ok(changes);
            }
            self.ticks.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_runtime::store::TxnBuilder;
    use tokio::time::timeout;

    use super::*;

    async fn put(store: &MemoryStore, key: &str) {
        let txn = TxnBuilder::new().put(&key.parse().unwrap(), "{}").build().unwrap();
        assert!(store.commit(&txn).await.unwrap().succeeded);
    }

    #[tokio::test(start_paused = true)]
    async fn who_watches_is_told_of_its_prefix_and_misses_nothing_by_a_compaction() {
        let store = MemoryStore::new(1);
        let mut watch = store.watch("pins/", store.revision()).await.unwrap();
        let within = Duration::from_secs(1);
        assert!(timeout(within, watch.next()).await.is_err());
        for _ in 0..5 {
            put(&store, "brake").await;
        }
        // It has not looked since, and nothing of it was compacted.
        store.compact(store.revision());
        assert!(timeout(within, watch.next()).await.is_err());
        put(&store, "pins/shop/web").await;
        let changes = timeout(within, watch.next()).await.unwrap().unwrap().changes;
        assert_eq!(changes.iter().map(Change::key).collect::<Vec<_>>(), ["pins/shop/web"]);
        put(&store, "pins/shop/web").await;
        put(&store, "brake").await;
        store.compact(store.revision());
        let late = timeout(within, watch.next()).await.unwrap();
        assert!(matches!(late, Err(StoreError::Compacted(_))), "what it was to be told was compacted");
        let mut new = store.watch("pins/", 1).await.unwrap();
        let late = timeout(within, new.next()).await.unwrap();
        assert!(matches!(late, Err(StoreError::Compacted(_))), "so it is for one that begins that far back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_in_time_though_nobody_asks() {
        let store = MemoryStore::new(1);
        let lease = store.grant(Duration::from_secs(5)).await.unwrap();
        let key: Key = "alive/h1".parse().unwrap();
        let txn = TxnBuilder::new().put_leased(&key, "{}", lease.id).build().unwrap();
        store.commit(&txn).await.unwrap();
        let mut watch = store.watch("alive/", store.revision()).await.unwrap();
        let began = Instant::now();
        watch.next().await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        // Once more, after there was none for a while.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let lease = store.grant(Duration::from_secs(5)).await.unwrap();
        store.commit(&TxnBuilder::new().put_leased(&key, "{}", lease.id).build().unwrap()).await.unwrap();
        watch.next().await.unwrap();
        timeout(Duration::from_millis(5001), watch.next()).await.unwrap().unwrap();
    }
}
