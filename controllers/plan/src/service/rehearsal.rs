//! What the cluster would do, tried out: the planner on a copy of it, in which every container runs and every check
//! passes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::host::Availability;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, InstanceId, NetworkName, ObjectName, ServiceId};
use evenkeel_api::record::{
    Brake, CheckState, ConditionType, Desired, Health, Instance, InstanceState, Observed, Status, Timestamp,
    Verdict,
};
use evenkeel_api::service::Mode;
use evenkeel_api::text::{Document as Read, DocumentSpec};
use serde::Serialize;

use super::ledger::Ledger;
use super::memory::Memory;
use super::model::{GuardBroken, Model};
use super::world::{At, Check, Document, Network, Parsed, World};

/// One thing that is done to a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Act {
    /// `start` or `stop`.
    pub verb: &'static str,
    /// Which.
    pub copy: InstanceId,
    /// Where.
    pub host: HostName,
    /// Why.
    pub cause: String,
}

/// What services lack in the end, by service.
pub type Lacks = BTreeMap<ServiceId, String>;

/// A copy of the cluster in which everything goes well at once.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    model: Model,
    acts: Vec<Act>,
}

/// More turns than any exchange of copies takes.
const TURNS: usize = 10_000;
/// Longer than anything waits that goes on by itself.
const PATIENCE: Duration = Duration::from_secs(3600);

impl Rehearsal {
    /// Of a cluster, at a revision of its store.
    pub fn new(world: World, revision: i64) -> Self {
        let ledger = Ledger::of(&world);
        Self {
            model: Model { world, memory: Memory::new(), ledger, now: Duration::ZERO, revision },
            acts: Vec::new(),
        }
    }

    /// Puts a document, as admission would find it.
    pub fn put(&mut self, read: &Read) {
        let world = &mut self.model.world;
        self.model.revision += 1;
        let revision = self.model.revision;
        match (&read.object, &read.spec) {
            (ObjectRef::Service(id), DocumentSpec::Service(spec)) => {
                let service = world.services.entry(id.clone()).or_default();
                let parsed = Parsed { metadata: read.metadata.clone(), spec: (**spec).clone() };
                service.document = Some(document(service.document.as_ref(), revision, parsed));
            }
            (ObjectRef::Host(name), DocumentSpec::Host(spec)) => {
                let host = world.hosts.entry(name.clone()).or_default();
                let parsed = Parsed { metadata: read.metadata.clone(), spec: spec.clone() };
                host.document = Some(document(host.document.as_ref(), revision, parsed));
            }
            (ObjectRef::Network(name), DocumentSpec::Network(spec)) => {
                stand(world, name);
                world.networks.insert(name.clone(), Network { spec: spec.clone(), deleting: false });
            }
            (ObjectRef::HealthCheck(id), DocumentSpec::HealthCheck(spec)) => {
                let target = ServiceId { namespace: id.namespace.clone(), name: spec.target.service.clone() };
                let check = Check { spec: spec.clone(), revision };
                world.services.entry(target).or_default().checks.insert(id.name.clone(), check);
            }
            _ => {}
        }
    }

    /// The cluster as it is now.
    pub fn world(&self) -> &World {
        &self.model.world
    }

    /// Hosts go, and a person says that they are dead.
    pub fn lose(&mut self, hosts: &BTreeSet<HostName>) {
        let revision = self.model.revision + 1;
        let world = &mut self.model.world;
        let mut dead = world.brake.take().map(|brake| brake.value.dead).unwrap_or_default();
        for (name, host) in world.hosts.iter_mut().filter(|(name, _)| hosts.contains(*name)) {
            dead.insert(name.clone(), host.alive.take().map_or(0, |alive| alive.incarnation));
        }
        world.brake = Some(At { value: Brake { dead }, mod_revision: revision, create_revision: revision });
        self.model.revision = revision;
    }

    /// A person drains a host.
    pub fn drain(&mut self, host: &HostName) {
        self.model.revision += 1;
        let revision = self.model.revision;
        let found = self.model.world.hosts.get_mut(host).and_then(|host| host.document.as_mut());
        if let Some(document) = found
            && let Ok(parsed) = &mut document.parsed
        {
            parsed.spec.availability = Some(Availability::Drain);
            document.mod_revision = revision;
        }
    }

    /// The copies that are to run on a host.
    pub fn copies_on(&self, host: &HostName) -> BTreeSet<InstanceId> {
        let records = records(&self.model.world).into_iter();
        let there = records.filter(|((on, _), record)| on == host && record.desired == Desired::Run);
        there.map(|((_, id), _)| id).collect()
    }

    /// What each service lacks, as its status says.
    pub fn lacks(&self) -> Lacks {
        let lacks = |status: &Status| {
            let bad = |kind, holds| status.condition(kind).filter(|condition| condition.status == holds);
            let found =
                bad(ConditionType::Degraded, true).or_else(|| bad(ConditionType::Available, false))?;
            Some(found.message.clone())
        };
        let services = self.model.world.services.iter();
        services
            .filter_map(|(id, service)| Some((id.clone(), lacks(&service.status.as_ref()?.value)?)))
            .collect()
    }

    /// The same, but for what was lacking before some hosts were lost, and for what is wanted once a host: not on these.
    pub fn lost(&self, before: &Lacks) -> Lacks {
        let global = |id: &ServiceId| {
            let accepted = self.model.world.services.get(id).and_then(|service| service.accepted.as_ref());
            accepted
                .is_some_and(|accepted| accepted.value.spec.deploy.mode.unwrap_or_default() == Mode::Global)
        };
        let mut lacks = self.lacks();
        lacks.retain(|id, _| !before.contains_key(id) && !global(id));
        lacks
    }

    /// What would be lacking after the loss of each single host, beside what is lacking anyway: hosts whose loss costs
    /// nothing are left out.
    ///
    /// # Errors
    /// A fault of the planner.
    pub fn losses(&self) -> Result<BTreeMap<HostName, Lacks>, GuardBroken> {
        let known = self.lacks();
        let mut losses = BTreeMap::new();
        let hosts = self.model.world.hosts.iter().filter(|(_, host)| host.alive.is_some());
        for (name, _) in hosts {
            let mut without = self.clone();
            without.lose(&BTreeSet::from([name.clone()]));
            without.run()?;
            let lacks = without.lost(&known);
            if !lacks.is_empty() {
                losses.insert(name.clone(), lacks);
            }
        }
        Ok(losses)
    }

    /// Plans and carries out until nothing more happens, or nothing can: what was done to copies.
    ///
    /// # Errors
    /// A fault of the planner.
    pub fn run(&mut self) -> Result<Vec<Act>, GuardBroken> {
        let end = self.model.now + PATIENCE;
        for _ in 0..TURNS {
            let known = wanted(&self.model.world);
            let (plans, wake) = self.model.settle()?;
            self.note(&known);
            let moved = go_well(&mut self.model.world);
            match wake {
                _ if moved || !plans.is_empty() => {
                    self.model.now += if moved { Duration::from_millis(1) } else { wake.unwrap_or_default() };
                }
                // What only a person or a lost host could change is waited for in vain.
                Some(wake) if self.model.now < end => {
                    self.model.now += wake.max(Duration::from_millis(1));
                }
                _ => break,
            }
        }
        Ok(std::mem::take(&mut self.acts))
    }

    /// What was done to copies since `known`.
    fn note(&mut self, known: &BTreeMap<(HostName, InstanceId), Desired>) {
        for ((host, id), instance) in records(&self.model.world) {
            let before = known.get(&(host.clone(), id.clone()));
            let act =
                |verb| Act { verb, copy: id.clone(), host: host.clone(), cause: instance.cause.clone() };
            match (before, instance.desired) {
                (None, Desired::Run) => self.acts.push(act("start")),
                (Some(Desired::Run), Desired::Drain | Desired::Stop | Desired::Lost) => {
                    self.acts.push(act("stop"))
                }
                _ => {}
            }
        }
    }
}

fn document<S>(old: Option<&Document<S>>, revision: i64, parsed: Parsed<S>) -> Document<S> {
    let create_revision = old.map_or(revision, |old| old.create_revision);
    Document { mod_revision: revision, create_revision, parsed: Ok(parsed) }
}

/// A network that does not stand yet is taken to stand everywhere.
fn stand(world: &mut World, name: &NetworkName) {
    if world.networks.contains_key(name) {
        return;
    }
    let part = evenkeel_api::network::Cidr::new(std::net::Ipv4Addr::UNSPECIFIED, 24);
    for host in world.hosts.values_mut() {
        host.ready.insert(name.clone());
        host.subnets.entry(name.clone()).or_insert(part);
    }
}

fn records(world: &World) -> Vec<((HostName, InstanceId), Instance)> {
    let copies = world.services.values().flat_map(|service| &service.copies);
    copies
        .filter_map(|(id, copy)| Some(((copy.host.clone(), id.clone()), copy.record.as_ref()?.value.clone())))
        .collect()
}

fn wanted(world: &World) -> BTreeMap<(HostName, InstanceId), Desired> {
    records(world).into_iter().map(|(key, instance)| (key, instance.desired)).collect()
}

/// Lets every host do at once what it shall, and every check pass. Whether anything changed.
fn go_well(world: &mut World) -> bool {
    let alive: BTreeSet<HostName> =
        world.hosts.iter().filter(|(_, host)| host.alive.is_some()).map(|(name, _)| name.clone()).collect();
    let wall = world.wall;
    let mut moved = false;
    for service in world.services.values_mut() {
        let checks: Vec<_> =
            service.checks.iter().map(|(name, check)| (name.clone(), check.revision)).collect();
        for copy in service.copies.values_mut().filter(|copy| alive.contains(&copy.host)) {
            let wanted = match copy.record.as_ref().map(|record| record.value.desired) {
                None => None,
                Some(Desired::Run | Desired::Drain) => Some(InstanceState::Running),
                Some(Desired::Stop | Desired::Lost) => Some(InstanceState::Stopped { code: Some(0) }),
            };
            if copy.observed.as_ref().map(|observed| &observed.state) != wanted.as_ref() {
                copy.observed = wanted.map(|state| seen(copy.observed.as_ref(), state, wall));
                copy.health = copy.observed.as_ref().map(|_| healthy(&checks, wall));
                moved = true;
            }
        }
        service
            .copies
            .retain(|_, copy| copy.record.is_some() || copy.observed.is_some() || copy.health.is_some());
    }
    moved
}

fn seen(old: Option<&Observed>, state: InstanceState, wall: Timestamp) -> Observed {
    Observed {
        state,
        since: wall,
        addresses: old.map(|old| old.addresses.clone()).unwrap_or_default(),
        ports: Vec::new(),
        restarts: 0,
        started: Some(wall),
        engine_health: None,
        digest: None,
    }
}

fn healthy(checks: &[(ObjectName, i64)], wall: Timestamp) -> Health {
    let state =
        |revision| CheckState { verdict: Verdict::Healthy, since: wall, revision, evidence: String::new() };
    Health {
        started: wall,
        checks: checks.iter().map(|(name, revision)| (name.clone(), state(*revision))).collect(),
    }
}
