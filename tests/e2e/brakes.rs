//! When too much goes at once, nothing is done about it until a person says so.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_api::record::BrakeState;
use evenkeel_tests::lab::{Lab, case, eventually, pause};

use crate::documents;

fn brake(lab: &Lab) -> BrakeState {
    eventually(15, "a brake", || lab.try_store()?.record("brakes").ok_or_else(|| "none is on".to_owned()))
}

fn ids(lab: &Lab) -> BTreeSet<String> {
    lab.hosts().iter().flat_map(|host| lab.containers(host)).map(|copy| copy.id).collect()
}

#[test]
fn two_of_three_hosts_gone_evicts_nobody() {
    case(|lab| {
        if lab.setting("MEMBERS") == "3" {
            println!("-> skipped: with two of three hosts etcd itself is gone");
            return;
        }
        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/idle", &documents::idle("replicas: 6"));
        lab.settled("shop/idle", 6, 60);
        // Together, as when a switch dies: one after the other may take longer than a host is waited for.
        std::thread::scope(|scope| {
            for host in ["h2", "h3"] {
                scope.spawn(move || lab.run(&["poweroff", host]));
            }
        });
        let state = brake(lab);
        pause(Duration::from_secs(8));
        let store = lab.store();
        assert_eq!(store.keys("instances/h1/").count(), 2, "copies were replaced in spite of the brake");
        assert_eq!(state.held.keys().map(ToString::to_string).collect::<Vec<_>>(), ["h2", "h3"]);
        let status = lab.keel(&["status"]).ok();
        assert!(status.contains("brake"), "status does not speak of the brake:\n{status}");

        println!("-> {}", lab.keel(&["brake", "release"]).ok());
        eventually(30, "all copies on h1", || {
            let running = lab.copies_on(&["h1".to_owned()], "shop/idle").len();
            if running == 6 { Ok(()) } else { Err(format!("{running} run")) }
        });
        lab.run(&["poweron", "h2"]);
        lab.run(&["poweron", "h3"]);
        lab.settled("shop/idle", 6, 90);
        eventually(30, "the brake is off", || {
            if lab.try_store()?.values.contains_key("brakes") { Err("it is on".to_owned()) } else { Ok(()) }
        });
    });
}

#[test]
fn a_slip_that_deletes_all_services_is_held() {
    case(|lab| {
        let services = ["one", "two", "three", "four"];
        let put_all = || {
            for service in services {
                lab.put(&format!("services/shop/{service}"), &documents::idle("replicas: 2"));
            }
        };
        lab.put("networks/lan", &documents::lan());
        put_all();
        for service in services {
            lab.settled(&format!("shop/{service}"), 2, 60);
        }
        let before = ids(lab);
        let slip = || lab.etcdctl(&["del", "--prefix", "/evenkeel/v1/services/"]).ok();
        slip();
        assert_eq!(brake(lab).deletions.len(), 4);
        pause(Duration::from_secs(5));
        assert_eq!(before, ids(lab), "containers went after a slip");
        let status = lab.keel(&["status"]).ok();
        assert!(status.contains("vanished"), "status does not speak of the slip:\n{status}");

        put_all();
        eventually(20, "the brake is off", || {
            if lab.try_store()?.values.contains_key("brakes") { Err("it is on".to_owned()) } else { Ok(()) }
        });
        for service in services {
            lab.settled(&format!("shop/{service}"), 2, 30);
        }
        assert_eq!(before, ids(lab), "containers changed when the documents were put back");

        slip();
        brake(lab);
        println!("-> {}", lab.keel(&["brake", "release", "--deletions"]).ok());
        eventually(60, "what was deleted is gone", || {
            let left = ids(lab).len();
            if left == 0 { Ok(()) } else { Err(format!("{left} containers")) }
        });
    });
}
