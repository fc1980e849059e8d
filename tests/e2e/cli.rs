//! The command: documents in, exit codes for CI, answers for programs.

use evenkeel_tests::lab::{Lab, case};
use serde_json::Value;

use crate::documents;

fn named(text: &str, metadata: &str) -> String {
    text.replacen("spec:", &format!("metadata: {{{metadata}}}\nspec:"), 1)
}

fn apply(lab: &Lab, words: &[&str], text: &str) -> evenkeel_tests::lab::Done {
    lab.feed(&[&["keel", "apply", "-f", "-"], words].concat(), text)
}

#[test]
fn apply_waits_and_its_exit_code_tells() {
    case(|lab| {
        let web = |version: &str, more: &str| {
            let deploy = format!(
                "replicas: 3, update_config: {{order: start-first, monitor: 1s, parallelism: 3}}{more}"
            );
            named(&documents::web(version, &deploy), "name: web, namespace: shop")
        };
        let all = [
            named(&documents::lan(), "name: lan"),
            named(&documents::http_check("web"), "name: web, namespace: shop"),
            web("1", ""),
        ]
        .join("---\n");

        let dry = apply(lab, &["--dry-run"], &all).ok();
        assert!(dry.contains("shop/web"), "{dry}");
        assert!(!lab.store().values.contains_key("services/shop/web"), "a dry run wrote");

        println!("{}", apply(lab, &["--wait", "--timeout", "90s"], &all).ok());
        for host in lab.hosts() {
            assert_eq!(
                lab.dig(&host, "web.shop.internal").len(),
                3,
                "apply --wait came back before the names on {host}"
            );
        }

        let bad = apply(lab, &[], &all.replace("replicas", "replica"));
        assert_eq!(bad.code, 1, "{bad:?}");
        assert!(bad.err.contains("replicas") && bad.err.contains("standard input:"), "{}", bad.err);

        let paused = apply(lab, &["--wait", "--timeout", "60s"], &web("bad", ""));
        assert_eq!(paused.code, 3, "{paused:?}");
        apply(lab, &["--wait", "--timeout", "90s"], &web("2", "")).ok();
        let crowded =
            web("2", ", placement: {max_replicas_per_node: 1}").replace("replicas: 3", "replicas: 4");
        let late = apply(lab, &["--wait", "--timeout", "3s"], &crowded);
        assert_eq!(late.code, 4, "{late:?}");
    });
}

#[test]
fn answers_are_for_programs_too() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/idle", &documents::idle("replicas: 2"));
        lab.settled("shop/idle", 2, 60);
        let questions: [&[&str]; 15] = [
            &["status"],
            &["get", "services"],
            &["get", "networks"],
            &["get", "hosts"],
            &["get", "copies"],
            &["get", "service", "shop/idle"],
            &["describe", "shop/idle"],
            &["describe", "network", "lan"],
            &["describe", "host", "h1"],
            &["events"],
            &["explain", "shop/idle"],
            &["history", "shop/idle"],
            &["rollout", "status", "shop/idle"],
            &["brake", "status"],
            &["host", "list"],
        ];
        for words in questions {
            let table = lab.keel(words).ok();
            assert!(!table.is_empty(), "{words:?} says nothing");
            let json = lab.keel(&[words, &["-o", "json"]].concat()).ok();
            let value: Value =
                serde_json::from_str(&json).unwrap_or_else(|error| panic!("{words:?}: {error}:\n{json}"));
            assert!(value.is_object() || value.is_array() || words[0] == "brake", "{words:?}: {json}");
        }
        let status = lab.keel(&["status"]).ok();
        assert!(
            status.contains("all is well") && status.contains("h3") && status.contains("shop/idle"),
            "{status}"
        );

        let planned = lab
            .feed(
                &["keel", "plan", "-f", "-"],
                &named(&documents::idle("replicas: 3"), "name: idle, namespace: shop"),
            )
            .ok();
        assert!(planned.contains("shop/idle") || planned.contains("shop.idle"), "{planned}");
        assert_eq!(lab.copies("shop/idle").len(), 2, "a plan acted");

        lab.keel(&["delete", "shop/idle"]).ok();
        assert_ne!(lab.keel(&["delete", "shop/idle"]).code, 0, "deleting what is not there says so");
        lab.keel(&["delete", "network", "lan"]).ok();
    });
}

#[test]
fn everyday_verbs_do_what_they_say_and_explain_says_why_not() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        let web = documents::web("1", "replicas: 2, update_config: {monitor: 1s}");
        let web = named(&web, "name: web, namespace: shop");
        apply(lab, &["--wait", "--timeout", "90s"], &web).ok();
        let explain =
            |what: &str| lab.keel(&["explain", what]).ok().lines().next().unwrap_or_default().to_owned();
        assert_eq!(explain("shop/web"), "Service shop/web runs: 2 of 2 copies are ready and in the names");
        assert!(explain("web.shop.internal").starts_with("web.shop.internal leads to 10.88."));

        let diff = |text: &str| lab.feed(&["keel", "diff", "-f", "-"], text);
        assert_eq!(diff(&web).code, 0);
        lab.keel(&["scale", "shop/web=3", "--wait", "--timeout", "60s"]).ok();
        assert_eq!(lab.copies("shop/web").len(), 3);
        let differs = diff(&web);
        assert!(differs.code == 1 && differs.out.contains("{replicas: 3, update_config"), "{differs:?}");

        let ids = || -> Vec<String> {
            lab.copies("shop/web").iter().map(|(_, copy)| copy.instance().to_string()).collect()
        };
        let before = ids();
        lab.keel(&["restart", "shop/web", "--wait", "--timeout", "90s"]).ok();
        // The last of the old ones may be on its way out still.
        evenkeel_tests::lab::eventually(20, "three new copies, and no old one", || {
            let after = ids();
            let new = after.len() == 3 && before.iter().all(|old| !after.contains(old));
            if new { Ok(()) } else { Err(format!("{before:?} {after:?}")) }
        });

        lab.put("services/shop/huge", &documents::idle("resources: {reservations: {memory: 900G}}"));
        let said = || explain("shop/huge/1");
        evenkeel_tests::lab::eventually(20, "explain says what is lacking", || match said() {
            said if said.contains("lack memory (900G is reserved)") => Ok(()),
            said => Err(said),
        });
        lab.keel(&["delete", "shop/web"]).ok();
        lab.keel(&["wait", "shop/web", "--for", "gone", "--timeout", "60s"]).ok();
        assert_eq!(lab.copies("shop/web").len(), 0);
    });
}
