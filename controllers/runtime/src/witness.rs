//! What this process knows of the store itself: who it is, how far it was, when it last answered, and
//! whether it is still believed. One for each [`Store`](crate::store::Store), fed by its adapter.
//!
//! A store that was restored or wiped keeps its name, and clients reconnect to it in silence. What gives it
//! away is a number that went back: a revision or a term lower than one seen before the question was asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::latest::{Latest, Listener};
use crate::store::Header;
use crate::writer::LastWrite;
use evenkeel_api::key::Key;

/// Whether the store is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It is.
    Trusted,
    /// It went back to the past, or is another one: nothing may be stopped or removed on its word.
    Untrusted {
        /// What was seen.
        why: String,
    },
}

/// A lower term must stand that long: a member that was cut off may have counted up alone, and the others
/// catch up with it within an election.
const TERM_FELL_FOR: Duration = Duration::from_secs(3);
/// Own writes whose keys are remembered, for those who wait to see them come back.
const REMEMBERED_WRITES: usize = 256;

/// How far the store was when a question was asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    header: Header,
    generation: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Witness {
    state: Mutex<State>,
    trust: Latest<Trust>,
    generation: Latest<u64>,
    chance: Mutex<u64>,
}

#[derive(Debug)]
struct State {
    highest: Header,
    term_fell: Option<Instant>,
    answered: Instant,
    ever: bool,
    full: bool,
    written: VecDeque<(i64, BTreeSet<String>)>,
    /// By guard: what each writer of this process left there.
    marks: BTreeMap<Key, LastWrite>,
    verified: Option<Instant>,
}

impl Witness {
    /// Nothing is known yet. `seed` is for jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(State {
                highest: Header::default(),
                term_fell: None,
                answered: Instant::now(),
                ever: false,
                full: false,
                written: VecDeque::new(),
                marks: BTreeMap::new(),
                verified: None,
            }),
            trust: Latest::new(Trust::Trusted),
            generation: Latest::new(0),
            chance: Mutex::new(seed),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Call before a question; its answer must not be behind this.
    pub fn asking(&self) -> Asked {
        Asked { header: self.state().highest, generation: self.generation.get() }
    }

    /// A linearizable answer came.
    pub fn answered(&self, asked: Asked, header: &Header) {
        let why = {
            let mut state = self.state();
            state.answered = Instant::now();
            state.ever = true;
            if asked.generation != self.generation.get() {
                return;
            }
            let why = contradiction(&mut state, asked.header, header);
            if why.is_none() {
                state.raise(header);
                state.highest.raft_term = state.highest.raft_term.max(header.raft_term);
            }
            why
        };
        if let Some(why) = why {
            self.distrust(why);
        }
    }

    /// A watch told something. It may come from a member that lags, so only the identity can contradict.
    pub fn heard(&self, header: &Header) {
        let mut state = self.state();
        state.answered = Instant::now();
        state.ever = true;
        let known = state.highest.cluster_id;
        if known == 0 || known == header.cluster_id {
            state.raise(header);
        } else {
            drop(state);
            self.distrust(other_cluster(known, header.cluster_id));
        }
    }

    /// How long since the store last proved that it answers; since the process began if it never did.
    pub fn silence(&self) -> Duration {
        self.state().answered.elapsed()
    }

    /// The newest revision that was heard of.
    pub fn revision(&self) -> i64 {
        self.state().highest.revision
    }

    /// Whether it ever answered.
    pub fn ever_answered(&self) -> bool {
        self.state().ever
    }

    /// Whether the store is believed.
    pub fn trust(&self) -> Trust {
        self.trust.get()
    }

    /// Told of every change of trust.
    pub fn trust_changes(&self) -> Listener<Trust> {
        self.trust.listen()
    }

    /// Do not believe the store any more. The first reason stands.
    pub fn distrust(&self, why: String) {
        self.trust.change(|trust| {
            if *trust != Trust::Trusted {
                return false;
            }
            tracing::error!(why, "the store is not trusted any more; nothing will be stopped or removed");
            *trust = Trust::Untrusted { why };
            true
        });
    }

    /// A person decided that the store as it is now is the truth: forget what it was.
    pub fn forgive(&self) {
        {
            let mut state = self.state();
            state.highest = Header::default();
            state.term_fell = None;
            state.written.clear();
            state.verified = None;
        }
        self.generation.change(|generation| {
            *generation += 1;
            true
        });
        self.trust.set(Trust::Trusted);
    }

    /// How often [`Witness::forgive`] has made all that was read before void.
    pub fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Told whenever it does so.
    pub fn generations(&self) -> Listener<u64> {
        self.generation.listen()
    }

    /// We wrote `keys` at `revision`.
    pub fn wrote(&self, revision: i64, keys: BTreeSet<String>) {
        let mut state = self.state();
        state.written.push_back((revision, keys));
        if state.written.len() > REMEMBERED_WRITES {
            state.written.pop_front();
        }
    }

    /// The keys that we wrote at `revision`, if that is remembered.
    pub fn written_at(&self, revision: i64) -> Option<BTreeSet<String>> {
        self.state().written.iter().rev().find(|(at, _)| *at == revision).map(|(_, keys)| keys.clone())
    }

    /// Remember what a writer left in its guard: the store must not be behind that.
    pub fn mark(&self, guard: Key, last: LastWrite) {
        self.state().marks.insert(guard, last);
    }

    /// What all writers of this process left in their guards.
    pub fn marks(&self) -> BTreeMap<Key, LastWrite> {
        self.state().marks.clone()
    }

    /// The marks were just compared with the store.
    pub fn verified(&self) {
        self.state().verified = Some(Instant::now());
    }

    /// How long since the marks were compared with the store; `None`: not in this generation.
    pub fn verified_ago(&self) -> Option<Duration> {
        self.state().verified.map(|at| at.elapsed())
    }

    /// The store said that it is full, or took a write again.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Whether the store said last that it is full.
    pub fn is_full(&self) -> bool {
        self.state().full
    }

    /// The next random number, for jitter.
    pub fn random(&self) -> u64 {
        crate::env::splitmix(&mut self.chance.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn raise(&mut self, header: &Header) {
        self.highest.cluster_id = header.cluster_id;
        self.highest.revision = self.highest.revision.max(header.revision);
    }
}

fn other_cluster(known: u64, now: u64) -> String {
    format!("another etcd cluster answers: {now:x} in place of {known:x}")
}

/// Why this answer cannot come from the store that answered before, if so.
fn contradiction(state: &mut State, asked: Header, header: &Header) -> Option<String> {
    if asked.cluster_id != 0 && header.cluster_id != asked.cluster_id {
        return Some(other_cluster(asked.cluster_id, header.cluster_id));
    }
    if header.revision < asked.revision {
        return Some(format!("etcd went back from revision {} to {}", asked.revision, header.revision));
    }
    if header.raft_term >= asked.raft_term {
        state.term_fell = None;
        return None;
    }
    let since = *state.term_fell.get_or_insert_with(Instant::now);
    (since.elapsed() >= TERM_FELL_FOR)
        .then(|| format!("etcd went back from term {} to {}", asked.raft_term, header.raft_term))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cluster_id: u64, revision: i64, raft_term: u64) -> Header {
        Header { cluster_id, revision, raft_term }
    }

    #[tokio::test(start_paused = true)]
    async fn numbers_that_go_back_cost_the_trust() {
        for (then, now, trusted) in [
            (header(1, 10, 3), header(1, 10, 3), true),
            (header(1, 10, 3), header(1, 12, 4), true),
            (header(1, 10, 3), header(1, 9, 3), false),
            (header(1, 10, 3), header(2, 10, 3), false),
            (header(1, 10, 3), header(1, 10, 2), true),
        ] {
            let witness = Witness::new(0);
            witness.answered(witness.asking(), &then);
            witness.answered(witness.asking(), &now);
            assert_eq!(witness.trust() == Trust::Trusted, trusted, "{then:?} {now:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lower_term_counts_only_if_it_stays() {
        let witness = Witness::new(0);
        witness.answered(witness.asking(), &header(1, 10, 5));
        witness.answered(witness.asking(), &header(1, 10, 4));
        tokio::time::advance(Duration::from_secs(2)).await;
        witness.answered(witness.asking(), &header(1, 10, 4));
        assert_eq!(witness.trust(), Trust::Trusted);
        tokio::time::advance(Duration::from_secs(2)).await;
        witness.answered(witness.asking(), &header(1, 10, 4));
        assert_ne!(witness.trust(), Trust::Trusted);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_measured_by_what_was_known_when_it_was_asked_for() {
        let witness = Witness::new(0);
        witness.answered(witness.asking(), &header(1, 10, 3));
        let slow = witness.asking();
        witness.answered(witness.asking(), &header(1, 20, 3));
        witness.answered(slow, &header(1, 15, 3));
        witness.heard(&header(1, 11, 2));
        assert_eq!(witness.trust(), Trust::Trusted);
        let before = witness.asking();
        witness.distrust("a test".to_owned());
        witness.forgive();
        witness.answered(before, &header(2, 1, 1));
        assert_eq!(witness.trust(), Trust::Trusted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_that_fell_is_forgiven_when_it_is_caught_up_with_within_three_seconds() {
        // When answers of which term come; the last one tells.
        for (answers, trusted) in [
            (vec![(0, 5), (0, 4), (2999, 4)], true),
            (vec![(0, 5), (0, 4), (3000, 4)], false),
            (vec![(0, 5), (0, 4), (2999, 5), (2999, 4)], true),
            (vec![(0, 5), (0, 4), (2999, 6), (1, 5), (2999, 5)], true),
            (vec![(0, 5), (0, 4), (2999, 6), (1, 5), (3000, 5)], false),
        ] {
            let witness = Witness::new(0);
            for (after, term) in &answers {
                tokio::time::advance(Duration::from_millis(*after)).await;
                witness.answered(witness.asking(), &header(1, 10, *term));
            }
            assert_eq!(witness.trust() == Trust::Trusted, trusted, "{answers:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_may_lag_but_not_come_from_another_cluster() {
        let witness = Witness::new(0);
        assert!(!witness.ever_answered());
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(witness.silence(), Duration::from_secs(7));
        witness.heard(&header(1, 20, 3));
        assert!(witness.ever_answered());
        assert_eq!(witness.silence(), Duration::ZERO);
        witness.heard(&header(1, 10, 2));
        assert_eq!(witness.trust(), Trust::Trusted);
        let mut told = witness.trust_changes();
        witness.heard(&header(2, 30, 3));
        let why = "another etcd cluster answers: 2 in place of 1".to_owned();
        assert_eq!((told.has_changed(), told.get()), (true, Trust::Untrusted { why }));
        let witness = Witness::new(0);
        witness.heard(&header(1, 20, 3));
        witness.answered(witness.asking(), &header(1, 19, 3));
        assert_ne!(witness.trust(), Trust::Trusted, "what a watch told binds the answers after it");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_reason_stands_until_a_person_makes_the_past_void() {
        let witness = Witness::new(0);
        let mut generations = witness.generations();
        witness.answered(witness.asking(), &header(1, 10, 3));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(witness.verified_ago(), None);
        witness.verified();
        witness.wrote(10, BTreeSet::new());
        witness.answered(witness.asking(), &header(1, 10, 3));
        assert_eq!((witness.silence(), witness.verified_ago()), (Duration::ZERO, Some(Duration::ZERO)));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(witness.verified_ago(), Some(Duration::from_secs(5)));
        witness.distrust("one".to_owned());
        witness.distrust("two".to_owned());
        assert_eq!(witness.trust(), Trust::Untrusted { why: "one".to_owned() });
        assert!(!generations.has_changed());
        witness.forgive();
        assert_eq!((witness.trust(), witness.generation()), (Trust::Trusted, 1));
        assert_eq!((generations.has_changed(), generations.get()), (true, 1));
        assert_eq!((witness.verified_ago(), witness.written_at(10)), (None, None));
        witness.answered(witness.asking(), &header(2, 1, 1));
        assert_eq!(witness.trust(), Trust::Trusted, "what was before is void");
    }

    #[test]
    fn the_keys_of_the_last_own_writes_are_remembered() {
        let witness = Witness::new(0);
        let key = |n: i64| BTreeSet::from([format!("facts/h{n}")]);
        for n in 1..=257 {
            witness.wrote(n, key(n));
        }
        assert_eq!(witness.written_at(1), None, "the oldest one is forgotten");
        for n in [2, 130, 257] {
            assert_eq!(witness.written_at(n), Some(key(n)));
        }
        assert_eq!(witness.written_at(258), None);
    }

    #[test]
    fn jitter_differs_from_one_time_and_from_one_process_to_the_next() {
        let draw = |seed| {
            let witness = Witness::new(seed);
            [witness.random(), witness.random()]
        };
        let drawn = [draw(1), draw(2)].concat();
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(draw(1), draw(1), "it can be repeated");
    }
}
