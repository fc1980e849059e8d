//! The one task that holds all instances of this host. Why it woke is forgotten: each step is decided from
//! what is known then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use evenkeel_api::key::Controller;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::InstanceId;
use evenkeel_api::record::InstanceState;
use evenkeel_engine::Turns;
use evenkeel_plan::instance::book::Book;
use evenkeel_plan::instance::container::{Container, ContainerState};
use evenkeel_plan::instance::policy::HostPolicy;
use evenkeel_runtime::disk::StateFile;
use evenkeel_runtime::latest::Listener;
use evenkeel_runtime::writer::{NewEvent, Trust, Writer};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::exec::Running;
use super::execute::{Executor, Message};
use super::files::{self, ResolverFiles};
use super::guards::Warden;
use super::pulls::Pulls;
use super::report::Reports;
use super::slot::Slot;
use super::world::{Saved, SavedInstance, World};
use super::{Error, InstanceDeps, events, exec};

mod observe;
mod step;
#[cfg(test)]
mod tests;

/// Between two lists of all containers, should no event be missed.
const LIST: Duration = Duration::from_secs(30);
/// The second list after a subscription: events begin a moment after it.
const LIST_AGAIN: Duration = Duration::from_secs(1);
/// How long the store may take at boot before the disk decides.
const BOOT: Duration = Duration::from_secs(5);
/// Makings and starts at a time. The engine does no more with more of them: each then takes longer, and all of
/// them stand before the first one's report. Not one: what hangs must not hold up the rest.
const AT_ONCE: usize = 2;

pub(super) struct Driver {
    deps: InstanceDeps,
    world: World,
    executor: Executor,
    reports: Arc<Reports>,
    resolvers: ResolverFiles,
    warden: Warden,
    policy: HostPolicy,
    book: Book,
    slots: BTreeMap<InstanceId, Slot>,
    pulls: Pulls,
    /// Addresses that others hold, by engine network, as far as they got in the way.
    taken: BTreeMap<String, BTreeSet<std::net::Ipv4Addr>>,
    running: Running,
    tell: mpsc::UnboundedSender<Message>,
    heard: mpsc::UnboundedReceiver<Message>,
    /// Instances to decide for.
    due: BTreeSet<InstanceId>,
    /// All containers were listed once.
    listed: bool,
    /// A list is under way.
    listing: bool,
    next_list: Duration,
    /// Events were subscribed to since the newest list.
    list_again: bool,
    /// Someone may decide: the store, or after a while the disk.
    told: bool,
    was_synced: bool,
    /// Changes when a person decides that the store's past is void.
    generations: Listener<u64>,
    /// Ends with the driver: its tasks never outlive it.
    tasks: JoinSet<()>,
}

impl Driver {
    pub(super) async fn start(deps: InstanceDeps) -> Result<Self, Error> {
        let file = StateFile::<Saved>::open(&deps.state_dir, Controller::Instance).map_err(Error::Disk)?;
        let saved = file.load().unwrap_or_default();
        let writer =
            Writer::new(deps.store.clone(), deps.env.clone(), deps.host.clone(), Controller::Instance)
                .remember(file.beside("writer"));
        let warden = Warden::new(file.beside("guards"), deps.env.clone(), &deps.state_dir);
        let world = World::new(deps.store.clone(), &deps.host, &deps.state_dir, saved.clone());
        let reports = Reports::new(&deps.host, saved.clone());
        let (tell, heard) = mpsc::unbounded_channel();
        let running = Running::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(reports.clone().keep_file(file));
        tasks.spawn(reports.clone().keep_store(writer.clone()));
        let (store, host, telling) = (deps.store.clone(), deps.host.clone(), reports.clone());
        let own = writer.clone();
        tasks.spawn(async move {
            evenkeel_runtime::recall::tell(&*store, &host, Controller::Instance, &own, || {
                Some(telling.recall())
            })
            .await;
        });
        tasks.spawn(events::follow(deps.engine.clone(), deps.env.clone(), tell.clone()));
        if let Some(dir) = deps.state_dir.real_path() {
            let path = dir.join("instance").join("exec.sock");
            let listener = exec::listen(&path).map_err(|source| Error::Exec { path, source })?;
            tasks.spawn(exec::serve(listener, deps.engine.clone(), running.clone()));
        }
        if let Some(sessions) = &deps.sessions {
            sessions.begin(&deps.host, &deps.env, &writer).map_err(Error::Sessions)?;
        }
        let (engine, host) = (deps.engine.clone(), deps.host.clone());
        let generations = writer.generations();
        Ok(Self {
            generations,
            executor: Executor { engine, writer, host, turns: Turns::new(AT_ONCE) },
            resolvers: ResolverFiles::new(&deps.state_dir),
            warden,
            policy: files::policy(&deps.policy),
            book: saved.book,
            slots: BTreeMap::new(),
            pulls: Pulls::default(),
            taken: BTreeMap::new(),
            due: BTreeSet::new(),
            listed: false,
            listing: false,
            next_list: Duration::ZERO,
            list_again: false,
            told: false,
            was_synced: false,
            deps,
            world,
            reports,
            running,
            tell,
            heard,
            tasks,
        })
    }

    pub(super) async fn run(mut self) -> Result<(), Error> {
        let mut changed = self.world.mirror().subscribe();
        self.boot().await;
        loop {
            self.turn();
            let sleep = self.next_wake().saturating_sub(self.now());
            let mirror = self.world.mirror().clone();
            tokio::select! {
                biased;
                // Cancel-safe, all of them: nothing is taken before it is handed over.
                Some(message) = self.heard.recv() => self.hear(message),
                keys = changed.next() => self.store_changed(&keys),
                // An empty store changes no key.
                () = mirror.synced(), if !self.was_synced => self.store_changed(&BTreeSet::new()),
                () = mirror.fresh(), if self.is_void() => self.store_changed(&BTreeSet::new()),
                sibling = self.world.siblings.changed() => self.sibling_changed(sibling),
                () = tokio::time::sleep(sleep) => {}
            }
            // What came in one burst is thought about once.
            while let Ok(message) = self.heard.try_recv() {
                self.hear(message);
            }
        }
    }

    /// Until the store has told all, or has had its time: the disk decides then, and the store later.
    async fn boot(&mut self) {
        let mirror = self.world.mirror().clone();
        let _late = tokio::time::timeout(BOOT, mirror.synced()).await;
        self.told = true;
        self.store_changed(&BTreeSet::new());
    }

    fn now(&self) -> Duration {
        self.deps.env.now()
    }

    /// Decides for all that is due, and writes down what came of it.
    fn turn(&mut self) {
        let now = self.now();
        if now >= self.next_list && !self.listing {
            self.list(now);
        }
        for (id, slot) in &mut self.slots {
            if slot.wake.is_some_and(|wake| wake <= now) {
                slot.wake = None;
                self.due.insert(id.clone());
            }
        }
        if self.due.is_empty() || !self.listed || !self.told {
            return;
        }
        let _measured = self.deps.meter.pass();
        // A step may make another one due at once.
        for id in std::mem::take(&mut self.due) {
            self.step(&id);
        }
        self.publish();
    }

    fn next_wake(&self) -> Duration {
        let slots = self.slots.values().filter_map(|slot| slot.wake);
        let list = if self.listing { self.now() + LIST } else { self.next_list };
        let due = (!self.due.is_empty() && self.listed && self.told).then_some(Duration::ZERO);
        slots.chain(due).fold(list, Duration::min)
    }

    fn list(&mut self, now: Duration) {
        self.policy = files::policy(&self.deps.policy);
        self.taken.clear();
        let Some(uid) = self.world.uid() else {
            // Without it, nothing can be told from what is not ours.
            self.next_list = now + LIST_AGAIN;
            return;
        };
        (self.listing, self.next_list) = (true, now + LIST);
        let (engine, tell) = (self.deps.engine.clone(), self.tell.clone());
        self.tasks.spawn(async move {
            let listed = engine.containers(&uid).await;
            // Nobody hears when the driver is gone.
            let _end = tell.send(Message::Listed(now, listed));
        });
    }

    fn store_changed(&mut self, keys: &BTreeSet<String>) {
        let synced = self.world.is_synced();
        self.world.read_facts();
        if synced && !self.was_synced {
            self.was_synced = true;
            self.reports.found(self.in_store());
        }
        if self.is_void() && self.world.mirror().is_fresh() {
            self.generations.skip();
            self.reports.found_anew(self.in_store());
            // What was confirmed was of a record with that revision in another past.
            self.slots.values_mut().for_each(|slot| slot.confirmed = None);
        }
        for id in keys.iter().filter_map(|key| self.world.is_spoilt(key)) {
            self.reports.was_spoilt(&id);
        }
        if keys.is_empty() || keys.iter().any(|key| key.starts_with("subnets/") || key.starts_with("alive/"))
        {
            self.write_resolvers();
        }
        self.all_due();
    }

    /// A person decided that what was known of the store is void, and it was not looked at anew.
    fn is_void(&self) -> bool {
        self.generations.has_changed()
    }

    fn in_store(&self) -> BTreeMap<InstanceId, Option<evenkeel_api::record::Observed>> {
        let ids = self.world.ids().into_iter().chain(self.slots.keys().cloned());
        ids.map(|id| (id.clone(), self.world.in_store(&id))).collect()
    }

    fn sibling_changed(&mut self, sibling: Controller) {
        if sibling == Controller::Network {
            self.world.read_networks();
            self.write_resolvers();
            self.all_due();
        }
    }

    fn all_due(&mut self) {
        let ids = self.world.ids();
        // A new copy is held to what the host says now: who has just given it leave is not to wait for the next list.
        if ids.iter().any(|id| !self.slots.contains_key(id)) {
            self.policy = files::policy(&self.deps.policy);
        }
        for id in ids {
            self.slot(&id);
        }
        self.due.extend(self.slots.keys().cloned());
    }

    fn slot(&mut self, id: &InstanceId) -> &mut Slot {
        let world = &self.world;
        self.slots.entry(id.clone()).or_insert_with(|| {
            let mut slot = Slot::new(world.reported(id));
            // Known before its container is seen: a run that ended as was asked is no failure.
            if let Some(restart) = world.record(id).and_then(|(record, _)| record.restart) {
                slot.memory.runs.excuse(restart.run);
            }
            slot
        })
    }

    fn may_destroy(&self) -> bool {
        self.world.is_synced() && self.executor.writer.trust() == Trust::Trusted
    }

    /// Hands what is known to the reporters, and to the channel of the checks.
    fn publish(&mut self) {
        let mut saved = Saved {
            uid: self.world.uid().unwrap_or_default(),
            own: self.world.own.clone(),
            book: self.book.clone(),
            instances: BTreeMap::new(),
        };
        let mut running = BTreeMap::new();
        let mut used = BTreeSet::new();
        let ids: Vec<InstanceId> = self.slots.keys().cloned().collect();
        for id in ids {
            let record = self.world.record(&id).map(|(record, _)| record);
            let reference = record.as_ref().map(|record| record.template.clone());
            let reference = reference.or_else(|| self.slots.get(&id)?.container.as_ref()?.template());
            let template = reference.as_ref().and_then(|reference| self.world.template(reference, &id));
            let accepted = self.world.accepted(&id.service, &id);
            let pin = reference.as_ref().and_then(|reference| self.world.pin(reference, &id));
            used.extend(reference);
            let Some(slot) = self.slots.get(&id) else { continue };
            if let Some(container) =
                slot.container.as_ref().filter(|one| one.state == ContainerState::Running)
            {
                running.insert(id.clone(), container.id.clone());
            }
            let Some(observed) = slot.observed.clone() else { continue };
            let desired =
                record.as_ref().map_or(evenkeel_api::record::Desired::Stop, |record| record.desired);
            let saved_instance = SavedInstance {
                desired,
                observed,
                ports: template.as_ref().map(|template| template.ports.clone()).unwrap_or_default(),
                record,
                template: template.map(|template| (*template).clone()),
                accepted: accepted.map(|spec| (*spec).clone()),
                pin,
            };
            saved.instances.insert(id, saved_instance);
        }
        self.world.keep_templates(&used);
        self.warden.keep(self.slots.values().filter_map(|slot| slot.container.as_ref()));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
        self.reports.save(saved);
    }

    fn event(&self, id: &InstanceId, warning: bool, reason: &str, message: String) {
        self.executor.writer.event(NewEvent {
            object: ObjectRef::Service(id.service.clone()),
            instance: Some(id.clone()),
            warning,
            reason: reason.to_owned(),
            message,
        });
    }
}

/// The word for a state that is worth an event of its own; those of calm life are not.
fn event_of(state: &InstanceState) -> Option<(&'static str, String)> {
    match state {
        InstanceState::Exited { code, oom: true } => {
            Some(("OutOfMemory", format!("the kernel killed it for memory; exit code {code}")))
        }
        InstanceState::Exited { code, oom: false } => {
            Some(("Exited", format!("it ended with exit code {code}")))
        }
        InstanceState::Failed { why, .. } => Some(("Failed", why.clone())),
        _ => None,
    }
}

fn by_instance(containers: Vec<Container>) -> BTreeMap<InstanceId, Container> {
    let mut found: BTreeMap<InstanceId, Container> = BTreeMap::new();
    for container in containers {
        let Some(id) = container.instance() else {
            tracing::warn!(container = %container.name, "a container has the cluster's label but no instance's");
            continue;
        };
        // Of two that say they are the same, the one that has the name; the other is left alone.
        let named = container.name == id.to_string();
        if named || !found.contains_key(&id) {
            found.insert(id, container);
        }
    }
    found
}
