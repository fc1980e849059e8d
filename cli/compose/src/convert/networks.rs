//! `networks`: Compose's become Networks of the cluster, with a pool of addresses each.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::load::Project;
use crate::merge::{named, pairs, short};
use crate::report::{Report, Severity};
use crate::tree::{At, Entry, Node, Value};

use super::names::label;
use super::{Draft, Facts};

/// The project's networks.
#[derive(Debug, Default)]
pub(super) struct Networks {
    /// The Network that each key means.
    names: BTreeMap<String, String>,
    /// The Network of services that name none, unless it is the cluster's `default`.
    implied: Option<String>,
    /// The Networks that this project brings.
    pub drafts: Vec<Draft>,
    /// The first service on the cluster's `default`.
    on_default: Cell<Option<At>>,
}

/// The network that Compose puts services on that name none, and the cluster's.
const DEFAULT: &str = "default";

/// What of it says nothing about who reaches it.
const TRIFLES: [&str; 5] = ["driver", "labels", "attachable", "enable_ipv4", "driver_opts"];

impl Networks {
    /// Those that services use.
    pub fn of(project: &Project, services: &[&Entry], namespace: &str) -> Self {
        let used = used(services);
        let mut networks = Self::default();
        let mut pools = BTreeSet::new();
        for entry in project.section("networks").iter().filter(|entry| used.contains(entry.key.as_str())) {
            if entry.key == DEFAULT && is_ordinary(&entry.value) {
                continue;
            }
            let draft = network(entry, namespace, &mut pools);
            networks.names.insert(entry.key.clone(), draft.name.clone());
            if entry.key == DEFAULT {
                networks.implied = Some(draft.name.clone());
            }
            if !draft.body.entries().is_empty() || draft.is_refused() || !draft.told.is_empty() {
                networks.drafts.push(draft);
            }
        }
        networks.names.entry(DEFAULT.to_owned()).or_insert_with(|| DEFAULT.to_owned());
        networks
    }

    /// Tells once of services that name no network.
    pub fn tell(&self, report: &mut Report) {
        let Some(at) = self.on_default.get() else { return };
        let what = "services that name no network are on the cluster's Network `default`, where those of other \
                    namespaces reach them too";
        report.add(Severity::Changed, at, "", what, "apply a Network named default, if the cluster has none");
    }
}

fn used<'s>(services: &[&'s Entry]) -> BTreeSet<&'s str> {
    let mut used = BTreeSet::new();
    for entry in services {
        match entry.value.get("networks").map(|node| &node.value) {
            Some(Value::Map(entries)) if !entries.is_empty() => {
                used.extend(entries.iter().map(|entry| entry.key.as_str()));
            }
            Some(Value::List(items)) if !items.is_empty() => used.extend(items.iter().filter_map(Node::text)),
            _ => {
                used.insert(DEFAULT);
            }
        }
    }
    used
}

fn is_ordinary(config: &Node) -> bool {
    let trifle = |entry: &Entry| {
        TRIFLES.contains(&entry.key.as_str())
            || entry.key.starts_with("x-")
            || entry.value.is_null()
            || entry.value.text() == Some("false")
    };
    config.entries().iter().all(trifle)
}

/// The draft of a Network; one without a body is another's to bring.
fn network(entry: &Entry, namespace: &str, pools: &mut BTreeSet<u8>) -> Draft {
    let config = &entry.value;
    let external = config.get("external").filter(|node| node.text() != Some("false"));
    let given = config.get("name").or_else(|| external?.get("name")).and_then(Node::text);
    let name = match (given, external) {
        (Some(name), _) => label(name),
        (None, Some(_)) => label(&entry.key),
        (None, None) => label(&format!("{namespace}-{}", entry.key)),
    };
    let mut draft = Draft::new("networks", &entry.key, &name, entry.key_at, Node::map_at(entry.key_at));
    if external.is_some() {
        let what = format!(
            "the network is external: services join the cluster's Network {name}, and none is written"
        );
        draft.tell(Severity::Decide, entry.key_at, "external", what, "see that the cluster has it");
        return draft;
    }
    let mut ipam = Node::map_at(entry.key_at);
    for part in config.entries() {
        keyed(&mut draft, part, &mut ipam);
    }
    pool(&mut draft, &mut ipam, pools);
    draft.body.put("ipam", entry.key_at, ipam);
    draft
}

/// One key of a network.
fn keyed(draft: &mut Draft, Entry { key, key_at, value }: &Entry, ipam: &mut Node) {
    match key.as_str() {
        "name" | "external" | "attachable" | "enable_ipv4" => {}
        key if key.starts_with("x-") => {}
        "labels" => draft.labels = Some(pairs(value.clone())),
        "ipam" => value.entries().iter().for_each(|part| address_part(draft, part, ipam)),
        "driver" | "driver_opts" | "internal" | "enable_ipv6" => {
            if let Some((severity, what, todo)) = remark(key, value) {
                draft.tell(severity, *key_at, key, what, todo);
            }
        }
        _ => draft.body.put(key, *key_at, value.clone()),
    }
}

/// What there is to be said of a key that a Network does not have.
fn remark(key: &str, value: &Node) -> Option<(Severity, String, &'static str)> {
    let asks = value.text() != Some("false") && !value.is_null();
    let (severity, what, todo) = match (key, value.text()) {
        ("driver", None | Some("bridge" | "")) => return None,
        ("driver", Some("overlay")) => {
            let what = "there is no overlay: hosts reach each other's containers by plain routes";
            (Severity::Changed, what.to_owned(), "")
        }
        ("driver", Some(other)) => {
            let what = format!("a Network is a bridge on each host, and no {other}");
            (Severity::Refused, what, "leave `driver` out, and import again")
        }
        ("driver_opts", _) if value.get("encrypted").is_some() => {
            let what = "traffic between hosts is not encrypted".to_owned();
            (Severity::Decide, what, "keep the hosts' LAN to yourself, or encrypt it below")
        }
        ("driver_opts", _) => (Severity::Changed, "left out: the bridges are evenkeel's".to_owned(), ""),
        _ if !asks => return None,
        ("internal", _) => {
            let what =
                "a Network that leads nowhere else is not supported yet: containers would reach the outside";
            (Severity::Refused, what.to_owned(), "leave `internal` out if they may, and import again")
        }
        _ => (Severity::Decide, "left out: there is IPv4 only".to_owned(), "see that nothing needs IPv6"),
    };
    Some((severity, what, todo))
}

/// One key of `ipam`.
fn address_part(draft: &mut Draft, Entry { key, key_at, value }: &Entry, ipam: &mut Node) {
    if key != "config" {
        if matches!(value.text(), None | Some("default")) && key == "driver" {
            return;
        }
        draft.tell(
            Severity::Changed,
            *key_at,
            format!("ipam.{key}"),
            "left out: evenkeel gives the addresses out",
            "",
        );
        return;
    }
    let mut pools = Vec::new();
    for (index, item) in value.items().iter().enumerate() {
        let path = |key: &str| format!("ipam.config.{index}.{key}");
        for entry in item.entries().iter().filter(|entry| entry.key != "subnet") {
            let what = "left out: each host gets a part of the pool, and evenkeel gives the addresses out";
            draft.tell(Severity::Changed, entry.key_at, path(&entry.key), what, "");
        }
        let Some(subnet) = item.get("subnet") else { continue };
        if subnet.text().is_some_and(|text| text.contains(':')) {
            let what = "the IPv6 pool is left out: there is IPv4 only";
            draft.tell(Severity::Decide, subnet.at, path("subnet"), what, "see that nothing needs IPv6");
            continue;
        }
        let mut pool = Node::map_at(item.at);
        pool.put("subnet", subnet.at, subnet.clone());
        pools.push(pool);
    }
    if !pools.is_empty() {
        ipam.put("config", *key_at, Node::new(Value::List(pools), value.at));
    }
}

/// Chooses a pool where the file gives none: the same one in every import of the same name.
fn pool(draft: &mut Draft, ipam: &mut Node, taken: &mut BTreeSet<u8>) {
    if ipam.get("config").is_some() {
        return;
    }
    let hash =
        draft.name.bytes().fold(2_166_136_261_u32, |hash, b| (hash ^ u32::from(b)).wrapping_mul(16_777_619));
    let first = u8::try_from(hash % 64).unwrap_or(0);
    let second = (0..64).map(|step| 128 + (first + step) % 64).find(|n| !taken.contains(n)).unwrap_or(128);
    taken.insert(second);
    let (at, subnet) = (draft.at, format!("10.{second}.0.0/16"));
    let what = format!(
        "Compose chooses the addresses of a network itself, a Network needs a pool for all hosts: {subnet} is written"
    );
    let todo = "see that it overlaps with none of your networks, or write another";
    draft.tell(Severity::Decide, at, "", what, todo);
    let mut pool = Node::map_at(at);
    pool.put("subnet", at, Node::text_at(subnet, at));
    ipam.put("config", at, Node::new(Value::List(vec![pool]), at));
}

/// The networks of a service.
pub(super) fn attach(draft: &mut Draft, facts: &Facts<'_>) {
    let networks = &facts.networks;
    if draft.body.get("network_mode").is_some() {
        return;
    }
    let entry = draft.body.take("networks");
    let written =
        entry.as_ref().is_some_and(|e| !e.value.entries().is_empty() || !e.value.items().is_empty());
    let Some(Entry { key_at, value, .. }) = entry.filter(|_| written) else {
        match &networks.implied {
            Some(name) => {
                let at = draft.at;
                draft.body.put("networks", at, Node::new(Value::List(vec![Node::text_at(name, at)]), at));
            }
            None => {
                let first = networks.on_default.get().map_or(draft.at, |at| at.min(draft.at));
                networks.on_default.set(Some(first));
            }
        }
        return;
    };
    let mut joined = Node::map_at(value.at);
    for Entry { key, key_at, value } in named(value).entries() {
        let Some(name) = networks.names.get(key) else {
            let what = format!("there is no network `{key}` in the file");
            draft.tell(
                Severity::Refused,
                *key_at,
                format!("networks.{key}"),
                what,
                "write it below the top-level `networks`",
            );
            continue;
        };
        joined.put(name, *key_at, attachment(draft, key, value));
    }
    draft.body.put("networks", key_at, short(joined));
}

/// What a service is on one network, as far as that is its own to say.
fn attachment(draft: &mut Draft, network: &str, config: &Node) -> Node {
    let mut kept = Node::map_at(config.at);
    for Entry { key, key_at, value } in config.entries() {
        let path = format!("networks.{network}.{key}");
        match key.as_str() {
            "aliases" => {
                let aliases = aliases(draft, &path, value);
                if !aliases.is_empty() {
                    kept.put("aliases", *key_at, Node::new(Value::List(aliases), value.at));
                }
            }
            "ipv4_address" | "ipv6_address" | "link_local_ips" => {
                let what = "left out: evenkeel gives the addresses out";
                draft.tell(
                    Severity::Decide,
                    *key_at,
                    path,
                    what,
                    "write the service's name where the address is used",
                );
            }
            "priority" | "gw_priority" => {}
            "driver_opts" | "interface_name" | "mac_address" => {
                draft.tell(
                    Severity::Decide,
                    *key_at,
                    path,
                    "left out: the networks are evenkeel's",
                    "see that nothing needs it",
                );
            }
            _ => kept.put(key, *key_at, value.clone()),
        }
    }
    if kept.entries().is_empty() { Node::new(Value::Null, config.at) } else { kept }
}

fn aliases(draft: &mut Draft, path: &str, value: &Node) -> Vec<Node> {
    let mut aliases: Vec<Node> = Vec::new();
    for item in value.one_or_many() {
        let Some(text) = item.text() else { continue };
        let label = label(text);
        if label == draft.name || aliases.iter().any(|known| known.text() == Some(&label)) {
            continue;
        }
        if label != text {
            let what = format!("the name {text} cannot be part of a host name; {label} is written");
            draft.tell(Severity::Decide, item.at, path, what, format!("write {label} where {text} is meant"));
        }
        aliases.push(Node { lack: item.lack.clone(), ..Node::text_at(label, item.at) });
    }
    aliases
}
