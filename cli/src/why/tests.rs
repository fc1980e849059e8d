//! Each way in which the chain breaks, on a cluster that the leader's own planner made.

use std::time::Duration;

use evenkeel_api::healthcheck::HealthCheckSpec;
use evenkeel_api::host::{Availability, HostSpec};
use evenkeel_api::meta::{Kind, Metadata, ObjectRef};
use evenkeel_api::name::{HostName, InstanceId, ServiceId};
use evenkeel_api::network::Cidr;
use evenkeel_api::quantity::{Bytes, MilliCpus};
use evenkeel_api::record::{
    Alive, CheckState, Desired, Facts, Health, InstanceState, Observed, Pin, Timestamp, Verdict,
};
use evenkeel_api::text::{DocumentSpec, Origin, parse_document};
use evenkeel_plan::service::{At, Check, Document, Host, Model, Network, Parsed};

use super::*;

/// A cluster whose hosts do as they are told, but for what images do.
struct Cluster {
    model: Model,
    /// What every check says.
    verdict: Option<Verdict>,
}

/// What a container of an image comes to.
fn fate(image: &str) -> InstanceState {
    match image {
        "crash" => InstanceState::Exited { code: 1, oom: false },
        "absent" => InstanceState::Waiting { why: "absent is not in the registry".to_owned() },
        "slow" => InstanceState::Pulling,
        "broken" => InstanceState::failed("no such command"),
        _ => InstanceState::Running,
    }
}

fn host(n: u8) -> Host {
    let lan: evenkeel_api::name::NetworkName = "lan".parse().unwrap();
    let spec = HostSpec { address: [10, 0, 0, n].into(), availability: None, reserved: None };
    Host {
        document: Some(Document {
            mod_revision: 1,
            create_revision: 1,
            parsed: Ok(Parsed { metadata: Metadata::default(), spec }),
        }),
        facts: Some(Facts {
            cpus: MilliCpus(4000),
            memory: Bytes(4 << 30),
            os: "linux".into(),
            arch: "amd64".into(),
            watchdog: true,
            ..Facts::default()
        }),
        alive: Some(Alive { boot_id: "a".into(), incarnation: 1 }),
        subnets: [(lan.clone(), Cidr::new([10, 88, n, 0].into(), 24))].into(),
        ready: [lan].into(),
        ..Host::default()
    }
}

fn spec_of(kind: Kind, path: &str, spec: &str) -> Result<DocumentSpec, String> {
    let text = format!("apiVersion: evenkeel/v1\nspec: {spec}\n");
    let object = ObjectRef::from_path(kind, path).unwrap();
    parse_document(&text, &Origin::Key(object))
        .map(|document| document.spec)
        .map_err(|error| error.to_string())
}

fn id(text: &str) -> ServiceId {
    text.parse().unwrap()
}

impl Cluster {
    /// Three hosts, a network, and a service of two copies that runs.
    fn new() -> Self {
        let mut cluster =
            Self { model: Model { revision: 100, ..Model::default() }, verdict: Some(Verdict::Healthy) };
        let lan = "{ipam: {config: [{subnet: 10.88.0.0/16}]}}";
        let Ok(DocumentSpec::Network(spec)) = spec_of(Kind::Network, "lan", lan) else { panic!("a network") };
        cluster.model.world.networks.insert("lan".parse().unwrap(), Network { spec, deleting: false });
        for n in 1..=3 {
            cluster.model.world.hosts.insert(format!("h{n}").parse().unwrap(), host(n));
        }
        cluster.put("shop/web", "image: web, deploy: {replicas: 2}");
        cluster.live(60);
        cluster
    }

    fn put(&mut self, service: &str, spec: &str) -> &mut Self {
        self.model.revision += 1;
        let mod_revision = self.model.revision;
        let spec = format!("{{networks: [lan], {spec}}}").replace("networks: [lan], networks", "networks");
        let parsed = match spec_of(Kind::Service, service, &spec) {
            Ok(DocumentSpec::Service(spec)) => Ok(Parsed { metadata: Metadata::default(), spec: *spec }),
            Ok(other) => panic!("{other:?}"),
            Err(why) => Err(why),
        };
        let entry = self.model.world.services.entry(id(service)).or_default();
        let create_revision =
            entry.document.as_ref().map_or(mod_revision, |document| document.create_revision);
        entry.document = Some(Document { mod_revision, create_revision, parsed });
        self
    }

    fn check(&mut self, service: &str, verdict: Option<Verdict>) -> &mut Self {
        let name = service.split('/').next_back().unwrap();
        let spec: HealthCheckSpec = match spec_of(
            Kind::HealthCheck,
            service,
            &format!("{{target: {{service: {name}}}, type: tcp, port: 80}}"),
        ) {
            Ok(DocumentSpec::HealthCheck(spec)) => spec,
            other => panic!("{other:?}"),
        };
        let checks = &mut self.model.world.services.get_mut(&id(service)).unwrap().checks;
        checks.insert("tcp".parse().unwrap(), Check { spec, revision: 7 });
        self.verdict = verdict;
        self
    }

    fn host(&mut self, name: &str) -> &mut Host {
        self.model.world.hosts.get_mut(&name.parse::<HostName>().unwrap()).unwrap()
    }

    fn availability(&mut self, names: &[&str], availability: Availability) -> &mut Self {
        for name in names {
            self.model.revision += 1;
            let revision = self.model.revision;
            let document = self.host(name).document.as_mut().unwrap();
            document.mod_revision = revision;
            document.parsed.as_mut().unwrap().spec.availability = Some(availability);
        }
        self
    }

    fn gone(&mut self, names: &[&str]) -> &mut Self {
        names.iter().for_each(|name| self.host(name).alive = None);
        self
    }

    fn say(&mut self, pin: Pin) -> &mut Self {
        self.model.revision += 1;
        let revision = self.model.revision;
        let pin = At { value: pin, mod_revision: revision, create_revision: revision };
        self.model.world.services.get_mut(&id("shop/web")).unwrap().pin = Some(pin);
        self
    }

    /// Seconds of life.
    fn live(&mut self, seconds: u32) -> &mut Self {
        for _ in 0..seconds * 2 {
            self.model.settle().unwrap();
            self.obey();
            self.model.now += Duration::from_millis(500);
        }
        self.model.settle().unwrap();
        self
    }

    fn obey(&mut self) {
        let world = &mut self.model.world;
        for service in world.services.values_mut() {
            let templates = service.revisions.clone();
            for copy in service.copies.values_mut() {
                let alive = world.hosts.get(&copy.host).is_some_and(|host| host.alive.is_some());
                let Some(record) = copy.record.as_ref().filter(|_| alive) else { continue };
                let image = &templates[&record.value.template.revision].value.template.image;
                let state = match record.value.desired {
                    Desired::Run | Desired::Drain => fate(image),
                    Desired::Stop | Desired::Lost => InstanceState::Stopped { code: Some(0) },
                };
                let number = record.value.slot.number().unwrap_or(9) as u8;
                let third = copy.host.as_str().as_bytes()[1] - b'0';
                copy.observed = Some(Observed {
                    restarts: if matches!(state, InstanceState::Exited { .. }) { 4 } else { 0 },
                    started: matches!(state, InstanceState::Running | InstanceState::Exited { .. })
                        .then_some(Timestamp(5)),
                    state,
                    since: Timestamp(5),
                    addresses: [("lan".parse().unwrap(), [10, 88, third, number].into())].into(),
                    ports: Vec::new(),
                    engine_health: None,
                    digest: None,
                });
                copy.health = self.verdict.map(|verdict| {
                    let evidence = "connection refused".to_owned();
                    let state = CheckState { verdict, since: Timestamp(60_000), revision: 7, evidence };
                    Health { started: Timestamp(5), checks: [("tcp".parse().unwrap(), state)].into() }
                });
            }
        }
    }

    fn scene(&self) -> Scene {
        Scene::new(self.model.world.clone(), Timestamp(240_000))
    }

    fn explain(&self, what: &str) -> Explanation {
        let scene = self.scene();
        let words: Vec<String> = what.split(' ').map(str::to_owned).collect();
        let target = Target::find(&scene, &words, None).unwrap_or_else(|failure| panic!("{failure}"));
        explain(&scene, &target)
    }

    fn copy(&self, slot: &str) -> InstanceId {
        let copies = &self.model.world.services[&id("shop/web")].copies;
        copies.keys().find(|id| id.slot.as_str() == slot).unwrap().clone()
    }
}

/// What is asked, the answer, and the link that it is about, with its mark.
type Case = (&'static str, fn(&mut Cluster), &'static str, &'static str, &'static str, Mark);

#[test]
fn the_first_line_says_why_and_the_chain_where() {
    let cases: &[Case] = &[
        (
            "all is well",
            |_| {},
            "shop/web",
            "Service shop/web runs: 2 of 2 copies are ready and in the names",
            "",
            Mark::Holds,
        ),
        (
            "a document that is refused, and one that holds",
            |it| {
                it.put("shop/web", "image: web, replica: 3").live(5);
            },
            "shop/web",
            "Service shop/web runs, but the newest document is refused: ",
            "accepted",
            Mark::Aside,
        ),
        (
            "a first document that is refused",
            |it| {
                it.put("shop/api", "image: api, replica: 3").live(5);
            },
            "shop/api",
            "Service shop/api does not run: its document is refused, and none of it was ever valid: ",
            "accepted",
            Mark::Broken,
        ),
        (
            "one that nobody has looked at",
            |it| {
                it.put("shop/api", "image: api");
            },
            "shop/api",
            "Service shop/api does not run yet: no controller has looked at revision",
            "accepted",
            Mark::Waits,
        ),
        (
            "memory that no host has",
            |it| {
                it.put("shop/api", "image: api, deploy: {resources: {reservations: {memory: 64G}}}").live(5);
            },
            "shop/api",
            "Service shop/api does not run: no host can take its copy: none of 3 hosts fits: 3 lack memory (64G is reserved)",
            "placement",
            Mark::Broken,
        ),
        (
            "a label that no host has, and a drained host",
            |it| {
                let spec =
                    "image: api, deploy: {replicas: 2, placement: {constraints: [node.labels.disk == ssd]}}";
                it.availability(&["h2"], Availability::Drain).put("shop/api", spec).live(60);
            },
            "shop/api",
            "Service shop/api does not run: no host can take slot 1 (and 1 more): none of 3 hosts fits: 2 do not match \
             node.labels.disk == ssd, 1 drained",
            "placement",
            Mark::Broken,
        ),
        (
            "all hosts drained",
            |it| {
                it.availability(&["h1", "h2", "h3"], Availability::Drain)
                    .put("shop/api", "image: api")
                    .live(5);
            },
            "shop/api",
            "Service shop/api does not run: no host can take its copy: none of 3 hosts fits: 3 drained",
            "placement",
            Mark::Broken,
        ),
        (
            "a service that is waited for, and is not there",
            |it| {
                it.put("shop/api", "image: api, depends_on: [db]").live(5);
            },
            "shop/api",
            "Service shop/api does not run: its first start waits for shop/db, and there is no such service",
            "placement",
            Mark::Broken,
        ),
        (
            "a service that is waited for, and does not run",
            |it| {
                it.put("shop/db", "image: crash").put("shop/api", "image: api, depends_on: [db]").live(5);
            },
            "shop/api",
            "Service shop/api does not run: its first start waits for shop/db, of which no copy runs",
            "placement",
            Mark::Broken,
        ),
        (
            "a network that is not there",
            |it| {
                it.put("shop/api", "networks: [wan], image: api").live(5);
            },
            "shop/api",
            "Service shop/api does not run: its copy is on no host: there is no Network named wan",
            "placement",
            Mark::Broken,
        ),
        (
            "an image that is on its way",
            |it| {
                it.put("shop/api", "image: slow").live(5);
            },
            "shop/api",
            "Service shop/api does not run yet: shop.api.1.",
            "container",
            Mark::Waits,
        ),
        (
            "an image that is not there",
            |it| {
                it.put("shop/api", "image: absent").live(5);
            },
            "shop/api",
            "on h3 waits: absent is not in the registry",
            "container",
            Mark::Broken,
        ),
        (
            "a crash loop",
            |it| {
                it.put("shop/api", "image: crash").live(5);
            },
            "shop/api",
            "on h3 exited with code 1; it was started again 4 times, and will be again",
            "container",
            Mark::Broken,
        ),
        (
            "copies that are sick",
            |it| {
                it.check("shop/web", Some(Verdict::Unhealthy)).live(5);
            },
            "shop/web",
            "Service shop/web runs, but is not ready: check tcp finds shop.web.1.",
            "health",
            Mark::Broken,
        ),
        (
            "new copies that no check has looked at",
            |it| {
                it.put("shop/api", "image: api").check("shop/api", None).live(5);
            },
            "shop/api",
            "Service shop/api runs, but is not ready yet: check tcp has said nothing of shop.api.1.",
            "health",
            Mark::Waits,
        ),
        (
            "a check of a port that nobody has",
            |it| {
                it.put("shop/api", "image: api, ports: [{name: http, target: 8080}]")
                    .check("shop/api", Some(Verdict::Starting))
                    .live(5);
            },
            "shop/api",
            "does not pass: connection refused; its document names no port 80, but http (8080)",
            "health",
            Mark::Broken,
        ),
        (
            "a check that has not passed, of a service that names no ports",
            |it| {
                it.put("shop/api", "image: api").check("shop/api", Some(Verdict::Starting)).live(5);
            },
            "shop/api",
            "has not passed yet: connection refused",
            "health",
            Mark::Waits,
        ),
        (
            "a restart of copies whose place nothing can take",
            |it| {
                it.availability(&["h1", "h2", "h3"], Availability::Pause);
                it.say(Pin { restart: Some(u64::MAX), ..Pin::default() }).live(5);
            },
            "shop/web",
            " stays, since nothing could take its place: none of 3 hosts fits: 3 paused",
            "rollout",
            Mark::Broken,
        ),
        (
            "a new template that fails",
            |it| {
                it.put("shop/web", "image: broken, deploy: {replicas: 2}").live(60);
            },
            "shop/web",
            "Service shop/web runs with 1 of 2 copies: the rollout of template @",
            "rollout",
            Mark::Broken,
        ),
        (
            "a new template that failed and was left",
            |it| {
                let spec = "image: broken, deploy: {replicas: 2, update_config: {failure_action: rollback}}";
                it.put("shop/web", spec).live(90);
            },
            "shop/web",
            "Service shop/web runs, but template @",
            "rollout",
            Mark::Aside,
        ),
        (
            "a pause by a person",
            |it| {
                it.say(Pin { pause: true, ..Pin::default() });
                it.put("shop/web", "image: other, deploy: {replicas: 2}").live(30);
            },
            "shop/web",
            "Service shop/web runs, but a person paused its rollout at template @",
            "rollout",
            Mark::Aside,
        ),
        (
            "too many hosts gone at once",
            |it| {
                it.gone(&["h1", "h2"]).live(30);
            },
            "shop/web",
            "; too many hosts went at once, and the brake keeps it from being replaced",
            "placement",
            Mark::Broken,
        ),
        (
            "no copy that is wanted",
            |it| {
                it.put("shop/web", "image: web, deploy: {replicas: 0}").live(60);
            },
            "shop/web",
            "Service shop/web does not run: its document wants no copy: replicas is 0",
            "placement",
            Mark::Broken,
        ),
        (
            "a slot",
            |_| {},
            "shop/web/2",
            "slot 2 of Service shop/web runs, and is in the names",
            "",
            Mark::Holds,
        ),
        (
            "a slot that there shall not be",
            |_| {},
            "shop/web/0",
            "slot 0 of Service shop/web does not run: there shall be no copy in slot 0; its slots are 1, 2",
            "placement",
            Mark::Broken,
        ),
        (
            "a slot without a copy",
            |it| {
                let spec = "image: web, deploy: {replicas: 4, placement: {max_replicas_per_node: 1}}";
                it.put("shop/web", spec).live(30);
            },
            "shop/web/4",
            "slot 4 of Service shop/web does not run: no host can take its copy: none of 3 hosts fits: 3 with as many",
            "placement",
            Mark::Broken,
        ),
        (
            "a copy that there never was",
            |_| {},
            "shop.web.1.zzz",
            "copy shop.web.1.zzz does not run: there is no such copy any more, or there never was; in its slot is shop.web.1.",
            "placement",
            Mark::Broken,
        ),
        (
            "a name",
            |_| {},
            "web.shop.internal",
            "web.shop.internal leads to 10.88.1.1, 10.88.2.2",
            "",
            Mark::Holds,
        ),
        (
            "a name as containers write it",
            |_| {},
            "name web.shop",
            "web.shop leads to 10.88.1.1, 10.88.2.2",
            "",
            Mark::Holds,
        ),
        (
            "a name of what does not run",
            |it| {
                it.put("shop/api", "image: crash").live(5);
            },
            "api.shop.internal",
            "api.shop.internal leads nowhere: Service shop/api does not run: shop.api.1.",
            "container",
            Mark::Broken,
        ),
        (
            "a name that nobody has",
            |_| {},
            "wbe.shop.internal",
            "wbe.shop.internal is no name of anything: a service's is SERVICE.NAMESPACE.internal",
            "name",
            Mark::Broken,
        ),
        ("a host", |_| {}, "h1", "Host h1 takes copies, and carries one, which is well", "", Mark::Holds),
        (
            "a drained host",
            |it| {
                it.availability(&["h1"], Availability::Drain).live(60);
            },
            "h1",
            "Host h1 is drained: it takes no copies, and no copy is left there",
            "availability",
            Mark::Aside,
        ),
        (
            "a lost host",
            |it| {
                it.gone(&["h1"]).live(30);
            },
            "host h1",
            "Host h1 is gone: it does not renew its lease, and its copies are replaced elsewhere",
            "alive",
            Mark::Broken,
        ),
        (
            "a host with a copy that is sick",
            |it| {
                it.put("shop/api", "image: crash").live(5);
            },
            "h3",
            "Host h3 carries 1 copy, which does not serve: shop.api.1.",
            "copies",
            Mark::Aside,
        ),
    ];
    let mut wrong = Vec::new();
    for (of, arrange, what, answer, link, mark) in cases {
        let mut cluster = Cluster::new();
        arrange(&mut cluster);
        let said = cluster.explain(what);
        let about = telling(&said.links).map_or("", |link| link.name);
        let helps = matches!(mark, Mark::Holds | Mark::Waits) || !said.help.is_empty();
        let one_line = !said.answer.contains('\n');
        if !said.answer.contains(answer) || (about, said.state) != (*link, *mark) || !helps || !one_line {
            wrong.push(format!("{of}: {about} {:?}, {} helps: {}", said.state, said.help.len(), said.answer));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_copy_that_leaves_says_why_and_a_copy_that_stays_says_that_it_runs() {
    let mut cluster = Cluster::new();
    let copy = cluster.copy("1").to_string();
    assert_eq!(cluster.explain(&copy).answer, format!("copy {copy} runs, and is in the names"));
    cluster.put("shop/web", "image: web, deploy: {replicas: 0}").live(1);
    let said = cluster.explain(&copy);
    let leaves = format!("{copy} is taken out of the names, and stopped then: not wanted any more");
    assert_eq!(said.answer, format!("copy {copy} runs, but is not ready: {leaves}"));
    assert_eq!(said.help[0].command, "evenkeel explain shop/web/1");
}

#[test]
fn a_host_that_is_gone_says_nothing_of_how_its_copies_are() {
    let mut cluster = Cluster::new();
    let copies = |cluster: &Cluster| {
        let links = cluster.explain("h1").links;
        links.into_iter().find(|link| link.name == "copies").unwrap().finding
    };
    assert_eq!(copies(&cluster), Finding::holds("carries one, which is well"));
    cluster.gone(&["h1"]);
    assert_eq!(copies(&cluster), Finding::open("1 copy is to run there, of which nothing is known"));
    // Its record stays until the host is back; that does not make it a copy that is there.
    cluster.live(60);
    assert_eq!(copies(&cluster), Finding::open("no copy is to run there"));
}

#[test]
fn a_copy_that_waits_for_its_host_tells_how_to_give_it_up() {
    let mut cluster = Cluster::new();
    cluster.put("shop/db", "image: db, volumes: ['data:/data']").live(60);
    let copies = &cluster.model.world.services[&id("shop/db")].copies;
    let host = copies.values().next().unwrap().host.to_string();
    cluster.gone(&[&host]).live(60);
    for (made_here, commands) in [
        (true, vec![format!("evenkeel host remove {host} --dead")]),
        (false, vec![format!("evenkeel host remove {host} --dead"), format!("evenkeel delete host {host}")]),
    ] {
        let scene = Scene { made_here, ..cluster.scene() };
        let said = explain(&scene, &Target::Service(id("shop/db")));
        let helps: Vec<&String> = said.help.iter().map(|help| &help.command).collect();
        assert_eq!(helps, commands.iter().collect::<Vec<_>>(), "{}", said.answer);
    }
}

#[test]
fn what_the_leader_does_not_see_is_told_beside_it() {
    let cluster = Cluster::new();
    let with = |change: &dyn Fn(&mut Scene)| {
        let mut scene = cluster.scene();
        change(&mut scene);
        explain(&scene, &Target::Service(id("shop/web")))
    };
    let said = with(&|scene| {
        scene
            .refused_checks
            .insert(id("shop/web-http"), "spec.port: no such port\n  | port: 8O\n".to_owned());
    });
    let answer = "Service shop/web runs, but HealthCheck shop/web-http is refused and may be meant for it: spec.port: no such port";
    assert_eq!(said.answer, answer);
    let said = with(&|scene| scene.idle = Some("no service controller leads: nothing is decided".to_owned()));
    assert_eq!(said.answer, "Service shop/web runs, but no service controller leads: nothing is decided");
    let said = with(&|scene| {
        scene.served.insert("h3".parse().unwrap(), 1);
    });
    assert_eq!(said.answer, "Service shop/web runs, but the name server of h3 does not know it yet");
    assert_eq!(said.state, Mark::Waits);
}

#[test]
fn what_is_not_there_is_refused_with_what_was_probably_meant() {
    let mut cluster = Cluster::new();
    cluster.put("data/web", "image: web").put("data/postgres", "image: db");
    let scene = cluster.scene();
    let find = |what: &str| {
        let words: Vec<String> = what.split(' ').map(str::to_owned).collect();
        Target::find(&scene, &words, None)
    };
    for (what, hint) in [
        ("shop/wbe", "there is no Service shop/wbe; did you mean shop/web?"),
        ("shop/postgres", "there is no Service shop/postgres; did you mean data/postgres?"),
        ("postgers", "there is no service or host postgers; did you mean postgres?"),
        ("host h9", "there is no Host h9; did you mean h1?"),
        ("web", "which web? there are data/web, shop/web"),
        ("shop.api.1.n", "there is no Service shop/api"),
        ("network lan", "`evenkeel describe network lan`"),
        ("a/b/c/d", "name one thing"),
    ] {
        let said = find(what).unwrap_err().message;
        assert!(said.contains(hint), "{what}: {said}");
    }
    for (what, target) in [
        ("postgres", Target::Service(id("data/postgres"))),
        ("service shop/web", Target::Service(id("shop/web"))),
        ("shop/web/3", Target::Slot(id("shop/web"), "3".parse().unwrap())),
        ("host/h2", Target::Host("h2".parse().unwrap())),
        ("1.web.shop.internal.", Target::Name("1.web.shop.internal".to_owned())),
        ("shop.web.1.internal", Target::Name("shop.web.1.internal".to_owned())),
        ("shop.web.1.n3", Target::Copy("shop.web.1.n3".parse().unwrap())),
    ] {
        assert_eq!(find(what).unwrap_or_else(|failure| panic!("{failure}")), target, "{what}");
    }
}
