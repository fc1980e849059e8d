//! A store that went back to the past, in each way in which one can, as each kind of process meets it.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::record::{Halt, Timestamp};
use evenkeel_etcd::MemoryStore;
use evenkeel_etcd::memory::Snapshot;
use evenkeel_runtime::env::{Env, SystemClock};
use evenkeel_runtime::leader::Leadership;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::{Store, TxnBuilder};
use evenkeel_runtime::verify::verify;
use evenkeel_runtime::writer::{LastWrite, Memory, Outcome, Trust, Writer};
use tokio::time::sleep;

#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Option<LastWrite>>>);
impl Memory for Disk {
    fn load(&self) -> Option<LastWrite> {
        self.0.lock().unwrap().clone()
    }
    fn save(&self, last: &LastWrite) {
        *self.0.lock().unwrap() = Some(last.clone());
    }
}

/// A process on a host, with a client and a disk of its own.
struct Process {
    store: MemoryStore,
    host: &'static str,
    disk: Disk,
    writer: Writer,
}

impl Process {
    fn start(store: &MemoryStore, host: &'static str, disk: Disk) -> Self {
        let seed = u64::from(host.as_bytes()[1]);
        let store = store.client(seed);
        let env = Arc::new(Env::new(SystemClock, seed));
        let writer = Writer::new(Arc::new(store.clone()), env, host.parse().unwrap(), Controller::Instance)
            .remember(disk.clone());
        Self { store, host, disk, writer }
    }

    async fn write(&self, value: &str) -> bool {
        let key = format!("facts/{}", self.host).parse().unwrap();
        let done = self.writer.commit(TxnBuilder::new().put(&key, value.to_owned())).await;
        matches!(done, Ok(Outcome::Done { .. }))
    }

    /// Its next life, with its disk.
    fn restart(self, store: &MemoryStore) -> Self {
        let (host, disk) = (self.host, self.disk.clone());
        drop(self);
        Self::start(store, host, disk)
    }

    fn trusts(&self) -> bool {
        self.writer.trust() == Trust::Trusted
    }
}

async fn raw(store: &MemoryStore, key: &str, value: &str) {
    let txn = TxnBuilder::new().put(&key.parse().unwrap(), value.to_owned()).build().unwrap();
    assert!(store.commit(&txn).await.unwrap().succeeded);
}

async fn overtake(store: &MemoryStore) {
    for n in 0..50 {
        raw(store, "facts/other", &n.to_string()).await;
    }
}

/// The ways of going back, by name. The last two found another cluster in place of ours.
const WAYS: [&str; 8] = [
    "restored",
    "restored and overtaken",
    "restored with a bump",
    "wiped",
    "wiped and overtaken",
    "replaced by an empty cluster",
    "wiped and founded anew",
    "replaced by a cluster of a higher epoch",
];

async fn go_back(store: &MemoryStore, snapshot: &Snapshot, way: &str) {
    match way {
        "restored" | "restored and overtaken" => store.restore(snapshot),
        "restored with a bump" => store.restore_bumped(snapshot, 1_000_000),
        "wiped" | "wiped and overtaken" | "wiped and founded anew" => store.wipe(),
        _ => store.replace(77),
    }
    // Nobody was there to see the low revisions.
    if way.contains("overtaken") || way.contains("founded") || way.contains("epoch") {
        let fresh = store.client(99);
        overtake(&fresh).await;
        if way.contains("founded") || way.contains("epoch") {
            raw(&fresh, "cluster", r#"{"uid":"v","epoch":9,"level":1}"#).await;
        }
    }
}

/// A store in which two hosts have written, of which only the second has since the snapshot.
async fn two(store: &MemoryStore) -> (Process, Process, Snapshot) {
    raw(store, "cluster", r#"{"uid":"u","epoch":1,"level":1}"#).await;
    let idle = Process::start(store, "h1", Disk::default());
    let busy = Process::start(store, "h2", Disk::default());
    assert!(idle.write("a").await && busy.write("a").await);
    let snapshot = store.snapshot();
    for value in ["b", "c", "d"] {
        assert!(busy.write(value).await);
    }
    sleep(Duration::from_secs(2)).await;
    (idle, busy, snapshot)
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_out_all_learn_it_in_some_seconds_without_a_write_of_theirs() {
    for way in WAYS {
        let store = MemoryStore::new(1);
        let (idle, busy, snapshot) = two(&store).await;
        let late = Process::start(&store, "h3", Disk::default());
        for one in [&idle, &busy, &late] {
            one.store.cut_off(true);
        }
        go_back(&store, &snapshot, way).await;
        for one in [&idle, &busy, &late] {
            one.store.cut_off(false);
        }
        sleep(Duration::from_secs(12)).await;
        assert!(!busy.trusts(), "{way}: who wrote after the snapshot");
        assert!(!idle.trusts(), "{way}: who did not");
        assert!(!busy.write("e").await && !idle.write("e").await, "{way}");
        // One that knows nothing of the cluster, and so cannot tell its past, is held where others say so.
        let founded = way.contains("founded") || way.contains("epoch");
        assert_eq!(late.trusts(), founded, "{way}: who never wrote");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_writer_is_refused_before_it_has_learnt_it() {
    let store = MemoryStore::new(1);
    let (idle, busy, snapshot) = two(&store).await;
    store.restore(&snapshot);
    overtake(&store.client(9)).await;
    assert!(!busy.write("e").await);
    sleep(Duration::from_millis(10)).await;
    assert!(store.get(&Key::Halt).await.unwrap().0.is_some());
    assert!(!idle.write("b").await, "its own guard is as it left it");
    assert!(!idle.trusts());
}

#[tokio::test(start_paused = true)]
async fn controllers_that_were_all_restarted_meanwhile_still_know() {
    for way in WAYS {
        let store = MemoryStore::new(1);
        let (idle, busy, snapshot) = two(&store).await;
        store.set_down(true);
        go_back(&store, &snapshot, "restored").await;
        store.set_down(false);
        go_back(&store, &snapshot, way).await;
        let (idle, busy) = (idle.restart(&store), busy.restart(&store));
        sleep(Duration::from_secs(12)).await;
        assert!(!busy.trusts() && !idle.trusts(), "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_keeps_what_it_saw_and_takes_over_what_a_person_decides() {
    for way in WAYS {
        let store = MemoryStore::new(1);
        let (_idle, busy, snapshot) = two(&store).await;
        let mirror = Mirror::start(Arc::new(busy.store.clone()), vec!["facts/".to_owned()]);
        mirror.synced().await;
        busy.store.cut_off(true);
        go_back(&store, &snapshot, way).await;
        busy.store.cut_off(false);
        sleep(Duration::from_secs(60)).await;
        raw(&store, "facts/h2", "of another history").await;
        sleep(Duration::from_secs(900)).await;
        let value = |key: &str| mirror.get(&key.parse().unwrap()).map(|kv| kv.value.to_vec());
        assert_eq!(value("facts/h2"), Some(b"d".to_vec()), "{way}");
        assert!(value("facts/other").is_none(), "{way}");
        assert!(mirror.is_fresh());
        let cluster = r#"{"uid":"u","epoch":12,"level":1}"#;
        let recovered = TxnBuilder::new().put(&Key::Cluster, cluster).delete(&Key::Halt).build().unwrap();
        store.commit(&recovered).await.unwrap();
        sleep(Duration::from_secs(20)).await;
        assert!(busy.trusts() && mirror.is_fresh(), "{way}");
        assert_eq!(value("facts/h2"), Some(b"of another history".to_vec()), "{way}");
        assert!(busy.write("f").await, "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_of_another_cluster_halts_nobody() {
    let store = MemoryStore::new(1);
    let (idle, busy, _) = two(&store).await;
    let lost = LastWrite { cluster: "w".to_owned(), epoch: 1, revision: 3 };
    let stray = Process::start(&store, "h9", Disk(Arc::new(Mutex::new(Some(lost)))));
    sleep(Duration::from_secs(30)).await;
    assert!(!stray.trusts());
    assert!(idle.trusts() && busy.trusts() && busy.write("e").await);
    assert!(store.get(&Key::Halt).await.unwrap().0.is_none());
}

#[tokio::test(start_paused = true)]
async fn who_finds_out_after_a_person_has_decided_halts_nobody_anew() {
    let store = MemoryStore::new(1);
    let (idle, busy, snapshot) = two(&store).await;
    // The first writer of a process has never written, and knows nothing by itself; the second one has.
    let (shared, env) = (store.client(3), Arc::new(Env::new(SystemClock, 3)));
    let [silent, speaks] = [Controller::Network, Controller::Instance].map(|controller| {
        Writer::new(Arc::new(shared.clone()), env.clone(), "h3".parse().unwrap(), controller)
    });
    let written = speaks.commit(TxnBuilder::new().put(&"facts/h3".parse().unwrap(), "a")).await;
    assert!(matches!(written, Ok(Outcome::Done { .. })));
    idle.store.cut_off(true);
    shared.cut_off(true);
    store.restore(&snapshot);
    sleep(Duration::from_secs(12)).await;
    assert!(!busy.trusts());
    let cluster = r#"{"uid":"u","epoch":2,"level":1}"#;
    let recovered = TxnBuilder::new().put(&Key::Cluster, cluster).delete(&Key::Halt).build().unwrap();
    store.commit(&recovered).await.unwrap();
    // Its first look at the store shows a revision that went back.
    for late in [&idle.store, &shared] {
        late.witness().distrust("etcd went back".to_owned());
        late.cut_off(false);
    }
    sleep(Duration::from_secs(20)).await;
    assert!(idle.trusts() && busy.trusts() && silent.trust() == Trust::Trusted);
    assert!(store.get(&Key::Halt).await.unwrap().0.is_none());
}

#[tokio::test(start_paused = true)]
async fn who_says_why_while_another_writer_of_its_process_hears_that_all_is_decided_halts_nobody_anew() {
    let store = MemoryStore::new(1);
    let (idle, _busy, snapshot) = two(&store).await;
    idle.store.cut_off(true);
    store.restore(&snapshot);
    idle.store.witness().distrust("etcd went back".to_owned());
    sleep(Duration::from_secs(1)).await;
    raw(&store, "cluster", r#"{"uid":"u","epoch":2,"level":1}"#).await;
    idle.store.cut_off(false);
    idle.store.delay(Duration::from_millis(100));
    // It tries again after five seconds, and has forgiven within 300 ms; another one begins just before that,
    // and is slow.
    sleep(Duration::from_millis(4250)).await;
    idle.store.delay(Duration::from_secs(1));
    let env = Arc::new(Env::new(SystemClock, 3));
    let late = Writer::new(Arc::new(idle.store.clone()), env, "h1".parse().unwrap(), Controller::Network);
    sleep(Duration::from_millis(1)).await;
    idle.store.delay(Duration::from_millis(100));
    assert!(!idle.trusts());
    sleep(Duration::from_secs(20)).await;
    assert!(idle.trusts() && late.trust() == Trust::Trusted);
    assert!(store.get(&Key::Halt).await.unwrap().0.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_takes_over_knows_what_the_lost_leader_had_written() {
    for way in ["restored", "restored and overtaken", "restored with a bump"] {
        let store = MemoryStore::new(1);
        raw(&store, "cluster", r#"{"uid":"u","epoch":1,"level":1}"#).await;
        let candidate = |host: &'static str, seed: u64| {
            let client = store.client(seed);
            let env = Arc::new(Env::new(SystemClock, seed));
            let controller = Controller::Instance;
            let shared: Arc<dyn Store> = Arc::new(client.clone());
            let writer = Writer::new(shared.clone(), env.clone(), host.parse().unwrap(), controller);
            (client, writer, Leadership::start(shared, env, host.parse().unwrap(), controller, true))
        };
        let leader = candidate("h1", 1);
        sleep(Duration::from_secs(1)).await;
        let standby = candidate("h2", 2);
        sleep(Duration::from_secs(1)).await;
        let snapshot = store.snapshot();
        let key: Key = "facts/h1".parse().unwrap();
        for value in ["a", "b"] {
            let done = leader.1.commit(TxnBuilder::new().put(&key, value)).await;
            assert!(matches!(done, Ok(Outcome::Done { .. })));
        }
        sleep(Duration::from_secs(6)).await;
        // The leader is gone, with its disk; the standby was away while others wrote.
        drop(leader);
        standby.0.cut_off(true);
        go_back(&store, &snapshot, way).await;
        standby.0.cut_off(false);
        sleep(Duration::from_secs(12)).await;
        assert_ne!(standby.1.trust(), Trust::Trusted, "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_halt_is_told_in_its_own_words_and_counts_also_if_they_cannot_be_read() {
    let why = "h2: its guard is gone".to_owned();
    let halt = serde_json::to_string(&Halt { why: why.clone(), since: Timestamp(0) }).unwrap();
    for (halt, why) in [(halt, why), ("?".to_owned(), "somebody wrote `halt`".to_owned())] {
        let store = MemoryStore::new(1);
        let (idle, ..) = two(&store).await;
        verify(&idle.store).await.unwrap();
        assert_eq!(idle.store.witness().verified_ago(), Some(Duration::ZERO));
        assert!(idle.trusts());
        raw(&store, "halt", &halt).await;
        verify(&idle.store).await.unwrap();
        assert_eq!(idle.store.witness().trust(), Trust::Untrusted { why });
    }
}

#[tokio::test(start_paused = true)]
async fn who_never_wrote_compares_nothing_and_what_a_person_decides_meanwhile_counts() {
    let store = MemoryStore::new(1);
    let reader = store.client(5);
    reader.cut_off(true);
    assert_eq!(verify(&reader).await, Ok(()), "it does not even ask");
    let (_idle, busy, snapshot) = two(&store).await;
    store.restore(&snapshot);
    overtake(&store.client(9)).await;
    busy.store.delay(Duration::from_millis(20));
    let asking = tokio::spawn({
        let store = busy.store.clone();
        async move { verify(&store).await }
    });
    sleep(Duration::from_millis(10)).await;
    busy.store.witness().forgive();
    assert_eq!(asking.await.unwrap(), Ok(()));
    assert!(busy.trusts(), "the answer is measured by what is void");
    assert_eq!(verify(&busy.store).await, Ok(()));
    assert!(!busy.trusts());
}
