//! One suite for both stores: etcd itself, and its twin in memory. Whatever the twin is relied on for in
//! simulation is held against the real one here.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_etcd::{EtcdConfig, EtcdStore, MemoryStore};
use evenkeel_runtime::store::{
    Change, Changes, Committed, Kv, MAX_WRITES, Store, StoreError, TxnBuilder, Watch,
};
use evenkeel_runtime::witness::Trust;
use evenkeel_tests::etcd::PrivateEtcd;
use tokio::time::{Instant, sleep, timeout};

type Done = Pin<Box<dyn Future<Output = ()> + Send>>;
type Case = (&'static str, fn(Subject) -> Done);

/// A store, empty for this case.
#[derive(Clone)]
struct Subject {
    store: Arc<dyn Store>,
    compact: Arc<dyn Fn(i64) + Send + Sync>,
}

macro_rules! cases {
    ($($name:ident),+ $(,)?) => { [$((stringify!($name), |subject| Box::pin($name(subject)))),+] };
}

const CASES: [Case; 18] = cases![
    compares,
    reads_see_the_writes_or_what_stands,
    revisions_are_counted,
    a_refused_transaction_changes_nothing,
    lists_are_sorted_and_end_where_the_prefix_does,
    values_come_back_as_they_were,
    as_much_as_one_transaction_takes,
    watches_replay_and_go_on,
    changes_of_one_transaction_come_together,
    a_watch_sees_its_prefix_only,
    a_watch_that_is_not_awaited_loses_nothing,
    a_future_revision_is_accepted_in_silence,
    compacted_history_is_refused_and_lists_go_on,
    leases_end_with_what_is_under_them,
    renewed_leases_stay,
    revoked_leases_take_all_in_one_revision,
    dead_leases_are_refused,
    the_witness_is_fed,
];

#[tokio::test(start_paused = true)]
async fn the_twin_in_memory() {
    for (name, case) in CASES {
        println!("{name}");
        let store = MemoryStore::new(1);
        let compact = {
            let store = store.clone();
            move |revision| store.compact(revision)
        };
        case(Subject { store: Arc::new(store), compact: Arc::new(compact) }).await;
    }
}

#[tokio::test]
async fn etcd_itself() {
    let etcd = Arc::new(PrivateEtcd::start(&[]).await);
    // One after another where history is compacted, for that is the whole server's; the rest together.
    let (alone, together): (Vec<Case>, Vec<Case>) = CASES
        .into_iter()
        .partition(|(name, _)| name.starts_with("compacted") || name.starts_with("revisions"));
    let run = |(name, case): Case| {
        let etcd = etcd.clone();
        let config = EtcdConfig { prefix: format!("/parity/{name}"), ..EtcdConfig::new([etcd.endpoint()]) };
        let compact = move |revision: i64| etcd.ctl(&["compaction", &revision.to_string()]);
        let store = EtcdStore::new(&config).unwrap();
        case(Subject { store: Arc::new(store), compact: Arc::new(compact) })
    };
    for case in alone {
        println!("{}", case.0);
        run(case).await;
    }
    let tasks: Vec<_> = together.into_iter().map(|case| (case.0, tokio::spawn(run(case)))).collect();
    for (name, task) in tasks {
        println!("{name}");
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_twin() {
    let store = MemoryStore::new(1);
    let prepared = Prepared::new(&store).await;
    store.set_full(true);
    full(&store, prepared).await;
}

#[tokio::test]
async fn a_full_etcd() {
    let etcd = PrivateEtcd::start(&["--quota-backend-bytes", "4000000"]).await;
    let store = EtcdStore::new(&EtcdConfig::new([etcd.endpoint()])).unwrap();
    let prepared = Prepared::new(&store).await;
    let fill = async {
        while put(&store, "status/hosts/h9", &"x".repeat(1_000_000)).await != Err(StoreError::Full) {}
    };
    timeout(Duration::from_secs(30), fill).await.unwrap();
    full(&store, prepared).await;
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

async fn commit(store: &dyn Store, txn: TxnBuilder) -> Result<Committed, StoreError> {
    store.commit(&txn.build().unwrap()).await
}

async fn put(store: &dyn Store, name: &str, value: &str) -> Result<i64, StoreError> {
    let txn = TxnBuilder::new().put(&key(name), value.to_owned());
    commit(store, txn).await.map(|committed| committed.header.revision)
}

async fn delete(store: &dyn Store, name: &str) -> i64 {
    commit(store, TxnBuilder::new().delete(&key(name))).await.unwrap().header.revision
}

async fn get(store: &dyn Store, name: &str) -> Option<Kv> {
    store.get(&key(name)).await.unwrap().0
}

async fn value(store: &dyn Store, name: &str) -> Option<String> {
    get(store, name).await.map(text)
}

fn text(kv: Kv) -> String {
    String::from_utf8(kv.value.to_vec()).unwrap()
}

async fn next(watch: &mut Box<dyn Watch>) -> Vec<String> {
    timeout(Duration::from_secs(6), watch.next())
        .await
        .expect("a change")
        .unwrap()
        .changes
        .iter()
        .map(show)
        .collect()
}

/// All changes until there have been `count`, whichever way they were batched.
async fn changes(watch: &mut Box<dyn Watch>, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(next(watch).await);
    }
    all
}

fn show(change: &Change) -> String {
    match change {
        Change::Put(kv) => format!("+{}={}", kv.key, String::from_utf8_lossy(&kv.value)),
        Change::Delete { key, .. } => format!("-{key}"),
    }
}

async fn compares(Subject { store, .. }: Subject) {
    let lease = store.grant(Duration::from_secs(60)).await.unwrap().id;
    let txn = TxnBuilder::new().put_leased(&key("facts/h1"), "1", lease);
    let created = commit(&*store, txn).await.unwrap().header.revision;
    let txn = TxnBuilder::new().put_leased(&key("facts/h1"), "2", lease);
    let changed = commit(&*store, txn).await.unwrap().header.revision;
    let (there, gone) = (key("facts/h1"), key("facts/none"));
    let new = TxnBuilder::new;
    for (n, (demand, holds)) in [
        (new(), true),
        (new().if_unchanged(&there, changed), true),
        (new().if_unchanged(&there, created), false),
        (new().if_unchanged(&there, changed + 1), false),
        (new().if_absent(&there), false),
        (new().if_absent(&gone), true),
        (new().if_unchanged(&gone, changed), false),
        (new().if_leased(&there, lease), true),
        (new().if_leased(&there, lease + 1), false),
        (new().if_leased(&there, 0), false),
        (new().if_leased(&gone, 0), true),
        (new().if_leased(&gone, lease), false),
        (new().if_unchanged(&there, changed).if_absent(&gone), true),
        (new().if_unchanged(&there, changed).if_absent(&there), false),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("alive/h{n}");
        let committed = commit(&*store, demand.clone().put(&key(&name), "x").get(&there)).await.unwrap();
        assert_eq!(committed.succeeded, holds, "{demand:?}");
        assert_eq!(get(&*store, &name).await.is_some(), holds, "{demand:?}");
        assert_eq!(committed.reads[0].as_ref().map(|kv| kv.mod_revision), Some(changed));
    }
}

async fn reads_see_the_writes_or_what_stands(Subject { store, .. }: Subject) {
    put(&*store, "facts/h1", "old").await.unwrap();
    put(&*store, "facts/h2", "old").await.unwrap();
    let (one, two, three) = (key("facts/h1"), key("facts/h2"), key("facts/h3"));
    let txn = TxnBuilder::new().put(&one, "new").delete(&two).get(&three).get(&two).get(&one);
    let refused = commit(&*store, txn.clone().if_absent(&one)).await.unwrap();
    let seen = |reads: Vec<Option<Kv>>| reads.into_iter().map(|kv| kv.map(text)).collect::<Vec<_>>();
    assert_eq!(seen(refused.reads), [None, Some("old".to_owned()), Some("old".to_owned())]);
    let done = commit(&*store, txn).await.unwrap();
    assert_eq!(done.reads[2].as_ref().map(|kv| kv.mod_revision), Some(done.header.revision));
    assert_eq!(seen(done.reads), [None, None, Some("new".to_owned())]);
    let only_read = commit(&*store, TxnBuilder::new().get(&one)).await.unwrap();
    assert!(only_read.succeeded);
    assert_eq!(only_read.header.revision, done.header.revision.max(only_read.header.revision));
    let only_write = commit(&*store, TxnBuilder::new().if_absent(&one).put(&one, "x")).await.unwrap();
    assert_eq!((only_write.succeeded, only_write.reads.len()), (false, 0));
}

async fn revisions_are_counted(Subject { store, .. }: Subject) {
    let first = put(&*store, "facts/h1", "a").await.unwrap();
    assert_eq!(put(&*store, "facts/h1", "a").await.unwrap(), first + 1, "an equal put counts");
    let txn =
        TxnBuilder::new().put(&key("facts/h2"), "b").put(&key("facts/h3"), "c").delete(&key("facts/h1"));
    assert_eq!(commit(&*store, txn).await.unwrap().header.revision, first + 2, "one for all");
    assert_eq!(delete(&*store, "facts/none").await, first + 2, "nothing was there");
    assert_eq!(delete(&*store, "facts/h2").await, first + 3);
    let kv = get(&*store, "facts/h3").await.unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision), (first + 2, first + 2));
    put(&*store, "facts/h3", "d").await.unwrap();
    let kv = get(&*store, "facts/h3").await.unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision), (first + 2, first + 4));
    put(&*store, "facts/h1", "again").await.unwrap();
    assert_eq!(get(&*store, "facts/h1").await.unwrap().create_revision, first + 5, "made anew");
    let (_, header) = store.get(&key("facts/h1")).await.unwrap();
    assert_eq!(header.revision, first + 5);
}

async fn a_refused_transaction_changes_nothing(Subject { store, .. }: Subject) {
    put(&*store, "facts/h1", "a").await.unwrap();
    let mut watch =
        store.watch("facts/", get(&*store, "facts/h1").await.unwrap().mod_revision).await.unwrap();
    let txn =
        TxnBuilder::new().if_absent(&key("facts/h1")).put(&key("facts/h2"), "b").delete(&key("facts/h1"));
    assert!(!commit(&*store, txn).await.unwrap().succeeded);
    assert!(timeout(Duration::from_millis(300), watch.next()).await.is_err());
    assert_eq!(store.list("facts/").await.unwrap().kvs.len(), 1);
}

async fn lists_are_sorted_and_end_where_the_prefix_does(Subject { store, .. }: Subject) {
    for name in ["alive/h2", "alive/h10", "alive/h1", "facts/h1", "accepted/hosts/h1"] {
        put(&*store, name, "x").await.unwrap();
    }
    for (prefix, expected) in [
        ("alive/", vec!["alive/h1", "alive/h10", "alive/h2"]),
        // A key, and no other that begins with it.
        ("alive/h1", vec!["alive/h1"]),
        ("alive", vec![]),
        ("", vec!["accepted/hosts/h1", "alive/h1", "alive/h10", "alive/h2", "facts/h1"]),
        ("alive/h3", vec![]),
        ("unknown/", vec![]),
    ] {
        let listing = store.list(prefix).await.unwrap();
        let keys: Vec<&str> = listing.kvs.iter().map(|kv| kv.key.as_str()).collect();
        assert_eq!(keys, expected, "{prefix}");
        assert!(listing.header.revision > 0);
    }
}

async fn values_come_back_as_they_were(Subject { store, .. }: Subject) {
    for bytes in [vec![], vec![0, 0xff, b'\n'], "ä€".as_bytes().to_vec()] {
        let txn = TxnBuilder::new().put(&key("facts/h1"), bytes.clone());
        commit(&*store, txn).await.unwrap();
        let kv = get(&*store, "facts/h1").await.unwrap();
        assert_eq!((kv.value.to_vec(), kv.lease), (bytes, 0));
    }
    assert_eq!(get(&*store, "facts/none").await, None);
}

async fn as_much_as_one_transaction_takes(Subject { store, .. }: Subject) {
    let all = (0..MAX_WRITES).fold(TxnBuilder::new(), |txn, n| {
        let key = key(&format!("facts/h{n}"));
        txn.if_absent(&key).put(&key, "x".repeat(13_900))
    });
    let before = store.get(&key("facts/h0")).await.unwrap().1.revision;
    let mut watch = store.watch("facts/", before).await.unwrap();
    let all = (0..20).fold(all, |txn, n| txn.get(&key(&format!("facts/h{n}"))));
    assert!(commit(&*store, all).await.unwrap().succeeded);
    assert_eq!(next(&mut watch).await.len(), MAX_WRITES, "in one piece");
    assert_eq!(store.list("facts/").await.unwrap().kvs.len(), MAX_WRITES);
    for n in 0..6 {
        put(&*store, &format!("alive/h{n}"), &"y".repeat(1_390_000)).await.unwrap();
    }
    assert_eq!(store.list("alive/").await.unwrap().kvs.len(), 6, "more than 4 MB in one answer");
    let mut replay = store.watch("alive/", before).await.unwrap();
    assert_eq!(changes(&mut replay, 6).await.len(), 6, "and in one watch");
}

async fn watches_replay_and_go_on(Subject { store, .. }: Subject) {
    let first = put(&*store, "alive/h1", "a").await.unwrap();
    put(&*store, "alive/h1", "b").await.unwrap();
    delete(&*store, "alive/h1").await;
    let mut from_start = store.watch("alive/", first - 1).await.unwrap();
    let mut from_first = store.watch("alive/", first).await.unwrap();
    put(&*store, "alive/h2", "c").await.unwrap();
    let all = ["+alive/h1=a", "+alive/h1=b", "-alive/h1", "+alive/h2=c"];
    assert_eq!(changes(&mut from_start, 4).await, all);
    assert_eq!(changes(&mut from_first, 3).await, all[1..]);
    let last = delete(&*store, "alive/h2").await;
    let told = timeout(Duration::from_secs(6), from_start.next()).await.unwrap().unwrap();
    let expected = Change::Delete { key: "alive/h2".to_owned(), mod_revision: last };
    let Changes { changes, header } = told;
    assert_eq!(changes, [expected]);
    assert!(header.revision >= last);
}

async fn changes_of_one_transaction_come_together(Subject { store, .. }: Subject) {
    let first = put(&*store, "alive/h1", "a").await.unwrap();
    let mut watch = store.watch("alive/", first).await.unwrap();
    let txn = TxnBuilder::new().put(&key("alive/h3"), "c").delete(&key("alive/h1"));
    let txn = txn.put(&key("facts/h1"), "x").put(&key("alive/h2"), "b");
    commit(&*store, txn).await.unwrap();
    assert_eq!(next(&mut watch).await, ["+alive/h3=c", "-alive/h1", "+alive/h2=b"]);
}

async fn a_watch_sees_its_prefix_only(Subject { store, .. }: Subject) {
    let first = put(&*store, "alive/h1", "a").await.unwrap();
    let mut below = store.watch("alive/", first).await.unwrap();
    let mut one = store.watch("alive/h1", first).await.unwrap();
    for name in ["facts/h1", "alive/h10", "alive/h1"] {
        put(&*store, name, "x").await.unwrap();
    }
    assert_eq!(changes(&mut below, 2).await, ["+alive/h10=x", "+alive/h1=x"]);
    assert_eq!(changes(&mut one, 1).await, ["+alive/h1=x"]);
    for watch in [&mut below, &mut one] {
        assert!(timeout(Duration::from_millis(300), watch.next()).await.is_err());
    }
}

async fn a_watch_that_is_not_awaited_loses_nothing(Subject { store, .. }: Subject) {
    let first = put(&*store, "alive/h1", "0").await.unwrap();
    let mut watch = store.watch("alive/", first).await.unwrap();
    let mut told = Vec::new();
    for n in 1..=50 {
        put(&*store, "alive/h1", &n.to_string()).await.unwrap();
        if let Ok(changes) = timeout(Duration::from_micros(n * 37 % 900), watch.next()).await {
            told.extend(changes.unwrap().changes.iter().map(show));
        }
    }
    while told.len() < 50 {
        told.extend(next(&mut watch).await);
    }
    assert_eq!(told, (1..=50).map(|n| format!("+alive/h1={n}")).collect::<Vec<_>>());
}

async fn a_future_revision_is_accepted_in_silence(Subject { store, .. }: Subject) {
    let first = put(&*store, "alive/h1", "a").await.unwrap();
    let mut watch = store.watch("alive/", first + 1_000_000).await.unwrap();
    put(&*store, "alive/h1", "b").await.unwrap();
    assert!(timeout(Duration::from_millis(300), watch.next()).await.is_err());
}

async fn compacted_history_is_refused_and_lists_go_on(Subject { store, compact }: Subject) {
    let first = put(&*store, "alive/h1", "a").await.unwrap();
    for n in 0..5 {
        put(&*store, "alive/h1", &n.to_string()).await.unwrap();
    }
    let last = put(&*store, "alive/h2", "z").await.unwrap();
    let mut open = store.watch("alive/", last).await.unwrap();
    compact(last);
    let refused = match store.watch("alive/", first).await {
        Err(error) => error,
        Ok(mut watch) => timeout(Duration::from_secs(6), watch.next()).await.unwrap().unwrap_err(),
    };
    assert_eq!(refused, StoreError::Compacted(last));
    let listing = store.list("alive/").await.unwrap();
    assert_eq!((listing.kvs.len(), listing.header.revision), (2, last));
    assert_eq!(listing.kvs[0].create_revision, first);
    let mut from_there = store.watch("alive/", listing.header.revision).await.unwrap();
    put(&*store, "alive/h3", "x").await.unwrap();
    assert_eq!(next(&mut from_there).await, ["+alive/h3=x"]);
    assert_eq!(next(&mut open).await, ["+alive/h3=x"], "who is up to date is not disturbed");
}

async fn leases_end_with_what_is_under_them(Subject { store, .. }: Subject) {
    let lease = store.grant(Duration::from_millis(100)).await.unwrap();
    assert_eq!(lease.ttl, Duration::from_secs(2), "the shortest that is given");
    let txn = TxnBuilder::new().put_leased(&key("alive/h1"), "a", lease.id);
    let txn = txn.put_leased(&key("alive/h2"), "b", lease.id).put_leased(&key("alive/h3"), "c", lease.id);
    let first = commit(&*store, txn).await.unwrap().header.revision;
    assert_eq!(get(&*store, "alive/h1").await.unwrap().lease, lease.id);
    let detached = put(&*store, "alive/h3", "stays").await.unwrap();
    assert!(detached > first);
    let mut watch = store.watch("alive/", detached).await.unwrap();
    let since = Instant::now();
    let mut gone = next(&mut watch).await;
    gone.sort();
    assert_eq!(gone, ["-alive/h1", "-alive/h2"], "together");
    let waited = since.elapsed();
    assert!(waited >= Duration::from_millis(1500) && waited <= Duration::from_secs(4), "{waited:?}");
    assert_eq!(store.renew(lease.id).await, Err(StoreError::LeaseGone));
    assert_eq!(value(&*store, "alive/h3").await.as_deref(), Some("stays"), "a put without lease detaches");
}

async fn renewed_leases_stay(Subject { store, .. }: Subject) {
    let lease = store.grant(Duration::from_secs(2)).await.unwrap();
    let txn = TxnBuilder::new().put_leased(&key("alive/h1"), "a", lease.id);
    let revision = commit(&*store, txn).await.unwrap().header.revision;
    for _ in 0..9 {
        sleep(Duration::from_millis(600)).await;
        assert_eq!(store.renew(lease.id).await, Ok(Duration::from_secs(2)));
    }
    assert_eq!(get(&*store, "alive/h1").await.unwrap().mod_revision, revision, "renewing changes nothing");
}

async fn revoked_leases_take_all_in_one_revision(Subject { store, .. }: Subject) {
    let lease = store.grant(Duration::from_secs(60)).await.unwrap().id;
    let txn =
        (0..5).fold(TxnBuilder::new(), |txn, n| txn.put_leased(&key(&format!("alive/h{n}")), "x", lease));
    let put = commit(&*store, txn).await.unwrap().header.revision;
    let mut watch = store.watch("alive/", put).await.unwrap();
    store.revoke(lease).await.unwrap();
    let told = timeout(Duration::from_secs(6), watch.next()).await.unwrap().unwrap().changes;
    assert_eq!(told.len(), 5);
    assert!(told.iter().all(|change| change.mod_revision() == told[0].mod_revision()));
    assert_eq!(store.revoke(lease).await, Err(StoreError::LeaseGone));
}

async fn dead_leases_are_refused(Subject { store, .. }: Subject) {
    let lease = store.grant(Duration::from_secs(60)).await.unwrap().id;
    store.revoke(lease).await.unwrap();
    let txn = TxnBuilder::new().put(&key("facts/h1"), "a").put_leased(&key("alive/h1"), "a", lease);
    assert_eq!(commit(&*store, txn.clone()).await, Err(StoreError::LeaseGone));
    assert_eq!(get(&*store, "facts/h1").await, None, "all or nothing");
    let refused = commit(&*store, txn.if_unchanged(&key("facts/h2"), 7)).await.unwrap();
    assert!(!refused.succeeded, "what is not done is not checked");
    assert_eq!(store.renew(lease).await, Err(StoreError::LeaseGone));
    assert_eq!(store.renew(4711).await, Err(StoreError::LeaseGone));
}

async fn the_witness_is_fed(Subject { store, .. }: Subject) {
    let witness = store.witness();
    assert!(!witness.ever_answered());
    let revision = put(&*store, "facts/h1", "a").await.unwrap();
    assert!(witness.ever_answered() && witness.silence() < Duration::from_secs(1));
    assert_eq!(witness.written_at(revision).unwrap().into_iter().collect::<Vec<_>>(), ["facts/h1"]);
    let (_, header) = store.get(&key("facts/h1")).await.unwrap();
    assert!(header.cluster_id != 0 && header.raft_term > 0);
    assert_eq!(witness.trust(), Trust::Trusted);
    assert!(!witness.is_full());
}

struct Prepared {
    lease: i64,
    revision: i64,
}

impl Prepared {
    async fn new(store: &dyn Store) -> Self {
        let lease = store.grant(Duration::from_secs(60)).await.unwrap().id;
        Self { lease, revision: put(store, "facts/h1", "a").await.unwrap() }
    }
}

async fn full(store: &dyn Store, prepared: Prepared) {
    let there = key("facts/h1");
    assert_eq!(put(store, "facts/h2", "b").await, Err(StoreError::Full));
    let hopeless = TxnBuilder::new().if_absent(&there).put(&key("facts/h2"), "b").get(&there);
    assert_eq!(commit(store, hopeless).await, Err(StoreError::Full), "though it would not be done");
    assert_eq!(store.grant(Duration::from_secs(5)).await, Err(StoreError::Full));
    assert!(store.witness().is_full());
    assert!(store.renew(prepared.lease).await.is_ok());
    assert_eq!(value(store, "facts/h1").await.as_deref(), Some("a"));
    let proof = TxnBuilder::new().if_unchanged(&there, prepared.revision).get(&there);
    assert!(commit(store, proof).await.unwrap().succeeded);
    let mut watch = store.watch("facts/h1", prepared.revision).await.unwrap();
    delete(store, "facts/h1").await;
    assert_eq!(next(&mut watch).await, ["-facts/h1"]);
    assert!(store.revoke(prepared.lease).await.is_ok());
}
