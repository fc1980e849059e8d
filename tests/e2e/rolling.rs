//! Rolling updates under load: no request fails.

use evenkeel_tests::lab::case::is_full;
use evenkeel_tests::lab::load::Load;
use evenkeel_tests::lab::{Lab, case, since};
use tokio::time::Instant;

use crate::{documents, load};

/// Requests a second.
const RATE: &str = "100";

#[test]
fn updates_start_first_fail_no_request() {
    case(|lab| updates(lab, "start-first"));
}

#[test]
fn updates_stop_first_fail_no_request() {
    case(|lab| updates(lab, "stop-first"));
}

fn updates(lab: &Lab, order: &str) {
    // The load comes from h3, and all copies are elsewhere.
    let deploy = format!(
        "replicas: 6, placement: {{constraints: [\"node.hostname != h3\"]}}, \
         update_config: {{parallelism: 2, order: {order}, monitor: 1s}}"
    );
    lab.put("networks/lan", &documents::lan());
    lab.put("healthchecks/shop/web", &documents::http_check("web"));
    lab.put("services/shop/web", &documents::web("1", &deploy));
    lab.settled("shop/web", 6, 60);
    let server = lab.gateway("lan", "h3");
    let load = Load::on(lab, load(), "h3", &["http", &server, "web.shop.internal", "8080", RATE]);
    let count = if is_full() { 10 } else { 2 };
    let mut took = Vec::new();
    for update in 0..count {
        let version = if update % 2 == 0 { "2" } else { "1" };
        let begun = Instant::now();
        lab.put("services/shop/web", &documents::web(version, &deploy));
        updated(lab, version);
        took.push(since(begun));
    }
    let (_, summary) = load.finish();
    println!("-> {count} updates {order} of 6 copies in {took:.1?} s: {summary}");
    assert_eq!(summary.failed, 0, "requests failed: {summary}");
    assert!(summary.asked as f64 > took.iter().sum::<f64>() * 90.0, "the load was not sent: {summary}");
}

/// Until all copies are ready and of that version, by their own word.
fn updated(lab: &Lab, version: &str) {
    evenkeel_tests::lab::eventually(120, &format!("all of version {version}"), || {
        let store = lab.try_store()?;
        evenkeel_tests::lab::cluster::settled(&store, "shop/web", 6)?;
        let copies = lab.copies("shop/web");
        let wanted = format!("VERSION={version}");
        let env =
            |value: &serde_json::Value| value.as_array().is_some_and(|all| all.iter().any(|v| *v == *wanted));
        let old = copies.iter().filter(|(_, copy)| !env(&copy.raw["Config"]["Env"])).count();
        if old == 0 && copies.len() == 6 { Ok(()) } else { Err(format!("{old} of {} are not", copies.len())) }
    });
}
