//! Case 22: many hosts go at once. The fault is then rather in between, and nobody is replaced before a person
//! says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_tests::lab::{Lab, Outcome, eventually, limit, pause, rare_fault, since};
use tokio::time::Instant;

use super::length;
use super::shop::{Shop, converged};

/// The hosts that go, half of all or one more, and those that stay; none where etcd would go too.
fn halves(lab: &Lab) -> Option<(Vec<String>, Vec<String>)> {
    let hosts = lab.hosts();
    let stay = hosts.len() / 2;
    if lab.setting("MEMBERS") == "3" && stay < 2 {
        return None;
    }
    let (stay, go) = hosts.split_at(stay);
    Some((go.to_vec(), stay.to_vec()))
}

#[test]
fn case_22_half_of_all_hosts_lose_their_power() {
    rare_fault(22, |lab| {
        let Some((go, stay)) = halves(lab) else {
            return Outcome::Skipped("without these hosts etcd itself is gone".to_owned());
        };
        let names: Vec<&str> = go.iter().map(String::as_str).collect();
        let web = format!("placement: {{constraints: [{}]}}, ", but_not(&names));
        let shop = Shop::laid_out(lab, &super::shop::Layout { web: &web, idle: "", from: stay.clone() });
        let (before, records) = (lab.runs(&stay), instances(lab));
        // The cables first: the end of all that runs on a host takes a while on a machine with other work, and
        // hosts that go one after the other are another case.
        at_once(lab, "cut", &go);
        let begun = Instant::now();
        at_once(lab, "poweroff", &go);
        let told = eventually(30, "status speaks of the brake", || {
            let text = lab.keel(&["status"]).result()?;
            if text.contains("brake") { Ok(since(begun)) } else { Err(text) }
        });
        // The brake is on four seconds after the last heartbeat, when copies would be replaced.
        assert!(told <= limit(5.0), "status spoke of the brake only after {told:.1} s");
        pause(length(60, 10));
        assert_eq!(records, instances(lab), "copies were placed or given up in spite of the brake");
        assert_eq!(before, lab.runs(&stay), "containers were touched on the hosts that stayed");

        let dead = &go[go.len() - 1];
        lab.keel(&["host", "confirm-dead", dead]).ok();
        let replaced = confirmed_dead_is_replaced(lab, dead, &records, &stay);
        for host in &go {
            lab.run(&["poweron", host]);
        }
        let took = converged(lab, 120);
        let after = lab.runs(&stay);
        for (name, run) in &before {
            assert_eq!(after.get(name), Some(run), "{name} was touched when hosts were back");
        }
        let unharmed = shop.close_unharmed();
        Outcome::Passed(format!(
            "{} of {} hosts off: told after {told:.1} s, nobody replaced; {dead} confirmed dead: its copies alone, \
             after {replaced:.1} s; all back and in step after {took:.0} s, nothing restarted; {unharmed}",
            go.len(),
            go.len() + stay.len()
        ))
    });
}

#[test]
fn case_22_half_of_all_hosts_are_cut_off() {
    rare_fault(22, |lab| {
        let Some((go, stay)) = halves(lab) else {
            return Outcome::Skipped("without these hosts etcd itself is gone".to_owned());
        };
        let names: Vec<&str> = go.iter().map(String::as_str).collect();
        let web = format!("placement: {{constraints: [{}]}}, ", but_not(&names));
        let shop = Shop::laid_out(lab, &super::shop::Layout { web: &web, idle: "", from: stay });
        let before = lab.runs(&lab.hosts());
        at_once(lab, "cut", &go);
        let begun = Instant::now();
        pause(length(120, 12));
        assert_eq!(before, lab.runs(&lab.hosts()), "containers were touched when the switch was lost");
        let gone = since(begun);
        at_once(lab, "heal", &go);
        let took = converged(lab, 60);
        assert_eq!(before, lab.runs(&lab.hosts()), "containers were touched when the switch was back");
        let unharmed = shop.close_unharmed();
        Outcome::Passed(format!(
            "{} of {} hosts without network for {gone:.0} s: nothing stopped, nobody replaced, in step {took:.1} s \
             after; {unharmed}",
            go.len(),
            lab.hosts().len()
        ))
    });
}

fn but_not(hosts: &[&str]) -> String {
    let each: Vec<String> = hosts.iter().map(|host| format!("\"node.hostname != {host}\"")).collect();
    each.join(", ")
}

fn at_once(lab: &Lab, verb: &str, hosts: &[String]) {
    std::thread::scope(|scope| {
        for host in hosts {
            scope.spawn(move || lab.run(&[verb, host]));
        }
    });
}

/// What each host is to run.
fn instances(lab: &Lab) -> BTreeSet<String> {
    lab.store().keys("instances/").cloned().collect()
}

/// The dead host's copies, and no others, get successors. Seconds until they run.
fn confirmed_dead_is_replaced(lab: &Lab, dead: &str, records: &BTreeSet<String>, stay: &[String]) -> f64 {
    let begun = Instant::now();
    let of = |all: &BTreeSet<String>, host: &str| -> BTreeSet<String> {
        all.iter().filter(|key| key.starts_with(&format!("instances/{host}/"))).cloned().collect()
    };
    let lost = of(records, dead).len();
    let counted =
        |all: &BTreeMap<String, String>| all.values().filter(|run| !run.starts_with("ended")).count();
    let before = counted(&lab.runs(stay));
    eventually(30, &format!("{lost} copies in place of those of {dead}"), || {
        let new = counted(&lab.runs(stay)).saturating_sub(before);
        if new == lost { Ok(()) } else { Err(format!("{new} more")) }
    });
    let took = since(begun);
    pause(Duration::from_secs(3));
    let now = instances(lab);
    for host in lab.hosts() {
        if host != dead && !stay.contains(&host) {
            assert_eq!(of(records, &host), of(&now, &host), "{host} was given up, and nobody said so");
        }
    }
    took
}
