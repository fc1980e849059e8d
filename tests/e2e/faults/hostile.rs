//! Cases 24 and 25: values and keys in etcd that nobody of good will writes.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_api::record::ConditionType;
use evenkeel_tests::lab::cluster::PREFIX;
use evenkeel_tests::lab::{Lab, Outcome, eventually, pause, rare_fault, since};
use tokio::time::Instant;

use super::length;
use super::shop::{COPIES, Shop, converged};
use crate::documents;

#[test]
fn case_24_hostile_documents() {
    rare_fault(24, |lab| {
        let shop = Shop::open(lab, "h3");
        let before = (lab.runs(&lab.hosts()), workers(lab));
        let good = documents::web("1", &format!("replicas: {COPIES}"));
        let hostile = [
            ("bad JSON", "{\"apiVersion\": \"evenkeel/v1\", \"kind\": ".to_owned()),
            ("no text", "\u{0}\u{1}\u{2}".repeat(1000)),
            ("an unknown version", good.replace("evenkeel/v1", "evenkeel/v99")),
            ("another kind", good.replace("kind: Service", "kind: Network")),
            ("1.4 MB", format!("{good}  x-ballast: {}\n", "x".repeat(1_400_000))),
            ("an alias bomb", bomb(&good)),
            ("deep nesting", format!("{good}  x-deep: {}{}\n", "[".repeat(20_000), "]".repeat(20_000))),
            ("a negative number", good.replace(&format!("replicas: {COPIES}"), "replicas: -5")),
            (
                "a number without end",
                good.replace(&format!("replicas: {COPIES}"), "replicas: 99999999999999999999"),
            ),
        ];
        for (what, text) in &hostile {
            put_is_told_invalid(lab, what, text);
            assert_eq!(before, (lab.runs(&lab.hosts()), workers(lab)), "{what}: something was touched");
        }
        lab.put("services/shop/web", &good);
        let refused = refused_by_policy(lab);
        let unharmed = shop.close_unharmed();
        converged(lab, 60);
        Outcome::Passed(format!(
            "{} hostile documents in place of a good one: each rejected alone; {refused} that the hosts' policy does \
             not allow: no container; {unharmed}",
            hostile.len()
        ))
    });
}

/// A few lines that would be gigabytes.
fn bomb(good: &str) -> String {
    let mut text = format!("{good}  x-a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let row = vec![format!("*a{}", n - 1); 10].join(", ");
        text += &format!("  x-a{n}: &a{n} [{row}]\n");
    }
    text
}

/// Puts it, and waits for the word on this one: the one before was invalid as well.
fn put_is_told_invalid(lab: &Lab, what: &str, text: &str) {
    let before = lab.revision();
    lab.put("services/shop/web", text);
    lab.told("services/shop/web", 20, what, |status| {
        let invalid = status.condition(ConditionType::Valid).is_some_and(|valid| !valid.status);
        invalid && status.observed_revision > before
    });
}

/// What hosts do not allow unless their own file says so; how many were tried.
fn refused_by_policy(lab: &Lab) -> usize {
    let idle = documents::idle("replicas: 1");
    let more = [
        "privileged: true",
        "volumes: [\"/var/run/docker.sock:/docker.sock\"]",
        "pid: host",
        "volumes: [\"/etc:/host\"]",
        "devices: [\"/dev/kmsg:/dev/kmsg\"]",
    ];
    for (n, line) in more.iter().enumerate() {
        lab.put(&format!("services/evil/e{n}"), &format!("{idle}  {line}\n"));
    }
    pause(length(60, 6));
    for host in lab.hosts() {
        let evil: Vec<String> = lab.containers(&host).into_iter().map(|copy| copy.name).collect();
        assert!(!evil.iter().any(|name| name.starts_with("evil.")), "made on {host}: {evil:?}");
    }
    let status = lab.keel(&["status"]).ok();
    for n in 0..more.len() {
        assert!(status.contains(&format!("evil/e{n}")), "status does not name evil/e{n}:\n{status}");
    }
    let keys: Vec<String> = (0..more.len()).map(|n| format!("services/evil/e{n}")).collect();
    lab.delete_all(keys.iter().map(String::as_str));
    more.len()
}

#[test]
fn case_24_hostile_records() {
    rare_fault(24, |lab| {
        let shop = Shop::open(lab, "h3");
        let before = (lab.runs(&lab.hosts()), workers(lab));
        let store = lab.store();
        // One record of each kind that controllers read, spoilt; not the lease's own keys.
        let mut spoilt = BTreeMap::new();
        for prefix in
            ["instances/h2/", "observed/h2/", "health/h2/", "endpoints/", "accepted/services/", "facts/h2"]
        {
            if let Some(key) = store.keys(prefix).next() {
                spoilt.insert(key.clone(), String::from_utf8_lossy(&store.values[key]).into_owned());
            }
        }
        assert!(spoilt.len() >= 5, "{:?}", spoilt.keys());
        for garbage in ["{", "[]", "\u{0}\u{1}", "null", "{\"template\": 7}"] {
            for key in spoilt.keys() {
                lab.put(key, garbage);
            }
            pause(Duration::from_secs(2));
            assert_eq!(before, (lab.runs(&lab.hosts()), workers(lab)), "{garbage:?}: something was touched");
        }
        let begun = Instant::now();
        for (key, value) in &spoilt {
            lab.put(key, value);
        }
        eventually(30, "all as it was", || {
            evenkeel_tests::lab::cluster::settled(&lab.try_store()?, "shop/web", COPIES)
        });
        let took = since(begun);
        let unharmed = shop.close_unharmed();
        converged(lab, 60);
        Outcome::Passed(format!(
            "{} records spoilt in five ways: nothing touched, no controller ended; {unharmed}; in step {took:.1} s after \
             they were whole",
            spoilt.len()
        ))
    });
}

/// What certificates and rights keep a thief from writing is held by `tests/tests/access.rs`. The lab's etcd demands neither:
/// even what they would refuse must do no harm that the host's own policy or the form of keys forbids.
#[test]
fn case_25_keys_of_a_thief() {
    rare_fault(25, |lab| {
        let shop = Shop::open(lab, "h3");
        let before = (lab.runs(&lab.hosts()), workers(lab));
        let record = "{\"template\":\"shop/web@1\",\"slot\":\"1\",\"desired\":\"run\",\"cause\":\"theft\"}";
        let long = format!("services/shop/{}", "x".repeat(20_000));
        let keys = [
            "instances/h1/../../../../etc/passwd",
            "instances/h1/shop.web.1.zz/../../x",
            "instances/h1/UPPER.web.1.1",
            "instances/h9/shop.web.1.zz",
            "instances/h1/",
            "services/../hosts/h1",
            "endpoints/shop/web/not-a-number",
            "observed/h9/shop.web.1.1",
            "subnets/lan/../../x",
            "writers/h9/service/more",
            "nothing/of/ours",
            &long,
        ];
        keys.iter().for_each(|key| forge(lab, key, record));
        pause(length(60, 10));
        assert_eq!(before, (lab.runs(&lab.hosts()), workers(lab)), "something was touched");
        for host in lab.hosts() {
            let odd = lab.exec(
                &host,
                &["find", "/var/lib/evenkeel", "/etc", "-newer", "/run/docker.pid", "-name", "x"],
            );
            assert!(odd.out.is_empty(), "files on {host}: {}", odd.out);
        }
        let refused = refused_by_policy(lab);
        for key in keys {
            lab.etcdctl(&["del", "--", &format!("{PREFIX}{key}")]).ok();
        }
        let unharmed = shop.close_unharmed();
        converged(lab, 60);
        Outcome::Passed(format!(
            "on an etcd without rights, where everyone may write: {} forged keys and {refused} documents that hosts do \
             not allow: nothing made or touched; {unharmed}",
            keys.len()
        ))
    });
}

/// Puts it, and sees that etcd took it: what is not there proves nothing. At the revision of the put, as a leader may
/// take away what lies where it alone writes.
fn forge(lab: &Lab, key: &str, value: &str) {
    let key = format!("{PREFIX}{key}");
    let put = lab.etcdctl(&["put", "-w", "json", "--", &key, value]).ok();
    let put: serde_json::Value = serde_json::from_str(&put).unwrap_or_else(|error| panic!("{put}: {error}"));
    let at = format!("--rev={}", put["header"]["revision"]);
    let there = lab.etcdctl(&["get", "--print-value-only", &at, "--", &key]).ok();
    assert_eq!(there, value, "{key} is not in etcd");
}

fn workers(lab: &Lab) -> BTreeMap<String, std::collections::BTreeSet<i32>> {
    lab.hosts().into_iter().map(|host| (host.clone(), lab.workers(&host))).collect()
}
