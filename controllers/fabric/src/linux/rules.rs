//! What nft lists, read: our table's mark, and our rules in the engine's chains.

use std::fmt::Write;

use evenkeel_api::network::Cidr;
use evenkeel_plan::network::firewall::{CHAINS, COMMENT, accept_rule};
use evenkeel_plan::network::state::{Accepts, Backend, Chain, EngineRules, Jump, Pair};
use serde_json::Value;

use super::{chain_name, nft};
use crate::fabric::FabricError;

/// The mark in a listing of our table: the name of an empty chain.
pub fn mark(listing: &[Value]) -> Option<String> {
    let names = listing.iter().filter_map(|item| item.pointer("/chain/name")?.as_str());
    names.into_iter().find(|name| name.starts_with("mark_")).map(str::to_owned)
}

/// A listing without what changes by itself: handles and counters.
pub fn canonical(listing: &[Value]) -> String {
    let mut items: Vec<Value> =
        listing.iter().filter(|item| item.get("metainfo").is_none()).cloned().collect();
    items.iter_mut().for_each(strip);
    Value::Array(items).to_string()
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("handle");
            if let Some(counter) = fields.get_mut("counter") {
                *counter = Value::Null;
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// The rules of a chain, in order.
fn rules<'a>(listing: &'a [Value], chain: &'a str) -> impl Iterator<Item = &'a Value> {
    listing.iter().filter_map(|item| item.get("rule")).filter(move |rule| text(rule, "chain") == Some(chain))
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

fn has_chain(listing: &[Value], chain: &str) -> bool {
    listing.iter().any(|item| item.pointer("/chain/name").and_then(Value::as_str) == Some(chain))
}

fn is_ours(rule: &Value) -> bool {
    text(rule, "comment") == Some(COMMENT)
}

/// What one of our rules lets through; `None`: not what we write.
fn pair(rule: &Value) -> Option<Pair> {
    let parts = rule.get("expr")?.as_array()?;
    let address = |field: &str| {
        parts.iter().find_map(|part| {
            let matched = part.get("match")?;
            (matched.pointer("/left/payload/field")?.as_str()? == field && text(matched, "op") == Some("=="))
                .then(|| range(matched.get("right")?))?
        })
    };
    let accepts = parts.iter().any(|part| part.get("accept").is_some());
    let found = Pair { from: address("saddr")?, to: address("daddr")? };
    // Two matches, a counter and a verdict: with anything more it lets less through.
    (accepts && parts.len() == 4).then_some(found)
}

fn range(value: &Value) -> Option<Cidr> {
    match value.get("prefix") {
        Some(prefix) => {
            let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
            Some(Cidr::new(text(prefix, "addr")?.parse().ok()?, length))
        }
        None => value.as_str()?.parse().ok(),
    }
}

fn accepts(listing: &[Value], chain: &str) -> Accepts {
    let mut found = Accepts { pairs: Vec::new(), first: true };
    let mut foreign = false;
    for rule in rules(listing, chain) {
        if !is_ours(rule) {
            foreign = true;
            continue;
        }
        found.first &= !foreign;
        match pair(rule) {
            Some(pair) => found.pairs.push(pair),
            // Bent by somebody: put right with the rest.
            None => found.first = false,
        }
    }
    found
}

fn target(rule: &Value) -> Option<&str> {
    rule.get("expr")?.as_array()?.iter().find_map(|part| part.pointer("/jump/target")?.as_str())
}

fn jump_of(listing: &[Value]) -> Jump {
    if !has_chain(listing, "FORWARD") {
        return Jump::Fine;
    }
    let first = rules(listing, "FORWARD").filter_map(target).find(|target| target.starts_with("DOCKER"));
    if first == Some("DOCKER-USER") { Jump::Fine } else { Jump::Missing }
}

/// What the engine's chains hold, where its iptables is iptables-nft.
pub async fn engine() -> Result<EngineRules, FabricError> {
    let filter = nft::list(&["table", "ip", "filter"]).await?.unwrap_or_default();
    let raw = nft::list(&["chain", "ip", "raw", "PREROUTING"]).await?.unwrap_or_default();
    let nat = nft::list(&["chain", "ip", "nat", "DOCKER"]).await?;
    let own_backend = || async { nft::list(&["table", "ip", "docker-bridges"]).await };
    let present = (nat.is_some() && has_chain(&filter, "DOCKER")) || own_backend().await?.is_some();
    Ok(EngineRules {
        backend: Backend::Nft,
        forward: accepts(&filter, "DOCKER-USER"),
        raw: accepts(&raw, "PREROUTING"),
        jump: jump_of(&filter),
        present,
    })
}

/// Put our accept rules into a chain, before all others, in one transaction.
pub async fn accept(chain: Chain, pairs: &[Pair]) -> Result<(), FabricError> {
    let (table, name) = chain_name(chain);
    let mut text = if pairs.is_empty() { String::new() } else { CHAINS.to_owned() };
    for rule in rules(&nft::list(&["chain", "ip", table, name]).await?.unwrap_or_default(), name) {
        if let (true, Some(handle)) = (is_ours(rule), rule.get("handle").and_then(Value::as_u64)) {
            let _ = writeln!(text, "delete rule ip {table} {name} handle {handle}");
        }
    }
    for pair in pairs.iter().rev() {
        let _ = writeln!(text, "insert rule ip {table} {name} {}", accept_rule(*pair));
    }
    if text.is_empty() { Ok(()) } else { nft::run(&text).await }
}

/// Let `FORWARD` lead to `DOCKER-USER` before all else, once.
pub async fn jump() -> Result<(), FabricError> {
    let listing = nft::list(&["chain", "ip", "filter", "FORWARD"]).await?.unwrap_or_default();
    if !has_chain(&listing, "FORWARD") {
        return Ok(());
    }
    let mut text = CHAINS.to_owned();
    for rule in rules(&listing, "FORWARD").filter(|rule| target(rule) == Some("DOCKER-USER")) {
        if let Some(handle) = rule.get("handle").and_then(Value::as_u64) {
            let _ = writeln!(text, "delete rule ip filter FORWARD handle {handle}");
        }
    }
    text.push_str("insert rule ip filter FORWARD counter jump DOCKER-USER\n");
    nft::run(&text).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = r#"[{"chain": {"family": "ip", "table": "filter", "name": "DOCKER-USER", "handle": 1}},
        {"rule": {"family": "ip", "table": "filter", "chain": "DOCKER-USER", "handle": 2, "comment": "evenkeel", "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"prefix": {"addr": "10.88.0.0", "len": 15}}}},
            {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "10.0.0.7"}},
            {"counter": {"packets": 4, "bytes": 9}}, {"accept": null}]}},
        {"rule": {"family": "ip", "table": "filter", "chain": "DOCKER-USER", "handle": 3, "expr": [
            {"counter": {"packets": 0, "bytes": 0}}, {"return": null}]}}]"#;

    fn listed(text: &str) -> Vec<Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn our_rules_are_read_and_foreign_ones_before_them_are_seen() {
        let listing = listed(LISTED);
        let found = accepts(&listing, "DOCKER-USER");
        let want = Pair { from: "10.88.0.0/15".parse().unwrap(), to: "10.0.0.7".parse().unwrap() };
        assert_eq!(found, Accepts { pairs: vec![want], first: true });
        let turned = vec![listing[0].clone(), listing[2].clone(), listing[1].clone()];
        assert!(!accepts(&turned, "DOCKER-USER").first);
    }

    #[test]
    fn handles_and_counters_make_no_difference() {
        let other = LISTED.replace("\"packets\": 4, \"bytes\": 9", "\"packets\": 5, \"bytes\": 0");
        let other = other.replace("\"handle\": 3", "\"handle\": 8");
        assert_eq!(canonical(&listed(LISTED)), canonical(&listed(&other)));
        let less = LISTED.replace("\"len\": 15", "\"len\": 16");
        assert_ne!(canonical(&listed(LISTED)), canonical(&listed(&less)));
    }

    #[test]
    fn a_jump_after_other_chains_of_the_engine_is_missing() {
        let forward = |targets: &[&str]| {
            let mut items = vec![serde_json::json!({"chain": {"name": "FORWARD"}})];
            items.extend(targets.iter().map(|target| {
                serde_json::json!({"rule": {"chain": "FORWARD", "expr": [{"jump": {"target": target}}]}})
            }));
            jump_of(&items)
        };
        assert_eq!(forward(&["MINE", "DOCKER-USER", "DOCKER-FORWARD"]), Jump::Fine);
        assert_eq!(forward(&["DOCKER-FORWARD", "DOCKER-USER"]), Jump::Missing);
        assert_eq!(forward(&["MINE"]), Jump::Missing);
        assert_eq!(jump_of(&[]), Jump::Fine);
    }
}
