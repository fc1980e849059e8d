//! The report's room: what became of the instances, to the siblings' file at once, and to the store in
//! batches. Only what differs from what was told is written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::recall::{Recall, Remembered};
use evenkeel_api::record::{Observed, Revision};
use evenkeel_runtime::disk::StateFile;
use evenkeel_runtime::store::{MAX_WRITES, TxnBuilder};
use evenkeel_runtime::writer::{Outcome, Writer};
use tokio::sync::Notify;

use super::world::Saved;

/// Between two transactions.
const BATCH: Duration = Duration::from_millis(100);
/// Between two writes of the file.
const FILE: Duration = Duration::from_millis(10);
/// After a transaction that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// What there is to tell; shared by the driver and the two tasks.
pub(super) struct Reports {
    host: HostName,
    inner: Mutex<Inner>,
    file: Notify,
    store: Notify,
}

#[derive(Default)]
struct Inner {
    saved: Saved,
    /// What the store shall hold; `None`: no such key.
    wanted: BTreeMap<InstanceId, Option<Observed>>,
    /// What it holds, as far as this process knows.
    told: BTreeMap<InstanceId, Option<Observed>>,
}

impl Reports {
    pub(super) fn new(host: &HostName, saved: Saved) -> Arc<Self> {
        let inner = Mutex::new(Inner { saved, ..Inner::default() });
        Arc::new(Self { host: host.clone(), inner, file: Notify::new(), store: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store was found to hold, when it was first read.
    pub(super) fn found(&self, found: BTreeMap<InstanceId, Option<Observed>>) {
        let mut inner = self.lock();
        for (id, observed) in found {
            inner.told.entry(id).or_insert(observed);
        }
    }

    /// What the store was found to hold since a person decided that its past is void: what was told before
    /// counts no more.
    pub(super) fn found_anew(&self, found: BTreeMap<InstanceId, Option<Observed>>) {
        self.lock().told = found;
        self.store.notify_one();
    }

    /// Somebody else has written over what was told: it is told again.
    pub(super) fn was_spoilt(&self, id: &InstanceId) {
        self.lock().told.remove(id);
        self.store.notify_one();
    }

    /// Tell that an instance is so; `None`: forget it.
    pub(super) fn tell(&self, id: &InstanceId, observed: Option<&Observed>) {
        self.lock().wanted.insert(id.clone(), observed.cloned());
    }

    /// All that was told is to be written.
    pub(super) fn save(&self, saved: Saved) {
        let mut inner = self.lock();
        if inner.saved == saved {
            // The file says so, or is tried again until it does.
            self.store.notify_one();
        } else {
            inner.saved = saved;
            self.file.notify_one();
        }
    }

    /// What this host runs and was told to run, as records of the store.
    pub(super) fn recall(&self) -> Recall {
        let saved = self.lock().saved.clone();
        let mut recall = Recall { uid: saved.uid, ..Recall::default() };
        let mut remember = |key: Key, value: Result<String, serde_json::Error>| {
            if let Ok(value) = value {
                recall.records.insert(key.to_string(), Remembered { value, revision: 0 });
            }
        };
        for (id, one) in saved.instances {
            let Some(record) = one.record else { continue };
            if let Some(template) = one.template {
                let key = Key::Revision(record.template.service.clone(), record.template.revision);
                remember(key, serde_json::to_string(&Revision { template }));
            }
            remember(Key::Observed(self.host.clone(), id.clone()), serde_json::to_string(&one.observed));
            remember(Key::Instance(self.host.clone(), id), serde_json::to_string(&record));
        }
        // A host that never ran anything tells just that, and need not be waited for.
        recall
    }

    /// Keeps the file. Siblings see a change before the store does.
    pub(super) async fn keep_file(self: Arc<Self>, file: StateFile<Saved>) {
        let mut failing = false;
        loop {
            if failing {
                // Siblings go by this file: what a full disk refused is tried again, though nothing changes.
                let _news = tokio::time::timeout(AGAIN, self.file.notified()).await;
            } else {
                self.file.notified().await;
            }
            let saved = self.lock().saved.clone();
            let done = file.save(&saved);
            if let Err(error) = &done
                && !failing
            {
                tracing::error!(%error, "the instances' state cannot be kept on disk");
            }
            failing = done.is_err();
            self.store.notify_one();
            tokio::time::sleep(FILE).await;
        }
    }

    /// Keeps the store.
    pub(super) async fn keep_store(self: Arc<Self>, writer: Writer) {
        loop {
            self.store.notified().await;
            while self.flush(&writer).await {
                tokio::time::sleep(AGAIN).await;
            }
            tokio::time::sleep(BATCH).await;
        }
    }

    /// Writes what there is; whether some of it must be tried again.
    async fn flush(&self, writer: &Writer) -> bool {
        loop {
            let batch = self.batch();
            if batch.is_empty() {
                return false;
            }
            let mut txn = TxnBuilder::new();
            for (id, observed) in &batch {
                let key = Key::Observed(self.host.clone(), id.clone());
                txn = match observed.as_ref().map(serde_json::to_vec) {
                    Some(Ok(value)) => txn.put(&key, value),
                    // Cannot happen: these records are plain.
                    Some(Err(error)) => {
                        tracing::error!(%id, %error, "a report cannot be written as JSON");
                        txn
                    }
                    None => txn.delete(&key),
                };
            }
            match writer.commit(txn).await {
                Ok(Outcome::Done { .. }) => self.lock().told.extend(batch),
                Ok(Outcome::Lost) => return true,
                Err(error) => {
                    tracing::debug!(%error, "reports wait for the store");
                    return true;
                }
            }
        }
    }

    fn batch(&self) -> Vec<(InstanceId, Option<Observed>)> {
        let mut inner = self.lock();
        let Inner { wanted, told, .. } = &mut *inner;
        // What was forgotten and is told needs no further thought.
        wanted.retain(|id, observed| observed.is_some() || told.get(id) != Some(&None));
        told.retain(|id, observed| observed.is_some() || wanted.contains_key(id));
        let unknown = None;
        let news = wanted.iter().filter(|(id, observed)| told.get(*id) != Some(observed));
        // Nothing to delete where nothing was written.
        let news =
            news.filter(|(id, observed)| observed.is_some() || told.get(*id).unwrap_or(&unknown).is_some());
        news.take(MAX_WRITES).map(|(id, observed)| (id.clone(), observed.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use evenkeel_api::key::Controller;
    use evenkeel_api::record::{Desired, Instance, InstanceState, Timestamp};
    use evenkeel_api::service::Template;
    use evenkeel_runtime::disk::{MemoryDisk, Siblings, StateDir};
    use tokio::time::sleep;

    use super::super::world::SavedInstance;
    use super::*;

    fn id() -> InstanceId {
        "shop.web.1.1".parse().unwrap()
    }

    fn observed(restarts: u32) -> Observed {
        Observed {
            state: InstanceState::Running,
            since: Timestamp(1),
            started: None,
            restarts,
            addresses: BTreeMap::new(),
            ports: Vec::new(),
            engine_health: None,
            digest: None,
        }
    }

    fn reports() -> Arc<Reports> {
        Reports::new(&"h1".parse().unwrap(), Saved::default())
    }

    #[test]
    fn only_what_differs_from_what_the_store_was_found_to_hold_is_written() {
        let (old, new) = (observed(0), observed(1));
        let table = [
            // What the store holds, what is told, what is written.
            (None, None, None),
            (None, Some(&old), Some(Some(old.clone()))),
            (Some(&old), Some(&old), None),
            (Some(&old), Some(&new), Some(Some(new.clone()))),
            (Some(&old), None, Some(None)),
        ];
        for (found, told, written) in table {
            let reports = reports();
            reports.found([(id(), found.cloned())].into());
            assert_eq!(reports.batch(), [], "nothing is told yet");
            reports.tell(&id(), told);
            let expected: Vec<_> = written.into_iter().map(|observed| (id(), observed)).collect();
            assert_eq!(reports.batch(), expected, "{told:?} where the store holds {found:?}");
        }
    }

    #[test]
    fn what_was_told_to_a_past_that_is_void_is_told_again() {
        let reports = reports();
        reports.found([(id(), Some(observed(0)))].into());
        reports.tell(&id(), Some(&observed(0)));
        assert_eq!(reports.batch(), []);
        reports.found_anew([(id(), None)].into());
        assert_eq!(reports.batch(), [(id(), Some(observed(0)))]);
    }

    #[test]
    fn what_this_host_runs_and_was_told_to_run_is_recalled_as_records() {
        let record = Instance {
            template: "shop/web@7".parse().unwrap(),
            slot: id().slot,
            desired: Desired::Run,
            cause: String::new(),
            fence: None,
            restart: None,
        };
        let one = SavedInstance {
            desired: Desired::Run,
            observed: observed(0),
            ports: Vec::new(),
            record: Some(record),
            template: Some(Template::default()),
            accepted: None,
            pin: None,
        };
        let unwanted = SavedInstance { record: None, ..one.clone() };
        let bare = SavedInstance { template: None, ..one.clone() };
        for (saved, keys) in [
            (
                &one,
                vec![
                    "instances/h1/shop.web.1.1",
                    "observed/h1/shop.web.1.1",
                    "revisions/services/shop/web/7",
                ],
            ),
            (&bare, vec!["instances/h1/shop.web.1.1", "observed/h1/shop.web.1.1"]),
            (&unwanted, Vec::new()),
        ] {
            let reports = reports();
            let instances = [(id(), saved.clone())].into();
            reports.save(Saved { uid: "u1".to_owned(), instances, ..Saved::default() });
            let recall = reports.recall();
            assert_eq!(recall.uid, "u1");
            assert_eq!(recall.records.into_keys().collect::<Vec<_>>(), keys);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_full_disk_refused_is_on_it_once_there_is_room() {
        let disk = MemoryDisk::new();
        let dir = StateDir::on(Arc::new(disk.clone()), Path::new("/state"));
        let reports = Reports::new(&"h1".parse().unwrap(), Saved::default());
        let file = StateFile::open(&dir, Controller::Instance).unwrap();
        let task = tokio::spawn(reports.clone().keep_file(file));
        disk.set_full(true);
        reports.save(Saved { uid: "u".to_owned(), ..Saved::default() });
        sleep(Duration::from_secs(1)).await;
        disk.set_full(false);
        sleep(Duration::from_secs(1)).await;
        let kept: Saved = Siblings::new(&dir).read(Controller::Instance).unwrap();
        assert_eq!(kept.uid, "u");
        task.abort();
    }
}
