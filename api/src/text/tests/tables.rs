use std::collections::BTreeSet;

use serde_json::Value;

use super::keys::{self, Verdict};
use super::*;

/// Every key of a service and of its `deploy` in the Compose specification.
const COMPOSE: &str = include_str!("compose-keys.txt");

#[test]
fn every_compose_key_is_decided() {
    let decided = |key: &str| {
        keys::rows(Kind::Service).filter(|row| row.value.is_none()).any(|row| {
            // A key that is refused as a whole needs no word on its parts.
            let parts =
                !matches!(row.verdict, Verdict::Honoured(_)) && key.starts_with(&format!("{}.", row.key));
            row.key == key || parts
        })
    };
    let missing: Vec<&str> = COMPOSE.lines().filter(|key| !decided(key)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

#[test]
fn no_key_is_decided_twice() {
    for kind in Kind::ALL {
        let mut seen = BTreeSet::new();
        for row in keys::rows(kind) {
            assert!(seen.insert((row.key, row.value)), "{kind}: {} stands twice", row.key);
        }
    }
}

/// The keys that the types read and those that the table honours are the same.
#[test]
fn what_is_honoured_is_read_and_the_other_way_round() {
    for kind in Kind::ALL {
        let schema = schema(kind);
        let mut read = BTreeSet::new();
        collect(&schema, &schema["properties"]["spec"], "", &mut read);
        let honoured: BTreeSet<String> = keys::rows(kind)
            .filter(|row| row.value.is_none() && matches!(row.verdict, Verdict::Honoured(_)))
            .map(|row| row.key.to_owned())
            .collect();
        // A mapping of the user's own names, and objects that hold honoured keys, need no row of their own.
        let unread: Vec<_> = honoured.difference(&read).collect();
        let undecided: Vec<_> = read
            .difference(&honoured)
            .filter(|key| !honoured.iter().any(|row| row.starts_with(&format!("{key}."))))
            .collect();
        assert!(unread.is_empty(), "{kind}: honoured, but no type reads {unread:?}");
        assert!(undecided.is_empty(), "{kind}: read, but not in the table {undecided:?}");
    }
}

/// The paths of all named properties, without those that the schema calls ignored.
fn collect(root: &Value, here: &Value, path: &str, paths: &mut BTreeSet<String>) {
    if let Some(reference) = here.get("$ref").and_then(Value::as_str) {
        return collect(root, root.pointer(reference.trim_start_matches('#')).unwrap(), path, paths);
    }
    for word in ["oneOf", "anyOf", "allOf"] {
        for branch in here.get(word).and_then(Value::as_array).into_iter().flatten() {
            collect(root, branch, path, paths);
        }
    }
    let join = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
    for (name, property) in here.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if property["description"].as_str().is_some_and(|text| text.starts_with("Ignored: ")) {
            continue;
        }
        paths.insert(join(name));
        collect(root, property, &join(name), paths);
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = here.get(word).filter(|inner| inner.is_object()) {
            collect(root, inner, &join("*"), paths);
        }
    }
}
