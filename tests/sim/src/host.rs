//! One host: what outlasts its controllers (engine, kernel, disk), and their lives one after another.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use evenkeel_api::access::{Grant, Role};
use evenkeel_api::key::{Controller, Key};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::HostName;
use evenkeel_engine::{Engine, FakeEngine};
use evenkeel_etcd::MemoryStore;
use evenkeel_fabric::FakeFabric;
use evenkeel_manager::{dns, healthcheck, host, instance, network, service, watchdog};
use evenkeel_names::handover::Sockets;
use evenkeel_names::server::Server;
use evenkeel_runtime::disk::{MemoryDisk, StateDir};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::latest::Latest;
use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::judge::Judge;
use crate::life::{Life, Stopped};
use crate::sick::Sick;
use crate::timeline::Timeline;
use crate::wire::{
    Connection, LifeDisk, LifeEngine, LifeStore, Members, SimCgroups, SimMachine, SimProbe, SimWall, Wire,
};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A host.
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Its number, from 1.
    pub number: u8,
    /// Its engine.
    pub engine: FakeEngine,
    /// Its kernel's network.
    pub fabric: FakeFabric,
    /// Its disk.
    pub disk: Mutex<MemoryDisk>,
    /// What is wrong between it and the store.
    pub wire: Arc<Wire>,
    /// Its wall clock.
    pub wall: SimWall,
    /// Copies of it that answer no check.
    pub sick: Sick,
    /// Its controllers get no turn.
    pub stopped: Arc<Stopped>,
    /// It has power.
    pub powered: Latest<bool>,
    /// Counts down to a crash of its controllers.
    pub fuse: Arc<AtomicU64>,
    boots: AtomicU64,
    booted: Mutex<Instant>,
    lives: AtomicU64,
    now: Mutex<Option<Now>>,
    seed: u64,
    leads: bool,
    members: Arc<Members>,
    judge: Arc<Judge>,
    timeline: Timeline,
}

/// The life that goes on now.
#[derive(Clone)]
struct Now {
    life: Life,
    names: Arc<OnceLock<Server>>,
    since: Duration,
}

impl Host {
    /// A host with an engine that runs nothing, switched on. Within a tokio runtime.
    pub fn new(
        number: u8,
        seed: u64,
        leads: bool,
        members: Arc<Members>,
        judge: Arc<Judge>,
        timeline: Timeline,
    ) -> Self {
        let engine = FakeEngine::new();
        crate::documents::fill_registry(&engine);
        let bridges = engine.clone();
        let fabric = FakeFabric::new().with_bridges(move || {
            let networks = bridges.networks().now_or_never()?.ok()?;
            let bridge = |n: evenkeel_engine::Network| {
                let subnet = n.subnets.first()?;
                Some((n.bridge?, subnet.gateway?, subnet.subnet.prefix()))
            };
            Some(networks.into_iter().filter_map(bridge).collect())
        });
        fabric.add_link("eth0", false, address(number), 24);
        let name = format!("h{number}").parse().unwrap_or_else(|_| unreachable!("the name is valid"));
        Self {
            name,
            number,
            engine,
            fabric,
            disk: Mutex::new(MemoryDisk::new()),
            wire: Arc::default(),
            wall: SimWall::new(),
            sick: Sick::default(),
            stopped: Arc::default(),
            powered: Latest::new(true),
            fuse: Arc::default(),
            boots: AtomicU64::new(1),
            booted: Mutex::new(Instant::now()),
            lives: AtomicU64::new(0),
            now: Mutex::new(None),
            seed,
            leads,
            members,
            judge,
            timeline,
        }
    }

    fn disk(&self) -> std::sync::MutexGuard<'_, MemoryDisk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Option<Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its disk takes no more writes, or takes them again.
    pub fn set_disk_full(&self, full: bool) {
        self.disk().set_full(full);
    }

    /// Its controllers are killed, wherever they are.
    pub fn kill(&self, why: &str) {
        if let Some(now) = self.now() {
            now.life.kill(why);
        }
    }

    /// Since when its controllers have run without a stop; `None`: they do not run.
    pub fn running_since(&self) -> Option<Duration> {
        let now = self.now().filter(|now| !now.life.is_dead())?;
        (!self.stopped.is() && self.powered.get()).then_some(now.since)
    }

    /// The server of names, once there is one.
    pub fn names(&self) -> Option<Server> {
        self.now()?.names.get().cloned()
    }

    /// It loses its power: nothing runs, and what was not flushed is gone.
    pub fn power_off(&self) {
        self.powered.set(false);
        self.kill("power lost");
        self.engine.reboot();
        self.engine.set_away(true);
        self.disk().power_cut();
        self.fabric.reboot();
    }

    /// It boots.
    pub fn power_on(&self) {
        self.boots.fetch_add(1, Ordering::Relaxed);
        *self.booted.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.engine.set_away(false);
        self.stopped.set(false);
        self.powered.set(true);
    }

    /// Its controllers, life after life, for ever.
    pub async fn run(self: Arc<Self>, store: MemoryStore) {
        let mut chance = Chance::new(self.seed, &format!("{}/lives", self.name));
        let mut powered = self.powered.listen();
        loop {
            let _on = powered.until(|on| *on).await;
            let why = self.live(&store, &mut chance).await;
            self.timeline.say(self.name.as_str(), &format!("controllers ended: {why}"));
            let pause = chance.ms(100, 2000);
            tokio::time::sleep(pause).await;
        }
    }

    /// One life; why it ended.
    async fn live(&self, store: &MemoryStore, chance: &mut Chance) -> String {
        let number = self.lives.fetch_add(1, Ordering::Relaxed);
        let stopped = self.stopped.clone();
        let life = Life::new(self.name.as_str(), stopped, self.fuse.clone(), self.timeline.clone());
        let names = Arc::new(OnceLock::new());
        self.judge.begins(self.name.as_str());
        let now = Now { life: life.clone(), names: names.clone(), since: self.timeline.now() };
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        let disk = self.disk().next_life();
        *self.disk() = disk.clone();
        let mut tasks = JoinSet::new();
        // In a container of its own, as for whoever has exclusive services: what holds up the others does
        // not hold up the watchdog.
        let guard = Life::new(self.name.as_str(), Arc::default(), Arc::default(), self.timeline.clone());
        self.start(&mut tasks, [&life, &guard], store, disk, names, number, chance.number());
        self.timeline.say(self.name.as_str(), &format!("controllers begin life {number}"));
        let why = tokio::select! { biased;
            why = life.death() => why,
            ended = tasks.join_next() => match ended {
                Some(Ok(Err(error))) => format!("failed: {error}"),
                Some(Err(panic)) => {
                    self.timeline.violated("no panic", &panic.to_string());
                    format!("failed: {panic}")
                }
                Some(Ok(Ok(()))) | None => "one of them ended by itself".to_owned(),
            },
        };
        life.kill("ended");
        guard.kill("ended");
        why
    }

    #[allow(clippy::too_many_arguments, reason = "what one life is made of")]
    fn start(
        &self,
        tasks: &mut JoinSet<Result<(), Failed>>,
        [life, guard]: [&Life; 2],
        store: &MemoryStore,
        disk: MemoryDisk,
        names: Arc<OnceLock<Server>>,
        number: u64,
        seed: u64,
    ) {
        let stream = |what: &str| Chance::new(seed, &format!("{}/{number}/{what}", self.name));
        let boot = format!("{}-boot-{}", self.name, self.boots.load(Ordering::Relaxed));
        let booted = *self.booted.lock().unwrap_or_else(PoisonError::into_inner);
        let env = Arc::new(Env::new(self.wall.clone(), seed).in_boot(&boot, booted));
        // One connection for all of them, and one for the lease.
        let connect = |what: &str, life: &Life| {
            let mut chance = stream(what);
            let client = store.client(chance.number());
            // The nearest member first, where there is one on this host or beside it.
            let connection = Connection::new(self.members.clone(), usize::from(self.number - 1));
            let (life, judge) = (life.clone(), self.judge.clone());
            Arc::new(LifeStore::new(client, life, self.wire.clone(), connection, chance, judge))
        };
        let dir = |life: &Life| {
            StateDir::on(Arc::new(LifeDisk::new(disk.clone(), life.clone())), Path::new("/var/lib/evenkeel"))
        };
        let state_dir = dir(life);
        let grants = |controller: Controller| -> Arc<[Grant]> {
            let lead = Some(Role::Lead(controller)).filter(|_| self.leads);
            let roles = lead.into_iter().chain([Role::Host(self.name.clone(), controller)]);
            // Nobody has made this cluster or its hosts' documents by hand: they may do it themselves.
            let own = [Key::Cluster, Key::Document(ObjectRef::Host(self.name.clone()))];
            let own = own.map(|key| Grant { prefix: key.to_string(), write: true });
            let own = own.into_iter().filter(|_| controller == Controller::Host);
            roles.flat_map(|role| role.grants()).chain(own).collect()
        };
        let alone = |store: Arc<LifeStore>, controller| store.with(grants(controller), grants(controller));
        let all = Role::of_host(&self.name, self.leads).into_iter().flat_map(|role| role.grants());
        let all: Arc<[Grant]> = all.collect();
        let deps = watchdog::WatchdogDeps {
            store: alone(connect("watchdog", guard), Controller::Watchdog),
            env: env.clone(),
            host: self.name.clone(),
            state_dir: dir(guard),
            cgroups: Arc::new(SimCgroups(self.engine.clone())),
        };
        tasks.spawn(async { Ok(watchdog::run(deps).await?) });
        let engine: Arc<dyn Engine> = Arc::new(LifeEngine::new(
            self.engine.clone(),
            life.clone(),
            stream("engine"),
            self.judge.clone(),
        ));
        let (store, host) = (connect("store", life), self.name.clone());
        let store = |controller| store.with(grants(controller), all.clone());
        let deps = host::HostDeps {
            store: store(Controller::Host),
            lease_store: alone(connect("lease", life), Controller::Host),
            env: env.clone(),
            engine: engine.clone(),
            machine: Arc::new(SimMachine(address(self.number))),
            host: host.clone(),
            state_dir: state_dir.clone(),
            settings: host::HostSettings::new(address(self.number), boot, "sim".to_owned()),
        };
        tasks.spawn(async { Ok(host::run(deps).await?) });
        let deps = network::NetworkDeps {
            store: store(Controller::Network),
            env: env.clone(),
            engine: engine.clone(),
            fabric: Arc::new(self.fabric.clone()),
            host: host.clone(),
            state_dir: state_dir.clone(),
            leads: self.leads,
            etcd: Default::default(),
        };
        tasks.spawn(async { Ok(network::run(deps).await?) });
        let deps = service::ServiceDeps {
            store: store(Controller::Service),
            env: env.clone(),
            host: host.clone(),
            state_dir: state_dir.clone(),
            leads: self.leads,
            exclusive_any_etcd: true,
        };
        tasks.spawn(async { Ok(service::run(deps).await?) });
        let deps = healthcheck::HealthcheckDeps {
            store: store(Controller::Healthcheck),
            env: env.clone(),
            host: host.clone(),
            state_dir: state_dir.clone(),
            probe: Arc::new(SimProbe::new(self.engine.clone(), life.clone(), self.sick.clone())),
            may_lead: self.leads,
        };
        tasks.spawn(async { Ok(healthcheck::run(deps).await?) });
        let deps = instance::InstanceDeps {
            store: store(Controller::Instance),
            env: env.clone(),
            engine,
            host: host.clone(),
            state_dir: state_dir.clone(),
            policy: nowhere(),
            registry_auth: nowhere(),
            sessions: None,
        };
        tasks.spawn(async { Ok(instance::run(deps).await?) });
        let deps = dns::DnsDeps {
            store: store(Controller::Dns),
            env,
            host,
            state_dir,
            resolv: nowhere(),
            sockets: Sockets::Nowhere(names),
            port: dns::PORT,
            listen: Vec::new(),
        };
        tasks.spawn(async { Ok(dns::run(deps).await?) });
    }
}

/// A file that is not there.
fn nowhere() -> PathBuf {
    PathBuf::from("/nonexistent/evenkeel")
}

/// Where the other hosts reach a host.
pub fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number)
}
