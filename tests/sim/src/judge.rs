//! What must hold, looked at from outside: the store's keys, what engines run, what names say. Controllers
//! are never asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_engine::FakeEngine;
use evenkeel_plan::instance::container::{ContainerState, label};
use evenkeel_runtime::store::{Committed, Compare, Op, Txn};

use crate::life::Life;
use crate::timeline::Timeline;

/// Engine calls that change something, of one host, within a minute: above that it is a storm.
const CALLS_A_MINUTE: usize = 400;
/// Writes of one host, within a minute.
const WRITES_A_MINUTE: usize = 1500;

/// See the module.
pub struct Judge {
    timeline: Timeline,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The records that the store confirmed to a life of a host, by the record's key: at which revision.
    confirmed: BTreeMap<(String, String), i64>,
    calls: BTreeMap<String, Minute>,
    writes: BTreeMap<String, Minute>,
    mutations: u64,
    /// While the store is in the past: the records that said before that their copies are to run.
    past: Option<BTreeSet<String>>,
    /// By service: what there was at each look of the last while, while all was calm.
    available: BTreeMap<String, Vec<Available>>,
}

/// How many copies of a service there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// When.
    pub at: Duration,
    /// How many were wanted.
    pub wanted: usize,
    /// Which ran and were well.
    pub well: BTreeSet<String>,
}

/// A rollout that waits, waits that long before anything is said of it.
const LASTING: Duration = Duration::from_secs(20);

/// How often something happened within the last minute.
#[derive(Default)]
struct Minute(std::collections::VecDeque<Duration>);

impl Minute {
    fn count(&mut self, now: Duration) -> usize {
        self.0.push_back(now);
        while self.0.front().is_some_and(|first| *first + Duration::from_secs(60) < now) {
            self.0.pop_front();
        }
        self.0.len()
    }
}

impl Judge {
    /// Of one run.
    pub fn new(timeline: Timeline) -> Self {
        Self { timeline, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many changes engines were asked for so far.
    pub fn mutations(&self) -> u64 {
        self.state().mutations
    }

    /// What there is of a service; `None`: it is not to be judged now.
    pub fn available(&self, service: &str, now: Option<Available>) {
        let mut state = self.state();
        match now {
            None => drop(state.available.remove(service)),
            Some(now) => {
                let seen = state.available.entry(service.to_owned()).or_default();
                let from = now.at.saturating_sub(LASTING);
                // One that is older than the span is kept: it tells how it was at its beginning.
                while seen.get(1).is_some_and(|second| second.at <= from) {
                    seen.remove(0);
                }
                if seen.last().is_none_or(|last| (last.wanted, &last.well) != (now.wanted, &now.well)) {
                    seen.push(now);
                }
            }
        }
    }

    /// Of services that are gone nothing is remembered.
    pub fn knows(&self, is_wanted: impl Fn(&str) -> bool) {
        self.state().available.retain(|service, _| is_wanted(service));
    }

    /// I6: our own action takes no copy away while already one too few have been well for a while.
    fn enough_stay(&self, state: &State, name: &str, service: &str) {
        let now = self.timeline.now();
        let Some(seen) = state.available.get(service) else { return };
        let lasting = seen.first().is_some_and(|first| first.at + LASTING <= now);
        let itself = seen.iter().all(|one| one.well.contains(name));
        let short = seen.iter().all(|one| one.well.len() < one.wanted);
        if lasting && itself && short {
            let last = seen.last().map_or((0, 0), |last| (last.well.len(), last.wanted));
            let what = format!("{name} is stopped though {} of {} copies are well", last.0, last.1);
            self.timeline.violated("I6 enough stay", &what);
        }
    }

    /// The store went back. `wanted`: the records of copies that were to run as they did.
    pub fn goes_back(&self, wanted: BTreeSet<String>) {
        self.state().past = Some(wanted);
    }

    /// A person has decided what counts.
    pub fn trusts(&self) {
        self.state().past = None;
    }

    /// A life that begins has had nothing confirmed.
    pub fn begins(&self, who: &str) {
        self.state().confirmed.retain(|(host, _), _| host != who);
    }

    /// An engine is asked to change something.
    pub fn asked(&self, life: &Life, engine: &FakeEngine, verb: &str, of: &str) {
        let now = self.timeline.now();
        let mut state = self.state();
        state.mutations += 1;
        let calls = state.calls.entry(life.who().to_owned()).or_default().count(now);
        if calls == CALLS_A_MINUTE {
            let what = format!("{} asked its engine for {calls} changes within a minute", life.who());
            self.timeline.violated("I8 bounded work", &what);
        }
        if verb == "remove volume" {
            self.timeline.violated("I4 only ours", &format!("{} removes volume {of}", life.who()));
        }
        if !matches!(verb, "stop" | "kill" | "remove" | "start" | "update") {
            return;
        }
        let mut found = None;
        engine.look(|container, _| {
            if container.id == of || container.name == of {
                let ours = container.labels.contains_key(label::CLUSTER);
                let service = container.labels.get(label::SERVICE).cloned().unwrap_or_default();
                let runs = container.state == ContainerState::Running;
                found = Some((container.name.clone(), ours, runs, service));
            }
        });
        let Some((name, ours, runs, service)) = found else { return };
        if !ours {
            self.timeline.violated("I4 only ours", &format!("{} would {verb} foreign {name}", life.who()));
        }
        if runs && matches!(verb, "stop" | "kill" | "remove") {
            self.enough_stay(&state, &name, &service);
            let record = format!("instances/{}/{name}", life.who());
            if state.past.as_ref().is_some_and(|wanted| wanted.contains(&record)) {
                let what = format!("{} would {verb} {name} by the word of the past", life.who());
                self.timeline.violated("I10 nothing stops in the past", &what);
            }
            if !state.confirmed.contains_key(&(life.who().to_owned(), record)) {
                let what = format!("{} would {verb} {name}, which no transaction confirmed", life.who());
                self.timeline.violated("I5 guarded", &what);
            }
        }
    }

    /// A transaction of a controller was done.
    pub fn committed(&self, life: &Life, txn: &Txn, committed: &Committed) {
        let now = self.timeline.now();
        let mut state = self.state();
        let writes = state.writes.entry(life.who().to_owned()).or_default().count(now);
        if writes == WRITES_A_MINUTE {
            let what = format!("{} wrote {writes} times within a minute", life.who());
            self.timeline.violated("I8 bounded work", &what);
        }
        for compare in txn.compares() {
            if let Compare::ModRevision(key, _) = compare
                && key.starts_with("instances/")
            {
                let of = (life.who().to_owned(), key.clone());
                state.confirmed.insert(of, committed.header.revision);
            }
        }
        let guarded = |leader: &str| {
            let demands = |c: &Compare| matches!(c, Compare::ModRevision(key, r) if key == leader && *r > 0);
            txn.compares().iter().any(demands)
        };
        for op in txn.writes() {
            let (Op::Put(key, ..) | Op::Delete(key)) = op else { continue };
            let Some(leader) = leader_of(key) else { continue };
            if !guarded(&format!("leaders/{leader}")) {
                let what = format!("{} wrote {key} without its leader's guard", life.who());
                self.timeline.violated("I5 guarded", &what);
            }
        }
    }
}

/// Whose leader alone may write a key.
fn leader_of(key: &str) -> Option<&'static str> {
    match key.parse::<Key>().ok()? {
        Key::Accepted(object) | Key::Status(object) => Some(match object.kind() {
            evenkeel_api::meta::Kind::Network => "network",
            evenkeel_api::meta::Kind::HealthCheck => "healthcheck",
            evenkeel_api::meta::Kind::Service | evenkeel_api::meta::Kind::Host => "service",
        }),
        Key::Revision(..) | Key::Rollout(_) | Key::Instance(..) | Key::Endpoints(..) | Key::Brakes => {
            Some("service")
        }
        Key::Subnet(..) => Some("network"),
        _ => None,
    }
}
