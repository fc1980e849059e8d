//! Variables that are not set: an empty text where it does no harm, and no document where it would.

use std::collections::BTreeMap;

use crate::report::{Report, Severity};
use crate::tree::{At, Lack, Node, Value};

use super::Draft;

/// Keys whose texts are the container's own business: an empty one is what Compose gives it, too. In all others
/// nothing in a variable's place means something else: another address, another path, another image.
const LOOSE: [&str; 12] = [
    "environment",
    "labels",
    "annotations",
    "command",
    "entrypoint",
    "healthcheck.test",
    "logging.options",
    "restart",
    "platform",
    "pull_policy",
    "user",
    "deploy.labels",
];

/// Keys that name files, which are read at once or not at all.
const FILES: [&str; 3] = ["env_file", "label_file", "extends"];

/// Variables that are not set, each with the places that use it.
#[derive(Debug, Default)]
pub(super) struct Unset(BTreeMap<String, Vec<Use>>);

#[derive(Debug)]
struct Use {
    at: At,
    path: String,
    strict: bool,
}

impl Unset {
    /// Tells of each variable once, at the first place, one that matters most.
    pub fn tell(self, report: &mut Report) {
        for (name, mut uses) in self.0 {
            // One place by an anchor is one place.
            uses.sort_by_key(|place| place.at);
            uses.dedup_by_key(|place| place.at);
            let more = match uses.len() {
                0 | 1 => String::new(),
                2 => ", here and in another place".to_owned(),
                n => format!(", here and in {} more places", n - 1),
            };
            let Some(first) = uses.iter().min_by_key(|place| (!place.strict, place.at)) else { continue };
            let severity = if first.strict { Severity::Refused } else { Severity::Decide };
            let what = format!("{}{more}", sentence(&name, first.strict));
            report.add(severity, first.at, first.path.clone(), what, todo(&name));
        }
    }
}

fn sentence(name: &str, strict: bool) -> String {
    let then = match strict {
        true => "and without it this means something else",
        false => "and so nothing is written in its place, as by Compose",
    };
    format!("{name} is not set and has no default, {then}")
}

fn todo(name: &str) -> String {
    format!("set {name}, or write it into an --env-file")
}

/// Looks for what the variables of a service lacked.
pub(super) fn look(draft: &mut Draft, unset: &mut Unset) {
    let mut found = Vec::new();
    walk(&draft.body, &mut Vec::new(), &mut found);
    for (at, path, lack) in found {
        let path = path.join(".");
        if is_below(&path, &FILES) {
            continue;
        }
        match lack {
            Lack::Broken(why) => draft.tell(Severity::Refused, at, path, why, ""),
            Lack::Unset(names) => {
                let strict = !is_below(&path, &LOOSE);
                for name in names {
                    // The report has it once for all places.
                    let severity = if strict { Severity::Refused } else { Severity::Decide };
                    draft.note(severity, at, &path, sentence(&name, strict), todo(&name));
                    let path = draft.path(&path);
                    unset.0.entry(name).or_default().push(Use { at, path, strict });
                }
            }
        }
    }
}

/// Whether a part was refused for what its variables lacked, and is not worth another word.
pub(super) fn is_told(path: &[String], node: &Node) -> bool {
    match &node.lack {
        None => false,
        Some(Lack::Broken(_)) => true,
        Some(Lack::Unset(_)) => !is_below(&path.join("."), &LOOSE),
    }
}

/// Whether a path is one of these keys, or leads below it.
fn is_below(path: &str, keys: &[&str]) -> bool {
    keys.iter().any(|key| path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn walk(node: &Node, path: &mut Vec<String>, found: &mut Vec<(At, Vec<String>, Lack)>) {
    if let Some(lack) = &node.lack {
        found.push((node.at, path.clone(), lack.clone()));
    }
    match &node.value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                walk(item, path, found);
                path.pop();
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                path.push(entry.key.clone());
                walk(&entry.value, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}
