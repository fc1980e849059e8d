//! `evenkeel plan`: what would happen if documents were applied, and on which hosts. The leader's own
//! planner is run on a copy of the cluster, with every container running and every check passing at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::change;
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, InstanceId, Namespace, NetworkName, ServiceId};
use evenkeel_api::record::{
    CheckState, ConditionType, Desired, Health, Instance, InstanceState, Observed, Timestamp, Verdict,
};
use evenkeel_api::text::{Document as Read, DocumentSpec};
use evenkeel_manager::service;
use evenkeel_plan::service::{Check, Document, Ledger, Memory, Model, Network, Parsed, World};
use evenkeel_runtime::env::{SystemClock, WallClock};
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use serde::Serialize;

use crate::documents;
use crate::failure::Failure;
use crate::output::{Format, say, structured};
use crate::steps::{Effect, Step, steps};

/// What to plan.
#[derive(Debug, Args)]
pub struct Plan {
    /// Files or folders with documents (- is standard input)
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// The namespace of documents that name none
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
}

impl Plan {
    /// Prints it.
    ///
    /// # Errors
    /// A document is bad, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format) -> Result<(), Failure> {
        let documents = documents::read(&self.files, self.namespace.as_ref())?;
        print(store, &steps(store, documents).await?, format).await
    }
}

/// What would become of one object.
#[derive(Debug, Serialize)]
struct Outcome {
    object: ObjectRef,
    effect: &'static str,
    /// What of it changes, as a person would say it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<String>,
    /// What would be done to its copies, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    copies: Vec<Act>,
    /// Why it would not come to rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// One thing that is done to a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Act {
    /// `start` or `stop`.
    verb: &'static str,
    copy: InstanceId,
    host: HostName,
    cause: String,
}

/// Prints what applying `steps` would do.
///
/// # Errors
/// The store does not answer.
pub async fn print(store: &Arc<dyn Store>, steps: &[Step], format: Format) -> Result<(), Failure> {
    let mirror = Mirror::start(store.clone(), service::prefixes());
    tokio::time::timeout(Duration::from_secs(10), mirror.synced())
        .await
        .map_err(|_| Failure::timed_out("etcd did not answer in time"))?;
    let before = service::world(&mirror);
    let revision = store.get(&Key::Cluster).await?.1.revision;
    let mut rehearsal = Rehearsal::new(before.clone(), revision);
    for step in steps.iter().filter(|step| step.effect != Effect::Unchanged) {
        rehearsal.put(&step.found.document);
    }
    let acts = rehearsal.run()?;
    let outcomes: Vec<Outcome> =
        steps.iter().map(|step| outcome(step, &before, &rehearsal.model.world, &acts)).collect();
    let others: BTreeSet<&ServiceId> = acts
        .iter()
        .map(|act| &act.copy.service)
        .filter(|id| !outcomes.iter().any(|o| o.object == ObjectRef::Service((*id).clone())))
        .collect();
    if format != Format::Table {
        return structured(format, &outcomes);
    }
    for outcome in &outcomes {
        say(outcome);
    }
    for id in others {
        say!("Service {id} is also touched:");
        acts.iter().filter(|act| act.copy.service == *id).for_each(say_act);
    }
    Ok(())
}

fn say(outcome: &Outcome) {
    say!("{} {}", outcome.object, outcome.effect);
    for change in &outcome.changes {
        say!("    {change}");
    }
    outcome.copies.iter().for_each(say_act);
    if let Some(trouble) = &outcome.trouble {
        say!("  ! {trouble}");
    }
}

fn say_act(act: &Act) {
    let sign = if act.verb == "start" { '+' } else { '-' };
    say!("  {sign} {} {} on {}: {}", act.verb, act.copy, act.host, act.cause);
}

fn outcome(step: &Step, before: &World, after: &World, acts: &[Act]) -> Outcome {
    let object = step.found.document.object.clone();
    let effect = match step.effect {
        Effect::Created => "would be created",
        Effect::Changed => "would be changed",
        Effect::Unchanged => "is unchanged",
    };
    let mut outcome =
        Outcome { object: object.clone(), effect, changes: Vec::new(), copies: Vec::new(), trouble: None };
    let ObjectRef::Service(id) = &object else { return outcome };
    let old = before.services.get(id).and_then(|service| service.accepted.as_ref());
    if let (Some(old), DocumentSpec::Service(new)) = (old, &step.found.document.spec) {
        let change = change::change(&old.value.spec, new);
        if !change.fields().is_empty() {
            outcome.changes.push(change.to_string());
        }
    }
    outcome.copies = acts.iter().filter(|act| act.copy.service == *id).cloned().collect();
    let status = after.services.get(id).and_then(|service| service.status.as_ref());
    outcome.trouble = status
        .and_then(|status| {
            let bad =
                |kind, holds| status.value.condition(kind).filter(|condition| condition.status == holds);
            bad(ConditionType::Degraded, true).or_else(|| bad(ConditionType::Available, false))
        })
        .map(|condition| condition.message.clone());
    outcome
}

/// A copy of the cluster in which everything goes well at once.
struct Rehearsal {
    model: Model,
    acts: Vec<Act>,
}

/// More turns than any exchange of copies takes.
const TURNS: usize = 10_000;

impl Rehearsal {
    fn new(mut world: World, revision: i64) -> Self {
        world.wall = SystemClock.now();
        let ledger = Ledger::of(&world);
        Self {
            model: Model { world, memory: Memory::new(), ledger, now: Duration::ZERO, revision },
            acts: Vec::new(),
        }
    }

    /// Puts a document, as admission would find it.
    fn put(&mut self, read: &Read) {
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

    /// Plans and carries out until nothing more happens, or nothing can.
    fn run(&mut self) -> Result<Vec<Act>, Failure> {
        for _ in 0..TURNS {
            let known = wanted(&self.model.world);
            let (plans, wake) = self.model.settle().map_err(Failure::new)?;
            self.note(&known);
            let moved = go_well(&mut self.model.world);
            match wake {
                _ if moved || !plans.is_empty() => {
                    self.model.now += if moved { Duration::from_millis(1) } else { wake.unwrap_or_default() };
                }
                // What only a person or a lost host could change is waited for in vain.
                Some(wake) if self.model.now < Duration::from_secs(3600) => {
                    self.model.now += wake.max(Duration::from_millis(1));
                }
                _ => break,
            }
        }
        Ok(self.acts.clone())
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

fn healthy(checks: &[(evenkeel_api::name::ObjectName, i64)], wall: Timestamp) -> Health {
    let state =
        |revision| CheckState { verdict: Verdict::Healthy, since: wall, revision, evidence: String::new() };
    Health {
        started: wall,
        checks: checks.iter().map(|(name, revision)| (name.clone(), state(*revision))).collect(),
    }
}
