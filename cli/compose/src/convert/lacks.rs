//! Variables that are not set: an empty text where it does no harm, and no document where it would.

use std::collections::BTreeMap;

use crate::report::{Report, Severity};
use crate::tree::{At, Lack, Node, Value};

use super::Draft;

/// Keys in which nothing in a variable's place means something else: another address, another path.
const STRICT: [&str; 5] = ["image", "ports", "volumes", "devices", "tmpfs"];

/// Variables that are not set, each with the places that use it.
#[derive(Debug, Default)]
pub(super) struct Unset(BTreeMap<String, Vec<(At, String)>>);

impl Unset {
    /// Tells of each variable once, at the first place.
    pub fn tell(self, report: &mut Report) {
        for (name, mut places) in self.0 {
            places.sort_by_key(|(at, _)| *at);
            // One place by an anchor is one place.
            places.dedup_by_key(|(at, _)| *at);
            let Some((at, path)) = places.first().cloned() else { continue };
            let more = match places.len() {
                1 => String::new(),
                n => format!(", here and in {} more places", n - 1),
            };
            let what = format!(
                "{name} is not set and has no default: nothing is written in its place, as by Compose{more}"
            );
            report.add(
                Severity::Decide,
                at,
                path,
                what,
                format!("set {name}, or write it into an --env-file"),
            );
        }
    }
}

/// Keys that name files, which are read at once or not at all.
const FILES: [&str; 3] = ["env_file", "label_file", "extends"];

/// Looks for what the variables of a service lacked.
pub(super) fn look(draft: &mut Draft, unset: &mut Unset) {
    let mut found = Vec::new();
    walk(&draft.body, &mut Vec::new(), &mut found);
    let names_file = |path: &[String]| path.first().is_some_and(|key| FILES.contains(&key.as_str()));
    for (at, path, lack) in found.into_iter().filter(|(_, path, _)| !names_file(path)) {
        let strict = path.first().is_some_and(|key| STRICT.contains(&key.as_str()));
        let path = path.join(".");
        match lack {
            Lack::Broken(why) => draft.tell(Severity::Refused, at, path, why, ""),
            Lack::Unset(names) if strict => {
                let names = names.join(" and ");
                let what = format!(
                    "{names} is not set and has no default, and nothing in its place means something else here"
                );
                draft.tell(
                    Severity::Refused,
                    at,
                    path,
                    what,
                    format!("set {names}, or write it into an --env-file"),
                );
            }
            Lack::Unset(names) => {
                for name in names {
                    unset.0.entry(name).or_default().push((at, draft.path(&path)));
                }
            }
        }
    }
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
