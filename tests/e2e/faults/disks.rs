//! Case 20: a host's disk is full, and an update comes.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_api::record::{Phase, Rollout};
use evenkeel_tests::lab::{Lab, Outcome, eventually, fault, pause, rare_fault, since};
use tokio::time::Instant;

use super::length;
use super::shop::{COPIES, Shop, converged};
use crate::documents;

const VICTIM: &str = "h2";
const UPDATE: &str = "update_config: {parallelism: 1, order: start-first, monitor: 1s}, ";

#[test]
fn case_20_a_full_disk() {
    fault(20, |lab| {
        let from = lab.hosts();
        let shop = Shop::laid_out(lab, &super::shop::Layout { web: UPDATE, idle: "", from });
        let image = format!("{}/web:2", documents::REGISTRY);
        lab.docker(VICTIM, &["rmi", &image]);
        let full = lab.call(&["disk", VICTIM, "fill"]);
        if full.code == 3 {
            shop.close();
            return Outcome::Skipped(full.err);
        }
        full.ok();
        let begun = Instant::now();
        let workers = lab.workers(VICTIM);
        let idle = idle_runs(lab);
        lab.put("services/shop/web", &documents::web("2", &format!("{UPDATE}replicas: {COPIES}")));
        let why = eventually(90, "the update pauses", || {
            let rollout: Rollout = lab.try_store()?.record("rollouts/shop/web").unwrap_or_default();
            match rollout.phase {
                Phase::Paused { why } => Ok(why),
                phase => Err(format!("{phase:?}")),
            }
        });
        let paused = since(begun);
        let revision = lab.revision();
        pause(length(120, 15));
        let written = lab.revision() - revision;
        assert!(written <= 60, "{written} writes in a paused update");
        assert!(lab.copies("shop/web").len() >= COPIES as usize, "fewer copies than wanted");
        assert_eq!(idle, idle_runs(lab), "other containers were touched");
        assert_eq!(workers, lab.workers(VICTIM), "controllers ended because the disk is full");
        let time = since(begun);

        lab.run(&["disk", VICTIM, "free"]);
        lab.keel(&["rollout", "resume", "shop/web"]).ok();
        let begun = Instant::now();
        lab.settled("shop/web", COPIES, 120);
        let took = since(begun);
        let unharmed = shop.close_unharmed();
        converged(lab, 30);
        Outcome::Passed(format!(
            "{VICTIM} without room for {time:.0} s: the update paused after {paused:.0} s ({why}), {unharmed}, other \
             copies untouched, {written} writes in the pause; done {took:.0} s after there was room"
        ))
    });
}

fn idle_runs(lab: &Lab) -> BTreeSet<(String, String)> {
    lab.copies("shop/idle").into_iter().map(|(_, copy)| (copy.id.clone(), copy.started())).collect()
}

/// An image crawls: the registry gives a few kilobytes a second.
#[test]
fn case_20_an_image_that_crawls() {
    rare_fault(20, |lab| {
        let from = lab.hosts();
        let shop = Shop::laid_out(lab, &super::shop::Layout { web: UPDATE, idle: "", from });
        for host in lab.hosts() {
            lab.docker(&host, &["rmi", &format!("{}/redis:7", documents::REGISTRY)]);
        }
        lab.registry_crawls();
        let before = lab.runs(&lab.hosts());
        let redis = documents::client("redis:7", "lan", "replicas: 3");
        lab.put("services/shop/slow", &redis);
        let begun = Instant::now();
        pause(length(120, 15));
        let mut now = lab.runs(&lab.hosts());
        assert!(now.keys().all(|name| !name.starts_with("shop.slow.")), "the image did not crawl");
        now.retain(|name, _| before.contains_key(name));
        assert_eq!(before, now, "other containers were touched");
        let time = since(begun);
        // Others are made meanwhile.
        lab.put("services/shop/fresh", &documents::idle("replicas: 3"));
        lab.settled("shop/fresh", 3, 30);
        lab.registry_hurries();
        lab.settled("shop/slow", 3, 120);
        let unharmed = shop.close_unharmed();
        converged(lab, 30);
        pause(Duration::from_secs(1));
        Outcome::Passed(format!(
            "an image that crawls at 8 kB/s for {time:.0} s: others are made meanwhile, none touched; {unharmed}"
        ))
    });
}
