//! A Compose file as a tree that knows where each of its parts stands, through aliases, merges and includes.

/// A place in one of the files that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    /// Index of the file, in the order of reading.
    pub file: usize,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// One part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub value: Value,
    pub at: At,
    /// How it takes part in a merge.
    pub tag: Option<Tag>,
    /// What its variables lacked.
    pub lack: Option<Lack>,
}

/// What a part of a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    /// Written without quotes, and so perhaps a number or a truth value.
    Plain(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub key: String,
    pub key_at: At,
    pub value: Node,
}

/// Compose's tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// `!reset`: take what earlier files say away.
    Reset,
    /// `!override`: replace it instead of merging.
    Override,
}

/// What the variables of a text lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lack {
    /// These are not set and have no default; the text has nothing in their place, as in Compose.
    Unset(Vec<String>),
    /// The text cannot be filled in; Compose would read no further.
    Broken(String),
}

impl Node {
    /// A part without tag or lack.
    pub fn new(value: Value, at: At) -> Self {
        Self { value, at, tag: None, lack: None }
    }

    /// A text.
    pub fn text_at(text: impl Into<String>, at: At) -> Self {
        Self::new(Value::Text(text.into()), at)
    }

    /// A mapping without entries.
    pub fn map_at(at: At) -> Self {
        Self::new(Value::Map(Vec::new()), at)
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// A scalar as it is written.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Plain(text) | Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_true(&self) -> bool {
        self.text() == Some("true")
    }

    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Texts that may be written as one or as a list.
    pub fn one_or_many(&self) -> Vec<&Node> {
        match &self.value {
            Value::List(items) => items.iter().collect(),
            Value::Null => Vec::new(),
            _ => vec![self],
        }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of an entry, unless nothing is written there.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// The value below a path, unless nothing is written there.
    pub fn find(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| node.get(step))
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => {
                entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
            }
            _ => None,
        }
    }

    /// Takes an entry out of a mapping.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let Value::Map(entries) = &mut self.value else { return None };
        let index = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(index))
    }

    /// Puts an entry into a mapping, in the place of one that is there.
    pub fn put(&mut self, key: &str, key_at: At, value: Node) {
        let Value::Map(entries) = &mut self.value else { return };
        match entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value = value,
            None => entries.push(Entry { key: key.to_owned(), key_at, value }),
        }
    }

    /// How many parts it has, itself included.
    pub fn size(&self) -> usize {
        match &self.value {
            Value::List(items) => 1 + items.iter().map(Node::size).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|entry| entry.value.size()).sum::<usize>(),
            _ => 1,
        }
    }

    /// How deep its parts stand in each other.
    pub fn depth(&self) -> usize {
        match &self.value {
            Value::List(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Value::Map(entries) => 1 + entries.iter().map(|entry| entry.value.depth()).max().unwrap_or(0),
            _ => 1,
        }
    }

    /// Calls `each` with every scalar and its path.
    pub fn scalars<'a>(&'a self, path: &mut Vec<String>, each: &mut dyn FnMut(&[String], &'a Node)) {
        match &self.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    item.scalars(path, each);
                    path.pop();
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    entry.value.scalars(path, each);
                    path.pop();
                }
            }
            _ => each(path, self),
        }
    }
}
