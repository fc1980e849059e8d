use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::host::{Availability, HostSpec, Reserved};
use evenkeel_api::meta::{Metadata, ObjectRef};
use evenkeel_api::name::{HostName, InstanceId, ServiceId};
use evenkeel_api::network::{Cidr, Ipam, NetworkSpec, Pool};
use evenkeel_api::quantity::{Bytes, MilliCpus};
use evenkeel_api::record::{
    Address, Alive, Confirmed, Desired, Facts, InstanceState, Observed, Phase, Pin, Timestamp,
};
use evenkeel_api::service::{Mount, MountSource, Port, Published, ServiceSpec, UpdateOrder};

use super::*;

mod accounts;
mod anew;
mod batches;
mod brake;
mod cases;
mod deletions;
mod drafts;
mod exclusive;
mod fences;
mod going_back;
mod losses;
mod measuring;
mod pairs;
mod placing;
mod properties;
mod readiness;
mod rehearsing;
mod replacing;
mod restarting;
mod rollbacks;
mod rollouts;
mod slots;
mod surveys;
mod telling;
mod words;

/// A cluster in memory with hosts that do as they are told.
pub(super) struct Lab {
    pub model: Model,
    /// Images that no copy can run, and what becomes of one.
    pub bad: BTreeMap<String, InstanceState>,
    started: i64,
}

pub(super) fn id(text: &str) -> ServiceId {
    text.parse().unwrap()
}

pub(super) fn host(text: &str) -> HostName {
    text.parse().unwrap()
}

pub(super) fn spec(image: &str, replicas: u32) -> ServiceSpec {
    let mut spec = ServiceSpec::default();
    spec.template.image = image.to_owned();
    spec.deploy.replicas = Some(replicas);
    spec
}

/// What is different about a document.
pub(super) type Change = fn(&mut ServiceSpec);

pub(super) fn volume(name: &str) -> Mount {
    let source = MountSource::Volume { name: name.parse().unwrap(), nocopy: false };
    Mount { target: format!("/{name}"), source, read_only: false }
}

/// A port that is reachable on all addresses of its host.
pub(super) fn published(port: u16) -> Port {
    let published = Some(Published { port: Some(port), host_ip: None });
    Port { name: None, target: 80, protocol: Default::default(), published }
}

impl Lab {
    pub fn new(hosts: u32) -> Self {
        let mut lab = Self { model: Model::default(), bad: BTreeMap::new(), started: 0 };
        lab.model.revision = 100;
        let spec = NetworkSpec {
            ipam: Ipam {
                config: vec![Pool { subnet: Cidr::new([10, 88, 0, 0].into(), 16) }],
                host_prefix_length: None,
            },
            routing: None,
            dns: None,
            access: None,
        };
        lab.model.world.networks.insert("default".parse().unwrap(), Network { spec, deleting: false });
        for n in 1..=hosts {
            lab.add_host(n);
        }
        lab.settle();
        lab
    }

    pub fn add_host(&mut self, n: u32) {
        let octet = u8::try_from(n).unwrap();
        let entry = self.model.world.hosts.entry(host(&format!("h{n}"))).or_default();
        entry.facts = Some(Facts {
            cpus: MilliCpus(4000),
            memory: Bytes(4 << 30),
            os: "linux".into(),
            arch: "amd64".into(),
            addresses: vec![Address { address: [10, 0, 0, octet].into(), prefix: 24 }],
            watchdog: true,
            ..Facts::default()
        });
        entry.alive = Some(Alive { boot_id: "a".into(), incarnation: 1 });
        let network: evenkeel_api::name::NetworkName = "default".parse().unwrap();
        entry.subnets.insert(network.clone(), Cidr::new([10, 88, octet, 0].into(), 24));
        entry.ready.insert(network);
        self.put_host(n, |_| {}, &[]);
    }

    pub fn put_host(&mut self, n: u32, change: impl FnOnce(&mut HostSpec), labels: &[(&str, &str)]) {
        self.model.revision += 1;
        let mut spec = HostSpec {
            address: [10, 0, 0, u8::try_from(n).unwrap()].into(),
            availability: None,
            reserved: Some(Reserved::default()),
        };
        change(&mut spec);
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let metadata = Metadata { labels, ..Metadata::default() };
        let revision = self.model.revision;
        let entry = self.model.world.hosts.entry(host(&format!("h{n}"))).or_default();
        let create_revision = entry.document.as_ref().map_or(revision, |document| document.create_revision);
        entry.document =
            Some(Document { mod_revision: revision, create_revision, parsed: Ok(Parsed { metadata, spec }) });
    }

    pub fn put(&mut self, service: &str, spec: ServiceSpec) -> i64 {
        self.put_parsed(service, Ok(Parsed { metadata: Metadata::default(), spec }))
    }

    pub fn put_parsed(&mut self, service: &str, parsed: Result<Parsed<ServiceSpec>, String>) -> i64 {
        self.model.revision += 1;
        let revision = self.model.revision;
        let entry = self.model.world.services.entry(id(service)).or_default();
        let create_revision = entry.document.as_ref().map_or(revision, |document| document.create_revision);
        entry.document = Some(Document { mod_revision: revision, create_revision, parsed });
        revision
    }

    pub fn delete(&mut self, service: &str) {
        self.delete_together(&[service]);
    }

    /// In one transaction.
    pub fn delete_together(&mut self, services: &[&str]) {
        self.model.revision += 1;
        for service in services {
            let entry = self.model.world.services.get_mut(&id(service)).unwrap();
            (entry.document, entry.deleted) = (None, Some(self.model.revision));
        }
    }

    /// A person says that deletions are meant: those of this very transaction, and those that are named.
    pub fn confirm_now(&mut self, objects: BTreeSet<ObjectRef>) {
        let revision = self.model.revision;
        let value = Confirmed { objects, ..Confirmed::default() };
        self.model.world.confirmed = Some(At { value, mod_revision: revision, create_revision: revision });
    }

    pub fn confirm(&mut self, objects: BTreeSet<ObjectRef>) {
        self.model.revision += 1;
        self.confirm_now(objects);
    }

    pub fn host_gone(&mut self, name: &str) {
        self.model.world.hosts.get_mut(name).unwrap().alive = None;
    }

    pub fn host_back(&mut self, name: &str) {
        self.model.world.hosts.get_mut(name).unwrap().alive =
            Some(Alive { boot_id: "a".into(), incarnation: 2 });
    }

    pub fn settle(&mut self) -> Vec<Plan> {
        self.model.settle().unwrap().0
    }

    /// Hosts that are there do what they are told.
    pub fn obey(&mut self) -> bool {
        let mut changed = false;
        let world = &mut self.model.world;
        for service in world.services.values_mut() {
            let images: BTreeMap<i64, String> =
                service.revisions.iter().map(|(k, r)| (*k, r.value.template.image.clone())).collect();
            for copy in service.copies.values_mut() {
                if world.hosts.get(&copy.host).is_none_or(|host| host.alive.is_none()) {
                    continue;
                }
                let Some(record) = &copy.record else { continue };
                let bad = images.get(&record.value.template.revision).and_then(|image| self.bad.get(image));
                let state = match (record.value.desired, bad) {
                    (Desired::Run, Some(bad)) => bad.clone(),
                    (Desired::Run | Desired::Drain, _) => InstanceState::Running,
                    (Desired::Stop | Desired::Lost, _) => InstanceState::Stopped { code: Some(0) },
                };
                let ends =
                    copy.observed.as_ref().is_some_and(|seen| restarts::is_pending(&record.value, seen));
                if ends || copy.observed.as_ref().is_none_or(|observed| observed.state != state) {
                    self.started += 1;
                    copy.observed = Some(observed(state, self.started));
                    changed = true;
                }
            }
        }
        changed
    }

    /// Let time pass, with plans made and hosts at work all the while.
    pub fn run(&mut self, time: Duration) {
        let end = self.model.now + time;
        loop {
            let mut wake = self.model.settle().unwrap().1;
            while self.obey() {
                wake = self.model.settle().unwrap().1;
            }
            if self.model.now >= end {
                return;
            }
            let step = wake.unwrap_or(Duration::from_secs(3600)).max(Duration::from_millis(1));
            self.model.now = (self.model.now + step).min(end);
        }
    }

    pub fn seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    /// Copies that serve, by the endpoints.
    pub fn ready(&self, service: &str) -> usize {
        let endpoints = &self.service(service).endpoints[&0].value.endpoints;
        endpoints.iter().filter(|endpoint| endpoint.ready).count()
    }

    pub fn service(&self, service: &str) -> &Service {
        &self.model.world.services[&id(service)]
    }

    /// `slot@host=template` of the copies that shall run.
    pub fn running(&self, service: &str) -> Vec<String> {
        let copies =
            self.service(service).copies.values().filter_map(|copy| Some((copy, copy.record.as_ref()?)));
        let copies = copies.filter(|(_, record)| record.value.desired == Desired::Run);
        let mut all: Vec<String> =
            copies.map(|(copy, record)| format!("{}@{}", record.value.slot, copy.host)).collect();
        all.sort();
        all
    }

    pub fn templates(&self, service: &str) -> Vec<i64> {
        let copies = self.service(service).copies.values().filter_map(|copy| copy.record.as_ref());
        copies.filter(|r| r.value.desired == Desired::Run).map(|r| r.value.template.revision).collect()
    }

    pub fn phase(&self, service: &str) -> Phase {
        self.service(service).rollout.as_ref().unwrap().value.phase.clone()
    }

    pub fn condition(&self, service: &str, kind: evenkeel_api::record::ConditionType) -> String {
        let status = &self.service(service).status.as_ref().unwrap().value;
        let condition = status.condition(kind).unwrap();
        format!("{} {} {}", condition.status, condition.reason, condition.message)
    }
}

pub(super) fn observed(state: InstanceState, started: i64) -> Observed {
    Observed {
        state,
        since: Timestamp(started),
        addresses: BTreeMap::new(),
        ports: Vec::new(),
        restarts: 0,
        started: Some(Timestamp(started)),
        engine_health: None,
        digest: None,
    }
}

#[test]
fn one_batch_takes_a_document_to_thirty_copies() {
    let mut lab = Lab::new(10);
    let revision = lab.put("shop/web", spec("web:1", 30));
    let plans = lab.settle();
    assert_eq!((plans.len(), lab.model.revision), (1, revision + 1));
    let batch = plans[0].whole();
    let creates = batch.writes.values().filter(|write| matches!(write, Write::Instance(_))).count();
    assert_eq!((creates, batch.writes.len()), (30, 35));
    assert_eq!(batch.guards[&"services/shop/web".parse().unwrap()], revision);
    let per_host = lab.running("shop/web").into_iter().filter(|copy| copy.ends_with("@h1")).count();
    assert_eq!(per_host, 3);
    lab.seconds(1);
    assert_eq!(lab.condition("shop/web", evenkeel_api::record::ConditionType::Available), "true AllReady ");
    assert!(lab.settle().is_empty());
}

#[test]
fn a_thousand_copies_come_in_several_batches() {
    let mut lab = Lab::new(20);
    lab.put("shop/web", spec("web:1", 1000));
    let plans = lab.settle();
    assert!((11..=14).contains(&plans.len()), "{}", plans.len());
    assert!(plans.iter().all(|plan| plan.whole().writes.len() <= 100));
    lab.seconds(5);
    let listed: usize =
        lab.service("shop/web").endpoints.values().map(|shard| shard.value.endpoints.len()).sum();
    assert_eq!((lab.running("shop/web").len(), listed), (1000, 1000));
    assert!(lab.service("shop/web").endpoints.values().all(|shard| shard.value.endpoints.len() <= 100));
}

#[test]
fn scaling_down_and_deleting_are_gentle() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    lab.put("shop/web", spec("web:1", 2));
    lab.settle();
    let drained: Vec<_> = lab
        .service("shop/web")
        .copies
        .values()
        .filter(|copy| copy.record.as_ref().unwrap().value.desired == Desired::Drain)
        .collect();
    assert_eq!(drained.len(), 1);
    assert_eq!(lab.service("shop/web").endpoints[&0].value.endpoints.len(), 2);
    lab.seconds(5);
    assert_eq!(lab.service("shop/web").copies.len(), 3, "the stop delay is the ttl and a second");
    lab.seconds(2);
    assert_eq!(lab.service("shop/web").copies.len(), 2);
    lab.delete("shop/web");
    lab.seconds(10);
    assert!(!lab.model.world.services.contains_key(&id("shop/web")));
}

#[test]
fn a_namesake_never_gets_the_same_ids() {
    let mut lab = Lab::new(3);
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        lab.put("shop/web", spec("web:1", 20));
        lab.seconds(1);
        for copy in lab.service("shop/web").copies.keys() {
            assert!(seen.insert(copy.clone()), "{copy}");
        }
        lab.delete("shop/web");
        lab.seconds(10);
    }
}

#[test]
fn stop_first_exchanges_one_after_the_other() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    let target = lab.put("shop/web", spec("web:2", 3));
    for _ in 0..60 {
        lab.seconds(1);
        let serving =
            lab.service("shop/web").endpoints[&0].value.endpoints.iter().filter(|e| e.ready).count();
        assert!(serving >= 2);
    }
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![target; 3], Phase::Done));
}

#[test]
fn start_first_falls_back_only_where_its_own_port_or_place_is_in_the_way() {
    let own: [Change; 2] = [
        |spec| spec.template.ports.push(published(80)),
        |spec| spec.deploy.placement.max_replicas_per_node = Some(1),
    ];
    for own in own {
        let mut wanted = spec("web:1", 2);
        wanted.deploy.update_config.order = Some(UpdateOrder::StartFirst);
        own(&mut wanted);
        let mut lab = Lab::new(2);
        lab.put("shop/web", wanted.clone());
        lab.seconds(1);
        wanted.template.image = "web:2".into();
        let target = lab.put("shop/web", wanted);
        lab.seconds(60);
        assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![target; 2], Phase::Done));
    }
}

#[test]
fn a_new_network_may_come_to_stand_before_copies_go_where_it_stands_first() {
    let mut lab = Lab::new(3);
    let lan: evenkeel_api::name::NetworkName = "lan".parse().unwrap();
    let network = lab.model.world.networks.values().next().unwrap().clone();
    lab.model.world.networks.insert(lan.clone(), network);
    let on_lan = |lab: &mut Lab, name: &str| {
        let entry = lab.model.world.hosts.get_mut(&host(name)).unwrap();
        entry.subnets.insert(lan.clone(), Cidr::new([10, 89, 0, 0].into(), 24));
        entry.ready.insert(lan.clone());
    };
    let mut wanted = spec("web:1", 6);
    wanted.template.networks.insert(lan.clone(), evenkeel_api::service::Attachment::default());
    on_lan(&mut lab, "h3");
    lab.put("shop/web", wanted);
    lab.seconds(1);
    assert_eq!(lab.service("shop/web").copies.len(), 0);
    on_lan(&mut lab, "h1");
    on_lan(&mut lab, "h2");
    lab.seconds(1);
    let mut hosts: Vec<_> =
        lab.service("shop/web").copies.values().map(|copy| copy.host.to_string()).collect();
    hosts.sort();
    assert_eq!(hosts, ["h1", "h1", "h2", "h2", "h3", "h3"]);
}

#[test]
fn a_network_that_does_not_come_to_stand_on_a_host_is_not_waited_for_long() {
    let mut lab = Lab::new(2);
    let network: evenkeel_api::name::NetworkName = "default".parse().unwrap();
    lab.model.memory.networks.insert(network.clone(), Some(lab.model.now));
    lab.model.world.hosts.get_mut(&host("h2")).unwrap().ready.clear();
    lab.put("shop/web", spec("web:1", 2));
    lab.seconds(3);
    assert_eq!(lab.service("shop/web").copies.len(), 0);
    lab.seconds(3);
    assert_eq!(lab.service("shop/web").copies.len(), 2);
}

#[test]
fn a_bad_image_pauses_and_a_person_resumes() {
    let mut lab = Lab::new(3);
    lab.bad.insert("web:2".into(), InstanceState::failed("image web:2 not found"));
    lab.put("shop/web", spec("web:1", 4));
    lab.seconds(1);
    let target = lab.put("shop/web", spec("web:2", 4));
    lab.seconds(30);
    let Phase::Paused { why } = lab.phase("shop/web") else { panic!() };
    assert!(why.contains("failed: image web:2 not found"), "{why}");
    assert_eq!(lab.service("shop/web").endpoints[&0].value.endpoints.len(), 3);
    lab.bad.clear();
    let value = Pin { resume: Some(target), ..Pin::default() };
    let pin = At { value, mod_revision: 9999, create_revision: 9999 };
    lab.model.world.services.get_mut(&id("shop/web")).unwrap().pin = Some(pin);
    lab.seconds(90);
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![target; 4], Phase::Done));
}

#[test]
fn equal_content_after_a_paused_rollout_touches_only_what_was_exchanged() {
    let mut lab = Lab::new(3);
    lab.bad.insert("web:2".into(), InstanceState::failed("image web:2 not found"));
    let first = lab.put("shop/web", spec("web:1", 4));
    lab.seconds(1);
    lab.put("shop/web", spec("web:2", 4));
    lab.seconds(30);
    let third = lab.put("shop/web", spec("web:1", 4));
    lab.seconds(30);
    let mut templates = lab.templates("shop/web");
    templates.sort();
    assert_eq!((templates, lab.phase("shop/web")), (vec![first, first, first, third], Phase::Done));
}

#[test]
fn a_lost_host_is_replaced_and_two_of_three_are_not() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    lab.host_gone("h2");
    // Four seconds from its last heartbeat, which was a lease's two before it was missed.
    lab.seconds(1);
    assert!(lab.running("shop/web").iter().any(|copy| copy.ends_with("@h2")), "not before its time");
    assert_eq!(lab.running("shop/web").len(), 3);
    lab.seconds(2);
    let running = lab.running("shop/web");
    assert_eq!(running.len(), 3);
    assert!(running.iter().all(|copy| !copy.ends_with("@h2")), "{running:?}");
    lab.host_back("h2");
    lab.seconds(20);
    assert_eq!(lab.service("shop/web").copies.len(), 3);

    lab.host_gone("h1");
    lab.host_gone("h3");
    lab.seconds(60);
    assert_eq!(lab.model.world.brakes.as_ref().unwrap().value.held.len(), 2);
    assert!(
        lab.running("shop/web").len() == 3
            && lab.running("shop/web").iter().all(|copy| !copy.ends_with("@h2"))
    );
    lab.host_back("h1");
    lab.seconds(8);
    assert!(lab.model.world.brakes.is_some());
    lab.seconds(5);
    assert!(lab.model.world.brakes.is_none());
    assert!(
        lab.running("shop/web").iter().all(|copy| !copy.ends_with("@h3")),
        "{:?}",
        lab.running("shop/web")
    );
}

#[test]
fn a_person_may_declare_braked_hosts_dead() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    lab.host_gone("h1");
    lab.host_gone("h3");
    lab.seconds(10);
    let dead = lab.model.world.brakes.as_ref().unwrap().value.held.clone();
    let brake = evenkeel_api::record::Brake { dead };
    lab.model.world.brake = Some(At { value: brake, mod_revision: 5000, create_revision: 5000 });
    lab.seconds(5);
    assert!(
        lab.running("shop/web").iter().all(|copy| copy.ends_with("@h2")),
        "{:?}",
        lab.running("shop/web")
    );
}

#[test]
fn a_drained_host_is_emptied_without_a_gap() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    lab.put_host(1, |spec| spec.availability = Some(Availability::Drain), &[]);
    for _ in 0..12 {
        lab.seconds(1);
        let ready = lab.service("shop/web").endpoints[&0].value.endpoints.iter().filter(|e| e.ready).count();
        assert!(ready >= 3);
    }
    assert!(lab.service("shop/web").copies.values().all(|copy| copy.host != host("h1")));
}

#[test]
fn garbage_changes_only_the_status() {
    let mut lab = Lab::new(2);
    let good = lab.put("shop/web", spec("web:1", 2));
    lab.seconds(1);
    lab.put_parsed(
        "shop/web",
        Err("line 3, column 1: unknown key `replica`, did you mean `replicas`?".into()),
    );
    let plans = lab.settle();
    assert!(plans.iter().all(|plan| plan.batch.is_empty()));
    let valid = lab.condition("shop/web", evenkeel_api::record::ConditionType::Valid);
    assert!(
        valid.starts_with("false Invalid line 3") && valid.ends_with(&format!("running revision {good}")),
        "{valid}"
    );
}

#[test]
fn many_documents_gone_at_once_are_held() {
    let mut lab = Lab::new(3);
    for name in ["a/a", "a/b", "a/c", "a/d"] {
        lab.put(name, spec("web:1", 1));
    }
    lab.seconds(20);
    for name in ["a/a", "a/b", "a/c"] {
        lab.delete(name);
    }
    lab.seconds(60);
    assert_eq!(lab.model.world.brakes.as_ref().unwrap().value.deletions.len(), 3);
    assert_eq!(lab.running("a/a").len(), 1);
    lab.put("a/a", spec("web:1", 1));
    lab.seconds(1);
    assert_eq!(lab.model.world.brakes.as_ref().unwrap().value.deletions.len(), 2);
    let held = lab.model.world.brakes.as_ref().unwrap().value.deletions.clone();
    lab.confirm(held);
    lab.seconds(20);
    assert!(lab.model.world.brakes.is_none());
    assert_eq!(lab.model.world.services.len(), 2);
}

fn four(lab: &mut Lab) {
    for name in ["a/a", "a/b", "a/c", "a/d"] {
        lab.put(name, spec("web:1", 1));
    }
    lab.seconds(20);
}

fn held(lab: &Lab) -> Vec<String> {
    let brakes = lab.model.world.brakes.as_ref();
    brakes.into_iter().flat_map(|brakes| &brakes.value.deletions).map(ObjectRef::path).collect()
}

#[test]
fn one_after_the_other_is_no_slip() {
    let mut lab = Lab::new(3);
    four(&mut lab);
    for name in ["a/a", "a/b", "a/c"] {
        lab.delete(name);
        lab.seconds(2);
        assert_eq!(held(&lab), Vec::<String>::new());
    }
    lab.seconds(20);
    assert_eq!(lab.model.world.services.len(), 1);
}

#[test]
fn a_confirmation_is_of_one_deletion_and_of_no_other() {
    let mut lab = Lab::new(3);
    four(&mut lab);
    // Meant, in its own transaction: and then, within the same second, a slip.
    lab.delete("a/a");
    lab.confirm_now(BTreeSet::new());
    lab.settle();
    lab.delete_together(&["a/b", "a/c", "a/d"]);
    lab.seconds(2);
    assert_eq!(held(&lab), ["a/b", "a/c", "a/d"]);
    // Another confirmation, of what is not among them.
    lab.confirm([ObjectRef::Service(id("a/a"))].into());
    lab.seconds(2);
    assert_eq!(held(&lab), ["a/b", "a/c", "a/d"]);
    lab.confirm([ObjectRef::Service(id("a/b"))].into());
    lab.seconds(20);
    assert_eq!(held(&lab), ["a/c", "a/d"]);
    assert_eq!(lab.model.world.services.len(), 2);
    // One that was put again is not meant by an old word.
    lab.put("a/c", spec("web:1", 1));
    lab.put("a/d", spec("web:1", 1));
    lab.confirm(["a/c", "a/d"].map(|name| ObjectRef::Service(id(name))).into());
    for name in ["a/e", "a/f"] {
        lab.put(name, spec("web:1", 1));
    }
    lab.seconds(20);
    lab.delete_together(&["a/c", "a/d", "a/e"]);
    lab.seconds(20);
    assert_eq!(held(&lab), ["a/c", "a/d", "a/e"]);
}

#[test]
fn a_new_leader_goes_by_the_names_of_what_was_meant() {
    let mut lab = Lab::new(3);
    four(&mut lab);
    lab.delete_together(&["a/a", "a/b", "a/c"]);
    lab.confirm_now(["a/a", "a/b", "a/c"].map(|name| ObjectRef::Service(id(name))).into());
    for name in ["a/a", "a/b", "a/c"] {
        // It was not there when they went.
        lab.model.world.services.get_mut(&id(name)).unwrap().deleted = None;
    }
    lab.seconds(20);
    assert_eq!(lab.model.world.services.len(), 1);
}

#[test]
fn one_deletion_of_few_is_not_held() {
    let mut lab = Lab::new(3);
    for name in ["a/a", "a/b"] {
        lab.put(name, spec("web:1", 1));
    }
    lab.seconds(1);
    lab.delete("a/a");
    lab.delete("a/b");
    lab.seconds(20);
    assert!(lab.model.world.services.is_empty());
}

#[test]
fn a_slot_with_a_volume_keeps_its_host() {
    let mut wanted = spec("db:1", 1);
    wanted.template.mounts.push(volume("data"));
    let mut lab = Lab::new(3);
    lab.put("shop/db", wanted.clone());
    lab.seconds(1);
    let before = lab.running("shop/db");
    let name = before[0].split_once('@').unwrap().1.to_owned();
    lab.host_gone(&name);
    lab.seconds(30);
    assert_eq!(lab.running("shop/db"), before);
    lab.host_back(&name);
    wanted.template.image = "db:2".into();
    lab.put("shop/db", wanted.clone());
    lab.seconds(30);
    assert_eq!((lab.running("shop/db"), lab.phase("shop/db")), (before.clone(), Phase::Done));
    wanted.deploy.replicas = Some(0);
    lab.put("shop/db", wanted.clone());
    lab.seconds(30);
    wanted.deploy.replicas = Some(1);
    lab.put("shop/db", wanted);
    lab.seconds(1);
    assert_eq!(lab.running("shop/db"), before);
}

#[test]
fn after_a_recovery_no_number_is_used_twice() {
    let mut lab = Lab::new(2);
    lab.put("shop/web", spec("web:1", 2));
    lab.seconds(10);
    let before = lab.running("shop/web");
    // The store is new and counts from the start; the past had counted to 5000.
    lab.model.world.floor = 5000;
    lab.seconds(10);
    assert_eq!(lab.running("shop/web"), before, "nothing restarts");
    for image in ["web:2", "web:3"] {
        lab.put("shop/web", spec(image, 2));
        lab.seconds(60);
    }
    lab.put("shop/new", spec("new:1", 1));
    lab.seconds(10);
    let service = lab.service("shop/web");
    assert_eq!(service.revisions.keys().filter(|number| **number > 5000).count(), 2);
    let new = lab.service("shop/new").copies.keys();
    assert!(service.copies.keys().chain(new).all(|id| id.seq > 5000));
}

#[test]
fn a_host_that_flaps_keeps_its_copies_and_gets_no_new_ones_for_a_while() {
    let mut lab = Lab::new(3);
    let mut patient = spec("web:1", 3);
    patient.deploy.disconnect.lost_after = Some("60s".parse().unwrap());
    lab.put("shop/web", patient);
    lab.seconds(60);
    let before = lab.running("shop/web");
    for _ in 0..3 {
        lab.host_gone("h1");
        // Lost, but back before its copies are given up.
        lab.seconds(3);
        lab.host_back("h1");
        lab.seconds(20);
    }
    assert_eq!(lab.running("shop/web"), before);
    let on_h1 = |lab: &Lab| lab.running("shop/new").iter().filter(|copy| copy.ends_with("@h1")).count();
    lab.put("shop/new", spec("new:1", 6));
    lab.seconds(60);
    assert_eq!(on_h1(&lab), 0);
    assert_eq!(lab.running("shop/new").len(), 6);
    let host = lab.model.world.hosts[&host("h1")].status.as_ref().unwrap().value.clone();
    let degraded = host.condition(evenkeel_api::record::ConditionType::Degraded).unwrap();
    assert_eq!((degraded.status, degraded.reason.as_str()), (true, "Flapping"));
    lab.seconds(600);
    lab.put("shop/new", spec("new:1", 9));
    lab.seconds(60);
    assert!(on_h1(&lab) > 0, "it is trusted again");
}

#[test]
fn where_every_host_flaps_a_copy_is_made_all_the_same() {
    let mut lab = Lab::new(3);
    lab.seconds(60);
    for _ in 0..3 {
        for host in ["h1", "h2", "h3"] {
            lab.host_gone(host);
            lab.seconds(3);
            lab.host_back(host);
            lab.seconds(20);
        }
    }
    assert_eq!(lab.model.memory.flapping(lab.model.now).len(), 3);
    lab.put("shop/new", spec("new:1", 3));
    lab.seconds(60);
    assert_eq!(lab.running("shop/new").len(), 3);
}

#[test]
fn ids_name_their_slot() {
    let mut lab = Lab::new(1);
    let revision = lab.put("shop/web", spec("web:1", 1));
    lab.settle();
    let expected = InstanceId {
        service: id("shop/web"),
        slot: evenkeel_api::name::Slot::numbered(1),
        seq: u64::try_from(revision).unwrap() + 1,
    };
    assert!(lab.service("shop/web").copies.contains_key(&expected));
}
