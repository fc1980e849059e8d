//! The watchdog: ends the exclusive containers of this host when it cannot be proved any more that they may
//! run. It needs neither the engine nor any other controller to be well: what it guards stands in a file,
//! the proof comes over a connection of its own, and the kernel ends what is in a container's cgroup.
//!
//! One loop decides, and looks at the clock before anything else each time: what comes in after a pause
//! finds all that ran out in it ended. Whatever may take its time (the disk, the store) is asked beside it.

mod cgroup;
pub(crate) mod files;
mod prove;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Controller;
use evenkeel_api::name::HostName;
use evenkeel_metrics::Meter;
use evenkeel_plan::watchdog::Watch;
use evenkeel_runtime::disk::{DiskError, StateDir, StateFile};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::store::Store;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use cgroup::{Cgroups, LinuxCgroups, Sweep};

/// While all is well, deadlines are looked at at least so often: a suspend lengthens no sleep by more.
const TICK: Duration = Duration::from_millis(100);
/// While nothing is guarded.
const REST: Duration = Duration::from_secs(1);
/// While something must not run: an engine that was slow may start it late.
const SWEEP: Duration = Duration::from_millis(20);
/// A container's cgroup is searched for each so many sweeps; a known one is looked at in each.
const SEARCH_EVERY: u32 = 5;

/// What the watchdog works with.
#[derive(Clone)]
pub struct WatchdogDeps {
    /// The store, by a connection of its own that asks the next member soon.
    pub store: Arc<dyn Store>,
    /// Time.
    pub env: Arc<Env>,
    /// This host.
    pub host: HostName,
    /// Where controllers keep their state.
    pub state_dir: StateDir,
    /// What ends containers.
    pub cgroups: Arc<dyn Cgroups>,
    /// What is counted with.
    pub meter: Meter,
}

/// Why the watchdog cannot run. Nothing exclusive starts on this host then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its state cannot be kept.
    #[error("the watchdog cannot keep its state")]
    Disk(#[source] DiskError),
    /// It could end nothing.
    #[error("the watchdog finds no cgroups: {0}")]
    Cgroups(String),
    /// A task of it ended.
    #[error("a part of the watchdog ended")]
    Ended,
}

/// The watchdog's lock is all that its state file is for.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Nothing {}

/// Guards for ever; ends only with an error. What it guards runs on when it is dropped, until its next life.
///
/// # Errors
/// See [`Error`].
pub async fn run(deps: WatchdogDeps) -> Result<(), Error> {
    let _lock = StateFile::<Nothing>::open(&deps.state_dir, Controller::Watchdog).map_err(Error::Disk)?;
    deps.cgroups.check().map_err(Error::Cgroups)?;
    let boot = deps.env.boot().to_owned();
    let files = files::Files::new(&deps.state_dir);
    let first = Watch::new(files.guards().unwrap_or_default(), files.beat().as_ref(), &boot);
    let (tell_watch, watched) = watch::channel(first.clone());
    let (tell, news) = mpsc::channel(16);
    let mut tasks = JoinSet::new();
    tasks.spawn(prove::run(deps.clone(), watched.clone(), tell.clone()));
    tasks.spawn(files::run(files, deps.env.clone(), watched, tell));
    let guard = Loop { deps, watch: first, tell_watch, late: false, sweeps: 0 };
    tokio::select! { biased;
        () = guard.run(news) => Err(Error::Ended),
        _ended = tasks.join_next() => Err(Error::Ended),
    }
}

/// What the loop is told.
enum News {
    /// What is to be guarded.
    Guards(evenkeel_api::local::Guards),
    /// A proof that was asked for at that time, with what the records say.
    Proof(
        Duration,
        std::collections::BTreeMap<evenkeel_api::name::InstanceId, evenkeel_api::record::Desired>,
    ),
}

struct Loop {
    deps: WatchdogDeps,
    watch: Watch,
    tell_watch: watch::Sender<Watch>,
    /// Something must not run, and people were told so.
    late: bool,
    sweeps: u32,
}

impl Loop {
    async fn run(mut self, mut news: mpsc::Receiver<News>) {
        loop {
            let pause = self.sweep();
            let told = tokio::time::timeout(pause, news.recv()).await;
            // The clock first, whatever was told: time may have passed in which we did not run.
            self.sweep();
            match told {
                Ok(Some(News::Guards(guards))) => self.watch.take(guards),
                Ok(Some(News::Proof(sent, records))) => self.watch.proved(sent, &records),
                Ok(None) => return,
                Err(_elapsed) => continue,
            }
            self.tell_watch.send_if_modified(|known| {
                let news = *known != self.watch;
                if news {
                    known.clone_from(&self.watch);
                }
                news
            });
        }
    }

    /// Ends what must not run; how long to rest after it.
    fn sweep(&mut self) -> Duration {
        let now = self.deps.env.boot_time();
        let overdue = self.watch.overdue(now);
        if overdue.is_empty() {
            self.late = false;
            if self.watch.is_empty() {
                return REST;
            }
            let due = self.watch.next_deadline(now).map(|deadline| deadline - now);
            return due.map_or(TICK, |due| due.min(TICK));
        }
        // The first time at once, then now and then: the search reads the whole tree.
        let search = self.sweeps.is_multiple_of(SEARCH_EVERY) || !self.late;
        self.sweeps = self.sweeps.wrapping_add(1);
        self.late = true;
        for (container, guard) in overdue {
            match self.deps.cgroups.end(container, search) {
                Ok(Sweep { found: 0, .. }) => {}
                Ok(Sweep { found, left }) => {
                    tracing::error!(
                        instance = %guard.instance, container, found, left,
                        "ended: for {} nothing proved that this exclusive copy may run", guard.stop_after
                    );
                }
                Err(error) => {
                    tracing::error!(instance = %guard.instance, container, %error, "an exclusive copy cannot be ended");
                }
            }
        }
        SWEEP
    }
}

/// Work on files, beside the loop where the disk may be slow; `None`: this process is ending.
async fn aside<T: Send + 'static>(dir: &StateDir, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match dir.disk().is_slow() {
        true => tokio::task::spawn_blocking(work).await.ok(),
        false => Some(work()),
    }
}
