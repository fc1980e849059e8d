use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, ServiceId};
use evenkeel_api::record::{
    Accepted, Address, Alive, Desired, Endpoints, Facts, Instance, InstanceState, NetworkReport, Observed,
    Rollout, Status, Subnet, Timestamp,
};
use evenkeel_etcd::memory::MemoryStore;
use evenkeel_runtime::env::{Env, SystemClock};
use evenkeel_runtime::store::{Store, TxnBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ServiceDeps, run};

mod hostile;

const WEB: &str = "apiVersion: evenkeel/v1\nkind: Service\nspec: {image: 'web:1', deploy: {replicas: 3}}\n";

/// A store with hosts in it that do as they are told.
struct Lab {
    store: MemoryStore,
    hosts: BTreeMap<HostName, i64>,
    controllers: Vec<tokio::task::JoinHandle<()>>,
    dirs: Vec<tempfile::TempDir>,
    started: i64,
}

fn id(text: &str) -> ServiceId {
    text.parse().unwrap()
}

impl Lab {
    async fn new(hosts: u8) -> Self {
        let store = MemoryStore::new(1);
        let mut lab =
            Self { store, hosts: BTreeMap::new(), controllers: Vec::new(), dirs: Vec::new(), started: 0 };
        let network = serde_json::json!({
            "source_revision": 1, "create_revision": 1, "metadata": {},
            "spec": {"ipam": {"config": [{"subnet": "10.88.0.0/16"}]}},
        });
        lab.put(&Key::Accepted("Network default".parse().unwrap()), &network).await;
        for n in 1..=hosts {
            lab.add_host(n).await;
        }
        lab
    }

    async fn add_host(&mut self, n: u8) {
        let name: HostName = format!("h{n}").parse().unwrap();
        let text = format!("apiVersion: evenkeel/v1\nkind: Host\nspec: {{address: 10.0.0.{n}}}\n");
        self.text(&Key::Document(ObjectRef::Host(name.clone())), &text).await;
        let facts = Facts {
            cpus: "4".parse().unwrap(),
            memory: "8G".parse().unwrap(),
            os: "linux".into(),
            arch: "amd64".into(),
            addresses: vec![Address { address: [10, 0, 0, n].into(), prefix: 24 }],
            ..Facts::default()
        };
        self.put(&Key::Facts(name.clone()), &facts).await;
        let network = "default".parse().unwrap();
        let subnet = format!("10.88.{n}.0/24").parse().unwrap();
        self.put(&Key::Subnet(network, name.clone()), &Subnet { subnet }).await;
        let network = "default".parse().unwrap();
        self.put(&Key::NetworkReport(name.clone(), network), &NetworkReport::Ready { subnet }).await;
        self.revive(&name, 1).await;
    }

    async fn revive(&mut self, name: &HostName, incarnation: u64) {
        let lease = self.store.grant(Duration::from_secs(100_000)).await.unwrap().id;
        let alive = serde_json::to_vec(&Alive { boot_id: "a".into(), incarnation }).unwrap();
        let txn = TxnBuilder::new().put_leased(&Key::Alive(name.clone()), alive, lease).build().unwrap();
        assert!(self.store.commit(&txn).await.unwrap().succeeded);
        self.hosts.insert(name.clone(), lease);
    }

    async fn kill(&mut self, name: &str) {
        let lease = self.hosts.remove(&name.parse::<HostName>().unwrap()).unwrap();
        self.store.revoke(lease).await.unwrap();
    }

    fn control(&mut self, host: &str) {
        let dir = tempfile::tempdir().unwrap();
        let seed = self.controllers.len() as u64 + 10;
        let deps = ServiceDeps {
            store: Arc::new(self.store.client(seed)),
            env: Arc::new(Env::new(SystemClock, seed)),
            host: host.parse().unwrap(),
            state_dir: dir.path().into(),
            leads: true,
            exclusive_any_etcd: false,
            meter: evenkeel_metrics::Meter::default(),
        };
        self.dirs.push(dir);
        self.controllers.push(tokio::spawn(async move { run(deps).await.unwrap() }));
    }

    async fn text(&self, key: &Key, text: &str) -> i64 {
        let txn = TxnBuilder::new().put(key, text.as_bytes().to_vec()).build().unwrap();
        self.store.commit(&txn).await.unwrap().header.revision
    }

    async fn put(&self, key: &Key, value: &impl Serialize) -> i64 {
        self.text(key, &serde_json::to_string(value).unwrap()).await
    }

    async fn remove(&self, key: &Key) {
        let txn = TxnBuilder::new().delete(key).build().unwrap();
        self.store.commit(&txn).await.unwrap();
    }

    async fn get<T: DeserializeOwned>(&self, key: &Key) -> Option<T> {
        let kv = self.store.get(key).await.unwrap().0?;
        serde_json::from_slice(&kv.value).ok()
    }

    async fn instances(&self) -> BTreeMap<Key, Instance> {
        let kvs = self.store.list(&prefix::instances()).await.unwrap().kvs;
        kvs.iter()
            .filter_map(|kv| Some((kv.key.parse().ok()?, serde_json::from_slice(&kv.value).ok()?)))
            .collect()
    }

    async fn obey(&mut self) {
        let instances = self.instances().await;
        for (key, instance) in &instances {
            let Key::Instance(host, id) = key else { continue };
            if !self.hosts.contains_key(host) {
                continue;
            }
            let state = match instance.desired {
                Desired::Run | Desired::Drain => InstanceState::Running,
                Desired::Stop | Desired::Lost => InstanceState::Stopped { code: Some(0) },
            };
            let key = Key::Observed(host.clone(), id.clone());
            let known: Option<Observed> = self.get(&key).await;
            if known.is_none_or(|known| known.state != state) {
                self.started += 1;
                let at = Timestamp(self.started);
                let observed = serde_json::json!({"state": state, "since": at, "started": at});
                self.put(&key, &observed).await;
            }
        }
        for kv in self.store.list(&prefix::observed()).await.unwrap().kvs {
            let Ok(Key::Observed(host, id)) = kv.key.parse() else { continue };
            if self.hosts.contains_key(&host)
                && !instances.contains_key(&Key::Instance(host.clone(), id.clone()))
            {
                self.remove(&Key::Observed(host, id)).await;
            }
        }
    }

    async fn seconds(&mut self, seconds: f64) {
        for _ in 0..(seconds * 10.0) as u32 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.obey().await;
        }
    }
}

fn service(text: &str) -> Key {
    Key::Document(ObjectRef::Service(id(text)))
}

#[tokio::test(start_paused = true)]
async fn a_document_becomes_copies_in_one_transaction_and_in_milliseconds() {
    let mut lab = Lab::new(3).await;
    lab.control("h1");
    lab.seconds(3.0).await;
    let before = tokio::time::Instant::now();
    let revision = lab.text(&service("shop/web"), &WEB.replace('3', "30")).await;
    while lab.instances().await.len() < 30 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(before.elapsed() < Duration::from_millis(20));
    }
    let kvs = lab.store.list(&prefix::instances()).await.unwrap().kvs;
    assert!(kvs.iter().all(|kv| kv.mod_revision == revision + 1), "one transaction, the very next");
    let accepted: Accepted<evenkeel_api::service::ServiceSpec> =
        lab.get(&Key::Accepted(ObjectRef::Service(id("shop/web")))).await.unwrap();
    assert_eq!((accepted.source_revision, accepted.template), (revision, Some(revision)));
    lab.seconds(3.0).await;
    let status: Status = lab.get(&Key::Status(ObjectRef::Service(id("shop/web")))).await.unwrap();
    assert_eq!(status.copies.unwrap().ready, 30);
    let endpoints: Endpoints = lab.get(&Key::Endpoints(id("shop/web"), 0)).await.unwrap();
    assert_eq!(endpoints.endpoints.len(), 30);
}

#[tokio::test(start_paused = true)]
async fn calm_is_silent_and_a_deleted_service_leaves_nothing() {
    let mut lab = Lab::new(3).await;
    lab.control("h1");
    lab.text(&service("shop/web"), WEB).await;
    lab.seconds(10.0).await;
    let calm = lab.store.revision();
    lab.seconds(400.0).await;
    assert_eq!(lab.store.revision(), calm, "nothing changed, so nothing is written");
    lab.remove(&service("shop/web")).await;
    lab.seconds(15.0).await;
    assert!(lab.instances().await.is_empty());
    for prefix in
        ["accepted/services/", "revisions/", "rollouts/", "endpoints/", "status/services/", "observed/"]
    {
        assert!(lab.store.list(prefix).await.unwrap().kvs.is_empty(), "{prefix}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_takes_over_without_touching_what_runs() {
    let mut lab = Lab::new(3).await;
    lab.control("h1");
    lab.text(&service("shop/web"), WEB).await;
    lab.seconds(5.0).await;
    lab.control("h2");
    lab.seconds(2.0).await;
    let before = lab.instances().await;
    lab.controllers[0].abort();
    lab.seconds(10.0).await;
    assert_eq!(lab.instances().await, before);
    lab.text(&service("shop/web"), &WEB.replace('3', "5")).await;
    lab.seconds(2.0).await;
    assert_eq!(lab.instances().await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_lost_host_is_replaced_and_a_stalled_store_evicts_nobody() {
    let mut lab = Lab::new(4).await;
    lab.control("h1");
    lab.text(&service("shop/web"), &WEB.replace('3', "4")).await;
    lab.seconds(10.0).await;
    let before = lab.instances().await;

    // Every lease dies, and all hosts are back within half a second.
    for name in
        before.keys().filter_map(|key| if let Key::Instance(host, _) = key { Some(host) } else { None })
    {
        if lab.hosts.contains_key(name) {
            lab.kill(name.as_str()).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for n in 1..=4 {
        lab.revive(&format!("h{n}").parse().unwrap(), 2).await;
    }
    lab.seconds(20.0).await;
    assert_eq!(lab.instances().await, before);

    lab.kill("h4").await;
    lab.seconds(1.0).await;
    assert_eq!(lab.instances().await, before, "not before its time");
    lab.seconds(4.0).await;
    let after = lab.instances().await;
    let on = |host: &str, desired: Desired| {
        after
            .iter()
            .filter(|(key, instance)| {
                matches!(key, Key::Instance(h, _) if h.as_str() == host) && instance.desired == desired
            })
            .count()
    };
    assert_eq!((after.len(), on("h4", Desired::Lost), on("h4", Desired::Run)), (5, 1, 0));
    lab.revive(&"h4".parse().unwrap(), 3).await;
    lab.seconds(5.0).await;
    assert_eq!(lab.instances().await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn garbage_of_any_kind_stops_nothing() {
    let mut lab = Lab::new(2).await;
    lab.control("h1");
    let good = lab.text(&service("shop/web"), WEB).await;
    lab.seconds(5.0).await;
    let before = lab.instances().await;
    for garbage in ["spec: {image: 'web:2', replica: 3}", "\u{0}\u{1}", "", "[]", "kind: Network\nspec: {}"] {
        lab.text(&service("shop/web"), garbage).await;
        lab.text(&service("shop/other"), garbage).await;
        lab.seconds(3.0).await;
        let status: Status = lab.get(&Key::Status(ObjectRef::Service(id("shop/web")))).await.unwrap();
        let valid = &status.conditions[0];
        assert!(!valid.status && valid.message.ends_with(&format!("running revision {good}")), "{valid:?}");
    }
    assert_eq!(lab.instances().await, before);
    let rollout: Rollout = lab.get(&Key::Rollout(id("shop/web"))).await.unwrap();
    assert_eq!(rollout.target, Some(good));
    assert_eq!(lab.get::<Rollout>(&Key::Rollout(id("shop/other"))).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_loses_nothing() {
    let mut lab = Lab::new(2).await;
    lab.control("h1");
    lab.text(&service("shop/web"), WEB).await;
    lab.seconds(5.0).await;
    let before = lab.instances().await;
    lab.store.set_down(true);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    lab.store.set_down(false);
    lab.seconds(30.0).await;
    assert_eq!(lab.instances().await, before);
    lab.text(&service("shop/web"), &WEB.replace('3', "4")).await;
    lab.seconds(3.0).await;
    assert_eq!(lab.instances().await.len(), 4);
}
