//! The chain guard: every transaction of a writer demands that `writers/<host>/<controller>` is as its last
//! one left it, and puts it anew. One lost write of the past (a store that was restored or wiped) refuses
//! the next, though no reconnect was noticed.

use std::cmp::Ordering;

use evenkeel_api::record::Writer as Guard;
use serde::{Deserialize, Serialize};

use crate::store::Kv;

/// What a writer keeps on disk, so that its next life still notices a store that went back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWrite {
    /// The cluster's uid; empty while there was none.
    pub cluster: String,
    /// Its epoch. A higher one in the store: a person declared the past void.
    pub epoch: u64,
    /// The guard's revision after the last write that was acknowledged.
    pub revision: i64,
}

/// Where a [`LastWrite`] is kept.
pub trait Memory: Send + Sync {
    /// What was kept last.
    fn load(&self) -> Option<LastWrite>;
    /// Keep it. A failure is the memory's to log: the store's answer matters more.
    fn save(&self, last: &LastWrite);
}

impl Memory for crate::disk::StateFile<LastWrite> {
    fn load(&self) -> Option<LastWrite> {
        Self::load(self)
    }

    fn save(&self, last: &LastWrite) {
        if let Err(error) = Self::save(self, last) {
            tracing::warn!(%error, "the last write cannot be kept on disk");
        }
    }
}

/// Where the chain is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// What is kept on disk.
    pub last: LastWrite,
    /// The guard's count and the ring's next number there.
    pub n: u64,
    pub event: u64,
    /// In which generation of the store's witness it was read.
    pub generation: u64,
    /// A transaction whose outcome is not known.
    pub pending: Option<Pending>,
}

/// A transaction whose outcome is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    /// The guard's count that it puts. Fences that ask for it count on from there.
    pub n: u64,
    /// The newest fence's count.
    pub fence: u64,
    /// The ring's next number, if it was done.
    pub event: u64,
    /// The keys that it writes.
    pub keys: std::collections::BTreeSet<String>,
}

/// What the guard in the store tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// As we left it.
    Ours,
    /// Our pending transaction was done at this revision.
    Done(i64),
    /// It was moved on: by a fence of ours, or by our predecessor's or a twin's write.
    Moved(i64, Guard),
    /// It is older than what we left, or gone: the past has come back.
    Past(String),
}

impl Link {
    /// Judge the guard that stands in the store.
    pub fn judge(&self, guard: Option<&Kv>, process: &str) -> Judgement {
        let revision = guard.map_or(0, |kv| kv.mod_revision);
        let kv = match (revision.cmp(&self.last.revision), guard) {
            (Ordering::Equal, _) => return Judgement::Ours,
            (Ordering::Greater, Some(kv)) => kv,
            (_, found) => {
                let found = found.map_or("it is gone".to_owned(), |_| format!("it is at {revision}"));
                return Judgement::Past(format!(
                    "the writer's guard was left at revision {}, and now {found}",
                    self.last.revision
                ));
            }
        };
        // A guard that cannot be read counts as a stranger's: what matters is its revision.
        let read = serde_json::from_slice(&kv.value).ok();
        let read = read.unwrap_or(Guard { n: self.n, process: String::new(), event: self.event });
        let ours = read.process == process;
        match &self.pending {
            Some(pending) if ours && read.n == pending.n => Judgement::Done(revision),
            _ => Judgement::Moved(revision, read),
        }
    }

    /// Go on from a guard.
    pub fn move_to(&mut self, revision: i64, n: u64, event: u64) {
        self.last.revision = revision;
        self.n = n;
        self.event = event;
    }
}

/// Whether what was kept on disk contradicts what the store says now: the cluster that answers, and the
/// guard's revision.
pub(crate) fn contradicts(kept: &LastWrite, now: &LastWrite) -> Option<String> {
    // A person's word counts in the cluster that it was said of, and in no other.
    let same = kept.cluster.is_empty() || now.cluster == kept.cluster;
    if now.epoch > kept.epoch && same && !now.cluster.is_empty() {
        return None;
    }
    if !kept.cluster.is_empty() && kept.cluster != now.cluster {
        let now = if now.cluster.is_empty() { "none" } else { &now.cluster };
        return Some(format!("this host belongs to cluster {}, and the store says {now}", kept.cluster));
    }
    (now.revision < kept.revision).then(|| {
        format!(
            "the writer's last write was at revision {}, and its guard is at {}",
            kept.revision, now.revision
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use evenkeel_api::key::Controller;

    use super::*;
    use crate::disk::{MemoryDisk, StateDir, StateFile};

    fn kept(cluster: &str, epoch: u64, revision: i64) -> LastWrite {
        LastWrite { cluster: cluster.to_owned(), epoch, revision }
    }

    #[test]
    fn the_disk_notices_a_store_that_went_back_unless_a_person_said_so() {
        for (before, now, trusted) in [
            (kept("u", 1, 10), kept("u", 1, 10), true),
            (kept("u", 1, 10), kept("u", 1, 12), true),
            (kept("u", 1, 10), kept("u", 1, 9), false),
            (kept("u", 1, 10), kept("u", 1, 0), false),
            (kept("u", 1, 10), kept("v", 1, 12), false),
            (kept("u", 1, 10), kept("v", 5, 12), false),
            (kept("u", 1, 10), kept("", 0, 12), false),
            (kept("u", 1, 10), kept("u", 2, 9), true),
            (kept("", 0, 0), kept("u", 0, 0), true),
        ] {
            assert_eq!(contradicts(&before, &now).is_none(), trusted, "{before:?} {now:?}");
        }
    }

    #[test]
    fn the_last_write_is_found_again_on_disk() {
        let dir = StateDir::on(Arc::new(MemoryDisk::new()), Path::new("/state"));
        let file = StateFile::<()>::open(&dir, Controller::Dns).unwrap().beside("writer");
        assert_eq!(Memory::load(&file), None);
        Memory::save(&file, &kept("u", 1, 10));
        assert_eq!(Memory::load(&file), Some(kept("u", 1, 10)));
    }

    #[test]
    fn the_guard_tells_what_became_of_a_transaction() {
        let guard = |revision: i64, n: u64, process: &str| Kv {
            key: "writers/h1/dns".to_owned(),
            value: serde_json::to_vec(&Guard { n, process: process.to_owned(), event: 3 }).unwrap().into(),
            create_revision: 1,
            mod_revision: revision,
            lease: 0,
        };
        let moved = |revision, n, process: &str| {
            Judgement::Moved(revision, Guard { n, process: process.to_owned(), event: 3 })
        };
        let past =
            |now| Judgement::Past(format!("the writer's guard was left at revision 10, and now {now}"));
        let pending = Some(Pending { n: 5, fence: 6, event: 3, keys: std::collections::BTreeSet::new() });
        for (pending, found, expected) in [
            (None, Some(guard(10, 4, "me")), Judgement::Ours),
            (None, Some(guard(12, 5, "me")), moved(12, 5, "me")),
            (pending.clone(), Some(guard(12, 5, "me")), Judgement::Done(12)),
            (pending.clone(), Some(guard(12, 6, "me")), moved(12, 6, "me")),
            (pending.clone(), Some(guard(12, 5, "twin")), moved(12, 5, "twin")),
            (pending, Some(guard(9, 5, "me")), past("it is at 9")),
            (None, None, past("it is gone")),
        ] {
            let link = Link { last: kept("u", 1, 10), n: 4, event: 2, generation: 0, pending };
            assert_eq!(link.judge(found.as_ref(), "me"), expected);
        }
    }
}
