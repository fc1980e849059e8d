//! What people are told about a network.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::name::HostName;
use evenkeel_api::record::{Condition, ConditionType, NetworkReport, Status, Timestamp};

/// What a network's status is made from.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The newest revision of the document; that of the accepted one where the document is gone.
    pub observed_revision: i64,
    /// The accepted revision, if any.
    pub accepted_revision: Option<i64>,
    /// What is wrong with the newest document.
    pub invalid: Option<&'a str>,
    /// The document is gone.
    pub deleting: bool,
    /// Who still uses it.
    pub users: &'a BTreeSet<String>,
    /// Hosts that are alive.
    pub alive: &'a BTreeSet<HostName>,
    /// What hosts report.
    pub reports: &'a BTreeMap<HostName, NetworkReport>,
    /// Why hosts have no part.
    pub refusals: &'a [String],
}

/// The most hosts that one message tells of.
const TOLD: usize = 5;

/// The status: conditions keep their time while what they say of programs' interest stays the same.
pub fn status(seen: &Seen<'_>, before: Option<&Status>, now: Timestamp) -> Status {
    let mut conditions = vec![valid(seen)];
    if seen.accepted_revision.is_some() {
        conditions.push(available(seen));
        conditions.push(degraded(seen));
        if seen.deleting {
            conditions.push(progressing(seen));
        }
    }
    for condition in &mut conditions {
        let kept = before.and_then(|s| s.condition(condition.kind));
        let kept = kept.filter(|old| (old.status, &old.reason) == (condition.status, &condition.reason));
        condition.since = kept.map_or(now, |old| old.since);
    }
    Status {
        observed_revision: seen.observed_revision,
        accepted_revision: seen.accepted_revision,
        conditions,
        copies: None,
    }
}

fn condition(kind: ConditionType, status: bool, reason: &str, message: String) -> Condition {
    Condition { kind, status, reason: reason.to_owned(), message, since: Timestamp::default() }
}

fn valid(seen: &Seen<'_>) -> Condition {
    match seen.invalid {
        None => condition(ConditionType::Valid, true, "Valid", String::new()),
        Some(why) => {
            let rest = match seen.accepted_revision {
                Some(revision) => format!("; running revision {revision}"),
                None => String::new(),
            };
            condition(ConditionType::Valid, false, "Invalid", format!("{why}{rest}"))
        }
    }
}

fn available(seen: &Seen<'_>) -> Condition {
    let ready = seen
        .alive
        .iter()
        .filter(|host| matches!(seen.reports.get(*host), Some(NetworkReport::Ready { .. })))
        .count();
    let all = seen.alive.len();
    let message = format!("{ready}/{all} hosts ready");
    if ready == all && all > 0 {
        condition(ConditionType::Available, true, "Ready", message)
    } else {
        condition(ConditionType::Available, false, "NotReady", message)
    }
}

fn degraded(seen: &Seen<'_>) -> Condition {
    let mut conflicts = !seen.refusals.is_empty();
    let mut told: Vec<String> = seen.refusals.to_vec();
    for (host, report) in seen.reports.iter().filter(|(host, _)| seen.alive.contains(*host)) {
        match report {
            NetworkReport::Conflict { why } => {
                conflicts = true;
                told.push(format!("{host}: {why}"));
            }
            NetworkReport::Failed { why } => told.push(format!("{host}: {why}")),
            NetworkReport::Ready { .. } | NetworkReport::Gone => {}
        }
    }
    // A host may say itself what the leader already knows from its facts; people need it once.
    told.sort();
    told.dedup();
    let reason = match (told.is_empty(), conflicts) {
        (true, _) => "AsWanted",
        (_, true) => "Conflict",
        (_, false) => "HostsFailing",
    };
    let more = told.len().saturating_sub(TOLD);
    told.truncate(TOLD);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    condition(ConditionType::Degraded, !told.is_empty(), reason, told.join("; ") + &more)
}

fn progressing(seen: &Seen<'_>) -> Condition {
    if seen.users.is_empty() {
        return condition(ConditionType::Progressing, true, "Deleting", "hosts take it down".to_owned());
    }
    let users: Vec<&str> = seen.users.iter().map(String::as_str).take(TOLD).collect();
    let more = if seen.users.len() > TOLD { " and others" } else { "" };
    let message = format!("its document is gone, but it is kept while {}{more} use it", users.join(", "));
    condition(ConditionType::Progressing, true, "InUse", message)
}
