mod asking;

use std::time::Duration;

use evenkeel_api::healthcheck::HealthCheckSpec;
use evenkeel_api::key::Key;
use evenkeel_api::local::{LocalHealth, LocalInstance, LocalInstances};
use evenkeel_api::meta::{Metadata, ObjectRef};
use evenkeel_api::name::InstanceId;
use evenkeel_api::record::{
    Accepted, ConditionType, Desired, Health, InstanceState, Observed, Status, Timestamp, Verdict,
};
use evenkeel_etcd::MemoryStore;
use evenkeel_plan::health::verdict::Answer;
use evenkeel_probe::fake::FakeProbe;
use evenkeel_runtime::disk::Siblings;
use evenkeel_runtime::env::SystemClock;
use evenkeel_runtime::store::TxnBuilder;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;

/// A host with copies, and a store.
struct World {
    store: MemoryStore,
    dir: tempfile::TempDir,
    probe: FakeProbe,
    instances: StateFile<LocalInstances>,
    copies: LocalInstances,
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn id(n: u8) -> InstanceId {
    format!("shop.web.{n}.a").parse().unwrap()
}

/// Where the fake probe finds copy `n`.
fn at(n: u8) -> String {
    format!("10.88.1.{n}:80")
}

fn copy(n: u8, started: i64) -> LocalInstance {
    let observed = Observed {
        state: InstanceState::Running,
        since: Timestamp(started),
        addresses: [("lan".parse().unwrap(), std::net::Ipv4Addr::new(10, 88, 1, n))].into(),
        ports: Vec::new(),
        restarts: 0,
        started: Some(Timestamp(started)),
        engine_health: None,
        digest: None,
    };
    LocalInstance { desired: Desired::Run, observed, ports: Vec::new() }
}

const CHECK: &str = r#"{"target": {"service": "web"}, "type": "tcp", "port": 80, "interval": "1s", "retries": 2, "timeout": "1s"}"#;

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let instances = StateFile::open(&dir.path().into(), Controller::Instance).unwrap();
        let copies = LocalInstances::default();
        Self { store: MemoryStore::new(1), dir, probe: FakeProbe::default(), instances, copies }
    }

    fn start(&self, may_lead: bool) -> JoinHandle<Result<(), Error>> {
        self.start_on(self.store.client(5), may_lead)
    }

    fn start_on(&self, store: MemoryStore, may_lead: bool) -> JoinHandle<Result<(), Error>> {
        tokio::spawn(run(HealthcheckDeps {
            store: Arc::new(store),
            env: Arc::new(Env::new(SystemClock, 5)),
            host: "h1".parse().unwrap(),
            state_dir: self.dir.path().into(),
            probe: Arc::new(self.probe.clone()),
            may_lead,
            meter: Meter::default(),
        }))
    }

    fn runs(&mut self, n: u8, started: i64) {
        self.copies.instances.insert(id(n), copy(n, started));
        self.instances.save(&self.copies).unwrap();
    }

    async fn put(&self, key: &Key, value: impl Into<bytes::Bytes>) {
        self.store.commit(&TxnBuilder::new().put(key, value).build().unwrap()).await.unwrap();
    }

    async fn accept(&self) {
        self.put_accepted(false).await;
    }

    async fn put_accepted(&self, deleting: bool) {
        let spec: HealthCheckSpec = serde_json::from_str(CHECK).unwrap();
        let accepted = Accepted {
            source_revision: 5,
            create_revision: 5,
            template: None,
            deleting,
            metadata: Metadata::default(),
            spec,
        };
        let key = Key::Accepted(ObjectRef::HealthCheck("shop/tcp".parse().unwrap()));
        self.put(&key, serde_json::to_vec(&accepted).unwrap()).await;
    }

    /// What the store knows of a copy.
    async fn told(&self, n: u8) -> Option<(Verdict, String)> {
        let (kv, _) = self.store.get(&Key::Health("h1".parse().unwrap(), id(n))).await.unwrap();
        let health: Health = serde_json::from_slice(&kv?.value).unwrap();
        health.checks.values().next().map(|state| (state.verdict, state.evidence.clone()))
    }

    /// What siblings read of a copy.
    fn kept(&self, n: u8) -> Option<Verdict> {
        let local: LocalHealth = Siblings::new(&self.dir.path().into()).read(Controller::Healthcheck)?;
        local.health.get(&id(n))?.checks.values().next().map(|state| state.verdict)
    }

    async fn until(&self, n: u8, verdict: Verdict) -> Duration {
        let began = Instant::now();
        while self.told(n).await.map(|told| told.0) != Some(verdict) {
            assert!(began.elapsed() < Duration::from_secs(60), "never {verdict:?}");
            sleep(ms(5)).await;
        }
        began.elapsed()
    }
}

async fn end(controller: JoinHandle<Result<(), Error>>) {
    controller.abort();
    assert!(controller.await.unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_runs_is_asked_at_once_and_told_of_at_once() {
    let mut world = World::new();
    world.accept().await;
    let controller = world.start(false);
    sleep(ms(500)).await;
    world.runs(1, 1);
    let took = world.until(1, Verdict::Healthy).await;
    assert!(took <= ms(50), "{took:?}");
    assert_eq!(world.kept(1), Some(Verdict::Healthy));
    // Calm means silent.
    sleep(Duration::from_secs(5)).await;
    let revision = world.store.revision();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.store.revision(), revision);
    assert!(world.probe.asked(&at(1)) > 500);
    end(controller).await;
}

#[tokio::test(start_paused = true)]
async fn a_sick_copy_is_told_of_with_evidence_and_so_is_its_recovery() {
    let mut world = World::new();
    world.accept().await;
    world.runs(1, 1);
    let controller = world.start(false);
    world.until(1, Verdict::Healthy).await;
    sleep(Duration::from_secs(2)).await;
    world.probe.set(&at(1), Answer::fail("503 Service Unavailable"), Duration::ZERO);
    let took = world.until(1, Verdict::Unhealthy).await;
    assert!(took > ms(900) && took < ms(2300), "two failures a second apart: {took:?}");
    assert_eq!(world.told(1).await.unwrap().1, "503 Service Unavailable");
    assert_eq!(world.kept(1), Some(Verdict::Unhealthy));
    world.probe.set(&at(1), Answer::pass("200 OK"), Duration::ZERO);
    assert!(world.until(1, Verdict::Healthy).await < ms(1200));
    sleep(Duration::from_secs(2)).await;
    let events = world.store.list("events/h1.healthcheck/").await.unwrap().kvs;
    let events: Vec<String> =
        events.iter().map(|kv| String::from_utf8_lossy(&kv.value).into_owned()).collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.iter().any(|e| e.contains("Unhealthy") && e.contains("503")), "{events:?}");
    end(controller).await;
}

#[tokio::test(start_paused = true)]
async fn without_the_store_siblings_are_told_and_the_store_when_it_is_back() {
    let mut world = World::new();
    world.accept().await;
    world.runs(1, 1);
    let controller = world.start(false);
    world.until(1, Verdict::Healthy).await;
    end(controller).await;
    // Both the store and the controller go; only the controller comes back.
    world.store.set_down(true);
    let controller = world.start(false);
    world.runs(2, 1);
    world.probe.set(&at(1), Answer::fail("connection refused"), Duration::ZERO);
    sleep(Duration::from_secs(5)).await;
    assert_eq!((world.kept(1), world.kept(2)), (Some(Verdict::Unhealthy), Some(Verdict::Healthy)));
    world.store.set_down(false);
    world.until(1, Verdict::Unhealthy).await;
    world.until(2, Verdict::Healthy).await;
    end(controller).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_changes_nothing_with_its_disk_or_without() {
    let mut world = World::new();
    world.accept().await;
    world.runs(1, 1);
    let controller = world.start(false);
    world.until(1, Verdict::Healthy).await;
    sleep(Duration::from_secs(5)).await;
    end(controller).await;
    for lose_disk in [false, true] {
        if lose_disk {
            std::fs::remove_file(world.dir.path().join("healthcheck/state.json")).unwrap();
        }
        let key = Key::Health("h1".parse().unwrap(), id(1));
        let before = world.store.get(&key).await.unwrap().0;
        let controller = world.start(false);
        sleep(Duration::from_secs(10)).await;
        assert_eq!(world.store.get(&key).await.unwrap().0, before);
        assert_eq!(world.kept(1), Some(Verdict::Healthy));
        end(controller).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_run_is_judged_anew_and_a_gone_copy_is_forgotten() {
    let mut world = World::new();
    world.accept().await;
    world.runs(1, 1);
    let controller = world.start(false);
    world.until(1, Verdict::Healthy).await;
    world.probe.set(&at(1), Answer::fail("connection refused"), Duration::ZERO);
    world.runs(1, 2);
    assert!(world.until(1, Verdict::Starting).await < ms(200));
    world.copies.instances.clear();
    world.instances.save(&world.copies).unwrap();
    sleep(ms(500)).await;
    assert_eq!((world.told(1).await, world.kept(1)), (None, None));
    end(controller).await;
}

#[tokio::test(start_paused = true)]
async fn slow_copies_do_not_pile_up() {
    let mut world = World::new();
    world.accept().await;
    for n in 1..=200 {
        world.probe.set(&at(n), Answer::pass("200 OK"), ms(800));
        world.copies.instances.insert(id(n), copy(n, 1));
    }
    world.instances.save(&world.copies).unwrap();
    let controller = world.start(false);
    for n in 1..=200 {
        world.until(n, Verdict::Healthy).await;
    }
    assert_eq!(world.probe.most(), 64);
    end(controller).await;
}

#[tokio::test(start_paused = true)]
async fn the_leader_accepts_documents_counts_copies_and_cleans_up() {
    let mut world = World::new();
    world.runs(1, 1);
    let controller = world.start(true);
    let object = ObjectRef::HealthCheck("shop/tcp".parse().unwrap());
    let document = Key::Document(object.clone());
    world.put(&document, "apiVersion: evenkeel/v1\nkind: HealthCheck\nspec: {target: {service: web}, type: tcp, port: 80}\n").await;
    world.until(1, Verdict::Healthy).await;
    sleep(Duration::from_secs(2)).await;
    let status = async |world: &World| {
        let (kv, _) = world.store.get(&Key::Status(object.clone())).await.unwrap();
        kv.map(|kv| serde_json::from_slice::<Status>(&kv.value).unwrap())
    };
    let told = status(&world).await.unwrap();
    assert_eq!(
        told.condition(ConditionType::Available).unwrap().message,
        "1 healthy, 0 starting, 0 unhealthy"
    );
    assert_eq!(told.condition(ConditionType::Degraded).unwrap().reason, "NoTarget");
    let good = told.accepted_revision;
    // A bad document changes nothing but the status.
    world
        .put(
            &document,
            "apiVersion: evenkeel/v1\nkind: HealthCheck\nspec: {target: {service: web}, typ: tcp}\n",
        )
        .await;
    sleep(ms(300)).await;
    let told = status(&world).await.unwrap();
    assert!(!told.condition(ConditionType::Valid).unwrap().status);
    assert_eq!(told.accepted_revision, good);
    assert_eq!(world.told(1).await.unwrap().0, Verdict::Healthy);
    world.store.commit(&TxnBuilder::new().delete(&document).build().unwrap()).await.unwrap();
    sleep(ms(1000)).await;
    assert_eq!((status(&world).await, world.told(1).await), (None, None));
    end(controller).await;
}

const DOCUMENT: &str =
    "apiVersion: evenkeel/v1\nkind: HealthCheck\nspec: {target: {service: web}, type: tcp, port: 80}\n";

fn numbered(n: u8) -> ObjectRef {
    ObjectRef::HealthCheck(format!("shop/c{n}").parse().unwrap())
}

/// How many of the numbered checks are accepted.
fn accepted(world: &World) -> usize {
    world.store.peek("accepted/healthchecks/shop/").len()
}

#[tokio::test(start_paused = true)]
async fn many_documents_take_few_transactions() {
    let world = World::new();
    let controller = world.start(true);
    sleep(Duration::from_secs(5)).await;
    let put = |txn: TxnBuilder, n| txn.put(&Key::Document(numbered(n)), DOCUMENT);
    let txn = (0..80).fold(TxnBuilder::new(), put).build().unwrap();
    let before = world.store.commit(&txn).await.unwrap().header.revision;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(accepted(&world), 80);
    let took = world.store.revision() - before;
    assert!(took <= 10, "{took} transactions");
    end(controller).await;
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_put_all_the_time_holds_up_no_other() {
    let world = World::new();
    let client = world.store.client(5);
    client.delay(ms(20));
    let controller = world.start_on(client, true);
    sleep(Duration::from_secs(5)).await;
    for n in 0..400 {
        world.put(&Key::Document(numbered(0)), format!("{DOCUMENT}# {n}\n")).await;
        if n == 100 {
            let put = |txn: TxnBuilder, n| txn.put(&Key::Document(numbered(n)), DOCUMENT);
            let txn = (1..8).fold(TxnBuilder::new(), put).build().unwrap();
            world.store.commit(&txn).await.unwrap();
        }
        sleep(ms(5)).await;
    }
    assert_eq!(accepted(&world), 7);
    end(controller).await;
}

#[tokio::test(start_paused = true)]
async fn documents_that_are_too_large_together_are_accepted_one_by_one() {
    let world = World::new();
    let client = world.store.client(5);
    client.delay(ms(20));
    let controller = world.start_on(client, true);
    sleep(Duration::from_secs(5)).await;
    let large = format!(
        "apiVersion: evenkeel/v1\nkind: HealthCheck\nspec: {{target: {{service: web}}, type: http, port: 80, path: /{}}}\n",
        "x".repeat(200_000)
    );
    for n in 0..10 {
        world.put(&Key::Document(numbered(n)), large.clone()).await;
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(accepted(&world), 10);
    end(controller).await;
}
