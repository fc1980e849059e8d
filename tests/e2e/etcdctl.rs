//! The whole life of a service by `etcdctl` alone.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::record::{ConditionType, Rollout};
use evenkeel_tests::lab::cluster::Snapshot;
use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::{Lab, case, eventually};
use serde_json::Value;

use crate::documents;

#[test]
fn a_service_lives_and_leaves_by_etcdctl_alone() {
    case(|lab| {
        let foreign = Foreign::make(lab);
        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/web", &documents::web("1", "replicas: 6"));
        lab.settled("shop/web", 6, 60);
        two_on_each_host(lab);
        each_reaches_each(lab);
        garbage_changes_only_the_status(lab);

        let before = ids(lab);
        lab.put("services/shop/web", &documents::web("1", "replicas: 3"));
        lab.settled("shop/web", 3, 60);
        assert!(ids(lab).is_subset(&before), "scaling down made new copies: {:?}", ids(lab));

        lab.delete("services/shop/web");
        lab.delete("networks/lan");
        eventually(60, "nothing left of network and service", || match lab.leftovers().as_slice() {
            [] => Ok(()),
            left => Err(left.join("; ")),
        });
        foreign.assert_untouched(lab);

        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/web", &documents::web("1", "replicas: 6"));
        lab.settled("shop/web", 6, 60);
        let met = ids(lab).intersection(&before).cloned().collect::<Vec<_>>();
        assert!(met.is_empty(), "the service made again meets its former copies: {met:?}");
    });
}

fn ids(lab: &Lab) -> BTreeSet<String> {
    lab.copies("shop/web").into_iter().map(|(_, copy)| copy.name).collect()
}

fn two_on_each_host(lab: &Lab) {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for (host, _) in lab.copies("shop/web") {
        *counts.entry(host).or_default() += 1;
    }
    assert!(counts.len() == 3 && counts.values().all(|n| *n == 2), "copies are not spread: {counts:?}");
}

/// Asks each URL, prints what came; in one process, since an exec takes longer than all of them.
const ASK: &str = "
import sys, urllib.request
for url in sys.argv[1:]:
    try:
        print(url, urllib.request.urlopen(url, timeout=3).read().decode().strip())
    except Exception as error:
        print(url, 'failed:', error)
";

fn each_reaches_each(lab: &Lab) {
    let copies = lab.copies("shop/web");
    let mut urls = vec!["http://web:8080/".to_owned(), "http://web.shop:8080/".to_owned()];
    for (_, copy) in &copies {
        urls.push(format!("http://{}:8080/", copy.address("lan")));
        urls.push(format!("http://{}.web.shop.internal:8080/", copy.instance().slot));
    }
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    for (host, copy) in &copies {
        let own = copy.address("lan");
        // Without a check a copy counts as ready when it runs, and its program may take a moment to listen.
        let answers = eventually(15, "all answer", || {
            let answers = lab
                .within(host, &copy.name, &[&["python3", "-c", ASK], urls.as_slice()].concat())
                .result()?;
            if answers.contains("failed:") { Err(answers) } else { Ok(answers) }
        });
        assert_eq!(answers.lines().count(), urls.len(), "{}: {answers}", copy.name);
        for answer in answers.lines() {
            // "URL VERSION HOSTNAME CLIENT": each comes under its own address.
            assert!(answer.ends_with(&format!(" {own}")), "{} at {own} asked: {answer}", copy.name);
        }
    }
    println!("-> 6 copies reach 6 copies by name and by address, each under its own address");
}

fn garbage_changes_only_the_status(lab: &Lab) {
    let good = documents::web("1", "replicas: 6");
    let garbage = ["spec: [".to_owned(), good.replace("replicas", "replica"), "\u{0}\u{1}".to_owned()];
    let containers = || -> Vec<(String, String)> {
        lab.copies("shop/web").into_iter().map(|(_, copy)| (copy.id.clone(), copy.started())).collect()
    };
    // The last that is written of a new service: its template ran well for long enough to be gone back to.
    eventually(30, "the template is proven", || {
        let rollout: Option<Rollout> = lab.try_store()?.record("rollouts/shop/web");
        rollout.and_then(|rollout| rollout.current).map(drop).ok_or_else(|| "not yet".to_owned())
    });
    let before = (lasting(&lab.store()), containers());
    for text in garbage {
        lab.put("services/shop/web", &text);
        let status = lab.told("services/shop/web", 10, "invalid", |status| {
            status.condition(ConditionType::Valid).is_some_and(|valid| !valid.status)
        });
        let message =
            status.condition(ConditionType::Valid).map(|valid| valid.message.clone()).unwrap_or_default();
        assert!(message.contains("line "), "the message does not say where: {message}");
        if text.contains("replica:") {
            assert!(message.contains("replicas"), "the message does not name the nearest key: {message}");
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
        assert_eq!(before.0, lasting(&lab.store()), "garbage changed more than the status");
        assert_eq!(before.1, containers(), "garbage touched containers");
        lab.put("services/shop/web", &good);
        lab.told("services/shop/web", 10, "valid again", |status| {
            status.condition(ConditionType::Valid).is_some_and(|valid| valid.status)
        });
    }
}

/// All keys and values but documents, statuses, and what is written whenever anything is. A document that
/// came again is accepted at its new revision, and that is all.
fn lasting(store: &Snapshot) -> BTreeMap<String, Vec<u8>> {
    let passing = ["services/", "status/", "events/", "writers/", "leaders/", "accepted/"];
    store
        .values
        .clone()
        .into_iter()
        .filter(|(key, _)| !passing.iter().any(|prefix| key.starts_with(prefix)))
        .collect()
}

/// What others have on the hosts.
struct Foreign(BTreeMap<String, (Value, Value)>);

impl Foreign {
    fn make(lab: &Lab) -> Self {
        let image = format!("{}/busybox:1", documents::REGISTRY);
        for host in lab.hosts() {
            let words = [
                "run",
                "-d",
                "--name",
                "e2e-foreign",
                "--network",
                "e2e-net",
                "-p",
                "7777:80",
                "-v",
                "/data",
                &image,
            ];
            lab.docker(&host, &["network", "create", "--subnet", "172.31.0.0/24", "e2e-net"]).ok();
            lab.docker(&host, &[&words[..], &["sleep", "1000000"]].concat()).ok();
        }
        Self(Self::look(lab))
    }

    fn look(lab: &Lab) -> BTreeMap<String, (Value, Value)> {
        let of = |host: String| {
            let engine = lab.engine(&host);
            let container: Container =
                engine.container("e2e-foreign").unwrap_or_else(|error| panic!("{error}"));
            let network = engine.get("/networks/e2e-net").unwrap_or_else(|error| panic!("{error}"));
            (host, (container.raw, network))
        };
        lab.hosts().into_iter().map(of).collect()
    }

    fn assert_untouched(&self, lab: &Lab) {
        assert_eq!(self.0, Self::look(lab), "foreign containers or networks changed");
    }
}
