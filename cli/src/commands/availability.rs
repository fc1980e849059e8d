//! Whether a host takes copies, changed in the document that a person owns: one value of it, and nothing else.

use std::sync::Arc;

use evenkeel_api::host::{Availability, HostSpec};
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::HostName;
use evenkeel_api::text::{Document, DocumentSpec, Origin, parse_document};
use evenkeel_runtime::store::{Store, TxnBuilder};

use crate::failure::Failure;

/// Sets it; whether it was another before.
///
/// # Errors
/// There is no such host, its document is not valid, or somebody else changed it in this very moment.
pub async fn set(store: &Arc<dyn Store>, host: &HostName, to: Availability) -> Result<bool, Failure> {
    let key = Key::Document(ObjectRef::Host(host.clone()));
    let (Some(kv), _) = store.get(&key).await? else {
        return Err(Failure::new(format!("there is no host {host}: see `evenkeel host list`")));
    };
    let text = std::str::from_utf8(&kv.value).map_err(Failure::new)?;
    let Some(new) = changed(text, host, to)? else { return Ok(false) };
    let txn = TxnBuilder::new().if_unchanged(&key, kv.mod_revision).put(&key, new);
    if store.commit(&txn.build()?).await?.succeeded {
        return Ok(true);
    }
    Err(Failure::new(format!("the document of {host} was changed in this very moment: do it again")))
}

/// The document with another availability; none if it is that already.
fn changed(text: &str, host: &HostName, to: Availability) -> Result<Option<String>, Failure> {
    let origin = Origin::Key(ObjectRef::Host(host.clone()));
    let (document, spec) = read(text, &origin)?;
    if spec.availability() == to {
        return Ok(None);
    }
    let wanted = HostSpec { availability: Some(to), ..spec };
    let same = |new: &String| {
        read(new, &origin).is_ok_and(|(other, spec)| spec == wanted && other.metadata == document.metadata)
    };
    // Comments and layout are the person's: only where that cannot be, the document is written as a whole.
    Ok(Some(in_place(text, to).filter(same).map_or_else(|| whole(&document, &wanted), Ok)?))
}

fn read(text: &str, origin: &Origin) -> Result<(Document, HostSpec), Failure> {
    let document = parse_document(text, origin).map_err(Failure::new)?;
    match &document.spec {
        DocumentSpec::Host(spec) => {
            let spec = spec.clone();
            Ok((document, spec))
        }
        _ => Err(Failure::new("the document is not that of a host")),
    }
}

/// The word for it in documents.
pub fn word(availability: Availability) -> &'static str {
    match availability {
        Availability::Active => "active",
        Availability::Pause => "pause",
        Availability::Drain => "drain",
    }
}

/// Another value in its line, or a new line below `spec:`; none where there is neither.
fn in_place(text: &str, to: Availability) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let key = "availability:";
    let new = match lines.iter().position(|line| line.trim_start().starts_with(key)) {
        Some(at) => {
            let line = lines[at];
            let start = line.find(key)? + key.len();
            let rest = line[start..].trim_start();
            let value = rest.find(|c: char| c.is_whitespace() || c == '#').unwrap_or(rest.len());
            let line = format!("{} {}{}", &line[..start], word(to), &rest[value..]);
            (at, at + 1, line)
        }
        None => {
            let at = lines.iter().position(|line| line.trim_end() == "spec:")? + 1;
            let next = lines.get(at)?;
            let indent = &next[..next.len() - next.trim_start().len()];
            (at, at, format!("{indent}{key} {}\n", word(to)))
        }
    };
    let (from, until, line) = new;
    Some([lines[..from].concat(), line, lines[until..].concat()].concat())
}

fn whole(document: &Document, spec: &HostSpec) -> Result<String, Failure> {
    serde_json::to_string_pretty(&serde_json::json!({
        "apiVersion": evenkeel_api::meta::API_VERSION,
        "kind": "Host",
        "metadata": document.metadata,
        "spec": spec,
    }))
    .map_err(Failure::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostName {
        "h1".parse().unwrap()
    }

    const HEAD: &str = "apiVersion: evenkeel/v1\nkind: Host\nmetadata: {name: h1}\n";

    #[test]
    fn one_value_changes_and_all_else_stays_as_it_was_written() {
        for (spec, expected) in [
            (
                "spec:\n  address: 10.0.0.11 # LAN\n  availability: active  # see the runbook\n",
                "spec:\n  address: 10.0.0.11 # LAN\n  availability: drain  # see the runbook\n",
            ),
            ("spec:\n    address: 10.0.0.11\n", "spec:\n    availability: drain\n    address: 10.0.0.11\n"),
            (
                "spec:\n  # availability: pause\n  availability:   pause",
                "spec:\n  # availability: pause\n  availability: drain",
            ),
        ] {
            let spec = if spec.contains("address") {
                spec.to_owned()
            } else {
                format!("{spec}\n  address: 10.0.0.11\n")
            };
            let expected = if expected.contains("address") {
                expected.to_owned()
            } else {
                format!("{expected}\n  address: 10.0.0.11\n")
            };
            let new = changed(&format!("{HEAD}{spec}"), &host(), Availability::Drain).unwrap();
            assert_eq!(new.unwrap(), format!("{HEAD}{expected}"));
        }
    }

    #[test]
    fn a_document_that_has_no_line_for_it_is_written_as_a_whole() {
        for spec in ["spec: {address: 10.0.0.11}\n", "spec: {address: 10.0.0.11, availability: pause}\n"] {
            let new = changed(&format!("{HEAD}{spec}"), &host(), Availability::Drain).unwrap().unwrap();
            let (document, spec) = read(&new, &Origin::Key(ObjectRef::Host(host()))).unwrap();
            assert_eq!(
                (spec.availability(), document.metadata.name.map(|name| name.to_string())),
                (Availability::Drain, Some("h1".to_owned()))
            );
        }
    }

    #[test]
    fn what_is_so_already_is_not_written_and_what_cannot_be_read_is_refused() {
        let text = format!("{HEAD}spec: {{address: 10.0.0.11}}\n");
        assert_eq!(changed(&text, &host(), Availability::Active).unwrap(), None);
        assert!(changed("spec: [", &host(), Availability::Drain).is_err());
    }
}
