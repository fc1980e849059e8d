//! Case 10: etcd is not what it was: an older snapshot, or nothing at all. Nothing is stopped anywhere, and
//! people are told.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_tests::lab::{Lab, Outcome, eventually, pause, rare_fault, since};
use tokio::time::Instant;

use super::length;
use super::shop::{COPIES, Layout, Shop};
use crate::documents;

#[test]
fn case_10_a_snapshot_restored() {
    rare_fault(10, |lab| went_back(lab, "restored", Way::Hosts, restore));
}

#[test]
fn case_10_a_snapshot_restored_on_purpose() {
    rare_fault(10, |lab| went_back(lab, "restored on purpose", Way::Etcd, restore));
}

fn restore(lab: &Lab) -> Result<(), String> {
    lab.run(&["etcd", "restore"]);
    Ok(())
}

#[test]
fn case_10_a_snapshot_restored_with_a_higher_revision() {
    rare_fault(10, |lab| {
        went_back(lab, "restored with a higher revision", Way::Hosts, |lab| {
            let done = lab.call(&["etcd", "restore", "--bump"]);
            if done.code == 3 {
                return Err(done.err);
            }
            done.ok();
            Ok(())
        })
    });
}

#[test]
fn case_10_a_snapshot_restored_and_overtaken() {
    rare_fault(10, |lab| {
        went_back(lab, OVERTAKEN, Way::Hosts, |lab| {
            let revision = lab.revision();
            // Nobody of ours is there while others write past what was.
            unheard(lab, true);
            lab.run(&["etcd", "restore"]);
            overtake(lab, revision);
            unheard(lab, false);
            Ok(())
        })
    });
}

#[test]
fn case_10_a_wiped_etcd() {
    rare_fault(10, |lab| {
        went_back(lab, "wiped", Way::Hosts, |lab| {
            lab.run(&["etcd", "wipe"]);
            Ok(())
        })
    });
}

/// What a person says in the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// What the hosts remember counts.
    Hosts,
    /// What etcd says counts.
    Etcd,
}

/// A snapshot, changes after it, and then `back`, which goes back to it or says why it cannot.
fn went_back(lab: &Lab, how: &str, way: Way, back: impl FnOnce(&Lab) -> Result<(), String>) -> Outcome {
    let from = if how == OVERTAKEN && stops_controllers(lab) { Vec::new() } else { lab.hosts_but("h3") };
    let shop = Shop::laid_out(lab, &Layout { web: "", idle: "", from });
    lab.run(&["etcd", "snapshot"]);
    lab.put("services/shop/late", &documents::idle("replicas: 2"));
    lab.put("services/shop/idle", &documents::idle("replicas: 8"));
    lab.settled("shop/late", 2, 60);
    lab.settled("shop/idle", 8, 60);
    remembered(lab);
    let before = running(lab);
    if let Err(why) = back(lab) {
        shop.close();
        return Outcome::Skipped(why);
    }
    nothing_stops(lab, &before);
    let told = status_tells(lab);
    let difference = lab.keel(&["recover"]).ok();
    assert!(difference.contains("shop/late"), "the difference does not name what was lost:\n{difference}");
    let begun = Instant::now();
    match way {
        Way::Hosts => {
            lab.keel(&["recover", "--from-hosts"]).ok();
            for (service, copies) in [("late", 2), ("idle", 8), ("web", COPIES)] {
                lab.settled(&format!("shop/{service}"), copies, 60);
            }
        }
        Way::Etcd => {
            lab.keel(&["recover", "--accept-etcd", "--yes"]).ok();
            eventually(60, "what etcd does not know is gone", || {
                let (late, idle) = (lab.copies("shop/late").len(), lab.copies("shop/idle").len());
                let gone = late == 0 && idle == COPIES as usize;
                if gone { Ok(()) } else { Err(format!("{late} late, {idle} idle")) }
            });
        }
    }
    let took = since(begun);
    lab.at_rest();
    if way == Way::Hosts {
        assert_eq!(before, running(lab), "copies were touched by a recovery from what hosts remember");
    }
    let unharmed = shop.close_unharmed();
    Outcome::Passed(format!(
        "{how}: nothing stopped before a person's word, {unharmed}, told after {told:.1} s; {} was in step {took:.1} s \
         after the word",
        if way == Way::Hosts { "what hosts remember" } else { "what etcd said" }
    ))
}

/// Until every host that may lead has on its disk what it is to remember: it gathers changes for some seconds.
fn remembered(lab: &Lab) {
    let archive = "/var/lib/evenkeel/service/archive.json";
    let mut hosts = lab.hosts();
    hosts.retain(|host| lab.exec(host, &["test", "-e", archive]).succeeded());
    assert!(!hosts.is_empty(), "no host remembers anything");
    eventually(60, "the hosts remember the newest documents", || {
        let knows =
            |host: &&String| lab.exec(host, &["grep", "-q", "services/shop/late", archive]).succeeded();
        let forgetful: Vec<&String> = hosts.iter().filter(|host| !knows(host)).collect();
        if forgetful.is_empty() { Ok(()) } else { Err(format!("not yet {forgetful:?}")) }
    });
}

/// Ids of all copies that run.
fn running(lab: &Lab) -> BTreeSet<String> {
    let all = lab.hosts().into_iter().flat_map(|host| lab.containers(&host));
    all.filter(|copy| copy.running).map(|copy| copy.id).collect()
}

/// Every container that ran runs on, for a good while.
fn nothing_stops(lab: &Lab, before: &BTreeSet<String>) {
    let begun = Instant::now();
    while begun.elapsed() < length(120, 15) {
        let now = running(lab);
        let ended: Vec<&String> = before.difference(&now).collect();
        assert!(ended.is_empty(), "containers ended after etcd went back: {ended:?}");
        pause(Duration::from_secs(1));
    }
}

/// `status` names the recovery. Seconds until it does.
fn status_tells(lab: &Lab) -> f64 {
    let begun = Instant::now();
    eventually(30, "status tells that etcd went back, and what to do", || {
        let text = lab.keel(&["status"]).result()?;
        if text.contains("evenkeel recover") { Ok(()) } else { Err(text) }
    });
    since(begun)
}

/// The way of which nobody hears before it is over.
const OVERTAKEN: &str = "restored and overtaken";

/// Members on hosts that are cut off from each other would be no etcd: there the controllers are stopped, and so
/// nobody answers names meanwhile.
fn stops_controllers(lab: &Lab) -> bool {
    lab.setting("MEMBERS") == "3"
}

/// Takes etcd away from all controllers, or gives it back.
fn unheard(lab: &Lab, away: bool) {
    for host in lab.hosts() {
        match (stops_controllers(lab), away) {
            (true, true) => lab.run(&["controllers", &host, "stop"]),
            (true, false) => lab.run(&["controllers", &host, "start"]),
            (false, true) => lab.run(&["cut", &host, "--from", "etcd"]),
            (false, false) => lab.run(&["heal", &host]),
        };
    }
}

/// Others write until the revision is higher than it ever was.
fn overtake(lab: &Lab, past: i64) {
    let missing = past + 10 - lab.revision();
    assert!(missing > 10, "the store did not go back: {missing}");
    for n in 0..missing {
        lab.etcdctl(&["put", "/lab/others", &n.to_string()]).ok();
    }
}
