//! From a draft to a document: written, read back by the very rules that admit documents, and so valid.

use evenkeel_api::meta::API_VERSION;
use evenkeel_api::text::{Document, DocumentSpec, Origin, Warning, parse_document};
use evenkeel_plan::instance::policy::wishes;

use crate::Object;
use crate::emit::{Emitted, emit};
use crate::report::{Report, Severity};
use crate::tree::{At, Entry, Node, Value};

use super::{Draft, lacks};

/// The most rounds in which problems are looked for behind problems.
const ROUNDS: usize = 40;

/// Makes the document of a draft, and tells what there is to be told of it.
pub(super) fn finish(mut draft: Draft, kind: &str, namespace: Option<&str>, report: &mut Report) -> Object {
    let written = emit(&envelope(&draft, kind, namespace));
    if let Some(document) = validate(&mut draft, kind, namespace) {
        leave(&mut draft, &document, namespace.unwrap_or_default());
    }
    let name = match namespace {
        Some(namespace) => format!("{kind} {namespace}/{}", draft.name),
        None => format!("{kind} {}", draft.name),
    };
    let refused = draft.is_refused();
    let mut text = String::new();
    if refused {
        text.push_str(&format!("# {name} is refused, and stands here to be mended by hand:\n"));
    }
    for told in draft.told.iter().filter(|told| told.severity != Severity::Changed) {
        let line = format!("# {}: {}", told.severity, told.sentence());
        text.push_str(&evenkeel_api::text::tame(&line, 600));
        text.push('\n');
    }
    match refused {
        true => written.text.lines().for_each(|line| {
            text.push_str("# ");
            text.push_str(line);
            text.push('\n');
        }),
        false => text.push_str(&written.text),
    }
    draft.report(report);
    Object { name, refused, text }
}

fn envelope(draft: &Draft, kind: &str, namespace: Option<&str>) -> Node {
    let at = draft.at;
    let mut metadata = Node::map_at(at);
    metadata.put("name", at, Node::text_at(&draft.name, at));
    if let Some(namespace) = namespace {
        metadata.put("namespace", at, Node::text_at(namespace, at));
    }
    if let Some(labels) = &draft.labels {
        metadata.put("labels", at, labels.clone());
    }
    let mut root = Node::map_at(at);
    root.put("apiVersion", at, Node::text_at(API_VERSION, at));
    root.put("kind", at, Node::text_at(kind, at));
    root.put("metadata", at, metadata);
    let mut spec = draft.body.clone();
    if let (Some(image), Value::Map(entries)) = (spec.take("image"), &mut spec.value) {
        // In the author's order, whatever was taken out and put back.
        entries.sort_by_key(|entry| entry.key_at);
        entries.insert(0, image);
    }
    root.put("spec", at, spec);
    root
}

/// Reads the document, and what would be left of it without its problems, until none is found: that is what comes
/// back.
fn validate(draft: &mut Draft, kind: &str, namespace: Option<&str>) -> Option<Document> {
    let mut root = envelope(draft, kind, namespace);
    if let Some(spec) = root.get_mut("spec") {
        without_lacking(spec, &mut Vec::new());
        if kind == "Service" && spec.get("image").is_none() {
            spec.put("image", draft.at, Node::text_at("IMAGE", draft.at));
        }
    }
    for _ in 0..ROUNDS {
        let written = emit(&root);
        match parse_document(&written.text, &Origin::file("")) {
            Ok(document) => {
                document.warnings.iter().for_each(|warning| warn(draft, warning, &written));
                return Some(document);
            }
            Err(error) => {
                let mut mended = false;
                for problem in std::iter::once(&*error).chain(error.also.iter().map(|also| &**also)) {
                    let at = place(&written, problem.line).unwrap_or(draft.at);
                    // By its place, since the path is that of what is left.
                    let path = path_of(&draft.body, at).unwrap_or_else(|| below_spec(&problem.path));
                    draft.tell(Severity::Refused, at, path, sentence(problem), "");
                    mended |= without(&mut root, &problem.path, at);
                }
                if !mended {
                    return None;
                }
            }
        }
    }
    None
}

/// Tells of what a host does not let a service have unless its policy says so: Compose asks nobody.
fn leave(draft: &mut Draft, document: &Document, namespace: &str) {
    let DocumentSpec::Service(spec) = &document.spec else { return };
    let wishes = wishes(&spec.template);
    if wishes.is_empty() {
        return;
    }
    let what = format!(
        "no host runs it before its policy lets namespace {namespace} have {}: that may be as good as root there",
        wishes.join(", ")
    );
    let todo = format!(
        "take out what it can do without, and put what `evenkeel validate -f FILE --policy` prints of the documents \
         into /etc/evenkeel/policy.d/{namespace}.yaml of the hosts"
    );
    let at = draft.at;
    draft.tell(Severity::Decide, at, "", what, todo);
}

/// Takes out what its variables lacked so much that it is refused already.
fn without_lacking(node: &mut Node, path: &mut Vec<String>) {
    match &mut node.value {
        Value::Map(entries) => entries.retain_mut(|Entry { key, value, .. }| {
            path.push(key.clone());
            without_lacking(value, path);
            let keep = !lacks::is_told(path, value);
            path.pop();
            keep
        }),
        Value::List(items) => items.retain_mut(|item| {
            without_lacking(item, path);
            !lacks::is_told(path, item)
        }),
        _ => {}
    }
}

/// Takes a faulty part out, if something to look at is left then.
fn without(root: &mut Node, path: &str, at: At) -> bool {
    let Some(spec) = root.get_mut("spec") else { return false };
    match path.strip_prefix("spec") {
        None | Some(".image") => false,
        // An unknown key has the path of what it stands in, so its place goes first.
        Some(below) => remove_at(spec, at) || remove(spec, below.trim_start_matches('.')),
    }
}

fn sentence(problem: &evenkeel_api::text::Problem) -> String {
    match &problem.suggestion {
        Some(near) => format!("{}, did you mean `{near}`?", problem.problem),
        None => problem.problem.clone(),
    }
}

/// What an author should hear of: what is ignored is as good as left out, and the rest is advice.
fn warn(draft: &mut Draft, warning: &Warning, written: &Emitted) {
    let at = place(written, warning.line).unwrap_or(draft.at);
    let severity = if warning.message.contains("is ignored") { Severity::Changed } else { Severity::Decide };
    draft.tell(severity, at, below_spec(&warning.path), warning.message.clone(), "");
}

fn place(written: &Emitted, line: u64) -> Option<At> {
    written.lines.get(usize::try_from(line).ok()?.checked_sub(1)?).copied()
}

fn below_spec(path: &str) -> String {
    path.strip_prefix("spec").unwrap_or(path).trim_start_matches('.').to_owned()
}

/// Takes the entry out whose key is written at a place; of a list the whole item, since what is left of one would
/// be wrong for other reasons.
fn remove_at(node: &mut Node, at: At) -> bool {
    match &mut node.value {
        Value::Map(entries) => match entries.iter().position(|entry| entry.key_at == at) {
            Some(index) => {
                entries.remove(index);
                true
            }
            None => entries.iter_mut().any(|entry| remove_at(&mut entry.value, at)),
        },
        Value::List(items) => {
            let found = items.iter().position(|item| path_of(item, at).is_some());
            found.map(|index| items.remove(index)).is_some()
        }
        _ => false,
    }
}

/// Takes the part at a dotted path out. Keys may have dots themselves.
fn remove(node: &mut Node, path: &str) -> bool {
    let rest = |key: &str| {
        let rest = path.strip_prefix(key)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('.') }
    };
    match &mut node.value {
        Value::Map(entries) => {
            let found =
                entries.iter().enumerate().find_map(|(index, entry)| Some((index, rest(&entry.key)?)));
            let Some((index, below)) = found else { return false };
            if below.is_empty() || !remove(&mut entries[index].value, below) {
                entries.remove(index);
            }
            true
        }
        Value::List(items) => {
            let index = path.split('.').next().and_then(|index| index.parse().ok());
            let Some(index) = index.filter(|index: &usize| *index < items.len()) else { return false };
            items.remove(index);
            true
        }
        _ => false,
    }
}

/// The path of the part that is written at a place.
fn path_of(node: &Node, at: At) -> Option<String> {
    let below =
        |step: &str, path: String| if path.is_empty() { step.to_owned() } else { format!("{step}.{path}") };
    match &node.value {
        Value::Map(entries) => entries.iter().find_map(|Entry { key, key_at, value }| {
            let own = (*key_at == at || value.at == at).then(String::new);
            path_of(value, at).or(own).map(|path| below(key, path))
        }),
        Value::List(items) => items.iter().enumerate().find_map(|(index, item)| {
            let own = (item.at == at).then(String::new);
            path_of(item, at).or(own).map(|path| below(&index.to_string(), path))
        }),
        _ => None,
    }
}
