//! Many runs, on all cores, for a time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::run::{Report, run};
use crate::scenario::{Scenario, Size};

/// What came of a soak.
#[derive(Debug, Default)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Simulated time of all of them.
    pub simulated: Duration,
    /// Acts, by kind.
    pub acts: BTreeMap<String, u64>,
    /// Tries of each case of docs/faults.md.
    pub cases: BTreeMap<u8, u64>,
    /// Seeds that failed, with what did not hold.
    pub failed: Vec<(u64, String)>,
    /// The longest time that a cluster took to converge.
    pub slowest: Duration,
}

impl Tally {
    fn add(&mut self, seed: u64, report: Report) {
        self.runs += 1;
        self.simulated += report.took;
        self.slowest = self.slowest.max(report.converged.unwrap_or_default());
        for (kind, times) in report.acts {
            *self.acts.entry(kind).or_default() += times;
        }
        for (case, times) in report.cases {
            *self.cases.entry(case).or_default() += times;
        }
        self.failed.extend(report.violation.map(|(_, what)| (seed, what)));
    }

    /// Lines for the table of docs/faults.md. A violation may be of any fault that came before it.
    pub fn lines(&self) -> Vec<String> {
        let (word, held) = match self.failed.len() {
            0 => ("passed", "no invariant violated".to_owned()),
            some => ("failed", format!("{some} violations, of these or of other faults")),
        };
        let of = format!(
            "of {} clusters, {:.2} cluster-days, all faults mixed: {held}",
            self.runs,
            self.cluster_days()
        );
        self.cases
            .iter()
            .map(|(case, times)| format!("-> case {case} S {word}: {times} times in runs {of}"))
            .collect()
    }

    /// Simulated days of one cluster.
    pub fn cluster_days(&self) -> f64 {
        self.simulated.as_secs_f64() / 86_400.0
    }
}

/// Run seeds from `first` on for `time`, on `workers` threads. `told` hears of each run.
#[allow(clippy::disallowed_methods, reason = "a soak lasts a real time")]
pub fn soak(
    first: u64,
    size: &Size,
    time: Duration,
    workers: usize,
    told: impl Fn(u64, &Report) + Sync,
) -> Tally {
    let (next, tally, began) = (AtomicU64::new(first), Mutex::new(Tally::default()), SystemTime::now());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while began.elapsed().unwrap_or_default() < time {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let report = run(&Scenario::new(seed, size), false);
                    told(seed, &report);
                    tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(seed, report);
                }
            });
        }
    });
    tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
