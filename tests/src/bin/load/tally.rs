//! Counting, and saying it.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use evenkeel_runtime::env::{SystemClock, WallClock};
use serde::Serialize;

/// What came of many questions.
#[derive(Debug, Default)]
pub struct Tally {
    taken: Vec<Duration>,
    failures: BTreeMap<String, u64>,
    first: Vec<String>,
}

#[derive(Serialize)]
struct Summary<'a> {
    asked: usize,
    failed: u64,
    failures: &'a BTreeMap<String, u64>,
    first_failures: &'a [String],
    median_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Tally {
    /// One question, how long its answer took, and what it was.
    pub fn count(&mut self, taken: Duration, answer: Result<(), String>, what: &str) {
        self.taken.push(taken);
        if let Err(why) = answer {
            if self.first.len() < 10 {
                self.first.push(format!("{} {what}: {why} after {} ms", now(), taken.as_millis()));
            }
            *self.failures.entry(why).or_default() += 1;
        }
    }

    /// One line of JSON on standard output.
    pub fn print(mut self) {
        self.taken.sort_unstable();
        let at = |share: f64| {
            let index = ((self.taken.len() as f64 * share) as usize).min(self.taken.len().saturating_sub(1));
            self.taken.get(index).map_or(0.0, |taken| (taken.as_secs_f64() * 1e4).round() / 10.0)
        };
        let summary = Summary {
            asked: self.taken.len(),
            failed: self.failures.values().sum(),
            failures: &self.failures,
            first_failures: &self.first,
            median_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        };
        say(&serde_json::to_string(&summary).unwrap_or_default());
    }
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    SystemClock.now().0
}

/// A line, at once: who reads it measures by it.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
