//! When a container that ended is started again.

use std::time::Duration;

use evenkeel_api::record::Timestamp;
use evenkeel_api::service::{RestartCondition, RestartPolicy};

/// A run that lasted this long counts as a good one: the next end is the first again.
pub const GOOD_RUN: Duration = Duration::from_secs(10);
/// The longest wait between an end and a start.
pub const LONGEST: Duration = Duration::from_secs(60);

/// The runs of an instance, in this process's monotonic time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runs {
    /// Which run is the newest: the engine's start time.
    newest: Option<Timestamp>,
    /// When it was first seen.
    began: Option<Duration>,
    /// When it was first seen to have ended.
    ended: Option<Duration>,
    /// Restarts after short runs, one after the other.
    short: u32,
    /// When it was started again, newest last.
    restarts: Vec<Duration>,
    /// The run whose end was asked for: it counts as no end of its own.
    excused: Option<Timestamp>,
    /// All restarts, those of earlier processes among them.
    pub total: u32,
}

/// Restarts that are remembered: more than any sensible `max_attempts`.
const REMEMBERED: usize = 1000;

/// What shall become of a container that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Start it, once that time has come.
    StartAt(Duration),
    /// The policy says no.
    Rest,
    /// Restarts are used up.
    UsedUp(String),
}

impl Runs {
    /// Runs of an instance of which an earlier process knew this much.
    pub fn known(newest: Option<Timestamp>, total: u32) -> Self {
        Self { newest, total, ..Self::default() }
    }

    /// It is seen running.
    pub fn running(&mut self, run: Option<Timestamp>, now: Duration) {
        if self.newest == run && self.began.is_some() {
            return;
        }
        if self.newest.is_some() && self.newest != run && self.newest != self.excused {
            self.short = if self.was_good() { 1 } else { self.short + 1 };
            self.total += 1;
            self.restarts.push(now);
            if self.restarts.len() > REMEMBERED {
                self.restarts.remove(0);
            }
        }
        (self.newest, self.began, self.ended) = (run, Some(now), None);
    }

    /// That run shall end, and another begin.
    pub fn excuse(&mut self, run: Timestamp) {
        self.excused = Some(run);
    }

    /// That run is seen to have ended. It may have begun since the last look, and nobody saw it run.
    pub fn over(&mut self, run: Option<Timestamp>, now: Duration) {
        if run.is_some() && run != self.newest {
            self.running(run, now);
        }
        self.ended(now);
    }

    /// It is seen to have ended, or could not be started.
    pub fn ended(&mut self, now: Duration) {
        self.ended.get_or_insert(now);
    }

    /// A start failed: the next waits longer.
    pub fn failed_to_start(&mut self, now: Duration) {
        self.short += 1;
        self.began = None;
        self.ended = Some(now);
    }

    /// Whether the run that ended was a good one, as far as this process saw it.
    fn was_good(&self) -> bool {
        let lasted = |began| self.ended.is_none_or(|ended| ended.saturating_sub(began) >= GOOD_RUN);
        self.began.is_some_and(lasted)
    }

    /// What shall become of it after it ended with `code`.
    pub fn verdict(&self, policy: &RestartPolicy, code: i64, now: Duration) -> Verdict {
        match policy.condition.unwrap_or_default() {
            RestartCondition::None => return Verdict::Rest,
            RestartCondition::OnFailure if code == 0 => return Verdict::Rest,
            RestartCondition::OnFailure | RestartCondition::Any => {}
        }
        if let Some(most) = policy.max_attempts {
            let since = policy.window.map_or(Duration::ZERO, |window| now.saturating_sub(window.0));
            let counted = self.restarts.iter().filter(|at| **at >= since).count();
            if counted >= usize::try_from(most).unwrap_or(usize::MAX) {
                let within = policy.window.map(|window| format!(" within {window}")).unwrap_or_default();
                return Verdict::UsedUp(format!(
                    "started again {counted} times{within}, as often as max_attempts allows; exit code {code}"
                ));
            }
        }
        let short = if self.was_good() { 0 } else { self.short };
        let wait = policy.delay.map_or_else(|| back_off(short), |delay| delay.0);
        Verdict::StartAt(self.ended.unwrap_or(now) + wait)
    }
}

/// 0, 1, 2, 4 … 60 seconds.
pub fn back_off(times: u32) -> Duration {
    match times {
        0 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 1).min(6)).min(LONGEST),
    }
}
