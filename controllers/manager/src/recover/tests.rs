use evenkeel_etcd::MemoryStore;

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
async fn another_cluster_is_not_recovered() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
    put(&store, "cluster", r#"{"uid":"v","epoch":1,"level":1}"#).await;
    put(&store, "alive/x1", r#"{"boot_id":"b","incarnation":1}"#).await;
    remember(&store, "h1", "service", &recall(&[])).await;
    let said = refused(&store, Way::AcceptEtcd).await.unwrap();
    assert!(said.contains("another cluster's (v), in which x1 lives"), "{said}");
    assert_eq!(get(&store, "halt").await, None);
}
