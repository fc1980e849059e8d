//! One table of keys: what evenkeel does with each that Compose knows, and with its own.
//!
//! It decides what is ignored and what is refused, it is printed into the documentation, and it knows where a
//! misplaced key belongs. What is honoured is read by the types of `raw`; a test holds the two together.

use crate::meta::Kind;

use super::error::{Fault, Mark};
use super::node::{Node, Value};

mod healthcheck;
mod host;
mod network;
mod service;
mod service_deploy;

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It means what it says; a remark, or nothing.
    Honoured(&'static str),
    /// Accepted without effect, and its author is told why.
    Ignored(&'static str),
    /// Accepted without effect, in silence: nobody could miss it.
    Silent(&'static str),
    /// Refused: why, and what to write instead.
    Refused(&'static str, &'static str),
    /// Refused until it is built: what to do until then.
    NotYet(&'static str),
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The path below `spec`; `*` is any item of a list or any name of a mapping.
    pub key: &'static str,
    /// Only where this is the value, or, with a `*` at its end, begins it.
    pub value: Option<&'static str>,
    /// What becomes of it.
    pub verdict: Verdict,
}

const fn honoured(key: &'static str, remark: &'static str) -> Row {
    Row { key, value: None, verdict: Verdict::Honoured(remark) }
}
const fn ignored(key: &'static str, why: &'static str) -> Row {
    Row { key, value: None, verdict: Verdict::Ignored(why) }
}
const fn silent(key: &'static str, why: &'static str) -> Row {
    Row { key, value: None, verdict: Verdict::Silent(why) }
}
const fn refused(key: &'static str, why: &'static str, instead: &'static str) -> Row {
    Row { key, value: None, verdict: Verdict::Refused(why, instead) }
}
const fn not_yet(key: &'static str, until: &'static str) -> Row {
    Row { key, value: None, verdict: Verdict::NotYet(until) }
}

impl Row {
    const fn with(mut self, value: &'static str) -> Row {
        self.value = Some(value);
        self
    }

    fn matches(&self, path: &[String], node: &Node) -> bool {
        let mut pattern = self.key.split('.');
        let same = path.iter().all(|step| pattern.next().is_some_and(|part| part == "*" || part == step));
        if !same || pattern.next().is_some() {
            return false;
        }
        let Some(wanted) = self.value else { return true };
        let text = node.text().unwrap_or_default();
        match wanted.strip_suffix('*') {
            Some(beginning) => text.starts_with(beginning),
            None => text == wanted,
        }
    }

    /// What people are shown of the key: its last part, with its value where that is what matters.
    fn shown(&self, path: &[String], node: &Node) -> String {
        let name = path.iter().rev().find(|step| step.parse::<usize>().is_err());
        let name = name.map_or(self.key, String::as_str);
        match (self.value, node.text()) {
            (Some(_), Some(text)) => format!("{name}: {text}"),
            _ => name.to_owned(),
        }
    }
}

/// The tables of a kind, in the order of the documentation.
pub fn tables(kind: Kind) -> &'static [&'static [Row]] {
    match kind {
        Kind::Service => &[&service::ROWS, &service_deploy::ROWS],
        Kind::Network => &[&network::ROWS],
        Kind::HealthCheck => &[&healthcheck::ROWS],
        Kind::Host => &[&host::ROWS],
    }
}

/// The rows of a kind.
pub fn rows(kind: Kind) -> impl Iterator<Item = &'static Row> {
    tables(kind).iter().flat_map(|table| table.iter())
}

/// A remark on a document, before it has its place.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub path: Vec<String>,
    pub at: Option<Mark>,
    pub message: String,
}

impl Note {
    /// A remark on a path, whose mark is looked up later.
    pub fn on<'a>(path: impl IntoIterator<Item = &'a str>, message: impl Into<String>) -> Self {
        Self { path: path.into_iter().map(str::to_owned).collect(), at: None, message: message.into() }
    }
}

/// Applies the table to a spec: takes out what is ignored or refused, and tells of both.
pub(crate) fn judge(kind: Kind, spec: &mut Node, notes: &mut Vec<Note>) -> Vec<Fault> {
    let mut judge = Judge { kind, notes, faults: Vec::new() };
    judge.walk(spec, &mut Vec::new());
    judge.faults
}

struct Judge<'a> {
    kind: Kind,
    notes: &'a mut Vec<Note>,
    faults: Vec<Fault>,
}

impl Judge<'_> {
    fn walk(&mut self, node: &mut Node, path: &mut Vec<String>) {
        match &mut node.value {
            Value::Map(entries) => {
                let mut index = 0;
                while let Some(entry) = entries.get_mut(index) {
                    path.push(entry.key.clone());
                    let keep = self.verdict(path, &entry.value, entry.key_at);
                    if keep {
                        self.walk(&mut entry.value, path);
                        index += 1;
                    } else {
                        entries.remove(index);
                    }
                    path.pop();
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push(index.to_string());
                    self.walk(item, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    /// What the table says of one entry: whether it stays.
    fn verdict(&mut self, path: &[String], node: &Node, at: Mark) -> bool {
        let fault = |problem: String| Fault::on(path.iter().map(String::as_str), problem).at(at);
        for row in rows(self.kind).filter(|row| row.matches(path, node)) {
            let shown = row.shown(path, node);
            let refusing = matches!(row.verdict, Verdict::Refused(..) | Verdict::NotYet(_));
            if refusing && row.value.is_none() && asks_for_nothing(node) {
                return false;
            }
            match row.verdict {
                // A row for one value may still follow.
                Verdict::Honoured(_) => {}
                Verdict::Silent(_) => return false,
                Verdict::Ignored(why) => {
                    let message = format!("`{shown}` is ignored: {why}");
                    self.notes
                        .push(Note { at: Some(at), ..Note::on(path.iter().map(String::as_str), message) });
                    return false;
                }
                Verdict::Refused(why, instead) => {
                    self.faults.push(fault(format!("`{shown}` is refused: {why}; {instead}")));
                    return false;
                }
                Verdict::NotYet(until) => {
                    self.faults.push(fault(format!("`{shown}` is not supported yet; {until}")));
                    return false;
                }
            }
        }
        true
    }
}

/// `internal: false` and `links: []` say what is so anyway.
fn asks_for_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Bool(false) => true,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        _ => false,
    }
}

/// Tells of an unknown key where it belongs, if the table knows it in another place.
pub(crate) fn locate(kind: Kind, mut fault: Fault) -> Fault {
    let Some(key) = fault.unknown.as_deref() else { return fault };
    let here = fault.path();
    let mut places = rows(kind)
        .filter(|row| row.value.is_none() && matches!(row.verdict, Verdict::Honoured(_)))
        .filter_map(|row| row.key.rsplit_once('.').or(Some(("", row.key))))
        .filter(|(parent, name)| *name == key && *parent != here && !parent.contains('*'))
        .map(|(parent, _)| parent);
    let (Some(place), None) = (places.next(), places.next()) else { return fault };
    let place = if place.is_empty() { "spec".to_owned() } else { format!("spec.{place}") };
    fault.problem = format!("unknown key `{key}` here; it belongs below `{place}`");
    fault.near(None)
}

/// The table of a kind as Markdown, for the documentation.
pub fn markdown(kind: Kind) -> String {
    let mut out = String::from("| key | | |\n|---|---|---|\n");
    for row in rows(kind) {
        let value = row.value.map(|value| format!(": {value}")).unwrap_or_default();
        let (word, text) = match row.verdict {
            Verdict::Honoured(remark) => ("honoured", remark.to_owned()),
            Verdict::Ignored(why) => ("ignored, with a warning", why.to_owned()),
            Verdict::Silent(why) => ("ignored", why.to_owned()),
            Verdict::Refused(why, instead) => ("refused", format!("{why}; {instead}")),
            Verdict::NotYet(until) => ("not yet", until.to_owned()),
        };
        let key = format!("{}{value}", row.key).replace('|', "\\|");
        out.push_str(&format!("| `{key}` | {word} | {} |\n", text.replace('|', "\\|")));
    }
    out
}
