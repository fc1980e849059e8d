//! A store that goes back to the past, and the person who decides which way leads out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::record::{Desired, Instance, Timestamp};
use evenkeel_etcd::memory::Snapshot;
use evenkeel_manager::recover::{View, Way};
use evenkeel_runtime::store::{Kv, Store, TxnBuilder};
use futures_util::FutureExt;

use super::Cluster;
use crate::act::Back;
use crate::documents::NETWORK;

/// Between two tries to recover.
const AGAIN: Duration = Duration::from_secs(1);
/// Until then somebody has seen it, if anybody can.
const SEEN: Duration = Duration::from_secs(60);
/// The revisions that a careful person adds.
const BUMP: i64 = 1_000_000;

/// See the module.
#[derive(Default)]
pub(super) struct Past {
    snapshot: Option<Snapshot>,
    /// How often the store went back.
    restores: u64,
    /// It is in the past.
    lasts: Option<Lasts>,
    /// When people look whether all is there that they want.
    insist_at: Option<Duration>,
}

struct Lasts {
    way: Way,
    /// Whether anything of a controller's was lost: else nobody can tell, and nobody needs to.
    lost: bool,
    decides: Duration,
    /// What was told last.
    said: String,
}

impl Cluster {
    /// How often the store went back.
    pub fn restores(&self) -> u64 {
        self.past.restores
    }

    /// Whether it is certain what people want, and whether the store says so.
    pub fn is_sure(&self) -> bool {
        self.past.lasts.is_none() && self.past.insist_at.is_none()
    }

    /// Whether the store may be halted.
    pub fn is_past(&self) -> bool {
        self.past.lasts.is_some()
    }

    pub(super) fn save_snapshot(&mut self) {
        self.past.snapshot = Some(self.store.snapshot());
    }

    /// The store goes back. Not twice at a time.
    pub(super) fn go_back(&mut self, to: Back, way: Way, decides: Duration) {
        let snapshot = self.past.snapshot.clone();
        if self.past.lasts.is_some() || (to != Back::Wiped && snapshot.is_none()) {
            return;
        }
        let (before, writers) = (self.store.revision(), self.writers());
        let wanted = self.store.peek(&prefix::instances()).iter().filter_map(is_wanted).collect();
        match (to, snapshot) {
            (Back::Bumped, Some(snapshot)) => self.store.restore_bumped(&snapshot, BUMP),
            (Back::Restored | Back::Overtaken, Some(snapshot)) => self.store.restore(&snapshot),
            _ => self.store.wipe(),
        }
        if to == Back::Overtaken {
            self.overtake(before);
        }
        let lost = self.writers() != writers;
        let what = format!("from revision {before} to {}; lost: {lost}", self.store.revision());
        self.timeline.say("act", &what);
        self.past.restores += 1;
        self.past.insist_at = None;
        let decides = self.timeline.now() + decides;
        self.past.lasts = Some(Lasts { way, lost, decides, said: String::new() });
        self.troubles(0, true);
        if lost {
            self.judge.goes_back(wanted);
        }
    }

    /// What controllers left in the store.
    fn writers(&self) -> BTreeSet<(String, i64)> {
        self.store.peek("writers/").into_iter().map(|kv| (kv.key, kv.mod_revision)).collect()
    }

    /// People write until the store is past `revision` again.
    fn overtake(&mut self, revision: i64) {
        let person = self.store.client(0);
        let network = "networks/lan".parse().ok().map(|key: Key| (key, NETWORK.to_owned()));
        let services = self.wanted.values().map(|service| (service.key(), service.text()));
        let texts: Vec<(Key, String)> = services.chain(network).collect();
        for (key, text) in texts.iter().cycle() {
            let txn = TxnBuilder::new().put(key, text.clone()).build();
            let done = txn.ok().and_then(|txn| person.commit(&txn).now_or_never());
            if self.store.revision() > revision + 3 || !matches!(done, Some(Ok(_))) {
                return;
            }
        }
    }

    /// People decide at once.
    pub(super) fn decide_now(&mut self) {
        let now = self.timeline.now();
        if let Some(lasts) = &mut self.past.lasts {
            lasts.decides = lasts.decides.min(now);
            self.troubles(0, true);
        }
        self.past.insist_at = self.past.insist_at.map(|at| at.min(now));
    }

    /// What people do while the store is in the past, and after.
    pub(super) async fn look_after_the_past(&mut self) {
        let now = self.timeline.now();
        if self.past.insist_at.is_some_and(|at| at <= now) {
            self.past.insist_at = None;
            self.insist();
        }
        let Some(lasts) = self.past.lasts.as_mut().filter(|lasts| lasts.decides <= now) else { return };
        lasts.decides = now + AGAIN;
        let (way, lost) = (lasts.way, lasts.lost);
        let store: Arc<dyn Store> = Arc::new(self.store.client(0));
        let done = match View::read(&store).await {
            Ok(view) if view.is_needed() => {
                let wall = Timestamp(i64::try_from(now.as_millis()).unwrap_or_default());
                view.recover(&store, way, wall).await.map(|count| Some(format!("{count} records")))
            }
            Ok(_) if lost && now < self.trouble.get(&0).copied().unwrap_or_default() + SEEN => Ok(None),
            Ok(_) => Ok(Some("nobody distrusts it".to_owned())),
            Err(error) => Err(error),
        };
        match done {
            Ok(None) => {}
            Ok(Some(what)) => {
                self.timeline.say("user", &format!("recovered {way:?}: {what}"));
                self.past.lasts = None;
                let pause = if self.mended { Duration::ZERO } else { self.chance.ms(0, 40_000) };
                self.past.insist_at = Some(now + pause);
                self.is_over(0);
                self.judge.trusts();
            }
            Err(error) => {
                let why = error.to_string();
                if let Some(lasts) = self.past.lasts.as_mut().filter(|lasts| lasts.said != why) {
                    self.timeline.say("user", &format!("not recovered: {why}"));
                    lasts.said = why;
                }
            }
        }
    }
}

/// The key of a record that says that its copy is to run as it does.
fn is_wanted(kv: &Kv) -> Option<String> {
    let record: Instance = serde_json::from_slice(&kv.value).ok()?;
    (record.desired == Desired::Run && record.restart.is_none()).then(|| kv.key.clone())
}
