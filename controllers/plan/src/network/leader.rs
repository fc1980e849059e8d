//! What the leader writes about networks. One decision a network and pass; each is one transaction.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::name::{HostName, NetworkName};
use evenkeel_api::network::{Cidr, NetworkSpec};
use evenkeel_api::record::{Accepted, Facts, NetworkReport, Status, Timestamp};

use super::admit::{Document, admit};
use super::status::{Seen, status};
use super::subnet::{Parts, parts};

/// What the leader knows.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The documents.
    pub documents: BTreeMap<NetworkName, Document>,
    /// What is accepted.
    pub accepted: BTreeMap<NetworkName, Accepted<NetworkSpec>>,
    /// Who owns which part.
    pub subnets: BTreeMap<NetworkName, BTreeMap<HostName, Cidr>>,
    /// The accepted hosts.
    pub hosts: BTreeSet<HostName>,
    /// What machines are.
    pub facts: BTreeMap<HostName, Facts>,
    /// Who is alive.
    pub alive: BTreeSet<HostName>,
    /// What hosts report.
    pub reports: BTreeMap<NetworkName, BTreeMap<HostName, NetworkReport>>,
    /// The services that use a network, for people to read.
    pub users: BTreeMap<NetworkName, BTreeSet<String>>,
    /// The statuses as they stand.
    pub statuses: BTreeMap<NetworkName, Status>,
    /// The store is trusted, so that something may end.
    pub trusted: bool,
}

/// What to write about one network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// A new accepted record.
    pub accept: Option<Accepted<NetworkSpec>>,
    /// Parts to give and to take back.
    pub parts: Parts,
    /// A new status.
    pub status: Option<Status>,
    /// Nothing of the network is left anywhere: remove its records.
    pub finish: bool,
}

impl Decision {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.accept.is_none()
            && self.parts.claims.is_empty()
            && self.parts.releases.is_empty()
            && self.status.is_none()
            && !self.finish
    }
}

/// What to write, by network; networks with nothing to write are left out.
pub fn decide(view: &View, now: Timestamp) -> BTreeMap<NetworkName, Decision> {
    // Decisions of one pass see each other: two new documents with one pool are not both accepted. The
    // older document has the better right.
    let mut accepted = view.accepted.clone();
    let mut names: Vec<&NetworkName> =
        view.documents.keys().chain(view.accepted.keys()).chain(view.statuses.keys()).collect();
    names.sort_by_key(|name| (view.documents.get(*name).map_or(0, |d| d.create_revision), *name));
    names.dedup();
    let mut decisions = BTreeMap::new();
    for name in names {
        let decision = one(view, name, &mut accepted, now);
        if !decision.is_empty() {
            decisions.insert(name.clone(), decision);
        }
    }
    decisions
}

fn one(
    view: &View,
    name: &NetworkName,
    accepted: &mut BTreeMap<NetworkName, Accepted<NetworkSpec>>,
    now: Timestamp,
) -> Decision {
    let empty = BTreeSet::new();
    let users = view.users.get(name).unwrap_or(&empty);
    let mut invalid = None;
    let mut decision = Decision::default();
    match (view.documents.get(name), view.accepted.get(name)) {
        (Some(document), before) => match admit(name, document, accepted) {
            Ok(new) => {
                accepted.insert(name.clone(), new.clone());
                decision.accept = (before != Some(&new)).then_some(new);
            }
            Err(why) => invalid = Some(why),
        },
        (None, Some(before)) if !before.deleting && users.is_empty() && view.trusted => {
            let deleting = Accepted { deleting: true, ..before.clone() };
            accepted.insert(name.clone(), deleting.clone());
            decision.accept = Some(deleting);
        }
        (None, Some(before)) => decision.finish = before.deleting && view.trusted && finished(view, name),
        (None, None) => {
            decision.finish = view.trusted;
            return decision;
        }
    }
    if decision.finish {
        return decision;
    }
    let current = accepted.get(name);
    if let Some(current) = current.filter(|current| !current.deleting) {
        let none = BTreeMap::new();
        let owned = view.subnets.get(name).unwrap_or(&none);
        decision.parts = parts(&current.spec, owned, &view.hosts, &view.facts);
        if !view.trusted {
            decision.parts.releases.clear();
        }
    }
    decision.status = told(view, name, current, invalid.as_deref(), users, &decision.parts, now);
    decision
}

/// Every host that is alive says that nothing is left. One that is off finds out when it returns.
fn finished(view: &View, name: &NetworkName) -> bool {
    let none = BTreeMap::new();
    let reports = view.reports.get(name).unwrap_or(&none);
    let owned = view.subnets.get(name);
    view.alive
        .iter()
        .filter(|host| owned.is_some_and(|owned| owned.contains_key(*host)) || reports.contains_key(*host))
        .all(|host| matches!(reports.get(host), Some(NetworkReport::Gone)))
}

fn told(
    view: &View,
    name: &NetworkName,
    current: Option<&Accepted<NetworkSpec>>,
    invalid: Option<&str>,
    users: &BTreeSet<String>,
    parts: &Parts,
    now: Timestamp,
) -> Option<Status> {
    let none = BTreeMap::new();
    let document = view.documents.get(name);
    let alive: BTreeSet<HostName> = view.alive.intersection(&view.hosts).cloned().collect();
    let seen = Seen {
        observed_revision: document
            .map_or_else(|| current.map_or(0, |c| c.source_revision), |d| d.mod_revision),
        accepted_revision: current.map(|c| c.source_revision),
        invalid,
        deleting: document.is_none(),
        users,
        alive: &alive,
        reports: view.reports.get(name).unwrap_or(&none),
        refusals: &parts.refusals,
    };
    let before = view.statuses.get(name);
    let status = status(&seen, before, now);
    (before != Some(&status)).then_some(status)
}
