//! The protocol of exclusive slots, checked exhaustively: every order of every step, with messages lost and
//! late, leases that end and are taken anew, a member of etcd that lags, leaders that change, and pauses.
//!
//! One slot, with its copy on host A; a second copy, once its record is written, runs somewhere else at once
//! (that is the worst that it can do). Time goes in ticks. What is assumed:
//!
//! 1. Transactions with a read or a write in them are linearizable; one of compares alone may be answered by
//!    a member that lags as far as it likes.
//! 2. A watchdog that ought to act does so within [`W`] ticks, while its machine runs. It may be late
//!    each time by so much, and it may be started anew, as what it knows stands in a file.
//! 3. Two machines' clocks differ by at most [`C`] ticks over one wait, to either side. They count pauses.
//! 4. A machine that stood still as a whole and goes on has its watchdog look at the clock before its copy
//!    has done anything that others see. (Where that is too much to ask, the fence token helps, and only it.)
//!
//! What is *not* assumed: anything about leases. They may end and be taken anew at any instant, and nobody
//! need hear of it. Nor that the leader's view is fresh: it may write `lost` at any time, and only the
//! transaction's own guard keeps it from that while the host is registered.
//!
//! The broken variants show that the check can fail, and what each part of the protocol is for.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

/// A copy's own time: `stop_on_client_after`.
const S: u8 = 2;
/// The watchdog's time to act; it has when this is over.
const W: u8 = 2;
/// What clocks may differ by.
const C: u8 = 1;
/// When a proof's age does not matter any more.
const OLD: u8 = S + W;

/// What of the protocol is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// Nothing.
    AsBuilt,
    /// The leader waits without the time that clocks may differ by.
    NoTimeForClocks,
    /// The leader waits without the watchdog's time to act.
    NoTimeForTheWatchdog,
    /// The proof is a transaction without a read: a member answers from its memory.
    ComparesAlone,
    /// The proof is the answer to a renewal of the lease.
    KeepaliveReply,
    /// A proof's time is that of its answer.
    TimeOfTheAnswer,
    /// A new leader believes that the whole time has passed.
    NewLeaderDoesNotWait,
    /// The record that gives a copy up does not demand that the host is gone, and the leader then waits only
    /// for the lease's end: no time at all.
    NoWait,
    /// The leader counts from when it saw the lease gone, and writes no record; the proof is the lease.
    LeaseAlone,
    /// A start that the engine carries out late finds its fence file all the same.
    LateStarts,
    /// The machine's clock stands still while the machine does.
    ClockStandsStill,
}

/// What the copy's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Record {
    Run,
    Stop,
    Lost,
}

/// A proof of life under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    age: u8,
    /// What the store says; not yet.
    answer: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    // The store.
    registered: bool,
    record: Record,
    second: bool,
    /// The host told that its copy has stopped.
    stopped: bool,
    /// What the member that lags knows.
    stale: (bool, Record),
    // Host A.
    still: bool,
    runs: bool,
    /// The engine was asked to start the copy, and has not done it yet.
    starting: bool,
    proof: Option<u8>,
    flight: Option<Flight>,
    /// Since when the leader knows that the copy is given up: the one that holds the leader's key, as the store
    /// takes nothing from another. One that gets the key again is a new one.
    known: Option<u8>,
    /// What is left of the difference of clocks.
    skew: u8,
}

const FIRST: State = State {
    registered: true,
    record: Record::Run,
    second: false,
    stopped: false,
    stale: (true, Record::Run),
    still: false,
    runs: false,
    starting: false,
    proof: None,
    flight: None,
    known: None,
    skew: C,
};

impl Variant {
    fn wait(self) -> u8 {
        match self {
            Variant::NoTimeForClocks => S + W,
            Variant::NoTimeForTheWatchdog => S + C,
            Variant::NoWait => 0,
            _ => S + W + C,
        }
    }

    /// Both copies run: what must never be.
    fn is_double(state: &State) -> bool {
        state.second && state.runs && !state.still
    }

    fn steps(self, s: &State) -> Vec<(&'static str, State)> {
        let mut steps = Vec::new();
        self.of_the_store(s, &mut steps);
        self.of_the_host(s, &mut steps);
        self.of_the_leaders(s, &mut steps);
        self.ticks(s, &mut steps);
        steps
    }

    fn of_the_store(self, s: &State, steps: &mut Vec<(&'static str, State)>) {
        if s.registered {
            steps.push(("the lease ends", State { registered: false, ..*s }));
        } else if !s.still {
            steps.push(("the host registers anew", State { registered: true, ..*s }));
        }
        steps.push(("the member that lags catches up", State { stale: (s.registered, s.record), ..*s }));
        if let Some(Flight { age, answer: None }) = s.flight {
            let mut answer = |what, answer| {
                steps.push((what, State { flight: Some(Flight { age, answer: Some(answer) }), ..*s }));
            };
            let holds = |registered: bool, record: Record| registered && record < Record::Lost;
            match self {
                Variant::ComparesAlone => {
                    answer("the leading member answers", holds(s.registered, s.record));
                    answer("the member that lags answers", holds(s.stale.0, s.stale.1));
                }
                Variant::KeepaliveReply | Variant::LeaseAlone => answer("the lease answers", s.registered),
                _ => answer("the store answers", holds(s.registered, s.record)),
            }
        }
    }

    fn of_the_host(self, s: &State, steps: &mut Vec<(&'static str, State)>) {
        if s.still {
            // The clock first.
            let overdue = s.proof.is_none_or(|age| age >= S);
            let on = State { still: false, ..*s };
            let on = if overdue { State { runs: false, starting: false, ..on } } else { on };
            steps.push(("the machine goes on", on));
            return;
        }
        steps.push(("the machine stands still", State { still: true, ..*s }));
        match s.flight {
            None => {
                steps.push((
                    "a proof is asked for",
                    State { flight: Some(Flight { age: 0, answer: None }), ..*s },
                ));
            }
            Some(flight) => {
                steps.push(("the question or its answer is lost", State { flight: None, ..*s }));
                if let Some(proves) = flight.answer {
                    let age = if self == Variant::TimeOfTheAnswer { 0 } else { flight.age };
                    let newer = s.proof.map_or(age, |known| known.min(age)).min(OLD);
                    let proof = if proves { Some(newer) } else { s.proof };
                    steps.push(("the answer comes", State { flight: None, proof, ..*s }));
                }
            }
        }
        let fresh = s.proof.is_some_and(|age| age < S.div_ceil(2));
        if fresh && s.record == Record::Run && !s.runs && !s.starting {
            steps.push(("a start is confirmed and asked for", State { starting: true, ..*s }));
        }
        if s.starting {
            steps.push(("the engine starts the copy", State { starting: false, runs: true, ..*s }));
        }
        if s.runs {
            steps.push(("the copy ends by itself", State { runs: false, ..*s }));
        }
        if s.record >= Record::Stop && !s.stopped && !s.runs && !s.starting {
            steps.push(("the host tells that it has stopped", State { stopped: true, ..*s }));
        }
        if s.proof.is_none_or(|age| age >= S) && (s.runs || s.starting) {
            // The fence file goes with it, so that the engine cannot start it any more.
            let starting = s.starting && self == Variant::LateStarts;
            steps.push(("the watchdog ends the copy", State { runs: false, starting, ..*s }));
        }
    }

    fn of_the_leaders(self, s: &State, steps: &mut Vec<(&'static str, State)>) {
        let believes = self == Variant::NewLeaderDoesNotWait && s.record == Record::Lost;
        steps.push(("another leads", State { known: believes.then_some(self.wait()), ..*s }));
        if s.record == Record::Run {
            steps.push(("the leader stops the copy gently", State { record: Record::Stop, ..*s }));
        }
        let gone = !s.registered || self == Variant::NoWait;
        if s.record < Record::Lost && gone && self != Variant::LeaseAlone {
            steps.push(("the leader gives the copy up", State { record: Record::Lost, ..*s }));
        }
        let seen = match self {
            Variant::LeaseAlone => !s.registered,
            _ => s.record == Record::Lost,
        };
        if seen && s.known.is_none() {
            steps.push(("the leader knows that", State { known: Some(0), ..*s }));
        }
        let may = s.known.is_some_and(|age| age >= self.wait()) || s.stopped;
        // The guard: what it was decided from still stands.
        if may && (seen || s.stopped) && !s.second {
            steps.push(("the leader writes the second copy", State { second: true, ..*s }));
        }
    }

    fn ticks(self, s: &State, steps: &mut Vec<(&'static str, State)>) {
        // Time does not go on over a watchdog that must have acted.
        let due = s.proof.is_none_or(|age| age + 1 >= OLD) && (s.runs || s.starting);
        let forgiven = self == Variant::LateStarts && !s.runs;
        if due && !s.still && !forgiven {
            return;
        }
        let older = |age: u8, by: u8| age.saturating_add(by);
        let tick = |host: u8, leader: u8| State {
            proof: s.proof.map(|age| older(age, host).min(OLD)),
            flight: s.flight.map(|flight| Flight { age: older(flight.age, host).min(OLD), ..flight }),
            known: s.known.map(|age| older(age, leader).min(S + W + C)),
            ..*s
        };
        let host = u8::from(!(self == Variant::ClockStandsStill && s.still));
        steps.push(("a tick", tick(host, 1)));
        if s.skew > 0 {
            let skew = s.skew - 1;
            steps.push(("a tick that the host's clock does not see", State { skew, ..tick(0, 1) }));
            steps.push(("a tick that the leaders' clocks see twice", State { skew, ..tick(host, 2) }));
        }
    }

    /// The shortest way to two copies, if there is one; else how many states there are, and what was seen.
    fn check(self) -> Result<Seen, Vec<&'static str>> {
        let mut from: BTreeMap<State, Option<(State, &'static str)>> = BTreeMap::from([(FIRST, None)]);
        let mut queue = VecDeque::from([FIRST]);
        let mut seen = Seen::default();
        while let Some(state) = queue.pop_front() {
            seen.note(&state);
            if Self::is_double(&state) {
                return Err(way(&from, state));
            }
            for (what, next) in self.steps(&state) {
                if let Entry::Vacant(entry) = from.entry(next) {
                    entry.insert(Some((state, what)));
                    queue.push_back(next);
                }
            }
        }
        seen.states = from.len();
        Ok(seen)
    }
}

fn way(from: &BTreeMap<State, Option<(State, &'static str)>>, mut state: State) -> Vec<&'static str> {
    let mut steps = Vec::new();
    while let Some(Some((before, what))) = from.get(&state) {
        steps.push(*what);
        state = *before;
    }
    steps.reverse();
    steps
}

/// That the check looked at something: each of these can come about.
#[derive(Debug, Default)]
struct Seen {
    states: usize,
    first_ran: bool,
    second_after_loss: bool,
    second_after_stop: bool,
    ended_by_watchdog: bool,
    back_too_late: bool,
}

impl Seen {
    fn note(&mut self, s: &State) {
        self.first_ran |= s.runs;
        self.second_after_loss |= s.second && s.record == Record::Lost && !s.stopped;
        self.second_after_stop |= s.second && s.record == Record::Stop;
        self.ended_by_watchdog |= s.proof == Some(OLD) && !s.runs && s.record == Record::Lost;
        self.back_too_late |= s.registered && s.record == Record::Lost && s.second;
    }
}

#[test]
fn there_are_never_two() {
    let seen = Variant::AsBuilt.check().unwrap_or_else(|way| panic!("two copies:\n  {}", way.join("\n  ")));
    println!("{seen:?}");
    assert!(seen.states > 10_000, "{seen:?}");
    assert!(seen.first_ran && seen.second_after_loss && seen.second_after_stop, "{seen:?}");
    assert!(seen.ended_by_watchdog && seen.back_too_late, "{seen:?}");
}

#[test]
fn each_part_of_the_protocol_is_needed() {
    for variant in [
        Variant::NoTimeForClocks,
        Variant::NoTimeForTheWatchdog,
        Variant::ComparesAlone,
        Variant::KeepaliveReply,
        Variant::TimeOfTheAnswer,
        Variant::NewLeaderDoesNotWait,
        Variant::NoWait,
        Variant::LeaseAlone,
        Variant::LateStarts,
        Variant::ClockStandsStill,
    ] {
        let Err(way) = variant.check() else { panic!("{variant:?} breaks nothing: the check is blind") };
        println!("{variant:?}:\n  {}", way.join("\n  "));
    }
}
