//! How one file is laid over another, and a service over the one that it extends: mappings are merged, lists are
//! put together, and single values replaced; with Compose's exceptions.

use crate::tree::{Entry, Node, Tag, Value};

/// What two values of one key become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Mappings merge, lists add up, the later scalar stays.
    Ordinary,
    /// The later one stays.
    Replace,
    /// `NAME=value`, as a list or as a mapping: by their names.
    Pairs,
    /// Texts, one or a list: added up.
    Texts,
    /// A list of names or a mapping of them: as mappings.
    Named,
    /// By their driver: options of another one are of no use.
    Logging,
}

/// Exceptions, by their path; `*` is any name.
const RULES: [(&str, Rule); 24] = [
    ("networks.*.labels", Rule::Pairs),
    ("volumes.*.labels", Rule::Pairs),
    ("networks.*.ipam.config", Rule::Replace),
    ("services.*.annotations", Rule::Pairs),
    ("services.*.build.args", Rule::Pairs),
    ("services.*.build.labels", Rule::Pairs),
    ("services.*.command", Rule::Replace),
    ("services.*.depends_on", Rule::Named),
    ("services.*.deploy.labels", Rule::Pairs),
    ("services.*.dns", Rule::Texts),
    ("services.*.dns_opt", Rule::Texts),
    ("services.*.dns_search", Rule::Texts),
    ("services.*.entrypoint", Rule::Replace),
    ("services.*.env_file", Rule::Texts),
    ("services.*.environment", Rule::Pairs),
    // A name without a value takes it from the environment, also over one that had a value.
    ("services.*.environment.*", Rule::Replace),
    ("services.*.healthcheck.test", Rule::Replace),
    ("services.*.label_file", Rule::Texts),
    ("services.*.labels", Rule::Pairs),
    ("services.*.logging", Rule::Logging),
    ("services.*.networks", Rule::Named),
    ("services.*.sysctls", Rule::Pairs),
    ("services.*.tmpfs", Rule::Texts),
    ("services.*.ulimits.*", Rule::Replace),
];

/// `over` laid over `base`, both at `path`.
pub(crate) fn merge(base: Node, over: Node, path: &mut Vec<String>) -> Node {
    if over.tag == Some(Tag::Override) {
        return plain(over).unwrap_or(base);
    }
    let rule = rule(path);
    let (base, over) = match rule {
        Rule::Replace => return plain(over).unwrap_or(base),
        Rule::Pairs => (pairs(base), pairs(over)),
        Rule::Texts => (listed(base), listed(over)),
        Rule::Named => (named(base), named(over)),
        Rule::Logging if driver(&base).zip(driver(&over)).is_some_and(|(a, b)| a != b) => {
            return plain(over).unwrap_or(base);
        }
        Rule::Logging | Rule::Ordinary => (base, over),
    };
    let at = over.at;
    match (base.value, over.value) {
        (Value::Map(mut entries), Value::Map(others)) => {
            for entry in others {
                lay(&mut entries, entry, path);
            }
            Node { lack: over.lack.or(base.lack), ..Node::new(Value::Map(entries), at) }
        }
        (Value::List(items), Value::List(others)) => {
            let items = items.into_iter().chain(others.into_iter().filter_map(plain)).collect();
            Node::new(Value::List(unique(items, path)), at)
        }
        // `key:` without a value says nothing about what is there.
        (value, Value::Null) => Node { value, at: base.at, tag: None, lack: base.lack },
        (_, value) => {
            let over = Node { value, at, tag: None, lack: over.lack };
            plain(over).unwrap_or(Node::new(Value::Null, at))
        }
    }
}

fn lay(entries: &mut Vec<Entry>, entry: Entry, path: &mut Vec<String>) {
    let place = entries.iter().position(|known| known.key == entry.key);
    if entry.value.tag == Some(Tag::Reset) {
        entries.retain(|known| known.key != entry.key);
        return;
    }
    path.push(entry.key.clone());
    match place {
        Some(place) => {
            let known = std::mem::replace(&mut entries[place].value, Node::new(Value::Null, entry.key_at));
            // Of a mapping that is only added to, the place is where it began.
            let added = matches!((&known.value, &entry.value.value), (Value::Map(_), Value::Map(_)));
            let changed = !entry.value.is_null() && !added;
            entries[place].value = merge(known, entry.value, path);
            if changed {
                entries[place].key_at = entry.key_at;
            }
        }
        None => entries.extend(fresh(entry, path)),
    }
    path.pop();
}

/// What is laid over nothing.
fn fresh(entry: Entry, path: &mut Vec<String>) -> Option<Entry> {
    let Entry { key, key_at, value } = entry;
    let at = value.at;
    let value = match value.value {
        // So that doubles within one file are found as well.
        Value::Map(_) if value.tag.is_none() => merge(Node::map_at(at), value, path),
        Value::List(_) if value.tag.is_none() => merge(Node::new(Value::List(Vec::new()), at), value, path),
        _ => plain(value)?,
    };
    Some(Entry { key, key_at, value })
}

/// Without tags, and without what is reset.
fn plain(node: Node) -> Option<Node> {
    if node.tag == Some(Tag::Reset) {
        return None;
    }
    let Node { value, at, lack, .. } = node;
    let value = match value {
        Value::List(items) => Value::List(items.into_iter().filter_map(plain).collect()),
        Value::Map(entries) => Value::Map(
            entries
                .into_iter()
                .filter_map(|Entry { key, key_at, value }| Some(Entry { key, key_at, value: plain(value)? }))
                .collect(),
        ),
        other => other,
    };
    Some(Node { value, at, tag: None, lack })
}

fn rule(path: &[String]) -> Rule {
    let is = |pattern: &str| {
        let mut parts = pattern.split('.');
        path.iter().all(|step| parts.next().is_some_and(|part| part == "*" || part == step))
            && parts.next().is_none()
    };
    RULES.iter().find(|(pattern, _)| is(pattern)).map_or(Rule::Ordinary, |(_, rule)| *rule)
}

/// `[A=1, B]` as `{A: 1, B: }`; what is no such list stays.
pub(crate) fn pairs(node: Node) -> Node {
    let Value::List(items) = node.value else { return node };
    let mut map = Node::new(Value::Map(Vec::new()), node.at);
    for item in items {
        let Some(text) = item.text() else { continue };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Value::Text(value.to_owned())),
            None => (text.to_owned(), Value::Null),
        };
        let at = item.at;
        map.put(&name, at, Node { value, at, tag: None, lack: item.lack });
    }
    map
}

/// `a` as `[a]`.
fn listed(node: Node) -> Node {
    match node.value {
        Value::List(_) | Value::Null => node,
        _ => {
            let at = node.at;
            Node::new(Value::List(vec![node]), at)
        }
    }
}

/// `[a, b]` as `{a: , b: }`.
pub(crate) fn named(node: Node) -> Node {
    let Value::List(items) = node.value else { return node };
    let mut map = Node::new(Value::Map(Vec::new()), node.at);
    for item in items {
        let at = item.at;
        if let Some(name) = item.text() {
            map.put(name, at, Node { value: Value::Null, at, tag: None, lack: item.lack.clone() });
        }
    }
    map
}

/// `{a: , b: }` as `[a, b]`, where nothing is said of either.
pub(crate) fn short(node: Node) -> Node {
    if !node.entries().iter().all(|entry| entry.value.is_null()) {
        return node;
    }
    let names = node.entries().iter().map(|entry| Node::text_at(&entry.key, entry.key_at)).collect();
    Node::new(Value::List(names), node.at)
}

fn driver(node: &Node) -> Option<&str> {
    node.get("driver").and_then(Node::text)
}

/// Of items that mean one thing, the last, in the place of the first.
fn unique(items: Vec<Node>, path: &[String]) -> Vec<Node> {
    let [services, _, key] = path else { return items };
    if services != "services" {
        return items;
    }
    let mut kept: Vec<(Option<String>, Node)> = Vec::new();
    for item in items {
        let index = index(key, &item);
        match kept.iter_mut().find(|(known, _)| known.is_some() && *known == index) {
            Some((_, place)) => *place = item,
            None => kept.push((index, item)),
        }
    }
    kept.into_iter().map(|(_, item)| item).collect()
}

/// What an item of a service's list is known by.
fn index(key: &str, item: &Node) -> Option<String> {
    match key {
        "volumes" | "devices" => match item.text() {
            Some(text) => {
                let mut parts = text.split(':');
                let first = parts.next();
                parts.next().or(first).map(|target| target.trim_end_matches('/').to_owned())
            }
            None => item.get("target")?.text().map(|target| target.trim_end_matches('/').to_owned()),
        },
        "ports" => match item.text() {
            Some(text) => Some(text.strip_suffix("/tcp").unwrap_or(text).to_owned()),
            None => {
                let part = |key: &str| item.get(key).and_then(Node::text).unwrap_or_default().to_owned();
                let protocol = part("protocol").replace("tcp", "");
                let address = part("host_ip");
                Some(format!("{address}|{}|{}|{protocol}", part("published"), part("target")))
            }
        },
        "env_file" | "label_file" => item.text().or_else(|| item.get("path")?.text()).map(str::to_owned),
        "secrets" | "configs" => {
            let target = item.get("target").or_else(|| item.get("source"));
            item.text().or_else(|| target?.text()).map(str::to_owned)
        }
        "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "expose" | "links" | "profiles"
        | "tmpfs" | "security_opt" | "group_add" => item.text().map(str::to_owned),
        _ => None,
    }
}
