use std::sync::atomic::{AtomicUsize, Ordering};

use evenkeel_api::key::Controller;
use evenkeel_api::record::Event;
use evenkeel_etcd::MemoryStore;
use evenkeel_runtime::env::SystemClock;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::*;

const DOCUMENT: &str =
    "apiVersion: evenkeel/v1\nkind: HealthCheck\nspec: {target: {service: web}, type: tcp, port: 80}\n";

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn check() -> CheckId {
    "shop/tcp".parse().unwrap()
}

fn object() -> ObjectRef {
    ObjectRef::HealthCheck(check())
}

async fn put(store: &MemoryStore, key: &Key, value: impl Into<bytes::Bytes>) -> i64 {
    let txn = TxnBuilder::new().put(key, value).build().unwrap();
    store.commit(&txn).await.unwrap().header.revision
}

/// A term on a store whose calls take 20 ms.
async fn lead(store: &MemoryStore) -> Term {
    let key = Key::Leader(Controller::Healthcheck);
    let mod_revision = put(store, &key, "{}").await;
    let client = store.client(5);
    client.delay(ms(20));
    let (client, env): (Arc<dyn Store>, _) = (Arc::new(client), Arc::new(Env::new(SystemClock, 5)));
    let writer = Writer::new(client.clone(), env.clone(), "h1".parse().unwrap(), Controller::Healthcheck);
    let term = Term::new(client, env, writer, Lead { key, mod_revision });
    term.mirror.synced().await;
    tokio::time::sleep(ms(500)).await;
    term
}

#[test]
fn a_status_that_answers_no_document_waits_until_a_second_after_the_last() {
    let now = Instant::now();
    let ago = |n| now.checked_sub(ms(n)).unwrap();
    for (told, waits_for) in
        [(None, None), (Some(0), Some(1000)), (Some(999), Some(1)), (Some(1000), None), (Some(5000), None)]
    {
        assert_eq!(waits(told.map(ago), now), waits_for.map(|n| now + ms(n)), "told {told:?} ms ago");
    }
}

static PARSED: AtomicUsize = AtomicUsize::new(0);

/// Counts how often one is parsed.
struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PARSED.fetch_add(1, Ordering::Relaxed);
        IgnoredAny::deserialize(deserializer).map(|_| Counted)
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_parsed_once_a_revision() {
    let store = MemoryStore::new(1);
    let prefix = prefix::status(Kind::HealthCheck);
    let mirror = Mirror::start(Arc::new(store.client(5)), vec![prefix.clone()]);
    let mut cache = Cache::<Counted>::new(prefix);
    for parsed in [1, 2] {
        put(&store, &Key::Status(object()), "{}").await;
        tokio::time::sleep(ms(500)).await;
        for _ in 0..3 {
            cache.refresh(&mirror);
            assert_eq!(PARSED.load(Ordering::Relaxed), parsed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_on_its_way_out_is_no_target() {
    for deleting in [false, true] {
        let store = MemoryStore::new(1);
        put(&store, &Key::Document(object()), DOCUMENT).await;
        let service = json!({
            "source_revision": 1, "create_revision": 1, "metadata": {}, "deleting": deleting,
            "spec": {"template": {"image": "web"}},
        });
        let key = Key::Accepted(ObjectRef::Service("shop/web".parse().unwrap()));
        put(&store, &key, service.to_string()).await;
        let mut term = lead(&store).await;
        term.refresh();
        let changes = term.plan(&term.documents());
        let [(_, Change::Judge { status, .. })] = &changes[..] else { panic!("{changes:?}") };
        let told = status.condition(ConditionType::Degraded).unwrap();
        assert_eq!(told.reason == "NoTarget", deleting, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn people_are_told_of_each_document_once() {
    let store = MemoryStore::new(1);
    let mut term = lead(&store).await;
    for document in [DOCUMENT, "kind: HealthCheck\n"] {
        put(&store, &Key::Document(object()), document).await;
        tokio::time::sleep(ms(500)).await;
        for _ in 0..2 {
            term.pass().await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    let events = store.peek("events/h1.healthcheck/");
    let event = |kv: &evenkeel_runtime::store::Kv| serde_json::from_slice::<Event>(&kv.value).unwrap();
    let told: Vec<_> =
        events.iter().map(event).map(|it| (it.object, it.warning, it.reason, it.count)).collect();
    let expected = [(false, "Accepted"), (true, "Invalid")];
    assert_eq!(told, expected.map(|(warning, reason)| (object(), warning, reason.to_owned(), 1)));
}

#[tokio::test(start_paused = true)]
async fn a_document_alone_that_changed_meanwhile_is_left_to_the_next_pass() {
    let store = MemoryStore::new(1);
    put(&store, &Key::Document(object()), DOCUMENT).await;
    let term = lead(&store).await;
    let (tasks, past) = ([(check(), Change::Tell(Status::default()))], BTreeMap::new());
    // The first transaction of a writer asks more.
    assert!(!term.commit(&tasks, &past).await.unwrap());
    let began = Instant::now();
    assert!(!term.commit(&tasks, &past).await.unwrap());
    let once = began.elapsed();
    let began = Instant::now();
    term.execute(&tasks, &past).await.unwrap();
    assert_eq!(began.elapsed(), once, "it is tried once");
}

#[tokio::test(start_paused = true)]
async fn what_was_never_accepted_is_removed_without_waiting_for_a_record_that_is_not_there() {
    let store = MemoryStore::new(1);
    let status = Key::Status(object());
    put(&store, &status, serde_json::to_vec(&Status::default()).unwrap()).await;
    let mut term = lead(&store).await;
    let began = Instant::now();
    term.pass().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(store.get(&status).await.unwrap().0.is_none());
}
