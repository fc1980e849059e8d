//! The driver on an engine and a store in memory, on paused time.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::local::{LocalInstances, LocalNetwork, LocalNetworks};
use evenkeel_api::meta::{Metadata, ObjectRef};
use evenkeel_api::name::{HostName, InstanceId, NetworkName, ServiceId};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{
    Accepted, Cluster, Desired, Digest, Event, Instance, InstanceState, Observed, Restart, Revision,
};
use evenkeel_api::service::{Limits, PullPolicy, ServiceSpec, Template};
use evenkeel_engine::fake::{Behaviour, Op};
use evenkeel_engine::{EngineError, FakeEngine, Network};
use evenkeel_etcd::MemoryStore;
use evenkeel_metrics::{Build, Form, Page};
use evenkeel_plan::instance::container::{Container, ContainerState};
use evenkeel_runtime::env::{Env, SystemClock};
use evenkeel_runtime::store::{Change, Store, TxnBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::{InstanceDeps, run};

mod ends;
mod steps;

const IMAGE: &str = "registry.lan:5000/web:1";
const DIGEST: &str = "sha256:aaaa";

/// A host with its engine, in a cluster of one service.
struct World {
    store: MemoryStore,
    engine: FakeEngine,
    folder: tempfile::TempDir,
    controller: Option<JoinHandle<()>>,
    life: u64,
    page: Page,
}

fn host() -> HostName {
    "h1".parse().unwrap()
}

fn service() -> ServiceId {
    "shop/web".parse().unwrap()
}

fn id(seq: u64) -> InstanceId {
    format!("shop.web.{seq}.{seq}").parse().unwrap()
}

fn template() -> Template {
    Template { image: IMAGE.into(), networks: networks(), ..Template::default() }
}

fn networks() -> BTreeMap<NetworkName, evenkeel_api::service::Attachment> {
    BTreeMap::from([("lan".parse().unwrap(), Default::default())])
}

impl World {
    async fn new() -> Self {
        let engine = FakeEngine::new();
        engine.add_to_registry(IMAGE, DIGEST);
        let network = Network { name: "ek-lan".into(), driver: "bridge".into(), ..Network::default() };
        engine.add_network(network);
        let world = Self {
            store: MemoryStore::new(1),
            engine,
            folder: tempfile::tempdir().unwrap(),
            controller: None,
            life: 0,
            page: Page::new(&Build { version: "1".into(), level: 1, started: 0.0 }),
        };
        world.write_networks();
        world.put(&Key::Cluster, &Cluster { uid: "u1".into(), epoch: 1, level: 1, floor: 0 }).await;
        world.put(&Key::Revision(service(), 7), &Revision { template: template() }).await;
        world.accept(ServiceSpec { template: template(), ..ServiceSpec::default() }).await;
        world
    }

    /// One with its controller running.
    async fn started() -> Self {
        let mut world = Self::new().await;
        world.start();
        world
    }

    fn start(&mut self) {
        self.life += 1;
        let deps = InstanceDeps {
            store: Arc::new(self.store.client(self.life)),
            env: Arc::new(Env::new(SystemClock, self.life)),
            engine: Arc::new(self.engine.clone()),
            host: host(),
            state_dir: self.folder.path().into(),
            policy: self.folder.path().join("policy.yaml"),
            registry_auth: self.folder.path().join("registry.json"),
            meter: self.page.meter(Controller::Instance),
            sessions: None,
        };
        self.controller = Some(tokio::spawn(async move { run(deps).await.unwrap() }));
    }

    /// Kills the controller, wherever it is.
    async fn kill(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.abort();
            let _cancelled = controller.await;
        }
    }

    fn write_networks(&self) {
        let lan = LocalNetwork {
            pool: "10.88.0.0/16".parse().unwrap(),
            subnet: "10.88.1.0/24".parse().unwrap(),
            engine_name: "ek-lan".into(),
            domain: "internal".into(),
        };
        let local = LocalNetworks { networks: BTreeMap::from([("lan".parse().unwrap(), lan)]) };
        let file = evenkeel_runtime::disk::StateFile::open(&self.folder.path().into(), Controller::Network);
        file.unwrap().save(&local).unwrap();
    }

    async fn put(&self, key: &Key, value: &impl Serialize) {
        let txn = TxnBuilder::new().put(key, serde_json::to_vec(value).unwrap()).build().unwrap();
        assert!(self.store.commit(&txn).await.unwrap().succeeded);
    }

    async fn delete(&self, key: &Key) {
        self.store.commit(&TxnBuilder::new().delete(key).build().unwrap()).await.unwrap();
    }

    async fn accept(&self, spec: ServiceSpec) {
        let accepted = Accepted {
            source_revision: 7,
            create_revision: 7,
            template: Some(7),
            deleting: false,
            metadata: Metadata::default(),
            spec,
        };
        self.put(&Key::Accepted(ObjectRef::Service(service())), &accepted).await;
    }

    async fn want(&self, id: &InstanceId, desired: Desired) {
        let record = Instance {
            template: "shop/web@7".parse().unwrap(),
            slot: id.slot.clone(),
            desired,
            cause: "test".into(),
            fence: None,
            restart: None,
        };
        self.put(&Key::Instance(host(), id.clone()), &record).await;
    }

    async fn get<T: DeserializeOwned>(&self, key: &Key) -> Option<T> {
        let (found, _) = self.store.get(key).await.ok()?;
        found.map(|kv| serde_json::from_slice(&kv.value).unwrap())
    }

    async fn told(&self, id: &InstanceId) -> Option<Observed> {
        self.get(&Key::Observed(host(), id.clone())).await
    }

    fn container(&self, id: &InstanceId) -> Option<Container> {
        self.engine.all().into_iter().find(|one| one.name == id.to_string())
    }

    fn runs(&self, id: &InstanceId) -> bool {
        self.container(id).is_some_and(|one| one.state == ContainerState::Running)
    }

    async fn until_running(&self, id: &InstanceId) -> Observed {
        eventually("it runs", || async {
            let told = self.told(id).await?;
            (told.state == InstanceState::Running && self.runs(id)).then_some(told)
        })
        .await
    }

    async fn until_told(&self, id: &InstanceId, what: impl Fn(&InstanceState) -> bool) -> Observed {
        eventually("it is told so", || async { self.told(id).await.filter(|told| what(&told.state)) }).await
    }

    fn count(&self, op: Op) -> usize {
        self.engine.take_calls().iter().filter(|(of, _)| *of == op).count()
    }

    /// The lines of one figure.
    fn figure(&self, name: &str) -> Vec<String> {
        let page = self.page.text(Form::Prometheus);
        page.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    fn file(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap()
    }
}

async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    for _ in 0..12_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("two minutes, and not: {what}");
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_lives_and_ends() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    let told = world.until_running(&id(1)).await;
    assert_eq!(told.addresses.values().map(ToString::to_string).collect::<Vec<_>>(), ["10.88.1.2"]);
    assert_eq!((told.restarts, told.digest.as_deref()), (0, Some(DIGEST)));
    let resolv = world.file("instance/resolv/shop.web.1.1");
    assert!(resolv.contains("nameserver 10.88.1.1\nsearch shop.internal internal\n"), "{resolv}");
    let local: LocalInstances = read_state(world.folder.path());
    assert_eq!(local.instances[&id(1)].observed, told);

    world.want(&id(1), Desired::Stop).await;
    let told = world.until_told(&id(1), |state| matches!(state, InstanceState::Stopped { .. })).await;
    assert_eq!(told.state, InstanceState::Stopped { code: Some(143) });
    assert!(world.container(&id(1)).is_none());
    world.delete(&Key::Instance(host(), id(1))).await;
    eventually("it is forgotten", || async { world.told(&id(1)).await.is_none().then_some(()) }).await;

    // The address rests: the next instance gets another one.
    world.want(&id(2), Desired::Run).await;
    let told = world.until_running(&id(2)).await;
    assert_eq!(told.addresses.values().next().unwrap().to_string(), "10.88.1.3");
}

fn read_state<T: DeserializeOwned>(folder: &Path) -> T {
    evenkeel_runtime::disk::Siblings::new(&folder.into()).read(Controller::Instance).unwrap()
}

#[tokio::test(start_paused = true)]
async fn calm_is_silent() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    pass(60).await;
    let (revision, _) = (world.store.revision(), world.engine.take_calls());
    pass(600).await;
    assert_eq!(world.store.revision(), revision);
    let calls = world.engine.take_calls();
    assert!(calls.iter().all(|(op, _)| *op == Op::Containers), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_mended_without_a_look_and_more_slowly_each_time() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    pass(60).await;
    let mut waits = Vec::new();
    for _ in 0..5 {
        world.engine.take_calls();
        let ended = tokio::time::Instant::now();
        world.engine.crash("shop.web.1.1", 1, false);
        eventually("it runs again", || async { world.runs(&id(1)).then_some(()) }).await;
        waits.push(ended.elapsed().as_secs_f64().round() as u64);
        let calls: Vec<_> = world.engine.take_calls().into_iter().map(|(op, _)| op).collect();
        assert!(calls.contains(&Op::Start) && !calls.contains(&Op::Create), "{calls:?}");
        assert_eq!(
            calls.iter().take_while(|op| **op != Op::Start).filter(|op| **op == Op::Inspect).count(),
            0
        );
    }
    assert_eq!(waits, [0, 1, 2, 4, 8]);
    // A good run forgives.
    pass(11).await;
    let ended = tokio::time::Instant::now();
    world.engine.crash("shop.web.1.1", 1, true);
    eventually("it runs again", || async { world.runs(&id(1)).then_some(()) }).await;
    assert!(ended.elapsed() < Duration::from_millis(200));
    let told = world.until_told(&id(1), |state| *state == InstanceState::Running).await;
    eventually("all are counted", || async { (world.told(&id(1)).await?.restarts == 6).then_some(()) }).await;
    assert!(told.addresses.len() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_a_person_removes_is_made_again_at_its_address() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    let before = world.until_running(&id(1)).await;
    let old = world.container(&id(1)).unwrap().id;
    world.engine.person_removes("shop.web.1.1");
    let gone = tokio::time::Instant::now();
    eventually("a new one runs", || async {
        (world.runs(&id(1)) && world.container(&id(1))?.id != old).then_some(())
    })
    .await;
    assert!(gone.elapsed() < Duration::from_millis(500), "{:?}", gone.elapsed());
    pass(1).await;
    assert_eq!(world.told(&id(1)).await.unwrap().addresses, before.addresses);
}

#[tokio::test(start_paused = true)]
async fn without_events_the_list_finds_out() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    pass(5).await;
    world.engine.lose_events(true);
    world.engine.crash("shop.web.1.1", 1, false);
    world.want(&id(2), Desired::Run).await;
    world.until_running(&id(2)).await;
    world.engine.person_removes("shop.web.2.2");
    pass(31).await;
    assert!(world.runs(&id(1)) && world.runs(&id(2)));
}

#[tokio::test(start_paused = true)]
async fn with_the_store_away_crashes_are_mended_also_by_the_next_life() {
    let mut world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    pass(1).await;
    world.store.set_down(true);
    world.engine.crash("shop.web.1.1", 1, false);
    pass(1).await;
    assert!(world.runs(&id(1)));
    world.kill().await;
    world.engine.crash("shop.web.1.1", 1, false);
    world.start();
    pass(7).await;
    assert!(world.runs(&id(1)), "the disk decides after five seconds");
    world.engine.person_removes("shop.web.1.1");
    pass(2).await;
    assert!(world.runs(&id(1)), "made again from the template on the disk");
    world.engine.reboot();
    pass(8).await;
    assert!(world.runs(&id(1)));
    world.store.set_down(false);
    eventually("the store hears of it", || async { (world.told(&id(1)).await?.restarts >= 2).then_some(()) })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_or_is_away_costs_nothing_but_time() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    world.engine.take_calls();
    world.engine.set_away(true);
    world.engine.crash("shop.web.1.1", 1, false);
    world.want(&id(2), Desired::Run).await;
    pass(20).await;
    assert_eq!(world.told(&id(1)).await.unwrap().state, InstanceState::Running, "nobody knows better");
    world.engine.set_away(false);
    world.until_running(&id(2)).await;
    pass(2).await;
    assert!(world.runs(&id(1)));
    world.engine.set_hung(true);
    world.want(&id(3), Desired::Run).await;
    pass(60).await;
    world.engine.set_hung(false);
    world.until_running(&id(3)).await;
    let makings = world.engine.take_calls().into_iter().filter(|(op, _)| *op == Op::Create).count();
    assert!(world.engine.all().len() == 3 && makings >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_making_whose_outcome_is_not_known_is_not_done_twice() {
    let world = World::started().await;
    world.engine.add_image(IMAGE, DIGEST);
    for op in [Op::Create, Op::Start] {
        world.engine.fail_after_next(op, EngineError::Timeout("create".into()));
    }
    world.want(&id(1), Desired::Run).await;
    let told = world.until_running(&id(1)).await;
    assert_eq!(told.restarts, 0);
    assert_eq!(world.count(Op::Create), 1);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_killed_anywhere_goes_on() {
    for delay in (0..400).step_by(13) {
        let mut world = World::new().await;
        world.engine.add_image(IMAGE, DIGEST);
        for op in [Op::Create, Op::Start, Op::Inspect, Op::Containers, Op::Stop, Op::Remove] {
            world.engine.set_delay(op, Duration::from_millis(40));
        }
        world.start();
        world.want(&id(1), Desired::Run).await;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        world.kill().await;
        world.start();
        let told = world.until_running(&id(1)).await;
        // The first that was ever made.
        let made: Vec<_> = world.engine.all().into_iter().map(|one| one.id).collect();
        assert_eq!((made, told.restarts), (vec!["000000000001".to_owned()], 0), "at {delay} ms");
        world.want(&id(1), Desired::Stop).await;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        world.kill().await;
        world.start();
        world.until_told(&id(1), |state| matches!(state, InstanceState::Stopped { .. })).await;
        assert!(world.engine.all().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn orphans_go_and_what_is_not_ours_stays() {
    let mut world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    world.engine.add_foreign("by-hand", BTreeMap::new());
    let other = BTreeMap::from([("evenkeel.cluster".to_owned(), "u2".to_owned())]);
    world.engine.add_foreign("shop.web.9.9", other);
    world.kill().await;
    world.delete(&Key::Instance(host(), id(1))).await;
    world.start();
    eventually("the orphan is gone", || async { world.container(&id(1)).is_none().then_some(()) }).await;
    eventually("its report too", || async { world.told(&id(1)).await.is_none().then_some(()) }).await;
    pass(120).await;
    let left: Vec<_> = world.engine.all().into_iter().map(|one| one.name).collect();
    assert_eq!(left, ["by-hand", "shop.web.9.9"]);
    // And what is in the way is reported, not removed.
    world.want(&id(9), Desired::Run).await;
    let told = world.until_told(&id(9), |state| matches!(state, InstanceState::Failed { .. })).await;
    let InstanceState::Failed { why, .. } = told.state else { unreachable!() };
    assert!(why.contains("not evenkeel's"), "{why}");
    pass(120).await;
    assert_eq!(world.engine.all().len(), 2);
    world.engine.person_removes("shop.web.9.9");
    world.until_running(&id(9)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stopped_for_a_store_that_went_back() {
    let mut world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    let before = world.store.snapshot();
    world.until_running(&id(1)).await;
    world.want(&id(2), Desired::Run).await;
    world.until_running(&id(2)).await;
    pass(2).await;
    world.store.restore(&before);
    pass(120).await;
    assert!(world.runs(&id(1)) && world.runs(&id(2)), "instance 2 has no record in that past");
    // Nor by the next life, which has seen none of it.
    world.kill().await;
    world.start();
    pass(120).await;
    assert!(world.runs(&id(1)) && world.runs(&id(2)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stopped_while_the_store_does_not_confirm_it() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    world.want(&id(1), Desired::Stop).await;
    world.store.set_down(true);
    pass(60).await;
    assert!(world.runs(&id(1)));
    world.store.set_down(false);
    world.until_told(&id(1), |state| matches!(state, InstanceState::Stopped { .. })).await;
}

#[tokio::test(start_paused = true)]
async fn images_are_pulled_once_and_pinned() {
    let world = World::started().await;
    world.engine.set_delay(Op::Pull, Duration::from_secs(30));
    for n in 1..=5 {
        world.want(&id(n), Desired::Run).await;
    }
    world.until_told(&id(1), |state| *state == InstanceState::Pulling).await;
    pass(31).await;
    for n in 1..=5 {
        world.until_running(&id(n)).await;
    }
    assert_eq!(world.count(Op::Pull), 1);
    // Pinned by the leader: the tag means something else by now, and this host has lost the image.
    world.put(&Key::Digest(service(), 7), &Digest { digest: DIGEST.into(), host: host() }).await;
    world.engine.add_to_registry(IMAGE, "sha256:bbbb");
    world.want(&id(6), Desired::Run).await;
    pass(40).await;
    let told = world.until_running(&id(6)).await;
    assert_eq!(told.digest.as_deref(), Some(DIGEST));
    assert_eq!(
        world.engine.spec_of("shop.web.6.6").unwrap().image,
        format!("registry.lan:5000/web@{DIGEST}")
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_with_another_image_under_the_tag_gets_the_pinned_one() {
    let world = World::started().await;
    world.engine.add_image(IMAGE, "sha256:old");
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    let digest = Digest { digest: DIGEST.into(), host: "h2".parse().unwrap() };
    world.put(&Key::Digest(service(), 7), &digest).await;
    eventually("the right one runs", || async {
        (world.told(&id(1)).await?.digest? == DIGEST && world.runs(&id(1))).then_some(())
    })
    .await;
    pass(120).await;
    let creates = world.count(Op::Create);
    assert!(creates <= 3, "{creates}: by tag, by digest without the image, by digest");
}

#[tokio::test(start_paused = true)]
async fn a_sick_run_ends_in_place_once_and_only_with_the_store_there() {
    let mut world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    let told = world.until_running(&id(1)).await;
    pass(20).await;
    let container = world.container(&id(1)).unwrap();
    world.engine.take_calls();
    let restart = |run| Restart { run, after: Span::seconds(2), count: 1 };
    let want = async |world: &World, run| {
        let record = Instance {
            template: "shop/web@7".parse().unwrap(),
            slot: id(1).slot,
            desired: Desired::Run,
            cause: "test".into(),
            fence: None,
            restart: Some(restart(run)),
        };
        world.put(&Key::Instance(host(), id(1)), &record).await;
    };
    let first = told.started.unwrap();
    want(&world, first).await;
    tokio::time::sleep(Duration::from_millis(1900)).await;
    assert_eq!(world.container(&id(1)).unwrap().started, Some(first), "names may lead to it still");
    let told = eventually("another run", || async {
        world
            .told(&id(1))
            .await
            .filter(|told| told.state == InstanceState::Running && told.started != Some(first))
    })
    .await;
    assert_eq!((world.container(&id(1)).unwrap().id, told.restarts), (container.id, 0));
    // Done is done, also for the next life of the controller.
    pass(60).await;
    world.kill().await;
    world.start();
    pass(60).await;
    let calls: Vec<_> = world.engine.take_calls().into_iter().map(|(op, _)| op).collect();
    assert_eq!(calls.iter().filter(|op| **op == Op::Stop).count(), 1, "{calls:?}");
    assert_eq!(world.told(&id(1)).await.unwrap().restarts, 0);
    // Asked for, and then the store goes: not now.
    let second = told.started.unwrap();
    want(&world, second).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.store.set_down(true);
    pass(30).await;
    assert_eq!(world.container(&id(1)).unwrap().started, Some(second));
    world.store.set_down(false);
    eventually("another run", || async {
        let now = world.container(&id(1))?;
        (now.started != Some(second) && now.state == ContainerState::Running).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_fails_says_why_and_holds_up_nobody() {
    let world = World::started().await;
    let mut bad = template();
    bad.image = "registry.lan:5000/none:1".into();
    world.put(&Key::Revision(service(), 7), &Revision { template: bad }).await;
    world.want(&id(1), Desired::Run).await;
    let told = world.until_told(&id(1), |state| matches!(state, InstanceState::Failed { .. })).await;
    let InstanceState::Failed { why, .. } = told.state else { unreachable!() };
    assert!(why.starts_with("cannot pull registry.lan:5000/none:1: "), "{why}");
    world.engine.take_calls();
    pass(3600).await;
    let pulls = world.count(Op::Pull);
    assert!((10..20).contains(&pulls), "{pulls} in an hour");
    world.engine.add_to_registry("registry.lan:5000/none:1", "sha256:cccc");
    pass(300).await;
    world.until_running(&id(1)).await;
}

#[tokio::test(start_paused = true)]
async fn pull_policies() {
    let world = World::started().await;
    let policy = |policy| Template { pull_policy: Some(policy), ..template() };
    world.put(&Key::Revision(service(), 7), &Revision { template: policy(PullPolicy::Never) }).await;
    world.want(&id(1), Desired::Run).await;
    world.until_told(&id(1), |state| matches!(state, InstanceState::Failed { .. })).await;
    assert_eq!(world.count(Op::Pull), 0);
    let always: ServiceId = "shop/api".parse().unwrap();
    world.put(&Key::Revision(always.clone(), 8), &Revision { template: policy(PullPolicy::Always) }).await;
    world.engine.add_image(IMAGE, DIGEST);
    let other: InstanceId = "shop.api.1.1".parse().unwrap();
    let record = Instance {
        template: "shop/api@8".parse().unwrap(),
        slot: other.slot.clone(),
        desired: Desired::Run,
        cause: String::new(),
        fence: None,
        restart: None,
    };
    world.put(&Key::Instance(host(), other.clone()), &record).await;
    world.until_running(&other).await;
    assert_eq!(world.count(Op::Pull), 1);
}

#[tokio::test(start_paused = true)]
async fn limits_change_under_a_running_copy() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    let before = world.until_running(&id(1)).await;
    let limits = Limits { pids: Some(99), ..Limits::default() };
    world.accept(ServiceSpec { template: template(), limits, ..ServiceSpec::default() }).await;
    eventually("it has them", || async { (world.container(&id(1))?.limits == limits).then_some(()) }).await;
    pass(60).await;
    assert_eq!(world.told(&id(1)).await.unwrap(), before);
    assert_eq!(world.count(Op::Update), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_host_does_not_allow_is_refused_with_the_reason() {
    let world = World::started().await;
    let privileged = Template { privileged: Some(true), ..template() };
    world.put(&Key::Revision(service(), 7), &Revision { template: privileged }).await;
    world.want(&id(1), Desired::Run).await;
    let told = world.until_told(&id(1), |state| matches!(state, InstanceState::Failed { .. })).await;
    assert_eq!(
        told.state,
        InstanceState::refused(
            "host policy on h1 does not allow privileged for namespace shop; see /etc/evenkeel/policy.yaml"
        )
    );
    let policy = "namespaces:\n  shop: {privileged: true}\n";
    std::fs::write(world.folder.path().join("policy.yaml"), policy).unwrap();
    // A copy that comes now may at once; one that was refused at the next look.
    let written = tokio::time::Instant::now();
    world.want(&id(2), Desired::Run).await;
    world.until_running(&id(2)).await;
    assert!(written.elapsed() < Duration::from_secs(2), "{:?}", written.elapsed());
    pass(31).await;
    world.until_running(&id(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_copy_of_a_host_is_held_to_what_the_host_says_then() {
    let world = World::started().await;
    let privileged = Template { privileged: Some(true), ..template() };
    world.put(&Key::Revision(service(), 7), &Revision { template: privileged }).await;
    // Nothing comes between the record and the verdict: the image is here.
    evenkeel_engine::Engine::pull(&world.engine, IMAGE, None, None).await.unwrap();
    // The controller has read the policy by now, there was none, and it does not list its containers so soon.
    pass(5).await;
    let policy = "namespaces:\n  shop: {privileged: true}\n";
    std::fs::write(world.folder.path().join("policy.yaml"), policy).unwrap();
    let before = world.store.revision();
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    // It was never told that it may not, however shortly.
    for change in world.store.peek_changes(before).unwrap() {
        let Change::Put(kv) = change else { continue };
        assert!(!String::from_utf8_lossy(&kv.value).contains("host policy"), "{kv:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_cannot_start_or_pauses_is_told() {
    let world = World::started().await;
    world.engine.behave(IMAGE, Behaviour::FailsToStart("exec: no such file".into()));
    world.want(&id(1), Desired::Run).await;
    let told = world.until_told(&id(1), |state| matches!(state, InstanceState::Failed { .. })).await;
    let InstanceState::Failed { why, .. } = told.state else { unreachable!() };
    assert!(why.contains("exec: no such file"), "{why}");
    world.engine.behave(IMAGE, Behaviour::Runs);
    world.until_running(&id(1)).await;
    world.engine.pause("shop.web.1.1", true);
    world.until_told(&id(1), |state| matches!(state, InstanceState::Waiting { .. })).await;
    world.engine.pause("shop.web.1.1", false);
    world.until_running(&id(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_resolver_file_that_cannot_be_written_is_told_and_tried_again() {
    let world = World::started().await;
    // As on a disk without room, where folder and file cannot be made.
    let folder = world.folder.path().join("instance/resolv");
    std::fs::create_dir_all(world.folder.path().join("instance")).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    world.want(&id(1), Desired::Run).await;
    let told = world.until_told(&id(1), |state| matches!(state, InstanceState::Failed { .. })).await;
    let InstanceState::Failed { why, .. } = told.state else { unreachable!() };
    assert!(why.contains("resolver file") && why.contains("shop.web.1.1"), "{why}");
    assert_eq!(world.count(Op::Create), 0, "a container without its names");
    std::fs::remove_file(&folder).unwrap();
    world.until_running(&id(1)).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_its_network_starts_when_it_stands() {
    let world = World::new().await;
    let other =
        Template { networks: BTreeMap::from([("db".parse().unwrap(), Default::default())]), ..template() };
    let mut world = world;
    world.put(&Key::Revision(service(), 7), &Revision { template: other }).await;
    world.start();
    world.want(&id(1), Desired::Run).await;
    let told = world.until_told(&id(1), |state| matches!(state, InstanceState::Waiting { .. })).await;
    assert_eq!(told.state, InstanceState::Waiting { why: "network db is not ready on h1".into() });
}

#[tokio::test(start_paused = true)]
async fn checks_run_commands_in_containers() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    let socket = world.folder.path().join("instance/exec.sock");
    let (read, mut write) = tokio::net::UnixStream::connect(socket).await.unwrap().into_split();
    let mut answers = BufReader::new(read).lines();
    let table = [
        (
            r#"{"instance": "shop.web.1.1", "command": ["echo", "hi"], "timeout_ms": 1000}"#,
            r#"{"code":0,"output":"echo hi"}"#,
        ),
        (
            r#"{"instance": "shop.web.1.1", "command": ["false"], "timeout_ms": 1000}"#,
            r#"{"code":1,"output":"false"}"#,
        ),
        (
            r#"{"instance": "shop.web.2.2", "command": ["true"], "timeout_ms": 1000}"#,
            r#"{"error":"shop.web.2.2 does not run","away":true}"#,
        ),
    ];
    for (ask, answer) in table {
        write.write_all(format!("{ask}\n").as_bytes()).await.unwrap();
        assert_eq!(answers.next_line().await.unwrap().unwrap(), answer);
    }
    write.write_all(b"nonsense\n").await.unwrap();
    assert!(answers.next_line().await.unwrap().unwrap().starts_with(r#"{"error":"not understood"#));
    drop(write);
    assert_eq!(answers.next_line().await.unwrap(), None, "who has asked all is answered no more");
}

#[tokio::test(start_paused = true)]
async fn a_report_that_somebody_made_unreadable_is_told_again() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    let told = world.until_running(&id(1)).await;
    let key = Key::Observed(host(), id(1));
    let spoil = TxnBuilder::new().put(&key, "{\"is\":").build().unwrap();
    world.store.commit(&spoil).await.unwrap();
    pass(2).await;
    assert_eq!(world.told(&id(1)).await, Some(told));
}
