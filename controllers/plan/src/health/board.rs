//! Who is asked when, and what is known of whom: every check on every running copy of one host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::healthcheck::HealthCheckSpec;
use evenkeel_api::local::LocalInstance;
use evenkeel_api::name::{CheckId, InstanceId, ObjectName, Scoped};
use evenkeel_api::record::{CheckState, Desired, Health, InstanceState, Timestamp, Verdict};
use serde::{Deserialize, Serialize};

use super::target::{Question, question};
use super::verdict::{Answer, Judge, Outcome};
use crate::fnv::fnv1a;

/// The shortest time between two questions of one check, whatever it says.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// After a restart of the controller, copies whose verdict is known are asked again within this time.
const RESUME_WITHIN: Duration = Duration::from_secs(1);

/// A check as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The revision of its document.
    pub revision: i64,
    /// What it asks.
    pub spec: HealthCheckSpec,
}

/// A check on a copy.
type Place = (InstanceId, ObjectName);

/// A question that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Who is asked.
    pub instance: InstanceId,
    /// By which check.
    pub check: ObjectName,
    /// What.
    pub question: Question,
    /// How long an answer may take.
    pub timeout: Duration,
    /// When it was asked.
    pub asked: Duration,
    generation: u64,
}

/// A verdict that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// On which copy.
    pub instance: InstanceId,
    /// By which check.
    pub check: ObjectName,
    /// What it was; `None`: nothing.
    pub from: Option<Verdict>,
    /// What it is.
    pub to: Verdict,
    /// Why.
    pub evidence: String,
}

/// What is going on at one place.
#[derive(Debug)]
struct Entry {
    /// Which run.
    started: Timestamp,
    check: Check,
    question: Result<Question, String>,
    judge: Judge,
    /// When the judging began.
    began: Duration,
    /// The next question; absent while one is under way, or none can be asked.
    due: Option<Duration>,
    /// The even pace has begun.
    paced: bool,
    /// Tells answers to this from answers to what stood here before.
    generation: u64,
}

/// All checks on all running copies of this host. Times are monotonic, since any fixed moment.
#[derive(Debug, Default)]
pub struct Board {
    entries: BTreeMap<Place, Entry>,
    queue: BTreeSet<(Duration, Place)>,
    health: BTreeMap<InstanceId, Health>,
    version: u64,
    generation: u64,
}

impl Board {
    /// A board that goes on from what was known.
    pub fn new(known: BTreeMap<InstanceId, Health>) -> Self {
        Self { health: known, ..Self::default() }
    }

    /// All that is known, by copy.
    pub fn health(&self) -> &BTreeMap<InstanceId, Health> {
        &self.health
    }

    /// Grows whenever [`Board::health`] changes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Take in what runs and what is asked. Gives what changed by that alone.
    pub fn update(
        &mut self,
        copies: &BTreeMap<InstanceId, LocalInstance>,
        checks: &BTreeMap<CheckId, Check>,
        now: Duration,
        wall: Timestamp,
    ) -> Vec<Transition> {
        let wanted: BTreeMap<Place, (Timestamp, &Check, &LocalInstance)> = copies
            .iter()
            .filter_map(|(id, copy)| Some((id, copy, run(copy)?)))
            .flat_map(|(id, copy, started)| {
                of_copy(id, checks).map(move |(name, check)| ((id.clone(), name), (started, check, copy)))
            })
            .collect();
        let gone: Vec<Place> =
            self.entries.keys().filter(|place| !wanted.contains_key(place)).cloned().collect();
        for place in gone {
            self.remove(&place);
        }
        self.forget(copies, checks);
        let mut transitions = Vec::new();
        for (place, (started, check, copy)) in wanted {
            self.place(&place, started, check, question(&check.spec, &place.0, copy), now);
            transitions.extend(self.excuse(&place, wall));
        }
        transitions
    }

    /// The moment of the next question.
    pub fn next(&self) -> Option<Duration> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// A question that is due.
    pub fn take(&mut self, now: Duration) -> Option<Job> {
        let (due, place) = self.queue.first()?.clone();
        if due > now {
            return None;
        }
        self.queue.pop_first();
        let entry = self.entries.get_mut(&place)?;
        entry.due = None;
        let question = entry.question.clone().ok()?;
        let (instance, check) = place;
        Some(Job {
            instance,
            check,
            question,
            timeout: entry.check.spec.timeout().0,
            asked: now,
            generation: entry.generation,
        })
    }

    /// Hear what became of a question. `random` spreads the next one.
    pub fn hear(
        &mut self,
        job: &Job,
        answer: Answer,
        now: Duration,
        wall: Timestamp,
        random: u64,
    ) -> Option<Transition> {
        let place = (job.instance.clone(), job.check.clone());
        // An answer about an earlier run, or to an earlier form of the check, says nothing of this one.
        let entry = self.entries.get_mut(&place).filter(|entry| entry.generation == job.generation)?;
        let age = job.asked.saturating_sub(entry.began);
        let said = match answer.outcome {
            Outcome::Unasked => None,
            outcome => entry.judge.hear(&entry.check.spec, age, outcome == Outcome::Pass),
        };
        let due = entry.following(&place, job.asked, random).max(now);
        entry.due = Some(due);
        self.queue.insert((due, place.clone()));
        match said {
            Some(verdict) => self.tell(&place, verdict, answer.evidence, wall),
            // The first failure of a copy that starts is told, for whoever waits for it.
            None if answer.outcome != Outcome::Pass => self.tell_if_silent(&place, answer.evidence, wall),
            None => None,
        }
    }

    /// Put a check on a copy, or leave it there.
    fn place(
        &mut self,
        place: &Place,
        started: Timestamp,
        check: &Check,
        question: Result<Question, String>,
        now: Duration,
    ) {
        let known = self.known(place, started).map(|state| state.verdict);
        let (judge, due) = match self.entries.get_mut(place).filter(|entry| entry.started == started) {
            Some(entry) if entry.check.spec == check.spec && entry.question == question => {
                entry.check.revision = check.revision;
                return;
            }
            // Edited: the verdict stands until the new form has spoken.
            Some(entry) => (Judge::resumed(entry.judge.verdict()), now),
            None => match known {
                Some(verdict) if verdict != Verdict::Starting => {
                    (Judge::resumed(verdict), now + phase(place, RESUME_WITHIN))
                }
                _ => (Judge::default(), now),
            },
        };
        self.remove(place);
        self.generation += 1;
        let due = question.is_ok().then_some(due);
        if let Some(due) = due {
            self.queue.insert((due, place.clone()));
        }
        let (check, generation) = (check.clone(), self.generation);
        let entry = Entry { started, check, question, judge, began: now, due, paced: false, generation };
        self.entries.insert(place.clone(), entry);
    }

    /// Tell of a copy that cannot be asked, if nothing is known of it.
    fn excuse(&mut self, place: &Place, wall: Timestamp) -> Option<Transition> {
        let why = self.entries.get(place)?.question.as_ref().err()?.clone();
        self.tell_if_silent(place, Answer::unasked(&why).evidence, wall)
    }

    fn tell_if_silent(&mut self, place: &Place, evidence: String, wall: Timestamp) -> Option<Transition> {
        let entry = self.entries.get(place)?;
        let silent = self.known(place, entry.started).is_none();
        silent.then(|| self.tell(place, Verdict::Starting, evidence, wall)).flatten()
    }

    /// Write a verdict down, if it says something new; gives it if the verdict itself changed.
    fn tell(
        &mut self,
        place: &Place,
        verdict: Verdict,
        evidence: String,
        wall: Timestamp,
    ) -> Option<Transition> {
        let entry = self.entries.get(place)?;
        let (started, revision) = (entry.started, entry.check.revision);
        let old = self.known(place, started).cloned();
        let from = old.as_ref().map(|old| old.verdict);
        if old.as_ref().is_some_and(|old| old.verdict == verdict && old.revision == revision) {
            return None;
        }
        let same = old.filter(|old| old.verdict == verdict);
        let since = same.map_or(wall, |old| old.since);
        let health =
            self.health.entry(place.0.clone()).or_insert_with(|| Health { started, checks: BTreeMap::new() });
        if health.started != started {
            *health = Health { started, checks: BTreeMap::new() };
        }
        let state = CheckState { verdict, since, revision, evidence: evidence.clone() };
        health.checks.insert(place.1.clone(), state);
        self.version += 1;
        let (instance, check) = place.clone();
        (from != Some(verdict)).then_some(Transition { instance, check, from, to: verdict, evidence })
    }

    /// What is known of a check on a run.
    fn known(&self, place: &Place, started: Timestamp) -> Option<&CheckState> {
        self.health.get(&place.0).filter(|health| health.started == started)?.checks.get(&place.1)
    }

    /// Forget copies that are gone, and checks that are. A copy that is between two runs keeps what is
    /// known of its last one.
    fn forget(&mut self, copies: &BTreeMap<InstanceId, LocalInstance>, checks: &BTreeMap<CheckId, Check>) {
        // A copy stands here with one check at least.
        let count = |health: &BTreeMap<InstanceId, Health>| -> usize {
            health.values().map(|h| h.checks.len()).sum()
        };
        let before = count(&self.health);
        self.health.retain(|id, health| {
            health.checks.retain(|name, _| of_copy(id, checks).any(|(check, _)| check == *name));
            copies.contains_key(id) && !health.checks.is_empty()
        });
        self.version += u64::from(count(&self.health) != before);
    }

    fn remove(&mut self, place: &Place) {
        if let Some(due) = self.entries.remove(place).and_then(|entry| entry.due) {
            self.queue.remove(&(due, place.clone()));
        }
    }
}

impl Entry {
    /// When the question after one that was asked at `asked` is due.
    fn following(&mut self, place: &Place, asked: Duration, random: u64) -> Duration {
        let spec = &self.check.spec;
        let interval = spec.interval().0.max(AT_MOST_EVERY);
        if !self.judge.started() {
            return asked + spec.start_interval().0.clamp(AT_MOST_EVERY, interval);
        }
        if !std::mem::replace(&mut self.paced, true) {
            // The copies of a service tend to start together; from here on they are asked apart.
            return asked + phase(place, interval).max(AT_MOST_EVERY);
        }
        asked + interval.mul_f64(0.9 + 0.2 * (random % 1024) as f64 / 1023.0)
    }
}

/// The run of a copy that is to be checked: its start time. `None`: not now.
fn run(copy: &LocalInstance) -> Option<Timestamp> {
    let checked = copy.observed.state == InstanceState::Running
        && matches!(copy.desired, Desired::Run | Desired::Drain);
    copy.observed.started.filter(|_| checked)
}

/// The checks that ask a copy.
fn of_copy<'a>(
    id: &'a InstanceId,
    checks: &'a BTreeMap<CheckId, Check>,
) -> impl Iterator<Item = (ObjectName, &'a Check)> {
    checks
        .iter()
        .filter(|(check, _)| check.namespace == id.service.namespace)
        .filter(|(_, check)| check.spec.target.service == id.service.name)
        .map(|(Scoped { name, .. }, check)| (name.clone(), check))
}

/// A share of `whole` that is always the same for a place, and differs between places.
fn phase((instance, check): &Place, whole: Duration) -> Duration {
    let hash = fnv1a(format!("{instance}/{check}").bytes());
    whole.mul_f64((hash >> 44) as f64 / (1_u64 << 20) as f64)
}

#[cfg(test)]
mod tests;
