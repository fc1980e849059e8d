//! Values that no controller of ours wrote: under each key, one at a time, while a service runs.

use super::*;

/// What may stand where a record should.
fn values() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", Vec::new()),
        ("no text", vec![0xff, 0, 0xfe]),
        ("another shape", b"[1, 2]".to_vec()),
        ("no fields", b"{}".to_vec()),
        ("all null", br#"{"desired": null, "template": null, "seq": null, "state": null}"#.to_vec()),
        ("a newer one", br#"{"format": 7, "spec": {"later": true}}"#.to_vec()),
        ("a large number", br#"{"seq": 99999999999999999999999999}"#.to_vec()),
        ("deep nesting", "[".repeat(200_000).into_bytes()),
        ("as much as a key takes", vec![b'"'; 1_390_000]),
    ]
}

/// All keys of the running cluster that a planner reads, but those of `except`.
async fn keys(lab: &Lab, except: &[&str]) -> Vec<(Key, Vec<u8>, i64)> {
    let kvs = lab.store.list("").await.unwrap().kvs;
    let kvs = kvs.into_iter().filter(|kv| !except.iter().any(|prefix| kv.key.starts_with(prefix)));
    kvs.map(|kv| (kv.key.parse().unwrap(), kv.value.to_vec(), kv.lease)).collect()
}

async fn put_bytes(lab: &Lab, key: &Key, value: Vec<u8>, lease: i64) {
    let txn = match lease {
        0 => TxnBuilder::new().put(key, value),
        lease => TxnBuilder::new().put_leased(key, value, lease),
    };
    assert!(lab.store.commit(&txn.build().unwrap()).await.unwrap().succeeded);
}

/// Copies that shall run, by their keys.
async fn running(lab: &Lab) -> std::collections::BTreeSet<String> {
    let mut all = std::collections::BTreeSet::new();
    for kv in lab.store.list(&prefix::instances()).await.unwrap().kvs {
        // What cannot be read is not stopped by anybody.
        let stopped = serde_json::from_slice::<Instance>(&kv.value)
            .is_ok_and(|instance| instance.desired >= Desired::Drain);
        if !stopped {
            all.insert(kv.key);
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_strange_value_under_any_key_stops_no_copy_and_holds_up_no_other_service() {
    let mut lab = Lab::new(3).await;
    lab.control("h1");
    lab.text(&service("shop/web"), WEB).await;
    lab.seconds(5.0).await;
    let before = running(&lab).await;
    assert_eq!(before.len(), 3);
    // Those of the writer itself are its witnesses: they are another test's. `confirmed`, `brake`: absent.
    let keys = keys(&lab, &["writers/", "leaders/", "events/"]).await;
    assert!(keys.len() > 20, "{}", keys.len());
    let mut extra = 0;
    let mut wrong = Vec::new();
    for (key, good, lease) in keys {
        for (what, value) in values() {
            put_bytes(&lab, &key, value, lease).await;
            lab.seconds(6.0).await;
            let now = running(&lab).await;
            if !before.is_subset(&now) {
                wrong.push(format!("{what} under {key}: {now:?}"));
                put_bytes(&lab, &key, good.clone(), lease).await;
                lab.seconds(15.0).await;
            }
        }
        // Meanwhile, others get their copies.
        extra += 1;
        let other = format!("shop/other-{extra}");
        lab.text(&service(&other), &WEB.replace('3', "1")).await;
        lab.seconds(3.0).await;
        let mine = format!("/shop.other-{extra}.");
        if !running(&lab).await.iter().any(|key| key.contains(&mine)) {
            wrong.push(format!("{other} does not run while {key} is strange"));
        }
        lab.remove(&service(&other)).await;
        put_bytes(&lab, &key, good, lease).await;
        lab.seconds(15.0).await;
        if !before.is_subset(&running(&lab).await) {
            wrong.push(format!("{key} healed: {:?}", running(&lab).await));
        }
    }
    assert!(wrong.is_empty(), "{before:?}\n{}", wrong.join("\n"));
    assert!(!lab.controllers[0].is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_that_finds_strange_values_stops_no_copy() {
    let mut lab = Lab::new(3).await;
    lab.control("h1");
    lab.text(&service("shop/web"), WEB).await;
    lab.seconds(5.0).await;
    let before = running(&lab).await;
    let mut wrong = Vec::new();
    for (key, good, lease) in keys(&lab, &["writers/", "leaders/", "events/"]).await {
        lab.controllers.pop().unwrap().abort();
        put_bytes(&lab, &key, b"{".to_vec(), lease).await;
        lab.control("h1");
        lab.seconds(15.0).await;
        if !before.is_subset(&running(&lab).await) {
            wrong.push(format!("{key}: {:?}", running(&lab).await));
        }
        put_bytes(&lab, &key, good, lease).await;
        lab.seconds(15.0).await;
        if running(&lab).await != before {
            wrong.push(format!("{key} healed: {:?}", running(&lab).await));
        }
    }
    assert!(wrong.is_empty(), "{before:?}\n{}", wrong.join("\n"));
}
