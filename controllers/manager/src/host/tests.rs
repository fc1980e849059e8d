use std::collections::BTreeMap;
use std::path::Path;

use evenkeel_api::record::{Alive, Cluster, Facts, LEVEL};
use evenkeel_engine::fake::FakeEngine;
use evenkeel_etcd::MemoryStore;
use evenkeel_plan::host::facts;
use evenkeel_runtime::disk::MemoryDisk;
use evenkeel_runtime::env::SystemClock;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::machine::MachineError;
use super::*;

mod look;
mod register;

#[derive(Debug)]
struct OneCard;

#[async_trait::async_trait]
impl Machine for OneCard {
    async fn observe(&self) -> Result<facts::Machine, MachineError> {
        let address =
            facts::DeviceAddress { device: "eth0".into(), address: Ipv4Addr::new(10, 0, 0, 11), prefix: 24 };
        Ok(facts::Machine { addresses: vec![address], routes: Vec::new() })
    }
}

/// A store with hosts that come and go.
struct World {
    store: MemoryStore,
    dir: tempfile::TempDir,
    engine: Arc<FakeEngine>,
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Kills a controller, and waits until its lock is free.
async fn end(host: JoinHandle<Result<(), Error>>) {
    host.abort();
    assert!(host.await.unwrap_err().is_cancelled());
}

impl World {
    fn new() -> Self {
        Self {
            store: MemoryStore::new(1),
            dir: tempfile::tempdir().unwrap(),
            engine: Arc::new(FakeEngine::new()),
        }
    }

    /// Starts the host controller of h1 in a boot of a machine with a disk.
    fn start_in(&self, disk: &Path, boot_id: &str, seed: u64) -> JoinHandle<Result<(), Error>> {
        tokio::spawn(run(self.deps(disk, boot_id, seed)))
    }

    fn deps(&self, disk: &Path, boot_id: &str, seed: u64) -> HostDeps {
        HostDeps {
            store: Arc::new(self.store.client(seed)),
            lease_store: Arc::new(self.store.client(seed + 1)),
            env: Arc::new(Env::new(SystemClock, seed)),
            engine: self.engine.clone(),
            machine: Arc::new(OneCard),
            host: "h1".parse().unwrap(),
            state_dir: disk.into(),
            settings: HostSettings {
                sessions: Some(7730),
                generation: 3,
                ..HostSettings::new("10.0.0.11".parse().unwrap(), boot_id.into(), "0.1.0".into())
            },
            meter: Meter::default(),
        }
    }

    fn start(&self) -> JoinHandle<Result<(), Error>> {
        self.start_in(self.dir.path(), "boot-1", 7)
    }

    async fn text(&self, key: &str) -> Option<String> {
        let (kv, _) = self.store.get(&key.parse().unwrap()).await.unwrap();
        kv.map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
    }

    async fn alive(&self) -> Option<Alive> {
        self.text("alive/h1").await.map(|text| serde_json::from_str(&text).unwrap())
    }

    async fn facts(&self) -> Facts {
        serde_json::from_str(&self.text("facts/h1").await.unwrap()).unwrap()
    }

    async fn lease(&self) -> i64 {
        let (kv, _) = self.store.get(&Key::Alive("h1".parse().unwrap())).await.unwrap();
        kv.map_or(0, |kv| kv.lease)
    }

    /// How long until `alive/h1` is, or is not, there.
    async fn until_alive(&self, there: bool) -> Duration {
        let began = Instant::now();
        while self.alive().await.is_some() != there {
            assert!(began.elapsed() < Duration::from_secs(30), "never {there}");
            sleep(ms(10)).await;
        }
        began.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_host_founds_the_cluster_and_describes_itself() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(ms(500)).await;
    let cluster: Cluster = serde_json::from_str(&world.text("cluster").await.unwrap()).unwrap();
    assert_eq!((cluster.uid.len(), cluster.epoch, cluster.level), (16, 1, LEVEL));
    let facts: Facts = serde_json::from_str(&world.text("facts/h1").await.unwrap()).unwrap();
    assert_eq!((facts.addresses[0].address.to_string(), facts.addresses[0].prefix), ("10.0.0.11".into(), 24));
    assert_eq!((facts.sessions, facts.generation), (Some(7730), 3));
    let text = world.text("hosts/h1").await.unwrap();
    let origin = evenkeel_api::text::Origin::Key("Host h1".parse().unwrap());
    evenkeel_api::text::parse_document(&text, &origin).unwrap();
    // Calm means silent.
    sleep(Duration::from_secs(5)).await;
    let revision = world.store.revision();
    sleep(Duration::from_secs(120)).await;
    assert_eq!(world.store.revision(), revision);
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn a_restarted_controller_keeps_its_lease_and_nobody_notices() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(ms(1000)).await;
    let (alive, lease) = (world.alive().await, world.lease().await);
    end(host).await;
    sleep(ms(1000)).await;
    let host = world.start();
    for _ in 0..500 {
        sleep(ms(10)).await;
        assert_eq!((world.alive().await, world.lease().await), (alive.clone(), lease));
    }
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stops_is_gone_with_its_lease() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(ms(1000)).await;
    host.abort();
    let gone = world.until_alive(false).await;
    assert!(gone > ms(1200) && gone < ms(3000), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_replaced_within_half_a_second() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(ms(3000)).await;
    let before = world.alive().await.unwrap();
    world.store.kill_all_leases();
    assert_eq!(world.alive().await, None);
    let back = world.until_alive(true).await;
    assert!(back < ms(500), "{back:?}");
    assert_eq!(world.alive().await.unwrap().incarnation, before.incarnation + 1);
    // Somebody deletes the key, or detaches it: it comes back under the lease.
    let key = Key::Alive("h1".parse().unwrap());
    let txn = evenkeel_runtime::store::TxnBuilder::new().delete(&key).build().unwrap();
    world.store.commit(&txn).await.unwrap();
    assert!(world.until_alive(true).await < ms(500));
    let txn = evenkeel_runtime::store::TxnBuilder::new().put(&key, "nonsense").build().unwrap();
    world.store.commit(&txn).await.unwrap();
    sleep(ms(500)).await;
    assert!(world.lease().await != 0 && world.alive().await.is_some());
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_or_full_costs_no_lease() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(ms(3000)).await;
    let (alive, lease) = (world.alive().await, world.lease().await);
    world.store.set_down(true);
    sleep(Duration::from_secs(60)).await;
    world.store.set_down(false);
    for _ in 0..400 {
        sleep(ms(10)).await;
        assert_eq!((world.alive().await, world.lease().await), (alive.clone(), lease));
    }
    world.store.set_full(true);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((world.alive().await, world.lease().await), (alive, lease));
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn a_rebooted_machine_is_another_incarnation() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(ms(1000)).await;
    let before = world.alive().await.unwrap();
    end(host).await;
    let host = world.start_in(world.dir.path(), "boot-2", 9);
    sleep(ms(4000)).await;
    let after = world.alive().await.unwrap();
    assert_eq!((after.boot_id.as_str(), after.incarnation), ("boot-2", before.incarnation + 1));
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn a_second_machine_of_the_same_name_is_refused_and_the_first_does_not_notice() {
    let world = World::new();
    let first = world.start();
    world.until_alive(true).await;
    sleep(ms(1000)).await;
    let alive = world.alive().await;
    let other = tempfile::tempdir().unwrap();
    let second = world.start_in(other.path(), "boot-x", 20);
    let error = tokio::time::timeout(Duration::from_secs(60), second).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("host name h1 is taken"), "{error}");
    assert_eq!(world.alive().await, alive);
    first.abort();
}

#[tokio::test(start_paused = true)]
async fn a_host_does_not_join_another_clusters_store_and_stays_alive_there() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(ms(1000)).await;
    end(host).await;
    world.store.wipe();
    let host = world.start();
    sleep(Duration::from_secs(20)).await;
    assert_eq!((world.text("cluster").await, world.text("hosts/h1").await), (None, None));
    assert!(world.alive().await.is_some());
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_only_people_may_make_tells_of_itself_until_they_do() {
    let world = World::new();
    let mut deps = world.deps(world.dir.path(), "boot-1", 7);
    let store = world.store.client(9);
    store.forbid("hosts/");
    deps.store = Arc::new(store);
    let host = tokio::spawn(run(deps));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.text("hosts/h1").await, None);
    assert!(world.alive().await.is_some());
    assert_eq!(world.facts().await.addresses.len(), 1);
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn facts_that_were_refused_are_tried_again_soon() {
    let world = World::new();
    let store = Arc::new(world.store.client(9));
    store.forbid("facts/");
    let deps = HostDeps { store: store.clone(), ..world.deps(world.dir.path(), "boot-1", 7) };
    let every = deps.settings.observe_every;
    let host = tokio::spawn(run(deps));
    // Long enough that nothing but the time of the next try makes it look again.
    sleep(every / 3).await;
    assert_eq!(world.text("facts/h1").await, None);
    store.forbid("facts/of-nobody");
    sleep(every / 2).await;
    assert_eq!(world.facts().await.addresses.len(), 1);
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_costs_no_lease_and_changes_are_told_when_it_answers() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(ms(1000)).await;
    let alive = world.alive().await;
    world.engine.set_hung(true);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.alive().await, alive);
    world.engine.set_hung(false);
    let uid = serde_json::from_str::<Cluster>(&world.text("cluster").await.unwrap()).unwrap().uid;
    let labels = BTreeMap::from([("evenkeel.cluster".to_owned(), uid)]);
    world.engine.create_volume("shop.data", &labels).await.unwrap();
    sleep(Duration::from_secs(40)).await;
    let facts: Facts = serde_json::from_str(&world.text("facts/h1").await.unwrap()).unwrap();
    assert!(facts.volumes.contains("shop.data"), "{facts:?}");
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn facts_that_somebody_made_unreadable_are_told_again() {
    let world = World::new();
    let host = world.start();
    world.until_alive(true).await;
    sleep(ms(500)).await;
    let told = world.text("facts/h1").await;
    let spoil = evenkeel_runtime::store::TxnBuilder::new();
    let spoil = spoil.put(&"facts/h1".parse().unwrap(), "{\"cpus\":").build().unwrap();
    world.store.commit(&spoil).await.unwrap();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.text("facts/h1").await, told);
    host.abort();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_a_full_disk_refused_is_on_it_once_there_is_room() {
    let (world, disk) = (World::new(), MemoryDisk::new());
    let dir = StateDir::on(Arc::new(disk.clone()), Path::new("/state"));
    let deps = HostDeps { state_dir: dir.clone(), ..world.deps(world.dir.path(), "boot-1", 7) };
    let host = tokio::spawn(run(deps));
    world.until_alive(true).await;
    disk.set_full(true);
    world.store.kill_all_leases();
    sleep(Duration::from_secs(5)).await;
    disk.set_full(false);
    sleep(Duration::from_secs(2)).await;
    let kept: memory::State = Siblings::new(&dir).read(Controller::Host).unwrap();
    assert_eq!(kept.registration.lease, Some(world.lease().await));
    host.abort();
}
