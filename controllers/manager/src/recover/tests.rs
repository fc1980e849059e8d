use evenkeel_etcd::MemoryStore;
use evenkeel_runtime::store::Compare;

use super::*;

async fn put(store: &Arc<dyn Store>, key: &str, value: &str) {
    let txn = TxnBuilder::new().put(&key.parse().unwrap(), value.to_owned()).build().unwrap();
    assert!(store.commit(&txn).await.unwrap().succeeded);
}

async fn get(store: &Arc<dyn Store>, key: &str) -> Option<String> {
    let kv = store.get(&key.parse().unwrap()).await.unwrap().0?;
    Some(String::from_utf8(kv.value.to_vec()).unwrap())
}

async fn remember(store: &Arc<dyn Store>, host: &str, controller: &str, recall: &Recall) {
    for (number, piece) in recall.pieces().unwrap().iter().enumerate() {
        let key = format!("reports/{host}/memory/{controller}/{number}");
        put(store, &key, &serde_json::to_string(piece).unwrap()).await;
    }
    let distrust = format!("reports/{host}/trust/{controller}");
    put(store, &distrust, r#"{"why":"it went back","since":1}"#).await;
}

fn recall(records: &[(&str, &str, i64)]) -> Recall {
    let records = records.iter().map(|(key, value, revision)| {
        let remembered = evenkeel_api::recall::Remembered { value: (*value).to_owned(), revision: *revision };
        ((*key).to_owned(), remembered)
    });
    Recall { uid: "u".to_owned(), epoch: 3, revision: 900, records: records.collect() }
}

/// Why a recovery was not done; `None`: it was.
async fn refused(store: &Arc<dyn Store>, way: Way) -> Option<String> {
    let view = View::read(store).await.unwrap();
    view.recover(store, way, Timestamp(5)).await.err().map(|error| error.to_string())
}

const RECORD: &str = r#"{"template":"shop/web@7","slot":"1","desired":"run","cause":"wanted"}"#;

#[tokio::test]
async fn an_empty_store_gets_back_what_the_hosts_remember_and_a_second_time_is_refused() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
    let from_hosts = || refused(&store, Way::FromHosts);
    assert!(!View::read(&store).await.unwrap().is_needed());
    remember(&store, "h1", "instance", &recall(&[("instances/h1/shop.web.1.rs", RECORD, 0)])).await;
    let said = from_hosts().await.unwrap();
    assert!(said.contains("nobody remembers the documents of shop/web"), "{said}");
    let archive =
        recall(&[("services/shop/web", "the text", 7), ("rollouts/shop/web", r#"{"seq":1000}"#, 9)]);
    remember(&store, "h1", "service", &archive).await;
    put(&store, "alive/h2", r#"{"boot_id":"b","incarnation":1}"#).await;
    let said = from_hosts().await.unwrap();
    assert!(said.contains("h2 is alive and has not told"), "{said}");
    remember(&store, "h2", "instance", &recall(&[])).await;

    assert_eq!(from_hosts().await, None);
    assert_eq!(get(&store, "services/shop/web").await.as_deref(), Some("the text"));
    assert_eq!(get(&store, "instances/h1/shop.web.1.rs").await.as_deref(), Some(RECORD));
    let cluster: Cluster = serde_json::from_str(&get(&store, "cluster").await.unwrap()).unwrap();
    assert_eq!((cluster.uid.as_str(), cluster.epoch), ("u", 4));
    assert!(cluster.floor >= 1000, "{cluster:?}");
    assert_eq!(get(&store, "halt").await, None);
    assert_eq!(get(&store, "reports/h1/memory/service/0").await, None);
}

#[tokio::test]
async fn what_is_no_text_is_not_in_the_way_of_what_is_given_back() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
    put(&store, "cluster", r#"{"uid":"u","epoch":1,"level":1}"#).await;
    let broken = TxnBuilder::new().put(&"rollouts/shop/web".parse().unwrap(), vec![0xff, 0xfe]);
    assert!(store.commit(&broken.build().unwrap()).await.unwrap().succeeded);
    remember(&store, "h1", "service", &recall(&[("rollouts/shop/web", r#"{"seq":9}"#, 7)])).await;
    assert_eq!(refused(&store, Way::FromHosts).await, None);
    assert_eq!(get(&store, "rollouts/shop/web").await.as_deref(), Some(r#"{"seq":9}"#));
}

#[tokio::test]
async fn what_etcd_says_is_accepted_by_the_epoch_alone() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
    put(&store, "cluster", r#"{"uid":"u","epoch":1,"level":1}"#).await;
    put(&store, "services/shop/web", "the older text").await;
    put(&store, "networks/lan", "as it was").await;
    let (_, header) = store.get(&Key::Cluster).await.unwrap();
    put(&store, "halt", r#"{"why":"it went back","since":1}"#).await;
    let archive =
        recall(&[("services/shop/web", "the text", 700), ("networks/lan", "as it was", header.revision)]);
    remember(&store, "h1", "service", &archive).await;
    let view = View::read(&store).await.unwrap();
    let differ: Vec<String> = view.difference().documents.iter().map(|one| one.object.to_string()).collect();
    assert_eq!(differ, ["Service shop/web"]);
    assert_eq!(refused(&store, Way::AcceptEtcd).await, None);
    assert_eq!(get(&store, "services/shop/web").await.as_deref(), Some("the older text"));
    let cluster: Cluster = serde_json::from_str(&get(&store, "cluster").await.unwrap()).unwrap();
    assert_eq!((cluster.epoch, cluster.floor), (4, 900));
    assert_eq!(get(&store, "halt").await, None);
    assert_eq!(View::read(&store).await.unwrap().halt, None);
}

#[tokio::test]
async fn another_cluster_is_not_recovered_while_anyone_is_at_home_in_it() {
    for (uid, host, refusal) in [
        ("v", Some("x1"), Some("another cluster's (v), in which x1 lives")),
        ("v", Some("h1"), None),
        ("v", None, None),
        ("u", Some("x1"), None),
    ] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
        put(&store, "cluster", &format!(r#"{{"uid":"{uid}","epoch":1,"level":1}}"#)).await;
        if let Some(host) = host {
            put(&store, &format!("alive/{host}"), r#"{"boot_id":"b","incarnation":1}"#).await;
        }
        remember(&store, "h1", "service", &recall(&[])).await;
        let said = refused(&store, Way::AcceptEtcd).await;
        match refusal {
            Some(why) => assert!(said.as_ref().is_some_and(|said| said.contains(why)), "{said:?}"),
            None => assert_eq!(said, None, "{uid} {host:?}"),
        }
        assert_eq!(get(&store, "halt").await, None);
    }
}

#[tokio::test]
async fn a_halt_or_somebodys_distrust_is_what_makes_it_needed() {
    let why = r#"{"why":"it went back","since":1}"#;
    for (key, value, needed) in [
        ("halt", why, true),
        ("halt", "strange", true),
        ("reports/h1/trust/dns", why, true),
        ("reports/h1/trust/dns", "strange", false),
        ("alive/h1", why, false),
    ] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
        put(&store, key, value).await;
        assert_eq!(View::read(&store).await.unwrap().is_needed(), needed, "{value} under {key}");
    }
}

#[tokio::test]
async fn what_is_not_worth_remembering_is_not_missed_in_what_is_remembered() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
    let told = ["brakes", "reports/h1/dns"];
    for key in told {
        put(&store, key, "{}").await;
    }
    put(&store, "services/shop/web", "the text").await;
    let revision = store.get(&Key::Cluster).await.unwrap().1.revision;
    remember(&store, "h1", "service", &recall(&[("services/shop/web", "the text", revision)])).await;
    assert_eq!(refused(&store, Way::FromHosts).await, None);
    for key in told {
        assert_eq!(get(&store, key).await.as_deref(), Some("{}"), "{key}");
    }
}

#[tokio::test]
async fn no_number_is_used_again_that_the_store_itself_has_used() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
    remember(&store, "h1", "service", &Recall { revision: 1, ..recall(&[]) }).await;
    let revision = store.get(&Key::Cluster).await.unwrap().1.revision;
    assert_eq!(refused(&store, Way::AcceptEtcd).await, None);
    let cluster: Cluster = serde_json::from_str(&get(&store, "cluster").await.unwrap()).unwrap();
    assert!(revision > 1 && cluster.floor >= revision, "{revision}: {cluster:?}");
}

#[test]
fn all_that_is_worth_remembering_is_read_and_not_what_happened() {
    let is_read = |key: &str| prefixes().iter().any(|prefix| key.starts_with(prefix));
    for key in [
        "services/shop/web",
        "hosts/h1",
        "networks/lan",
        "healthchecks/shop/ping",
        "pins/shop/web",
        "brake",
        "accepted/networks/lan",
        "revisions/services/shop/web/7",
        "revisions/services/shop/web/7/digest",
        "rollouts/shop/web",
        "instances/h1/shop.web.1.a",
        "endpoints/shop/web/0",
        "subnets/lan/h1",
        "facts/h1",
        "observed/h1/shop.web.1.a",
        "health/h1/shop.web.1.a",
        "reports/h1/network/lan",
    ] {
        assert!(is_durable(&key.parse().unwrap()) && is_read(key), "{key}");
    }
    for key in ["events/h1.dns/1", "writers/h1/dns", "leaders/service", "status/services/shop/web"] {
        assert!(!is_durable(&key.parse().unwrap()) && !is_read(key), "{key}");
    }
}

#[test]
fn what_is_given_back_comes_in_transactions_that_the_store_takes() {
    let key = |n: usize| Key::Pin(format!("shop/web-{n:03}").parse().unwrap());
    let (half, name) = (BYTES / 2, key(0).to_string().len());
    for (sizes, expected) in [
        (vec![], vec![]),
        (vec![0; 60], vec![60]),
        (vec![0; 130], vec![60, 60, 10]),
        (vec![half - 100; 5], vec![2, 2, 1]),
        (vec![half, half - name], vec![2]),
        (vec![half, half - name + 1], vec![1, 1]),
        (vec![1, BYTES + 1, 1], vec![1, 1, 1]),
    ] {
        let writes = sizes.iter().enumerate().map(|(n, size)| {
            let value = (*size > 0).then(|| "x".repeat(*size));
            (key(n), Write { value, revision: 5 })
        });
        let all = transactions(writes.collect(), 7);
        let counts: Vec<usize> = all.iter().map(TxnBuilder::writes).collect();
        assert_eq!(counts, expected);
        for txn in all {
            let txn = txn.build().unwrap();
            let halted = Compare::ModRevision("halt".to_owned(), 7);
            assert_eq!((txn.compares().len(), &txn.compares()[0]), (txn.writes().len() + 1, &halted));
        }
    }
}
