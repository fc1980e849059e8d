//! `volumes`: named ones are the namespace's, paths are the hosts', and what lies beside the Compose file is a
//! person's to decide on.

use std::collections::{BTreeMap, BTreeSet};

use crate::load::Project;
use crate::report::{Report, Severity};
use crate::tree::{At, Entry, Node, Value};
use crate::world::join;

use super::names::label;
use super::{Draft, Facts};

/// The project's volumes: of each its name here, or why it cannot be had.
#[derive(Debug, Default)]
pub(super) struct Volumes(BTreeMap<String, Result<String, &'static str>>);

impl Volumes {
    /// All of them; what is to be said of those that services use is told.
    pub fn of(project: &Project, services: &[&Entry], report: &mut Report) -> Self {
        let used = used(services);
        let mut volumes = BTreeMap::new();
        let mut names = BTreeSet::new();
        for entry in project.section("volumes") {
            let name = label(&entry.key);
            let found = match unusable(&entry.value) {
                Some(why) => Err(why),
                None if name.is_empty() || !names.insert(name.clone()) => {
                    Err("another volume has its name already, once it is written as part of a host name is")
                }
                None => Ok(name),
            };
            if let (true, Ok(name)) = (used.contains(&entry.key), &found) {
                tell(entry, name, report);
            }
            volumes.insert(entry.key.clone(), found);
        }
        Self(volumes)
    }
}

fn unusable(config: &Node) -> Option<&'static str> {
    if config.get("driver_opts").is_some_and(|opts| !opts.entries().is_empty()) {
        return Some("its driver's options say where the data is, and volumes here have none");
    }
    match config.get("driver").and_then(Node::text) {
        None | Some("local" | "") => None,
        Some(_) => Some("its driver keeps the data elsewhere, and volumes here lie on the host"),
    }
}

fn tell(entry: &Entry, name: &str, report: &mut Report) {
    let external = entry.value.get("external").is_some_and(|node| node.text() != Some("false"));
    let called = if name == entry.key { String::new() } else { format!("it is called {name} here; ") };
    let (severity, what, todo) = if external {
        let what =
            "the volume is external, and its data does not come along: the copies begin with an empty one";
        (
            Severity::Decide,
            what,
            "copy the data into the namespace's volume, or mount a path that the hosts have",
        )
    } else {
        let what = "the volume lies on the host of its first copy, and begins empty: what Compose has in its own \
                    does not come along";
        (Severity::Changed, what, "")
    };
    report.add(severity, entry.key_at, format!("volumes.{}", entry.key), format!("{called}{what}"), todo);
}

/// The names of volumes that services mount.
fn used(services: &[&Entry]) -> BTreeSet<String> {
    let mounts =
        services.iter().flat_map(|entry| entry.value.get("volumes").map(Node::items).unwrap_or_default());
    mounts
        .filter_map(|mount| match mount.text() {
            Some(text) => text.split_once(':').map(|(source, _)| source.to_owned()),
            None => mount.get("source")?.text().map(str::to_owned),
        })
        .collect()
}

/// The mounts of a service.
pub(super) fn mounts(draft: &mut Draft, facts: &Facts<'_>) {
    let Some(Entry { key_at, mut value, .. }) = draft.body.take("volumes") else { return };
    if let Value::List(items) = &mut value.value {
        for (index, item) in items.iter_mut().enumerate() {
            // What is meant by a text with a hole in it, nobody knows; it is refused for that.
            if item.lack.is_some() {
                continue;
            }
            let path = format!("volumes.{index}");
            match item.text().map(str::to_owned) {
                Some(text) => short(draft, facts, &path, item, &text),
                None => long(draft, facts, &path, item),
            }
        }
    }
    draft.body.put("volumes", key_at, value);
}

/// `[source:]target[:options]`.
fn short(draft: &mut Draft, facts: &Facts<'_>, path: &str, item: &mut Node, text: &str) {
    let Some((source, rest)) = text.split_once(':') else { return };
    let (target, options) =
        rest.split_once(':').map_or((rest, None), |(target, options)| (target, Some(options)));
    let Some(source) = self::source(draft, facts, path, source, item.at) else { return };
    let options =
        options.map(|options| known(draft, path, options, item.at)).filter(|options| !options.is_empty());
    let mut written = format!("{source}:{target}");
    if let Some(options) = options {
        written.push(':');
        written.push_str(&options);
    }
    item.value = Value::Text(written);
}

fn long(draft: &mut Draft, facts: &Facts<'_>, path: &str, item: &mut Node) {
    if !matches!(item.get("type").and_then(Node::text), Some("bind" | "volume")) {
        return;
    }
    item.take("consistency");
    let Some(node) = item.get_mut("source").filter(|node| node.lack.is_none()) else { return };
    let (at, text) = (node.at, node.text().unwrap_or_default().to_owned());
    if let Some(source) = source(draft, facts, &format!("{path}.source"), &text, at) {
        node.value = Value::Text(source);
    }
}

/// What a source is called here; nothing where it cannot be had, which is told.
fn source(draft: &mut Draft, facts: &Facts<'_>, path: &str, source: &str, at: At) -> Option<String> {
    let todo = "copy it to the hosts and write its path there, build it into the image and take the mount out, or \
                write a volume's name";
    if source.starts_with('/') {
        let what = format!(
            "{source} must be there on each host that takes a copy; Compose would make an empty folder"
        );
        draft.tell(Severity::Changed, at, path, what, "");
        return Some(source.to_owned());
    }
    if let Some(rest) = source.strip_prefix('~') {
        let Some(home) = facts.variable("HOME").filter(|home| home.starts_with('/')) else {
            let what = format!("{source} lies in the home of whoever deploys, and HOME is not set");
            draft.tell(Severity::Refused, at, path, what, todo);
            return None;
        };
        let absolute = format!("{home}{rest}");
        let what = format!(
            "{source} lies in the home of whoever deploys, and the hosts do not have it: {absolute} is written"
        );
        draft.tell(Severity::Decide, at, path, what, todo);
        return Some(absolute);
    }
    if source.starts_with('.') {
        if let Some(there) = on_hosts(facts, source, at) {
            let what =
                format!("{there} is written for {source}: it must be there on each host that takes a copy");
            draft.tell(Severity::Changed, at, path, what, "");
            return Some(there);
        }
        let absolute = join(&facts.world.directory(), &join(facts.base(at), source).to_string_lossy());
        let absolute = absolute.to_string_lossy().into_owned();
        let what = format!(
            "{source} lies beside the Compose file, and the hosts do not have it: {absolute} is written, as Compose \
             means it here"
        );
        draft.tell(Severity::Decide, at, path, what, todo);
        return Some(absolute);
    }
    let why = match facts.volumes.0.get(source) {
        Some(Ok(name)) => return Some(name.clone()),
        Some(Err(why)) => format!("the volume {source} cannot be had: {why}"),
        None => format!("there is no volume `{source}` in the file"),
    };
    draft.tell(Severity::Refused, at, path, why, "write another volume, or a path that the hosts have");
    None
}

/// Where a file of the project lies on the hosts, if whoever imports said where the project does.
fn on_hosts(facts: &Facts<'_>, source: &str, at: At) -> Option<String> {
    let root = facts.files_at?;
    let below = facts.base(at).strip_prefix(&facts.project.base).ok()?;
    Some(join(root, &join(below, source).to_string_lossy()).to_string_lossy().into_owned())
}

/// The options that Compose knows; it overlooks others.
fn known(draft: &mut Draft, path: &str, options: &str, at: At) -> String {
    let known = |word: &str| {
        matches!(
            word,
            "ro" | "rw"
                | "z"
                | "Z"
                | "nocopy"
                | "cached"
                | "delegated"
                | "consistent"
                | "private"
                | "rprivate"
                | "shared"
                | "rshared"
                | "slave"
                | "rslave"
        )
    };
    let (good, bad): (Vec<&str>, Vec<&str>) = options.split(',').partition(|word| known(word));
    for word in bad {
        let what = format!(
            "Compose overlooks `{word}`, which is no option of a mount, and so it is left out: the mount can be \
             written to"
        );
        draft.tell(Severity::Decide, at, path, what, "write what is meant, like ro,z");
    }
    good.join(",")
}
