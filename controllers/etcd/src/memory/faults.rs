//! How a store in memory is hurt: faults of one client, and of the store itself.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_api::key::prefix::covers;
use evenkeel_runtime::store::{StoreError, Txn};

use super::MemoryStore;
use super::db::Db;

/// What really became of a transaction whose answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownOutcome {
    /// It was done.
    Done,
    /// It was not.
    NotDone,
}

/// A copy of all of a store, to restore it from.
#[derive(Debug, Clone)]
pub struct Snapshot(Db);

/// The faults of one client.
#[derive(Debug, Default)]
pub(super) struct Faults {
    cut_off: bool,
    fail_next: u32,
    unknown_next: VecDeque<UnknownOutcome>,
    delay: Duration,
    forbidden: Option<String>,
}

impl Faults {
    /// Whether this call fails, and after which delay.
    pub fn on_call(&mut self) -> (bool, Duration) {
        let fails = self.cut_off || self.fail_next > 0;
        self.fail_next = self.fail_next.saturating_sub(1);
        (fails, self.delay)
    }

    pub fn on_commit(&mut self) -> Option<UnknownOutcome> {
        self.unknown_next.pop_front()
    }

    pub fn cut_off(&self) -> bool {
        self.cut_off
    }

    /// Whether access control refuses a transaction.
    pub fn on_write(&self, txn: &Txn) -> Result<(), StoreError> {
        let forbidden = |key: &str| self.forbidden.as_ref().is_some_and(|prefix| covers(prefix, key));
        if txn.written().iter().any(|key| forbidden(key)) {
            return Err(StoreError::Refused("etcdserver: permission denied".to_owned()));
        }
        Ok(())
    }

    /// A stalled store's streams stay open and say nothing.
    pub fn silent(&self) -> bool {
        self.delay >= super::CALL_TIMEOUT
    }
}

/// Faults of this client alone.
impl MemoryStore {
    /// The next `calls` calls find nobody.
    pub fn fail_next(&self, calls: u32) {
        self.client.faults().fail_next = calls;
    }

    /// All calls find nobody and all watches end, until it is taken back.
    pub fn cut_off(&self, cut_off: bool) {
        self.client.faults().cut_off = cut_off;
        self.wake();
    }

    /// The answer of the next commit is lost; called again, that of the one after it.
    pub fn lose_next_answer(&self, outcome: UnknownOutcome) {
        self.client.faults().unknown_next.push_back(outcome);
    }

    /// Access control lets it write nothing that `prefix` covers.
    pub fn forbid(&self, prefix: &str) {
        self.client.faults().forbidden = Some(prefix.to_owned());
    }

    /// Every call takes that long; from 2 s on, none is answered and watches fall silent.
    pub fn delay(&self, delay: Duration) {
        self.client.faults().delay = delay;
        self.wake();
    }
}

/// Faults of the store, for all its clients.
impl MemoryStore {
    /// Nobody is answered and no lease ends until it is up again; then all leases start over.
    pub fn set_down(&self, down: bool) {
        let mut state = self.state();
        if state.down && !down {
            state.db.extend_leases();
            state.boots += 1;
        }
        state.down = down;
        drop(state);
        self.wake();
    }

    /// Take no more writes (NOSPACE), or take them again.
    pub fn set_full(&self, full: bool) {
        self.state().db.full = full;
    }

    /// Forget what was before `revision`.
    pub fn compact(&self, revision: i64) {
        self.state().db.compact(revision);
        self.wake();
    }

    /// End all leases at once, though they were renewed: what a stalled leader does when it wakes.
    pub fn kill_all_leases(&self) {
        let mut state = self.state();
        for lease in state.db.leases() {
            let _gone = state.db.revoke(lease);
        }
        self.server.tell(&mut state);
    }

    /// An election: the term rises and all leases start over.
    pub fn elect(&self) {
        let mut state = self.state();
        state.db.header.raft_term += 1;
        state.db.extend_leases();
    }

    /// All of it, to restore later.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.state().db.clone())
    }

    /// Back to a snapshot, with the same cluster id and a restart: clients reconnect in silence.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.become_db(snapshot.0.clone());
    }

    /// Back to a snapshot whose revision was raised by so much, with all before compacted.
    pub fn restore_bumped(&self, snapshot: &Snapshot, by: i64) {
        let mut db = snapshot.0.clone();
        db.header.revision += by;
        db.compact(db.header.revision);
        self.become_db(db);
    }

    /// Back to nothing, with the same cluster id.
    pub fn wipe(&self) {
        let cluster_id = self.state().db.header.cluster_id;
        self.become_db(Db::new(cluster_id));
    }

    /// Another cluster in its place, empty.
    pub fn replace(&self, cluster_id: u64) {
        self.become_db(Db::new(cluster_id));
    }

    fn become_db(&self, mut db: Db) {
        db.extend_leases();
        let mut state = self.state();
        db.grants_after(&state.db);
        state.db = db;
        state.boots += 1;
        drop(state);
        self.wake();
    }
}
