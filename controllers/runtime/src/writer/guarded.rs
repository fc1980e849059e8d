//! How one transaction goes through: link up with the guard, send, judge, and read back.

use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::record::{EVENT_RING, Writer as Guard};
use tokio::time::{Instant, sleep};

use super::chain::{Judgement, LastWrite, Link, Pending, contradicts};
use super::{Inner, Outcome, Trust, WriteError};
use crate::backoff::Backoff;
use crate::store::{Committed, Kv, MAX_BYTES, MAX_WRITES, StoreError, Txn, TxnBuilder};
use crate::verify::identity;

/// How long an outcome that is not known is read back before the caller is told so.
const READ_BACK: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Room that is left for events and the guard in a transaction's bytes.
const EVENT_BYTES: usize = 64 * 1024;

impl Inner {
    pub(super) async fn commit(&self, txn: TxnBuilder) -> Result<Outcome, WriteError> {
        let mut chain = self.chain.lock().await;
        self.check_trust()?;
        let mut link = self.link_up(&mut chain).await?;
        if link.pending.is_some() {
            // What became of it concerns nobody any more, but the guard does.
            let settled = self.read_back(&mut link).await;
            *chain = Some(link.clone());
            settled?;
        }
        let txn = self.guarded(txn, &mut link)?;
        // From here on the outcome is not known until an answer says so, even if this future is dropped.
        *chain = Some(link.clone());
        let result = self.store.commit(&txn).await;
        let outcome = self.judge(&mut link, result).await;
        *chain = Some(link);
        outcome
    }

    pub(super) async fn flush(&self) -> Result<(), WriteError> {
        for _ in 0..3 {
            if self.events().due().is_none() {
                break;
            }
            if let Outcome::Done { .. } = self.commit(TxnBuilder::new()).await? {
                break;
            }
        }
        Ok(())
    }

    /// Look where the chain is though there is nothing to write, so that a writer that has become quiet does
    /// not leave a report of distrust behind; whether that is settled. Before there is a memory to compare
    /// with it is not.
    pub(super) async fn look_back(&self) -> bool {
        if self.kept().memory.is_none() {
            return false;
        }
        let mut chain = self.chain.lock().await;
        self.check_trust().is_ok() && self.link_up(&mut chain).await.is_ok()
    }

    fn check_trust(&self) -> Result<(), WriteError> {
        match self.store.witness().trust() {
            Trust::Trusted => Ok(()),
            Trust::Untrusted { why } => Err(WriteError::Untrusted(why)),
        }
    }

    fn distrust(&self, why: String) -> WriteError {
        self.store.witness().distrust(format!("{} on {}: {why}", self.controller, self.host));
        WriteError::Untrusted(why)
    }

    /// Where the chain is; read from the store if this process does not know yet, or not any more.
    async fn link_up(&self, chain: &mut Option<Link>) -> Result<Link, WriteError> {
        let generation = self.store.witness().generation();
        if let Some(link) = chain.as_ref().filter(|link| link.generation == generation) {
            return Ok(link.clone());
        }
        let report = Key::Distrust(self.host.clone(), self.controller);
        let read = TxnBuilder::new().get(&self.guard()).get(&Key::Cluster).get(&report).get(&Key::Halt);
        let committed = self.store.commit(&read.build().map_err(WriteError::Txn)?).await;
        let reads = committed.map_err(WriteError::Store)?.reads;
        let link = self.adopt(&reads, generation);
        let kept = self.kept().memory.as_ref().and_then(|memory| memory.load());
        if let Some(why) = kept.and_then(|kept| contradicts(&kept, &link.last)) {
            return Err(self.distrust(why));
        }
        if let Some(halt) = reads.get(3).and_then(Option::as_ref) {
            return Err(self.halted(halt));
        }
        if reads.get(2).is_some_and(Option::is_some) {
            self.withdraw_distrust().await;
        }
        self.events().settle(false, self.env.now());
        self.left(&link.last);
        *chain = Some(link.clone());
        Ok(link)
    }

    fn adopt(&self, reads: &[Option<Kv>], generation: u64) -> Link {
        let guard = reads.first().and_then(Option::as_ref);
        let read: Option<Guard> = guard.and_then(|kv| serde_json::from_slice(&kv.value).ok());
        let (cluster, epoch) = identity(reads.get(1).and_then(Option::as_ref));
        let last = LastWrite { cluster, epoch, revision: guard.map_or(0, |kv| kv.mod_revision) };
        let (n, event) = read.map_or((0, 0), |guard| (guard.n, guard.event));
        Link { last, n, event, generation, pending: None }
    }

    /// The transaction with its guard and events; it is pending from now on.
    fn guarded(&self, mut txn: TxnBuilder, link: &mut Link) -> Result<Txn, WriteError> {
        let room = MAX_WRITES.saturating_sub(txn.writes() + 1);
        let room = if txn.bytes() + EVENT_BYTES > MAX_BYTES { 0 } else { room };
        let (events, event) = self.events().take(room, link.event, self.env.now());
        for (number, event) in &events {
            let key = Key::Event(self.host.clone(), self.controller, number % EVENT_RING);
            txn = txn.put(&key, json(event));
        }
        let n = link.n + 1;
        let built = self.with_guard(txn, link, n, event).build_within(MAX_WRITES + 1);
        let txn = built.map_err(|error| {
            self.events().settle(false, self.env.now());
            WriteError::Txn(error)
        })?;
        link.pending = Some(Pending { n, fence: n, event, keys: txn.written() });
        Ok(txn)
    }

    fn with_guard(&self, txn: TxnBuilder, link: &Link, n: u64, event: u64) -> TxnBuilder {
        let guard = self.guard();
        let value = json(&Guard { n, process: self.process.clone(), event });
        let txn = txn.if_absent(&Key::Halt).if_unchanged(&guard, link.last.revision).put(&guard, value);
        txn.get(&Key::Halt).get(&Key::Cluster).get(&guard)
    }

    /// What an answer to the pending transaction means.
    async fn judge(
        &self,
        link: &mut Link,
        result: Result<Committed, StoreError>,
    ) -> Result<Outcome, WriteError> {
        match result {
            Ok(committed) => {
                let [.., halt, cluster, guard] = committed.reads.as_slice() else {
                    return Err(WriteError::Store(StoreError::Refused("reads are missing".to_owned())));
                };
                if !committed.succeeded {
                    return self.lost(link, halt.as_ref(), guard.as_ref());
                }
                // An epoch that a person raised while all was well must not excuse what comes later.
                let (uid, epoch) = identity(cluster.as_ref());
                let before = std::mem::replace(&mut link.last.cluster, uid);
                link.last.epoch = epoch;
                if !before.is_empty() && before != link.last.cluster {
                    link.last.cluster = before;
                    let why = "the store has the guard, and is another cluster's".to_owned();
                    return Err(self.distrust(why));
                }
                Ok(self.done(link, committed.header.revision))
            }
            Err(StoreError::Unknown(_)) => self.read_back(link).await,
            // Surely not done.
            Err(error) => {
                self.not_done(link);
                Err(WriteError::Store(error))
            }
        }
    }

    fn done(&self, link: &mut Link, revision: i64) -> Outcome {
        if let Some(pending) = link.pending.take() {
            link.move_to(revision, pending.n, pending.event);
            self.store.witness().wrote(revision, pending.keys);
        }
        self.events().settle(true, self.env.now());
        self.left(&link.last);
        self.news.notify_one();
        Outcome::Done { revision }
    }

    fn not_done(&self, link: &mut Link) {
        link.pending = None;
        self.events().settle(false, self.env.now());
    }

    /// A demand did not hold: guard and halt tell whether it was ours or the caller's.
    fn lost(&self, link: &mut Link, halt: Option<&Kv>, guard: Option<&Kv>) -> Result<Outcome, WriteError> {
        match link.judge(guard, &self.process) {
            Judgement::Done(revision) => return Ok(self.done(link, revision)),
            Judgement::Ours => {}
            Judgement::Moved(revision, guard) => link.move_to(revision, guard.n, guard.event),
            Judgement::Past(why) => {
                self.not_done(link);
                return Err(self.distrust(why));
            }
        }
        self.not_done(link);
        match halt {
            Some(halt) => Err(self.halted(halt)),
            None => Ok(Outcome::Lost),
        }
    }

    /// Somebody saw the store go back.
    fn halted(&self, halt: &Kv) -> WriteError {
        let why = crate::verify::halted(halt);
        self.store.witness().distrust(why.clone());
        WriteError::Untrusted(why)
    }

    /// Find out what became of the pending transaction. A mere read would not do: it may still be on its
    /// way. So the guard is moved on (a fence): if that succeeds, the transaction can never be done.
    async fn read_back(&self, link: &mut Link) -> Result<Outcome, WriteError> {
        let started = Instant::now();
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let Some(pending) = &mut link.pending else { return Ok(Outcome::Lost) };
            pending.fence += 1;
            let fence = pending.fence;
            let txn = self.with_guard(TxnBuilder::new(), link, fence, link.event);
            let error = match self.store.commit(&txn.build().map_err(WriteError::Txn)?).await {
                // Whether it was moved on by the fence or by what it was to fence off, it tells itself.
                Ok(committed) => {
                    let [.., halt, _, guard] = committed.reads.as_slice() else { return Ok(Outcome::Lost) };
                    return self.lost(link, halt.as_ref(), guard.as_ref());
                }
                Err(error) => error,
            };
            let again = matches!(error, StoreError::Unknown(_) | StoreError::Unavailable(_));
            if !again || started.elapsed() >= READ_BACK {
                // Still pending: the next commit goes on from here.
                return Err(WriteError::Store(StoreError::Unknown(error.to_string())));
            }
            sleep(backoff.next(self.store.witness().random())).await;
        }
    }
}

/// Records of ours are always JSON; an empty value would be refused by every reader.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
