//! Where copies go, why they cannot go anywhere, and how they leave a host.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::record::Status;
use evenkeel_tests::lab::{Lab, case, eventually};

use crate::documents;

fn host(lab: &Lab, host: &str, labels: &str, availability: &str) {
    let text = format!(
        "apiVersion: evenkeel/v1\nkind: Host\nmetadata: {{labels: {{{labels}}}}}\nspec: {{address: {}, availability: {availability}}}\n",
        lab.address(host)
    );
    lab.put(&format!("hosts/{host}"), &text);
}

/// Where the copies of a service are.
fn where_is(lab: &Lab, service: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for (host, _) in lab.copies(service) {
        *counts.entry(host).or_default() += 1;
    }
    counts
}

fn says(status: &Status, words: &[&str]) -> bool {
    status.conditions.iter().any(|condition| words.iter().all(|word| condition.message.contains(word)))
}

fn refused(lab: &Lab, service: &str, words: &[&str]) {
    let status = lab
        .told(&format!("services/shop/{service}"), 20, &format!("{words:?}"), |status| says(status, words));
    let message = status
        .conditions
        .iter()
        .map(|condition| &condition.message)
        .find(|message| message.contains(words[0]));
    println!("-> {service}: {}", message.map_or("", String::as_str));
}

#[test]
fn copies_that_fit_nowhere_say_why() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put(
            "services/shop/large",
            &documents::idle("replicas: 1, resources: {reservations: {memory: 9000G}}"),
        );
        lab.put(
            "services/shop/picky",
            &documents::idle("replicas: 1, placement: {constraints: [\"node.labels.disk == tape\"]}"),
        );
        lab.put(
            "services/shop/spread",
            &documents::idle("replicas: 4, placement: {max_replicas_per_node: 1}"),
        );
        let published = |deploy| {
            documents::idle(deploy).replace("  init: true\n", "  init: true\n  ports: [\"8088:80\"]\n")
        };
        lab.put("services/shop/door", &published("mode: global"));
        lab.put(
            "services/shop/mighty",
            &documents::idle("replicas: 1").replace("  init: true\n", "  privileged: true\n"),
        );
        lab.settled("shop/door", 3, 60);
        lab.put("services/shop/rival", &published("replicas: 1"));
        refused(lab, "large", &["none of 3 hosts fits", "memory"]);
        refused(lab, "picky", &["none of 3 hosts fits", "do not match node.labels.disk == tape"]);
        refused(lab, "spread", &["none of 3 hosts fits"]);
        refused(lab, "rival", &["none of 3 hosts fits", "port"]);
        refused(lab, "mighty", &["polic"]);
        eventually(60, "three of shop/spread run", || {
            let hosts = where_is(lab, "shop/spread");
            if hosts.len() == 3 { Ok(()) } else { Err(format!("{hosts:?}")) }
        });
        for nowhere in ["large", "picky", "rival", "mighty"] {
            assert!(where_is(lab, &format!("shop/{nowhere}")).is_empty(), "{nowhere} runs");
        }
        let status = lab.keel(&["status"]).ok();
        for service in ["large", "picky", "rival", "mighty"] {
            assert!(status.contains(service), "status does not speak of {service}:\n{status}");
        }
    });
}

#[test]
fn constraints_follow_labels_and_a_drained_host_empties() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        host(lab, "h2", "disk: ssd", "active");
        lab.put(
            "services/shop/fast",
            &documents::idle("replicas: 2, placement: {constraints: [\"node.labels.disk == ssd\"]}"),
        );
        lab.put("services/shop/each", &documents::idle("mode: global"));
        lab.put("services/shop/web", &documents::web("1", "replicas: 3, stop_delay: 1s"));
        lab.settled("shop/fast", 2, 60);
        lab.settled("shop/each", 3, 60);
        lab.settled("shop/web", 3, 60);
        assert_eq!(where_is(lab, "shop/fast"), BTreeMap::from([("h2".to_owned(), 2)]));
        let slots: BTreeSet<String> =
            lab.copies("shop/each").iter().map(|(_, copy)| copy.instance().slot.to_string()).collect();
        assert_eq!(slots, BTreeSet::from(["h1", "h2", "h3"].map(str::to_owned)));
        let elsewhere = stable(lab);

        host(lab, "h2", "", "drain");
        // What fits nowhere else stays, and says so.
        eventually(60, "h2 is empty but for what fits nowhere else", || {
            let here: Vec<String> = lab.containers("h2").into_iter().map(|copy| copy.name).collect();
            let fast = here.iter().filter(|name| name.starts_with("shop.fast.")).count();
            if here.len() == 2 && fast == 2 { Ok(()) } else { Err(format!("{here:?}")) }
        });
        lab.settled("shop/web", 3, 60);
        lab.settled("shop/each", 2, 30);
        refused(lab, "fast", &["none of 3 hosts fits", "cannot leave h2"]);
        for (name, started) in elsewhere {
            assert_eq!(stable(lab).get(&name), Some(&started), "{name} was touched while h2 was drained");
        }

        host(lab, "h2", "disk: ssd", "active");
        lab.settled("shop/fast", 2, 60);
        lab.settled("shop/each", 3, 60);
    });
}

/// The copies that are not on h2, with their starts.
fn stable(lab: &Lab) -> BTreeMap<String, String> {
    lab.hosts_but("h2")
        .iter()
        .flat_map(|host| lab.containers(host))
        .map(|copy| (copy.name.clone(), copy.started()))
        .collect()
}
