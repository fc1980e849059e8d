//! From a draft to a document: written, read back by the very rules that admit documents, and so valid.

use evenkeel_api::meta::API_VERSION;
use evenkeel_api::text::{Origin, Warning, parse_document};

use crate::Object;
use crate::emit::{Emitted, emit};
use crate::report::{Report, Severity};
use crate::tree::{At, Lack, Node, Value};

use super::Draft;

/// The most rounds in which problems are looked for behind problems.
const ROUNDS: usize = 40;

/// Makes the document of a draft, and tells what there is to be told of it.
pub(super) fn finish(mut draft: Draft, kind: &str, namespace: Option<&str>, report: &mut Report) -> Object {
    let written = emit(&envelope(&draft, kind, namespace));
    validate(&mut draft, kind, namespace);
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

/// Reads the document, and what would be left of it without its problems, until none is found.
fn validate(draft: &mut Draft, kind: &str, namespace: Option<&str>) {
    let mut root = envelope(draft, kind, namespace);
    without_broken(&mut root);
    for _ in 0..ROUNDS {
        let written = emit(&root);
        match parse_document(&written.text, &Origin::file("")) {
            Ok(document) => {
                document.warnings.iter().for_each(|warning| warn(draft, warning, &written));
                return;
            }
            Err(error) => {
                let mut mended = false;
                for problem in std::iter::once(&*error).chain(error.also.iter().map(|also| &**also)) {
                    let at = place(&written, problem.line).unwrap_or(draft.at);
                    let what = match lacking(&root, at) {
                        Some(names) => format!("{} ({} is not set)", sentence(problem), names.join(" and ")),
                        None => sentence(problem),
                    };
                    draft.tell(Severity::Refused, at, below_spec(&problem.path), what, "");
                    mended |= match is_dispensable(&problem.path) {
                        true => remove(&mut root, &problem.path),
                        // An unknown key has the path of what it stands in.
                        false => problem.path != "spec.image" && remove_at(&mut root, at),
                    };
                }
                if !mended {
                    return;
                }
            }
        }
    }
}

/// Takes out what could not be filled in: that is told already.
fn without_broken(node: &mut Node) {
    match &mut node.value {
        Value::Map(entries) => {
            entries.iter_mut().for_each(|entry| without_broken(&mut entry.value));
            entries.retain(|entry| !is_broken(&entry.value) || entry.key == "image" || entry.key == "spec");
        }
        Value::List(items) => {
            items.iter_mut().for_each(without_broken);
            items.retain(|item| !is_broken(item));
        }
        _ => {}
    }
    if is_broken(node) && node.text().is_some() {
        node.value = Value::Text("IMAGE".to_owned());
    }
}

fn is_broken(node: &Node) -> bool {
    matches!(node.lack, Some(Lack::Broken(_)))
}

/// Whether a part can be taken out so that something is left to look at.
fn is_dispensable(path: &str) -> bool {
    path.starts_with("spec.") && path != "spec.image"
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

/// The variables that were not set in the part that stands at a place.
fn lacking(root: &Node, at: At) -> Option<Vec<String>> {
    let mut found = None;
    root.scalars(&mut Vec::new(), &mut |_, node| {
        if node.at == at
            && let Some(Lack::Unset(names)) = &node.lack
        {
            found = Some(names.clone());
        }
    });
    found
}

/// Takes the entry out that is written at a place.
fn remove_at(node: &mut Node, at: At) -> bool {
    match &mut node.value {
        Value::Map(entries) => {
            match entries.iter().position(|entry| entry.key_at == at && entry.key != "spec") {
                Some(index) => {
                    entries.remove(index);
                    true
                }
                None => entries.iter_mut().any(|entry| remove_at(&mut entry.value, at)),
            }
        }
        Value::List(items) => items.iter_mut().any(|item| remove_at(item, at)),
        _ => false,
    }
}

/// Takes the part at a dotted path out; keys may have dots themselves.
fn remove(node: &mut Node, path: &str) -> bool {
    let rest = |key: &str| {
        let rest = path.strip_prefix(key)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('.') }
    };
    match &mut node.value {
        Value::Map(entries) => {
            let Some((index, below)) =
                entries.iter().enumerate().find_map(|(index, entry)| Some((index, rest(&entry.key)?)))
            else {
                return false;
            };
            if below.is_empty() || !remove(&mut entries[index].value, below) {
                entries.remove(index);
            }
            true
        }
        Value::List(items) => {
            let (index, below) = path.split_once('.').unwrap_or((path, ""));
            let Some(index) = index.parse().ok().filter(|index: &usize| *index < items.len()) else {
                return false;
            };
            if below.is_empty() || !remove(&mut items[index], below) {
                items.remove(index);
            }
            true
        }
        _ => false,
    }
}
