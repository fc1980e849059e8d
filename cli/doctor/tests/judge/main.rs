//! Each thing that may be wrong, alone, on a machine and in a cluster that are well: what is said of it, how bad
//! it is, and what mends it.

#![allow(clippy::unwrap_used)]

mod cluster;
mod machine;

use std::collections::BTreeMap;

use evenkeel_api::name::HostName;
use evenkeel_doctor::facts::{
    Answer, Backups, Cluster, Container, Containers, Device, Disk, Engine, EngineSettings, Found, Host,
    Machine, Member, MemberHere, Room, Shown, Syncs, TimeSync,
};
use evenkeel_doctor::{Finding, Severity, judge};

const NOW: u64 = 1_795_982_400;
const DAY: u64 = 24 * 3600;
const GIB: u64 = 1 << 30;

fn name(n: usize) -> HostName {
    format!("h{n}").parse().unwrap()
}

fn shown(days: i64) -> Shown {
    let until = Ok(NOW.saturating_add_signed(days * DAY as i64));
    Shown { path: "/tls/client.crt".to_owned(), until, mend: "host add".to_owned(), authority: false }
}

/// Of one that signs the others.
fn authority(days: i64) -> Shown {
    Shown { authority: true, ..shown(days) }
}

fn machine() -> Machine {
    let device = |name: &str, mtu| Device { name: name.to_owned(), mtu };
    let runs = Container { state: "running".to_owned(), restarts: 0 };
    let names = ["evenkeel", "evenkeel-etcd", "evenkeel-backup"];
    let starts = ["evenkeel-host start", "evenkeel-etcd start", "evenkeel-backup start"];
    let room = Room { bytes: 100 * GIB, free: 50 * GIB, files: 1000, files_free: 900 };
    Machine {
        evenkeel: "0.2.0".to_owned(),
        clock: NOW * 1000,
        ahead: Some(200),
        time: Ok(TimeSync::Synchronized),
        engine: Ok(Engine {
            version: "20.10.24+dfsg1".to_owned(),
            live_restore: true,
            log_driver: "json-file".to_owned(),
            rootful: true,
        }),
        settings: Ok(EngineSettings { log_limit: true, firewall: true }),
        forwards: Ok(true),
        lan: Ok(device("eth0", 1500)),
        bridges: vec![device("ek-lan", 1500), device("ek-dmz", 1400)],
        disks: vec![Disk { of: "the engine".to_owned(), path: "/var/lib/docker".to_owned(), room: Ok(room) }],
        containers: Ok(Containers {
            wanted: names
                .iter()
                .zip(starts)
                .map(|(name, start)| ((*name).to_owned(), start.to_owned()))
                .collect(),
            found: names.map(|name| (name.to_owned(), runs.clone())).into(),
        }),
        certificates: vec![shown(300)],
        etcd: Some(MemberHere {
            quota: Some(2 * GIB),
            disk: Ok(Syncs { count: 300, half: 800, most: 9_000 }),
        }),
        backups: Some(Backups { newest: Some(NOW - 1800), every: 3600 }),
    }
}

fn cluster() -> Cluster {
    let answer =
        Answer { version: "3.5.30".to_owned(), leader: 7, size: 100 << 20, used: 90 << 20, quota: None };
    let member = |n| Member { host: Some(name(n)), learns: false, answer: Some(Ok(answer.clone())) };
    let host = Host {
        alive: true,
        known: true,
        evenkeel: "0.2.0".to_owned(),
        watchdog: true,
        active: true,
        networks: BTreeMap::new(),
    };
    Cluster {
        now: NOW,
        tls: true,
        open: Some(false),
        members: (1..=3).map(|n| (format!("m{n}"), member(n))).collect(),
        hosts: (1..=4).map(|n| (name(n), host.clone())).collect(),
        backups: Some([name(1), name(2)].into()),
        certificates: vec![shown(300), authority(1000)],
        ..Cluster::default()
    }
}

fn bad(found: &Found) -> Vec<Finding> {
    judge(found).into_iter().filter(|finding| finding.severity != Severity::Fine).collect()
}

/// Exactly one thing is wrong, and it is this.
fn one(findings: &[Finding], severity: Severity, check: &str, what: &str, mend: &str) {
    let [finding] = findings else { panic!("{check}, {what}: {findings:#?}") };
    assert_eq!((finding.severity, finding.check.as_str()), (severity, check), "{finding:?}");
    assert!(finding.what.contains(what), "{what:?} in {:?}", finding.what);
    assert!(finding.mend.contains(mend), "{mend:?} in {:?}", finding.mend);
}

#[test]
fn of_what_is_well_all_is_fine_and_everything_was_looked_at() {
    let machines = (1..=3).map(|n| (name(n), Ok(machine()))).collect();
    let found = Found { cluster: Some(Ok(cluster())), machines };
    let findings = judge(&found);
    assert_eq!(bad(&found), []);
    let checks: std::collections::BTreeSet<&str> = findings.iter().map(|it| it.check.as_str()).collect();
    for check in [
        "access",
        "alarm",
        "backups",
        "certificate",
        "clock",
        "containers",
        "disk",
        "engine",
        "etcd-disk",
        "etcd-room",
        "etcd-version",
        "forwarding",
        "host",
        "live-restore",
        "logs",
        "members",
        "mtu",
        "time",
    ] {
        assert!(checks.contains(check), "{check} is not among {checks:?}");
    }
}

#[test]
fn machines_tell_what_the_cluster_cannot() {
    // How much a member may hold stands in its host's settings.
    let small = MemberHere { quota: Some(120 << 20), ..machine().etcd.unwrap() };
    let here = Machine { etcd: Some(small), ..machine() };
    let found = Found { cluster: Some(Ok(cluster())), machines: [(name(1), Ok(here))].into() };
    one(&bad(&found), Severity::Hurts, "etcd-room", "m1 holds 100 MiB, 83 %", "defrag");
    let here = Machine { backups: None, ..machine() };
    let found = Found { cluster: Some(Ok(cluster())), machines: [(name(1), Ok(here))].into() };
    one(&bad(&found), Severity::Hurts, "backups", "not set up for it", "evenkeel host add ADDRESS --name h1");
}

#[test]
fn the_worst_comes_first() {
    let mut sick = machine();
    sick.time = Ok(TimeSync::Nothing);
    sick.forwards = Ok(false);
    let found = Found { cluster: Some(Ok(cluster())), machines: [(name(1), Ok(sick))].into() };
    let order: Vec<Severity> = judge(&found).into_iter().map(|finding| finding.severity).collect();
    assert!(order.is_sorted() && order[0] == Severity::Hurts && order[1] == Severity::Warns, "{order:?}");
}
