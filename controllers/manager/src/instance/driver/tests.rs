//! The driver between its turns: what each thing that it hears leaves behind.

mod events;
mod listed;
mod outcomes;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::local::{LocalNetwork, LocalNetworks};
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::record::{Cluster, Desired, Event, Instance, InstanceState, Observed, Revision, Timestamp};
use evenkeel_api::service::{Limits, Template};
use evenkeel_engine::FakeEngine;
use evenkeel_etcd::MemoryStore;
use evenkeel_plan::instance::container::{Container, ContainerState, label};
use evenkeel_runtime::disk::{MemoryDisk, StateDir, StateFile};
use evenkeel_runtime::env::{Env, SystemClock};
use evenkeel_runtime::store::{Store, TxnBuilder};
use serde::Serialize;

use super::super::InstanceDeps;
use super::super::execute::{Message, Outcome};
use super::super::slot::Slot;
use super::Driver;

const IMAGE: &str = "registry.lan:5000/web:1";

/// A driver that nobody turns, and the store of its cluster.
struct Bench {
    store: MemoryStore,
    driver: Driver,
}

fn host() -> HostName {
    "h1".parse().unwrap()
}

fn id(seq: u64) -> InstanceId {
    format!("shop.web.{seq}.{seq}").parse().unwrap()
}

/// The container of a copy, under an id of the engine's.
fn container(engine_id: &str, of: &InstanceId, state: ContainerState) -> Container {
    Container {
        id: engine_id.to_owned(),
        name: of.to_string(),
        labels: BTreeMap::from([(label::INSTANCE.to_owned(), of.to_string())]),
        image: IMAGE.to_owned(),
        image_id: "sha256:here".to_owned(),
        state,
        started: None,
        finished: None,
        health: None,
        addresses: BTreeMap::new(),
        ports: Vec::new(),
        limits: Limits::default(),
        pid: None,
    }
}

/// A container with its address on the engine's network.
fn at(address: &str, container: Container) -> Container {
    Container { addresses: BTreeMap::from([("ek-lan".to_owned(), address.parse().unwrap())]), ..container }
}

fn running() -> Observed {
    Observed {
        state: InstanceState::Running,
        since: Timestamp(1),
        addresses: BTreeMap::new(),
        ports: Vec::new(),
        restarts: 0,
        started: None,
        engine_health: None,
        digest: None,
    }
}

async fn put(store: &MemoryStore, key: &Key, value: &impl Serialize) {
    let txn = TxnBuilder::new().put(key, serde_json::to_vec(value).unwrap()).build().unwrap();
    assert!(store.commit(&txn).await.unwrap().succeeded);
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

impl Bench {
    /// On a store that holds the record of one copy; it was not asked yet.
    async fn on_a_store() -> Self {
        let store = MemoryStore::new(1);
        put(&store, &Key::Cluster, &Cluster { uid: "u1".into(), epoch: 1, level: 1, floor: 0 }).await;
        let networks = BTreeMap::from([("lan".parse().unwrap(), Default::default())]);
        let template = Template { image: IMAGE.into(), networks, ..Template::default() };
        put(&store, &Key::Revision("shop/web".parse().unwrap(), 7), &Revision { template }).await;
        let record = Instance {
            template: "shop/web@7".parse().unwrap(),
            slot: id(1).slot,
            desired: Desired::Run,
            cause: "test".into(),
            fence: None,
            restart: None,
        };
        put(&store, &Key::Instance(host(), id(1)), &record).await;
        Self::new(store).await
    }

    async fn new(store: MemoryStore) -> Self {
        let deps = InstanceDeps {
            store: Arc::new(store.client(1)),
            env: Arc::new(Env::new(SystemClock, 1)),
            engine: Arc::new(FakeEngine::new()),
            host: host(),
            state_dir: StateDir::on(Arc::new(MemoryDisk::new()), Path::new("/state")),
            policy: "policy.yaml".into(),
            registry_auth: "registry.json".into(),
            sessions: None,
        };
        Self { store, driver: Driver::start(deps).await.unwrap() }
    }

    /// All of the store was read, some time ago.
    async fn booted() -> Self {
        let mut bench = Self::on_a_store().await;
        bench.driver.boot().await;
        pass(100).await;
        bench
    }

    /// As the network controller does once its network stands.
    fn write_networks(&self) {
        let lan = LocalNetwork {
            pool: "10.88.0.0/16".parse().unwrap(),
            subnet: "10.88.1.0/24".parse().unwrap(),
            engine_name: "ek-lan".into(),
            domain: "internal".into(),
        };
        let local = LocalNetworks { networks: BTreeMap::from([("lan".parse().unwrap(), lan)]) };
        let file = StateFile::open(&self.driver.deps.state_dir, Controller::Network).unwrap();
        file.save(&local).unwrap();
    }

    /// The copy's slot, to be as this one.
    fn set(&mut self, slot: Slot) {
        self.driver.slots.insert(id(1), slot);
        self.driver.due.clear();
    }

    fn slot(&mut self) -> &mut Slot {
        self.driver.slots.get_mut(&id(1)).unwrap()
    }

    /// A step of the copy is over.
    fn done(&mut self, outcome: Outcome) {
        self.driver.hear(Message::Done(id(1), Box::new(outcome)));
    }

    /// What is told of the copy in the ring of events.
    async fn events(&self) -> Vec<(String, String)> {
        pass(2).await;
        let events = self.store.peek("events/h1.instance/").into_iter();
        let events = events.map(|kv| serde_json::from_slice::<Event>(&kv.value).unwrap());
        let events = events.filter(|event| event.instance == Some(id(1)) && event.warning);
        events.map(|event| (event.reason, event.message)).collect()
    }
}

fn keys(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(ToString::to_string).collect()
}
