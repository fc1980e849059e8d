//! Asks the copies of this host. Needs no store: what runs is read from the instance controller's state,
//! and the checks, as they were last accepted, are on the own disk.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::healthcheck::HealthCheckSpec;
use evenkeel_api::key::{Controller, Key, prefix};
use evenkeel_api::local::LocalInstances;
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{CheckId, HostName, InstanceId, Scoped};
use evenkeel_api::record::{Accepted, Health, Verdict};
use evenkeel_metrics::Meter;
use evenkeel_plan::health::board::{Board, Check, Job, Transition};
use evenkeel_plan::health::verdict::Answer;
use evenkeel_probe::Probe;
use evenkeel_runtime::disk::{Siblings, StateFile};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::writer::{NewEvent, Writer};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::HealthcheckDeps;

/// Questions under way at once, at most.
const AT_ONCE: usize = 64;
/// How long a host without memory waits for the store before it starts afresh.
const STORE_ANSWERS: Duration = Duration::from_secs(5);
/// Checks that are accepted in a row are taken in together: all of them are read, and kept on disk, each time.
const GATHER: Duration = Duration::from_millis(50);
/// The loop wakes at least so often, whatever happens.
const IDLE: Duration = Duration::from_secs(60);

/// What is known, for those who tell the store; `None`: not yet.
pub(super) type Known = Option<Arc<BTreeMap<InstanceId, Health>>>;

/// `healthcheck/state.json`: siblings read `health`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// The verdicts.
    #[serde(default)]
    pub health: BTreeMap<InstanceId, Health>,
    /// The checks as they were last accepted, to go on with while the store is away.
    #[serde(default)]
    pub checks: BTreeMap<CheckId, Check>,
}

/// A question under way.
type Asking = Pin<Box<dyn Future<Output = (Job, Answer)> + Send>>;

/// The loop that asks.
pub(super) struct Local {
    env: Arc<Env>,
    host: HostName,
    probe: Arc<dyn Probe>,
    meter: Meter,
    siblings: Siblings,
    mirror: Mirror,
    writer: Writer,
    file: StateFile<State>,
    tell: watch::Sender<Known>,
    board: Board,
    /// `None`: not known yet, and then nothing is judged or told.
    copies: Option<LocalInstances>,
    /// Likewise.
    checks: Option<BTreeMap<CheckId, Check>>,
    /// When those that changed are taken in.
    gathered: Option<Duration>,
    asking: FuturesUnordered<Asking>,
    /// The board's version that is told and saved.
    kept: Option<u64>,
}

impl Local {
    /// A loop that goes on from what is on disk.
    pub fn new(
        deps: &HealthcheckDeps,
        file: StateFile<State>,
        mirror: Mirror,
        writer: Writer,
        tell: watch::Sender<Known>,
    ) -> Self {
        Self {
            env: deps.env.clone(),
            host: deps.host.clone(),
            probe: deps.probe.clone(),
            meter: deps.meter.clone(),
            siblings: Siblings::new(&deps.state_dir),
            mirror,
            writer,
            file,
            tell,
            board: Board::default(),
            copies: None,
            checks: None,
            gathered: None,
            asking: FuturesUnordered::new(),
            kept: None,
        }
    }

    /// Ask for ever.
    pub async fn run(mut self) -> Infallible {
        let mut changed = self.mirror.subscribe();
        self.resume().await;
        self.observe_copies();
        self.observe_checks();
        self.update();
        loop {
            if self.gathered.is_some_and(|at| at <= self.env.now()) {
                self.gathered = None;
                self.observe_checks();
                self.update();
            }
            self.ask();
            self.keep().await;
            let idle = self.next();
            tokio::select! {
                biased;
                // All are cancel-safe: what they would have given stays where it is. Answers come first,
                // so that a row of changes elsewhere cannot delay a verdict.
                Some((job, answer)) = self.asking.next(), if !self.asking.is_empty() => self.hear(&job, answer),
                sibling = self.siblings.changed() => {
                    if sibling == Controller::Instance {
                        self.observe_copies();
                        self.update();
                    }
                }
                keys = changed.next() => {
                    if keys.iter().any(|key| key.starts_with(&prefix::accepted(Kind::HealthCheck))) {
                        self.gathered.get_or_insert(self.env.now() + GATHER);
                    }
                }
                () = tokio::time::sleep(idle) => {}
            }
        }
    }

    /// Take up what was known. Where the disk has nothing, the store has what was told: copies must not
    /// lose their verdicts with the disk.
    async fn resume(&mut self) {
        if let Some(state) = self.file.load() {
            self.board = Board::new(state.health);
            self.checks = Some(state.checks);
            return;
        }
        // Late, or never: then all starts afresh.
        let _late = tokio::time::timeout(STORE_ANSWERS, self.mirror.synced()).await;
        let told = self.mirror.list_json::<Health>(&prefix::health_on(&self.host)).into_iter();
        let told = told.filter_map(|(key, health)| match key {
            Key::Health(_, instance) => Some((instance, health.value)),
            _ => None,
        });
        self.board = Board::new(told.collect());
    }

    /// What runs here. A file that cannot be read says nothing.
    fn observe_copies(&mut self) {
        if let Some(copies) = self.siblings.read(Controller::Instance) {
            self.copies = Some(copies);
        }
    }

    /// What is asked. Until the store has answered, what was accepted last goes on.
    fn observe_checks(&mut self) {
        if !self.mirror.is_synced() {
            return;
        }
        let accepted =
            self.mirror.list_json::<Accepted<HealthCheckSpec>>(&prefix::accepted(Kind::HealthCheck));
        let checks = accepted.into_iter().filter_map(|(key, accepted)| match key {
            Key::Accepted(ObjectRef::HealthCheck(id)) if !accepted.value.deleting => {
                let Accepted { source_revision: revision, spec, .. } = accepted.value;
                Some((id, Check { revision, spec }))
            }
            _ => None,
        });
        let checks = Some(checks.collect());
        if self.checks != checks {
            self.checks = checks;
            // On disk with the next save, also if no verdict changes.
            self.kept = None;
        }
    }

    fn update(&mut self) {
        let _measured = self.meter.pass();
        let (Some(copies), Some(checks)) = (&self.copies, &self.checks) else { return };
        let transitions = self.board.update(&copies.instances, checks, self.env.now(), self.env.wall());
        for transition in transitions {
            self.report(&transition);
        }
    }

    /// Ask what is due.
    fn ask(&mut self) {
        while self.asking.len() < AT_ONCE {
            let Some(job) = self.board.take(self.env.now()) else { return };
            let probe = self.probe.clone();
            self.asking.push(Box::pin(async move {
                let answer = probe.ask(&job.question, job.timeout).await;
                (job, answer)
            }));
        }
    }

    /// How long nothing is due.
    fn next(&self) -> Duration {
        let due = self.board.next().filter(|_| self.asking.len() < AT_ONCE);
        let due = due.into_iter().chain(self.gathered).min();
        due.map_or(IDLE, |due| due.saturating_sub(self.env.now()).min(IDLE))
    }

    fn hear(&mut self, job: &Job, answer: Answer) {
        let (now, wall, random) = (self.env.now(), self.env.wall(), self.env.random());
        if let Some(transition) = self.board.hear(job, answer, now, wall, random) {
            self.report(&transition);
        }
    }

    /// Tell people of a copy that fell ill, or recovered.
    fn report(&self, transition: &Transition) {
        let Transition { instance, check, from, to, evidence } = transition;
        tracing::info!(%instance, %check, ?from, ?to, evidence, "a verdict changed");
        let (warning, reason) = match (from, to) {
            (_, Verdict::Unhealthy) => (true, "Unhealthy"),
            (Some(Verdict::Unhealthy), Verdict::Healthy) => (false, "Recovered"),
            // Every copy starts; that is no news.
            _ => return,
        };
        let id = Scoped { namespace: instance.service.namespace.clone(), name: check.clone() };
        self.writer.event(NewEvent {
            object: ObjectRef::HealthCheck(id),
            instance: Some(instance.clone()),
            warning,
            reason: reason.to_owned(),
            message: evidence.clone(),
        });
    }

    /// Give what is known to siblings on this host, and to the store.
    async fn keep(&mut self) {
        let version = self.board.version();
        let (Some(_), Some(checks)) = (&self.copies, &self.checks) else { return };
        if self.kept == Some(version) {
            return;
        }
        let checks = checks.clone();
        self.kept = Some(version);
        let health = self.board.health().clone();
        self.tell.send_replace(Some(Arc::new(health.clone())));
        // The store's answer travels while the disk is busy.
        tokio::task::yield_now().await;
        if let Err(error) = self.file.save(&State { health, checks }) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the verdicts are not on disk");
        }
    }
}
