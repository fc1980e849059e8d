//! Leader and host together, on a store, an engine and a kernel in memory, and paused time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_api::host::HostSpec;
use evenkeel_api::key::{Controller, Key};
use evenkeel_api::local::LocalNetworks;
use evenkeel_api::meta::{Metadata, ObjectRef};
use evenkeel_api::name::{HostName, NetworkName};
use evenkeel_api::network::NetworkSpec;
use evenkeel_api::record::{
    Accepted, Alive, Cluster, ConditionType, Facts, NetworkReport, Status, Subnet, Timestamp,
};
use evenkeel_engine::{Engine, EngineError, FakeEngine};
use evenkeel_etcd::MemoryStore;
use evenkeel_fabric::FakeFabric;
use evenkeel_metrics::{Build, Form, Page};
use evenkeel_runtime::disk::Siblings;
use evenkeel_runtime::env::{Env, WallClock};
use evenkeel_runtime::store::{Store, TxnBuilder};
use futures_util::FutureExt;
use serde::de::DeserializeOwned;

use super::{NetworkDeps, run};

struct StoppedClock;

impl WallClock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp(1)
    }
}

pub(super) struct World {
    pub(super) store: MemoryStore,
    pub(super) engine: FakeEngine,
    pub(super) fabric: FakeFabric,
    folder: tempfile::TempDir,
    page: Page,
}

pub(super) fn host() -> HostName {
    "h1".parse().unwrap()
}

pub(super) fn lan() -> NetworkName {
    "lan".parse().unwrap()
}

pub(super) fn network() -> ObjectRef {
    ObjectRef::Network(lan())
}

pub(super) const LAN: &str =
    "apiVersion: evenkeel/v1\nkind: Network\nspec: {ipam: {config: [{subnet: 10.88.0.0/16}]}}\n";

impl World {
    /// One host that leads, and another one that is only known.
    pub(super) async fn new() -> Self {
        let engine = FakeEngine::new();
        let bridges = engine.clone();
        let fabric = FakeFabric::new().with_bridges(move || {
            let networks = bridges.networks().now_or_never()?.ok()?;
            let bridge = |n: evenkeel_engine::Network| {
                let subnet = n.subnets.first()?;
                Some((n.bridge?, subnet.gateway?, subnet.subnet.prefix()))
            };
            Some(networks.into_iter().filter_map(bridge).collect())
        });
        fabric.add_link("eth0", false, [10, 0, 0, 11].into(), 24);
        let page = Page::new(&Build { version: "1".into(), level: 1, started: 0.0 });
        let folder = tempfile::tempdir().unwrap();
        let world = World { store: MemoryStore::new(1), engine, fabric, folder, page };
        world.put(&Key::Cluster, &Cluster { uid: "c1".into(), epoch: 0, level: 1, floor: 0 }).await;
        for n in 1..=2u8 {
            let name: HostName = format!("h{n}").parse().unwrap();
            let spec = HostSpec { address: [10, 0, 0, 10 + n].into(), availability: None, reserved: None };
            let accepted = Accepted {
                source_revision: 1,
                create_revision: 1,
                template: None,
                deleting: false,
                metadata: Metadata::default(),
                spec,
            };
            world.put(&Key::Accepted(ObjectRef::Host(name.clone())), &accepted).await;
            world.put(&Key::Facts(name), &Facts::default()).await;
        }
        world.put(&Key::Alive(host()), &Alive { boot_id: "b".into(), incarnation: 1 }).await;
        world
    }

    pub(super) fn deps(&self) -> NetworkDeps {
        NetworkDeps {
            store: Arc::new(self.store.client(7)),
            env: Arc::new(Env::new(StoppedClock, 7)),
            engine: Arc::new(self.engine.clone()),
            fabric: Arc::new(self.fabric.clone()),
            host: host(),
            state_dir: self.folder.path().into(),
            leads: true,
            etcd: [].into(),
            meter: self.page.meter(Controller::Network),
        }
    }

    fn start(&self) -> tokio::task::JoinHandle<()> {
        let deps = self.deps();
        tokio::spawn(async move { run(deps).await.unwrap() })
    }

    pub(super) async fn put<T: serde::Serialize>(&self, key: &Key, value: &T) {
        self.write(TxnBuilder::new().put(key, serde_json::to_vec(value).unwrap())).await;
    }

    pub(super) async fn write(&self, txn: TxnBuilder) {
        assert!(self.store.commit(&txn.build().unwrap()).await.unwrap().succeeded);
    }

    pub(super) async fn document(&self, text: &'static str) {
        self.write(TxnBuilder::new().put(&Key::Document(network()), Bytes::from(text))).await;
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, key: &Key) -> Option<T> {
        let kv = self.store.get(key).await.unwrap().0?;
        Some(serde_json::from_slice(&kv.value).unwrap())
    }

    pub(super) async fn report(&self) -> Option<NetworkReport> {
        self.get(&Key::NetworkReport(host(), lan())).await
    }

    async fn status(&self, kind: ConditionType) -> evenkeel_api::record::Condition {
        let status: Status = self.get(&Key::Status(network())).await.unwrap();
        status.condition(kind).unwrap().clone()
    }

    fn local(&self) -> LocalNetworks {
        Siblings::new(&self.folder.path().into()).read(Controller::Network).unwrap()
    }

    async fn ready(&self) {
        self.document(LAN).await;
        pass(8).await;
        let subnet = "10.88.1.0/24".parse().unwrap();
        assert_eq!(self.report().await, Some(NetworkReport::Ready { subnet }));
    }

    /// How many passes failed at the machine, as the page of figures has it.
    fn failures(&self) -> Option<String> {
        let page = self.page.text(Form::Prometheus);
        let mut lines = page.lines().filter(|line| line.starts_with("evenkeel_reconcile_errors"));
        lines.find(|line| line.contains("machine")).map(str::to_owned)
    }

    fn boot_file(&self) -> String {
        let path: &Path = self.folder.path();
        std::fs::read_to_string(path.join("network/boot.nft")).unwrap_or_default()
    }
}

async fn pass(seconds: u64) {
    // In small steps: timers that meet in one leap would hide who waits for whom.
    for _ in 0..seconds * 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_becomes_a_network_and_then_all_is_silent() {
    let world = World::new().await;
    let _running = world.start();
    world.ready().await;
    let accepted: Accepted<NetworkSpec> = world.get(&Key::Accepted(network())).await.unwrap();
    assert!(!accepted.deleting);
    let other: Subnet = world.get(&Key::Subnet(lan(), "h2".parse().unwrap())).await.unwrap();
    assert_eq!(other.subnet.to_string(), "10.88.2.0/24");
    let available = world.status(ConditionType::Available).await;
    assert_eq!((available.status, available.message.as_str()), (true, "1/1 hosts ready"));

    let state = world.fabric.state();
    assert_eq!(state.routes.first().unwrap().to_string(), "10.88.2.0/24 via 10.0.0.12 src 10.88.1.1");
    assert!(state.links["ek-lan"].proxy_arp && state.table.is_some());
    assert_eq!(world.local().networks[&lan()].subnet.to_string(), "10.88.1.0/24");
    assert!(world.boot_file().contains("DOCKER-USER"));

    let revision = world.store.revision();
    pass(600).await;
    assert_eq!(world.store.revision(), revision, "calm means silent");
    assert_eq!(world.failures(), None);
}

#[tokio::test(start_paused = true)]
async fn deleting_takes_all_of_it_away() {
    let world = World::new().await;
    let _running = world.start();
    world.ready().await;
    world.write(TxnBuilder::new().delete(&Key::Document(network()))).await;
    pass(8).await;
    for key in [
        Key::Accepted(network()),
        Key::Status(network()),
        Key::Subnet(lan(), host()),
        Key::NetworkReport(host(), lan()),
    ] {
        assert!(world.store.get(&key).await.unwrap().0.is_none(), "{key}");
    }
    assert!(world.engine.networks().await.unwrap().iter().all(|n| n.name != "ek-lan"));
    let state = world.fabric.state();
    assert!(state.table.is_none() && state.routes.is_empty() && state.engine.forward.pairs.is_empty());
    assert!(world.local().networks.is_empty());
    assert_eq!(world.boot_file(), "");
}

#[tokio::test(start_paused = true)]
async fn an_untrusted_store_removes_nothing() {
    let world = World::new().await;
    let snapshot = world.store.snapshot();
    let _running = world.start();
    world.ready().await;
    world.store.restore(&snapshot);
    pass(60).await;
    assert!(world.engine.networks().await.unwrap().iter().any(|n| n.name == "ek-lan"));
    let state = world.fabric.state();
    assert!(state.table.is_some() && state.routes.len() == 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_the_disk_is_enough() {
    let world = World::new().await;
    let running = world.start();
    world.ready().await;
    running.abort();
    let _ = running.await;
    pass(1).await;
    world.store.set_down(true);
    world.fabric.edit(|state| {
        state.table = None;
        state.routes.clear();
    });
    let _running = world.start();
    pass(10).await;
    let state = world.fabric.state();
    assert!(state.table.is_some() && state.routes.len() == 1);
    world.store.set_down(false);
    pass(30).await;
    assert!(matches!(world.report().await, Some(NetworkReport::Ready { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_flush_is_repaired_at_once_and_told() {
    let world = World::new().await;
    let _running = world.start();
    world.ready().await;
    world.fabric.flush();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let state = world.fabric.state();
    assert!(
        state.table.is_some() && state.engine.forward.pairs.len() == 1 && state.engine.raw.pairs.len() == 1
    );
    pass(3).await;
    assert!(
        matches!(world.report().await, Some(NetworkReport::Failed { why }) if why.contains("EngineFirewallLost"))
    );
    assert!(world.status(ConditionType::Degraded).await.message.contains("h1: EngineFirewallLost"));
    world.fabric.edit(|state| state.engine.present = true);
    pass(3).await;
    assert!(world.status(ConditionType::Available).await.status);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_refuses_is_reported_and_tried_again() {
    let world = World::new().await;
    world.engine.set_away(true);
    let _running = world.start();
    world.document(LAN).await;
    pass(5).await;
    assert!(matches!(world.report().await, Some(NetworkReport::Failed { why }) if why.contains("engine")));
    world.engine.set_away(false);
    world.engine.fail_next(evenkeel_engine::fake::Op::CreateNetwork, EngineError::Refused("no".into()));
    pass(60).await;
    assert!(matches!(world.report().await, Some(NetworkReport::Ready { .. })));
    assert!(world.failures().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_bad_document_leaves_the_network_alone() {
    let world = World::new().await;
    let _running = world.start();
    world.ready().await;
    world
        .document(
            "apiVersion: evenkeel/v1\nkind: Network\nspec: {ipam: {config: [{subnet: 10.99.0.0/16}]}}\n",
        )
        .await;
    pass(5).await;
    let valid = world.status(ConditionType::Valid).await;
    assert!(!valid.status && valid.message.contains("10.88.0.0/16 cannot become 10.99.0.0/16"), "{valid:?}");
    assert!(matches!(world.report().await, Some(NetworkReport::Ready { .. })));
}

#[tokio::test(start_paused = true)]
async fn values_that_cannot_be_read_take_no_network_away() {
    let world = World::new().await;
    let mut running = world.start();
    world.ready().await;
    let parts =
        [Key::Accepted(network()), Key::Subnet(lan(), host()), Key::Subnet(lan(), "h2".parse().unwrap())];
    let others =
        [Key::Accepted(ObjectRef::Host("h2".parse().unwrap())), Key::Status(network()), Key::Cluster];
    for key in parts.into_iter().chain(others) {
        let good = world.store.get(&key).await.unwrap().0.unwrap().value;
        // Once seen by a process that knows better, once found by one that has only the disk.
        for anew in [false, true] {
            if anew {
                running.abort();
                let _ = running.await;
                running = world.start();
            }
            world.write(TxnBuilder::new().put(&key, "{")).await;
            pass(40).await;
            assert!(world.engine.networks().await.unwrap().iter().any(|n| n.name == "ek-lan"), "{key}");
            let state = world.fabric.state();
            assert!(state.table.is_some() && state.routes.len() == 1, "{key}: {:?}", state.routes);
            assert!(world.store.get(&Key::Subnet(lan(), host())).await.unwrap().0.is_some(), "{key}");
        }
        world.write(TxnBuilder::new().put(&key, good)).await;
        pass(40).await;
        let subnet = "10.88.1.0/24".parse().unwrap();
        assert_eq!(world.report().await, Some(NetworkReport::Ready { subnet }), "{key}");
    }
}
