//! The disk, which may hang: what to guard is read from it, and that the watchdog runs is written to it,
//! beside the loop that must not wait.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Controller;
use evenkeel_api::local::{Beat, Guards};
use evenkeel_api::name::InstanceId;
use evenkeel_plan::watchdog::Watch;
use evenkeel_runtime::disk::{Scratch, Stamp, StateDir, peek};
use evenkeel_runtime::env::Env;
use tokio::sync::{mpsc, watch};

use super::{News, aside};

/// How often, while there is something to guard.
const EVERY: Duration = Duration::from_millis(50);
/// How often else: a host without exclusive copies pays next to nothing, and its first one waits so long at most.
const SEEK: Duration = Duration::from_millis(250);
/// Without anything new, the beat is written as seldom as it may be.
const IDLE: Duration = Duration::from_millis(500);

/// The watchdog's files.
pub(super) struct Files {
    dir: StateDir,
    beat: Scratch<Beat>,
    seen: Option<Stamp>,
}

impl Files {
    /// In that folder.
    pub fn new(dir: &StateDir) -> Self {
        let beat = Scratch::new(dir, Controller::Watchdog, "beat");
        Self { dir: dir.clone(), beat, seen: None }
    }

    /// What is to be guarded. A file that cannot be read says nothing, and least of all «nothing».
    pub fn guards(&self) -> Option<Guards> {
        peek(&self.dir, Controller::Instance, "guards")
    }

    /// What the last life wrote.
    pub fn beat(&self) -> Option<Beat> {
        self.beat.load()
    }

    /// The guards, if they changed since they were last read.
    fn news(&mut self) -> Option<Guards> {
        let file: PathBuf = [Controller::Instance.as_str(), "guards.json"].iter().collect();
        let stamp = self.dir.disk().stamp(&file);
        if stamp.is_none() || self.seen == stamp {
            return None;
        }
        let guards = self.guards()?;
        self.seen = stamp;
        Some(guards)
    }
}

/// The file that is mounted into an exclusive container, and without which it cannot be started.
pub(crate) fn fence(id: &InstanceId) -> PathBuf {
    ["instance", "fence", &id.to_string()].iter().collect()
}

/// Reads and writes for ever.
pub(super) async fn run(
    mut files: Files,
    env: Arc<Env>,
    watched: watch::Receiver<Watch>,
    tell: mpsc::Sender<News>,
) {
    let dir = files.dir.clone();
    let mut written = None;
    loop {
        let (now, watch) = (env.boot_time(), watched.borrow().clone());
        let every = if watch.is_empty() { SEEK } else { EVERY };
        let overdue = watch.overdue(now).into_iter();
        let overdue: Vec<PathBuf> = overdue.map(|(_, guard)| fence(&guard.instance)).collect();
        let due =
            written.as_ref().is_none_or(|(known, at)| *known != watch || now.saturating_sub(*at) >= IDLE);
        let beat = due.then(|| watch.beat(now, env.boot()));
        if due {
            written = Some((watch, now));
        }
        let work = move || {
            // The engine cannot start a container whose fence is not there: not even one that it was asked to
            // start while all was well, and gets to only now.
            for fence in &overdue {
                if let Err(error) = files.dir.disk().remove(fence) {
                    tracing::warn!(fence = %fence.display(), %error, "a fence stays");
                }
            }
            let news = files.news();
            let failed = beat.and_then(|beat| files.beat.write(&beat).err());
            (files, news, failed)
        };
        let Some((back, news, failed)) = aside(&dir, work).await else { return };
        files = back;
        if let Some(error) = failed {
            // Without it nothing exclusive starts here, and what runs is guarded all the same.
            tracing::warn!(%error, "the watchdog's beat is not on disk");
            written = None;
        }
        if let Some(guards) = news
            && tell.send(News::Guards(guards)).await.is_err()
        {
            return;
        }
        tokio::time::sleep(every).await;
    }
}
