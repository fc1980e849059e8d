//! A change to one number of a document's text, with all the rest kept as its author wrote it.

use super::error::Mark;
use super::node::{self, Base, Entry, Node, Value};
use super::{DocumentSpec, Origin, parse_document};

/// The document's text with `replicas` set to this number, and nothing else about what it wants changed.
///
/// # Errors
/// Why it cannot be done exactly, for people.
pub fn set_replicas(text: &str, from: &Origin, replicas: u32) -> Result<String, String> {
    let mut wanted = parse_document(text, from).map_err(|error| error.to_string())?;
    let DocumentSpec::Service(spec) = &mut wanted.spec else { return Err("it is no Service".to_owned()) };
    spec.deploy.replicas = Some(replicas);
    let root = node::load(text, Base::default()).map_err(|_| "it cannot be read".to_owned())?;
    let edited =
        edit(text, &root, replicas).ok_or("`replicas` is written in a way that is not changed by itself")?;
    // Whatever the text is made of (anchors, merges, twins): only what comes out of it says that it was right.
    match parse_document(&edited, from) {
        Ok(found) if found.spec == wanted.spec && found.metadata == wanted.metadata => Ok(edited),
        _ => Err("`replicas` cannot be changed in its text without a change of something else".to_owned()),
    }
}

fn edit(text: &str, root: &Node, replicas: u32) -> Option<String> {
    let spec = root.entry("spec")?;
    let deploy = spec.value.entry("deploy");
    let written = deploy.and_then(|deploy| deploy.value.entry("replicas")).or(spec.value.entry("scale"));
    if let Some(written) = written {
        return replace(text, written.value.at, &replicas.to_string());
    }
    match deploy {
        Some(deploy) => insert(text, deploy, "replicas", &replicas.to_string()),
        None => insert(text, spec, "deploy", &format!("{{\"replicas\": {replicas}}}")),
    }
}

/// Puts `new` where a scalar stands.
fn replace(text: &str, at: Mark, new: &str) -> Option<String> {
    let old = text.get(at.offset..at.offset + at.len)?;
    let bare = old.trim_end();
    let quoted = bare.trim_matches(['"', '\'']);
    quoted.parse::<u32>().ok()?;
    let rest = text.get(at.offset + bare.len()..)?;
    Some(format!("{}{new}{rest}", text.get(..at.offset)?))
}

/// Puts an entry before all others of a mapping.
fn insert(text: &str, into: &Entry, key: &str, value: &str) -> Option<String> {
    let Value::Map(entries) = &into.value.value else { return None };
    let open = into.value.at.offset;
    if text.get(open..)?.starts_with('{') {
        let (before, after) = text.split_at_checked(open + 1)?;
        let comma = if entries.is_empty() { "" } else { ", " };
        return Some(format!("{before}\"{key}\": {value}{comma}{after}"));
    }
    let first = entries.first()?.key_at;
    let line = text.get(..first.offset)?.rfind('\n').map_or(0, |end| end + 1);
    let indent = text.get(line..first.offset)?;
    if !indent.bytes().all(|byte| byte == b' ') || indent.is_empty() {
        return None;
    }
    // Right below the mapping's own key, so that comments stay above what they are about.
    let own = into.key_at.offset;
    let below = own + text.get(own..)?.find('\n')? + 1;
    let (before, after) = text.split_at_checked(below)?;
    let end = if before.ends_with("\r\n") { "\r\n" } else { "\n" };
    let value = value.replace('"', "");
    Some(format!("{before}{indent}{key}: {value}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(spec: &str) -> Result<String, String> {
        let head = "apiVersion: evenkeel/v1\nkind: Service\n";
        let from = Origin::Key("services/shop/web".parse().map(object).unwrap());
        let text = format!("{head}{spec}");
        set_replicas(&text, &from, 5).map(|edited| edited.strip_prefix(head).unwrap().to_owned())
    }

    fn object(key: crate::key::Key) -> crate::meta::ObjectRef {
        match key {
            crate::key::Key::Document(object) => object,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_number_changes_and_all_else_stays_as_it_was_written() {
        for (before, after) in [
            (
                "spec:\n  image: web # mine\n  deploy:\n    # not too many\n    replicas: 3  # three\n",
                "spec:\n  image: web # mine\n  deploy:\n    # not too many\n    replicas: 5  # three\n",
            ),
            ("spec: {image: web, deploy: {replicas: 3}}\n", "spec: {image: web, deploy: {replicas: 5}}\n"),
            ("spec:\n  image: web\n  scale: 2\n", "spec:\n  image: web\n  scale: 5\n"),
            (
                "spec:\n  image: web\n  deploy:\n    # how\n    mode: replicated\n",
                "spec:\n  image: web\n  deploy:\n    replicas: 5\n    # how\n    mode: replicated\n",
            ),
            ("spec:\r\n  image: web\r\n", "spec:\r\n  deploy: {replicas: 5}\r\n  image: web\r\n"),
            ("spec:\n  image: web\n  deploy: {}\n", "spec:\n  image: web\n  deploy: {\"replicas\": 5}\n"),
            ("spec: {\"image\": \"web\"}\n", "spec: {\"deploy\": {\"replicas\": 5}, \"image\": \"web\"}\n"),
            (
                "spec: # déjà vu\n  image: web\n  deploy: {replicas: \"3\"}\n",
                "spec: # déjà vu\n  image: web\n  deploy: {replicas: 5}\n",
            ),
            ("spec: {image: web, deploy: {replicas: 5}}\n", "spec: {image: web, deploy: {replicas: 5}}\n"),
        ] {
            assert_eq!(set(before).as_deref(), Ok(after), "{before}");
        }
    }

    #[test]
    fn what_cannot_be_changed_alone_is_refused() {
        for text in [
            "spec:\n  image: web\n  deploy: &d\n    replicas: &n 3\n    placement: {max_replicas_per_node: *n}\n",
            "spec:\n  image: web\n  deploy:\n",
            "spec: {image: web, deploy: {replicas: three}}\n",
            "spec: {}\n",
        ] {
            assert!(set(text).is_err(), "{text}: {:?}", set(text));
        }
    }
}
