//! A text as a tree that knows where each of its parts stands.
//!
//! Everything after this works on the tree: so a problem that shows only when two fields are compared still
//! has a line and a column, and one rule for `$` holds for every text of every kind.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::error::{Fault, Mark};

/// One part of a document.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// What it is.
    pub value: Value,
    /// Where it is written; for what came by an alias, where the anchor stands.
    pub at: Mark,
}

/// What a part of a document is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// A number: its value, and how it was written.
    Number(Number, String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A number as it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
}

/// One entry of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub key_at: Mark,
    pub value: Node,
}

impl Node {
    /// The entry of a mapping.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value of a mapping's entry.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Takes an entry out of a mapping.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        match &mut self.value {
            Value::Map(entries) => {
                let index = entries.iter().position(|entry| entry.key == key)?;
                Some(entries.remove(index))
            }
            _ => None,
        }
    }

    /// Whether nothing is written here.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// A scalar as it was written.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Number(_, text) | Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The mark of the deepest part of a path that exists: of a mapping the key, of a list the item.
    pub fn find<'a>(&self, path: impl Iterator<Item = &'a str>) -> Mark {
        let (mut node, mut mark) = (self, self.at);
        for step in path {
            match &node.value {
                Value::Map(entries) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == step) else { break };
                    (node, mark) = (&entry.value, entry.key_at);
                }
                Value::List(items) => {
                    let Some(item) = step.parse().ok().and_then(|n: usize| items.get(n)) else { break };
                    (node, mark) = (item, item.at);
                }
                _ => break,
            }
        }
        mark
    }
}

/// Reads one document, which begins at `base` in its file.
pub(crate) fn load(text: &str, base: Base) -> Result<Node, Fault> {
    let options = serde_saphyr::options! {
        // `yes` and `on` are text: `restart: no` must not become false.
        strict_booleans: true,
        budget: serde_saphyr::budget! {
            max_nodes: 20_000,
            max_events: 60_000,
            max_aliases: 500,
            max_anchors: 200,
            max_depth: 40,
            max_merge_keys: 500,
        },
    };
    let tree: Spanned<Tree> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| parse_fault(&error, text, base))?;
    Ok(Builder { text, base }.node(tree))
}

/// Where a document begins in its file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Base {
    pub lines: u64,
    pub bytes: usize,
    /// What stands before it on its first line.
    pub columns: u64,
}

impl Base {
    fn mark(self, location: Location) -> Mark {
        let number = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        Mark {
            line: location.line() + self.lines,
            column: location.column() + if location.line() == 1 { self.columns } else { 0 },
            offset: number(location.span().byte_offset()) + self.bytes,
            len: number(location.span().byte_len()),
        }
    }
}

/// The parser's words, without advice that is meant for its programmers.
fn parse_fault(error: &serde_saphyr::Error, text: &str, base: Base) -> Fault {
    use serde_saphyr::Error as E;
    let mut cause = error.without_snippet();
    while let E::AliasError { error, .. } = cause {
        cause = error.without_snippet();
    }
    let problem = match cause {
        E::DuplicateMappingKey { key, .. } => match key {
            Some(key) => format!("the key `{key}` is written twice; keep one of them"),
            None => "a key is written twice; keep one of them".to_owned(),
        },
        E::UnknownAnchor { .. } => {
            "this alias names an anchor that the document does not define; anchors of the file that it came \
             from do not come along: write the anchor's content here"
                .to_owned()
        }
        E::MergeValueNotMapOrSeqOfMaps { .. } => {
            "`<<` takes a mapping or a list of mappings, as in `<<: *base`".to_owned()
        }
        E::NullIntoString { .. } => "a key must be text; this one is null".to_owned(),
        E::NonFiniteFloat { value, .. } => {
            format!("`{value}` is no number; put it in quotes to mean the text")
        }
        E::Unexpected { expected: "string scalar", .. } => {
            "a key must be text, not a list or a mapping".to_owned()
        }
        E::Budget { .. } | E::AliasReplayLimitExceeded { .. } | E::AliasExpansionLimitExceeded { .. } => {
            "the document is nested too deeply or unfolds to too many parts".to_owned()
        }
        other => {
            let words = other.to_string();
            let words = words.split(" at line ").next().unwrap_or_default();
            let tab = if words.contains("tab") { "; indent with spaces" } else { "" };
            format!("this is no YAML: {words}{tab}")
        }
    };
    let fault = Fault::new(problem);
    let end = || {
        let line = text.lines().count().max(1) as u64;
        Mark { line: line + base.lines, column: 1, offset: base.bytes + text.len(), len: 0 }
    };
    match error.location().filter(|location| location.line() > 0) {
        Some(location) => fault.at(base.mark(location)),
        None => fault.at(end()),
    }
}

/// The tree as the parser gives it, before marks refer to the whole file.
enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, a list or a mapping")
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }
    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(Number::Signed(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(Number::Unsigned(value)))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(Number::Float(value)))
    }
    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Number(Number::Float(value as f64)))
    }
    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        Ok(Tree::Number(Number::Float(value as f64)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}

struct Builder<'a> {
    text: &'a str,
    base: Base,
}

impl Builder<'_> {
    fn node(&self, tree: Spanned<Tree>) -> Node {
        let at = self.base.mark(tree.defined);
        let value = match tree.value {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(value),
            // As it was written: `1.10` in an environment is a version, not 1.1.
            Tree::Number(number) => {
                Value::Number(number, self.written(at).unwrap_or_else(|| number.to_string()))
            }
            Tree::Text(text) => Value::Text(text),
            Tree::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            Tree::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| Entry {
                        key_at: self.base.mark(key.defined),
                        key: key.value,
                        value: self.node(value),
                    })
                    .collect(),
            ),
        };
        Node { value, at }
    }

    fn written(&self, at: Mark) -> Option<String> {
        let from = at.offset.checked_sub(self.base.bytes)?;
        self.text.get(from..from + at.len).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Signed(n) => n.fmt(f),
            Number::Unsigned(n) => n.fmt(f),
            Number::Float(n) => n.fmt(f),
        }
    }
}
