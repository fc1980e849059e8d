//! One life of a host's controllers: all that they do outside of themselves passes through here, so that
//! they can be killed at any of those points, and held up.
//!
//! A life that has ended does nothing any more, whoever of its tasks is still there: the process is gone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_runtime::tick::Tick;
use tokio::sync::Notify;

use crate::timeline::Timeline;

/// See the module. A cheap handle.
#[derive(Clone)]
pub struct Life(Arc<Inner>);

struct Inner {
    who: String,
    dead: AtomicBool,
    died: Notify,
    /// A process that is stopped (SIGSTOP) gets no turn.
    stopped: Arc<Stopped>,
    /// Points that are still passed before the process is killed; 0: it is not.
    fuse: Arc<AtomicU64>,
    timeline: Timeline,
    why: Mutex<String>,
}

/// Whether the controllers of a host get a turn.
#[derive(Default)]
pub struct Stopped {
    is: AtomicBool,
    changed: Arc<Tick>,
}

impl Stopped {
    /// Whether they get none.
    pub fn is(&self) -> bool {
        self.is.load(Ordering::Relaxed)
    }

    /// They get none from now on, or get them again.
    pub fn set(&self, stopped: bool) {
        self.is.store(stopped, Ordering::Relaxed);
        self.changed.tell();
    }
}

/// Where a process can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A call has not been done yet.
    Before,
    /// It was done, and the process has not learnt of it.
    After,
}

impl Life {
    /// A life that begins. `stopped`: of the host's controllers; `fuse`: of the host.
    pub fn new(who: &str, stopped: Arc<Stopped>, fuse: Arc<AtomicU64>, timeline: Timeline) -> Self {
        Self(Arc::new(Inner {
            who: who.to_owned(),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            stopped,
            fuse,
            timeline,
            why: Mutex::default(),
        }))
    }

    /// Whose it is.
    pub fn who(&self) -> &str {
        &self.0.who
    }

    /// The run's timeline.
    pub fn timeline(&self) -> &Timeline {
        &self.0.timeline
    }

    /// It ends here.
    pub fn kill(&self, why: &str) {
        if !self.0.dead.swap(true, Ordering::Relaxed) {
            why.clone_into(&mut self.0.why.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.died.notify_one();
        }
    }

    /// Whether it has ended.
    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::Relaxed)
    }

    /// Until it ends; why it did. For one waiter.
    pub async fn death(&self) -> String {
        while !self.is_dead() {
            self.0.died.notified().await;
        }
        self.0.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Before anything is done outside: waits while the process is stopped. `false`: it is dead.
    pub async fn turn(&self) -> bool {
        if self.0.stopped.is() {
            let mut changed = self.0.stopped.changed.listen();
            while self.0.stopped.is() && !self.is_dead() {
                changed.changed().await;
            }
        }
        !self.is_dead()
    }

    /// A point at which the process may be killed. `false`: it is dead now, or was before.
    pub fn passes(&self, at: Point, what: &str) -> bool {
        if self.is_dead() {
            return false;
        }
        match self.0.fuse.load(Ordering::Relaxed) {
            0 => true,
            1 => {
                self.0.fuse.store(0, Ordering::Relaxed);
                self.kill(&format!("{at:?} {what}").to_lowercase());
                false
            }
            more => {
                self.0.fuse.store(more - 1, Ordering::Relaxed);
                true
            }
        }
    }
}
