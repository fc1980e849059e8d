use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use evenkeel_api::local::{LocalHealth, LocalInstances};
use evenkeel_api::record::{Event, NetworkReport, Subnet};
use evenkeel_engine::fake::Op;
use evenkeel_engine::{EngineError, EngineEvent};
use evenkeel_fabric::{Fabric, FabricError, FakeFabric};
use evenkeel_plan::network::host::Verdict;
use evenkeel_plan::network::state::{Action, FabricAction, FabricState};
use evenkeel_runtime::disk::{MemoryDisk, StateDir, StateFile};
use futures_util::FutureExt;
use serde_json::json;

use super::*;
use crate::network::tests::{World, host, lan, network};

/// A fabric that counts how often it is looked at.
#[derive(Debug)]
struct Counted(FakeFabric, AtomicUsize);

#[async_trait]
impl Fabric for Counted {
    async fn observe(&self) -> Result<FabricState, FabricError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.observe().await
    }

    async fn apply(&self, action: &FabricAction) -> Result<(), FabricError> {
        self.0.apply(action).await
    }

    async fn changes(&self) -> Result<Box<dyn Wakes>, FabricError> {
        self.0.changes().await
    }
}

/// A host that is driven by hand.
struct Rig {
    world: World,
    fabric: Arc<Counted>,
    host: Host,
}

impl Rig {
    /// Owns a part of a network that does not stand yet, and has not read the store.
    async fn new() -> Self {
        let world = World::new().await;
        let accepted = json!({
            "source_revision": 1, "create_revision": 1, "metadata": {},
            "spec": {"ipam": {"config": [{"subnet": "10.88.0.0/16"}]}},
        });
        world.put(&Key::Accepted(network()), &accepted).await;
        world.put(&Key::Subnet(lan(), host()), &Subnet { subnet: "10.88.1.0/24".parse().unwrap() }).await;
        let fabric = Arc::new(Counted(world.fabric.clone(), AtomicUsize::new(0)));
        let deps = NetworkDeps { fabric: fabric.clone(), ..world.deps() };
        let writer =
            Writer::new(deps.store.clone(), deps.env.clone(), deps.host.clone(), Controller::Network);
        let keep = Keep::open(&deps.state_dir).unwrap();
        Self { world, fabric, host: Host::start(deps, writer, keep) }
    }

    /// The same, and has read it.
    async fn synced() -> Self {
        let mut rig = Self::new().await;
        rig.host.mirror.synced().await;
        rig.host.changed.next().await;
        rig
    }

    /// One pass: whether all was good, and how often it looked.
    async fn pass(&mut self) -> (bool, usize) {
        let before = self.fabric.1.load(Ordering::Relaxed);
        let good = self.host.pass().await;
        (good, self.fabric.1.load(Ordering::Relaxed) - before)
    }

    fn distrust(&self) {
        self.host.deps.store.witness().distrust("it went back".to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_told_and_left_to_a_later_pass_and_calm_takes_one_look() {
    let mut rig = Rig::synced().await;
    rig.world.engine.fail_next(Op::CreateNetwork, EngineError::Refused("no room".into()));
    assert_eq!(rig.pass().await, (false, 2));
    let told = rig.world.report().await;
    assert!(matches!(&told, Some(NetworkReport::Failed { why }) if why.contains("no room")), "{told:?}");
    assert!(rig.pass().await.0);
    assert!(matches!(rig.world.report().await, Some(NetworkReport::Ready { .. })));
    assert_eq!(rig.pass().await, (true, 1));
}

#[tokio::test(start_paused = true)]
async fn only_a_store_that_was_read_and_is_believed_and_is_of_this_cluster_is_followed() {
    assert!(!Rig::new().await.host.validate(), "not read yet");
    let mut rig = Rig::synced().await;
    assert!(rig.host.validate());
    rig.distrust();
    assert!(!rig.host.validate(), "not believed");
    let mut rig = Rig::synced().await;
    rig.host.state.inputs.cluster = "c0".to_owned();
    assert!(!rig.host.validate(), "of another cluster");
    assert_ne!(rig.host.writer.trust(), Trust::Trusted);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_without_the_stores_word_and_all_else_is_done() {
    let rig = Rig::synced().await;
    let step = |action| Step { network: None, action };
    let removal = [step(Action::RemoveNetwork { name: "ek-old".to_owned() })];
    let jump = [step(Action::Fabric(FabricAction::Jump))];
    let both = [removal, jump.clone()].concat();
    assert_eq!(rig.host.confirmed(&both).await, both);
    rig.world.store.set_down(true);
    assert_eq!(rig.host.confirmed(&both).await, jump);
    assert_eq!(rig.host.confirmed(&jump).await, jump);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_not_read_or_is_not_believed_is_told_of_nothing() {
    let plan = HostPlan { verdicts: [(lan(), Verdict::Gone)].into(), ..HostPlan::default() };
    let mut unread = Rig::new().await;
    unread.world.store.set_down(true);
    let mut doubted = Rig::synced().await;
    doubted.distrust();
    for rig in [&mut unread, &mut doubted] {
        assert!(rig.host.report(&plan, &Failures::default()).await, "that is no failure");
        assert!(rig.world.store.peek("reports/h1/network/").is_empty());
    }
    let mut away = Rig::synced().await;
    away.world.store.set_down(true);
    assert!(!away.host.report(&plan, &Failures::default()).await, "it is to be told again");
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_the_engines_firewall_is_told_once_a_time() {
    let mut rig = Rig::synced().await;
    let plan = |engine_firewall_lost| HostPlan { engine_firewall_lost, ..HostPlan::default() };
    for (lost, told) in [(false, 0), (true, 1), (true, 1), (false, 1), (true, 2)] {
        rig.host.tell_of_firewall(&plan(lost));
        tokio::time::sleep(Duration::from_secs(6)).await;
        let events = rig.world.store.peek("events/h1.network/");
        let events = events.iter().map(|kv| serde_json::from_slice::<Event>(&kv.value).unwrap());
        let events = events.filter(|event| event.reason == "EngineFirewallLost");
        assert_eq!(events.map(|event| event.count).sum::<u32>(), told, "lost: {lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_kernel_wakes_after_a_second_at_the_earliest_and_time_in_the_end() {
    let mut rig = Rig::synced().await;
    let mut wakes = Some(rig.fabric.changes().await.unwrap());
    for (stirs, after) in [(true, KERNEL_EVERY), (false, Duration::from_secs(20))] {
        if stirs {
            rig.world.fabric.edit(|_| {});
        }
        let began = Instant::now();
        rig.host.wait(&mut wakes, &mut None, Duration::from_secs(20)).await;
        assert_eq!(began.elapsed(), after, "the kernel stirs: {stirs}");
    }
}

/// Whether [`instances`] is awake now.
fn woken(siblings: &mut Siblings, known: &BTreeSet<Published>) -> bool {
    instances(siblings, known).now_or_never().is_some()
}

#[tokio::test]
async fn of_the_siblings_only_ports_that_change_wake() {
    let dir = StateDir::on(Arc::new(MemoryDisk::new()), Path::new("/state"));
    let mut siblings = Siblings::new(&dir);
    let health = StateFile::<LocalHealth>::open(&dir, Controller::Healthcheck).unwrap();
    let file = StateFile::<LocalInstances>::open(&dir, Controller::Instance).unwrap();
    let copies = |started: i64| -> LocalInstances {
        let port = json!({"address": "0.0.0.0", "port": 80, "target": 8080});
        let observed = json!({"state": {"is": "running"}, "since": started, "ports": [port]});
        serde_json::from_value(
            json!({"instances": {"shop.web.1.a": {"desired": "run", "observed": observed}}}),
        )
        .unwrap()
    };
    let none = BTreeSet::new();
    assert!(!woken(&mut siblings, &none));
    health.save(&LocalHealth::default()).unwrap();
    assert!(!woken(&mut siblings, &none), "verdicts are no ports");
    file.save(&LocalInstances::default()).unwrap();
    assert!(!woken(&mut siblings, &none), "still none");
    file.save(&copies(1)).unwrap();
    assert!(woken(&mut siblings, &none));
    let known = published(&siblings);
    assert_eq!(known.iter().map(|it| it.port).collect::<Vec<_>>(), [80]);
    file.save(&copies(2)).unwrap();
    assert!(!woken(&mut siblings, &known), "the same ports");
    health.save(&LocalHealth::default()).unwrap();
    assert!(!woken(&mut siblings, &none), "verdicts are no ports, whatever is known");
}

/// What an engine tells before its stream is over.
struct Told(VecDeque<EngineEvent>);

#[async_trait]
impl Events for Told {
    async fn next(&mut self) -> Option<EngineEvent> {
        self.0.pop_front()
    }
}

#[test]
fn the_engine_wakes_by_networks_that_come_or_go_by_itself_and_by_its_end() {
    for (kind, action, is_news) in [
        ("network", "create", true),
        ("network", "destroy", true),
        ("network", "connect", false),
        ("network", "disconnect", false),
        ("daemon", "reload", true),
        ("container", "start", false),
    ] {
        let (id, name, attributes) = Default::default();
        let event = EngineEvent { kind: kind.into(), action: action.into(), id, name, attributes };
        let mut events: Option<Box<dyn Events>> = Some(Box::new(Told([event].into())));
        let over = engine(&mut events).now_or_never();
        assert_eq!(over, Some(!is_news), "{kind} {action}");
    }
    assert_eq!(engine(&mut None).now_or_never(), None, "no stream is no news");
}
