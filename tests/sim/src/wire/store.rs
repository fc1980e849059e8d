//! The store as one life of a host's controllers sees it, over a network that is not always well.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::access::{self, Grant};
use evenkeel_api::key::Key;
use evenkeel_etcd::MemoryStore;
use evenkeel_runtime::store::{
    Changes, Committed, Header, Kv, Lease, Listing, Op, Store, StoreError, Txn, Watch,
};
use evenkeel_runtime::tick::{Tick, Ticks};
use evenkeel_runtime::witness::Witness;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::judge::Judge;
use crate::life::{Life, Point};

use super::members::{Connection, Stream};

/// What is wrong between a host and the store, in thousandths of calls or events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WireFaults {
    /// Nobody is reached.
    pub cut: Option<Cut>,
    /// Calls that find nobody.
    pub refused: u64,
    /// Writes whose answer is lost.
    pub lost_answers: u64,
    /// The most that a call takes longer, in milliseconds.
    pub slow_ms: u64,
    /// The most that watch events come later than they happen, in milliseconds.
    pub lag_ms: u64,
    /// Watch events that are missed.
    pub missed: u64,
    /// Watch events that come twice, the second time late.
    pub replayed: u64,
    /// Watch streams that end after an event.
    pub closed: u64,
}

/// How nobody is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It is said at once.
    Refused,
    /// Nothing is ever heard.
    Silent,
}

/// The way between a host and the store.
#[derive(Debug, Default)]
pub struct Wire {
    faults: Mutex<WireFaults>,
    changed: Arc<Tick>,
    /// When a watch last missed an event.
    missed: Mutex<Option<Instant>>,
}

impl Wire {
    /// What is wrong with it.
    pub fn faults(&self) -> WireFaults {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes that.
    pub fn set(&self, change: impl FnOnce(&mut WireFaults)) {
        change(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.tell();
    }

    /// Whether a watch has missed an event that a later list has perhaps not yet made good.
    pub fn is_misled(&self) -> bool {
        let missed = *self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.is_some_and(|at| at.elapsed() < RELISTED)
    }

    fn misses(&self) {
        *self.missed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Until nobody is reached, and that is noticed.
    async fn breaks(&self, changed: &mut Ticks) {
        while self.faults().cut.is_none() {
            changed.changed().await;
        }
        if self.faults().cut == Some(Cut::Silent) {
            tokio::time::sleep(SILENCE).await;
        }
    }
}

/// A list is compared with what was watched within that time.
const RELISTED: Duration = Duration::from_secs(610);
/// How long a call waits for an answer, as the real adapter's.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Clone)]
pub struct LifeStore {
    store: MemoryStore,
    life: Life,
    wire: Arc<Wire>,
    connection: Arc<Connection>,
    chance: Arc<Mutex<Chance>>,
    judge: Arc<Judge>,
    /// What its roles allow whoever has this handle.
    grants: Arc<[Grant]>,
    /// What the roles of all who share the connection allow.
    shared: Arc<[Grant]>,
}

impl fmt::Debug for LifeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LifeStore({})", self.life.who())
    }
}

impl LifeStore {
    /// For one life: `store` is a client of its own. `wire`: of the host.
    pub fn new(
        store: MemoryStore,
        life: Life,
        wire: Arc<Wire>,
        connection: Connection,
        chance: Chance,
        judge: Arc<Judge>,
    ) -> Self {
        let (connection, chance) = (Arc::new(connection), Arc::new(Mutex::new(chance)));
        Self { store, life, wire, connection, chance, judge, grants: Arc::default(), shared: Arc::default() }
    }

    /// For whoever has those rights, on a connection of all who have `shared`.
    pub fn with(&self, grants: Arc<[Grant]>, shared: Arc<[Grant]>) -> Arc<Self> {
        Arc::new(Self { grants, shared, ..self.clone() })
    }

    /// A store with access control refuses what no role allows: nobody may ask for it.
    fn checks(&self, asked: &str, write: bool) {
        self.checks_by(&self.grants, asked, write);
    }

    fn checks_by(&self, grants: &[Grant], asked: &str, write: bool) {
        if !access::allow(grants, asked, write) {
            let verb = if write { "writes" } else { "reads" };
            let what = format!("{} {verb} {asked}", self.life.who());
            self.life.timeline().violated("least rights", &what);
        }
    }

    fn checks_all(&self, txn: &Txn) {
        for op in txn.writes() {
            match op {
                Op::Put(key, ..) | Op::Delete(key) => self.checks(key, true),
                Op::Get(key) => self.checks(key, false),
            }
        }
        txn.compares().iter().for_each(|compare| self.checks(compare.key(), false));
        // Whether the store went back is asked for a connection as a whole, by what all on it left there.
        let grants = if txn.writes().is_empty() { &self.shared } else { &self.grants };
        txn.reads().iter().for_each(|key| self.checks_by(grants, key, false));
    }

    fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> WireFaults {
        self.wire.faults()
    }

    /// On its way there, until it is decided upon.
    async fn go(&self) -> Result<(), StoreError> {
        self.travel().await?;
        self.connection.reach().await.map_err(|(error, _)| error)
    }

    /// On its way there.
    async fn travel(&self) -> Result<(), StoreError> {
        if !self.life.turn().await {
            return Err(dead());
        }
        let faults = self.faults();
        let (takes, refused) = {
            let mut chance = self.chance();
            (chance.ms(1, 3 + faults.slow_ms), chance.permille(faults.refused))
        };
        tokio::time::sleep(takes).await;
        if self.life.is_dead() {
            return Err(dead());
        }
        match self.faults().cut {
            Some(Cut::Silent) => {
                tokio::time::sleep(SILENCE).await;
                return Err(StoreError::Unknown("no answer in time".to_owned()));
            }
            Some(Cut::Refused) => return Err(StoreError::Unavailable("no route to host".to_owned())),
            None => {}
        }
        if refused {
            return Err(StoreError::Unavailable("the network refuses".to_owned()));
        }
        Ok(())
    }

    /// On its way back, once the member has applied it.
    async fn come<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let lag = self.connection.lag();
        if !lag.is_zero() {
            tokio::time::sleep(lag.min(SILENCE)).await;
        }
        if lag >= SILENCE {
            return self.back(Err(StoreError::Unknown("no answer in time".to_owned()))).await;
        }
        self.back(answer).await
    }

    async fn back<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if self.life.turn().await { answer } else { Err(dead()) }
    }

    /// The store decides upon a transaction.
    async fn decide(&self, txn: &Txn, what: &str) -> Result<Committed, StoreError> {
        let done = self.store.commit(txn).await;
        if let Ok(committed) = &done
            && !txn.writes().is_empty()
        {
            let timeline = self.life.timeline();
            if committed.succeeded {
                timeline.say(self.life.who(), &format!("{} {what}", committed.header.revision));
                self.judge.committed(&self.life, txn, committed);
            } else {
                timeline.say(self.life.who(), &format!("lost {what}"));
            }
        }
        done
    }

    /// Nobody waits for it any more; whether it is decided upon in the end is chance.
    fn decide_late(&self, at: Instant, txn: &Txn, what: &str) {
        if self.chance().permille(500) {
            return;
        }
        let (own, txn, what) = (self.clone(), txn.clone(), what.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            let _nobody_hears = own.decide(&txn, &what).await;
        });
    }
}

fn dead() -> StoreError {
    StoreError::Unavailable("this process is dead".to_owned())
}

/// What a transaction writes, in one line.
fn said(txn: &Txn) -> String {
    let words = txn.writes().iter().filter_map(|op| match op {
        Op::Put(key, ..) | Op::Delete(key) if key.starts_with("writers/") => None,
        Op::Put(key, ..) => Some(format!("+{key}")),
        Op::Delete(key) => Some(format!("-{key}")),
        Op::Get(_) => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl Store for LifeStore {
    fn witness(&self) -> &Arc<Witness> {
        self.store.witness()
    }

    async fn get(&self, key: &Key) -> Result<(Option<Kv>, Header), StoreError> {
        self.checks(&key.to_string(), false);
        self.go().await?;
        self.come(self.store.get(key).await).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.checks(prefix, false);
        self.go().await?;
        self.come(self.store.list(prefix).await).await
    }

    async fn commit(&self, txn: &Txn) -> Result<Committed, StoreError> {
        self.checks_all(txn);
        self.travel().await?;
        let writes = !txn.writes().is_empty();
        let what = if writes { said(txn) } else { String::new() };
        if writes && !self.life.passes(Point::Before, &what) {
            return Err(dead());
        }
        if let Err((error, late)) = self.connection.reach().await {
            late.into_iter().for_each(|at| self.decide_late(at, txn, &what));
            return Err(error);
        }
        let done = self.decide(txn, &what).await;
        if writes && !self.life.passes(Point::After, &what) {
            return Err(dead());
        }
        let lost = writes && {
            let permille = self.faults().lost_answers;
            self.chance().permille(permille)
        };
        if lost && done.is_ok() {
            tokio::time::sleep(Duration::from_secs(2)).await;
            return self.come(Err(StoreError::Unknown("the answer was lost".to_owned()))).await;
        }
        self.come(done).await
    }

    async fn watch(&self, prefix: &str, revision: i64) -> Result<Box<dyn Watch>, StoreError> {
        self.checks(prefix, false);
        self.go().await?;
        let watch = self.store.watch(prefix, revision).await?;
        let (changed, stream) = (self.wire.changed.listen(), self.connection.stream());
        let of = self.clone();
        Ok(Box::new(LifeWatch { watch, of, ready: Vec::new(), again: None, closes: false, changed, stream }))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.go().await?;
        if !self.life.passes(Point::Before, "grant") {
            return Err(dead());
        }
        let done = self.store.grant(ttl).await;
        if !self.life.passes(Point::After, "grant") {
            return Err(dead());
        }
        self.come(done).await
    }

    async fn renew(&self, lease: i64) -> Result<Duration, StoreError> {
        self.go().await?;
        // The leader's own answer.
        self.back(self.store.renew(lease).await).await
    }

    async fn revoke(&self, lease: i64) -> Result<(), StoreError> {
        self.go().await?;
        self.come(self.store.revoke(lease).await).await
    }
}

struct LifeWatch {
    watch: Box<dyn Watch>,
    of: LifeStore,
    /// Taken from the stream, and not handed over yet: [`Watch::next`] is cancel-safe.
    ready: Vec<(Instant, Changes)>,
    /// Comes once more, after the next.
    again: Option<Changes>,
    closes: bool,
    changed: Ticks,
    stream: Stream,
}

#[async_trait]
impl Watch for LifeWatch {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        loop {
            if !self.of.life.turn().await {
                return Err(dead());
            }
            if let Some((due, _)) = self.ready.last() {
                tokio::time::sleep_until(*due).await;
                if let Some((_, changes)) = self.ready.pop() {
                    return Ok(changes);
                }
            }
            if std::mem::take(&mut self.closes) {
                return Err(StoreError::Unavailable("the stream ended".to_owned()));
            }
            // Both are cancel-safe.
            let changes = tokio::select! { biased;
                () = self.of.wire.breaks(&mut self.changed) => {
                    return Err(StoreError::Unavailable("the way to the member is cut".to_owned()));
                }
                () = self.stream.breaks() => {
                    return Err(StoreError::Unavailable("the member does not answer any more".to_owned()));
                }
                changes = self.watch.next() => changes?,
            };
            let faults = self.of.faults();
            let mut chance = self.of.chance();
            let (missed, replayed) = (chance.permille(faults.missed), chance.permille(faults.replayed));
            self.closes = chance.permille(faults.closed);
            let due = Instant::now() + chance.ms(0, faults.lag_ms) + self.stream.lag();
            drop(chance);
            if missed {
                self.of.wire.misses();
                self.of.life.timeline().say(self.of.life.who(), "a watch missed an event");
                continue;
            }
            // Handed out from the end: first what is new, then what was before.
            self.ready.extend(self.again.take().map(|again| (due, again)));
            if replayed {
                self.again = Some(changes.clone());
            }
            self.ready.push((due, changes));
        }
    }
}
