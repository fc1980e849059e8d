//! Case 9: etcd has no room left. Reading goes on, and so does all that a host does by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_tests::lab::{Lab, Outcome, eventually, fault, limit, pause, since};
use tokio::time::Instant;

use super::length;
use super::shop::{Shop, converged, killed_come_back, sick_copy_leaves_local_names};
use crate::documents;

#[test]
fn case_09_etcd_full() {
    fault(9, |lab| {
        let shop = Shop::open(lab, "h3");
        let workers = all_workers(lab);
        let runs = lab.runs(&lab.hosts());
        let alarm = lab.run(&["etcd", "fill"]);
        assert!(alarm.contains("NOSPACE"), "etcd is not full: {alarm}");
        let begun = Instant::now();
        let refused = lab.feed(&["keel", "apply", "-f", "-"], &document());
        assert!(!refused.succeeded(), "a document went into a full etcd");
        assert!(refused.err.contains("NOSPACE"), "the message does not say why: {}", refused.err);

        pause(length(120, 8));
        assert_eq!(workers, all_workers(lab), "controllers ended because etcd is full");
        assert_eq!(runs, lab.runs(&lab.hosts()), "containers were touched because etcd is full");
        let idle: Vec<_> = lab.copies("shop/idle").into_iter().take(3).collect();
        let longest = killed_come_back(lab, &idle);
        let sick = sick_copy_leaves_local_names(lab, "h1");
        // A controller that starts now cannot take a lease.
        lab.kill_workers(&lab.workers("h3"));
        eventually(15, "a worker on h3", || {
            if lab.workers("h3").is_empty() { Err("none".to_owned()) } else { Ok(()) }
        });
        pause(Duration::from_secs(3));
        let there: Vec<_> = lab.copies_on(&["h3".to_owned()], "shop/idle").into_iter().take(1).collect();
        let again = killed_come_back(lab, &there);
        let full = since(begun);

        lab.run(&["etcd", "drain"]);
        let begun = Instant::now();
        lab.put("services/shop/fresh", &documents::idle("replicas: 2"));
        lab.settled("shop/fresh", 2, 30);
        let fresh = since(begun);
        assert!(fresh <= limit(10.0), "a document took {fresh:.1} s after etcd had room again");
        lab.delete_all(["services/shop/fresh"]);
        let unharmed = shop.close_unharmed();
        eventually(30, "shop/fresh gone", || {
            if lab.copies("shop/fresh").is_empty() { Ok(()) } else { Err("not yet".to_owned()) }
        });
        converged(lab, 30);
        Outcome::Passed(format!(
            "no room for {full:.0} s: {unharmed}; killed copies back within {longest:.0} ms, {again:.0} ms after a \
             controller's restart; {sick}; a new document done \
             {fresh:.1} s after there was room"
        ))
    });
}

fn document() -> String {
    documents::idle("replicas: 1")
        .replace("kind: Service\n", "kind: Service\nmetadata: {name: fresh, namespace: shop}\n")
}

fn all_workers(lab: &Lab) -> BTreeMap<String, std::collections::BTreeSet<i32>> {
    lab.hosts().into_iter().map(|host| (host.clone(), lab.workers(&host))).collect()
}
