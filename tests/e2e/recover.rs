//! etcd goes back to the past: an older snapshot is restored, or everything is wiped. Nothing is stopped
//! anywhere, `status` says what was lost, and both ways out work.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_tests::lab::{Lab, case, eventually, pause};

use crate::documents;

fn ids(lab: &Lab) -> BTreeSet<String> {
    lab.hosts().iter().flat_map(|host| lab.containers(host)).map(|copy| copy.id).collect()
}

fn halted(lab: &Lab) -> String {
    eventually(40, "status tells that etcd went back", || {
        let status = lab.keel(&["status"]).ok();
        let told = status.contains("etcd went back") && status.contains("evenkeel recover");
        if told { Ok(status) } else { Err(status) }
    })
}

fn trusted(lab: &Lab) {
    eventually(60, "everybody trusts etcd again", || {
        let store = lab.try_store()?;
        let left: Vec<&String> =
            store.values.keys().filter(|key| *key == "halt" || key.contains("/trust/")).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

fn recover(lab: &Lab, way: &[&str]) {
    eventually(40, "the recovery is taken", || {
        let done = lab.keel(&[&["recover"], way].concat());
        if done.code == 0 { Ok(()) } else { Err(done.err) }
    });
    trusted(lab);
}

fn begin(lab: &Lab) {
    lab.put("networks/lan", &documents::lan());
    lab.put("services/shop/old", &documents::idle("replicas: 3"));
    lab.settled("shop/old", 3, 60);
}

/// What is written after the snapshot: a new service, and one that grew.
fn later(lab: &Lab) {
    lab.put("services/shop/new", &documents::idle("replicas: 2"));
    lab.put("services/shop/old", &documents::idle("replicas: 4"));
    lab.settled("shop/new", 2, 60);
    lab.settled("shop/old", 4, 60);
    // The archive is a few seconds behind.
    pause(Duration::from_secs(6));
}

#[test]
fn a_restored_snapshot_stops_nothing_and_the_hosts_give_back_what_it_lacks() {
    case(|lab| {
        begin(lab);
        lab.run(&["etcd", "snapshot"]);
        later(lab);
        let before = ids(lab);
        lab.run(&["etcd", "restore"]);
        let status = halted(lab);
        assert!(status.contains("shop/new"), "status does not name what was lost:\n{status}");
        pause(Duration::from_secs(15));
        assert_eq!(ids(lab), before, "containers changed while nobody had decided");
        recover(lab, &["--from-hosts"]);
        lab.settled("shop/new", 2, 30);
        lab.settled("shop/old", 4, 30);
        pause(Duration::from_secs(15));
        assert_eq!(ids(lab), before, "containers changed by a recovery from the hosts");
    });
}

#[test]
fn a_restored_snapshot_that_is_accepted_stops_what_it_does_not_know() {
    case(|lab| {
        begin(lab);
        let old = ids(lab);
        lab.run(&["etcd", "snapshot"]);
        later(lab);
        lab.run(&["etcd", "restore"]);
        halted(lab);
        recover(lab, &["--accept-etcd", "--yes"]);
        eventually(90, "only what the snapshot knows runs", || {
            let now = ids(lab);
            if now == old { Ok(()) } else { Err(format!("{} containers", now.len())) }
        });
        lab.settled("shop/old", 3, 30);
        // No id is used twice.
        lab.put("services/shop/old", &documents::idle("replicas: 4"));
        lab.settled("shop/old", 4, 60);
    });
}

#[test]
fn a_wiped_etcd_gets_everything_back_and_nothing_restarts() {
    case(|lab| {
        begin(lab);
        later(lab);
        let before = ids(lab);
        lab.run(&["etcd", "wipe"]);
        halted(lab);
        pause(Duration::from_secs(15));
        assert_eq!(ids(lab), before, "containers changed while nobody had decided");
        recover(lab, &["--from-hosts"]);
        lab.settled("shop/new", 2, 30);
        lab.settled("shop/old", 4, 30);
        pause(Duration::from_secs(15));
        assert_eq!(ids(lab), before, "containers changed by a recovery from the hosts");
        // And life goes on.
        lab.put("services/shop/new", &documents::idle("replicas: 3"));
        lab.settled("shop/new", 3, 60);
    });
}
