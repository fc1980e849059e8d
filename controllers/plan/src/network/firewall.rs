//! The firewall of a host, as text for nft.
//!
//! Drops live in a table of our own, before the engine's: a drop is final, while an accept only ends our
//! own chain. Accepts live in the two chains that every engine passes through and keeps. Thus neither the
//! engine's version nor its restart changes who may reach whom.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::Ipv4Addr;

use evenkeel_api::network::Cidr;
use evenkeel_api::session::PORT;

use super::ranges::collapse;
use super::state::{Pair, Published};
use crate::fnv::fnv1a;

/// The comment that marks our rules in the engine's chains.
pub const COMMENT: &str = "evenkeel";
/// The name of our table, in family inet.
pub const TABLE: &str = "evenkeel";
/// Before the engine's chains, whose priority is 0.
const PRIORITY: &str = "-10";

/// A network that stands, or is about to stand, on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its bridge device.
    pub bridge: String,
    /// All of its pools.
    pub pools: Vec<Cidr>,
    /// This host's part.
    pub part: Cidr,
    /// Outside addresses that may reach its containers.
    pub from: Vec<Cidr>,
}

/// What the rules of a host are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The networks, sorted by bridge.
    pub members: Vec<Member>,
    /// Addresses whose ports of etcd and for sessions containers may not reach: all hosts, and wherever else etcd is.
    pub guarded: BTreeSet<Ipv4Addr>,
    /// Ports of this host that lead into containers of ours.
    pub published: BTreeSet<Published>,
}

/// Our table for nft, with the mark that stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableText {
    /// The whole text: replaces the table in one transaction.
    pub text: String,
    /// A digest of its content.
    pub mark: String,
}

/// Our table.
pub fn table(rules: &Rules) -> TableText {
    let mut body = String::new();
    sets(&mut body, rules);
    forward(&mut body, rules);
    input(&mut body, rules);
    masquerade(&mut body);
    let mark = format!("mark_{:016x}", fnv1a(body.bytes()));
    let text = format!(
        "add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n  chain {mark} {{\n  }}\n{body}}}\n"
    );
    TableText { text, mark }
}

/// What must be let through the engine's chains, in order.
///
/// All pools to all pools, as isolation is our own table's work: with less, a container could not call a
/// published port of another network on its own host, since what comes of it is pool to pool.
pub fn accepts(rules: &Rules) -> Vec<Pair> {
    let pools = collapse(rules.members.iter().flat_map(|m| m.pools.iter().copied()));
    let mut pairs: BTreeSet<Pair> =
        pools.iter().flat_map(|from| pools.iter().map(|to| Pair { from: *from, to: *to })).collect();
    for member in &rules.members {
        for from in collapse(member.from.iter().copied()) {
            pairs.extend(member.pools.iter().map(|to| Pair { from, to: *to }));
        }
    }
    pairs.into_iter().collect()
}

/// What must be loaded before the engine starts at boot: without it, engines before 28 leave containers
/// open to the LAN until the controller runs.
pub fn boot(rules: &Rules) -> String {
    if rules.members.is_empty() {
        return String::new();
    }
    let mut text = format!("{}{CHAINS}", table(rules).text);
    for chain in ENGINE_CHAINS {
        for pair in accepts(rules).iter().rev() {
            let _ = writeln!(text, "insert rule {chain} {}", accept_rule(*pair));
        }
    }
    text
}

/// Both of the engine's chains that we write to, as nft spells them.
pub const ENGINE_CHAINS: [&str; 2] = ["ip filter DOCKER-USER", "ip raw PREROUTING"];

/// Makes those chains where they are missing. All engines adopt chains made before them.
pub const CHAINS: &str = "add table ip filter
add chain ip filter DOCKER-USER
add table ip raw
add chain ip raw PREROUTING { type filter hook prerouting priority raw; policy accept; }
";

/// One accept rule, without its chain. Only expressions that iptables can show: anything else makes the
/// whole chain «incompatible» for the engine, which then leaves it out.
pub fn accept_rule(pair: Pair) -> String {
    let Pair { from, to } = pair;
    format!("ip saddr {from} ip daddr {to} counter accept comment \"{COMMENT}\"")
}

fn sets(out: &mut String, rules: &Rules) {
    let members = &rules.members;
    set(out, "bridges", "ifname", "", members.iter().map(|m| format!("\"{}\"", m.bridge)));
    let pools = collapse(members.iter().flat_map(|m| m.pools.iter().copied()));
    set(out, "pools", "ipv4_addr", "flags interval; ", pools);
    set(out, "parts", "ipv4_addr", "flags interval; ", collapse(members.iter().map(|m| m.part)));
    set(out, "guarded", "ipv4_addr", "", &rules.guarded);
    let (all, some): (Vec<&Published>, Vec<&Published>) =
        rules.published.iter().partition(|p| p.address.is_unspecified());
    let all = all.iter().map(|p| format!("{} . {}", p.protocol.as_str(), p.port));
    set(out, "published_all", "inet_proto . inet_service", "", all);
    let some = some.iter().map(|p| format!("{} . {} . {}", p.address, p.protocol.as_str(), p.port));
    set(out, "published", "ipv4_addr . inet_proto . inet_service", "", some);
}

fn set<T: ToString>(
    out: &mut String,
    name: &str,
    kind: &str,
    flags: &str,
    elements: impl IntoIterator<Item = T>,
) {
    let elements: Vec<String> = elements.into_iter().map(|e| e.to_string()).collect();
    let elements = match elements.as_slice() {
        [] => String::new(),
        some => format!("elements = {{ {} }}; ", some.join(", ")),
    };
    let _ = writeln!(out, "  set {name} {{ type {kind}; {flags}{elements}}}");
}

fn list(ranges: &[Cidr]) -> String {
    let ranges: Vec<String> = collapse(ranges.iter().copied()).iter().map(ToString::to_string).collect();
    format!("{{ {} }}", ranges.join(", "))
}

fn forward(out: &mut String, rules: &Rules) {
    let _ =
        writeln!(out, "  chain forward {{\n    type filter hook forward priority {PRIORITY}; policy accept;");
    // Spoofed sources first: «established» must not save them.
    for member in &rules.members {
        let _ = writeln!(out, "    iifname \"{}\" ip saddr != {} counter drop", member.bridge, member.part);
    }
    out.push_str("    iifname != @bridges ip saddr @parts counter drop\n");
    let _ = writeln!(
        out,
        "    iifname @bridges ip daddr @guarded tcp dport {{ 2379, 2380, {PORT} }} counter drop"
    );
    out.push_str("    ct state established,related accept\n    ct status dnat accept\n");
    for member in &rules.members {
        let (bridge, pools) = (&member.bridge, list(&member.pools));
        let _ = writeln!(out, "    iifname \"{bridge}\" ip daddr != {pools} ip daddr @pools counter drop");
    }
    for member in &rules.members {
        let (bridge, pools) = (&member.bridge, list(&member.pools));
        let _ = writeln!(out, "    oifname \"{bridge}\" ip saddr {pools} accept");
        if !member.from.is_empty() {
            let _ = writeln!(out, "    oifname \"{bridge}\" ip saddr {} accept", list(&member.from));
        }
        let _ = writeln!(out, "    oifname \"{bridge}\" counter drop");
    }
    out.push_str("  }\n");
}

/// What containers may reach on the host itself: names, echo, and published ports.
///
/// With the engine's userland proxy, a packet for a published port of a container on the same bridge is not
/// translated but goes to the proxy, thus comes through here with nothing about it that a rule could know
/// but address and port.
fn input(out: &mut String, _rules: &Rules) {
    let _ = write!(
        out,
        "  chain from_pool {{
    udp dport 53 accept
    tcp dport 53 accept
    icmp type echo-request accept
    ip daddr . meta l4proto . th dport @published accept
    meta l4proto . th dport @published_all accept
    counter drop
  }}
  chain input {{
    type filter hook input priority {PRIORITY}; policy accept;
    iifname \"lo\" accept
    ct state established,related accept
    iifname @bridges jump from_pool
    ip saddr @pools jump from_pool
  }}
"
    );
}

/// Containers reach the outside as their host. The engine's own rule is switched off, since it would also
/// change the source of what goes to peers.
fn masquerade(out: &mut String) {
    out.push_str(
        "  chain outgoing {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr @pools ip daddr != @pools oifname != @bridges masquerade
  }
",
    );
}
