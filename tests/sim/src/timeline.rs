//! What happened, in order: to print, and to compare two runs by.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines that are kept where not all are.
const TAIL: usize = 400;

/// The timeline of one run; a cheap handle.
#[derive(Clone)]
pub struct Timeline {
    began: Instant,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    lines: VecDeque<String>,
    all: bool,
    hash: u64,
    count: u64,
    violation: Option<(Duration, String)>,
}

impl Timeline {
    /// Empty. `all`: every line is kept, not only the last ones. Within a tokio runtime.
    pub fn new(all: bool) -> Self {
        let inner = Inner { lines: VecDeque::new(), all, hash: 0, count: 0, violation: None };
        Self { began: Instant::now(), inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the beginning.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Something happened, to or by `who`.
    pub fn say(&self, who: &str, what: &str) {
        let line = format!("{:>10.3} {who:<4} {what}", self.now().as_secs_f64());
        let mut inner = self.lock();
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        inner.hash = line.bytes().fold(inner.hash, step);
        inner.count += 1;
        if !inner.all && inner.lines.len() >= TAIL {
            inner.lines.pop_front();
        }
        inner.lines.push_back(line);
    }

    /// An invariant does not hold. Only the first one counts.
    pub fn violated(&self, invariant: &str, what: &str) {
        self.say("!!", &format!("{invariant}: {what}"));
        let now = self.now();
        self.lock().violation.get_or_insert((now, format!("{invariant}: {what}")));
    }

    /// The first invariant that did not hold, and when.
    pub fn violation(&self) -> Option<(Duration, String)> {
        self.lock().violation.clone()
    }

    /// The lines that were kept.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.iter().cloned().collect()
    }

    /// How many lines there were, and a digest of them all.
    pub fn digest(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.count, inner.hash)
    }
}
