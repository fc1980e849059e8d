//! What must be alike on all machines that were asked.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::name::HostName;

use crate::facts::{Asked, Machine};
use crate::finding::{Chart, Finding};

/// By how much clocks may differ, in milliseconds.
const DRIFT: i64 = 1000;

/// What is found of machines beside each other.
pub fn fleet(machines: &BTreeMap<HostName, Asked<Machine>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let known: Vec<_> =
        machines.iter().filter_map(|(host, asked)| Some((host, asked.as_ref().ok()?))).collect();
    for (host, found) in &known {
        let mut chart = Chart::of_host(host);
        clock(&mut chart, found.ahead);
        findings.append(&mut chart.findings);
    }
    let mut chart = Chart::of_cluster();
    let versions: BTreeSet<&str> = known.iter().map(|(_, found)| found.evenkeel.as_str()).collect();
    if versions.len() > 1 {
        let said: Vec<String> =
            known.iter().map(|(host, found)| format!("{host} {}", found.evenkeel)).collect();
        chart.warns(
            "program",
            format!("the command evenkeel is not the same on all hosts: {}", said.join(", ")),
            "where the cluster was made: evenkeel host add ADDRESS, of each that is behind; with an etcd of your own: copy \
             /usr/local/bin/evenkeel to each",
        );
    }
    findings.append(&mut chart.findings);
    findings
}

fn clock(chart: &mut Chart, ahead: Option<i64>) {
    let Some(ahead) = ahead else { return };
    if ahead.abs() <= DRIFT {
        return chart.fine("clock", "its clock is like this machine's");
    }
    let (seconds, way) = (ahead.abs() / 1000, if ahead > 0 { "ahead of" } else { "behind" });
    chart.warns(
        "clock",
        format!(
            "its clock is {seconds} s {way} this machine's: times in events and logs mislead, and certificates fail \
             beyond a day"
        ),
        "on whichever is wrong: apt-get install chrony",
    );
}
