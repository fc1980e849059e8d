//! What a mirror holds. Changes come in by [`State::apply`] and [`State::swap`] alone, and both tell the
//! subscribers exactly the keys that differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use evenkeel_api::key::prefix;
use tokio::sync::Notify;

use crate::store::{Change, Changes, Kv, Listing, Store};
use crate::tick::Tick;

pub(super) struct Shared {
    pub store: Arc<dyn Store>,
    state: Mutex<State>,
    tick: Arc<Tick>,
    warned: Mutex<BTreeMap<String, i64>>,
}

impl Shared {
    pub fn new(store: Arc<dyn Store>, prefixes: Vec<String>) -> Self {
        let mut kept: BTreeMap<String, Progress> = BTreeMap::new();
        // Sorted, so that a prefix comes before all that it covers.
        for prefix in prefixes.into_iter().collect::<BTreeSet<_>>() {
            if !kept.keys().any(|known| prefix::covers(known, &prefix)) {
                kept.insert(prefix, Progress::default());
            }
        }
        let state = State {
            kvs: BTreeMap::new(),
            deleted: BTreeMap::new(),
            understood: BTreeMap::new(),
            prefixes: kept,
            subscribers: Vec::new(),
        };
        Self { store, state: Mutex::new(state), tick: Arc::default(), warned: Mutex::default() }
    }

    pub fn prefixes(&self) -> Vec<String> {
        self.lock().prefixes.keys().cloned().collect()
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Change the state, and wake those who wait for that.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.tick.tell();
        result
    }

    pub async fn until(&self, reached: impl Fn(&State) -> bool) {
        let mut ticks = self.tick.listen();
        while !reached(&self.lock()) {
            ticks.changed().await;
        }
    }

    /// Once for each version of a value: a broken value is read again and again.
    pub fn warn_once(&self, kv: &Kv, why: &dyn fmt::Display) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(kv.key.clone(), kv.mod_revision) != Some(kv.mod_revision) {
            tracing::warn!(
                key = kv.key,
                revision = kv.mod_revision,
                %why,
                "a value cannot be read; what was known before holds"
            );
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    revision: i64,
    synced: bool,
    /// The store's generation in which it was listed last.
    generation: u64,
}

/// So many deletions are remembered. One command may delete thousands of documents.
const DELETIONS: usize = 16_384;

pub(super) struct State {
    kvs: BTreeMap<String, Kv>,
    /// The revisions of deletions.
    deleted: BTreeMap<String, i64>,
    /// The last value of each key that a reader understood; most often the very bytes that stand there.
    understood: BTreeMap<String, Bytes>,
    prefixes: BTreeMap<String, Progress>,
    pub subscribers: Vec<Weak<Inbox>>,
}

impl State {
    pub fn is_synced(&self) -> bool {
        self.prefixes.values().all(|progress| progress.synced)
    }

    pub fn get(&self, key: &str) -> Option<&Kv> {
        self.kvs.get(key)
    }

    /// A reader understood this value.
    pub fn understood(&mut self, kv: &Kv) {
        // Not if it was read before it went, and told after.
        if self.kvs.contains_key(&kv.key) && self.understood.get(&kv.key) != Some(&kv.value) {
            self.understood.insert(kv.key.clone(), kv.value.clone());
        }
    }

    /// What was last understood under `key`, as long as there is such a key.
    pub fn last_understood(&self, key: &str) -> Option<Bytes> {
        self.understood.get(key).cloned()
    }

    pub fn list<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Kv> {
        let from = self.kvs.range(prefix.to_owned()..);
        from.take_while(move |(key, _)| prefix::covers(prefix, key)).map(|(_, kv)| kv)
    }

    /// How far a prefix is; none before its first list.
    pub fn revision(&self, prefix: &str) -> Option<i64> {
        self.prefixes.get(prefix).filter(|progress| progress.synced).map(|progress| progress.revision)
    }

    /// Whether a change of `key` at `revision` would be here; also for keys that are not mirrored.
    pub fn has_seen(&self, key: &str, revision: i64) -> bool {
        let mine = self.prefixes.iter().filter(|(prefix, _)| prefix::covers(prefix, key));
        mine.into_iter().all(|(_, progress)| progress.synced && progress.revision >= revision)
    }

    pub fn all_seen(&self, revision: i64) -> bool {
        self.prefixes.values().all(|progress| progress.revision >= revision)
    }

    /// Changes from a watch. What is at or below the seen revision is a repetition.
    pub fn apply(&mut self, prefix: &str, changes: Changes) {
        let Some(progress) = self.prefixes.get_mut(prefix) else { return };
        let seen = progress.revision;
        let mut keys = BTreeSet::new();
        for change in changes.changes.into_iter().filter(|change| change.mod_revision() > seen) {
            progress.revision = progress.revision.max(change.mod_revision());
            keys.insert(change.key().to_owned());
            match change {
                Change::Put(kv) => {
                    self.deleted.remove(&kv.key);
                    self.kvs.insert(kv.key.clone(), kv);
                }
                Change::Delete { key, mod_revision } => {
                    self.kvs.remove(&key);
                    self.understood.remove(&key);
                    self.deleted.insert(key, mod_revision);
                }
            }
        }
        self.forget_deletions();
        self.tell(&keys);
    }

    /// The oldest generation in which a prefix was listed.
    pub fn generation(&self) -> Option<u64> {
        let synced = self.is_synced();
        self.prefixes.values().map(|progress| progress.generation).min().filter(|_| synced)
    }

    /// A whole list of that generation in place of what was there.
    pub fn swap(&mut self, prefix: &str, listing: Listing, generation: u64) {
        let new: BTreeMap<String, Kv> = listing.kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        let gone = self.list(prefix).filter(|kv| !new.contains_key(&kv.key)).map(|kv| kv.key.clone());
        let mut keys: BTreeSet<String> = gone.collect();
        for key in &keys {
            self.kvs.remove(key);
            self.understood.remove(key);
        }
        for (key, kv) in new {
            if self.kvs.get(&key) != Some(&kv) {
                keys.insert(key.clone());
                self.deleted.remove(&key);
                self.kvs.insert(key, kv);
            }
        }
        let progress = Progress { revision: listing.header.revision, synced: true, generation };
        self.prefixes.insert(prefix.to_owned(), progress);
        self.tell(&keys);
    }

    pub fn deleted_at(&self, key: &str) -> Option<i64> {
        self.deleted.get(key).copied()
    }

    /// The older half goes when there are too many.
    fn forget_deletions(&mut self) {
        if self.deleted.len() <= DELETIONS {
            return;
        }
        let mut revisions: Vec<i64> = self.deleted.values().copied().collect();
        let (_, middle, _) = revisions.select_nth_unstable(DELETIONS / 2);
        let middle = *middle;
        self.deleted.retain(|_, revision| *revision > middle);
    }

    fn tell(&mut self, keys: &BTreeSet<String>) {
        if keys.is_empty() {
            return;
        }
        self.subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(inbox) => {
                inbox.put(keys);
                true
            }
            None => false,
        });
    }
}

/// Keys that wait for one subscriber.
#[derive(Default)]
pub(super) struct Inbox {
    keys: Mutex<BTreeSet<String>>,
    pub arrived: Notify,
}

impl Inbox {
    fn put(&self, keys: &BTreeSet<String>) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).extend(keys.iter().cloned());
        // One permit is kept if nobody waits yet, so a change between two calls is not lost.
        self.arrived.notify_one();
    }

    pub fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Header;

    fn state(prefixes: &[&str]) -> State {
        State {
            kvs: BTreeMap::new(),
            deleted: BTreeMap::new(),
            understood: BTreeMap::new(),
            prefixes: prefixes.iter().map(|prefix| ((*prefix).to_owned(), Progress::default())).collect(),
            subscribers: Vec::new(),
        }
    }

    fn kv(key: &str, mod_revision: i64) -> Kv {
        Kv { key: key.to_owned(), value: Bytes::from("7"), create_revision: 1, mod_revision, lease: 0 }
    }

    fn listing(revision: i64, kvs: &[Kv]) -> Listing {
        Listing { kvs: kvs.to_vec(), header: Header { revision, ..Header::default() } }
    }

    fn changes(changes: Vec<Change>) -> Changes {
        Changes { changes, header: Header::default() }
    }

    fn subscribe(state: &mut State) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::default());
        state.subscribers.push(Arc::downgrade(&inbox));
        inbox
    }

    #[test]
    fn the_older_half_of_the_deletions_is_forgotten_when_there_are_too_many() {
        let most = i64::try_from(DELETIONS).unwrap();
        let key = |n: i64| format!("a/{n}");
        for (deleted, forgotten) in [(most, 0), (most + 1, most / 2 + 1)] {
            let mut state = state(&["a/"]);
            let delete = |n| Change::Delete { key: key(n), mod_revision: n };
            state.apply("a/", changes((1..=deleted).map(delete).collect()));
            let gone = (1..=deleted).filter(|n| state.deleted_at(&key(*n)) != Some(*n));
            assert_eq!(gone.collect::<Vec<_>>(), (1..=forgotten).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_repetition_is_no_change() {
        let mut state = state(&["a/"]);
        state.swap("a/", listing(10, &[kv("a/1", 10)]), 0);
        let inbox = subscribe(&mut state);
        state.apply("a/", changes(vec![Change::Put(kv("a/1", 9)), Change::Put(kv("a/2", 10))]));
        assert_eq!((inbox.take().len(), state.get("a/1").unwrap().mod_revision), (0, 10));
        // Changes of one revision come together.
        state.apply("a/", changes(vec![Change::Put(kv("a/2", 11)), Change::Put(kv("a/3", 11))]));
        assert_eq!(inbox.take(), ["a/2".to_owned(), "a/3".to_owned()].into());
        assert_eq!(state.revision("a/"), Some(11));
        state.apply("b/", changes(vec![Change::Put(kv("b/1", 12))]));
        assert!(state.get("b/1").is_none(), "nobody asked for it");
    }

    #[test]
    fn a_list_tells_what_differs_and_what_it_lacks_is_gone() {
        let mut state = state(&["a/"]);
        state.swap("a/", listing(10, &[kv("a/1", 3), kv("a/2", 4), kv("a/3", 5)]), 0);
        state.understood(&kv("a/3", 5));
        let inbox = subscribe(&mut state);
        state.swap("a/", listing(20, &[kv("a/1", 3), kv("a/2", 15), kv("a/4", 16)]), 0);
        assert_eq!(inbox.take(), ["a/2", "a/3", "a/4"].map(str::to_owned).into());
        let keys: Vec<&str> = state.list("a/").map(|kv| kv.key.as_str()).collect();
        assert_eq!(keys, ["a/1", "a/2", "a/4"]);
        assert_eq!(state.last_understood("a/3"), None);
        state.understood(&kv("a/3", 5));
        assert_eq!(state.last_understood("a/3"), None, "it was read before it went");
        state.understood(&kv("a/1", 3));
        assert_eq!(state.last_understood("a/1"), Some(Bytes::from("7")));
    }

    #[test]
    fn nothing_is_seen_before_the_first_list_and_all_is_as_old_as_its_oldest_part() {
        let mut state = state(&["a/", "b/"]);
        assert_eq!((state.revision("a/"), state.generation(), state.is_synced()), (None, None, false));
        assert!(!state.has_seen("a/1", 0) && state.has_seen("c/1", 99));
        state.swap("a/", listing(10, &[]), 2);
        assert_eq!((state.revision("a/"), state.generation(), state.is_synced()), (Some(10), None, false));
        assert!(state.has_seen("a/1", 10) && !state.has_seen("a/1", 11) && !state.has_seen("b/1", 1));
        assert!(!state.all_seen(10));
        state.swap("b/", listing(12, &[]), 1);
        assert_eq!((state.generation(), state.is_synced()), (Some(1), true));
        assert!(state.all_seen(10) && !state.all_seen(11));
    }
}
