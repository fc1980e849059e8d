//! The watchdog and the instance controller together, on an engine, a store and a disk in memory.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::meta::{Metadata, ObjectRef};
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{
    Accepted, Alive, Cluster, Desired, Fence, Instance, InstanceState, Observed, Revision,
};
use evenkeel_api::service::{NetworkMode, ServiceSpec, Template};
use evenkeel_engine::FakeEngine;
use evenkeel_engine::fake::Op;
use evenkeel_etcd::MemoryStore;
use evenkeel_plan::instance::container::ContainerState;
use evenkeel_runtime::disk::{MemoryDisk, StateDir, StateFile};
use evenkeel_runtime::env::{Env, SystemClock};
use evenkeel_runtime::store::{Store, TxnBuilder};
use evenkeel_runtime::witness::Trust;
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::instance::{self, InstanceDeps};

mod fence;
mod proofs;
mod sweep;

const S: Duration = Duration::from_secs(5);

/// Ends what the engine in memory runs, without asking it.
#[derive(Debug, Clone)]
struct Killer(FakeEngine);

impl Cgroups for Killer {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
    fn end(&self, container: &str, _search: bool) -> std::io::Result<Sweep> {
        let all = self.0.all();
        let runs = all.iter().find(|one| one.id == container && one.state == ContainerState::Running);
        let Some(found) = runs else { return Ok(Sweep::default()) };
        self.0.crash(&found.name, 137, false);
        Ok(Sweep { found: 1, left: 0 })
    }
}

/// One host of a cluster with one exclusive service.
struct World {
    store: MemoryStore,
    /// The watchdog's own connection.
    line: MemoryStore,
    /// The instance controller's.
    own: MemoryStore,
    engine: FakeEngine,
    dir: StateDir,
    disk: MemoryDisk,
    env: Arc<Env>,
    controller: Option<JoinHandle<()>>,
    watchdog: Option<JoinHandle<()>>,
}

fn host() -> HostName {
    "h1".parse().unwrap()
}

fn id() -> InstanceId {
    "shop.db.1.1".parse().unwrap()
}

impl World {
    async fn new() -> Self {
        let engine = FakeEngine::new();
        engine.add_to_registry("db:1", "sha256:aaaa");
        let (store, disk) = (MemoryStore::new(1), MemoryDisk::new());
        let world = Self {
            line: store.client(9),
            own: store.client(2),
            store,
            engine,
            dir: StateDir::on(Arc::new(disk.clone()), Path::new("/state")),
            disk,
            env: Arc::new(Env::new(SystemClock, 1)),
            controller: None,
            watchdog: None,
        };
        // A clock that stands at nothing is no clock of a machine.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let template =
            Template { image: "db:1".into(), network_mode: Some(NetworkMode::None), ..Template::default() };
        let spec = ServiceSpec { template: template.clone(), ..ServiceSpec::default() };
        world.put(&Key::Cluster, &Cluster { uid: "u1".into(), epoch: 1, level: 1, floor: 0 }).await;
        let accepted = Accepted {
            source_revision: 7,
            create_revision: 7,
            template: Some(7),
            deleting: false,
            metadata: Metadata::default(),
            spec,
        };
        world.put(&Key::Revision("shop/db".parse().unwrap(), 7), &Revision { template }).await;
        world.put(&Key::Accepted(ObjectRef::Service("shop/db".parse().unwrap())), &accepted).await;
        world.register().await;
        world.want(Desired::Run).await;
        world
    }

    /// What the host controller does; its lease is kept for ever.
    async fn register(&self) {
        let lease = self.store.grant(Duration::from_secs(2)).await.unwrap().id;
        let alive = serde_json::to_vec(&Alive { boot_id: "b".into(), incarnation: 3 }).unwrap();
        let txn = TxnBuilder::new().put_leased(&Key::Alive(host()), alive, lease).build().unwrap();
        self.store.commit(&txn).await.unwrap();
        let file = StateFile::open(&self.dir, Controller::Host).unwrap();
        file.save(&json!({"registration": {"boot_id": "b", "incarnation": 3, "lease": lease}})).unwrap();
        let store = self.store.clone();
        tokio::spawn(async move {
            while store.renew(lease).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }

    async fn put(&self, key: &Key, value: &impl Serialize) {
        let txn = TxnBuilder::new().put(key, serde_json::to_vec(value).unwrap()).build().unwrap();
        assert!(self.store.commit(&txn).await.unwrap().succeeded);
    }

    async fn want(&self, desired: Desired) {
        let fence = Some(Fence { token: 1, stop_after: Span(S) });
        let (template, slot) = ("shop/db@7".parse().unwrap(), "1".parse().unwrap());
        let record = Instance { template, slot, desired, cause: "test".into(), fence, restart: None };
        self.put(&Key::Instance(host(), id()), &record).await;
    }

    fn start_controller(&mut self) {
        let deps = InstanceDeps {
            store: Arc::new(self.own.clone()),
            env: self.env.clone(),
            engine: Arc::new(self.engine.clone()),
            host: host(),
            state_dir: self.dir.clone(),
            policy: "/nowhere/policy.yaml".into(),
            registry_auth: "/nowhere/registry.json".into(),
            sessions: None,
        };
        self.controller = Some(tokio::spawn(async move { instance::run(deps).await.unwrap() }));
    }

    fn deps(&self) -> WatchdogDeps {
        WatchdogDeps {
            store: Arc::new(self.line.clone()),
            env: self.env.clone(),
            host: host(),
            state_dir: self.dir.clone(),
            cgroups: Arc::new(Killer(self.engine.clone())),
        }
    }

    fn start_watchdog(&mut self) {
        let deps = self.deps();
        self.watchdog = Some(tokio::spawn(async move { run(deps).await.unwrap() }));
    }

    async fn started() -> Self {
        let mut world = Self::new().await;
        world.start_controller();
        world.start_watchdog();
        world.until("it runs", |world| world.runs()).await;
        world
    }

    fn runs(&self) -> bool {
        self.engine.all().iter().any(|one| one.state == ContainerState::Running)
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < Duration::from_secs(120), "two minutes, and not: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }

    async fn why(&self) -> String {
        let (kv, _) = self.store.get(&Key::Observed(host(), id())).await.unwrap();
        let observed: Option<Observed> = kv.and_then(|kv| serde_json::from_slice(&kv.value).ok());
        match observed.map(|observed| observed.state) {
            Some(InstanceState::Waiting { why }) => why,
            other => format!("{other:?}"),
        }
    }

    async fn until_told(&self, part: &str) {
        for _ in 0..1000 {
            if self.why().await.contains(part) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{}, and not {part}", self.why().await);
    }
}

fn case(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap().block_on(test);
}

async fn seconds(n: f64) {
    tokio::time::sleep(Duration::from_secs_f64(n)).await;
}

#[test]
fn nothing_exclusive_starts_without_a_watchdog() {
    case(async {
        let mut world = World::new().await;
        world.start_controller();
        world.until_told("watchdog does not run").await;
        seconds(60.0).await;
        assert!(!world.runs());
        world.start_watchdog();
        let after = world.until("it runs", World::runs).await;
        assert!(after < Duration::from_secs(1), "{after:?}");
        // One that died is noticed, too.
        world.watchdog.take().unwrap().abort();
        seconds(3.0).await;
        world.engine.crash(&id().to_string(), 1, false);
        world.until_told("watchdog does not run").await;
        assert!(!world.runs());
    });
}

#[test]
fn a_copy_ends_when_nothing_proves_its_life_and_starts_again_when_something_does() {
    case(async {
        let world = World::started().await;
        seconds(60.0).await;
        assert!(world.runs());
        world.line.cut_off(true);
        let after = world.until("it ends", |world| !world.runs()).await;
        assert!((S - Duration::from_millis(700)..=S).contains(&after), "{after:?}");
        world.until_told("does not confirm").await;
        seconds(30.0).await;
        assert!(!world.runs());
        world.line.cut_off(false);
        let after = world.until("it runs", World::runs).await;
        assert!(after < Duration::from_secs(2), "{after:?}");
    });
}

#[test]
fn a_copy_that_is_given_up_ends_though_its_engine_hangs_and_one_that_stops_gently_may() {
    case(async {
        let world = World::started().await;
        world.engine.set_hung(true);
        world.want(Desired::Stop).await;
        seconds(30.0).await;
        assert!(world.runs());
        world.want(Desired::Lost).await;
        let after = world.until("it ends", |world| !world.runs()).await;
        assert!(after <= S, "{after:?}");
    });
}

#[test]
fn a_new_life_of_the_watchdog_knows_the_deadline_of_the_last_one() {
    case(async {
        let mut world = World::started().await;
        world.line.cut_off(true);
        seconds(2.0).await;
        world.watchdog.take().unwrap().abort();
        seconds(1.0).await;
        assert!(world.runs());
        world.start_watchdog();
        seconds(0.5).await;
        assert!(world.runs(), "what was proved to the last one holds");
        let after = world.until("it ends", |world| !world.runs()).await;
        assert!(after <= Duration::from_millis(1500), "{after:?}");
        // One that comes too late ends it at once.
        world.line.cut_off(false);
        world.until("it runs", World::runs).await;
        world.watchdog.take().unwrap().abort();
        seconds(20.0).await;
        world.start_watchdog();
        tokio::task::yield_now().await;
        let after = world.until("it ends", |world| !world.runs()).await;
        assert!(after <= Duration::from_millis(50), "{after:?}");
    });
}

#[test]
fn what_the_engine_starts_late_does_not_run_on() {
    case(async {
        let mut world = World::new().await;
        world.engine.set_delay(Op::Start, Duration::from_secs(20));
        world.start_controller();
        world.start_watchdog();
        seconds(3.0).await;
        world.line.cut_off(true);
        let mut ran = 0;
        for _ in 0..6000 {
            ran += u32::from(world.runs());
            seconds(0.01).await;
        }
        assert!((1..=3).contains(&ran), "hundredths of a second: {ran}");
    });
}

#[test]
fn what_was_not_told_to_the_disk_is_not_started() {
    case(async {
        let mut world = World::new().await;
        world.start_watchdog();
        world.disk.set_full(true);
        world.start_controller();
        seconds(30.0).await;
        assert!(!world.runs());
        world.disk.set_full(false);
        world.engine.end_events();
        world.until("it runs", World::runs).await;
    });
}

#[test]
fn a_wiped_store_ends_it_and_starts_nothing() {
    case(async {
        let world = World::started().await;
        seconds(3.0).await;
        world.store.wipe();
        let after = world.until("it ends", |world| !world.runs()).await;
        assert!(after <= S, "{after:?}");
        world.register_again().await;
        seconds(60.0).await;
        assert!(!world.runs());
    });
}

#[test]
fn once_a_person_has_declared_the_past_void_a_store_that_went_back_proves_life_again() {
    case(async {
        let world = World::started().await;
        seconds(3.0).await;
        world.store.wipe();
        world.until("it ends", |world| !world.runs()).await;
        world.register_again().await;
        world.put(&Key::Cluster, &Cluster { uid: "u1".into(), epoch: 2, level: 1, floor: 0 }).await;
        seconds(20.0).await;
        assert!(!world.runs(), "the cluster is halted yet");
        assert_ne!(world.line.witness().trust(), Trust::Trusted);
        let end = TxnBuilder::new().delete(&Key::Halt).build().unwrap();
        world.store.commit(&end).await.unwrap();
        let after = world.until("it runs", World::runs).await;
        assert!(after < Duration::from_secs(15), "{after:?}");
    });
}

impl World {
    /// The host is back in a store that knows nothing, and somebody puts the old record back.
    async fn register_again(&self) {
        self.put(&Key::Cluster, &Cluster { uid: "u1".into(), epoch: 1, level: 1, floor: 0 }).await;
        self.register().await;
        self.want(Desired::Run).await;
    }
}
