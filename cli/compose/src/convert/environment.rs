//! `environment`, `env_file` and `label_file`: names with values, wherever they are from.

use crate::dotenv;
use crate::merge::pairs;
use crate::report::{Report, Severity};
use crate::tree::{At, Entry, Lack, Node, Value};
use crate::world::{NoFile, join};

use super::{Draft, Facts};

/// Brings files and `environment` together, and every name to a value.
pub(super) fn environment(draft: &mut Draft, facts: &Facts<'_>, report: &mut Report) {
    let own = draft.body.take("environment");
    let at = own.as_ref().map_or(draft.at, |entry| entry.key_at);
    let mut all = files(draft, "env_file", facts, report).unwrap_or(Node::map_at(at));
    match own {
        Some(Entry { value, .. }) if matches!(value.value, Value::Map(_) | Value::List(_)) => {
            for Entry { key, key_at, value } in take_entries(pairs(value)) {
                all.put(&key, key_at, value);
            }
        }
        Some(Entry { value, .. }) if !value.is_null() => {
            draft.body.put("environment", at, value);
            return;
        }
        _ => {}
    }
    let mut known = Node::map_at(at);
    for Entry { key, key_at, value } in take_entries(all) {
        let value = if value.is_null() { from_outside(draft, &key, key_at, facts) } else { Some(value) };
        if let Some(value) = value {
            remark(draft, &key, &value);
            known.put(&key, key_at, value);
        }
    }
    if !known.entries().is_empty() {
        draft.body.put("environment", at, known);
    }
}

/// `label_file` below `labels`.
pub(super) fn labels(draft: &mut Draft, facts: &Facts<'_>, report: &mut Report) {
    let Some(mut all) = files(draft, "label_file", facts, report) else { return };
    let at = all.at;
    if let Some(own) = draft.body.take("labels") {
        for Entry { key, key_at, value } in take_entries(pairs(own.value)) {
            all.put(&key, key_at, value);
        }
    }
    draft.body.put("labels", at, all);
}

fn take_entries(node: Node) -> Vec<Entry> {
    match node.value {
        Value::Map(entries) => entries,
        _ => Vec::new(),
    }
}

/// What the files of a key hold, the later over the earlier.
fn files(draft: &mut Draft, key: &str, facts: &Facts<'_>, report: &mut Report) -> Option<Node> {
    let entry = draft.body.take(key)?;
    let mut all = Node::map_at(entry.key_at);
    for (index, item) in entry.value.one_or_many().into_iter().enumerate() {
        let path = format!("{key}.{index}");
        if let Some(lack) = &item.lack {
            let what = match lack {
                Lack::Unset(names) => {
                    format!("{} is not set, so nobody knows which file is meant", names.join(" and "))
                }
                Lack::Broken(why) => why.clone(),
            };
            draft.tell(Severity::Refused, item.at, path, what, "set it, or write it into an --env-file");
            continue;
        }
        let Some(name) = item.text().or_else(|| item.get("path")?.text()) else {
            draft.tell(Severity::Refused, item.at, path, "a path is missing here", "");
            continue;
        };
        let required = item.get("required").and_then(Node::text) != Some("false");
        let raw = item.get("format").and_then(Node::text) == Some("raw");
        if let Some(found) = file(draft, &path, item.at, name, (required, raw), facts, report) {
            for Entry { key, key_at, value } in found {
                all.put(&key, key_at, value);
            }
        }
    }
    Some(all)
}

/// The variables of one file.
fn file(
    draft: &mut Draft,
    path: &str,
    at: At,
    name: &str,
    (required, raw): (bool, bool),
    facts: &Facts<'_>,
    report: &mut Report,
) -> Option<Vec<Entry>> {
    let full = join(report.base(at), name);
    let text = match facts.world.read(&full) {
        Ok(text) => text,
        Err(NoFile::Missing) if !required => {
            draft.tell(Severity::Changed, at, path, format!("{name} is not there, and need not be"), "");
            return None;
        }
        Err(why) => {
            let what = format!("{name} cannot be read: {why}");
            draft.tell(
                Severity::Refused,
                at,
                path,
                what,
                "put the file beside the Compose file, and import again",
            );
            return None;
        }
    };
    let file = report.file(&full, report.base(at).to_path_buf());
    let vars = |name: &str| facts.variable(name);
    match dotenv::read(&text, &vars, raw) {
        Ok(found) => {
            let what = format!("what {name} says is written into the document ({} lines)", found.len());
            draft.tell(Severity::Changed, at, path, what, "");
            let entry = |found: dotenv::Variable| {
                let at = At { file, line: found.line, column: 1 };
                let lack = (!found.unset.is_empty()).then_some(Lack::Unset(found.unset));
                let value = found.value.map_or(Value::Null, Value::Text);
                Entry { key: found.name, key_at: at, value: Node { value, at, tag: None, lack } }
            };
            Some(found.into_iter().map(entry).collect())
        }
        Err((line, problem)) => {
            draft.tell(Severity::Refused, At { file, line, column: 1 }, path, problem, "");
            None
        }
    }
}

/// The value of a name that has none: from where the import runs, as Compose takes it.
fn from_outside(draft: &mut Draft, name: &str, at: At, facts: &Facts<'_>) -> Option<Node> {
    let path = format!("environment.{name}");
    match facts.variable(name) {
        Some(value) => {
            let what = format!(
                "{name} has no value here: the one that it has where this import runs is written into the document"
            );
            draft.tell(Severity::Changed, at, path, what, "");
            Some(Node::text_at(value, at))
        }
        None => {
            let what = format!(
                "{name} has no value, neither here nor where this import runs: it is left out, as by Compose"
            );
            draft.tell(
                Severity::Decide,
                at,
                path,
                what,
                format!("write {name}=value, set it, or leave the line out"),
            );
            None
        }
    }
}

/// What may mean something else to who wrote it.
fn remark(draft: &mut Draft, name: &str, value: &Node) {
    let Some(text) = value.text() else { return };
    if matches!(value.value, Value::Plain(_))
        && let Some(other) = octal(text)
    {
        let what = format!("{text} without quotes is written as it stands; Compose reads {other}");
        draft.tell(
            Severity::Decide,
            value.at,
            format!("environment.{name}"),
            what,
            "put what you mean in quotes",
        );
    }
    if ["{{.Node.", "{{.Service.", "{{.Task."].iter().any(|template| text.contains(template)) {
        let what = "templates are not filled in: the container gets the text as it stands";
        draft.tell(
            Severity::Decide,
            value.at,
            format!("environment.{name}"),
            what,
            "write what the service needs",
        );
    }
}

/// What Compose makes of a number that begins with 0.
fn octal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('0').filter(|digits| !digits.is_empty())?;
    u64::from_str_radix(digits, 8).ok()
}
