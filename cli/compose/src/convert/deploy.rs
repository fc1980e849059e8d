//! `deploy`: most of it means the same here; what is Swarm's alone does not.

use crate::report::Severity;
use crate::tree::{Entry, Node, Value};

use super::Draft;

/// What Swarm has and evenkeel does otherwise.
pub(super) fn deploy(draft: &mut Draft) {
    let Some(Entry { key_at, value: mut deploy, .. }) = draft.body.take("deploy") else { return };
    if let Some(entry) = deploy.take("endpoint_mode").filter(|entry| entry.value.text() != Some("dnsrr")) {
        let what = "left out: names give the copies' own addresses";
        draft.tell(Severity::Changed, entry.key_at, "deploy.endpoint_mode", what, "");
    }
    if let Some(entry) = deploy.take("rollback_config") {
        let what = "left out: going back follows `update_config`";
        draft.tell(Severity::Changed, entry.key_at, "deploy.rollback_config", what, "");
    }
    constraints(draft, &mut deploy);
    gpus(draft, &mut deploy);
    prune(&mut deploy);
    if !deploy.entries().is_empty() {
        draft.body.put("deploy", key_at, deploy);
    }
}

/// Takes mappings out that say nothing, also once something was taken out of them.
fn prune(node: &mut Node) {
    if let Value::Map(entries) = &mut node.value {
        entries.iter_mut().for_each(|entry| prune(&mut entry.value));
        entries.retain(|entry| match &entry.value.value {
            Value::Map(entries) => !entries.is_empty(),
            Value::List(items) => !items.is_empty(),
            _ => true,
        });
    }
}

/// Attributes that only Swarm's nodes have, as labels that a person gives: until then the copies wait.
fn constraints(draft: &mut Draft, deploy: &mut Node) {
    let Some(placement) = deploy.get_mut("placement") else { return };
    let Some(Node { value: Value::List(items), .. }) = placement.get_mut("constraints") else { return };
    for (index, item) in items.iter_mut().enumerate() {
        let Some(text) = item.text().map(str::to_owned) else { continue };
        let Some(written) = as_label(&text) else { continue };
        let what = format!(
            "hosts have no such attribute: {written} is written for {text}, and the copies wait until a host has the \
             label"
        );
        let path = format!("deploy.placement.constraints.{index}");
        draft.tell(
            Severity::Decide,
            item.at,
            path,
            what,
            "label the hosts that are meant, or take the constraint out",
        );
        item.value = Value::Text(written);
    }
}

fn as_label(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("node.role") {
        return Some(format!("node.labels.role{rest}"));
    }
    text.strip_prefix("engine.labels.").map(|rest| format!("node.labels.{rest}"))
}

/// Reserved GPUs as `gpus`, which the engine is asked for, without that they are counted.
fn gpus(draft: &mut Draft, deploy: &mut Node) {
    let reservations = deploy.get_mut("resources").and_then(|resources| resources.get_mut("reservations"));
    let Some(reservations) = reservations else { return };
    let Some(Entry { key_at, value, .. }) = reservations.take("devices") else { return };
    let path = "deploy.resources.reservations.devices";
    let wanted = match value.items() {
        [device] => count(device),
        _ => None,
    };
    let Some(count) = wanted else {
        let what = "only GPUs can be asked for, by their number";
        let todo = "write `devices`, and a constraint to the hosts that have them";
        return draft.tell(Severity::Refused, key_at, path, what, todo);
    };
    let what = "`gpus` is written: the engine gives them, but nobody counts which hosts have some left";
    let todo = "label the hosts that have GPUs, and write a constraint to them";
    draft.tell(Severity::Decide, key_at, path, what, todo);
    draft.body.put("gpus", key_at, Node::text_at(count, key_at));
}

fn count(device: &Node) -> Option<String> {
    let capabilities = device.get("capabilities").map(Node::items).unwrap_or_default();
    if !capabilities.iter().any(|item| item.text() == Some("gpu")) || device.get("device_ids").is_some() {
        return None;
    }
    Some(device.get("count").and_then(Node::text).unwrap_or("all").to_owned())
}

/// `gpus` in its long form.
pub(super) fn long_gpus(draft: &mut Draft) {
    let is_list = draft.body.get("gpus").is_some_and(|node| matches!(node.value, Value::List(_)));
    let Some(Entry { key_at, value, .. }) = draft.body.take("gpus") else { return };
    let count = match value.items() {
        [one] if one.get("device_ids").is_none() => {
            Some(one.get("count").and_then(Node::text).unwrap_or("all").to_owned())
        }
        _ => None,
    };
    let value = count.filter(|_| is_list).map_or(value, |count| Node::text_at(count, key_at));
    draft.body.put("gpus", key_at, value);
}
