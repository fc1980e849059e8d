use std::collections::BTreeMap;

use evenkeel_api::name::NetworkName;
use evenkeel_api::record::{ConditionType, NetworkReport, Timestamp};

use crate::network::admit::Document;
use crate::network::leader::{Decision, View, decide};

pub fn name(text: &str) -> NetworkName {
    text.parse().unwrap()
}

pub fn document(text: &str, revision: i64) -> Document {
    Document { text: text.as_bytes().to_vec(), mod_revision: revision, create_revision: revision }
}

pub fn pool(range: &str) -> String {
    format!("apiVersion: evenkeel/v1\nkind: Network\nspec:\n  ipam: {{config: [{{subnet: {range}}}]}}\n")
}

/// Take over what was decided, as the store would.
pub fn commit(view: &mut View, decisions: &BTreeMap<NetworkName, Decision>) {
    for (name, decision) in decisions {
        if decision.finish {
            view.accepted.remove(name);
            view.statuses.remove(name);
            view.subnets.remove(name);
            continue;
        }
        if let Some(accepted) = &decision.accept {
            view.accepted.insert(name.clone(), accepted.clone());
        }
        let owned = view.subnets.entry(name.clone()).or_default();
        owned.extend(decision.parts.claims.clone());
        owned.retain(|host, _| !decision.parts.releases.contains_key(host));
        if let Some(status) = &decision.status {
            view.statuses.insert(name.clone(), status.clone());
        }
    }
}

fn settle(view: &mut View) {
    for _ in 0..4 {
        let decisions = decide(view, Timestamp(1));
        commit(view, &decisions);
    }
    assert!(decide(view, Timestamp(99)).is_empty(), "decisions come to rest");
}

fn view(documents: &[(&str, &str, i64)]) -> View {
    let documents = documents.iter().map(|(n, text, r)| (name(n), document(text, *r))).collect();
    View { documents, trusted: true, ..View::default() }
}

fn invalid(view: &View, network: &str) -> String {
    let condition = view.statuses[&name(network)].condition(ConditionType::Valid).unwrap();
    assert!(!condition.status, "{condition:?}");
    condition.message.clone()
}

#[test]
fn a_valid_document_is_accepted_once() {
    let mut view = view(&[("lan", &pool("10.88.0.0/16"), 7)]);
    let first = decide(&view, Timestamp(1));
    let accepted = first[&name("lan")].accept.as_ref().unwrap();
    assert_eq!((accepted.source_revision, accepted.deleting), (7, false));
    assert_eq!(accepted.metadata.name.as_ref().unwrap().as_str(), "lan");
    settle(&mut view);
}

#[test]
fn a_bad_document_changes_only_the_status() {
    let mut view = view(&[("lan", &pool("10.88.0.0/16"), 7)]);
    settle(&mut view);
    view.documents
        .insert(name("lan"), document("apiVersion: evenkeel/v1\nkind: Network\nspec: {imap: {}}\n", 9));
    let decision = &decide(&view, Timestamp(2))[&name("lan")];
    assert!(decision.accept.is_none() && !decision.finish);
    settle(&mut view);
    let message = invalid(&view, "lan");
    assert!(message.contains("line 3") && message.ends_with("running revision 7"), "{message}");
}

#[test]
fn pools_can_be_appended_and_nothing_else() {
    let two = |a: &str, b: &str| {
        format!(
            "apiVersion: evenkeel/v1\nkind: Network\nspec: {{ipam: {{config: [{{subnet: {a}}}, {{subnet: {b}}}]}}}}\n"
        )
    };
    let mut view = view(&[("lan", &pool("10.88.0.0/16"), 7)]);
    settle(&mut view);
    view.documents.insert(name("lan"), document(&two("10.88.0.0/16", "10.90.0.0/16"), 8));
    settle(&mut view);
    assert_eq!(view.accepted[&name("lan")].spec.pools().count(), 2);
    for (text, word) in [
        (pool("10.88.0.0/16"), "cannot be removed"),
        (two("10.91.0.0/16", "10.90.0.0/16"), "cannot become"),
        (
            two("10.88.0.0/16", "10.90.0.0/16").replace("]}", "], host_prefix_length: 25}"),
            "host_prefix_length",
        ),
    ] {
        view.documents.insert(name("lan"), document(&text, 9));
        settle(&mut view);
        let message = invalid(&view, "lan");
        assert!(message.contains(word), "{message}");
        assert_eq!(view.accepted[&name("lan")].source_revision, 8);
    }
}

#[test]
fn pools_of_two_networks_never_overlap_and_the_older_has_the_better_right() {
    let mut view = view(&[("a-late", &pool("10.88.4.0/22"), 9), ("lan", &pool("10.88.0.0/16"), 7)]);
    settle(&mut view);
    let message = invalid(&view, "a-late");
    assert!(message.contains("10.88.4.0/22") && message.contains("Network lan"), "{message}");
    assert!(view.accepted.contains_key(&name("lan")) && !view.accepted.contains_key(&name("a-late")));
}

#[test]
fn reserved_ranges_and_small_pools_are_refused() {
    for (range, word) in [("127.0.0.0/16", "cannot be given"), ("10.88.0.0/25", "smaller")] {
        let mut view = view(&[("lan", &pool(range), 7)]);
        settle(&mut view);
        let message = invalid(&view, "lan");
        assert!(message.contains(word), "{range}: {message}");
    }
}

#[test]
fn deletion_waits_for_users_and_for_every_host_that_is_alive() {
    let lan = name("lan");
    let mut view = view(&[("lan", &pool("10.88.0.0/16"), 7)]);
    for host in ["h1", "h2", "h3"] {
        view.hosts.insert(host.parse().unwrap());
        view.facts.insert(host.parse().unwrap(), Default::default());
    }
    view.alive = ["h1", "h2"].map(|h| h.parse().unwrap()).into();
    settle(&mut view);
    assert_eq!(view.subnets[&lan].len(), 3);

    view.documents.clear();
    view.users.insert(lan.clone(), ["shop/web".to_owned()].into());
    settle(&mut view);
    assert!(!view.accepted[&lan].deleting);
    let told = view.statuses[&lan].condition(ConditionType::Progressing).unwrap();
    assert!(told.message.contains("shop/web"), "{told:?}");

    view.users.clear();
    settle(&mut view);
    assert!(view.accepted[&lan].deleting);
    let gone = |view: &mut View, host: &str| {
        view.reports.entry(name("lan")).or_default().insert(host.parse().unwrap(), NetworkReport::Gone);
    };
    gone(&mut view, "h1");
    settle(&mut view);
    assert!(view.accepted.contains_key(&lan), "h2 has not said so yet");
    gone(&mut view, "h2");
    settle(&mut view);
    assert!(!view.accepted.contains_key(&lan), "h3 is off and finds out when it returns");
}

#[test]
fn an_untrusted_store_ends_nothing() {
    let mut view = view(&[("lan", &pool("10.88.0.0/16"), 7)]);
    view.hosts.insert("h1".parse().unwrap());
    view.facts.insert("h1".parse().unwrap(), Default::default());
    settle(&mut view);
    view.documents.clear();
    view.hosts.clear();
    view.trusted = false;
    settle(&mut view);
    assert!(!view.accepted[&name("lan")].deleting);
    assert_eq!(view.subnets[&name("lan")].len(), 1);
}

#[test]
fn the_status_counts_hosts_and_names_what_is_in_the_way() {
    let mut view = view(&[("lan", &pool("10.88.0.0/16"), 7)]);
    for host in ["h1", "h2"] {
        view.hosts.insert(host.parse().unwrap());
        view.alive.insert(host.parse().unwrap());
    }
    let ready = NetworkReport::Ready { subnet: "10.88.1.0/24".parse().unwrap() };
    let conflict = NetworkReport::Conflict { why: "pool 10.88.0.0/16 overlaps docker network x".into() };
    view.reports
        .insert(name("lan"), [("h1".parse().unwrap(), ready), ("h2".parse().unwrap(), conflict)].into());
    settle(&mut view);
    let status = &view.statuses[&name("lan")];
    let available = status.condition(ConditionType::Available).unwrap();
    assert_eq!((available.status, available.message.as_str()), (false, "1/2 hosts ready"));
    let degraded = status.condition(ConditionType::Degraded).unwrap();
    assert_eq!(degraded.reason, "Conflict");
    assert!(degraded.message.starts_with("h2: pool"), "{degraded:?}");
}
