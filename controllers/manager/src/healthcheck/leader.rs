//! Accepts HealthCheck documents and says how each check is, while this process leads.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::healthcheck::HealthCheckSpec;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::CheckId;
use evenkeel_api::record::{Accepted, Condition, ConditionType, Health, Status};
use evenkeel_api::service::ServiceSpec;
use evenkeel_metrics::Meter;
use evenkeel_plan::health::admission::{Change, Known, Text, World, decide};
use evenkeel_runtime::backoff::Backoff;
use evenkeel_runtime::env::Env;
use evenkeel_runtime::leader::{Lead, Leadership};
use evenkeel_runtime::mirror::{Changed, Mirror, Versioned};
use evenkeel_runtime::store::{Store, TxnBuilder};
use evenkeel_runtime::writer::{NewEvent, Outcome, WriteError, Writer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::HealthcheckDeps;

/// A check's status is written at most so often, unless its document changed.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Verdicts of many hosts are taken in together.
const SETTLE: Duration = Duration::from_millis(100);

/// The loop that accepts.
pub(super) struct Leader {
    store: Arc<dyn Store>,
    env: Arc<Env>,
    writer: Writer,
    leadership: Leadership,
    meter: Meter,
}

impl Leader {
    /// A loop that does not lead yet.
    pub fn new(deps: &HealthcheckDeps, writer: Writer, leadership: Leadership) -> Self {
        Self {
            store: deps.store.clone(),
            env: deps.env.clone(),
            writer,
            leadership,
            meter: deps.meter.clone(),
        }
    }

    /// Lead whenever we may.
    pub async fn run(self) -> Infallible {
        let mut terms = self.leadership.subscribe();
        loop {
            let Some(lead) = self.leadership.current() else {
                terms.changed().await;
                continue;
            };
            let mut term = Term::new(self.store.clone(), self.env.clone(), self.writer.clone(), lead);
            term.meter = self.meter.clone();
            tokio::select! {
                biased;
                // Dropping a term is safe: each of its transactions is whole, and the next term reads all.
                () = terms.changed() => {}
                never = term.run() => match never {},
            }
        }
    }
}

/// Values parsed once a revision.
struct Cache<T> {
    prefix: String,
    values: BTreeMap<Key, Versioned<T>>,
}

impl<T: DeserializeOwned> Cache<T> {
    fn new(prefix: String) -> Self {
        Self { prefix, values: BTreeMap::new() }
    }

    /// Take in what changed.
    fn refresh(&mut self, mirror: &Mirror) {
        let mut fresh = BTreeMap::new();
        for kv in mirror.list(&self.prefix) {
            let Ok(key) = kv.key.parse::<Key>() else { continue };
            let value = match self.values.remove(&key) {
                Some(old) if old.mod_revision == kv.mod_revision => Some(old),
                _ => mirror.json(&key),
            };
            fresh.extend(value.map(|value| (key, value)));
        }
        self.values = fresh;
    }
}

/// Checks of one transaction: each takes two writes and an event.
const AT_ONCE: usize = 16;

/// What is to be done about a check.
type Task = (CheckId, Change);

/// One time of leading.
struct Term {
    env: Arc<Env>,
    writer: Writer,
    lead: Lead,
    mirror: Mirror,
    accepted: Cache<Accepted<HealthCheckSpec>>,
    status: Cache<Status>,
    services: Cache<Accepted<ServiceSpec>>,
    health: Cache<Health>,
    /// When each status was last written for no new document.
    told: BTreeMap<CheckId, Instant>,
    meter: Meter,
}

impl Term {
    fn new(store: Arc<dyn Store>, env: Arc<Env>, writer: Writer, lead: Lead) -> Self {
        let prefixes = [
            prefix::documents(Kind::HealthCheck),
            prefix::accepted(Kind::HealthCheck),
            prefix::status(Kind::HealthCheck),
            prefix::accepted(Kind::Service),
            prefix::health(),
        ];
        Self {
            env,
            writer,
            lead,
            mirror: Mirror::start(store, prefixes.into()),
            accepted: Cache::new(prefix::accepted(Kind::HealthCheck)),
            status: Cache::new(prefix::status(Kind::HealthCheck)),
            services: Cache::new(prefix::accepted(Kind::Service)),
            health: Cache::new(prefix::health()),
            told: BTreeMap::new(),
            meter: Meter::default(),
        }
    }

    async fn run(&mut self) -> Infallible {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut changed = self.mirror.subscribe();
        self.mirror.synced().await;
        loop {
            match self.pass().await {
                Ok(later) => {
                    backoff.reset();
                    rest(&mut changed, later).await;
                }
                Err(error) => {
                    self.meter.failed(&error);
                    tracing::warn!(error = &error as &dyn std::error::Error, "checks are not accepted now");
                    tokio::time::sleep(backoff.next(self.env.random())).await;
                }
            }
        }
    }

    /// One pass over all checks; when to pass again at the latest, if there is a status that waits.
    async fn pass(&mut self) -> Result<Option<Instant>, WriteError> {
        let _measured = self.meter.pass();
        let documents = self.documents();
        self.refresh();
        let changes = self.plan(&documents);
        let now = Instant::now();
        let mut later: Option<Instant> = None;
        let mut tasks = Vec::new();
        for (check, change) in changes {
            if let Change::Tell(_) = change {
                if let Some(due) = waits(self.told.get(&check).copied(), now) {
                    later = Some(later.map_or(due, |later| later.min(due)));
                    continue;
                }
                self.told.insert(check.clone(), now);
            }
            tasks.push((check, change));
        }
        let mut too_large = Ok(later);
        for some in tasks.chunks(AT_ONCE) {
            match self.execute(some, &documents).await {
                Err(error @ WriteError::Txn(_)) => too_large = Err(error),
                other => other?,
            }
        }
        too_large
    }

    fn documents(&self) -> BTreeMap<CheckId, Text> {
        let documents = self.mirror.list(&prefix::documents(Kind::HealthCheck)).into_iter();
        let documents = documents.filter_map(|kv| match kv.key.parse() {
            Ok(Key::Document(ObjectRef::HealthCheck(id))) => {
                let (mod_revision, create_revision) = (kv.mod_revision, kv.create_revision);
                Some((id, Text { bytes: kv.value.to_vec(), mod_revision, create_revision }))
            }
            // A key that is no name: nobody asked for anything that could be told of.
            _ => None,
        });
        documents.collect()
    }

    fn refresh(&mut self) {
        self.accepted.refresh(&self.mirror);
        self.status.refresh(&self.mirror);
        self.services.refresh(&self.mirror);
        self.health.refresh(&self.mirror);
    }

    fn plan(&self, documents: &BTreeMap<CheckId, Text>) -> Vec<(CheckId, Change)> {
        let mut world = World::default();
        for (key, service) in &self.services.values {
            if let Key::Accepted(ObjectRef::Service(id)) = key
                && !service.value.deleting
            {
                world.services.insert(id.clone(), &service.value.spec);
            }
        }
        for (key, health) in &self.health.values {
            if let Key::Health(host, id) = key {
                let of_service = world.health.entry(id.service.clone()).or_default();
                of_service.push((host.clone(), id.clone(), &health.value));
            }
        }
        let traces = self.accepted.values.keys().chain(self.status.values.keys());
        let traces = traces.filter_map(|key| match key {
            Key::Accepted(ObjectRef::HealthCheck(id)) | Key::Status(ObjectRef::HealthCheck(id)) => Some(id),
            _ => None,
        });
        let checks: BTreeSet<&CheckId> = documents.keys().chain(traces).collect();
        let wall = self.env.wall();
        let changes = checks.into_iter().filter_map(|check| {
            let object = ObjectRef::HealthCheck(check.clone());
            let known = Known {
                document: documents.get(check),
                accepted: self.accepted.values.get(&Key::Accepted(object.clone())).map(|v| &v.value),
                status: self.status.values.get(&Key::Status(object)).map(|v| &v.value),
            };
            Some((check.clone(), decide(check, &known, &world, wall)?))
        });
        changes.collect()
    }

    async fn execute(&self, tasks: &[Task], documents: &BTreeMap<CheckId, Text>) -> Result<(), WriteError> {
        for (check, change) in tasks {
            if let Change::Judge { status, .. } = change {
                self.report(&ObjectRef::HealthCheck(check.clone()), status.condition(ConditionType::Valid));
            }
        }
        match self.commit(tasks, documents).await {
            Ok(true) => return Ok(()),
            Ok(false) | Err(WriteError::Txn(_)) if tasks.len() > 1 => {}
            other => return other.map(drop),
        }
        // One document changed meanwhile, or one is too large, or all of them are together. No other waits for it.
        let mut too_large = Ok(());
        for task in tasks {
            match self.commit(std::slice::from_ref(task), documents).await {
                Err(error @ WriteError::Txn(_)) => too_large = Err(error),
                other => drop(other?),
            }
        }
        too_large
    }

    /// Whether it was done. If not, a document, or who leads, changed meanwhile; the mirror tells, and the next
    /// pass plans from that.
    async fn commit(&self, tasks: &[Task], documents: &BTreeMap<CheckId, Text>) -> Result<bool, WriteError> {
        let txn = TxnBuilder::new().if_unchanged(&self.lead.key, self.lead.mod_revision);
        let txn = tasks.iter().fold(txn, |txn, task| self.write(txn, task, documents));
        let Outcome::Done { revision } = self.writer.commit(txn).await? else { return Ok(false) };
        self.mirror.caught_up(revision).await;
        Ok(true)
    }

    fn write(&self, txn: TxnBuilder, task: &Task, documents: &BTreeMap<CheckId, Text>) -> TxnBuilder {
        let (check, change) = task;
        let object = ObjectRef::HealthCheck(check.clone());
        let stands = documents.get(check).map_or(0, |text| text.mod_revision);
        let txn = txn.if_unchanged(&Key::Document(object.clone()), stands);
        let accepted = Key::Accepted(object.clone());
        let status = Key::Status(object);
        match change {
            Change::Remove => self.set::<()>(self.set::<()>(txn, accepted, None), status, None),
            Change::Tell(told) => self.set(txn, status, Some(told)),
            Change::Judge { accepted: None, status: told } => self.set(txn, status, Some(told)),
            Change::Judge { accepted: Some(new), status: told } => {
                self.set(self.set(txn, accepted, Some(&**new)), status, Some(told))
            }
        }
    }

    /// Put or remove one record, if it is as it was when we planned.
    fn set<T: Serialize>(&self, txn: TxnBuilder, key: Key, value: Option<&T>) -> TxnBuilder {
        let accepted = self.accepted.values.get(&key).map(|v| v.mod_revision);
        let planned = accepted.or_else(|| self.status.values.get(&key).map(|v| v.mod_revision));
        // What cannot be read has a revision all the same.
        let at = planned.or_else(|| self.mirror.get(&key).map(|kv| kv.mod_revision)).unwrap_or(0);
        let txn = txn.if_unchanged(&key, at);
        match value.map(serde_json::to_vec) {
            Some(Ok(value)) => txn.put(&key, value),
            // A record of ours is always JSON.
            Some(Err(_)) => txn,
            // Nothing would ever be seen of the end of what is not there.
            None if at == 0 => txn,
            None => txn.delete(&key),
        }
    }

    fn report(&self, object: &ObjectRef, valid: Option<&Condition>) {
        let Some(valid) = valid else { return };
        self.writer.event(NewEvent {
            object: object.clone(),
            instance: None,
            warning: !valid.status,
            reason: valid.reason.clone(),
            message: valid.message.clone(),
        });
    }
}

/// Until when a status waits that answers no new document. `told`: when one was last.
fn waits(told: Option<Instant>, now: Instant) -> Option<Instant> {
    told.map(|told| told + STATUS_EVERY).filter(|due| *due > now)
}

/// Until something changed or `later`. Documents do not wait; all else is gathered for a moment.
async fn rest(changed: &mut Changed, later: Option<Instant>) {
    let documents = prefix::documents(Kind::HealthCheck);
    let mut end = later;
    loop {
        let sleep = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // Cancel-safe: keys stay until they are taken.
            keys = changed.next() => {
                if keys.iter().any(|key| key.starts_with(&documents)) {
                    return;
                }
                let settled = Instant::now() + SETTLE;
                end = Some(end.map_or(settled, |end| end.min(settled)));
            }
            () = sleep => return,
        }
    }
}

#[cfg(test)]
mod tests;
