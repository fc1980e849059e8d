//! Lines of many copies, in the order of their times. Pure: what came and what time it is go in.

use std::collections::BTreeMap;
use std::time::Duration;

/// Lines that have come and are not shown yet. A line is shown once every copy that may still say something older
/// has said something later, or once it has waited for long enough.
#[derive(Debug)]
pub struct Merger<L> {
    /// By time, then by copy, then in the order in which they came.
    waiting: BTreeMap<(String, usize, u64), (L, Duration)>,
    /// How many lines of each open copy wait, and when its newest one was written.
    open: BTreeMap<usize, (usize, String)>,
    patience: Option<Duration>,
    came: u64,
}

impl<L> Merger<L> {
    /// Of which no line waits longer than `patience`; `None`: as long as it takes.
    pub fn new(patience: Option<Duration>) -> Self {
        Self { waiting: BTreeMap::new(), open: BTreeMap::new(), patience, came: 0 }
    }

    /// A copy may say something from now on.
    pub fn open(&mut self, copy: usize) {
        self.open.entry(copy).or_default();
    }

    /// It says nothing more.
    pub fn close(&mut self, copy: usize) {
        self.open.remove(&copy);
    }

    /// A line came. Times are compared as texts; of one copy, lines stay in the order in which they came.
    pub fn push(&mut self, copy: usize, time: &str, line: L, now: Duration) {
        let (count, newest) = self.open.entry(copy).or_default();
        *count += 1;
        if newest.as_str() < time {
            time.clone_into(newest);
        }
        let key = (newest.clone(), copy, self.came);
        self.came += 1;
        self.waiting.insert(key, (line, now));
    }

    /// The next line to show, if it is time.
    pub fn pop(&mut self, now: Duration) -> Option<L> {
        let first = self.waiting.first_entry()?;
        let all_have_said = self.open.values().all(|(count, _)| *count > 0);
        let long_enough = self.patience.is_some_and(|patience| now >= first.get().1 + patience);
        if !all_have_said && !long_enough {
            return None;
        }
        let ((_, copy, _), (line, _)) = first.remove_entry();
        if let Some((count, _)) = self.open.get_mut(&copy) {
            *count -= 1;
        }
        Some(line)
    }

    /// When the next line has waited for long enough, at the latest.
    pub fn due(&self) -> Option<Duration> {
        let (_, (_, came)) = self.waiting.first_key_value()?;
        Some(*came + self.patience?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(merger: &mut Merger<&'static str>, now: u64) -> Vec<&'static str> {
        std::iter::from_fn(|| merger.pop(Duration::from_millis(now))).collect()
    }

    #[test]
    fn lines_wait_for_copies_that_may_have_older_ones() {
        let mut merger = Merger::new(None);
        merger.open(0);
        merger.open(1);
        merger.push(0, "t2", "b", Duration::ZERO);
        merger.push(0, "t4", "d", Duration::ZERO);
        assert_eq!(shown(&mut merger, 1_000_000), [""; 0]);
        assert_eq!(merger.due(), None);
        merger.push(1, "t1", "a", Duration::ZERO);
        assert_eq!(shown(&mut merger, 0), ["a"]);
        merger.push(1, "t3", "c", Duration::ZERO);
        assert_eq!(shown(&mut merger, 0), ["b", "c"]);
        merger.close(1);
        assert_eq!(shown(&mut merger, 0), ["d"]);
    }

    #[test]
    fn nobody_waits_for_long_where_more_is_to_come() {
        let mut merger = Merger::new(Some(Duration::from_millis(300)));
        merger.open(0);
        merger.open(1);
        merger.push(0, "t2", "b", Duration::from_millis(10));
        assert_eq!(merger.due(), Some(Duration::from_millis(310)));
        assert_eq!(shown(&mut merger, 309), [""; 0]);
        assert_eq!(shown(&mut merger, 310), ["b"]);
    }

    #[test]
    fn of_one_copy_lines_stay_as_they_came() {
        let mut merger = Merger::new(None);
        merger.open(0);
        for (time, line) in [("t2", "a"), ("t1", "b"), ("t2", "c")] {
            merger.push(0, time, line, Duration::ZERO);
        }
        merger.close(0);
        assert_eq!(shown(&mut merger, 0), ["a", "b", "c"]);
    }
}
