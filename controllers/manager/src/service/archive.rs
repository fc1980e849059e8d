//! What a host that may lead remembers of the store, on its disk: all documents and the records that were made
//! of them, so that a store that forgot them can be given them back.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::name::HostName;
use evenkeel_api::recall::{Recall, Remembered, is_durable};
use evenkeel_api::record::Cluster;
use evenkeel_runtime::disk::StateFile;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use evenkeel_runtime::verify::verify;
use evenkeel_runtime::witness::Trust;
use evenkeel_runtime::writer::Writer;

/// Changes are gathered for so long.
const GATHER: Duration = Duration::from_secs(2);
/// Of a large cluster, writing takes at most one part in so many of the time,
const SHARE: u32 = 20;
/// but what a loss of the store would cost is never older than this.
const LONGEST: Duration = Duration::from_secs(10);

/// Keep the archive, and tell it while the store is not trusted. Runs for ever.
pub(super) async fn run(
    store: Arc<dyn Store>,
    host: HostName,
    writer: Writer,
    mirror: Mirror,
    file: Arc<StateFile<Recall>>,
) {
    tokio::join!(
        keep(&*store, &mirror, &file),
        evenkeel_runtime::recall::tell(&*store, &host, Controller::Service, &writer, || file.load()),
    );
}

async fn keep(store: &dyn Store, mirror: &Mirror, file: &Arc<StateFile<Recall>>) {
    let mut changed = mirror.subscribe();
    mirror.synced().await;
    let mut last_life = file.load();
    loop {
        let mut took = Duration::ZERO;
        if let Some(recall) = recall(store, mirror) {
            // Who has never led has written nothing to compare; what it remembers says as much.
            if let Some(why) = last_life.take().and_then(|before| recall.is_behind(&before)) {
                store.witness().distrust(why);
            }
            // A store that went back a moment ago, and was not found out yet, must not be what is remembered.
            let believed = verify(store).await.is_ok() && store.witness().trust() == Trust::Trusted;
            let began = tokio::time::Instant::now();
            if believed && let Err(error) = file.save_aside(Arc::new(recall)).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the archive is not on disk");
            }
            took = began.elapsed();
        }
        tokio::time::sleep(pause(took)).await;
        changed.next().await;
    }
}

/// How long changes are gathered after writing took so long.
fn pause(took: Duration) -> Duration {
    (took * SHARE).clamp(GATHER, LONGEST)
}

/// What stands in the mirror; `None`: it is not to be believed, or there is no cluster.
fn recall(store: &dyn Store, mirror: &Mirror) -> Option<Recall> {
    if store.witness().trust() != Trust::Trusted || !mirror.is_fresh() {
        return None;
    }
    let cluster = mirror.json::<Cluster>(&Key::Cluster)?.value;
    let mut recall =
        Recall { uid: cluster.uid, epoch: cluster.epoch, revision: cluster.floor, ..Recall::default() };
    for kv in super::cache::prefixes().iter().flat_map(|prefix| mirror.list(prefix)) {
        recall.revision = recall.revision.max(kv.mod_revision);
        let durable = kv.key.parse().is_ok_and(|key| is_durable(&key));
        // What is no text is no record of ours, and no document that anybody could read.
        if let (true, Ok(value)) = (durable, std::str::from_utf8(&kv.value)) {
            let remembered = Remembered { value: value.to_owned(), revision: kv.mod_revision };
            recall.records.insert(kv.key, remembered);
        }
    }
    Some(recall)
}

#[cfg(test)]
mod tests {
    use evenkeel_etcd::MemoryStore;
    use evenkeel_runtime::disk::{MemoryDisk, StateDir};
    use evenkeel_runtime::store::TxnBuilder;

    use super::*;

    async fn put(store: &MemoryStore, key: &str, value: &str) {
        let txn = TxnBuilder::new().put(&key.parse().unwrap(), value.to_owned()).build().unwrap();
        assert!(store.commit(&txn).await.unwrap().succeeded);
    }

    /// A life of one that has never led, for some seconds; whether it still trusts the store.
    async fn live(store: &MemoryStore, file: &Arc<StateFile<Recall>>, seed: u64) -> bool {
        let client = store.client(seed);
        let mirror = Mirror::start(Arc::new(client.clone()), super::super::cache::prefixes());
        let keeping = keep(&client, &mirror, file);
        let ended = tokio::time::timeout(Duration::from_secs(30), keeping).await;
        assert!(ended.is_err());
        client.witness().trust() == Trust::Trusted
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_begins_in_the_past_takes_nothing_of_it_over() {
        let dir = StateDir::on(Arc::new(MemoryDisk::new()), std::path::Path::new("/state"));
        let file = Arc::new(StateFile::<Recall>::open(&dir, Controller::Service).unwrap());
        let store = MemoryStore::new(1);
        put(&store, "cluster", r#"{"uid":"u","epoch":1,"level":1}"#).await;
        put(&store, "services/shop/web", "old").await;
        let snapshot = store.snapshot();
        put(&store, "services/shop/late", "lost").await;
        put(&store, "services/shop/web", "new").await;
        assert!(live(&store, &file, 1).await);
        assert!(live(&store, &file, 2).await, "a life after another has nothing to distrust");
        store.restore(&snapshot);
        for n in 0..9 {
            put(&store, "services/shop/other", &n.to_string()).await;
        }
        assert!(!live(&store, &file, 3).await);
        let known = file.load().unwrap();
        assert_eq!(known.records["services/shop/web"].value, "new");
        assert!(known.records.contains_key("services/shop/late"));
        put(&store, "cluster", r#"{"uid":"u","epoch":2,"level":1}"#).await;
        assert!(live(&store, &file, 4).await, "a person has decided");
        assert!(!file.load().unwrap().records.contains_key("services/shop/late"));
    }

    #[test]
    fn the_longer_writing_takes_the_rarer_it_is_within_limits() {
        for (took, expected) in [(0, 2000), (100, 2000), (200, 4000), (500, 10_000), (9000, 10_000)] {
            assert_eq!(pause(Duration::from_millis(took)), Duration::from_millis(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_store_that_is_not_believed_or_was_not_read_anew_nothing_is_remembered() {
        let store = MemoryStore::new(1);
        put(&store, "cluster", r#"{"uid":"u","epoch":3,"level":1,"floor":70}"#).await;
        let mirror = Mirror::start(Arc::new(store.clone()), super::super::cache::prefixes());
        mirror.synced().await;
        let known = recall(&store, &mirror).unwrap();
        assert_eq!((known.uid.as_str(), known.epoch, known.revision), ("u", 3, 70));
        store.witness().distrust("it went back".to_owned());
        assert_eq!(recall(&store, &mirror), None);
        store.witness().forgive();
        assert_eq!(recall(&store, &mirror), None, "what was read before is void");
        mirror.fresh().await;
        assert!(recall(&store, &mirror).is_some());
    }
}
