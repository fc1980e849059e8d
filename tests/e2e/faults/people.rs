//! Case 23: people and their own Docker commands.

use std::collections::BTreeSet;

use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::{Lab, Outcome, eventually, fault, pause, rare_fault, raw, since};
use serde_json::json;
use tokio::time::Instant;

use super::length;
use super::shop::{Shop, converged};

const VICTIM: &str = "h2";

#[test]
fn case_23_people_stop_remove_and_rename() {
    rare_fault(23, |lab| {
        let shop = Shop::away_from(lab, VICTIM);
        let only = [VICTIM.to_owned()];
        let mut longest: f64 = 0.0;
        for words in [&["stop", "-t", "1"][..], &["rm", "-f"], &["kill"], &["rename"]] {
            let (_, copy) =
                lab.copies_on(&only, "shop/idle").into_iter().next().unwrap_or_else(|| panic!("no copy"));
            let mut all = words.to_vec();
            all.push(&copy.name);
            if words == ["rename"] {
                all.push("e2e-renamed");
            }
            lab.docker(VICTIM, &all).ok();
            let begun = Instant::now();
            restored(lab, &copy, words[0]);
            longest = longest.max(since(begun));
            // Its name is theirs to give; the cases after this one go by names.
            lab.docker(VICTIM, &["rename", "e2e-renamed", &copy.name]);
        }
        let unharmed = shop.close_unharmed();
        converged(lab, 60);
        Outcome::Passed(format!(
            "copies stopped, removed, killed and renamed by hand: each restored within {longest:.1} s; {unharmed}"
        ))
    });
}

/// A container of that copy runs, at its address; under its name, unless somebody gave it another one, which is
/// theirs to say.
fn restored(lab: &Lab, before: &Container, how: &str) {
    eventually(45, &format!("{} after {how}", before.name), || {
        let all = lab.engine(VICTIM).labelled("evenkeel.instance")?;
        let wanted = before.labels.get("evenkeel.instance");
        let mine: Vec<&Container> = all
            .iter()
            .filter(|copy| copy.labels.get("evenkeel.instance") == wanted && copy.running)
            .collect();
        match mine.as_slice() {
            [one] if one.address("lan") == before.address("lan") => Ok(()),
            others => Err(format!("{} run", others.len())),
        }
    });
}

#[test]
fn case_23_a_container_of_others_has_our_name() {
    fault(23, |lab| {
        let shop = Shop::away_from(lab, VICTIM);
        let only = [VICTIM.to_owned()];
        let (_, copy) =
            lab.copies_on(&only, "shop/idle").into_iter().next().unwrap_or_else(|| panic!("no copy"));
        let engine = lab.engine(VICTIM);
        let body = json!({"Image": "registry.lan:5000/busybox:1", "Cmd": ["sleep", "1000000"],
            "Labels": {"e2e-thief": "1"}, "HostConfig": {"NetworkMode": "none"}});
        // Between the removal and its restoration, again and again until the name is taken.
        let begun = Instant::now();
        eventually(30, "the name is taken by others", || {
            raw::remove(&engine, &copy.name)?;
            raw::run(&engine, &copy.name, &body)
        });
        let theirs = engine.container(&copy.name).unwrap_or_else(|error| panic!("{error}"));
        let told = eventually(60, "status names the conflict", || {
            let text = lab.keel(&["status"]).result()? + &lab.keel(&["events"]).result()?;
            if text.contains(&copy.name) { Ok(since(begun)) } else { Err(text) }
        });
        pause(length(120, 10));
        let now = engine.container(&copy.name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(now.id, theirs.id, "the container of others was removed");
        assert!(now.running && now.started() == theirs.started(), "the container of others was touched");
        let unharmed = shop.close_unharmed();
        raw::remove(&engine, &copy.name).unwrap_or_else(|error| panic!("{error}"));
        converged(lab, 90);
        let names: BTreeSet<String> = lab.containers(VICTIM).into_iter().map(|copy| copy.name).collect();
        assert!(!names.is_empty(), "no copy is left on {VICTIM}");
        Outcome::Passed(format!(
            "a container of others under a copy's name: never touched, told after {told:.1} s; {unharmed}"
        ))
    });
}
