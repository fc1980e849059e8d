//! One run: a scenario carried out, looked at all the time, and mended at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::act::Act;
use crate::cluster::Cluster;
use crate::look::{Looker, converged};
use crate::scenario::Scenario;
use crate::timeline::Timeline;

/// Between two looks from outside.
const EVERY: Duration = Duration::from_millis(100);
/// By then the cluster is as people want it. A list is compared with what was watched every 5 to 10 minutes.
const CONVERGES: Duration = Duration::from_secs(15 * 60);
/// Nothing is written that long, once it is.
const SILENT: Duration = Duration::from_secs(60);

/// How a run went.
#[derive(Debug, Clone)]
pub struct Report {
    /// What did not hold first, and when.
    pub violation: Option<(Duration, String)>,
    /// How long it was, in simulated time.
    pub took: Duration,
    /// How long the cluster took to converge.
    pub converged: Option<Duration>,
    /// Acts, by kind.
    pub acts: BTreeMap<String, u64>,
    /// How often each case of docs/faults.md was tried.
    pub cases: BTreeMap<u8, u64>,
    /// Lines of the timeline that were kept.
    pub lines: Vec<String>,
    /// How many lines there were, and a digest of all.
    pub digest: (u64, u64),
}

/// Carries a scenario out. `all`: keep all of the timeline.
pub fn run(scenario: &Scenario, all: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    match runtime {
        Ok(runtime) => runtime.block_on(carry_out(scenario, all)),
        Err(error) => unreachable!("a runtime without I/O needs nothing: {error}"),
    }
}

/// An act that begins or ends.
enum Turn<'a> {
    Begin(&'a Act),
    End(&'a Act),
}

fn turns(scenario: &Scenario) -> Vec<(Duration, Turn<'_>)> {
    let mut turns = Vec::new();
    for step in &scenario.steps {
        turns.push((step.at, Turn::Begin(&step.act)));
        if let Some(lasts) = step.act.lasts() {
            turns.push((step.at + lasts, Turn::End(&step.act)));
        }
    }
    turns.sort_by_key(|(at, _)| *at);
    turns
}

async fn carry_out(scenario: &Scenario, all: bool) -> Report {
    let timeline = Timeline::new(all);
    let began = Instant::now();
    let mut cluster = Cluster::new(scenario.seed, scenario.hosts, timeline.clone());
    let mut looker = Looker::default();
    let (mut acts, mut cases) = (BTreeMap::new(), BTreeMap::new());
    let mut next = began;
    let mut turns = turns(scenario).into_iter().peekable();
    while next.duration_since(began) < scenario.ends && timeline.violation().is_none() {
        while let Some((_, turn)) = turns.next_if(|(at, _)| began + *at <= next) {
            match turn {
                Turn::Begin(act) => {
                    *acts.entry(act.kind()).or_default() += 1;
                    act.cases().into_iter().for_each(|case| *cases.entry(case).or_default() += 1);
                    cluster.begin(act);
                }
                Turn::End(act) => cluster.end(act),
            }
        }
        tick(&mut cluster, &mut looker, &mut next).await;
    }
    let mut report_converged = None;
    if timeline.violation().is_none() {
        cluster.mend();
        report_converged = settle(&mut cluster, &mut looker, &mut next).await;
    }
    Report {
        violation: timeline.violation(),
        took: timeline.now(),
        converged: report_converged,
        acts,
        cases,
        lines: timeline.lines(),
        digest: timeline.digest(),
    }
}

async fn tick(cluster: &mut Cluster, looker: &mut Looker, next: &mut Instant) {
    cluster.people().await;
    *next += EVERY;
    let mut moved = cluster.moved.listen();
    // What runs is looked at whenever it changes, and all else by the clock.
    loop {
        tokio::select! { biased;
            () = sleep_until(*next) => break,
            () = moved.changed() => drop(looker.look_at_engines(cluster)),
        }
    }
    looker.look(cluster);
    for host in &cluster.hosts {
        drop(host.engine.take_calls());
    }
}

/// I2: the cluster becomes as people want it, and then nothing happens any more.
async fn settle(cluster: &mut Cluster, looker: &mut Looker, next: &mut Instant) -> Option<Duration> {
    let timeline = cluster.timeline.clone();
    let mended = timeline.now();
    let mut why = String::new();
    while timeline.violation().is_none() {
        if timeline.now() - mended > CONVERGES {
            for kv in cluster.store.peek("status/").iter().chain(&cluster.store.peek("rollouts/")) {
                timeline.say("kv", &format!("{} {}", kv.key, String::from_utf8_lossy(&kv.value)));
            }
            timeline.violated("I2 converges", &why);
            return None;
        }
        for _ in 0..10 {
            tick(cluster, looker, next).await;
        }
        match converged(cluster) {
            Ok(()) => break,
            Err(other) if other != why => {
                timeline.say("look", &other);
                why = other;
            }
            Err(_) => {}
        }
    }
    let took = timeline.now() - mended;
    timeline.say("look", &format!("all is as people want it after {took:?}"));
    // What is on its way (status, reports, the last drains) may arrive.
    for _ in 0..200 {
        tick(cluster, looker, next).await;
    }
    let before = (cluster.store.revision(), cluster.judge.mutations());
    let quiet = timeline.now();
    while timeline.violation().is_none() && timeline.now() - quiet < SILENT {
        tick(cluster, looker, next).await;
        let now = (cluster.store.revision(), cluster.judge.mutations());
        if now != before {
            let keys = cluster.store.peek_changes(before.0).unwrap_or_default();
            let keys: Vec<&str> = keys.iter().map(evenkeel_runtime::store::Change::key).collect();
            let what = format!("{} engine calls and writes of {keys:?} in the calm", now.1 - before.1);
            timeline.violated("I2 calm", &what);
        }
    }
    if timeline.violation().is_none()
        && let Err(why) = converged(cluster)
    {
        timeline.violated("I2 stays", &why);
    }
    Some(took)
}
