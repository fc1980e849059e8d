//! Case 8: all of etcd is away. Nothing stops, what crashes is started again, names are answered and leave out
//! what is sick; and when it is back, nothing restarts.

use std::time::Duration;

use evenkeel_tests::lab::{Lab, Outcome, eventually, fault, limit, pause, since};
use tokio::time::Instant;

use super::length;
use super::shop::{COPIES, Shop, killed_come_back, sick_copy_leaves_local_names};
use crate::documents;

#[test]
fn case_08_all_of_etcd_away() {
    fault(8, |lab| {
        let hosts = lab.hosts();
        let (first, last) = (&hosts[0], &hosts[hosts.len() - 1]);
        // The last host will be powered off meanwhile; with a member of etcd on it, it would bring that along.
        let shop = Shop::away_from(lab, last);
        let away = length(600, 30);
        let alive = lab.alive();
        let lines = lab.log_lines(first);
        lab.run(&["etcd", "stop"]);
        let begun = Instant::now();
        pause(Duration::from_secs(3));

        let others = lab.hosts_but(last);
        let idle: Vec<_> = lab.copies("shop/idle").into_iter().take(5).collect();
        let longest = killed_come_back(lab, &idle);
        let sick = sick_copy_leaves_local_names(lab, first);
        let reboot = rebooted_copies_come_back(lab, last);
        lab.run(&["controllers", last, "restart"]);

        pause(away.saturating_sub(begun.elapsed()));
        let gone = since(begun);
        let said = lab.log_lines(first) - lines;
        assert!((said as f64) < 100.0 + gone, "{first} logged {said} lines in {gone:.0} s");
        let before = lab.runs(&lab.hosts());
        lab.run(&["etcd", "start"]);
        let resync = resynced(lab);
        pause(Duration::from_secs(5));
        let mut after = lab.runs(&lab.hosts());
        after.retain(|name, _| before.contains_key(name));
        assert_eq!(before, after, "containers changed when etcd was back");
        let now = lab.alive();
        for host in &others {
            let of = |all: &std::collections::BTreeMap<_, evenkeel_api::record::Alive>| {
                all.get(host).map(|alive| alive.boot_id.clone())
            };
            assert_eq!(of(&alive), of(&now), "{host} is another one");
        }
        let unharmed = shop.close_unharmed();
        lab.at_rest();
        Outcome::Passed(format!(
            "etcd away for {gone:.0} s: {unharmed}; {} killed copies back within {longest:.0} ms; {sick}; a rebooted host's copies back at their addresses after \
             {reboot:.0} s; in step {resync:.1} s after etcd's return, nothing restarted; {said} log lines",
            idle.len()
        ))
    });
}

/// The plug is pulled and put back; the host's copies come back as they were. Seconds from its power on.
fn rebooted_copies_come_back(lab: &Lab, host: &str) -> f64 {
    let only = [host.to_owned()];
    let of = || -> Vec<(String, String)> {
        let copies = lab.copies_on(&only, "shop/idle").into_iter();
        let mut found: Vec<_> = copies.map(|(_, copy)| (copy.name.clone(), copy.address("lan"))).collect();
        found.sort();
        found
    };
    let before = of();
    assert!(!before.is_empty(), "{host} carries no copy");
    lab.run(&["poweroff", host]);
    lab.run(&["poweron", host]);
    // With three members this host's own one comes with it, alone: that is no quorum.
    let begun = Instant::now();
    eventually(60, &format!("the copies of {host}"), || {
        let now = of();
        if now == before { Ok(()) } else { Err(format!("{now:?} in place of {before:?}")) }
    });
    since(begun)
}

/// A new wish is a container: seconds from etcd's return. All hosts are in it.
fn resynced(lab: &Lab) -> f64 {
    let begun = Instant::now();
    lab.put("services/shop/fresh", &documents::idle("mode: global"));
    let count = u32::try_from(lab.hosts().len()).unwrap_or(COPIES);
    lab.settled("shop/fresh", count, 30);
    let took = since(begun);
    assert!(took <= limit(10.0), "in step again only {took:.1} s after etcd's return");
    took
}
