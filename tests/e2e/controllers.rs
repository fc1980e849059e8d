//! `kill -9` of controllers: at rest it changes nothing, and a rollout goes on through it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_runtime::env::Env;
use evenkeel_tests::lab::case::is_full;
use evenkeel_tests::lab::cluster::settled;
use evenkeel_tests::lab::load::Load;
use evenkeel_tests::lab::{Lab, case, eventually, pause};
use tokio::time::Instant;

use crate::{documents, load};

const CONTROLLERS: [&str; 6] = ["host", "network", "service", "healthcheck", "instance", "dns"];

const DEPLOY: &str =
    "replicas: 6, stop_delay: 2s, update_config: {parallelism: 2, order: start-first, monitor: 500ms}";

#[test]
fn killed_controllers_touch_nothing_at_rest() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/web", &documents::web("1", DEPLOY));
        lab.settled("shop/web", 6, 60);
        let before = lab.runs(&lab.hosts());
        let alive = lab.alive();
        for controller in CONTROLLERS {
            for host in lab.hosts() {
                lab.kill(&host, controller);
            }
        }
        pause(Duration::from_secs(5));
        assert_eq!(before, lab.runs(&lab.hosts()), "a container was started, stopped or removed");
        assert_eq!(alive, lab.alive(), "a host registered anew");
        lab.settled("shop/web", 6, 20);
    });
}

#[test]
fn rollouts_go_on_through_killed_controllers() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/web", &documents::web("1", DEPLOY));
        lab.put("healthchecks/shop/web", &documents::http_check("web"));
        lab.settled("shop/web", 6, 60);
        let alive = lab.alive();
        let watches: Vec<(String, Load)> = lab
            .hosts()
            .into_iter()
            .map(|host| {
                let server = lab.gateway("lan", &host);
                let watch = Load::on(lab, load(), &host, &["names", &server, "50", "web.shop.internal"]);
                (host, watch)
            })
            .collect();

        let kills = if is_full() { 20 } else { 3 };
        let env = Env::system().unwrap_or_else(|error| panic!("{error}"));
        let mut rollouts = Rollouts { version: 1, count: 0, begun: Instant::now(), longest: 0.0 };
        for controller in CONTROLLERS {
            for _ in 0..kills {
                rollouts.go_on(lab);
                pause(Duration::from_millis(100 + env.random() % 2000));
                let hosts = lab.hosts();
                let host = &hosts[(env.random() % hosts.len() as u64) as usize];
                lab.kill(host, controller);
                nothing_double(lab);
            }
        }
        rollouts.finish(lab);
        for (host, watch) in watches {
            let (_, summary) = watch.finish();
            println!("-> names on {host}: {summary}");
            assert_eq!(summary.failed, 0, "names on {host} were not answered: {summary}");
        }
        println!(
            "-> {} rollouts through {} kills, the longest took {:.1} s",
            rollouts.count,
            kills * 6,
            rollouts.longest
        );
        assert_eq!(alive, lab.alive(), "a host was counted lost");
        lab.nothing_orphaned();
    });
}

/// One rollout after the other, so that kills meet all moments of them.
struct Rollouts {
    version: u32,
    count: u32,
    begun: Instant,
    longest: f64,
}

impl Rollouts {
    /// Starts the next rollout where the last one is done.
    fn go_on(&mut self, lab: &Lab) {
        if self.count == 0 || settled(&lab.store(), "shop/web", 6).is_ok() {
            self.note();
            self.version = 3 - self.version;
            self.count += 1;
            self.begun = Instant::now();
            lab.put("services/shop/web", &documents::web(&self.version.to_string(), DEPLOY));
            // Until its admission the service still looks as settled as before.
            eventually(20, "the rollout begins", || {
                settled(&lab.try_store()?, "shop/web", 6)
                    .err()
                    .map(|_| ())
                    .ok_or_else(|| "still settled".to_owned())
            });
        }
    }

    fn note(&mut self) {
        if self.count > 0 {
            self.longest = self.longest.max(self.begun.elapsed().as_secs_f64());
        }
    }

    fn finish(&mut self, lab: &Lab) {
        lab.settled("shop/web", 6, 120);
        self.note();
        let image = format!("web:{}", self.version);
        for (_, copy) in lab.copies("shop/web") {
            assert!(copy.labels.contains_key("evenkeel.template"), "{} has no template", copy.name);
            assert!(version(lab, &copy.name).contains(&image), "{} does not run {image}", copy.name);
        }
    }
}

/// The image that the copy's template names.
fn version(lab: &Lab, copy: &str) -> String {
    let store = lab.store();
    let key = store.keys("instances/").find(|key| key.ends_with(&format!("/{copy}"))).cloned();
    let instance: Option<evenkeel_api::record::Instance> = key.and_then(|key| store.record(&key));
    let template = instance.unwrap_or_else(|| panic!("{copy} has no record")).template;
    let revision: Option<evenkeel_api::record::Revision> =
        store.record(&format!("revisions/services/{}/{}", template.service, template.revision));
    revision.unwrap_or_else(|| panic!("there is no template {template}")).template.image
}

/// A slot has one copy, or two of different templates while they are exchanged.
fn nothing_double(lab: &Lab) {
    let mut slots: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (host, copy) in lab.copies("shop/web") {
        let template = copy.labels.get("evenkeel.template").cloned().unwrap_or_default();
        slots
            .entry(copy.instance().slot.to_string())
            .or_default()
            .push((template, format!("{host}/{}", copy.name)));
    }
    for (slot, copies) in slots {
        let templates: BTreeSet<&String> = copies.iter().map(|(template, _)| template).collect();
        assert!(copies.len() <= 2 && templates.len() == copies.len(), "slot {slot} is double: {copies:?}");
    }
}
