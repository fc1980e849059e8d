//! Names: Compose's become DNS labels here, since each is part of a host name.

use std::collections::BTreeMap;

use crate::report::Severity;
use crate::tree::{Entry, Node};

use super::Draft;

/// The nearest DNS label to a name: `celery_worker` as `celery-worker`. Empty where there is none.
pub(crate) fn label(name: &str) -> String {
    let label: String =
        name.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    label.trim_matches('-').to_owned()
}

/// The names that services get, of each service by its key; and whom two keys would be one name for.
pub(super) fn of_services(services: &[&Entry]) -> BTreeMap<String, String> {
    services.iter().map(|entry| (entry.key.clone(), label(&entry.key))).collect()
}

/// Tells of a service that is called otherwise now, and where others still call it by its old name.
pub(super) fn renamed(draft: &mut Draft, services: &[&Entry]) {
    if draft.key == draft.name {
        return;
    }
    let (old, new, at) = (draft.key.clone(), draft.name.clone(), draft.at);
    let mut places = Vec::new();
    for entry in services {
        entry.value.scalars(&mut vec![entry.key.clone()], &mut |path, node| {
            let key = path.get(1).map(String::as_str);
            let names = matches!(
                key,
                Some("depends_on" | "extends" | "links" | "image" | "volumes" | "container_name")
            );
            if !names && node.text().is_some_and(|text| mentions(text, &old)) {
                places.push(path.join("."));
            }
        });
    }
    let what = format!("the service is called {new} here: `{old}` cannot be part of a host name");
    match places.first() {
        None => draft.tell(Severity::Changed, at, "", what, ""),
        Some(first) => {
            let more = match places.len() {
                1 => String::new(),
                n => format!(" and {} more places", n - 1),
            };
            let what = format!("{what}; services.{first}{more} may still mean it by its old name");
            draft.tell(Severity::Decide, at, "", what, format!("write {new} where the service is meant"));
        }
    }
}

/// Tells of Swarm's name for all copies of a service, which is the service's own here.
pub(super) fn tasks(draft: &mut Draft, services: &[&Entry]) {
    let mut found = Vec::new();
    draft.body.scalars(&mut Vec::new(), &mut |path, node| {
        let Some(text) = node.text().filter(|text| text.contains("tasks.")) else { return };
        if let Some(entry) = services.iter().find(|entry| mentions(text, &format!("tasks.{}", entry.key))) {
            found.push((node.at, path.join("."), label(&entry.key)));
        }
    });
    for (at, path, name) in found {
        let what = format!("tasks.{name} is Swarm's name for all copies, and nothing answers to it here");
        draft.tell(Severity::Decide, at, path, what, format!("write {name}, which gives all copies"));
    }
}

/// The address at which Docker's own name server answers containers on its networks.
const EMBEDDED: &str = "127.0.0.11";

/// Tells of that address, as in nginx's `resolver`: nobody answers there.
pub(super) fn embedded(draft: &mut Draft) {
    let mut found = Vec::new();
    draft.body.scalars(&mut Vec::new(), &mut |path, node| {
        let digit = |c: char| c.is_ascii_digit() || c == '.';
        let named = |text: &str| {
            let mut places = text.match_indices(EMBEDDED);
            places.any(|(at, _)| {
                !text[..at].ends_with(digit) && !text[at + EMBEDDED.len()..].starts_with(digit)
            })
        };
        if node.text().is_some_and(named) {
            found.push((node.at, path.join(".")));
        }
    });
    for (at, path) in found {
        let what = format!("{EMBEDDED} is the engine's own name server, and here nobody answers there");
        let todo = "write the name servers of the container's /etc/resolv.conf, and full names like web.shop.internal";
        draft.tell(Severity::Decide, at, path, what, todo);
    }
}

/// Whether a text has a name in it as a word.
fn mentions(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

/// `container_name` is one more name of the service.
pub(super) fn container_name(draft: &mut Draft) {
    let Some(entry) = draft.body.take("container_name") else { return };
    let Some(name) = entry.value.text().map(str::to_owned) else { return };
    let label = label(&name);
    if label == draft.name {
        return;
    }
    if label != name {
        let what = format!("the name {name} cannot be part of a host name; {label} is written");
        let todo = format!("write {label} where {name} is meant");
        draft.tell(Severity::Decide, entry.value.at, "container_name", what, todo);
    }
    draft.body.put("container_name", entry.key_at, Node::text_at(label, entry.value.at));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        for (name, is) in
            [("web", "web"), ("celery_worker", "celery-worker"), ("My.App ", "my-app"), ("_", "")]
        {
            assert_eq!(label(name), is);
        }
    }

    #[test]
    fn names_are_found_as_words() {
        for (text, found) in [
            ("redis://my_db:6379", true),
            ("my_db", true),
            ("http://my_db.x", true),
            ("not_my_db", false),
            ("my_db2", false),
            ("my_db-x", false),
        ] {
            assert_eq!(mentions(text, "my_db"), found, "{text}");
        }
    }
}
