//! Who is to be told of which keys: those who watch a prefix are woken by nothing else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_api::key::prefix;
use evenkeel_runtime::tick::Tick;

/// What those have in common who watch one prefix.
#[derive(Debug, Default)]
pub(super) struct Topic {
    pub tick: Arc<Tick>,
    /// The revision of its last change, as far as it is known.
    last: AtomicI64,
}

impl Topic {
    /// Whether nothing of it changed after `revision`, for one who was told up to there.
    pub fn is_quiet(&self, revision: i64) -> bool {
        self.last.load(Ordering::Relaxed) <= revision
    }
}

/// All prefixes that were ever watched.
#[derive(Debug, Default)]
pub(super) struct Topics(Mutex<BTreeMap<String, Arc<Topic>>>);

impl Topics {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Topic>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn of(&self, prefix: &str) -> Arc<Topic> {
        self.all().entry(prefix.to_owned()).or_default().clone()
    }

    /// These keys changed, up to that revision.
    pub fn tell(&self, keys: &[String], revision: i64) {
        if keys.is_empty() {
            return;
        }
        for (prefix, topic) in self.all().iter() {
            if keys.iter().any(|key| prefix::covers(prefix, key)) {
                topic.last.store(revision, Ordering::Relaxed);
                topic.tick.tell();
            }
        }
    }

    /// Something happened to the store itself.
    pub fn tell_all(&self) {
        for topic in self.all().values() {
            topic.tick.tell();
        }
    }
}
