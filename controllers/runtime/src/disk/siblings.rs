//! The state files of other controllers on this host, to read. inotify tells of changes; where it is not to
//! be had, the files are looked at five times a second.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_api::key::Controller;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::STATE;

const POLL: Duration = Duration::from_millis(200);
/// With inotify too, the files are looked at now and then: an event may be lost in an overflow.
const RECHECK: Duration = Duration::from_secs(10);

/// The state of other controllers on this host, to read.
pub struct Siblings {
    state_dir: PathBuf,
    known: BTreeMap<Controller, Option<Stamp>>,
    pending: BTreeSet<Controller>,
    /// None until first waited for, which is when there is surely a runtime.
    events: Option<Events>,
}

/// Tells one version of a file from the next: a save is a rename, so the inode changes.
type Stamp = (u64, i64, i64, u64);

enum Events {
    Inotify { fd: AsyncFd<Fd>, watched: BTreeMap<Controller, WatchDescriptor> },
    Poll,
}

impl Siblings {
    /// Look into `state_dir`, which holds a folder for each controller, now or later.
    pub fn new(state_dir: &Path) -> Siblings {
        let state_dir = state_dir.to_owned();
        let known = Controller::ALL.into_iter().map(|c| (c, stamp(&state_dir, c))).collect();
        Siblings { state_dir, known, pending: BTreeSet::new(), events: None }
    }

    /// What a controller saved last; none if there is nothing readable.
    pub fn read<T: DeserializeOwned>(&self, controller: Controller) -> Option<T> {
        super::load(&path(&self.state_dir, controller))
    }

    /// The next controller whose state changed since it was told of last, or since [`Siblings::new`].
    /// Cancel-safe.
    pub async fn changed(&mut self) -> Controller {
        loop {
            if self.events.is_none() {
                self.events = Some(Events::new(&self.state_dir));
            }
            if let Some(events) = &mut self.events {
                events.watch_folders(&self.state_dir);
            }
            self.look();
            if let Some(controller) = self.pending.pop_first() {
                return controller;
            }
            if let Some(events) = &mut self.events {
                events.wait().await;
            }
        }
    }

    fn look(&mut self) {
        for (controller, known) in &mut self.known {
            let now = stamp(&self.state_dir, *controller);
            if *known != now {
                *known = now;
                self.pending.insert(*controller);
            }
        }
    }
}

impl Events {
    fn new(state_dir: &Path) -> Self {
        #[expect(deprecated, reason = "its successor is unsafe; `Fd` owns what it lends, so this is sound")]
        let open = || -> std::io::Result<AsyncFd<Fd>> {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
            inotify.add_watch(state_dir, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
            AsyncFd::with_interest(Fd(inotify), Interest::READABLE)
        };
        match open() {
            Ok(fd) => Events::Inotify { fd, watched: BTreeMap::new() },
            Err(error) => {
                tracing::warn!(%error, "inotify is not to be had; siblings are looked at every 200 ms");
                Events::Poll
            }
        }
    }

    /// Folders appear when their controllers first start.
    fn watch_folders(&mut self, state_dir: &Path) {
        let Events::Inotify { fd, watched } = self else { return };
        for controller in Controller::ALL {
            let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
            // Adding a watch anew is harmless, and gives the new folder where one was replaced.
            if let Ok(wd) = fd.get_ref().0.add_watch(&state_dir.join(controller.as_str()), flags) {
                watched.insert(controller, wd);
            }
        }
    }

    async fn wait(&mut self) {
        let Events::Inotify { fd, .. } = self else { return tokio::time::sleep(POLL).await };
        tokio::select! { biased;
            ready = fd.readable() => match ready {
                // Which file it was does not matter: the caller looks at them all.
                Ok(mut guard) => {
                    while fd.get_ref().0.read_events().is_ok() {}
                    guard.clear_ready();
                }
                Err(error) => {
                    tracing::warn!(%error, "inotify failed; siblings are looked at every 200 ms");
                    *self = Events::Poll;
                }
            },
            () = tokio::time::sleep(RECHECK) => {}
        }
    }
}

fn path(state_dir: &Path, controller: Controller) -> PathBuf {
    state_dir.join(controller.as_str()).join(STATE)
}

fn stamp(state_dir: &Path, controller: Controller) -> Option<Stamp> {
    let meta = std::fs::metadata(path(state_dir, controller)).ok()?;
    Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
}

/// What `AsyncFd` wants of a descriptor.
struct Fd(Inotify);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
