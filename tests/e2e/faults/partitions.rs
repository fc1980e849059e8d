//! Cases 11, 12, 15 and 16: a host is alive and cannot be heard, wholly or from one side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_tests::lab::{Lab, Outcome, eventually, fault, limit, pause, rare_fault, since};
use tokio::time::Instant;

use super::length;
use super::shop::{COPIES, Shop, converged, killed_come_back, steady_host};

#[test]
fn case_11_a_lease_expires_while_its_host_is_alive() {
    rare_fault(11, |lab| cut_from_etcd(lab, Duration::from_secs(10)));
}

#[test]
fn case_16_a_host_without_etcd() {
    fault(16, |lab| cut_from_etcd(lab, length(600, 20)));
}

/// The host's own containers go on, and when it is back the surplus goes.
fn cut_from_etcd(lab: &Lab, time: Duration) -> Outcome {
    let victim = &steady_host(lab);
    if lab.setting("MEMBERS") == "3" && lab.etcd_leader() == *victim {
        // It would be a loss of etcd's leader too, which is another case.
        lab.run(&["etcd", "stop", victim]);
        lab.run(&["etcd", "start", victim]);
        pause(Duration::from_secs(3));
    }
    let shop = Shop::open(lab, victim);
    let there = carried(lab, victim);
    let only = [victim.clone()];
    lab.run(&["cut", victim, "--from", "etcd"]);
    let begun = Instant::now();
    pause(Duration::from_secs(5));
    let idle: Vec<_> = lab.copies_on(&only, "shop/idle").into_iter().take(1).collect();
    let back = killed_come_back(lab, &idle);
    let killed: BTreeSet<&String> = idle.iter().map(|(_, copy)| &copy.name).collect();
    while begun.elapsed() < time {
        let now = lab.runs(&only);
        for (name, run) in there.iter().filter(|(name, _)| !killed.contains(name)) {
            assert_eq!(now.get(name), Some(run), "{name} was touched on the host without etcd");
        }
        pause(Duration::from_secs(1));
    }
    assert!(!lab.dig(victim, super::shop::WEB).is_empty(), "no names on the host without etcd");
    others_took_over(lab, &there);
    let gone = since(begun);
    lab.run(&["heal", victim, "--from", "etcd"]);
    let surplus = surplus_goes(lab);
    let unharmed = shop.close_unharmed();
    converged(lab, 30);
    Outcome::Passed(format!(
        "{victim} without etcd for {gone:.0} s: its {} copies ran on, one that crashed was back within {back:.0} ms; \
         {unharmed}; as many surplus copies gone {surplus:.1} s after",
        there.len()
    ))
}

/// What a host carries, and since when it runs.
fn carried(lab: &Lab, host: &str) -> BTreeMap<String, String> {
    let there = lab.runs(&[host.to_owned()]);
    assert!(!there.is_empty(), "{host} carries no copy: what is done to it shows nothing");
    there
}

/// Waits until each copy of a host that is not heard runs elsewhere as well.
fn others_took_over(lab: &Lab, there: &BTreeMap<String, String>) {
    let wanted = there.len() + 2 * COPIES as usize;
    eventually(30, "surplus copies", || {
        let run = lab.copies("shop/web").len() + lab.copies("shop/idle").len();
        if run == wanted { Ok(()) } else { Err(format!("{run} copies run, not {wanted}")) }
    });
}

/// Seconds until there are as many copies as wanted again, and no more.
fn surplus_goes(lab: &Lab) -> f64 {
    let begun = Instant::now();
    eventually(40, "no surplus copies", || {
        let (web, idle) = (lab.copies("shop/web").len(), lab.copies("shop/idle").len());
        let wanted = COPIES as usize;
        if web == wanted && idle == wanted { Ok(()) } else { Err(format!("{web} web, {idle} idle")) }
    });
    let took = since(begun);
    assert!(took <= limit(10.0), "surplus copies were gone only after {took:.1} s");
    took
}

#[test]
fn case_12_controllers_stand_still() {
    rare_fault(12, |lab| {
        let victim = &steady_host(lab);
        let shop = Shop::open(lab, victim);
        let there = carried(lab, victim);
        let only = [victim.clone()];
        let workers = lab.workers(victim);
        assert!(!workers.is_empty(), "no workers on {victim}");
        let each = |verb: &str| {
            let names: &[&str] = if lab.is_separate() {
                &["host", "network", "service", "healthcheck", "instance", "dns"]
            } else {
                &["service"]
            };
            for name in names {
                lab.run(&["controllers", victim, verb, name]);
            }
        };
        each("pause");
        let begun = Instant::now();
        pause(Duration::from_secs(30));
        assert_eq!(there, lab.runs(&only), "containers were touched while their controllers stood still");
        others_took_over(lab, &there);
        let gone = since(begun);
        each("resume");
        let surplus = surplus_goes(lab);
        assert_eq!(workers, lab.workers(victim), "controllers that had stood still ended");
        let unharmed = shop.close_unharmed();
        converged(lab, 30);
        Outcome::Passed(format!(
            "controllers of {victim} stood still for {gone:.0} s: {unharmed}; {} surplus copies gone {surplus:.1} s \
             after",
            there.len()
        ))
    });
}

#[test]
fn case_15_a_host_reaches_etcd_but_not_its_peers() {
    rare_fault(15, |lab| {
        // Nobody asks across the cut: what it takes away are packets, not decisions.
        let victim = &steady_host(lab);
        let shop = Shop::away_from(lab, victim);
        carried(lab, victim);
        let before = (lab.runs(&lab.hosts()), lab.alive());
        lab.run(&["cut", victim, "--from", "peers"]);
        let begun = Instant::now();
        pause(length(180, 15));
        let gone = since(begun);
        assert_eq!(before, (lab.runs(&lab.hosts()), lab.alive()), "a host was given up that etcd hears");
        let changes: usize = lab.hosts_but(victim).iter().map(|host| shop.said(host).len() - 1).sum();
        assert!(changes as f64 <= 2.0 + gone / 60.0, "the names changed {changes} times in {gone:.0} s");
        lab.run(&["heal", victim]);
        let unharmed = shop.close_unharmed();
        converged(lab, 30);
        Outcome::Passed(format!(
            "{victim} cut off from its peers for {gone:.0} s: nothing moved, the names changed {changes} times; {unharmed}"
        ))
    });
}

#[test]
fn case_15_a_host_reaches_its_peers_but_not_etcd() {
    rare_fault(15, |lab| {
        let victim = &steady_host(lab);
        let shop = Shop::open(lab, victim);
        let there = carried(lab, victim);
        lab.run(&["cut", victim, "--from", "etcd"]);
        let begun = Instant::now();
        pause(length(180, 20));
        others_took_over(lab, &there);
        let gone = since(begun);
        let watchers = lab.hosts_but(victim);
        // Out when its lease ended, and each of its copies' successors in.
        let changes = watchers.iter().map(|host| shop.said(host).len() - 1).max().unwrap_or(0);
        assert!(changes as f64 <= 6.0 + gone / 60.0, "the names changed {changes} times in {gone:.0} s");
        lab.run(&["heal", victim]);
        let surplus = surplus_goes(lab);
        let unharmed = shop.close_unharmed();
        converged(lab, 30);
        Outcome::Passed(format!(
            "{victim} cut off from etcd for {gone:.0} s, reached by its peers: the names changed {changes} times; \
             {unharmed}; {} surplus copies gone {surplus:.1} s after",
            there.len()
        ))
    });
}
