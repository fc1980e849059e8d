//! The members of the store. Each connection is to one of them. A transaction or read is answered once that
//! member has applied it, and a watch tells what that member has applied; a lease is the leader's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_runtime::store::StoreError;
use evenkeel_runtime::tick::{Tick, Ticks};
use tokio::time::{Instant, sleep, sleep_until};

use super::store::SILENCE;

/// How many there are.
pub const COUNT: usize = 3;

/// What a leader that stood still does when it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thaw {
    /// It follows the new one.
    Follows,
    /// It ends all leases, as it believes them overdue (etcd before 3.4.36).
    EndsLeases,
}

/// How a member is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Is {
    #[default]
    Up,
    Down,
    Frozen,
}

#[derive(Debug, Default)]
struct State {
    is: [Is; COUNT],
    lag: [Duration; COUNT],
    leader: usize,
    /// Nothing is decided before.
    elects_until: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Members {
    state: Mutex<State>,
    changed: Arc<Tick>,
}

/// What a call finds on its way.
enum Way {
    Free,
    Refused,
    Silent,
    Elects(Instant),
}

impl Members {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member is gone. An election takes that long if it was the leader. `false`: too many are gone already.
    pub fn lose(&self, member: usize, election: Duration) -> bool {
        self.turn(member, Is::Down, election)
    }

    /// The leader stands still; another one is there after an election. `None`: a member is gone already.
    pub fn freeze_leader(&self, election: Duration) -> Option<usize> {
        let leader = self.state().leader;
        self.turn(leader, Is::Frozen, election).then_some(leader)
    }

    fn turn(&self, member: usize, is: Is, election: Duration) -> bool {
        let mut state = self.state();
        if state.is.iter().any(|is| *is != Is::Up) {
            return false;
        }
        state.is[member % COUNT] = is;
        if state.leader == member % COUNT {
            state.leader = (member + 1) % COUNT;
            state.elects_until = Some(Instant::now() + election);
        }
        drop(state);
        self.changed.tell();
        true
    }

    /// A member is back.
    pub fn comes_back(&self, member: usize) {
        let mut state = self.state();
        if state.is[member % COUNT] == Is::Down {
            state.is[member % COUNT] = Is::Up;
        }
        drop(state);
        self.changed.tell();
    }

    /// Who stood still goes on. Whether there was one.
    pub fn thaw(&self) -> bool {
        let mut state = self.state();
        let frozen = state.is.iter_mut().filter(|is| **is == Is::Frozen);
        let frozen = frozen.map(|is| *is = Is::Up).count() > 0;
        drop(state);
        self.changed.tell();
        frozen
    }

    /// A member applies all that much later.
    pub fn set_lag(&self, member: usize, lag: Duration) {
        self.state().lag[member % COUNT] = lag;
    }

    /// All is well with all of them.
    pub fn mend(&self) {
        let leader = self.state().leader;
        *self.state() = State { leader, ..State::default() };
        self.changed.tell();
    }

    fn way(&self, member: usize) -> Way {
        let state = self.state();
        match (state.is[member % COUNT], state.elects_until) {
            (Is::Down, _) => Way::Refused,
            (Is::Frozen, _) => Way::Silent,
            (Is::Up, Some(until)) if until > Instant::now() => Way::Elects(until),
            (Is::Up, _) => Way::Free,
        }
    }
}

/// One connection: to one member, and to the next when that does not answer.
#[derive(Debug)]
pub struct Connection {
    members: Arc<Members>,
    to: AtomicUsize,
}

impl Connection {
    /// To that member first.
    pub fn new(members: Arc<Members>, to: usize) -> Self {
        Self { members, to: AtomicUsize::new(to) }
    }

    fn to(&self) -> usize {
        self.to.load(Ordering::Relaxed)
    }

    fn next(&self) {
        self.to.fetch_add(1, Ordering::Relaxed);
    }

    /// Until a call is decided upon.
    ///
    /// # Errors
    /// It is not; after an [`StoreError::Unknown`] it may be all the same, at that time.
    pub async fn reach(&self) -> Result<(), (StoreError, Option<Instant>)> {
        let unknown = || StoreError::Unknown("no answer in time".to_owned());
        match self.members.way(self.to()) {
            Way::Free => Ok(()),
            Way::Refused => {
                self.next();
                Err((StoreError::Unavailable("the member is gone".to_owned()), None))
            }
            Way::Silent => {
                sleep(SILENCE).await;
                self.next();
                Err((unknown(), None))
            }
            Way::Elects(until) if until <= Instant::now() + SILENCE => {
                sleep_until(until).await;
                Ok(())
            }
            Way::Elects(until) => {
                sleep(SILENCE).await;
                Err((unknown(), Some(until)))
            }
        }
    }

    /// How much later its member applies what was decided.
    pub fn lag(&self) -> Duration {
        self.members.state().lag[self.to() % COUNT]
    }

    /// Which member a stream that begins now is of.
    pub fn stream(&self) -> Stream {
        let changed = self.members.changed.listen();
        Stream { members: self.members.clone(), of: self.to(), changed }
    }
}

/// A stream of one member's.
#[derive(Debug)]
pub struct Stream {
    members: Arc<Members>,
    of: usize,
    changed: Ticks,
}

impl Stream {
    /// How much later its member tells.
    pub fn lag(&self) -> Duration {
        self.members.state().lag[self.of % COUNT]
    }

    /// Until its member does not answer any more, and that is noticed. Cancel-safe.
    pub async fn breaks(&mut self) {
        loop {
            match self.members.state().is[self.of % COUNT] {
                Is::Down => return,
                Is::Frozen => break,
                Is::Up => {}
            }
            self.changed.changed().await;
        }
        sleep(SILENCE).await;
    }
}
