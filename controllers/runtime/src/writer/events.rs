//! Events on their way to the ring: repeats are folded, few wait, and each is put once. No waiting and no
//! store in here.

use std::time::Duration;

use evenkeel_api::record::Event;

/// A repeat within that time counts up the entry that is there.
const FOLD: Duration = Duration::from_secs(60);
/// An entry that counts up is put again at most that often.
const REWRITE: Duration = Duration::from_secs(5);
/// How long an event waits for a transaction to ride on.
const RIDE: Duration = Duration::from_secs(1);
/// New events that wait, at most; the oldest is dropped.
const MAX_PENDING: usize = 20;
/// Entries that are remembered for folding, at most.
const MAX_ENTRIES: usize = 256;
/// An entry that far back in the ring is not put again: its place may be another's soon.
const STALE: u64 = 256;

/// Events of one writer. Times are the process's monotonic ones.
#[derive(Debug, Default)]
pub(super) struct Events {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    event: Event,
    /// When it happened first and last.
    added: Duration,
    last: Duration,
    /// Where it stands in the ring, since when, and with which count.
    put: Option<(u64, Duration)>,
    told: u32,
    /// Where it is being put, and with which count.
    flying: Option<(u64, u32)>,
}

impl Entry {
    fn dirty(&self) -> bool {
        self.flying.is_none() && self.told != self.event.count
    }

    fn is_same(&self, event: &Event) -> bool {
        let e = &self.event;
        e.object == event.object
            && e.instance == event.instance
            && e.warning == event.warning
            && e.reason == event.reason
            && e.message == event.message
    }

    /// Whether a repeat counts it up.
    fn folds(&self, now: Duration) -> bool {
        now < self.last + FOLD
    }

    /// When it may ride along, at the earliest.
    fn rides_from(&self) -> Duration {
        self.put.map_or(self.added, |(_, at)| at + REWRITE)
    }
}

impl Events {
    /// It happened, again or for the first time; `event.count` is 1.
    pub fn add(&mut self, event: Event, now: Duration) {
        self.entries.retain(|entry| entry.dirty() || entry.flying.is_some() || entry.folds(now));
        let same = |entry: &&mut Entry| entry.is_same(&event) && entry.folds(now);
        if let Some(entry) = self.entries.iter_mut().find(same) {
            entry.event.count = entry.event.count.saturating_add(1);
            entry.event.time = event.time;
            entry.last = now;
            return;
        }
        self.make_room();
        self.entries.push(Entry { event, added: now, last: now, put: None, told: 0, flying: None });
    }

    fn make_room(&mut self) {
        let pending = |entry: &Entry| entry.put.is_none() && entry.flying.is_none();
        if self.entries.iter().filter(|entry| pending(entry)).count() >= MAX_PENDING
            && let Some(oldest) = self.entries.iter().position(pending)
        {
            let lost = self.entries.remove(oldest);
            tracing::warn!(event = ?lost.event, "too many events wait; this one is not told");
        }
        if self.entries.len() >= MAX_ENTRIES
            && let Some(oldest) = self.entries.iter().position(|entry| entry.flying.is_none())
        {
            self.entries.remove(oldest);
        }
    }

    /// Up to `room` events to put now, with their numbers; new ones are numbered from `next` on. Gives the
    /// next free number after them. [`Events::settle`] must follow.
    pub fn take(&mut self, room: usize, next: u64, now: Duration) -> (Vec<(u64, Event)>, u64) {
        let mut free = next;
        let mut taken = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.dirty() && now >= entry.rides_from()) {
            if taken.len() == room.min(MAX_PENDING) {
                break;
            }
            let number = match entry.put {
                Some((number, _)) if number < next && next - number < STALE => number,
                _ => {
                    free += 1;
                    free - 1
                }
            };
            entry.flying = Some((number, entry.event.count));
            taken.push((number, entry.event.clone()));
        }
        (taken, free)
    }

    /// What was taken is in the ring, or is not.
    pub fn settle(&mut self, done: bool, now: Duration) {
        for entry in &mut self.entries {
            let Some((number, count)) = entry.flying.take() else { continue };
            if done {
                entry.put = Some((number, now));
                entry.told = count;
            }
        }
    }

    /// When the first event wants to be put though nothing came to ride on.
    pub fn due(&self) -> Option<Duration> {
        let due = |entry: &Entry| entry.put.map_or(entry.added + RIDE, |(_, at)| at + REWRITE);
        self.entries.iter().filter(|entry| entry.dirty()).map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_api::record::Timestamp;

    fn event(reason: &str) -> Event {
        Event {
            time: Timestamp(0),
            object: "services/shop/web".parse_object(),
            host: None,
            instance: None,
            warning: false,
            reason: reason.to_owned(),
            message: String::new(),
            count: 1,
        }
    }

    trait ParseObject {
        fn parse_object(&self) -> evenkeel_api::meta::ObjectRef;
    }
    impl ParseObject for str {
        fn parse_object(&self) -> evenkeel_api::meta::ObjectRef {
            match self.parse::<evenkeel_api::key::Key>().unwrap() {
                evenkeel_api::key::Key::Document(object) => object,
                other => panic!("{other} is no document"),
            }
        }
    }

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn summary((taken, next): (Vec<(u64, Event)>, u64)) -> (Vec<(u64, String, u32)>, u64) {
        (taken.into_iter().map(|(n, e)| (n, e.reason, e.count)).collect(), next)
    }

    #[test]
    fn repeats_count_up_the_entry_that_is_there_and_are_put_again_only_now_and_then() {
        let mut events = Events::default();
        events.add(event("A"), secs(0));
        events.add(event("A"), secs(0));
        events.add(event("B"), secs(0));
        assert_eq!(events.due(), Some(secs(1)));
        let taken = summary(events.take(9, 7, secs(0)));
        assert_eq!(taken, (vec![(7, "A".into(), 2), (8, "B".into(), 1)], 9));
        events.settle(true, secs(0));
        assert_eq!(events.due(), None);
        events.add(event("A"), secs(2));
        assert_eq!(summary(events.take(9, 9, secs(2))), (vec![], 9), "not yet");
        assert_eq!(events.due(), Some(secs(5)));
        assert_eq!(summary(events.take(9, 9, secs(5))), (vec![(7, "A".into(), 3)], 9), "in place");
        events.settle(true, secs(5));
        events.add(event("A"), secs(70));
        assert_eq!(summary(events.take(9, 9, secs(70))), (vec![(9, "A".into(), 1)], 10), "a new entry");
    }

    #[test]
    fn what_was_not_put_waits_on_and_what_happens_meanwhile_is_not_lost() {
        let mut events = Events::default();
        events.add(event("A"), secs(0));
        let first = events.take(9, 0, secs(0));
        events.add(event("A"), secs(0));
        events.settle(false, secs(0));
        assert_eq!(first.1, 1);
        assert_eq!(summary(events.take(9, 0, secs(0))), (vec![(0, "A".into(), 2)], 1));
        events.add(event("A"), secs(1));
        events.settle(true, secs(1));
        assert_eq!(events.due(), Some(secs(6)), "the third time is still to be told");
    }

    #[test]
    fn what_waits_outlives_the_minute_and_a_repeat_after_it_is_told_anew() {
        let mut events = Events::default();
        events.add(event("A"), secs(0));
        events.add(event("A"), secs(60));
        events.add(event("B"), secs(121));
        let taken = summary(events.take(9, 0, secs(121)));
        assert_eq!(taken, (vec![(0, "A".into(), 1), (1, "A".into(), 1), (2, "B".into(), 1)], 3));
        events.settle(true, secs(121));
        events.add(event("B"), secs(181));
        assert_eq!(summary(events.take(9, 3, secs(181))), (vec![(3, "B".into(), 1)], 4));
    }

    #[test]
    fn what_is_told_makes_no_room_for_what_waits() {
        let mut events = Events::default();
        for n in 0..MAX_PENDING {
            events.add(event(&format!("R{n}")), secs(0));
        }
        let (_, next) = events.take(100, 0, secs(0));
        events.settle(true, secs(0));
        events.add(event("New"), secs(1));
        events.add(event("R0"), secs(1));
        let taken = summary(events.take(9, next, secs(6)));
        assert_eq!(taken, (vec![(0, "R0".into(), 2), (20, "New".into(), 1)], 21), "R0 counts up in place");
    }

    #[test]
    fn few_wait_and_no_more_are_taken_than_there_is_room_for() {
        let mut events = Events::default();
        for n in 0..30 {
            events.add(event(&format!("R{n}")), secs(0));
        }
        let (taken, next) = events.take(3, 500, secs(0));
        assert_eq!((taken[0].1.reason.as_str(), taken.len(), next), ("R10", 3, 503));
        events.settle(true, secs(0));
        assert_eq!(events.take(100, next, secs(0)).0.len(), 17);
    }

    #[test]
    fn an_entry_far_back_in_the_ring_is_not_put_again() {
        let mut events = Events::default();
        events.add(event("A"), secs(0));
        events.take(9, 0, secs(0));
        events.settle(true, secs(0));
        events.add(event("A"), secs(10));
        assert_eq!(summary(events.take(9, 300, secs(10))), (vec![(300, "A".into(), 2)], 301));
        events.settle(true, secs(10));
        for (next, number) in [(555, 300), (556, 556)] {
            events.add(event("A"), secs(20));
            assert_eq!(events.take(9, next, secs(20)).0[0].0, number, "the ring is at {next}");
            events.settle(false, secs(20));
        }
    }

    #[test]
    fn a_ring_that_begins_anew_gives_no_number_twice() {
        let mut events = Events::default();
        events.add(event("A"), secs(0));
        events.take(9, 7, secs(0));
        events.settle(true, secs(0));
        events.add(event("A"), secs(10));
        events.add(event("B"), secs(10));
        let taken = summary(events.take(9, 7, secs(10)));
        assert_eq!(taken, (vec![(7, "A".into(), 2), (8, "B".into(), 1)], 9));
    }
}
