//! A host's part: what is accepted becomes bridges, routes and rules here.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::meta::ObjectRef;
use evenkeel_engine::Events;
use evenkeel_fabric::Wakes;
use evenkeel_metrics::Trouble;
use evenkeel_plan::network::host::{HostPlan, Inputs, View, plan};
use evenkeel_plan::network::state::{Published, Step};
use evenkeel_runtime::backoff::Backoff;
use evenkeel_runtime::disk::Siblings;
use evenkeel_runtime::mirror::{Changed, Mirror};
use evenkeel_runtime::store::TxnBuilder;
use evenkeel_runtime::writer::{NewEvent, Outcome, Trust, Writer};

use tokio::time::Instant;

use super::execute::{Failures, execute};
use super::keep::{Keep, State};
use super::look::{Found, look, published};
use super::{NetworkDeps, inputs, report};

/// How often everything is looked at, if nothing wakes us: what no notification tells of is found by then.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Wakes come in bursts, one for each device and rule of a container that starts.
const SETTLE: Duration = Duration::from_millis(100);
/// Between two looks that the kernel's notifications cause: a look costs some processes, and the engine that
/// stirs devices and rules needs the processor itself.
const KERNEL_EVERY: Duration = Duration::from_secs(1);
/// After a failure: what failed may itself have stirred devices and rules, and so woken us again.
const REST: Duration = Duration::from_secs(1);
/// At start the store gets this long; then the disk decides.
const STORE_FIRST: Duration = Duration::from_secs(5);
/// A plan that was done leaves nothing to do; what still differs after that many is for the next wake.
const ROUNDS: usize = 3;

/// Run for ever.
pub(super) async fn run(deps: NetworkDeps, writer: Writer, keep: Keep) {
    let mut host = Host::start(deps, writer, keep);
    let _ = tokio::time::timeout(STORE_FIRST, host.mirror.synced()).await;
    let wakes = host.deps.fabric.changes().await.inspect_err(|error| {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "the kernel tells no changes; looking every 30 s"
        );
    });
    let mut wakes = wakes.ok();
    let mut events = None;
    let mut backoff = Backoff::new(Duration::from_secs(1), LOOK_EVERY);
    loop {
        if events.is_none() {
            events = host.deps.engine.events().await.ok();
        }
        let good = host.pass().await;
        let pause = if good {
            backoff.reset();
            LOOK_EVERY
        } else {
            backoff.next(host.deps.env.random())
        };
        host.wait(&mut wakes, &mut events, pause).await;
        tokio::time::sleep(if good { SETTLE } else { REST }).await;
    }
}

struct Host {
    deps: NetworkDeps,
    mirror: Mirror,
    changed: Changed,
    siblings: Siblings,
    writer: Writer,
    keep: Keep,
    state: State,
    /// The engine's own rules were gone at the last look.
    lost: bool,
    /// The ports that instances published at the last look.
    published: BTreeSet<Published>,
}

impl Host {
    /// From what was kept, until the store has answered.
    fn start(deps: NetworkDeps, writer: Writer, keep: Keep) -> Self {
        let mirror = Mirror::start(deps.store.clone(), inputs::prefixes(&deps.host));
        Self {
            changed: mirror.subscribe(),
            mirror,
            siblings: Siblings::new(&deps.state_dir),
            state: keep.load(),
            deps,
            writer,
            keep,
            lost: false,
            published: BTreeSet::new(),
        }
    }

    /// Validate, observe, plan, execute, report. Whether nothing failed.
    async fn pass(&mut self) -> bool {
        let may_remove = self.validate();
        if self.state.inputs.cluster.is_empty() {
            return true;
        }
        let _measured = self.deps.meter.pass();
        let mut failures = Failures::default();
        for round in 1..=ROUNDS {
            let found = match look(&self.deps, &self.siblings).await {
                Ok(found) => found,
                Err(error) => {
                    self.deps.meter.failed(Trouble::Machine);
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the host's network cannot be read"
                    );
                    return false;
                }
            };
            let plan = self.plan(&found, may_remove);
            self.published = found.published;
            let done = plan.steps.is_empty() || !failures.is_empty() || round == ROUNDS;
            if done {
                if !failures.is_empty() {
                    self.deps.meter.failed(Trouble::Machine);
                }
                return self.report(&plan, &failures).await && failures.is_empty();
            }
            failures = execute(&self.deps, &self.confirmed(&plan.steps).await).await;
        }
        false
    }

    /// What the store says counts only while it is read in full and believed; else what it said last does.
    /// Gives whether something may be removed on its word.
    fn validate(&mut self) -> bool {
        let trusted = self.writer.trust() == Trust::Trusted && self.mirror.is_synced();
        let Some(inputs) = trusted.then(|| inputs::read(&self.mirror, &self.state.inputs)).flatten() else {
            return false;
        };
        let known = &self.state.inputs.cluster;
        if !known.is_empty() && *known != inputs.cluster {
            let why = format!(
                "this host's networks belong to cluster {known}, and the store is of {}",
                inputs.cluster
            );
            self.deps.store.witness().distrust(why);
            return false;
        }
        self.state.inputs = inputs;
        true
    }

    fn plan(&self, found: &Found, may_remove: bool) -> HostPlan {
        let inputs: &Inputs = &self.state.inputs;
        plan(
            inputs,
            &View {
                host: &self.deps.host,
                etcd: &self.deps.etcd,
                published: &found.published,
                fabric: &found.fabric,
                engine: found.engine.as_deref(),
                may_remove,
            },
        )
    }

    /// The steps that may be done: what is removed goes only on the word of a guarded transaction just before,
    /// in a store that has not gone back.
    async fn confirmed(&self, steps: &[Step]) -> Vec<Step> {
        let removes = |step: &&Step| step.action.removes();
        if !steps.iter().any(|step| removes(&step)) {
            return steps.to_vec();
        }
        match self.writer.commit(TxnBuilder::new().get(&Key::Cluster)).await {
            Ok(Outcome::Done { .. }) => return steps.to_vec(),
            Ok(Outcome::Lost) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "nothing is removed now");
            }
        }
        steps.iter().filter(|step| !removes(step)).cloned().collect()
    }

    /// To siblings and the next boot by disk, to all by the store. Whether the store took it, or is away.
    async fn report(&mut self, plan: &HostPlan, failures: &Failures) -> bool {
        self.state.local = plan.local.clone();
        self.keep.save(&self.state);
        self.keep.save_boot(&plan.boot);
        self.tell_of_firewall(plan);
        // An untrusted store is told of nothing; that it is not trusted is told by the writer.
        if !self.mirror.is_synced() || self.writer.trust() != Trust::Trusted {
            return true;
        }
        let wanted = report::reports_of(plan, failures);
        let inputs = &self.state.inputs;
        match report::put(&self.writer, &self.mirror, &self.deps.host, inputs, &wanted).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the store did not take the reports"
                );
                false
            }
        }
    }

    fn tell_of_firewall(&mut self, plan: &HostPlan) {
        let newly = plan.engine_firewall_lost && !self.lost;
        self.lost = plan.engine_firewall_lost;
        if newly {
            self.writer.event(NewEvent {
                object: ObjectRef::Host(self.deps.host.clone()),
                instance: None,
                warning: true,
                reason: "EngineFirewallLost".to_owned(),
                message:
                    "Docker's own firewall rules are gone; restart the engine to get published ports back"
                        .to_owned(),
            });
        }
    }

    /// Until something may have changed. Why we wake is of no matter to the pass.
    async fn wait(
        &mut self,
        wakes: &mut Option<Box<dyn Wakes>>,
        events: &mut Option<Box<dyn Events>>,
        pause: Duration,
    ) {
        let next = Instant::now() + KERNEL_EVERY;
        let kernel = async {
            tokio::time::sleep_until(next).await;
            match wakes {
                Some(wakes) => wakes.next().await,
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! { biased;
            _ = self.changed.next() => "store",
            () = instances(&mut self.siblings, &self.published) => "instances",
            () = kernel => "kernel",
            over = engine(events) => {
                if over {
                    *events = None;
                }
                "engine"
            }
            () = tokio::time::sleep(pause) => "time",
        };
        tracing::debug!(why, "woken");
    }
}

/// Until instances publish other ports than `known`: of all that their controller writes, only that is news.
async fn instances(siblings: &mut Siblings, known: &BTreeSet<Published>) {
    while siblings.changed().await != Controller::Instance || published(siblings) == *known {}
}

/// Until the engine tells of networks or of itself; whether its stream is over.
async fn engine(events: &mut Option<Box<dyn Events>>) -> bool {
    let Some(stream) = events else { return std::future::pending().await };
    while let Some(event) = stream.next().await {
        let attached = matches!(event.action.as_str(), "connect" | "disconnect");
        if event.kind == "daemon" || (event.kind == "network" && !attached) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
