//! Keys that need a word or two.

use evenkeel_api::meta::Kind;
use evenkeel_api::text::keys::{Verdict, rows};

use crate::report::Severity;
use crate::tree::{Entry, Node, Value};

use super::Draft;

/// The image, which alone hosts can run.
pub(super) fn image(draft: &mut Draft) {
    let build = draft.body.take("build").filter(|entry| !entry.value.is_null());
    let image = draft.body.get("image");
    let written = image.is_some_and(|image| image.lack.is_some() || image.text() != Some(""));
    let at = draft.at;
    match (written, build) {
        (true, Some(build)) => {
            let what = "left out: hosts do not build, they pull the image";
            draft.tell(
                Severity::Changed,
                build.key_at,
                "build",
                what,
                "see that the image is in a registry that they reach",
            );
        }
        (true, None) => {}
        (false, Some(build)) => {
            let what = "there is no `image`, only `build`, and hosts do not build";
            draft.tell(
                Severity::Refused,
                build.key_at,
                "build",
                what,
                "build the image, push it, and write `image`",
            );
        }
        (false, None) => {
            let what = "there is no `image`, and nothing that could be read brings one";
            draft.tell(Severity::Refused, at, "image", what, "write `image`");
        }
    }
    if !written {
        // So that the rest can be looked at; a person fills it in.
        draft.body.put("image", at, Node::text_at("IMAGE", at));
    }
}

/// What is silently or openly of no effect in a Service, too.
pub(super) fn without_effect(draft: &mut Draft) {
    let own = |key: &str| !key.contains('.') && key != "build";
    for row in rows(Kind::Service).filter(|row| own(row.key) && row.value.is_none()) {
        let why = match row.verdict {
            Verdict::Silent(_) => None,
            Verdict::Ignored(why) => Some(why),
            _ => continue,
        };
        if let (Some(entry), Some(why)) = (draft.body.take(row.key), why) {
            draft.tell(Severity::Changed, entry.key_at, row.key, format!("left out: {why}"), "");
        }
    }
    draft.body.take("profiles");
    if let Value::Map(entries) = &mut draft.body.value {
        entries.retain(|entry| !entry.key.starts_with("x-"));
        // What a variable without a value leaves; to Compose it is as if it were not there.
        entries.retain(|entry| {
            !(matches!(entry.key.as_str(), "platform" | "pull_policy" | "user")
                && entry.value.text() == Some(""))
        });
    }
}

/// Ports, of which those of a service on the host's own network are open anyway.
pub(super) fn ports(draft: &mut Draft) {
    if draft.body.get("network_mode").and_then(Node::text) == Some("host") {
        if let Some(entry) = draft.body.take("ports") {
            let what = "left out: on the host's network every port is the host's";
            draft.tell(Severity::Changed, entry.key_at, "ports", what, "");
        }
        return;
    }
    let Some(Node { value: Value::List(items), .. }) = draft.body.get_mut("ports") else { return };
    let mut ingress = Vec::new();
    for (index, item) in items.iter_mut().enumerate() {
        if item.get("mode").and_then(Node::text) == Some("ingress") {
            ingress.extend(item.take("mode").map(|entry| (entry.key_at, format!("ports.{index}.mode"))));
        }
    }
    for (at, path) in ingress {
        let what = "left out: the port is open on the hosts that carry a copy, and on no others";
        draft.tell(
            Severity::Decide,
            at,
            path,
            what,
            "put a proxy on the hosts that should answer, or write `mode: global`",
        );
    }
}

/// `network_mode` that says what is so anyway, and one that says what cannot be.
pub(super) fn network_mode(draft: &mut Draft) {
    let Some(mode) = draft.body.get("network_mode").and_then(Node::text).map(str::to_owned) else { return };
    if matches!(mode.as_str(), "bridge" | "default" | "")
        && let Some(entry) = draft.body.take("network_mode")
    {
        let what = "left out: the service is on a Network, where others find it by its name";
        draft.tell(Severity::Changed, entry.key_at, "network_mode", what, "");
    }
}

/// `links`: services find each other anyway, by their own names.
pub(super) fn links(draft: &mut Draft) {
    for key in ["links", "external_links"] {
        let Some(Entry { key_at, value, .. }) = draft.body.take(key) else { continue };
        let aliased = value.items().iter().filter_map(Node::text).find_map(|text| text.split_once(':'));
        match (key, aliased) {
            ("links", None) => {
                let what = "left out: services find each other by name";
                draft.tell(Severity::Changed, key_at, key, what, "");
            }
            (_, Some((other, name))) => {
                let what = format!("left out: {other} is not found as {name}");
                draft.tell(
                    Severity::Decide,
                    key_at,
                    key,
                    what,
                    format!("write {name} as an alias of {other}"),
                );
            }
            (_, None) => {
                let what = "left out: what is not evenkeel's has no name here";
                draft.tell(Severity::Decide, key_at, key, what, "write its address below `extra_hosts`");
            }
        }
    }
}

/// What of the rest Compose takes and evenkeel does not.
pub(super) fn rest(draft: &mut Draft) {
    let policy = draft.body.get("pull_policy").and_then(Node::text).map(str::to_owned);
    if policy.is_some_and(|policy| {
        policy == "build" || policy == "daily" || policy == "weekly" || policy.starts_with("every_")
    }) && let Some(entry) = draft.body.take("pull_policy")
    {
        let what = "left out: an image is pulled where a host does not have it, and is the same from then on";
        draft.tell(Severity::Changed, entry.key_at, "pull_policy", what, "");
    }
    for key in ["hostname", "domainname"] {
        if draft.body.get(key).and_then(Node::text).is_some_and(|text| text.contains("{{"))
            && let Some(entry) = draft.body.take(key)
        {
            let what = "left out: templates are not filled in";
            draft.tell(Severity::Decide, entry.key_at, key, what, "write a name, if the service needs one");
        }
    }
    if draft.body.find(&["healthcheck", "disable"]).is_some_and(Node::is_true)
        && let Some(check) = draft.body.get_mut("healthcheck")
    {
        check.take("test");
    }
}
