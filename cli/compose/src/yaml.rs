//! From text to a tree: anchors, aliases, `<<`, and Compose's tags, within bounds that no text can exceed.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, Span, StrInput, Tag as YamlTag, options,
};

use crate::tree::{At, Entry, Node, Tag, Value};

/// The largest file that is read.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;
/// The most parts of one import, with every alias, extended service and included file counted anew.
pub(crate) const MAX_NODES: usize = 100_000;
/// How deep lists and mappings may stand in each other.
const MAX_DEPTH: usize = 48;

/// What is said of a file that goes beyond either.
const TOO_MUCH: &str = "the file is nested too deeply, or its aliases unfold to too many parts";

/// Why a text could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    pub at: At,
    pub problem: String,
}

/// What an import may still unfold.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    pub fn new() -> Self {
        Self(MAX_NODES)
    }

    /// Whether so many more parts may be.
    pub fn spend(&mut self, nodes: usize) -> bool {
        let left = self.0.checked_sub(nodes);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// The documents of a text, empty ones left out.
pub(crate) fn read(text: &str, file: usize, budget: &mut Budget) -> Result<Vec<Node>, Bad> {
    if text.len() > MAX_BYTES {
        let problem =
            format!("the file has more than {} KiB; no Compose file needs as many", MAX_BYTES / 1024);
        return Err(Bad { at: At { file, line: 1, column: 1 }, problem });
    }
    let events = Parser::new_from_str_with_options(text, options! { emit_comments: false });
    let mut reader = Reader { events, file, anchors: BTreeMap::new(), budget, depth: 0 };
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        if matches!(event, Event::StreamStart | Event::StreamEnd | Event::DocumentEnd) {
            continue;
        }
        if matches!(event, Event::DocumentStart(..)) {
            reader.anchors.clear();
            continue;
        }
        let node = reader.node(event, span)?;
        if !node.is_null() {
            documents.push(node);
        }
    }
    Ok(documents)
}

struct Reader<'t, 'b> {
    events: Parser<'t, StrInput<'t>>,
    file: usize,
    anchors: BTreeMap<usize, Node>,
    budget: &'b mut Budget,
    depth: usize,
}

impl<'t> Reader<'t, '_> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Bad> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                let mark = error.marker();
                let at = At { file: self.file, line: mark.line().max(1), column: mark.col() + 1 };
                let problem = match error.kind() {
                    ErrorKind::UnknownAnchor => {
                        "this alias names an anchor that the file does not define before it".to_owned()
                    }
                    _ => format!("this is no YAML: {}", error.info()),
                };
                Err(Bad { at, problem })
            }
            None => Ok(None),
        }
    }

    fn at(&self, span: Span) -> At {
        At { file: self.file, line: span.start.line(), column: span.start.col() + 1 }
    }

    fn bad<T>(&self, at: At, problem: impl Into<String>) -> Result<T, Bad> {
        Err(Bad { at, problem: problem.into() })
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Bad> {
        let at = self.at(span);
        if !self.budget.spend(1) || self.depth > MAX_DEPTH {
            return self.bad(at, TOO_MUCH);
        }
        let tag = event.tag().and_then(compose_tag);
        let anchor = event.anchor_id();
        self.depth += 1;
        let value = match event {
            Event::Scalar(text, style, _, tag) => scalar(&text, style, tag.as_deref()),
            Event::SequenceStart(..) => self.list()?,
            Event::MappingStart(..) => self.map()?,
            Event::Alias(id) => return self.alias(id, at),
            _ => return self.bad(at, "this is no YAML: a value is missing here"),
        };
        self.depth -= 1;
        let node = Node { value, at, tag, lack: None };
        if let Some(id) = anchor {
            // Anchors stand in each other, too, and each is kept whole.
            if !self.budget.spend(node.size()) {
                return self.bad(at, TOO_MUCH);
            }
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    /// A copy of what an anchor holds, with the places at which it is written.
    fn alias(&mut self, id: usize, at: At) -> Result<Node, Bad> {
        self.depth -= 1;
        let Some(node) = self.anchors.get(&id) else {
            return self.bad(at, "this alias stands within its own anchor");
        };
        if !self.budget.spend(node.size()) || self.depth + node.depth() > MAX_DEPTH {
            return self.bad(at, TOO_MUCH);
        }
        Ok(node.clone())
    }

    fn list(&mut self) -> Result<Value, Bad> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            items.push(self.node(event, span)?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self) -> Result<Value, Bad> {
        let mut own: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let key = self.node(event, span)?;
            let at = key.at;
            let Some((event, span)) = self.next()? else {
                return self.bad(at, "this is no YAML: a value is missing here");
            };
            let value = self.node(event, span)?;
            let Some(name) = key.text() else {
                return self.bad(at, "a key must be text");
            };
            if plain && name == "<<" {
                merged.extend(self.merged(value, at)?);
            } else if own.iter().any(|entry| entry.key == name) {
                return self.bad(at, format!("the key `{name}` is written twice; keep one of them"));
            } else {
                own.push(Entry { key: name.to_owned(), key_at: at, value });
            }
        }
        // What is written in the mapping itself wins, then what comes first.
        for entry in merged {
            if own.iter().all(|known| known.key != entry.key) {
                own.push(entry);
            }
        }
        Ok(Value::Map(own))
    }

    /// The entries that `<<` brings.
    fn merged(&self, value: Node, at: At) -> Result<Vec<Entry>, Bad> {
        match value.value {
            Value::Map(entries) => Ok(entries),
            Value::List(items) => {
                let mut all = Vec::new();
                for item in items {
                    let Value::Map(entries) = item.value else {
                        return self.bad(at, "`<<` takes a mapping or a list of mappings, as in `<<: *base`");
                    };
                    all.extend(entries);
                }
                Ok(all)
            }
            Value::Null => Ok(Vec::new()),
            _ => self.bad(at, "`<<` takes a mapping or a list of mappings, as in `<<: *base`"),
        }
    }
}

fn compose_tag(tag: &YamlTag) -> Option<Tag> {
    match (tag.handle(), tag.suffix()) {
        ("!", "reset") => Some(Tag::Reset),
        ("!", "override") => Some(Tag::Override),
        _ => None,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&YamlTag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
    match (style, text) {
        (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") if !is_text => Value::Null,
        (ScalarStyle::Plain, text) if !is_text => Value::Plain(text.to_owned()),
        (_, text) => Value::Text(text.to_owned()),
    }
}
