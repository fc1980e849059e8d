use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::name::HostName;
use evenkeel_api::record::{Condition, ConditionType, NetworkReport, Timestamp};

use crate::network::status::{Seen, status};

/// What the leader sees; nothing at first.
#[derive(Default)]
struct Case {
    deleting: bool,
    users: BTreeSet<String>,
    alive: BTreeSet<HostName>,
    reports: BTreeMap<HostName, NetworkReport>,
    refusals: Vec<String>,
}

impl Case {
    /// Hosts from h1 on that are alive, each with its report.
    fn hosts(reports: impl IntoIterator<Item = NetworkReport>) -> Self {
        let reports: BTreeMap<HostName, NetworkReport> =
            (1..).zip(reports).map(|(n, report)| (format!("h{n}").parse().unwrap(), report)).collect();
        Self { alive: reports.keys().cloned().collect(), reports, ..Self::default() }
    }

    fn told(&self, kind: ConditionType) -> Condition {
        let seen = Seen {
            observed_revision: 7,
            accepted_revision: Some(7),
            invalid: None,
            deleting: self.deleting,
            users: &self.users,
            alive: &self.alive,
            reports: &self.reports,
            refusals: &self.refusals,
        };
        status(&seen, None, Timestamp(1)).condition(kind).unwrap().clone()
    }
}

fn ready() -> NetworkReport {
    NetworkReport::Ready { subnet: "10.88.1.0/24".parse().unwrap() }
}

fn failing() -> NetworkReport {
    NetworkReport::Failed { why: "nft: busy".into() }
}

#[test]
fn a_network_is_available_once_all_hosts_have_it_and_there_is_one() {
    let cases = [
        (Case::default(), (false, "NotReady", "0/0 hosts ready")),
        (Case::hosts([ready()]), (true, "Ready", "1/1 hosts ready")),
        (Case::hosts([ready(), failing()]), (false, "NotReady", "1/2 hosts ready")),
    ];
    for (case, expected) in cases {
        let told = case.told(ConditionType::Available);
        assert_eq!((told.status, told.reason.as_str(), told.message.as_str()), expected);
    }
}

#[test]
fn a_network_is_degraded_by_conflicts_before_failures() {
    let conflict = NetworkReport::Conflict { why: "route to 10.88.0.0/20".into() };
    let refused = Case { refusals: vec!["h2: all parts are taken".into()], ..Case::hosts([ready()]) };
    let cases = [
        (Case::hosts([ready()]), (false, "AsWanted", "")),
        (Case::hosts([failing()]), (true, "HostsFailing", "h1: nft: busy")),
        (Case::hosts([failing(), conflict]), (true, "Conflict", "h1: nft: busy; h2: route to 10.88.0.0/20")),
        (refused, (true, "Conflict", "h2: all parts are taken")),
    ];
    for (case, expected) in cases {
        let told = case.told(ConditionType::Degraded);
        assert_eq!((told.status, told.reason.as_str(), told.message.as_str()), expected);
    }
}

#[test]
fn a_message_names_five_and_says_that_there_are_more() {
    for (hosts, end) in [(5, "h5: nft: busy"), (6, "h5: nft: busy; and 1 more"), (8, "; and 3 more")] {
        let told = Case::hosts((0..hosts).map(|_| failing())).told(ConditionType::Degraded);
        assert!(told.message.ends_with(end), "{}", told.message);
    }
    for (users, end) in [(5, "while a, b, c, d, e use it"), (6, "while a, b, c, d, e and others use it")] {
        let users = ["a", "b", "c", "d", "e", "f"][..users].iter().map(ToString::to_string).collect();
        let told = Case { deleting: true, users, ..Case::default() }.told(ConditionType::Progressing);
        assert!(told.reason == "InUse" && told.message.ends_with(end), "{}", told.message);
    }
}
