//! What waits for what, what runs once, and what is started again.

use std::collections::BTreeSet;

use crate::merge::{named, short};
use crate::report::Severity;
use crate::tree::{Entry, Node};

use super::{Draft, Facts};

/// Words in names of services that run once.
const ONCE: [&str; 12] = [
    "init",
    "setup",
    "migrate",
    "migration",
    "migrations",
    "seed",
    "import",
    "bootstrap",
    "install",
    "job",
    "once",
    "oneshot",
];

/// The services that run once and end: those that others await the end of, and those that nothing starts again
/// and whose names say so.
pub(super) fn once(services: &[&Entry]) -> BTreeSet<String> {
    let mut once = BTreeSet::new();
    for entry in services {
        let Some(depends) = entry.value.get("depends_on") else { continue };
        for Entry { key, value, .. } in depends.entries() {
            if value.get("condition").and_then(Node::text) == Some("service_completed_successfully") {
                once.insert(key.clone());
            }
        }
    }
    for entry in services {
        let word =
            entry.key.split(['-', '_', '.']).any(|word| ONCE.contains(&word.to_ascii_lowercase().as_str()));
        let again =
            matches!(entry.value.get("restart").and_then(Node::text), Some("always" | "unless-stopped"));
        if word && !again && entry.value.find(&["deploy", "restart_policy"]).is_none() {
            once.insert(entry.key.clone());
        }
    }
    once
}

/// `restart`, whose absence means something else to Compose.
pub(super) fn restart(draft: &mut Draft, facts: &Facts<'_>) {
    let written =
        draft.body.take("restart").filter(|entry| entry.value.text().is_some_and(|t| !t.is_empty()));
    let policy = draft.body.find(&["deploy", "restart_policy"]).is_some();
    if facts.once.contains(&draft.key) {
        return once_only(draft, written, policy);
    }
    match written {
        Some(entry) if policy => {
            let what = "left out: `deploy.restart_policy` says it too, and Compose goes by that";
            draft.tell(Severity::Changed, entry.key_at, "restart", what, "");
        }
        Some(entry) => draft.body.put("restart", entry.key_at, entry.value),
        // A stack's services are started again, by Swarm as here.
        None if policy || is_of_a_stack(&draft.body) => {}
        None => {
            let what =
                "there is no `restart`: Compose would not start it again once it ended, and evenkeel does";
            let at = draft.at;
            draft.tell(
                Severity::Changed,
                at,
                "restart",
                what,
                "write `restart: \"no\"` if it ends by itself",
            );
        }
    }
}

fn once_only(draft: &mut Draft, written: Option<Entry>, policy: bool) {
    let at = written.as_ref().map_or(draft.at, |entry| entry.key_at);
    let value = match written {
        Some(entry) if !matches!(entry.value.text(), Some("always" | "unless-stopped")) => entry.value,
        _ => Node::text_at("no", at),
    };
    if !policy {
        draft.body.put("restart", at, value);
    }
    let what = "it seems to run once and end: it is written as a service that is not started again, and runs anew \
                when its host is lost or its document changes";
    let todo = "see that it may, or take it out and run it by hand";
    let at = draft.at;
    draft.tell(Severity::Decide, at, "restart", what, todo);
}

fn is_of_a_stack(body: &Node) -> bool {
    let keys = ["mode", "placement", "update_config", "rollback_config", "endpoint_mode", "labels"];
    body.get("deploy").is_some_and(|deploy| keys.iter().any(|key| deploy.get(key).is_some()))
}

/// `depends_on`, with the names that services have here.
pub(super) fn depends_on(draft: &mut Draft, facts: &Facts<'_>) {
    let Some(Entry { key_at, value, .. }) = draft.body.take("depends_on") else { return };
    if !value.is_null() && value.text().is_some() {
        return draft.body.put("depends_on", key_at, value);
    }
    let mut kept = Node::map_at(value.at);
    for Entry { key, key_at, value } in named(value).entries() {
        let path = format!("depends_on.{key}");
        let optional = value.get("required").and_then(Node::text) == Some("false");
        let Some(name) = facts.names.get(key) else {
            missing(draft, facts, &path, key, *key_at, optional);
            continue;
        };
        if facts.once.contains(key) {
            let what = format!(
                "{key} seems to run once and end, and nothing can wait for that yet: it is not waited for"
            );
            let todo = "see that the service comes through if it starts first";
            draft.tell(Severity::Decide, *key_at, path, what, todo);
            continue;
        }
        let mut condition = value.clone();
        if let Some(entry) = condition.take("restart").filter(|entry| entry.value.is_true()) {
            let what = format!("left out: it is not started again when {key} is");
            draft.tell(Severity::Changed, entry.key_at, format!("{path}.restart"), what, "");
        }
        kept.put(name, *key_at, condition);
    }
    if !kept.entries().is_empty() {
        draft.body.put("depends_on", key_at, short(kept));
    }
}

/// A service that is waited for and is not imported.
fn missing(draft: &mut Draft, facts: &Facts<'_>, path: &str, key: &str, at: crate::tree::At, optional: bool) {
    let profile = facts.asleep.get(key);
    if optional {
        let what = format!("{key} is not waited for: it is not imported, and need not be there");
        return draft.tell(Severity::Changed, at, path, what, "");
    }
    let (what, todo) = match profile {
        Some(profiles) => (
            format!(
                "{key} is not waited for: it is left out, since its profile is not chosen, and Compose would refuse \
                 that"
            ),
            format!("import with --profile {}, or see that the service does without", profiles.join(" or ")),
        ),
        None => (format!("there is no service `{key}`"), "take the line out, and import again".to_owned()),
    };
    let severity = if profile.is_some() { Severity::Decide } else { Severity::Refused };
    draft.tell(severity, at, path, what, todo);
}
