//! Case 1: controllers die at the worst moments of a container's making.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::Duration;

use evenkeel_tests::lab::case::is_full;
use evenkeel_tests::lab::{Lab, Outcome, eventually, fault, pause};

use super::shop::{Shop, converged};
use crate::documents;

const VICTIM: &str = "h2";

#[test]
fn case_01_killed_while_containers_are_made() {
    fault(1, |lab| {
        let shop = Shop::away_from(lab, VICTIM);
        let rounds = if is_full() { 10 } else { 2 };
        let mut kills = 0;
        for round in 0..rounds {
            // Between create and start, and between start and the word of it in etcd.
            for moment in ["create", "start"] {
                one_round(lab, &format!("fresh-{round}-{moment}"), moment);
                kills += 1;
            }
        }
        let unharmed = shop.close_unharmed();
        converged(lab, 90);
        Outcome::Passed(format!(
            "{kills} kills right after an engine's create or start: no container made twice, none left over; {unharmed}"
        ))
    });
}

/// A service comes, and at the first such event of it the host's controllers are killed.
fn one_round(lab: &Lab, service: &str, moment: &'static str) {
    let begins = format!("shop.{service}.");
    let (tell, killed) = channel();
    let events = lab.engine(VICTIM).events().unwrap_or_else(|error| panic!("{error}"));
    let workers = lab.workers(VICTIM);
    assert!(!workers.is_empty(), "no workers on {VICTIM}");
    let prefix = begins.clone();
    let lab_name = lab.name().to_owned();
    std::thread::spawn(move || {
        let lab = Lab::named(&lab_name);
        let mut created: BTreeMap<String, u32> = BTreeMap::new();
        let mut done = false;
        for (action, name, _) in events {
            if !name.starts_with(&prefix) {
                continue;
            }
            if action == "create" {
                *created.entry(name.clone()).or_default() += 1;
            }
            if !done && action == moment {
                lab.kill_workers(&workers);
                done = true;
            }
            if tell.send((done, created.clone())).is_err() {
                return;
            }
        }
    });
    let host = format!("placement: {{constraints: [\"node.hostname == {VICTIM}\"]}}, replicas: 2");
    lab.put(&format!("services/shop/{service}"), &documents::idle(&host));
    lab.settled(&format!("shop/{service}"), 2, 60);
    pause(Duration::from_millis(500));
    let (done, created) = killed.try_iter().last().unwrap_or_default();
    assert!(done, "no {moment} of {service} was seen");
    let twice: Vec<&String> = created.iter().filter(|(_, times)| **times > 1).map(|(name, _)| name).collect();
    assert!(twice.is_empty() && created.len() == 2, "made more than once: {created:?}");
    lab.delete_all([format!("services/shop/{service}").as_str()]);
    eventually(60, &format!("{service} is gone"), || {
        let left = lab.containers(VICTIM).into_iter().filter(|copy| copy.name.starts_with(&begins)).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} left")) }
    });
}
