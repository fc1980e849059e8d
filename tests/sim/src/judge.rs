//! What must hold, looked at from outside: the store's keys, what engines run, what names say. Controllers
//! are never asked.

use std::collections::BTreeMap;
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
}

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
                found = Some((container.name.clone(), ours, container.state == ContainerState::Running));
            }
        });
        let Some((name, ours, runs)) = found else { return };
        if !ours {
            self.timeline.violated("I4 only ours", &format!("{} would {verb} foreign {name}", life.who()));
        }
        if runs && matches!(verb, "stop" | "remove") {
            let record = format!("instances/{}/{name}", life.who());
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
