//! Random lives of a small cluster, with the invariants looked at after every single pass.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::healthcheck::{Effects, HealthCheckSpec, RestartEffect};
use evenkeel_api::host::Availability;
use evenkeel_api::name::{HostName, InstanceId, Slot};
use evenkeel_api::quantity::{Bytes, Span};
use evenkeel_api::record::{CheckState, Desired, Health, Phase, Pin, Timestamp, Verdict};
use evenkeel_api::service::{FailureAction, Mode, Port, Published, ServiceSpec, UpdateOrder};
use proptest::prelude::*;

use super::super::*;
use super::{Lab, host, id, spec};

#[derive(Debug, Clone)]
enum Step {
    Put { service: u8, image: u8, replicas: u32, shape: Shape },
    Delete { service: u8 },
    Gone { host: u8 },
    Back { host: u8 },
    Drain { host: u8 },
    Active { host: u8 },
    BadImage { image: u8 },
    GoodImages,
    NewLeader,
    Say { service: u8, what: u8 },
    Sick { service: u8, copy: u8 },
    Wait { millis: u64 },
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    start_first: bool,
    rollback: bool,
    parallelism: u32,
    port: bool,
    max: Option<u32>,
    memory: u64,
    global: bool,
    check: Option<bool>,
}

const HOSTS: u32 = 4;

fn shapes() -> impl Strategy<Value = Shape> {
    (
        any::<bool>(),
        any::<bool>(),
        1..3u32,
        any::<bool>(),
        proptest::option::of(1..3u32),
        0..3u64,
        prop::bool::weighted(0.1),
        any::<Option<bool>>(),
    )
        .prop_map(|(start_first, rollback, parallelism, port, max, memory, global, check)| Shape {
            start_first,
            rollback,
            parallelism,
            port,
            max,
            memory,
            global,
            check,
        })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8, 0..3u8, 0..6u32, shapes())
            .prop_map(|(service, image, replicas, shape)| Step::Put { service, image, replicas, shape }),
        1 => (0..3u8).prop_map(|service| Step::Delete { service }),
        2 => (1..=HOSTS as u8).prop_map(|host| Step::Gone { host }),
        3 => (1..=HOSTS as u8).prop_map(|host| Step::Back { host }),
        1 => (1..=HOSTS as u8).prop_map(|host| Step::Drain { host }),
        1 => (1..=HOSTS as u8).prop_map(|host| Step::Active { host }),
        1 => (0..3u8).prop_map(|image| Step::BadImage { image }),
        1 => Just(Step::GoodImages),
        1 => Just(Step::NewLeader),
        2 => (0..3u8, 0..5u8).prop_map(|(service, what)| Step::Say { service, what }),
        3 => (0..3u8, 0..6u8).prop_map(|(service, copy)| Step::Sick { service, copy }),
        6 => (1..15_000u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

fn document(image: u8, replicas: u32, shape: Shape) -> ServiceSpec {
    let mut spec = spec(&format!("image:{image}"), replicas);
    spec.deploy.update_config.order = shape.start_first.then_some(UpdateOrder::StartFirst);
    spec.deploy.update_config.parallelism = Some(shape.parallelism);
    spec.deploy.update_config.failure_action = shape.rollback.then_some(FailureAction::Rollback);
    spec.deploy.placement.max_replicas_per_node = shape.max;
    spec.deploy.reservations.memory = (shape.memory > 0).then_some(Bytes(shape.memory << 29));
    spec.deploy.mode = shape.global.then_some(Mode::Global);
    if shape.port {
        let published = Some(Published { port: Some(80), host_ip: None });
        spec.template.ports.push(Port { name: None, target: 80, protocol: Default::default(), published });
    }
    spec
}

/// What must hold of every world and between two worlds with nothing but our own pass between them.
struct Watch {
    seen: BTreeSet<InstanceId>,
    newest: BTreeMap<(String, Slot), u64>,
}

impl Watch {
    fn pass(&mut self, lab: &mut Lab) -> Result<Option<Duration>, TestCaseError> {
        let listed = listed(&lab.model);
        let before = serving(&lab.model, &listed);
        let mut twin = lab.model.clone();
        let plans = lab.model.pass().map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&plans, &twin.pass().unwrap(), "the same world gives the same plan");
        for plan in &plans {
            prop_assert!(plan.whole().writes.len() <= 100);
            for (key, write) in &plan.batch.writes {
                let (evenkeel_api::key::Key::Instance(_, id), Write::Instance(_)) = (key, write) else {
                    continue;
                };
                if plan.batch.guards.get(key) == Some(&0) {
                    prop_assert!(self.seen.insert(id.clone()), "{} is used again", id);
                    let newest = self.newest.entry((id.service.to_string(), id.slot.clone())).or_default();
                    prop_assert!(id.seq > *newest);
                    *newest = id.seq;
                    has_room(&lab.model, key)?;
                }
            }
        }
        self.kept_up(&lab.model, &listed, &before)?;
        room(&lab.model)?;
        let quiet = plans.iter().all(Plan::is_empty);
        let wake = plans.iter().filter_map(|plan| plan.wake_after).min();
        Ok(if quiet { Some(wake.unwrap_or(Duration::from_secs(3600))) } else { None })
    }

    /// Never below replicas less parallelism by our own doing, and never three copies in a slot.
    fn kept_up(
        &self,
        model: &Model,
        listed: &BTreeSet<InstanceId>,
        before: &BTreeMap<String, usize>,
    ) -> Result<(), TestCaseError> {
        let after = serving(model, listed);
        for (id, service) in &model.world.services {
            let Some(accepted) = service.accepted.as_ref().filter(|accepted| !accepted.value.deleting) else {
                continue;
            };
            let mut slots: BTreeMap<&Slot, usize> = BTreeMap::new();
            for copy in service.copies.values().filter_map(|copy| copy.record.as_ref()) {
                if copy.value.desired == Desired::Run {
                    *slots.entry(&copy.value.slot).or_default() += 1;
                }
            }
            prop_assert!(slots.values().all(|copies| *copies <= 2), "{:?}", slots);
            if accepted.value.spec.mode() == Mode::Global {
                continue;
            }
            let name = id.to_string();
            let (before, after) =
                (before.get(&name).copied().unwrap_or(0), after.get(&name).copied().unwrap_or(0));
            let least =
                accepted.value.spec.replicas().saturating_sub(accepted.value.spec.parallelism().unwrap())
                    as usize;
            prop_assert!(
                after >= before.min(least),
                "{}: {} before, {} after, {} wanted",
                name,
                before,
                after,
                least
            );
        }
        Ok(())
    }
}

/// Whether names may lead to a copy. `listed`: they did so far, which a check that is new does not change before it
/// fails.
fn serves(service: &Service, copy: &Copy, listed: bool) -> bool {
    let (Some(record), Some(observed)) = (&copy.record, &copy.observed) else { return false };
    let passes = |name| ready::says(copy, name).map_or(listed, |state| state.verdict == Verdict::Healthy);
    let mut counting = service.checks.iter().filter(|(_, check)| check.spec.affects_dns());
    ready::runs(observed)
        && !restarts::is_pending(&record.value, observed)
        && counting.all(|(name, _)| passes(name))
}

/// Copies that names lead to.
fn listed(model: &Model) -> BTreeSet<InstanceId> {
    let ready = model.world.services.values().flat_map(ready::listed);
    ready.filter(|(_, ready)| *ready).map(|(id, _)| id.clone()).collect()
}

/// Slots that are served, by service. `listed`: the copies that names led to so far.
fn serving(model: &Model, listed: &BTreeSet<InstanceId>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (id, service) in &model.world.services {
        let served: BTreeSet<&Slot> = service
            .copies
            .iter()
            .filter(|(_, copy)| model.world.hosts.get(&copy.host).is_some_and(|host| host.alive.is_some()))
            .filter(|(id, copy)| serves(service, copy, listed.contains(*id)))
            .filter_map(|(_, copy)| copy.record.as_ref())
            .filter(|record| record.value.desired == Desired::Run)
            .map(|record| &record.value.slot)
            .collect();
        counts.insert(id.to_string(), served.len());
    }
    counts
}

/// The host of a copy that was just made has the memory that is reserved there, its own included.
fn has_room(model: &Model, key: &evenkeel_api::key::Key) -> Result<(), TestCaseError> {
    let evenkeel_api::key::Key::Instance(name, id) = key else { return Ok(()) };
    let reserved = |service: &Service| service.accepted.as_ref()?.value.spec.deploy.reservations.memory;
    if model.world.services.get(&id.service).and_then(reserved).is_none() {
        return Ok(());
    }
    let services = model.world.services.values();
    let used: u64 = services
        .map(|service| {
            let there = service.copies.values().filter(|copy| copy.host == *name && copy.record.is_some());
            let failed = |copy: &&Copy| copy.observed.as_ref().is_some_and(|o| !ready::runs(o));
            (there.clone().count() - there.filter(failed).count()) as u64
                * reserved(service).unwrap_or_default().0
        })
        .sum();
    let capacity = model.world.hosts[name].facts.as_ref().unwrap().memory.0;
    prop_assert!(used <= capacity, "{} of {} on {}", used, capacity, name);
    Ok(())
}

/// No port is given twice.
fn room(model: &Model) -> Result<(), TestCaseError> {
    let mut ports: BTreeMap<(&HostName, u16), usize> = BTreeMap::new();
    for service in model.world.services.values() {
        for copy in service.copies.values() {
            let Some(record) = copy.record.as_ref().filter(|record| record.value.desired == Desired::Run)
            else {
                continue;
            };
            let template = service.template(record.value.template.revision);
            for port in template
                .into_iter()
                .flat_map(|template| &template.ports)
                .filter_map(|port| port.published.as_ref())
            {
                *ports.entry((&copy.host, port.port.unwrap())).or_default() += 1;
            }
        }
    }
    prop_assert!(ports.values().all(|holders| *holders <= 1), "{:?}", ports);
    Ok(())
}

/// A check that restarts, and may not count for names.
fn check(dns: bool) -> Check {
    let text =
        r#"{"target": {"service": "s"}, "type": "tcp", "port": 80, "interval": "1s", "timeout": "1s"}"#;
    let mut spec: HealthCheckSpec = serde_json::from_str(text).unwrap();
    let restart = Some(RestartEffect { limit: Some(2), grace: Some(Span::seconds(5)) });
    spec.effects = Some(Effects { dns: Some(dns), restart, ..Effects::default() });
    Check { spec, revision: 7 }
}

fn told(copy: &mut Copy, verdict: Verdict) {
    let Some(started) = copy.observed.as_ref().and_then(|observed| observed.started) else { return };
    let state = CheckState { verdict, since: Timestamp(0), revision: 7, evidence: "seen".into() };
    copy.health = Some(Health { started, checks: [("tcp".parse().unwrap(), state)].into() });
}

/// Runs that nobody looked at yet are found well. Whether there was one.
fn probe(lab: &mut Lab) -> bool {
    let mut news = false;
    let checked = lab.model.world.services.values_mut().filter(|service| !service.checks.is_empty());
    for copy in checked.flat_map(|service| service.copies.values_mut()) {
        let run = copy.observed.as_ref().and_then(|observed| observed.started);
        if run.is_some() && copy.health.as_ref().map(|health| health.started) != run {
            told(copy, Verdict::Healthy);
            news = true;
        }
    }
    news
}

fn run(lab: &mut Lab, watch: &mut Watch, time: Duration) -> Result<(), TestCaseError> {
    let end = lab.model.now + time;
    loop {
        let mut passes = 0;
        let wake = loop {
            passes += 1;
            prop_assert!(passes < 200, "plans do not come to rest");
            match watch.pass(lab)? {
                Some(wake) if !lab.obey() && !probe(lab) => break wake,
                _ => {}
            }
        };
        if lab.model.now >= end {
            return Ok(());
        }
        lab.model.now = (lab.model.now + wake.max(Duration::from_millis(1))).min(end);
    }
}

fn apply(lab: &mut Lab, watch: &mut Watch, step: &Step) -> Result<(), TestCaseError> {
    let name = |service: u8| format!("shop/s{service}");
    match step {
        Step::Put { service, image, replicas, shape } => {
            lab.put(&name(*service), document(*image, *replicas, *shape));
            let checks = &mut lab.model.world.services.get_mut(&id(&name(*service))).unwrap().checks;
            checks.clear();
            checks.extend(shape.check.map(|dns| ("tcp".parse().unwrap(), check(dns))));
        }
        Step::Sick { service, copy } => {
            let Some(service) = lab.model.world.services.get_mut(&id(&name(*service))) else { return Ok(()) };
            let count = service.copies.len().max(1);
            if let Some(copy) = service.copies.values_mut().nth(usize::from(*copy) % count) {
                told(copy, Verdict::Unhealthy);
            }
        }
        Step::Delete { service } => {
            if lab.model.world.services.contains_key(&id(&name(*service))) {
                lab.delete(&name(*service));
            }
        }
        Step::Gone { host } => lab.host_gone(&format!("h{host}")),
        Step::Back { host } => lab.host_back(&format!("h{host}")),
        Step::Drain { host } => {
            lab.put_host(u32::from(*host), |spec| spec.availability = Some(Availability::Drain), &[])
        }
        Step::Active { host } => lab.put_host(u32::from(*host), |_| {}, &[]),
        Step::BadImage { image } => {
            drop(lab.bad.insert(
                format!("image:{image}"),
                evenkeel_api::record::InstanceState::failed("no such image"),
            ))
        }
        Step::GoodImages => lab.bad.clear(),
        Step::NewLeader => {
            lab.model.memory = Memory::new();
            lab.model.ledger = Ledger::new();
            lab.model.ledger = Ledger::of(&lab.model.world);
        }
        Step::Say { service, what } => say(lab, &name(*service), *what),
        Step::Wait { millis } => return run(lab, watch, Duration::from_millis(*millis)),
    }
    run(lab, watch, Duration::ZERO)
}

/// A person says something about a rollout, sensible or not.
fn say(lab: &mut Lab, service: &str, what: u8) {
    lab.model.revision += 1;
    let revision = lab.model.revision;
    let Some(entry) = lab.model.world.services.get_mut(&id(service)) else { return };
    let newest = entry.accepted.as_ref().and_then(|accepted| accepted.value.template);
    let target = entry.rollout.as_ref().and_then(|rollout| rollout.value.target);
    let oldest = entry.revisions.keys().next().copied();
    let value = match what {
        0 => Pin { pause: true, ..Pin::default() },
        1 => Pin { template: oldest, of: newest, ..Pin::default() },
        2 => Pin { retry: newest, ..Pin::default() },
        3 => Pin { resume: target, ..Pin::default() },
        _ => {
            entry.pin = None;
            return;
        }
    };
    entry.pin = Some(At { value, mod_revision: revision, create_revision: revision });
}

/// When all is well again, everything comes to what the documents say, and then nothing is written.
fn recover(lab: &mut Lab, watch: &mut Watch) -> Result<(), TestCaseError> {
    lab.bad.clear();
    for service in lab.model.world.services.values_mut() {
        service.pin = None;
        service.copies.values_mut().for_each(|copy| told(copy, Verdict::Healthy));
    }
    for n in 1..=HOSTS {
        lab.put_host(n, |_| {}, &[]);
        if lab.model.world.hosts[&host(&format!("h{n}"))].alive.is_none() {
            lab.host_back(&format!("h{n}"));
        }
    }
    run(lab, watch, Duration::from_secs(900))?;
    prop_assert!(lab.settle().is_empty());
    for service in lab.model.world.services.values() {
        let Some(accepted) = &service.accepted else { continue };
        let conditions = &service.status.as_ref().unwrap().value.conditions;
        // What is wrong at the moment stands behind what was rejected.
        let waits = |c: &evenkeel_api::record::Condition| {
            ["Pending", "NoRoom", "Blocked"].contains(&c.reason.as_str())
                || (c.reason == "RolledBack" && c.message.contains("`; "))
        };
        let pending = conditions.iter().any(waits);
        let rollout = &service.rollout.as_ref().unwrap().value;
        let live: Vec<_> = service.copies.values().filter_map(|c| c.record.as_ref()).collect();
        prop_assert!(rollout.phase != Phase::Rolling || pending, "{:?}", conditions);
        if pending || rollout.phase != Phase::Done {
            // Held up by room or by a rollout that a person has to look at.
            continue;
        }
        prop_assert!(live.iter().all(|record| record.value.desired == Desired::Run));
        if accepted.value.spec.mode() == Mode::Replicated {
            prop_assert_eq!(live.len(), accepted.value.spec.replicas() as usize);
        }
    }
    Ok(())
}

/// Few by default; `PROPTEST_CASES` for a long look.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_life_keeps_the_invariants_and_comes_to_rest(steps in prop::collection::vec(steps(), 1..25)) {
        let mut lab = Lab::new(HOSTS);
        let mut watch = Watch { seen: BTreeSet::new(), newest: BTreeMap::new() };
        for step in &steps {
            apply(&mut lab, &mut watch, step)?;
        }
        recover(&mut lab, &mut watch)?;
    }
}
