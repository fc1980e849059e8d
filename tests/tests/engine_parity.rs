//! One table of cases, run on the engine in memory and on a real one: what plans rely upon must hold on both.
//!
//! The real engine: `EVENKEEL_TEST_ENGINE` is the path of its socket, or `EVENKEEL_LAB` the name of a lab
//! that is up, whose first host is taken. Without either, only the engine in memory is asked.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::network::Cidr;
use evenkeel_api::quantity::{Bytes, MilliCpus, Span};
use evenkeel_api::service::{Limits, Protocol, Template};
use evenkeel_engine::reference::by_digest;
use evenkeel_engine::{Deadlines, Docker, Engine, EngineError, FakeEngine, Inside, NetworkCreate};
use evenkeel_plan::instance::container::{
    Container, ContainerSpec, ContainerState, MountSpec, MountWhat, NetworkAttachment, NetworkChoice,
    PortBinding, label,
};

#[path = "engine_parity/inside.rs"]
mod inside;

/// An engine, and names that no other run uses.
struct World {
    engine: Arc<dyn Inside>,
    image: String,
    uid: String,
}

const NETWORKS: [(&str, &str, &str); 2] =
    [("a", "10.211.0.0/24", "10.211.0.1"), ("b", "10.212.0.0/24", "10.212.0.1")];

impl World {
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.uid)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(label::CLUSTER.to_owned(), self.uid.clone())])
    }

    fn spec(&self, name: &str) -> ContainerSpec {
        let script = "trap 'exit 3' TERM; while :; do sleep 0.05; done";
        ContainerSpec {
            name: self.name(name),
            image: self.image.clone(),
            labels: self.labels(),
            template: Template {
                image: self.image.clone(),
                command: Some(vec!["sh".into(), "-c".into(), script.into()]),
                ..Template::default()
            },
            limits: Limits::default(),
            network: NetworkChoice::None,
            ports: Vec::new(),
            mounts: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            stop_grace: Span::seconds(2),
            healthcheck: None,
        }
    }

    fn on(&self, network: &str, address: &str) -> NetworkAttachment {
        let (network, address) = (self.name(network), address.parse().unwrap());
        NetworkAttachment { network, address, aliases: vec!["peer".into()] }
    }

    fn network(&self, (name, subnet, gateway): (&str, &str, &str)) -> NetworkCreate {
        let gateway: std::net::Ipv4Addr = gateway.parse().unwrap();
        NetworkCreate {
            name: self.name(name),
            subnet: subnet.parse().unwrap(),
            ip_range: Cidr::new(gateway, 28),
            gateway,
            bridge: format!("ekt-{name}-{}", std::process::id() % 10_000),
            options: BTreeMap::new(),
            labels: self.labels(),
        }
    }

    async fn made(&self, spec: &ContainerSpec) -> String {
        self.engine.create(spec).await.unwrap()
    }

    async fn seen(&self, name: &str) -> Container {
        self.engine.inspect(&self.name(name)).await.unwrap().expect("it is there")
    }

    async fn wait_for(&self, name: &str, what: impl Fn(&Container) -> bool) -> Container {
        for _ in 0..100 {
            let seen = self.seen(name).await;
            if what(&seen) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} stayed as {:?}", self.seen(name).await);
    }

    async fn clean(&self) {
        for container in self.engine.containers(&self.uid).await.unwrap() {
            self.engine.remove(&container.id).await.unwrap();
        }
        for (name, ..) in NETWORKS {
            self.engine.remove_network(&self.name(name)).await.unwrap();
        }
        for volume in self.engine.volumes(&self.uid).await.unwrap() {
            self.engine.remove_volume(&volume.name).await.unwrap();
        }
    }
}

fn exited(container: &Container) -> bool {
    matches!(container.state, ContainerState::Exited { .. })
}

async fn all_cases(world: &World) {
    for network in NETWORKS {
        world.engine.create_network(&world.network(network)).await.unwrap();
    }
    info(world).await;
    a_life(world).await;
    labels_tell_whose_it_is(world).await;
    names_are_unique(world).await;
    addresses_are_kept(world).await;
    a_network_must_exist(world).await;
    ports_are_exclusive(world).await;
    limits_change_in_place(world).await;
    commands_run(world).await;
    events_wake(world).await;
    volumes(world).await;
    networks(world).await;
    images(world).await;
    inside::all(world).await;
}

async fn info(world: &World) {
    let info = world.engine.info().await.unwrap();
    assert!(info.cpus > 0 && info.memory > 0 && info.os == "linux", "{info:?}");
    assert!(!info.version.is_empty() && info.api.starts_with("1."), "{info:?}");
}

async fn a_life(world: &World) {
    let id = world.made(&world.spec("life")).await;
    let seen = world.seen("life").await;
    assert_eq!((seen.id.as_str(), seen.state, seen.started), (id.as_str(), ContainerState::Created, None));
    for _ in 0..2 {
        world.engine.start(&id).await.unwrap();
        let seen = world.seen("life").await;
        assert_eq!(seen.state, ContainerState::Running);
        assert!(seen.started.is_some() && seen.pid.is_some());
    }
    let first = world.seen("life").await.started;
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..2 {
        world.engine.stop(&id, Duration::from_secs(5)).await.unwrap();
        assert!(exited(&world.seen("life").await));
    }
    world.engine.kill(&id).await.unwrap();
    world.engine.start(&id).await.unwrap();
    assert!(world.seen("life").await.started > first);
    world.engine.kill(&id).await.unwrap();
    let seen = world.wait_for("life", exited).await;
    assert_eq!(seen.state, ContainerState::Exited { code: 137, oom: false });
    for _ in 0..2 {
        world.engine.remove(&id).await.unwrap();
        assert_eq!(world.engine.inspect(&id).await.unwrap(), None);
    }
    world.engine.stop(&id, Duration::ZERO).await.unwrap();
    assert!(matches!(world.engine.start(&id).await, Err(EngineError::NotFound(_))));
}

async fn labels_tell_whose_it_is(world: &World) {
    let mut foreign = world.spec("foreign");
    foreign.labels = BTreeMap::from([(label::CLUSTER.to_owned(), "another".to_owned())]);
    let id = world.made(&foreign).await;
    let ours = world.made(&world.spec("ours")).await;
    let listed: Vec<_> = world.engine.containers(&world.uid).await.unwrap();
    assert_eq!(listed.iter().map(|c| &c.id).collect::<Vec<_>>(), [&ours]);
    assert_eq!(listed[0].labels.get(label::CLUSTER), Some(&world.uid));
    for id in [id, ours] {
        world.engine.remove(&id).await.unwrap();
    }
}

async fn names_are_unique(world: &World) {
    let id = world.made(&world.spec("name")).await;
    let again = world.engine.create(&world.spec("name")).await;
    assert!(matches!(again, Err(EngineError::Conflict { .. })), "{again:?}");
    world.engine.remove(&id).await.unwrap();
}

async fn addresses_are_kept(world: &World) {
    let mut spec = world.spec("addressed");
    spec.network =
        NetworkChoice::Attached(vec![world.on("a", "10.211.0.100"), world.on("b", "10.212.0.100")]);
    let expected = BTreeMap::from([
        (world.name("a"), "10.211.0.100".parse().unwrap()),
        (world.name("b"), "10.212.0.100".parse().unwrap()),
    ]);
    let id = world.made(&spec).await;
    assert_eq!(world.seen("addressed").await.addresses, expected);
    world.engine.start(&id).await.unwrap();
    assert_eq!(world.seen("addressed").await.addresses, expected);
    let network = world.engine.network(&world.name("a")).await.unwrap().unwrap();
    assert_eq!(network.containers.get(&id), expected.get(&world.name("a")));

    let mut second = world.spec("rival");
    second.network = NetworkChoice::Attached(vec![world.on("a", "10.211.0.100")]);
    let rival = world.made(&second).await;
    let taken = world.engine.start(&rival).await;
    assert!(matches!(taken, Err(EngineError::AddressTaken(_))), "{taken:?}");
    world.engine.remove(&rival).await.unwrap();

    world.engine.kill(&id).await.unwrap();
    world.wait_for("addressed", exited).await;
    assert_eq!(world.seen("addressed").await.addresses, expected);
    world.engine.start(&id).await.unwrap();
    assert_eq!(world.seen("addressed").await.addresses, expected);
    world.engine.remove(&id).await.unwrap();
}

async fn a_network_must_exist(world: &World) {
    let mut lost = world.spec("lost");
    lost.network = NetworkChoice::Attached(vec![world.on("nowhere", "10.211.0.101")]);
    // Said at the making or at the start, but never passed over.
    match world.engine.create(&lost).await {
        Err(error) => assert!(matches!(error, EngineError::NotFound(_)), "{error:?}"),
        Ok(id) => {
            let started = world.engine.start(&id).await;
            assert!(matches!(started, Err(EngineError::NotFound(_))), "{started:?}");
            world.engine.remove(&id).await.unwrap();
        }
    }
}

async fn ports_are_exclusive(world: &World) {
    let port = |port| PortBinding { address: None, port, target: 7000, protocol: Protocol::Tcp };
    let spec = |name: &str, address: &str, number| {
        let mut spec = world.spec(name);
        spec.network = NetworkChoice::Attached(vec![world.on("a", address)]);
        spec.ports = vec![port(number)];
        spec
    };
    let id = world.made(&spec("port", "10.211.0.110", Some(18_765))).await;
    world.engine.start(&id).await.unwrap();
    let ports = world.seen("port").await.ports;
    assert_eq!((ports.len(), ports[0].port, ports[0].target), (1, 18_765, 7000));
    let rival = world.made(&spec("port2", "10.211.0.111", Some(18_765))).await;
    let taken = world.engine.start(&rival).await;
    assert!(matches!(taken, Err(EngineError::PortTaken(_))), "{taken:?}");
    let picked = world.made(&spec("port3", "10.211.0.112", None)).await;
    world.engine.start(&picked).await.unwrap();
    let ports = world.seen("port3").await.ports;
    assert!(ports.len() == 1 && ports[0].port > 1024, "{ports:?}");
    for id in [id, rival, picked] {
        world.engine.remove(&id).await.unwrap();
    }
}

async fn limits_change_in_place(world: &World) {
    let mut spec = world.spec("limited");
    spec.limits = Limits {
        memory: Some(Bytes(64 << 20)),
        cpus: Some(MilliCpus(500)),
        pids: Some(50),
        ..Limits::default()
    };
    let id = world.made(&spec).await;
    world.engine.start(&id).await.unwrap();
    let without_swap = |limits: Limits| Limits { memory_swap: None, ..limits };
    let started = world.seen("limited").await;
    assert_eq!(without_swap(started.limits), spec.limits);
    let more =
        Limits { memory: Some(Bytes(256 << 20)), cpus: Some(MilliCpus(750)), pids: None, ..spec.limits };
    let none = Limits::default();
    for limits in [more, spec.limits, none, none, more] {
        world.engine.update(&id, &limits).await.unwrap();
        let seen = world.seen("limited").await;
        let mut seen_limits = without_swap(seen.limits);
        // The engine's own default, once it has been said.
        seen_limits.cpu_shares = seen_limits.cpu_shares.filter(|shares| *shares != 1024);
        assert_eq!(seen_limits, limits);
        assert_eq!(seen.started, started.started, "nothing was restarted");
    }
    world.engine.remove(&id).await.unwrap();
}

async fn commands_run(world: &World) {
    let id = world.made(&world.spec("exec")).await;
    let command = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let second = Duration::from_secs(5);
    let early = world.engine.exec(&id, &command(&["true"]), second).await;
    assert!(matches!(early, Err(EngineError::Conflict { .. })), "{early:?}");
    world.engine.start(&id).await.unwrap();
    let good = world.engine.exec(&id, &command(&["echo", "hello"]), second).await.unwrap();
    assert!(good.code == 0 && good.output.contains("hello"), "{good:?}");
    let bad = world.engine.exec(&id, &command(&["false"]), second).await.unwrap();
    assert_eq!(bad.code, 1);
    world.engine.remove(&id).await.unwrap();
}

async fn events_wake(world: &World) {
    let id = world.made(&world.spec("events")).await;
    let mut events = world.engine.events().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.engine.start(&id).await.unwrap();
    world.engine.kill(&id).await.unwrap();
    let mut actions = Vec::new();
    while actions.last().is_none_or(|action| action != "die") {
        let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap();
        if event.kind != "container" || event.id != id {
            continue;
        }
        assert_eq!(event.name, world.name("events"));
        if event.action == "die" {
            assert_eq!(event.attributes.get("exitCode").map(String::as_str), Some("137"));
        }
        actions.push(event.action);
    }
    assert!(actions.contains(&"start".to_owned()), "{actions:?}");
    // At once after the end: the engine may still be at work on it.
    world.engine.start(&id).await.unwrap();
    assert_eq!(world.seen("events").await.state, ContainerState::Running);
    world.engine.remove(&id).await.unwrap();
}

async fn volumes(world: &World) {
    let name = world.name("data");
    for _ in 0..2 {
        world.engine.create_volume(&name, &world.labels()).await.unwrap();
    }
    let all = world.engine.volumes(&world.uid).await.unwrap();
    assert_eq!(all.iter().map(|volume| &volume.name).collect::<Vec<_>>(), [&name]);
    let mut spec = world.spec("mounted");
    let mount = |target: &str, what| MountSpec { target: target.into(), read_only: false, what };
    spec.mounts = vec![
        mount("/data", MountWhat::Volume { name: Some(name.clone()), nocopy: false }),
        mount("/scratch", MountWhat::Tmpfs { options: "size=1m,noexec".into() }),
        mount("/own", MountWhat::Volume { name: None, nocopy: false }),
    ];
    let id = world.made(&spec).await;
    world.engine.start(&id).await.unwrap();
    world.engine.remove(&id).await.unwrap();
    let left = world.engine.volumes(&world.uid).await.unwrap().len();
    assert_eq!(left, 1, "a container takes no named volume along");
    for _ in 0..2 {
        world.engine.remove_volume(&name).await.unwrap();
    }
}

async fn networks(world: &World) {
    let again = world.engine.create_network(&world.network(NETWORKS[0])).await;
    assert!(matches!(again, Err(EngineError::Conflict { .. })), "{again:?}");
    let overlap = world.engine.create_network(&world.network(("c", "10.211.0.0/16", "10.211.9.1"))).await;
    assert!(matches!(overlap, Err(EngineError::Refused(_))), "{overlap:?}");
    let all = world.engine.networks().await.unwrap();
    let ours = all.iter().find(|one| one.name == world.name("a")).unwrap();
    assert_eq!(ours.labels.get(label::CLUSTER), Some(&world.uid));
    assert_eq!(ours.bridge, Some(world.network(NETWORKS[0]).bridge));
    assert_eq!(ours.subnets[0].subnet.to_string(), NETWORKS[0].1);
    assert_eq!(ours.subnets[0].gateway.map(|g| g.to_string()).as_deref(), Some(NETWORKS[0].2));
    assert!(all.iter().any(|one| one.driver == "host"));

    let mut spec = world.spec("guest");
    spec.network = NetworkChoice::Attached(vec![world.on("a", "10.211.0.120")]);
    let id = world.made(&spec).await;
    world.engine.start(&id).await.unwrap();
    let busy = world.engine.remove_network(&world.name("a")).await;
    assert!(matches!(busy, Err(EngineError::Conflict { .. })), "{busy:?}");
    world.engine.remove(&id).await.unwrap();
}

async fn images(world: &World) {
    let pulled = world.engine.pull(&world.image, None, None).await.unwrap();
    let digest = pulled.digest_for(&world.image).expect("a registry gave it");
    let pinned = by_digest(&world.image, &digest);
    assert_eq!(world.engine.pull(&pinned, None, None).await.unwrap().id, pulled.id);
    assert_eq!(world.engine.image(&pinned).await.unwrap().unwrap().id, pulled.id);
    assert_eq!(world.engine.image(&world.image).await.unwrap().unwrap().id, pulled.id);
    let nothing = format!("{}-is-no-such-tag", world.image);
    assert_eq!(world.engine.image(&nothing).await.unwrap(), None);
    let refused = world.engine.pull(&nothing, None, None).await;
    assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
    let mut spec = world.spec("imageless");
    spec.image = nothing;
    let missing = world.engine.create(&spec).await;
    assert!(matches!(missing, Err(EngineError::ImageMissing(_))), "{missing:?}");
}

const IMAGE: &str = "registry.lan:5000/busybox:1";

#[tokio::test(start_paused = true)]
async fn the_engine_in_memory() {
    let engine = FakeEngine::new();
    engine.add_to_registry(IMAGE, "sha256:1111");
    engine.add_image(IMAGE, "sha256:1111");
    let world = World { engine: Arc::new(engine), image: IMAGE.into(), uid: "parity".into() };
    all_cases(&world).await;
    world.clean().await;
}

fn real_engine() -> Option<PathBuf> {
    if let Some(socket) = std::env::var_os("EVENKEEL_TEST_ENGINE") {
        return Some(socket.into());
    }
    let lab = std::env::var("EVENKEEL_LAB").ok()?;
    let folder = std::env::var("EVENKEEL_LAB_DIR").unwrap_or_else(|_| "/var/tmp/evenkeel-lab".into());
    Some(PathBuf::from(folder).join(lab).join("h1/run/docker.sock"))
}

#[tokio::test]
async fn a_real_engine() {
    let Some(socket) = real_engine() else {
        eprintln!("skipped: set EVENKEEL_TEST_ENGINE to the socket of an engine to try it");
        return;
    };
    let image = std::env::var("EVENKEEL_TEST_IMAGE").unwrap_or_else(|_| IMAGE.into());
    let engine = Arc::new(Docker::new(&socket, Deadlines::default()));
    engine.pull(&image, None, None).await.unwrap();
    let uid = format!("parity{}", std::process::id());
    let world = Arc::new(World { engine, image, uid });
    // Cleaned up also where a case fails.
    let cases = tokio::spawn({
        let world = world.clone();
        async move { all_cases(&world).await }
    });
    let outcome = cases.await;
    world.clean().await;
    if let Err(failed) = outcome {
        std::panic::resume_unwind(failed.into_panic());
    }
}
