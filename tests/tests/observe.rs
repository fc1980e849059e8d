//! Alerts, their pages in the runbooks, and the board: as Prometheus' own tool sees them. What they ask for is checked
//! against real pages in controllers/metrics/tests/page.rs, and fired by real faults in tests/e2e/alerts.rs.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(checkout(path)).unwrap()
}

fn promtool(words: &[&str]) {
    let done = Command::new("promtool").args(words).current_dir(checkout("charts/observe")).output();
    let done = done.unwrap_or_else(|error| panic!("promtool: {error}; hack/install installs it"));
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(done.status.success(), "promtool {}:\n{said}", words.join(" "));
}

/// What follows `key` in lines of the rules.
fn values<'t>(rules: &'t str, key: &str) -> Vec<&'t str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::trim).collect()
}

#[test]
fn each_alert_fires_on_what_it_is_about_and_ends_with_it() {
    promtool(&["check", "rules", "rules.yaml"]);
    promtool(&["test", "rules", "rules.test.yaml"]);
    let (rules, tests) = (text("charts/observe/rules.yaml"), text("charts/observe/rules.test.yaml"));
    for alert in values(&rules, "- alert:") {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} is fired by no test");
    }
}

#[test]
fn each_alert_has_a_page_in_the_runbooks_and_no_page_is_without_one() {
    let (rules, runbooks) = (text("charts/observe/rules.yaml"), text("docs/runbooks.md"));
    let alerts = values(&rules, "- alert:");
    assert_eq!(alerts.len(), 10);
    assert_eq!(values(&runbooks, "## "), alerts, "pages, in the order of the alerts");
    let anchors: Vec<String> =
        alerts.iter().map(|alert| format!("docs/runbooks.md#{}", alert.to_lowercase())).collect();
    assert_eq!(values(&rules, "runbook:"), anchors);
    for description in rules.split("description:").skip(1) {
        let description = description.split("runbook:").next().unwrap_or_default();
        assert!(
            description.contains("`evenkeel ") || description.contains("`docker "),
            "names no command:{description}"
        );
    }
}

#[test]
fn every_panel_of_the_board_asks_what_prometheus_understands() {
    let board: Value = serde_json::from_str(&text("charts/observe/board.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let asked = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let asked: Vec<&Value> = asked.map(|target| &target["expr"]).collect();
    assert!(asked.len() > 20, "{asked:?}");
    // A rule for each: there is no other way to have them read.
    let rules = asked
        .iter()
        .enumerate()
        .map(|(n, expr)| format!("{{\"record\": \"board:panel{n}\", \"expr\": {expr}}}"));
    let rules = rules.collect::<Vec<_>>().join(", ");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("board.yaml");
    std::fs::write(&file, format!("{{\"groups\": [{{\"name\": \"board\", \"rules\": [{rules}]}}]}}"))
        .unwrap();
    promtool(&["check", "rules", &file.to_string_lossy()]);
    promtool(&["check", "config", "--syntax-only", "prometheus.yml"]);
}
