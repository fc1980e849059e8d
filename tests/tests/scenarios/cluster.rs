//! A cluster in memory that plans for itself and says what it plans.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_api::healthcheck::{Effects, HealthCheckSpec, ProbeKind, RestartEffect, Target};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{HostName, Scoped, ServiceId, Slot};
use evenkeel_api::network::{Cidr, Ipam, NetworkSpec, Pool};
use evenkeel_api::record::{
    Address, Alive, Brake, CheckState, Confirmed, Desired, Facts, Health, InstanceState, Observed, Pin,
    Rollout, Timestamp, Verdict,
};
use evenkeel_api::text::{self, DocumentSpec, Origin};
use evenkeel_plan::service::{
    At, Check, Copy, Document, Host, Ledger, Memory, Network, Parsed, Plan, World, plan_brakes, plan_host,
    plan_service,
};

use super::words;

/// The first revision of a scenario.
const FIRST: i64 = 100;

/// A cluster in memory.
pub struct Cluster {
    world: World,
    memory: Memory,
    ledger: Ledger,
    now: Duration,
    revision: i64,
    started: i64,
    /// Images that no copy can run, and why.
    pub bad: BTreeMap<String, String>,
    /// What was planned since it was last asked.
    pub said: Vec<String>,
}

type Done = Result<(), String>;

fn name<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{error}"))
}

impl Cluster {
    pub fn new() -> Self {
        let mut world = World::default();
        let subnet = Cidr::new([10, 88, 0, 0].into(), 16);
        let ipam = Ipam { config: vec![Pool { subnet }], host_prefix_length: None };
        let spec = NetworkSpec { ipam, routing: None, dns: None, access: None };
        if let Ok(name) = "default".parse() {
            world.networks.insert(name, Network { spec, deleting: false });
        }
        Self {
            world,
            memory: Memory::new(),
            ledger: Ledger::new(),
            now: Duration::ZERO,
            revision: FIRST,
            started: 0,
            bad: BTreeMap::new(),
            said: Vec::new(),
        }
    }

    fn next(&mut self) -> i64 {
        self.revision += 1;
        self.revision
    }

    pub fn host(&mut self, text: &str, words: &[&str]) -> Done {
        let host: HostName = name(text)?;
        let number = u8::try_from(self.world.hosts.len() + 1).map_err(|error| error.to_string())?;
        let mut facts = Facts {
            cpus: name("4")?,
            memory: name("8G")?,
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            addresses: vec![Address { address: [10, 0, 0, number].into(), prefix: 24 }],
            ..Facts::default()
        };
        let mut labels = Vec::new();
        for word in words {
            let (key, value) = word.split_once('=').ok_or("words of a host are key=value")?;
            match key {
                "cpus" => facts.cpus = name(value)?,
                "memory" => facts.memory = name(value)?,
                "arch" => facts.arch = value.to_owned(),
                _ => labels.push(format!("{key}: {value}")),
            }
        }
        let network: evenkeel_api::name::NetworkName = name("default")?;
        let mut entry = Host { facts: Some(facts), ..Host::default() };
        entry.alive = Some(Alive { boot_id: "boot".to_owned(), incarnation: 1 });
        entry.subnets.insert(network.clone(), Cidr::new([10, 88, number, 0].into(), 24));
        entry.ready.insert(network);
        self.world.hosts.insert(host.clone(), entry);
        let labels = labels.join(", ");
        self.host_document(
            &host,
            &format!("metadata: {{labels: {{{labels}}}}}\nspec: {{address: 10.0.0.{number}}}\n"),
        )
    }

    fn host_document(&mut self, host: &HostName, rest: &str) -> Done {
        let object = ObjectRef::Host(host.clone());
        let text = format!("apiVersion: evenkeel/v1\nkind: Host\n{rest}");
        let document = text::parse_document(&text, &Origin::Key(object)).map_err(|error| error.one_line())?;
        let DocumentSpec::Host(spec) = document.spec else { return Err("no Host".to_owned()) };
        let revision = self.next();
        let entry = self.world.hosts.entry(host.clone()).or_default();
        entry.document =
            Some(stored(entry.document.as_ref(), revision, Ok(Parsed { metadata: document.metadata, spec })));
        Ok(())
    }

    pub fn change_host(&mut self, text: &str, change: &str) -> Done {
        let host: HostName = name(text)?;
        let revision = self.next();
        let entry = self.world.hosts.get_mut(&host).ok_or("no such host")?;
        match change {
            "gone" => entry.alive = None,
            "back" => {
                let incarnation = u64::try_from(revision).unwrap_or(0);
                entry.alive = Some(Alive { boot_id: "boot".to_owned(), incarnation });
            }
            "removed" => entry.document = None,
            _ => {
                let document = entry.document.as_mut().ok_or("the host has no document")?;
                document.mod_revision = revision;
                let parsed = document.parsed.as_mut().map_err(|error| error.clone())?;
                let availability =
                    serde_json::from_value(change.into()).map_err(|error| error.to_string())?;
                parsed.spec.availability = Some(availability);
            }
        }
        Ok(())
    }

    pub fn put(&mut self, service: &str, spec: &str) -> Done {
        let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!("apiVersion: evenkeel/v1\nkind: Service\nspec:\n{indented}");
        let object = ObjectRef::Service(name(service)?);
        text::parse_document(&text, &Origin::Key(object)).map_err(|error| error.one_line())?;
        self.text(service, &text)
    }

    pub fn text(&mut self, service: &str, text: &str) -> Done {
        let id: ServiceId = name(service)?;
        let parsed = match text::parse_document(text, &Origin::Key(ObjectRef::Service(id.clone()))) {
            Ok(document) => match document.spec {
                DocumentSpec::Service(spec) => Ok(Parsed { metadata: document.metadata, spec: *spec }),
                _ => Err(format!("the document is no {}", Kind::Service)),
            },
            Err(error) => Err(error.one_line()),
        };
        let revision = self.next();
        let entry = self.world.services.entry(id).or_default();
        entry.document = Some(stored(entry.document.as_ref(), revision, parsed));
        Ok(())
    }

    pub fn delete(&mut self, services: &[&str]) -> Done {
        let revision = self.next();
        for service in services {
            let id: ServiceId = name(service)?;
            let entry = self.world.services.get_mut(&id).ok_or("no such service")?;
            (entry.document, entry.deleted) = (None, Some(revision));
        }
        Ok(())
    }

    pub fn check(&mut self, check: &str, service: &str, restarts: bool) -> Done {
        let (check, service): (Scoped, ServiceId) = (name(check)?, name(service)?);
        let revision = self.next();
        let spec = HealthCheckSpec {
            target: Target { service: service.name.clone() },
            probe: ProbeKind::Http,
            port: None,
            path: None,
            method: None,
            header: BTreeMap::new(),
            command: None,
            interval: None,
            timeout: None,
            retries: None,
            success_before_passing: None,
            start_period: None,
            start_interval: None,
            effects: Some(Effects { restart: restarts.then(RestartEffect::default), ..Effects::default() }),
        };
        self.world.services.entry(service).or_default().checks.insert(check.name, Check { spec, revision });
        Ok(())
    }

    /// The newest copy of a slot that shall run, named without its last part.
    fn find(&mut self, text: &str) -> Result<&mut Copy, String> {
        let mut parts = text.split('.');
        let (Some(namespace), Some(service), Some(slot)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("a copy is namespace.service.slot".to_owned());
        };
        let id: ServiceId = name(&format!("{namespace}/{service}"))?;
        let slot: Slot = name(slot)?;
        let service = self.world.services.get_mut(&id).ok_or("no such service")?;
        let runs =
            |copy: &Copy| copy.record.as_ref().is_some_and(|record| record.value.desired == Desired::Run);
        let of_slot = service.copies.iter_mut().filter(|(id, copy)| id.slot == slot && runs(copy));
        of_slot.max_by_key(|(id, _)| id.seq).map(|(_, copy)| copy).ok_or_else(|| "no such copy".to_owned())
    }

    pub fn copy(&mut self, text: &str, state: &str) -> Done {
        self.started += 1;
        let started = self.started;
        let state = match state.split_once(' ').unwrap_or((state, "")) {
            ("running", _) => InstanceState::Running,
            ("waiting", why) => InstanceState::Waiting { why: why.to_owned() },
            ("fails:", why) => InstanceState::failed(why),
            ("exits", code) => InstanceState::Exited { code: name(code)?, oom: false },
            _ => return Err("no such state".to_owned()),
        };
        self.find(text)?.observed = Some(observed(state, started));
        Ok(())
    }

    pub fn health(&mut self, text: &str, check: &str, state: &str) -> Done {
        let (verdict, evidence) = match state.split_once(' ').unwrap_or((state, "200 OK")) {
            ("healthy", seen) => (Verdict::Healthy, seen.to_owned()),
            ("unhealthy:", seen) => (Verdict::Unhealthy, seen.to_owned()),
            _ => return Err("healthy, or unhealthy: <what was seen>".to_owned()),
        };
        let check = name(check)?;
        let copy = self.find(text)?;
        let started =
            copy.observed.as_ref().and_then(|observed| observed.started).ok_or("it never started")?;
        let state = CheckState { verdict, since: Timestamp(0), revision: 1, evidence };
        copy.health = Some(Health { started, checks: [(check, state)].into() });
        Ok(())
    }

    /// What a person says about a rollout, from what is remembered of it and the newest template.
    pub fn say(&mut self, service: &str, pin: impl FnOnce(&Rollout, Option<i64>) -> Pin) -> Done {
        let id: ServiceId = name(service)?;
        let revision = self.next();
        let entry = self.world.services.get_mut(&id).ok_or("no such service")?;
        let rollout = entry.rollout.as_ref().ok_or("it has no rollout")?;
        let newest = entry.accepted.as_ref().and_then(|accepted| accepted.value.template);
        let value = pin(&rollout.value, newest);
        entry.pin = Some(At { value, mod_revision: revision, create_revision: revision });
        Ok(())
    }

    pub fn unpin(&mut self, service: &str) -> Done {
        self.next();
        self.world.services.get_mut(&name::<ServiceId>(service)?).ok_or("no such service")?.pin = None;
        Ok(())
    }

    pub fn confirm(&mut self) {
        let held = self.world.brakes.as_ref().map(|brakes| brakes.value.deletions.clone());
        let value = Confirmed { objects: held.unwrap_or_default(), ..Confirmed::default() };
        let revision = self.next();
        self.world.confirmed = Some(At { value, mod_revision: revision, create_revision: revision });
    }

    pub fn dead(&mut self, hosts: &[&str]) -> Done {
        let held = self.world.brakes.as_ref().map(|brakes| brakes.value.held.clone()).unwrap_or_default();
        let mut brake = Brake::default();
        for host in hosts {
            let host: HostName = name(host)?;
            brake.dead.insert(host.clone(), held.get(&host).copied().unwrap_or(0));
        }
        let revision = self.next();
        self.world.brake = Some(At { value: brake, mod_revision: revision, create_revision: revision });
        Ok(())
    }

    pub fn new_leader(&mut self) {
        self.memory = Memory::new();
        self.ledger = Ledger::of(&self.world);
    }

    /// Let time pass, and hosts work if they are asked to.
    pub fn run(&mut self, time: Duration, work: bool) -> Done {
        let end = self.now + time;
        loop {
            let mut wake = self.settle()?;
            while work && self.work() {
                wake = self.settle()?;
            }
            if self.now >= end {
                return Ok(());
            }
            let step = wake.unwrap_or(time).max(Duration::from_millis(1));
            self.now = (self.now + step).min(end);
        }
    }

    /// Plan and carry out until nothing is left to do now; when to look again.
    pub fn settle(&mut self) -> Result<Option<Duration>, String> {
        for _ in 0..500 {
            let before = self.revision;
            self.memory.observe(&self.world, self.now, true);
            let mut wake = self.carry_out(plan_brakes(&self.world, &self.memory, self.now))?;
            for host in self.world.hosts.keys().cloned().collect::<Vec<_>>() {
                let plan = plan_host(&self.world, &host, &self.memory, self.now);
                wake = wake.into_iter().chain(self.carry_out(plan)?).min();
            }
            for id in self.world.services.keys().cloned().collect::<Vec<_>>() {
                self.memory.observe_service(&self.world, &id, self.now);
                let plan = plan_service(&self.world, &id, &self.memory, &mut self.ledger, self.now);
                wake = wake.into_iter().chain(self.carry_out(plan)?).min();
            }
            if self.revision == before {
                return Ok(wake);
            }
        }
        Err("plans do not come to rest".to_owned())
    }

    fn carry_out(&mut self, plan: Plan) -> Result<Option<Duration>, String> {
        if !plan.is_empty() {
            let batch = plan.whole();
            let time = evenkeel_api::quantity::Span(Duration::from_millis(self.now.as_millis() as u64));
            let said = words::of(&self.world, &batch).into_iter();
            self.said.extend(said.map(|line| format!("{time}: {line}")));
            let revision = self.next();
            self.world.commit(&batch, revision).map_err(|error| error.to_string())?;
        }
        Ok(plan.wake_after)
    }

    /// Hosts that are there do as they are told. Whether anything changed.
    fn work(&mut self) -> bool {
        let mut changed = false;
        let (world, bad) = (&mut self.world, &self.bad);
        for service in world.services.values_mut() {
            let revisions = &service.revisions;
            let why = |copy: &Copy| -> Option<String> {
                let number = copy.record.as_ref()?.value.template.revision;
                bad.get(&revisions.get(&number)?.value.template.image).cloned()
            };
            for copy in service.copies.values_mut() {
                if world.hosts.get(&copy.host).is_none_or(|host| host.alive.is_none()) {
                    continue;
                }
                let Some(record) = &copy.record else { continue };
                let state = match (record.value.desired, why(copy)) {
                    (Desired::Run, Some(why)) => InstanceState::failed(why),
                    (Desired::Run | Desired::Drain, _) => InstanceState::Running,
                    (Desired::Stop | Desired::Lost, _) => InstanceState::Stopped { code: Some(0) },
                };
                let run = copy.observed.as_ref().and_then(|observed| observed.started);
                let ends = record.value.restart.is_some_and(|restart| Some(restart.run) == run);
                if ends || copy.observed.as_ref().is_none_or(|observed| observed.state != state) {
                    self.started += 1;
                    copy.observed = Some(observed(state, self.started));
                    changed = true;
                }
            }
        }
        changed
    }
}

fn stored<S>(known: Option<&Document<S>>, revision: i64, parsed: Result<Parsed<S>, String>) -> Document<S> {
    let create_revision = known.map_or(revision, |known| known.create_revision);
    Document { mod_revision: revision, create_revision, parsed }
}

fn observed(state: InstanceState, started: i64) -> Observed {
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
