//! Cases 4, 5 and 7, and a leader of etcd that freezes: what goes wrong between etcd and its readers.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use evenkeel_tests::lab::case::is_full;
use evenkeel_tests::lab::cluster::PREFIX;
use evenkeel_tests::lab::{Lab, Outcome, eventually, pause, rare_fault, since};
use tokio::time::Instant;

use super::length;
use super::shop::{COPIES, Shop, converged};
use crate::documents;

fn needs_three_members(lab: &Lab) -> Option<Outcome> {
    (lab.setting("MEMBERS") != "3").then(|| Outcome::Skipped("it needs an etcd of three members".to_owned()))
}

/// All hosts miss changes, whose history is gone when they are back.
#[test]
fn case_04_compacted_past_the_watches() {
    rare_fault(4, |lab| {
        let shop = Shop::open(lab, "h3");
        for host in lab.hosts() {
            lab.run(&["cut", &host, "--from", "etcd"]);
        }
        let runs = lab.runs(&lab.hosts());
        let begun = Instant::now();
        // Longer than connections live without a sign of life, so that each watch has to begin anew.
        pause(length(60, 12));
        lab.put("services/shop/idle", &documents::idle("replicas: 4"));
        lab.put("services/shop/late", &documents::idle("replicas: 2"));
        lab.delete("healthchecks/shop/web");
        compact(lab);
        assert_eq!(runs, lab.runs(&lab.hosts()), "containers were touched while etcd was out of reach");
        let gone = since(begun);
        for host in lab.hosts() {
            lab.run(&["heal", &host, "--from", "etcd"]);
        }
        let begun = Instant::now();
        lab.settled("shop/late", 2, 30);
        lab.settled("shop/idle", 4, 30);
        let took = since(begun);
        let web = lab.copies("shop/web");
        assert_eq!(web.len(), COPIES as usize);
        for (host, copy) in web {
            assert_eq!(runs.get(&copy.name), Some(&copy.started()), "{} on {host} was touched", copy.name);
        }
        let unharmed = shop.close_unharmed();
        lab.at_rest();
        Outcome::Passed(format!(
            "out of reach for {gone:.0} s and compacted: {unharmed}; changes, a deletion too, seen {took:.1} s after; \
             no other copy touched"
        ))
    });
}

/// All history up to now is gone.
fn compact(lab: &Lab) {
    let revision = lab.revision().to_string();
    lab.etcdctl(&["compact", "--physical", &revision]).ok();
}

/// The member that a host asks first was cut off, and lags when the host reaches it again.
#[test]
fn case_05_a_member_that_lags() {
    rare_fault(5, |lab| {
        if let Some(skipped) = needs_three_members(lab) {
            return skipped;
        }
        let leader = lab.etcd_leader();
        let members = ["h1", "h2", "h3"];
        let victim = members.into_iter().find(|host| *host != leader).unwrap_or("h3");
        let shop = Shop::open(lab, victim);
        let begun = Instant::now();
        lab.run(&["cut", victim, "--from", "etcd"]);
        pause(length(30, 8));
        // What the lagging member does not know: fewer copies, and another template of the web.
        lab.put("services/shop/idle", &documents::idle("replicas: 3"));
        pause(Duration::from_secs(3));
        let gone = since(begun);
        lab.run(&["heal", victim, "--from", "etcd"]);
        eventually(15, "three idle copies", || {
            let running = lab.copies("shop/idle").len();
            if running == 3 { Ok(()) } else { Err(format!("{running} run")) }
        });
        lab.settled("shop/idle", 3, 30);
        lab.settled("shop/web", COPIES, 30);
        let unharmed = shop.close_unharmed();
        lab.at_rest();
        Outcome::Passed(format!(
            "the member on {victim} was cut off for {gone:.0} s, its host with it: {unharmed}; the old wish was not \
             carried out"
        ))
    });
}

/// etcd's leader dies while a transaction of as many operations as etcd takes is under way.
#[test]
fn case_07_etcds_leader_killed_in_a_batch() {
    rare_fault(7, |lab| {
        if let Some(skipped) = needs_three_members(lab) {
            return skipped;
        }
        let shop = Shop::open(lab, "h3");
        let rounds = if is_full() { 10 } else { 2 };
        let mut committed = 0;
        for round in 0..rounds {
            let leader = lab.etcd_leader();
            let batch = lab.start(&["exec", "infra", "sh", "-c", &script(lab, round)]);
            pause(Duration::from_millis(40 + 35 * round));
            lab.run(&["etcd", "kill", &leader]);
            let key = format!("{PREFIX}services/shop/idle");
            let idle = documents::idle(&format!("replicas: {}", 4 + round % 2 * 4));
            // As soon as there is a leader again.
            eventually(15, "a document is taken", || lab.feed(&["etcdctl", "put", &key], &idle).result());
            lab.run(&["etcd", "start", &leader]);
            pause(Duration::from_secs(2));
            batch.finish();
            let written = lab.store().keys(&format!("healthchecks/shop/batch-{round}-")).count();
            assert!(written == 0 || written == BATCH, "{written} of {BATCH} operations were done");
            committed += usize::from(written == BATCH);
            lab.settled("shop/idle", u32::try_from(4 + round % 2 * 4).unwrap_or(4), 60);
        }
        lab.put("services/shop/idle", &documents::idle(&format!("replicas: {COPIES}")));
        let unharmed = shop.close_unharmed();
        converged(lab, 60);
        Outcome::Passed(format!(
            "{rounds} leaders of etcd killed in a batch of {BATCH}: {committed} done whole, the rest not at all; \
             {unharmed}"
        ))
    });
}

/// etcd takes 128 operations at most.
const BATCH: usize = 127;

/// One transaction by etcd's CLI, of checks of a service that nobody has.
fn script(lab: &Lab, round: u64) -> String {
    let check = documents::http_check("nobody").replace('\n', "\\n");
    let mut txn = String::from("\n");
    for n in 0..BATCH {
        let _ = writeln!(txn, "put {PREFIX}healthchecks/shop/batch-{round}-{n} \"{check}\"");
    }
    let file = lab.file("infra/run/batch.txt");
    std::fs::write(&file, txn + "\n\n").unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let endpoints: Vec<String> =
        ["h1", "h2", "h3"].iter().map(|host| format!("{}:2379", lab.address(host))).collect();
    format!("ETCDCTL_API=3 etcdctl --endpoints {} txn </run/batch.txt", endpoints.join(","))
}

/// etcd's leader stands still for longer than leases live: healthy hosts lose them, and nobody is moved.
#[test]
fn case_22_etcds_leader_freezes() {
    rare_fault(22, |lab| {
        if let Some(skipped) = needs_three_members(lab) {
            return skipped;
        }
        let shop = Shop::open(lab, "h3");
        let before = lab.runs(&lab.hosts());
        let names: BTreeSet<String> = before.keys().cloned().collect();
        let rounds = if is_full() { 10 } else { 2 };
        for _ in 0..rounds {
            let leader = lab.etcd_leader();
            lab.run(&["etcd", "pause", &leader]);
            pause(Duration::from_secs(5));
            lab.run(&["etcd", "resume", &leader]);
            // Its stale list of leases is worked off up to seven seconds after.
            pause(Duration::from_secs(9));
            let now = lab.runs(&lab.hosts());
            let new: Vec<&String> = now.keys().filter(|name| !names.contains(*name)).collect();
            assert!(new.is_empty(), "copies moved when etcd's leader froze: {new:?}");
            assert_eq!(before, now, "containers were touched when etcd's leader froze");
        }
        let unharmed = shop.close_unharmed();
        converged(lab, 30);
        Outcome::Passed(format!("etcd's leader frozen for 5 s, {rounds} times: no copy moved; {unharmed}"))
    });
}
