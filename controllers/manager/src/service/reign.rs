//! One time of leading: a serial loop that follows what changed, plans what that concerns, and commits.
//! Serial, because placement is one ledger: two plans made at once would take the same room.

mod news;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::name::{HostName, ServiceId};
use evenkeel_metrics::{Meter, Trouble};
use evenkeel_plan::service::{Ledger, Memory, Plan, plan_brakes, plan_host, plan_service};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::leader::Lead;
use evenkeel_runtime::mirror::{Changed, Mirror};
use evenkeel_runtime::writer::{Outcome, Trust, WriteError, Writer};

use super::cache::{Cache, Touched, with_copies_on};
use super::execute;
use super::tally::{Pending, tally};
use super::versions::Fitness;

/// Changes that come within this time of the first are planned together, unless a person waits.
const GATHER: Duration = Duration::from_millis(4);
/// The cluster is counted at most that often.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Everything is planned anew that often, whatever changed.
const RESYNC: Duration = Duration::from_secs(300);
/// A store that has not answered for so long tells nothing about hosts.
const SILENT: Duration = Duration::from_millis(1500);
/// After a store that did not take a transaction, or is not believed.
const RETRY: Duration = Duration::from_millis(250);
/// After a plan that was overtaken: the news is on its way. Longer each time in a row.
const OVERTAKEN: Duration = Duration::from_millis(5);
/// Overtaken so often in a row, we may have missed something, and read all anew.
const MISSED: u32 = 5;

/// One time of leading.
pub(super) struct Reign {
    env: Arc<Env>,
    writer: Writer,
    mirror: Mirror,
    lead: Lead,
    fitness: Fitness,
    cache: Cache,
    memory: Memory,
    ledger: Ledger,
    /// To be planned.
    services: BTreeSet<ServiceId>,
    hosts: BTreeSet<HostName>,
    /// To be planned then, even if nothing changes.
    wakes: BTreeMap<ServiceId, Duration>,
    brakes_wake: Option<Duration>,
    host_wakes: BTreeMap<HostName, Duration>,
    /// Those that wait for room.
    want_room: BTreeSet<ServiceId>,
    /// Those that wait for others.
    waiting: BTreeMap<ServiceId, BTreeSet<ServiceId>>,
    /// When a status was last written.
    told: BTreeMap<Key, Duration>,
    resync: Duration,
    quiet: bool,
    /// Plans in a row that were overtaken.
    overtaken: u32,
    meter: Meter,
    /// Copies that no host takes.
    pending: Pending,
    /// When the cluster may be counted next.
    count_at: Duration,
}

/// Whether a pass got to its end.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    Done,
    Retry(Duration),
}

impl Reign {
    pub fn new(env: Arc<Env>, writer: Writer, mirror: Mirror, lead: Lead, fitness: Fitness) -> Self {
        let resync = env.now() + RESYNC;
        Self {
            env,
            writer,
            mirror,
            lead,
            fitness,
            cache: Cache::default(),
            memory: Memory::new(),
            ledger: Ledger::new(),
            services: BTreeSet::new(),
            hosts: BTreeSet::new(),
            wakes: BTreeMap::new(),
            brakes_wake: None,
            host_wakes: BTreeMap::new(),
            want_room: BTreeSet::new(),
            waiting: BTreeMap::new(),
            told: BTreeMap::new(),
            resync,
            quiet: false,
            overtaken: 0,
            meter: Meter::default(),
            pending: Pending::new(),
            count_at: Duration::ZERO,
        }
    }

    /// What it does, and how the cluster is, is counted with that.
    pub fn measured(self, meter: Meter) -> Self {
        Self { meter, ..self }
    }

    /// Lead until dropped, or until a person declares void what was known: then all of it is begun anew.
    pub async fn run(mut self) {
        let mut changed = self.mirror.subscribe();
        let mut generations = self.writer.generations();
        self.mirror.fresh().await;
        // What a predecessor wrote just before it fell must be seen before anything is decided.
        self.mirror.caught_up(self.lead.mod_revision).await;
        self.read_all();
        loop {
            let pause = match self.pass().await {
                Pass::Done => self.until_wake(),
                Pass::Retry(pause) => pause,
            };
            let pause = pause.min(self.count());
            tokio::select! { biased;
                () = generations.changed() => return,
                keys = changed.next() => self.gather(keys, &mut changed).await,
                () = self.fitness.changed() => self.all(),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn read_all(&mut self) {
        self.cache = Cache::load(&self.mirror);
        self.ledger = Ledger::of(&self.cache.world);
        self.all();
    }

    fn all(&mut self) {
        self.services.extend(self.cache.world.services.keys().cloned());
        self.hosts.extend(self.cache.world.hosts.keys().cloned());
    }

    /// Take over what changed, with what follows at once.
    async fn gather(&mut self, keys: BTreeSet<String>, changed: &mut Changed) {
        let mut touched = Touched::default();
        self.take_over(&keys, &mut touched);
        if !touched.urgent {
            let until = tokio::time::Instant::now() + GATHER;
            while let Ok(more) = tokio::time::timeout_at(until, changed.next()).await {
                self.take_over(&more, &mut touched);
            }
        }
        self.mark(touched);
    }

    fn take_over(&mut self, keys: &BTreeSet<String>, touched: &mut Touched) {
        for text in keys {
            let Ok(key) = text.parse::<Key>() else { continue };
            let kv = self.mirror.get(&key);
            self.cache.apply(&key, kv.as_ref(), touched);
            if let Key::Document(object) = &key {
                self.cache.deleted(object, self.mirror.deleted_at(&key));
            }
        }
    }

    fn mark(&mut self, touched: Touched) {
        if touched.all {
            self.all();
        }
        if touched.room {
            self.services.extend(self.want_room.iter().cloned());
        }
        if !touched.hosts.is_empty() {
            self.services.extend(with_copies_on(&self.cache.world, &touched.hosts));
        }
        for (waiter, others) in &self.waiting {
            if !others.is_disjoint(&touched.services) {
                self.services.insert(waiter.clone());
            }
        }
        self.services.extend(touched.services);
        self.hosts.extend(touched.hosts);
    }

    /// Validate, observe, plan, execute, report: for all that is to be planned.
    async fn pass(&mut self) -> Pass {
        if let Some(pause) = self.must_not_act() {
            return Pass::Retry(pause);
        }
        let _measured = self.meter.pass();
        self.observe();
        let plan = plan_brakes(&self.cache.world, &self.memory, self.env.now());
        self.brakes_wake = plan.wake_after.map(|after| self.env.now() + after);
        if let Err(pause) = self.carry_out(plan).await {
            return Pass::Retry(pause);
        }
        // Hosts first: a document of a host that is not admitted takes no copies.
        if let Pass::Retry(pause) = self.all_hosts().await {
            return Pass::Retry(pause);
        }
        while let Some(id) = self.services.pop_first() {
            if let Err(pause) = self.one_service(&id).await {
                self.services.insert(id);
                return Pass::Retry(pause);
            }
        }
        // A host that leaves the cluster is forgotten when its last copy is.
        let leaving = self.cache.world.hosts.iter().filter(|(_, host)| host.is_removed());
        self.hosts.extend(leaving.map(|(name, _)| name.clone()).collect::<Vec<_>>());
        self.all_hosts().await
    }

    /// Plan the hosts that are to be planned.
    async fn all_hosts(&mut self) -> Pass {
        while let Some(name) = self.hosts.pop_first() {
            let plan = plan_host(&self.cache.world, &name, &self.memory, self.env.now());
            match plan.wake_after {
                Some(after) => drop(self.host_wakes.insert(name.clone(), self.env.now() + after)),
                None => drop(self.host_wakes.remove(&name)),
            }
            let status = plan.status.as_ref().and_then(|status| self.too_soon(&status.key, &plan));
            if let Some(at) = status {
                self.host_wakes.insert(name.clone(), at);
            }
            if let Err(pause) = self.carry_out(plan).await {
                self.hosts.insert(name);
                return Pass::Retry(pause);
            }
        }
        Pass::Done
    }

    /// Why nothing may be written now, as a pause.
    fn must_not_act(&mut self) -> Option<Duration> {
        if let Trust::Untrusted { why } = self.writer.trust() {
            if !std::mem::replace(&mut self.quiet, true) {
                self.meter.failed(Trouble::Untrusted);
                tracing::error!(why, "the store is not trusted: nothing is planned");
            }
            return Some(RETRY);
        }
        if self.mirror.silence() > SILENT {
            self.cache.world.wall = self.env.wall();
            self.memory.observe(&self.cache.world, self.env.now(), false);
            return Some(RETRY);
        }
        self.quiet = false;
        None
    }

    /// Take note of the time, and of what follows from it.
    fn observe(&mut self) {
        let now = self.env.now();
        self.cache.world.wall = self.env.wall();
        let no_exclusive = self.fitness.no_exclusive();
        if self.cache.world.no_exclusive != no_exclusive {
            // News that came while a pass was under way wake nobody any more.
            self.cache.world.no_exclusive = no_exclusive;
            self.all();
        }
        let before = self.memory.held();
        self.memory.observe(&self.cache.world, now, true);
        if self.memory.held() != before {
            // Copies that were held may be given up now, or the other way round.
            self.all();
        }
        if now >= self.resync {
            self.resync = now + RESYNC;
            self.all();
        }
        let due = |wakes: &BTreeMap<ServiceId, Duration>| -> Vec<ServiceId> {
            wakes.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect()
        };
        for id in due(&self.wakes) {
            self.wakes.remove(&id);
            self.services.insert(id);
        }
        let hosts = self.host_wakes.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone());
        self.hosts.extend(hosts.collect::<Vec<_>>());
        for id in &self.services {
            self.ledger.refresh(&self.cache.world, id);
        }
    }

    /// Plan one service until nothing more is to be done at once.
    async fn one_service(&mut self, id: &ServiceId) -> Result<(), Duration> {
        loop {
            let now = self.env.now();
            self.memory.observe_service(&self.cache.world, id, now);
            let plan = plan_service(&self.cache.world, id, &self.memory, &mut self.ledger, now);
            self.note(id, &plan, now);
            let more = plan.more;
            self.carry_out(plan).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Remember what the plan waits for.
    fn note(&mut self, id: &ServiceId, plan: &Plan, now: Duration) {
        match plan.pending.is_empty() {
            true => drop(self.pending.remove(id)),
            false => drop(self.pending.insert(id.clone(), plan.pending.clone())),
        }
        let status = plan.status.as_ref().and_then(|status| self.too_soon(&status.key, plan));
        let wake = plan.wake_after.map(|after| now + after).into_iter().chain(status).min();
        match wake {
            Some(at) => drop(self.wakes.insert(id.clone(), at)),
            None => drop(self.wakes.remove(id)),
        }
        match plan.wants_room {
            true => self.want_room.insert(id.clone()),
            false => self.want_room.remove(id),
        };
        match plan.waits_for.is_empty() {
            true => drop(self.waiting.remove(id)),
            false => drop(self.waiting.insert(id.clone(), plan.waits_for.clone())),
        }
    }

    /// Commit a plan. An error is a pause after which to try again.
    async fn carry_out(&mut self, mut plan: Plan) -> Result<(), Duration> {
        let late = plan.status.as_ref().is_some_and(|status| self.too_soon(&status.key, &plan).is_some());
        if late {
            plan.status = None;
        }
        if plan.is_empty() {
            return Ok(());
        }
        let batch = plan.whole();
        let txn = match execute::transaction(&batch, &self.lead) {
            Ok(txn) => txn,
            Err(error) => {
                tracing::error!(%error, "a plan cannot be written down");
                return Ok(());
            }
        };
        match self.writer.commit(txn).await {
            Ok(Outcome::Done { revision }) => {
                self.overtaken = 0;
                // Known before the watch brings it: the next plan need not wait.
                if let Err(error) = self.cache.world.commit(&batch, revision) {
                    tracing::debug!(%error, "the watch was faster than the commit");
                }
                if let Some(status) = &plan.status {
                    self.told.insert(status.key.clone(), self.env.now());
                }
                plan.events.into_iter().for_each(|happening| self.writer.event(execute::event(happening)));
                Ok(())
            }
            Ok(Outcome::Lost) => Err(self.was_overtaken()),
            Err(WriteError::Txn(error)) => {
                self.meter.failed(Trouble::Record);
                tracing::error!(%error, "a plan makes no transaction");
                Err(RETRY)
            }
            Err(error) => {
                self.meter.failed(&error);
                tracing::warn!(error = &error as &dyn std::error::Error, "not written");
                Err(RETRY)
            }
        }
    }

    fn was_overtaken(&mut self) -> Duration {
        self.overtaken += 1;
        if self.overtaken.is_multiple_of(MISSED) {
            self.read_all();
        }
        OVERTAKEN * 2u32.pow(self.overtaken.min(8) - 1)
    }

    /// Count the cluster, if that is due; else how long it is not.
    fn count(&mut self) -> Duration {
        let now = self.env.now();
        if now < self.count_at {
            return self.count_at - now;
        }
        self.meter.cluster(Some(tally(&self.cache.world, &self.pending)));
        self.count_at = now + COUNT_EVERY;
        Duration::MAX
    }

    /// How long nothing is to be done if nothing changes.
    fn until_wake(&self) -> Duration {
        let now = self.env.now();
        let all = self.wakes.values().chain(self.host_wakes.values()).copied();
        let next = all.chain(self.brakes_wake).chain([self.resync]).min().unwrap_or(self.resync);
        next.saturating_sub(now).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests;
