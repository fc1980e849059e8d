//! A host loses its power: its addresses leave the names, its copies are replaced, and when it is back
//! nothing else restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_runtime::env::{SystemClock, WallClock};
use evenkeel_tests::lab::load::{Change, Load};
use evenkeel_tests::lab::{Lab, case, eventually, limit, pause};

use crate::{documents, load};

/// The life of a host's lease.
const LEASE: f64 = 2.0;
/// From the words `hack/lab poweroff` to the plug, on a machine with other work.
const TO_THE_PLUG: f64 = 0.5;

const COPIES: usize = 6;

#[test]
fn a_lost_host_is_out_of_the_names_and_replaced() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/web", &documents::web("1", "replicas: 6"));
        lab.put("healthchecks/shop/web", &documents::http_check("web"));
        lab.put("services/shop/pair", &documents::web("2", "replicas: 2"));
        lab.settled("shop/web", 6, 60);
        lab.settled("shop/pair", 2, 60);

        lose(lab, &lab.leader("service"), "the service leader's host");
        let leader = lab.leader("service");
        let carries = |host: &String| !lab.copies_on(std::slice::from_ref(host), "shop/web").is_empty();
        let other = lab
            .hosts_but(&leader)
            .into_iter()
            .find(carries)
            .unwrap_or_else(|| panic!("no other host carries copies"));
        lose(lab, &other, "another host");
        if lab.setting("MEMBERS") == "3" {
            lose(lab, &lab.etcd_leader(), "the host of etcd's leader");
        }
    });
}

fn lose(lab: &Lab, victim: &str, what: &str) {
    let with_etcd = lab.setting("MEMBERS") == "3" && lab.etcd_leader() == victim;
    let others = lab.hosts_but(victim);
    let copies = lab.copies("shop/web");
    let gone: BTreeSet<String> =
        copies.iter().filter(|(host, _)| host == victim).map(|(_, copy)| copy.address("lan")).collect();
    assert!(!gone.is_empty(), "{victim} carries no copy");
    let alive = lab.alive();
    let watches: Vec<(String, Load)> = others
        .iter()
        .map(|host| {
            let server = lab.gateway("lan", host);
            let words = ["names", &server, "20", "web.shop.internal", "pair.shop.internal"];
            (host.clone(), Load::on(lab, load(), host, &words))
        })
        .collect();
    eventually(10, "all watch the names", || {
        let all = watches.iter().all(|(_, watch)| !watch.changes().is_empty());
        if all { Ok(()) } else { Err("not yet".to_owned()) }
    });

    let plug = SystemClock.now().0;
    lab.run(&["poweroff", victim]);
    eventually(40, "replacements in the names", || {
        let lagging = watches.iter().find(|(_, watch)| whole(&watch.changes(), &gone, plug).is_none());
        lagging.map_or(Ok(()), |(host, watch)| Err(format!("on {host}: {:?}", watch.changes().last())))
    });
    let (limit_out, limit_replaced) = if with_etcd { (LEASE + 3.0, 12.0) } else { (LEASE + 1.5, 8.0) };
    for (host, watch) in watches {
        let (changes, summary) = watch.finish();
        let seconds = |at: i64| (at - plug) as f64 / 1e3;
        let out = left(&changes, &gone)
            .map(seconds)
            .unwrap_or_else(|| panic!("they never left the names on {host}"));
        let replaced = whole(&changes, &gone, plug).map(seconds).unwrap_or(f64::NAN);
        println!(
            "-> {what} ({victim}) off: out of {host}'s names after {out:.2} s, replaced in them after {replaced:.2} s"
        );
        assert!(
            out <= limit(limit_out + TO_THE_PLUG),
            "{victim}'s addresses left {host}'s names only after {out:.2} s"
        );
        assert!(
            replaced <= limit(limit_replaced + TO_THE_PLUG),
            "replacements answered on {host} only after {replaced:.2} s"
        );
        assert_eq!(summary.failed, 0, "names on {host} were not answered: {summary}");
    }
    healthy_hosts_stayed(lab, &alive, &others);
    answers(lab, &others);

    let before = lab.runs(&others);
    lab.run(&["poweron", victim]);
    eventually(60, &format!("{victim} back"), || {
        if lab.try_store()?.values.contains_key(&format!("alive/{victim}")) {
            Ok(())
        } else {
            Err("gone".to_owned())
        }
    });
    lab.settled("shop/web", 6, 60);
    lab.settled("shop/pair", 2, 60);
    pause(Duration::from_secs(2));
    let after = lab.runs(&others);
    for (name, started) in &after {
        if let Some(former) = before.get(name) {
            assert_eq!(former, started, "{name} restarted when {victim} came back");
        }
    }
    let fresh: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert!(fresh.is_empty(), "new copies elsewhere when {victim} came back: {fresh:?}");
    healthy_hosts_stayed(lab, &alive, &others);
}

/// When the last of these addresses left.
fn left(changes: &[Change], gone: &BTreeSet<String>) -> Option<i64> {
    let web: Vec<&Change> = changes.iter().filter(|change| change.name == "web.shop.internal").collect();
    let last =
        web.iter().rposition(|change| change.addresses.iter().any(|address| gone.contains(address)))?;
    web.get(last + 1).map(|change| change.at)
}

/// When the name was whole again without these addresses.
fn whole(changes: &[Change], gone: &BTreeSet<String>, after: i64) -> Option<i64> {
    let fits = |change: &&Change| {
        change.name == "web.shop.internal"
            && change.at > after
            && change.addresses.len() == COPIES
            && !change.addresses.iter().any(|address| gone.contains(address))
    };
    changes.iter().find(fits).map(|change| change.at)
}

fn healthy_hosts_stayed(
    lab: &Lab,
    before: &BTreeMap<String, evenkeel_api::record::Alive>,
    others: &[String],
) {
    let now = lab.alive();
    for host in others {
        assert_eq!(before.get(host), now.get(host), "{host} lost its lease");
    }
}

/// Each address in the names is asked, from each host.
fn answers(lab: &Lab, hosts: &[String]) {
    for host in hosts {
        for address in lab.dig(host, "web.shop.internal") {
            let answer =
                lab.exec(host, &["curl", "-sS", "--max-time", "3", &format!("http://{address}:8080/")]).ok();
            assert!(answer.starts_with("1 "), "{address} from {host}: {answer}");
        }
    }
}
