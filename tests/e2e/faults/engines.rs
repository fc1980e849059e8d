//! Cases 17, 18 and 19: the engine restarts, loses events, or hangs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_tests::lab::{Lab, Outcome, eventually, fault, limit, pause, rare_fault, raw, since};
use serde_json::json;
use tokio::time::Instant;

use super::length;
use super::shop::{Shop, converged};
use crate::documents;

const VICTIM: &str = "h2";

/// Ids of the copies on a host: the same ones say that none was made anew.
fn ids(lab: &Lab, host: &str) -> BTreeSet<String> {
    lab.containers(host).into_iter().map(|copy| copy.id).collect()
}

#[test]
fn case_17_the_engine_restarts_and_containers_live() {
    fault(17, |lab| {
        let shop = Shop::away_from(lab, VICTIM);
        let only = [VICTIM.to_owned()];
        let (before, made) = (lab.runs(&only), ids(lab, VICTIM));
        let (_, crashed) =
            lab.copies_on(&only, "shop/idle").into_iter().next().unwrap_or_else(|| panic!("no copy"));
        lab.run(&["engine", VICTIM, "stop"]);
        // Nobody tells of this end. By the number that the engine knows it by, within the host.
        let pid = crashed.raw["State"]["Pid"].to_string();
        lab.exec(VICTIM, &["kill", "-KILL", &pid]).ok();
        pause(length(30, 6));
        lab.run(&["engine", VICTIM, "start"]);
        let begun = Instant::now();
        eventually(30, &format!("{} runs again", crashed.name), || {
            let now = lab.engine(VICTIM).container(&crashed.name)?;
            let again = now.running && now.started() != crashed.started();
            if again { Ok(()) } else { Err(format!("running: {}", now.running)) }
        });
        let took = since(begun);
        assert!(took <= limit(5.0), "what ended unseen was back only after {took:.1} s");
        let unharmed = shop.close_unharmed();
        converged(lab, 30);
        let mut after = lab.runs(&only);
        assert_eq!(made, ids(lab, VICTIM), "copies were made anew");
        after.insert(crashed.name.clone(), before[&crashed.name].clone());
        assert_eq!(before, after, "copies restarted with the engine");
        Outcome::Passed(format!(
            "with live-restore: all copies adopted, one that ended unseen back {took:.1} s after the engine; {unharmed}"
        ))
    });
}

#[test]
fn case_17_the_engine_restarts_and_containers_end() {
    rare_fault(17, |lab| {
        // Replacing them is not what is looked at here.
        let patient = "disconnect: {lost_after: 120s}, ";
        let web = format!("placement: {{constraints: [\"node.hostname != {VICTIM}\"]}}, ");
        let from = lab.hosts_but(VICTIM);
        let shop = Shop::laid_out(lab, &super::shop::Layout { web: &web, idle: patient, from });
        let made = ids(lab, VICTIM);
        live_restore(lab, false);
        lab.run(&["engine", VICTIM, "stop"]);
        lab.run(&["engine", VICTIM, "start"]);
        let begun = Instant::now();
        eventually(60, "all copies run again", || {
            let all = lab.containers(VICTIM);
            let ended = all.iter().filter(|copy| !copy.running).count();
            if ended == 0 { Ok(()) } else { Err(format!("{ended} of {} do not", all.len())) }
        });
        let took = since(begun);
        let again = ids(lab, VICTIM);
        live_restore(lab, true);
        lab.run(&["engine", VICTIM, "stop"]);
        lab.run(&["engine", VICTIM, "start"]);
        assert_eq!(made, again, "copies were made anew");
        let unharmed = shop.close_unharmed();
        converged(lab, 60);
        Outcome::Passed(format!(
            "without live-restore: the same containers run again {took:.1} s after the engine; {unharmed}"
        ))
    });
}

/// What the engine does with its containers at its next stop: it reads the setting anew.
fn live_restore(lab: &Lab, on: bool) {
    let edit = format!("s/\"live-restore\": [a-z]*/\"live-restore\": {on}/");
    lab.exec(VICTIM, &["sed", "-i", &edit, "/etc/docker/daemon.json"]).ok();
    lab.exec(VICTIM, &["pkill", "-HUP", "-x", "dockerd"]).ok();
    pause(Duration::from_secs(1));
}

#[test]
fn case_18_more_events_than_an_engine_keeps() {
    rare_fault(18, |lab| {
        let shop = Shop::away_from(lab, VICTIM);
        let only = [VICTIM.to_owned()];
        let engine = lab.engine(VICTIM);
        let copies = lab.copies_on(&only, "shop/idle");
        assert!(copies.len() >= 2, "{} copies on {VICTIM}", copies.len());
        // With the whole host's controllers in one process the host must not count as lost meanwhile.
        let time = if lab.is_separate() { length(60, 15) } else { Duration::from_millis(2500) };
        let noise = Noise::new(lab);
        lab.run(&["controllers", VICTIM, "pause", "instance"]);
        let begun = Instant::now();
        raw::kill(&engine, &copies[0].1.name).unwrap_or_else(|error| panic!("{error}"));
        raw::remove(&engine, &copies[1].1.name).unwrap_or_else(|error| panic!("{error}"));
        let events = noise.make(time);
        lab.run(&["controllers", VICTIM, "resume", "instance"]);
        let silent = since(begun);
        assert!(events > 256, "only {events} events in {silent:.1} s");
        let begun = Instant::now();
        for (_, copy) in &copies[..2] {
            eventually(40, &format!("{} runs again", copy.name), || {
                let now = engine.container(&copy.name)?;
                if now.running { Ok(()) } else { Err("it does not".to_owned()) }
            });
        }
        let took = since(begun);
        let unharmed = shop.close_unharmed();
        converged(lab, 60);
        Outcome::Passed(format!(
            "{events} events of 20 kB while nobody read them for {silent:.1} s: a copy killed and one removed are back \
             {took:.1} s after; {unharmed}"
        ))
    });
}

/// A container of others whose every event is large, so that no buffer holds many of them.
struct Noise<'a>(&'a Lab);

impl<'a> Noise<'a> {
    fn new(lab: &'a Lab) -> Self {
        let labels: BTreeMap<String, String> =
            (0..20).map(|n| (format!("e2e-noise-{n}"), "x".repeat(1000))).collect();
        let body = json!({"Image": "registry.lan:5000/busybox:1", "Cmd": ["true"], "Labels": labels,
            "HostConfig": {"NetworkMode": "none"}});
        let path = "/containers/create?name=e2e-noise-0";
        let (status, answer) =
            lab.engine(VICTIM).request("POST", path, Some(&body)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(status, 201, "{answer}");
        Self(lab)
    }

    /// Renames it as fast as can be, for so long; how often.
    fn make(&self, time: Duration) -> u32 {
        let engine = self.0.engine(VICTIM);
        let begun = Instant::now();
        let mut count = 0;
        while begun.elapsed() < time || count <= 300 {
            let path = format!("/containers/e2e-noise-{count}/rename?name=e2e-noise-{}", count + 1);
            let (status, answer) =
                engine.request("POST", &path, None).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(status, 204, "{answer}");
            count += 1;
        }
        count
    }
}

#[test]
fn case_19_an_engine_that_hangs() {
    rare_fault(19, |lab| {
        let shop = Shop::open(lab, VICTIM);
        let (records, alive) = (instances(lab), lab.alive());
        let before = lab.runs(&lab.hosts());
        lab.run(&["engine", VICTIM, "hang"]);
        let begun = Instant::now();
        pause(Duration::from_secs(3));
        // Something to do for it meanwhile.
        lab.put("services/shop/fresh", &documents::idle("mode: global"));
        pause(length(120, 20));
        let gone = since(begun);
        let mut now = instances(lab);
        now.retain(|key| !key.contains("/shop.fresh."));
        assert_eq!(records, now, "copies were given up or moved because an engine hangs");
        assert_eq!(alive, lab.alive(), "a host was counted lost because its engine hangs");
        lab.run(&["engine", VICTIM, "resume"]);
        let hosts = u32::try_from(lab.hosts().len()).unwrap_or(3);
        let begun = Instant::now();
        lab.settled("shop/fresh", hosts, 60);
        let took = since(begun);
        let unharmed = shop.close_unharmed();
        converged(lab, 30);
        let mut after = lab.runs(&lab.hosts());
        after.retain(|name, _| before.contains_key(name));
        assert_eq!(before, after, "copies were touched because an engine hung");
        Outcome::Passed(format!(
            "an engine that did not answer for {gone:.0} s: no copy moved or touched; {unharmed}; what was wished \
             meanwhile ran {took:.1} s after"
        ))
    });
}

fn instances(lab: &Lab) -> BTreeSet<String> {
    lab.store().keys("instances/").cloned().collect()
}
