//! Tables: what is decided in which situation.

mod addresses;
mod images;
mod limits;
mod policy;
mod reports;
mod resolvers;
mod restarts;
mod starts;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_api::local::LocalNetwork;
use evenkeel_api::name::{HostName, InstanceId, NetworkName};
use evenkeel_api::network::HostSubnet;
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{Address, Desired, Fence, Instance, InstanceState, Timestamp};
use evenkeel_api::service::{
    Limits, Mount, MountSource, NetworkMode, Port, Published, PullPolicy, RestartCondition, RestartPolicy,
    ServiceSpec, Template,
};
use proptest::prelude::*;

use super::book::{Book, REST};
use super::container::{Container, ContainerState, MountWhat, NetworkChoice, label};
use super::decide::{Action, Decision, View, decide};
use super::memory::{Memory, Pull};
use super::policy::HostPolicy;
use super::resolv::{self, Resolvers};
use super::restart::{Runs, Verdict};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// All that a view points to.
#[derive(Debug, Clone)]
struct Case {
    host: HostName,
    id: InstanceId,
    record: Option<Instance>,
    template: Option<Template>,
    accepted: Option<ServiceSpec>,
    pin: Option<String>,
    container: Option<Container>,
    memory: Memory,
    addresses: BTreeMap<NetworkName, Ipv4Addr>,
    networks: BTreeMap<NetworkName, LocalNetwork>,
    own: Vec<Address>,
    policy: HostPolicy,
    uncovered: Option<String>,
    may_destroy: bool,
    now: Duration,
}

fn lan() -> NetworkName {
    "lan".parse().unwrap()
}

impl Case {
    fn new() -> Self {
        let template = Template {
            image: "registry.lan:5000/web:1".into(),
            networks: BTreeMap::from([(lan(), Default::default())]),
            ..Template::default()
        };
        let network = LocalNetwork {
            pool: "10.88.0.0/16".parse().unwrap(),
            subnet: "10.88.1.0/24".parse().unwrap(),
            engine_name: "ek-lan".into(),
            domain: "internal".into(),
        };
        Self {
            host: "h1".parse().unwrap(),
            id: "shop.web.1.a".parse().unwrap(),
            record: Some(Instance {
                template: "shop/web@7".parse().unwrap(),
                slot: "1".parse().unwrap(),
                desired: Desired::Run,
                cause: "test".into(),
                fence: None,
                restart: None,
            }),
            accepted: Some(ServiceSpec { template: template.clone(), ..ServiceSpec::default() }),
            template: Some(template),
            pin: None,
            container: None,
            memory: Memory::default(),
            addresses: BTreeMap::from([(lan(), "10.88.1.2".parse().unwrap())]),
            networks: BTreeMap::from([(lan(), network)]),
            own: vec![Address { address: "10.0.0.11".parse().unwrap(), prefix: 24 }],
            policy: HostPolicy::default(),
            uncovered: None,
            may_destroy: true,
            now: secs(100),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn template(self, change: impl FnOnce(&mut Template)) -> Self {
        self.with(|case| change(case.template.as_mut().unwrap()))
    }

    fn desired(self, desired: Desired) -> Self {
        self.with(|case| case.record.as_mut().unwrap().desired = desired)
    }

    fn is(self, state: ContainerState) -> Self {
        self.with(|case| case.container = Some(container(&case.id, state)))
    }

    fn decide(&self) -> Decision {
        decide(&View {
            uid: "u1",
            host: &self.host,
            id: &self.id,
            record: self.record.as_ref(),
            template: self.template.as_ref(),
            accepted: self.accepted.as_ref(),
            pin: self.pin.as_deref(),
            container: self.container.as_ref(),
            memory: &self.memory,
            addresses: Ok(&self.addresses),
            networks: &self.networks,
            own: &self.own,
            policy: &self.policy,
            resolv: "/var/lib/evenkeel/instance/resolv/shop.web.1.a",
            fence: "/var/lib/evenkeel/instance/fence/shop.web.1.a",
            uncovered: self.uncovered.as_deref(),
            may_destroy: self.may_destroy,
            now: self.now,
        })
    }

    fn created(&self) -> super::container::ContainerSpec {
        match self.decide().action {
            Some(Action::Create { spec, .. }) => *spec,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self) -> String {
        match self.decide() {
            Decision { action: None, state: Some(InstanceState::Failed { why, .. }), .. } => why,
            other => panic!("{other:?}"),
        }
    }
}

fn container(id: &InstanceId, state: ContainerState) -> Container {
    Container {
        id: "c1".into(),
        name: id.to_string(),
        labels: BTreeMap::from([(label::INSTANCE.into(), id.to_string())]),
        image: "registry.lan:5000/web:1".into(),
        image_id: "sha256:1".into(),
        state,
        started: (state != ContainerState::Created).then_some(Timestamp(1000)),
        finished: None,
        health: None,
        addresses: BTreeMap::new(),
        ports: Vec::new(),
        limits: Limits::default(),
        pid: None,
    }
}

const EXITED: ContainerState = ContainerState::Exited { code: 1, oom: false };

#[test]
fn what_is_done_next() {
    use ContainerState as S;
    use Desired as D;
    let table: &[(&str, Case, Option<&str>)] = &[
        ("nothing there", Case::new(), Some("create")),
        ("made", Case::new().is(S::Created), Some("start")),
        ("runs", Case::new().is(S::Running), None),
        ("ended", Case::new().is(EXITED), Some("start")),
        ("paused by hand", Case::new().is(S::Paused), None),
        ("the engine is at it", Case::new().is(S::Changing), None),
        ("half removed", Case::new().is(S::Dead), Some("remove")),
        ("drains", Case::new().is(S::Running).desired(D::Drain), None),
        ("drains, and ended", Case::new().is(EXITED).desired(D::Drain), Some("start")),
        ("drains, and is gone", Case::new().desired(D::Drain), None),
        ("to be stopped", Case::new().is(S::Running).desired(D::Stop), Some("stop")),
        ("to be stopped, paused", Case::new().is(S::Paused).desired(D::Stop), Some("stop")),
        ("stopped", Case::new().is(EXITED).desired(D::Stop), Some("remove")),
        ("lost, and back", Case::new().is(S::Running).desired(D::Lost), Some("stop")),
        ("stopped and removed", Case::new().desired(D::Stop), None),
        ("an orphan", Case::new().is(S::Running).with(|c| c.record = None), Some("stop")),
        ("not believed", Case::new().is(S::Running).desired(D::Stop).with(|c| c.may_destroy = false), None),
        (
            "an orphan, not believed",
            Case::new().is(EXITED).with(|c| (c.record, c.may_destroy) = (None, false)),
            None,
        ),
        ("no network", Case::new().with(|c| c.networks.clear()), None),
        ("no template", Case::new().with(|c| c.template = None), None),
        ("ended, no template", Case::new().is(EXITED).with(|c| c.template = None), Some("start")),
        ("ended, no network", Case::new().is(EXITED).with(|c| c.networks.clear()), Some("start")),
    ];
    for (name, case, expected) in table {
        let action = case.decide().action;
        let word = action.as_ref().map(|action| match action {
            Action::Pull { .. } => "pull",
            Action::Verify { .. } => "verify",
            Action::Create { .. } => "create",
            Action::Start => "start",
            Action::Update(_) => "update",
            Action::Stop { .. } => "stop",
            Action::Remove => "remove",
        });
        assert_eq!(word, *expected, "{name}");
    }
    assert!(Case::new().with(|case| case.record = None).decide().gone);
}

#[test]
fn a_container_carries_the_template_and_what_is_ours() {
    let spec = Case::new().created();
    assert_eq!(spec.name, "shop.web.1.a");
    assert_eq!(spec.labels[label::CLUSTER], "u1");
    assert_eq!(spec.labels[label::TEMPLATE], "shop/web@7");
    let NetworkChoice::Attached(attached) = &spec.network else { panic!() };
    assert_eq!(
        (attached[0].network.as_str(), attached[0].address.to_string()),
        ("ek-lan", "10.88.1.2".into())
    );
    assert_eq!(spec.dns, ["10.88.1.1".parse::<Ipv4Addr>().unwrap()]);
    assert_eq!(spec.dns_search, ["shop.internal", "internal"]);
    assert_eq!(spec.mounts.len(), 1);
    assert!(
        matches!(&spec.mounts[0].what, MountWhat::Bind { path, .. } if path.ends_with("resolv/shop.web.1.a"))
    );

    let own = Case::new().template(|template| template.dns = vec!["9.9.9.9".parse().unwrap()]).created();
    assert_eq!((own.mounts.len(), own.dns_search.len(), own.dns_options.len()), (0, 0, 0));
    let none = Case::new().template(|template| template.dns_search = Some(Vec::new())).created();
    assert_eq!((none.mounts.len(), none.dns_search), (0, vec![".".to_owned()]));
    let alone = Case::new().template(|template| template.network_mode = Some(NetworkMode::None)).created();
    assert_eq!((alone.network, alone.mounts.len(), alone.dns.len()), (NetworkChoice::None, 0, 0));
}

#[test]
fn ports_pick_the_hosts_own_addresses() {
    let published = |host_ip: Option<&str>| {
        let host_ip = host_ip.map(|range| range.parse().unwrap());
        let published = Some(Published { port: Some(80), host_ip });
        let port = Port { name: None, target: 8080, protocol: Default::default(), published };
        Case::new().template(|template| template.ports = vec![port])
    };
    let address = |case: &Case| case.created().ports[0].address.map(|address| address.to_string());
    assert_eq!(address(&published(None)), None);
    assert_eq!(address(&published(Some("10.0.0.0/24"))).as_deref(), Some("10.0.0.11"));
    assert_eq!(address(&published(Some("127.0.0.1"))).as_deref(), Some("127.0.0.1"));
    let why = published(Some("192.168.0.0/16")).refused();
    assert_eq!(why, "no address of h1 lies in 192.168.0.0/16, where port 8080 is to be published");
}

#[test]
fn named_volumes_are_of_the_namespace() {
    let volume = MountSource::Volume { name: "data".parse().unwrap(), nocopy: false };
    let mount = Mount { target: "/data".into(), source: volume, read_only: false };
    let case = Case::new().template(|template| template.mounts = vec![mount]);
    let Some(Action::Create { spec, volumes }) = case.decide().action else { panic!() };
    assert_eq!(volumes["shop.data"][label::CLUSTER], "u1");
    let name = Some("shop.data".to_owned());
    assert_eq!(spec.mounts[0].what, MountWhat::Volume { name, nocopy: false });
}

fn fenced(case: Case) -> Case {
    let fence = Fence { token: 7, stop_after: Span::seconds(5) };
    case.with(|case| case.record.as_mut().unwrap().fence = Some(fence))
}

#[test]
fn an_exclusive_container_is_labelled_and_told_its_token() {
    let spec = fenced(Case::new()).created();
    assert_eq!(spec.labels[label::EXCLUSIVE], "5s");
    assert_eq!(spec.template.environment["EVENKEEL_FENCE"], "/run/evenkeel/fence");
    let mount = spec.mounts.iter().find(|mount| mount.target == "/run/evenkeel/fence").unwrap();
    assert!(mount.read_only);
    let MountWhat::Bind { path, .. } = &mount.what else { panic!("{mount:?}") };
    assert_eq!(path, "/var/lib/evenkeel/instance/fence/shop.web.1.a");
    let plain = Case::new().created();
    assert!(!plain.labels.contains_key(label::EXCLUSIVE) && plain.mounts.len() + 1 == spec.mounts.len());
}

#[test]
fn no_start_without_cover_neither_the_first_nor_another() {
    let uncovered = |case: Case| fenced(case).with(|case| case.uncovered = Some("no proof".into()));
    for state in [ContainerState::Created, ContainerState::Exited { code: 137, oom: false }] {
        let decision = uncovered(Case::new().is(state)).decide();
        assert_eq!(decision.state, Some(InstanceState::Waiting { why: "no proof".into() }), "{state:?}");
        assert_eq!(decision.action, None);
        assert!(decision.wake.is_some());
        assert_eq!(fenced(Case::new().is(state)).decide().action, Some(Action::Start));
    }
    // What runs is the watchdog's affair.
    let running = uncovered(Case::new().is(ContainerState::Running)).decide();
    assert_eq!((running.state, running.action), (Some(InstanceState::Running), None));
}
