//! The leader's part: documents are admitted, hosts get their parts, people are told.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_api::host::HostSpec;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::NetworkName;
use evenkeel_api::network::NetworkSpec;
use evenkeel_api::record::{Accepted, Facts, NetworkReport, Status, Subnet};
use evenkeel_api::service::ServiceSpec;
use evenkeel_plan::network::admit::Document;
use evenkeel_plan::network::leader::{Decision, View, decide};
use evenkeel_runtime::leader::{Lead, Leadership};
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::{MAX_WRITES, TxnBuilder};
use evenkeel_runtime::writer::{Outcome, Trust, WriteError, Writer};
use tokio::time::Instant;

use super::NetworkDeps;

/// A status is written at most that often, except to answer a new document.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// How often everything is looked at, if nothing wakes us.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// After the store refused or was away.
const RETRY: Duration = Duration::from_secs(1);

/// Run for ever: idle while another leads.
pub(super) async fn run(deps: NetworkDeps, writer: Writer, leadership: Leadership) {
    let mut changes = leadership.subscribe();
    loop {
        if let Some(lead) = leadership.current() {
            let reign = Reign::start(&deps, &writer, lead);
            tokio::select! { biased;
                () = changes.changed() => {}
                () = reign.run() => {}
            }
        } else {
            changes.changed().await;
        }
    }
}

/// One time of leading.
struct Reign {
    deps: NetworkDeps,
    writer: Writer,
    lead: Lead,
    mirror: Mirror,
    told: BTreeMap<NetworkName, Instant>,
}

fn prefixes() -> Vec<String> {
    vec![
        prefix::documents(Kind::Network),
        prefix::accepted(Kind::Network),
        prefix::status(Kind::Network),
        prefix::accepted(Kind::Host),
        prefix::accepted(Kind::Service),
        prefix::subnets(),
        prefix::facts(),
        prefix::alive(),
        prefix::reports(),
    ]
}

impl Reign {
    fn start(deps: &NetworkDeps, writer: &Writer, lead: Lead) -> Self {
        let mirror = Mirror::start(deps.store.clone(), prefixes());
        Self { deps: deps.clone(), writer: writer.clone(), lead, mirror, told: BTreeMap::new() }
    }

    async fn run(mut self) {
        let mut changed = self.mirror.subscribe();
        self.mirror.synced().await;
        loop {
            let pause = self.pass().await;
            tokio::select! { biased;
                _ = changed.next() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Observe, decide, write. Gives how long to wait at most.
    async fn pass(&mut self) -> Duration {
        let _measured = self.deps.meter.pass();
        let view = self.view();
        let mut pause = LOOK_EVERY;
        for (name, mut decision) in decide(&view, self.deps.env.wall()) {
            if let Some(wait) = self.too_soon(&name, &view, &decision) {
                decision.status = None;
                pause = pause.min(wait);
            }
            match self.write(&name, &view, &decision).await {
                Ok(true) if decision.status.is_some() => drop(self.told.insert(name, Instant::now())),
                // Parts follow once the network itself is accepted: its change wakes us.
                Ok(true) => {}
                // Something moved under us: its change is on its way to the mirror.
                Ok(false) => pause = pause.min(RETRY),
                Err(error) => {
                    self.deps.meter.failed(&error);
                    tracing::warn!(network = %name, error = &error as &dyn std::error::Error, "not written");
                    return RETRY;
                }
            }
        }
        pause
    }

    /// How long a status must wait that was written a moment ago and answers no new document.
    fn too_soon(&self, name: &NetworkName, view: &View, decision: &Decision) -> Option<Duration> {
        let status = decision.status.as_ref()?;
        let before = view.statuses.get(name)?;
        let left = STATUS_EVERY.checked_sub(self.told.get(name)?.elapsed())?;
        let news = decision.accept.is_some() || before.observed_revision != status.observed_revision;
        (!news && !left.is_zero()).then_some(left)
    }

    fn view(&self) -> View {
        let mirror = &self.mirror;
        let mut view = View { trusted: self.writer.trust() == Trust::Trusted, ..View::default() };
        for kv in mirror.list(&prefix::documents(Kind::Network)) {
            if let Ok(Key::Document(ObjectRef::Network(name))) = kv.key.parse() {
                let (mod_revision, create_revision) = (kv.mod_revision, kv.create_revision);
                let text = kv.value.to_vec();
                view.documents.insert(name, Document { text, mod_revision, create_revision });
            }
        }
        for (key, found) in mirror.list_json::<Accepted<NetworkSpec>>(&prefix::accepted(Kind::Network)) {
            if let Key::Accepted(ObjectRef::Network(name)) = key {
                view.accepted.insert(name, found.value);
            }
        }
        for (key, found) in mirror.list_json::<Status>(&prefix::status(Kind::Network)) {
            if let Key::Status(ObjectRef::Network(name)) = key {
                view.statuses.insert(name, found.value);
            }
        }
        self.see_hosts(&mut view);
        for (key, found) in mirror.list_json::<Accepted<ServiceSpec>>(&prefix::accepted(Kind::Service)) {
            if let Key::Accepted(ObjectRef::Service(id)) = key {
                for network in used(&found.value.spec) {
                    view.users.entry(network).or_default().insert(id.to_string());
                }
            }
        }
        view
    }

    fn see_hosts(&self, view: &mut View) {
        let mirror = &self.mirror;
        for (key, _) in mirror.list_json::<Accepted<HostSpec>>(&prefix::accepted(Kind::Host)) {
            if let Key::Accepted(ObjectRef::Host(host)) = key {
                view.hosts.insert(host);
            }
        }
        for (key, found) in mirror.list_json::<Facts>(&prefix::facts()) {
            if let Key::Facts(host) = key {
                view.facts.insert(host, found.value);
            }
        }
        for kv in mirror.list(&prefix::alive()) {
            if let Ok(Key::Alive(host)) = kv.key.parse() {
                view.alive.insert(host);
            }
        }
        for (key, found) in mirror.list_json::<Subnet>(&prefix::subnets()) {
            if let Key::Subnet(network, host) = key {
                view.subnets.entry(network).or_default().insert(host, found.value.subnet);
            }
        }
        for kv in mirror.list(&prefix::reports()) {
            // Other controllers' reports stand below the same prefix, in other shapes.
            if let Ok(Key::NetworkReport(host, network)) = kv.key.parse()
                && let Ok(report) = serde_json::from_slice::<NetworkReport>(&kv.value)
            {
                view.reports.entry(network).or_default().insert(host, report);
            }
        }
    }

    /// One decision, in one transaction where it fits; whether it was done.
    async fn write(&self, name: &NetworkName, view: &View, decision: &Decision) -> Result<bool, WriteError> {
        if decision.finish {
            return self.finish(name, view).await;
        }
        let mut txn = self.demand(name, view);
        if let Some(accept) = decision.accept.as_ref().and_then(json) {
            txn = txn.put(&Key::Accepted(ObjectRef::Network(name.clone())), accept);
        }
        if let Some(status) = decision.status.as_ref().and_then(json) {
            let key = Key::Status(ObjectRef::Network(name.clone()));
            txn = txn.if_unchanged(&key, self.revision(&key)).put(&key, status);
        }
        if decision.accept.is_none() {
            txn = self.parts(name, decision, txn);
        }
        self.commit(txn).await
    }

    /// What every write about a network rests on: we lead, and document and record are those decided on.
    fn demand(&self, name: &NetworkName, view: &View) -> TxnBuilder {
        let object = ObjectRef::Network(name.clone());
        let accepted = Key::Accepted(object.clone());
        let document = view.documents.get(name).map_or(0, |d| d.mod_revision);
        TxnBuilder::new()
            .if_unchanged(&self.lead.key, self.lead.mod_revision)
            .if_unchanged(&Key::Document(object), document)
            .if_unchanged(&accepted, self.revision(&accepted))
    }

    fn revision(&self, key: &Key) -> i64 {
        self.mirror.get(key).map_or(0, |kv| kv.mod_revision)
    }

    /// As many parts as there is room for; the rest is decided again by the next pass.
    fn parts(&self, name: &NetworkName, decision: &Decision, mut txn: TxnBuilder) -> TxnBuilder {
        for (host, subnet) in &decision.parts.claims {
            let key = Key::Subnet(name.clone(), host.clone());
            if let (true, Some(value)) = (txn.writes() < MAX_WRITES, json(&Subnet { subnet: *subnet })) {
                txn = txn.if_absent(&key).put(&key, value);
            }
        }
        for host in decision.parts.releases.keys() {
            let key = Key::Subnet(name.clone(), host.clone());
            if txn.writes() < MAX_WRITES {
                let gone = Key::Accepted(ObjectRef::Host(host.clone()));
                txn = txn.if_absent(&gone).if_unchanged(&key, self.revision(&key)).delete(&key);
            }
        }
        txn
    }

    /// Parts first, the record with the last of them: until then the next pass goes on.
    async fn finish(&self, name: &NetworkName, view: &View) -> Result<bool, WriteError> {
        let object = ObjectRef::Network(name.clone());
        let mut txn = self.demand(name, view);
        let mut left = view.subnets.get(name).map_or(0, BTreeMap::len);
        for host in view.subnets.get(name).into_iter().flatten().map(|(host, _)| host) {
            if txn.writes() < MAX_WRITES - 2 {
                let key = Key::Subnet(name.clone(), host.clone());
                txn = txn.if_unchanged(&key, self.revision(&key)).delete(&key);
                left -= 1;
            }
        }
        if left == 0 {
            // Nothing would ever be seen of the end of what is not there.
            let records = [Key::Accepted(object.clone()), Key::Status(object)].into_iter();
            let stand = records.filter(|key| self.mirror.get(key).is_some());
            txn = stand.fold(txn, |txn, key| txn.delete(&key));
        }
        self.commit(txn).await
    }

    /// Whether it was done.
    async fn commit(&self, txn: TxnBuilder) -> Result<bool, WriteError> {
        if txn.writes() == 0 {
            return Ok(true);
        }
        match self.writer.commit(txn).await? {
            Outcome::Done { revision } => {
                self.mirror.caught_up(revision).await;
                Ok(true)
            }
            Outcome::Lost => Ok(false),
        }
    }
}

fn json<T: serde::Serialize>(value: &T) -> Option<Vec<u8>> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            tracing::error!(%error, "a record cannot be written as JSON");
            None
        }
    }
}

/// The networks that a service uses.
fn used(spec: &ServiceSpec) -> Vec<NetworkName> {
    let template = &spec.template;
    match (&template.network_mode, template.networks.is_empty()) {
        (Some(_), _) => Vec::new(),
        (None, true) => "default".parse().into_iter().collect(),
        (None, false) => template.networks.keys().cloned().collect(),
    }
}

#[cfg(test)]
mod tests;
