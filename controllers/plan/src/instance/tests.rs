//! Tables: what is decided in which situation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_api::local::LocalNetwork;
use evenkeel_api::name::{HostName, InstanceId, NetworkName};
use evenkeel_api::network::HostSubnet;
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{Address, Desired, Fence, Instance, InstanceState, Timestamp};
use evenkeel_api::service::{
    Limits, Mount, MountSource, NetworkMode, Port, Published, RestartCondition, RestartPolicy, ServiceSpec,
    Template,
};
use proptest::prelude::*;

use super::book::{Book, REST};
use super::container::{Container, ContainerState, MountWhat, NetworkChoice, label};
use super::decide::{Action, Decision, View, decide};
use super::memory::{Memory, Pull};
use super::policy::{HostPolicy, Leave, refusal};
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
            Decision { action: None, state: Some(InstanceState::Failed { why }), .. } => why,
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

#[test]
fn images() {
    let pull = |case: &Case| match case.decide().action {
        Some(Action::Pull { reference }) => reference,
        other => panic!("{other:?}"),
    };
    let tag = "registry.lan:5000/web:1";
    let pinned = "registry.lan:5000/web@sha256:aa";
    let missing = |case: &mut Case| case.memory.missing = Some(tag.into());
    assert_eq!(pull(&Case::new().with(missing)), tag);
    assert_eq!(Case::new().with(|case| case.pin = Some("sha256:aa".into())).created().image, pinned);
    let done = Pull::Done { reference: tag.into(), digest: None };
    assert_eq!(Case::new().with(missing).with(|case| case.memory.pull = Some(done)).created().image, tag);
    let failed = Pull::failed(tag, "manifest unknown", None, secs(99));
    let waits = Case::new().with(missing).with(|case| case.memory.pull = Some(failed)).decide();
    assert_eq!((waits.action, waits.wake), (None, Some(secs(104))));
    assert!(matches!(waits.state, Some(InstanceState::Failed { .. })), "{:?}", waits.state);
    // A registry that does not answer says nothing about the image, however often it does not.
    let mut away = None;
    for _ in 0..9 {
        let error = "Get https://registry.lan:5000/v2/: dial tcp: connect: no route to host";
        away = Some(Pull::failed(tag, error, away.as_ref(), secs(99)));
    }
    let waits = Case::new().with(missing).with(|case| case.memory.pull = away).decide();
    assert!(matches!(waits.state, Some(InstanceState::Waiting { .. })), "{:?}", waits.state);
    assert_eq!(waits.wake, Some(secs(99 + 300)));

    // Made by tag before it was pinned.
    let running = Case::new().is(ContainerState::Running).with(|case| case.pin = Some("sha256:aa".into()));
    assert_eq!(running.decide().action, Some(Action::Verify { reference: pinned.into() }));
    assert_eq!(running.clone().with(|case| case.memory.verified = true).decide().action, None);
    let wrong = running.with(|case| case.memory.wrong_image = true);
    assert_eq!(pull(&wrong), pinned);
    let done = Pull::Done { reference: pinned.into(), digest: None };
    assert_eq!(wrong.with(|case| case.memory.pull = Some(done)).decide().action, Some(Action::Remove));
}

#[test]
fn a_run_that_shall_end_does_so_gently_and_another_begins() {
    use evenkeel_api::record::Restart;
    let ends = |state, policy| {
        let restart = Restart { run: Timestamp(1000), after: Span::seconds(6), count: 1 };
        let mut case = Case::new().is(state);
        case.accepted.as_mut().unwrap().deploy.restart_policy.condition = policy;
        case.record.as_mut().unwrap().restart = Some(restart);
        case.memory.asked_for(Some(&restart), secs(100));
        case
    };
    let mut case = ends(ContainerState::Running, None);
    let waits = case.decide();
    assert_eq!(
        (waits.action, waits.wake, waits.state),
        (None, Some(secs(106)), Some(InstanceState::Running))
    );
    case.now = secs(106);
    assert!(matches!(case.decide().action, Some(Action::Stop { grace }) if grace == Span::seconds(10)));
    assert_eq!(case.clone().with(|case| case.may_destroy = false).decide().action, None);
    // Another run is there: it is done.
    case.container.as_mut().unwrap().started = Some(Timestamp(2000));
    assert_eq!(case.decide().action, None);
    // Whatever the policy says of ends: this one was asked for.
    for policy in [None, Some(RestartCondition::None)] {
        let anew = ends(EXITED, policy).decide();
        assert_eq!(anew.action, Some(Action::Start));
        assert!(matches!(anew.state, Some(InstanceState::Waiting { .. })));
        // An exclusive one is started by nobody whom the watchdog does not let.
        let uncovered = ends(EXITED, policy).with(|case| case.uncovered = Some("no proof".into()));
        assert_eq!(uncovered.decide().action, None);
    }
}

#[test]
fn a_run_that_was_to_end_counts_as_no_restart() {
    let mut runs = Runs::default();
    runs.running(Some(Timestamp(1)), secs(0));
    runs.excuse(Timestamp(1));
    runs.ended(secs(5));
    runs.running(Some(Timestamp(2)), secs(6));
    assert_eq!(runs.total, 0);
    runs.ended(secs(7));
    runs.running(Some(Timestamp(3)), secs(8));
    assert_eq!(runs.total, 1);
}

#[test]
fn limits_are_changed_only_where_they_differ() {
    let limited = |observed: Limits, wanted: Limits| {
        let case = Case::new().is(ContainerState::Running);
        let case = case.with(|case| case.accepted.as_mut().unwrap().limits = wanted);
        case.with(|case| case.container.as_mut().unwrap().limits = observed).decide().action
    };
    let none = Limits::default();
    let some = Limits { pids: Some(5), ..none };
    assert_eq!(limited(none, some), Some(Action::Update(some)));
    assert_eq!(limited(some, none), Some(Action::Update(none)));
    assert_eq!(limited(Limits { cpu_shares: Some(1024), memory_swap: Some(7), ..none }, none), None);
    assert_eq!(limited(none, Limits { pids: Some(-1), ..none }), None);
}

#[test]
fn restarts() {
    let policy = |condition, delay: Option<u64>, max_attempts, window: Option<u64>| RestartPolicy {
        condition: Some(condition),
        delay: delay.map(Span::seconds),
        max_attempts,
        window: window.map(Span::seconds),
    };
    // Runs of a second each, one after the other without a pause.
    let after = |runs: u64| {
        let mut known = Runs::default();
        for n in 0..runs {
            known.running(Some(Timestamp(n as i64)), secs(n));
            known.ended(secs(n + 1));
        }
        known
    };
    use RestartCondition as C;
    let any = policy(C::Any, None, None, None);
    let waits: Vec<_> = (1..9).map(|n| after(n).verdict(&any, 1, secs(n))).collect();
    let expected = [0, 1, 2, 4, 8, 16, 32, 60];
    let expected: Vec<_> = (1..).zip(expected).map(|(n, wait)| Verdict::StartAt(secs(n + wait))).collect();
    assert_eq!(waits, expected);
    assert_eq!(after(5).verdict(&policy(C::Any, Some(3), None, None), 0, secs(5)), Verdict::StartAt(secs(8)));
    assert_eq!(after(1).verdict(&policy(C::None, None, None, None), 1, secs(1)), Verdict::Rest);
    assert_eq!(after(1).verdict(&policy(C::OnFailure, None, None, None), 0, secs(1)), Verdict::Rest);
    assert_ne!(after(1).verdict(&policy(C::OnFailure, None, None, None), 2, secs(1)), Verdict::Rest);
    let few = policy(C::Any, None, Some(2), Some(10));
    assert!(matches!(after(2).verdict(&few, 1, secs(2)), Verdict::StartAt(_)));
    assert!(
        matches!(after(3).verdict(&few, 1, secs(3)), Verdict::UsedUp(why) if why.contains("2 times within 10s"))
    );
    assert!(matches!(after(3).verdict(&few, 1, secs(30)), Verdict::StartAt(_)), "the window has passed");
    assert_eq!(after(9).total, 8);
}

#[test]
fn the_policy_refuses_what_it_does_not_name() {
    let template = |change: fn(&mut Template)| {
        let mut template = Template::default();
        change(&mut template);
        template
    };
    let bind = |path: &str, read_only| {
        let source = MountSource::Bind {
            path: path.into(),
            propagation: None,
            selinux: None,
            create_host_path: false,
        };
        Template { mounts: vec![Mount { target: "/x".into(), source, read_only }], ..Template::default() }
    };
    let leave = Leave {
        host_namespaces: BTreeSet::from(["network".into()]),
        capabilities: BTreeSet::from(["NET_ADMIN".into()]),
        host_paths: BTreeSet::from(["/srv".into(), "/proc:ro".into()]),
        ..Leave::default()
    };
    let some = HostPolicy { namespaces: BTreeMap::from([("shop".to_owned(), leave)]) };
    let all = Leave { privileged: true, ..Leave::default() };
    let all = HostPolicy { namespaces: BTreeMap::from([("*".to_owned(), all)]) };
    let none = HostPolicy::default();
    let allowed = |policy: &HostPolicy, template: &Template| {
        refusal(policy, &"h2".parse().unwrap(), &"shop".parse().unwrap(), template).is_none()
    };
    let cases: [(&str, Template, bool, bool); 14] = [
        ("plain", Template::default(), true, true),
        ("privileged", template(|t| t.privileged = Some(true)), false, false),
        ("host network", template(|t| t.network_mode = Some(NetworkMode::Host)), false, true),
        ("host ipc", template(|t| t.ipc = Some("host".into())), false, false),
        ("engine's capability", template(|t| t.cap_add = vec!["CHOWN".into()]), true, true),
        ("capability", template(|t| t.cap_add = vec!["NET_ADMIN".into()]), false, true),
        ("all capabilities", template(|t| t.cap_add = vec!["ALL".into()]), false, false),
        ("seccomp", template(|t| t.security_opt = vec!["seccomp=unconfined".into()]), false, false),
        (
            "no-new-privileges",
            template(|t| t.security_opt = vec!["no-new-privileges:true".into()]),
            true,
            true,
        ),
        ("path", bind("/srv/data", false), false, true),
        ("path that only begins alike", bind("/srvx", false), false, false),
        ("path upwards", bind("/srv/../etc", false), false, false),
        ("read-only path, writable", bind("/proc/sys", false), false, false),
        ("read-only path", bind("/proc/sys", true), false, true),
    ];
    for (name, template, by_none, by_some) in &cases {
        assert_eq!((allowed(&none, template), allowed(&some, template)), (*by_none, *by_some), "{name}");
        assert!(allowed(&all, template), "{name}");
    }
    for socket in ["/var/run/docker.sock", "/run", "/"] {
        assert!(!allowed(&some, &bind(socket, true)), "{socket}");
    }
    let why = refusal(&none, &"h2".parse().unwrap(), &"shop".parse().unwrap(), &cases[1].1).unwrap();
    assert_eq!(
        why,
        "host policy on h2 does not allow privileged for namespace shop; see /etc/evenkeel/policy.yaml"
    );
}

#[test]
fn resolver_files() {
    let case = Case::new();
    let peers = BTreeMap::from([("h2".parse().unwrap(), "10.88.2.1".parse().unwrap())]);
    let (gateway, peer) = ("10.88.1.1".parse().unwrap(), resolv::peer(&case.id, &peers));
    let known = Resolvers { gateway, peer, domain: "internal".into() };
    assert_eq!(
        resolv::text(&case.id, case.template.as_ref().unwrap(), &known),
        "nameserver 10.88.1.1\nnameserver 10.88.2.1\nsearch shop.internal internal\n\
         options ndots:2 timeout:1 attempts:2\n"
    );
    assert_eq!(resolv::peer(&case.id, &BTreeMap::new()), None);
}

fn part(prefix: u8) -> HostSubnet {
    let subnet = evenkeel_api::network::Cidr::new("10.88.1.0".parse().unwrap(), prefix);
    HostSubnet { network: lan(), host: "h1".parse().unwrap(), subnet }
}

fn numbered(n: u64) -> InstanceId {
    format!("shop.web.{n}.{n}").parse().unwrap()
}

#[test]
fn addresses_rest_before_they_are_used_again() {
    let (mut book, none) = (Book::default(), BTreeSet::new());
    // Of 32, the last 16, the network's and the gateway's are not given.
    for n in 1..=14 {
        book.assign(&numbered(n), &part(27), &none, secs(0)).unwrap();
    }
    let full = book.assign(&numbered(15), &part(27), &none, secs(0)).unwrap_err();
    assert_eq!(full.to_string(), "no address of 10.88.1.0/27 is free on network lan: 14 are in use, 0 rest");
    let address = book.of(&numbered(3))[&lan()];
    book.release(&numbered(3), secs(10));
    assert!(book.assign(&numbered(15), &part(27), &none, secs(69)).is_err());
    // A restart of the controller or the machine begins the rest anew.
    let mut book: Book = serde_json::from_str(&serde_json::to_string(&book).unwrap()).unwrap();
    assert!(book.assign(&numbered(15), &part(27), &none, secs(1)).is_err());
    assert!(book.assign(&numbered(15), &part(27), &none, secs(60)).is_err());
    assert_eq!(book.assign(&numbered(15), &part(27), &none, secs(61)), Ok(address));
    assert_eq!(book.assign(&numbered(15), &part(27), &none, secs(500)), Ok(address), "for life");
}

#[test]
fn addresses_that_others_hold_are_left_alone() {
    let mut book = Book::default();
    let taken = BTreeSet::from(["10.88.1.2".parse().unwrap()]);
    assert_eq!(book.assign(&numbered(1), &part(24), &taken, secs(0)).unwrap().to_string(), "10.88.1.3");
    book.adopt(&numbered(2), &lan(), "10.88.1.3".parse().unwrap());
    assert!(book.of(&numbered(2)).is_empty(), "it is another's");
    book.give_up(&numbered(1), &lan(), secs(0));
    assert_eq!(book.assign(&numbered(1), &part(24), &taken, secs(1)).unwrap().to_string(), "10.88.1.4");
}

/// What an engine would make of an action, in the plainest way.
fn apply(case: &mut Case, action: Action) {
    match action {
        Action::Pull { reference } => case.memory.pull = Some(Pull::Done { reference, digest: None }),
        Action::Verify { .. } => case.memory.verified = true,
        Action::Create { spec, .. } => {
            let mut made = container(&case.id, ContainerState::Created);
            (made.image, made.limits) = (spec.image.clone(), spec.limits);
            case.container = Some(made);
        }
        Action::Start => {
            if let Some(container) = &mut case.container {
                container.state = ContainerState::Running;
            }
            case.memory.runs.running(Some(Timestamp(2000)), case.now);
        }
        Action::Update(limits) => {
            if let Some(container) = &mut case.container {
                container.limits = limits;
            }
        }
        Action::Stop { .. } => {
            if let Some(container) = &mut case.container {
                container.state = ContainerState::Exited { code: 143, oom: false };
            }
            case.memory.last_code = Some(143);
        }
        Action::Remove => {
            case.container = None;
            case.memory.container_gone();
        }
    }
}

fn situation() -> impl Strategy<Value = Case> {
    let desired = prop_oneof![
        Just(None),
        Just(Some(Desired::Run)),
        Just(Some(Desired::Drain)),
        Just(Some(Desired::Stop)),
        Just(Some(Desired::Lost)),
    ];
    let state = prop_oneof![
        Just(None),
        Just(Some(ContainerState::Created)),
        Just(Some(ContainerState::Running)),
        Just(Some(ContainerState::Paused)),
        Just(Some(ContainerState::Dead)),
        (0i64..3).prop_map(|code| Some(ContainerState::Exited { code, oom: false })),
    ];
    let flags = proptest::array::uniform6(any::<bool>());
    (desired, state, flags, proptest::option::of(1i64..500)).prop_map(|(desired, state, flags, pids)| {
        let [pinned, missing, wrong, trusted, always, taken] = flags;
        let mut case = Case::new();
        match desired {
            Some(desired) => case.record.as_mut().unwrap().desired = desired,
            None => case.record = None,
        }
        case.container = state.map(|state| container(&case.id, state));
        case.pin = pinned.then(|| "sha256:aa".to_owned());
        case.memory.missing = missing.then(|| "registry.lan:5000/web:1".to_owned());
        case.memory.wrong_image = wrong;
        case.memory.address_taken = taken && case.container.is_some();
        case.may_destroy = trusted;
        let policy = always.then_some(evenkeel_api::service::PullPolicy::Always);
        case.template.as_mut().unwrap().pull_policy = policy;
        case.accepted.as_mut().unwrap().limits.pids = pids;
        case
    })
}

proptest! {
    /// From anywhere, a few steps lead to where nothing is to be done, and that is what was wanted.
    #[test]
    fn steps_end_where_they_should(mut case in situation()) {
        let began = case.container.clone();
        let mut steps = 0;
        while let Some(action) = case.decide().action {
            let destroys = matches!(action, Action::Stop { .. } | Action::Remove);
            prop_assert!(!destroys || case.may_destroy, "{:?}", action);
            apply(&mut case, action);
            case.now += secs(100);
            steps += 1;
            prop_assert!(steps < 10, "no end: {:?}", case.decide());
        }
        let wanted = case.record.as_ref().map(|record| record.desired);
        let state = case.container.as_ref().map(|container| container.state);
        match wanted {
            _ if !case.may_destroy => {}
            None | Some(Desired::Stop | Desired::Lost) => prop_assert_eq!(state, None),
            Some(Desired::Run) => {
                let paused = state == Some(ContainerState::Paused);
                prop_assert!(paused || state == Some(ContainerState::Running), "{:?}", state);
            }
            Some(Desired::Drain) => prop_assert!(began.is_some() || state.is_none()),
        }
        prop_assert_eq!(case.decide(), case.decide());
    }

    /// No two instances ever have one address, and none changes its own.
    #[test]
    fn addresses_are_unique(steps in proptest::collection::vec((1u64..30, any::<bool>(), 0u64..40), 1..120)) {
        let (mut book, mut now, none) = (Book::default(), secs(0), BTreeSet::new());
        let mut given: BTreeMap<u64, Ipv4Addr> = BTreeMap::new();
        let mut released: BTreeMap<Ipv4Addr, Duration> = BTreeMap::new();
        for (n, take, wait) in steps {
            now += secs(wait);
            if take {
                let Ok(address) = book.assign(&numbered(n), &part(27), &none, now) else { continue };
                prop_assert!(given.iter().all(|(other, at)| (*other == n) == (*at == address)));
                if !given.contains_key(&n) {
                    prop_assert!(released.get(&address).is_none_or(|at| now >= *at + REST));
                }
                given.insert(n, address);
            } else if let Some(address) = given.remove(&n) {
                book.release(&numbered(n), now);
                released.insert(address, now);
            }
        }
    }
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
