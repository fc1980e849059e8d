//! The envelope: which object a document is about, and that it says so in one way only.

use crate::healthcheck::HealthCheckSpec;
use crate::host::HostSpec;
use crate::meta::{API_VERSION, Kind, Metadata, ObjectRef};
use crate::name::Namespace;
use crate::network::NetworkSpec;

use super::error::{Fault, Warning};
use super::keys::{self, Note};
use super::node::{Entry, Node, Value};
use super::stream::Piece;
use super::suggest::nearest;
use super::{Document, DocumentSpec, Origin, check, de, lower, raw};

/// The keys of an envelope.
const KEYS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// Reads a document from its tree.
pub(crate) fn document(mut root: Node, piece: Piece<'_>, from: &Origin) -> Result<Document, Fault> {
    recognise(&root)?;
    version(&root)?;
    let kind = kind(&root, from)?;
    let metadata: Metadata = match root.get("metadata").filter(|node| !node.is_null()) {
        Some(node) => de::read(node).map_err(|fault| fault.within("metadata"))?,
        None => Metadata::default(),
    };
    let object = object(&root, kind, &metadata, from)?;
    let line = root.at.line;
    let Some(Entry { value: mut spec, key_at, .. }) =
        root.take("spec").filter(|entry| !entry.value.is_null())
    else {
        return Err(Fault::new("`spec` is missing: what the document wants stands below it").at(root.at));
    };
    if !matches!(spec.value, Value::Map(_)) {
        return Err(Fault::on(["spec"], "`spec` takes a mapping").at(key_at));
    }
    let mut notes = Vec::new();
    let original = spec.clone();
    let spec = read(kind, &mut spec, &mut notes).map_err(|fault| placed(fault, &original))?;
    let warnings = notes.into_iter().map(|note| warning(note, &original)).collect();
    Ok(Document {
        object,
        metadata,
        spec,
        warnings,
        line,
        source: piece.text.trim_start_matches('\n').to_owned(),
    })
}

/// Reads what is wanted, by kind.
fn read(kind: Kind, spec: &mut Node, notes: &mut Vec<Note>) -> Result<DocumentSpec, Fault> {
    if kind == Kind::Service {
        check::has_image(spec)?;
    }
    let mut faults = keys::judge(kind, spec, notes);
    let read = match kind {
        Kind::Service => de::read(spec).map(Read::Service),
        Kind::Network => de::read(spec).map(Read::Network),
        Kind::HealthCheck => de::read(spec).map(Read::HealthCheck),
        Kind::Host => de::read(spec).map(Read::Host),
    };
    let read = match read.map_err(|fault| keys::locate(kind, fault)) {
        Ok(read) if faults.is_empty() => read,
        Err(fault) if faults.is_empty() => return Err(fault),
        read => {
            // What is missing may be what was refused.
            faults.extend(read.err().filter(|fault| !fault.missing));
            return Err(Fault::together(faults));
        }
    };
    match read {
        Read::Service(raw) => lower::service(*raw, notes).map(|spec| DocumentSpec::Service(Box::new(spec))),
        Read::Network(spec) => check::network(&spec, notes).map(|()| DocumentSpec::Network(spec)),
        Read::HealthCheck(spec) => check::healthcheck(&spec).map(|()| DocumentSpec::HealthCheck(spec)),
        Read::Host(spec) => check::host(&spec).map(|()| DocumentSpec::Host(spec)),
    }
}

/// What was read, before its fields are looked at together.
enum Read {
    Service(Box<raw::Service>),
    Network(NetworkSpec),
    HealthCheck(HealthCheckSpec),
    Host(HostSpec),
}

/// Gives a fault that knows only its path its mark, and the path its beginning.
fn placed(mut fault: Fault, spec: &Node) -> Fault {
    let find = |fault: &Fault| spec.find(fault.steps.iter().rev().map(String::as_str));
    for more in &mut fault.more {
        let at = find(more);
        more.at.get_or_insert(at);
    }
    let at = find(&fault);
    fault.at(at).within("spec")
}

fn warning(note: Note, spec: &Node) -> Warning {
    let at = note.at.unwrap_or_else(|| spec.find(note.path.iter().map(String::as_str)));
    let path =
        std::iter::once("spec").chain(note.path.iter().map(String::as_str)).collect::<Vec<_>>().join(".");
    Warning { line: at.line, column: at.column, path, message: note.message }
}

/// Refuses what is no envelope at all, with a word on what it seems to be.
fn recognise(root: &Node) -> Result<(), Fault> {
    let Value::Map(entries) = &root.value else {
        return Err(
            Fault::new("a document is a mapping with apiVersion, kind, metadata and spec").at(root.at)
        );
    };
    of_compose(root)?;
    let stranger = |entry: &&Entry| !KEYS.contains(&entry.key.as_str()) && !entry.key.starts_with("x-");
    match entries.iter().find(stranger) {
        Some(entry) if entry.key == "status" => {
            Err(Fault::new("`status` is evenkeel's to write; leave it out").at(entry.key_at))
        }
        Some(Entry { key, key_at, .. }) => {
            Err(Fault::new(format!("unknown key `{key}`")).near(nearest(key, KEYS)).at(*key_at))
        }
        None => Ok(()),
    }
}

/// Refuses what is from a Compose file, before its variables are looked at: they are not what is wrong with it.
pub(crate) fn of_compose(root: &Node) -> Result<(), Fault> {
    if root.entry("apiVersion").is_some() {
        return Ok(());
    }
    if let Some(services) = root.entry("services") {
        return Err(Fault::new(
            "this is a Compose file, and evenkeel takes one document a service; `evenkeel import FILE` writes them",
        )
        .at(services.key_at));
    }
    if let Some(image) = root.entry("image") {
        return Err(Fault::new(format!(
            "this is the body of a Compose service; put it below `spec`, after `apiVersion: {API_VERSION}`, \
             `kind: Service` and `metadata` with name and namespace"
        ))
        .at(image.key_at));
    }
    Ok(())
}

fn version(root: &Node) -> Result<(), Fault> {
    let Some(entry) = root.entry("apiVersion") else {
        return Err(
            Fault::new(format!("`apiVersion` is missing; write `apiVersion: {API_VERSION}`")).at(root.at)
        );
    };
    let version = entry.value.text().unwrap_or_default();
    if version == API_VERSION {
        return Ok(());
    }
    let problem = if version.starts_with("evenkeel/") {
        format!("{version:?} is no version that this evenkeel knows; write {API_VERSION}")
    } else {
        format!(
            "{version:?} is another system's version; evenkeel takes {API_VERSION}, with Compose's words below `spec`"
        )
    };
    Err(Fault::on(["apiVersion"], problem).at(entry.value.at))
}

fn kind(root: &Node, from: &Origin) -> Result<Kind, Fault> {
    let written = match root.entry("kind").filter(|entry| !entry.value.is_null()) {
        Some(entry) => {
            let word = entry.value.text().unwrap_or_default();
            let kind = Kind::ALL.into_iter().find(|kind| kind.to_string() == word);
            Some((entry.value.at, kind.ok_or_else(|| unknown_kind(word).at(entry.value.at))?))
        }
        None => None,
    };
    match (written, from) {
        (Some((at, kind)), Origin::Key(object)) if kind != object.kind() => Err(Fault::on(
            ["kind"],
            format!("the document says {kind}, but its key {from} is that of a {}", object.kind()),
        )
        .at(at)),
        (Some((_, kind)), _) => Ok(kind),
        (None, Origin::Key(object)) => Ok(object.kind()),
        (None, Origin::File { .. }) => {
            Err(Fault::new("`kind` is missing; write Service, Network, HealthCheck or Host").at(root.at))
        }
    }
}

fn unknown_kind(word: &str) -> Fault {
    let known = Kind::ALL.map(|kind| kind.to_string());
    let fault = Fault::on(["kind"], format!("no kind is called {word:?}; there are {}", known.join(", ")));
    // Kinds are distinct enough to be compared without their case.
    let near = known.iter().find(|kind| kind.eq_ignore_ascii_case(word)).cloned();
    fault.near(near.or_else(|| nearest(word, known.iter().map(String::as_str))))
}

/// The object that the document is about, which key and metadata may both name, but not differently.
fn object(root: &Node, kind: Kind, metadata: &Metadata, from: &Origin) -> Result<ObjectRef, Fault> {
    let at = |path: &'static str| {
        let steps = ["metadata", path];
        (steps, root.find(steps.into_iter()))
    };
    let fault = |path: &'static str, problem: String| {
        let (steps, mark) = at(path);
        Fault::on(steps, problem).at(mark)
    };
    if let (Some(namespace), false) = (&metadata.namespace, kind.namespaced()) {
        return Err(fault(
            "namespace",
            format!("a {kind} has no namespace; leave {namespace:?} out", namespace = namespace.as_str()),
        ));
    }
    let name = metadata.name.as_ref().map(|name| name.as_str());
    let namespace = metadata.namespace.as_ref().map(|namespace| namespace.as_str());
    match from {
        Origin::Key(object) => {
            let path = object.path();
            let own = path.rsplit('/').next().unwrap_or_default();
            if let Some(name) = name.filter(|name| *name != own) {
                return Err(fault(
                    "name",
                    format!("the document is named {name:?}, but its key {from} says {own:?}"),
                ));
            }
            let room = object.namespace().map(Namespace::as_str);
            if let Some(namespace) = namespace.filter(|namespace| Some(*namespace) != room) {
                let room = room.unwrap_or_default();
                return Err(fault(
                    "namespace",
                    format!("the document's namespace is {namespace:?}, but its key {from} says {room:?}"),
                ));
            }
            Ok(object.clone())
        }
        Origin::File { namespace: default, .. } => {
            let name = name.ok_or_else(|| fault("name", "`metadata.name` is missing".to_owned()))?;
            let room = namespace.or(default.as_ref().map(Namespace::as_str));
            let path = match (kind.namespaced(), room) {
                (false, _) => name.to_owned(),
                (true, Some(namespace)) => format!("{namespace}/{name}"),
                (true, None) => {
                    let problem =
                        format!("`metadata.namespace` is missing: a {kind} lives in a team's namespace");
                    return Err(fault("namespace", problem));
                }
            };
            ObjectRef::from_path(kind, &path).map_err(|error| fault("name", error.to_string()))
        }
    }
}
