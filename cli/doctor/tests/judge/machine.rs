//! What may be wrong with one machine.

use evenkeel_doctor::Severity;
use evenkeel_doctor::facts::{
    Backups, Container, Device, Engine, EngineSettings, Found, Machine, Room, Syncs, TimeSync,
};

use crate::{GIB, NOW, bad, machine, name, one, shown};

fn engine(machine: &mut Machine) -> &mut Engine {
    machine.engine.as_mut().unwrap()
}

fn room(machine: &mut Machine) -> &mut Room {
    machine.disks[0].room.as_mut().unwrap()
}

fn container(machine: &mut Machine) -> &mut Container {
    machine.containers.as_mut().unwrap().found.get_mut("evenkeel").unwrap()
}

/// What is done to a machine; how bad that is, and the words for it.
type OfMachine = (fn(&mut Machine), Severity, &'static str, &'static str, &'static str);

#[test]
fn what_is_wrong_with_a_machine_is_told_with_what_mends_it() {
    use Severity::{Hurts, Warns};
    let table: &[OfMachine] = &[
        (
            |m| m.engine = Err("refused".to_owned()),
            Hurts,
            "engine",
            "not answer: refused",
            "journalctl -u docker",
        ),
        (|m| engine(m).version = "19.03.8".to_owned(), Hurts, "engine", "19.03.8 is too old", "newer engine"),
        (|m| engine(m).rootful = false, Hurts, "engine", "without root", "docker.io"),
        (
            |m| engine(m).live_restore = false,
            Hurts,
            "live-restore",
            "containers stop",
            "\"live-restore\": true",
        ),
        (|m| m.settings = Err("x".to_owned()), Warns, "engine-settings", "cannot be read: x", ""),
        (
            |m| m.settings = Ok(EngineSettings { log_limit: true, firewall: false }),
            Hurts,
            "engine-firewall",
            "\"iptables\": false",
            "daemon.json",
        ),
        (
            |m| m.settings = Ok(EngineSettings { log_limit: false, firewall: true }),
            Warns,
            "logs",
            "until the disk is full",
            "max-size",
        ),
        (|m| m.forwards = Ok(false), Hurts, "forwarding", "ip_forward is 0", "evenkeel-setup"),
        (|m| m.forwards = Err("x".to_owned()), Warns, "forwarding", "cannot be read", ""),
        (
            |m| m.lan = Ok(Device { name: "eth0".to_owned(), mtu: 1450 }),
            Warns,
            "mtu",
            "ek-lan longer ones",
            "1450",
        ),
        (|m| m.lan = Err("x".to_owned()), Warns, "mtu", "is not found: x", ""),
        (|m| m.time = Ok(TimeSync::Nothing), Warns, "time", "nothing keeps", "chrony"),
        (|m| m.time = Ok(TimeSync::NotYet), Warns, "time", "not in step", "timesync-status"),
        (|m| m.ahead = Some(-61_000), Warns, "clock", "61 s behind", "chrony"),
        (|m| room(m).free = 4 * GIB, Hurts, "disk", "full but for 4.0 GiB", "prune"),
        (|m| room(m).free = 13 * GIB + GIB / 2, Warns, "disk", "13.5 GiB of 100.0 left", "prune"),
        (|m| room(m).files_free = 19, Hurts, "disk", "full but for 19 more files", "prune"),
        (|m| m.disks[0].room = Err("x".to_owned()), Warns, "disk", "the engine: x", ""),
        (
            |m| container(m).state = "exited".to_owned(),
            Hurts,
            "containers",
            "it is exited",
            "evenkeel-host start",
        ),
        (
            |m| container(m).state = "paused".to_owned(),
            Hurts,
            "containers",
            "paused",
            "docker unpause evenkeel",
        ),
        (|m| container(m).restarts = 9, Warns, "containers", "again 9 times", "docker logs evenkeel"),
        (
            |m| drop(m.containers.as_mut().unwrap().found.remove("evenkeel-etcd")),
            Hurts,
            "containers",
            "evenkeel-etcd is not there",
            "evenkeel-etcd start",
        ),
        (
            |m| drop(m.containers.as_mut().unwrap().wanted.remove("evenkeel")),
            Hurts,
            "containers",
            "evenkeel is left over",
            "evenkeel-host start",
        ),
        (|m| m.certificates[0] = shown(59), Warns, "certificate", "holds for 59 days", "host add"),
        (|m| m.certificates[0] = shown(13), Hurts, "certificate", "holds for 13 days", "host add"),
        (|m| m.certificates[0] = shown(0), Hurts, "certificate", "holds no more", "host add"),
        (|m| m.certificates[0].until = Err("no PEM".to_owned()), Hurts, "certificate", "no PEM", "host add"),
        (
            |m| m.etcd.as_mut().unwrap().disk = Ok(Syncs { count: 300, half: 900, most: 10_100 }),
            Warns,
            "etcd-disk",
            "within 10.1 ms",
            "ETCD_DATA",
        ),
        (
            |m| m.etcd.as_mut().unwrap().disk = Ok(Syncs { count: 30, half: 900, most: 250_100 }),
            Hurts,
            "etcd-disk",
            "within 250.1 ms",
            "ETCD_DATA",
        ),
        (
            |m| m.etcd.as_mut().unwrap().disk = Err("x".to_owned()),
            Warns,
            "etcd-disk",
            "cannot be told: x",
            "",
        ),
        (
            |m| m.backups = Some(Backups { newest: None, every: 3600 }),
            Hurts,
            "backups",
            "no backup",
            "backup start",
        ),
        (
            |m| m.backups = Some(Backups { newest: Some(NOW - 4 * 3600), every: 3600 }),
            Warns,
            "backups",
            "4 h 0 min old",
            "docker logs evenkeel-backup",
        ),
        (
            |m| m.backups = Some(Backups { newest: Some(NOW - 25 * 3600), every: 3600 }),
            Hurts,
            "backups",
            "25 h 0 min old",
            "docker logs evenkeel-backup",
        ),
    ];
    for (spoil, severity, check, what, mend) in table {
        let mut machine = machine();
        spoil(&mut machine);
        let found = Found { cluster: None, machines: [(name(1), Ok(machine))].into() };
        let findings = bad(&found);
        one(&findings, *severity, check, what, mend);
        assert_eq!(findings[0].host, Some(name(1)));
    }
}

#[test]
fn what_is_no_fault_is_not_told() {
    let table: &[fn(&mut Machine)] = &[
        |m| engine(m).version = "28.1".to_owned(),
        // What is not told is not too old.
        |m| engine(m).version = "dev".to_owned(),
        // It ends by itself.
        |m| {
            engine(m).log_driver = "journald".to_owned();
            m.settings = Ok(EngineSettings { log_limit: false, firewall: true });
        },
        |m| m.time = Ok(TimeSync::Runs),
        |m| m.ahead = None,
        |m| *room(m) = Room { bytes: 4000 * GIB, free: 100 * GIB, files: 0, files_free: 0 },
        |m| m.backups = Some(Backups { newest: Some(NOW - 3 * 3600 + 1), every: 3600 }),
        // Clocks of hosts differ: a backup from the future is new.
        |m| m.backups = Some(Backups { newest: Some(NOW + 9), every: 3600 }),
        |m| (m.etcd, m.backups) = (None, None),
    ];
    for (n, change) in table.iter().enumerate() {
        let mut machine = machine();
        change(&mut machine);
        let found = Found { cluster: None, machines: [(name(1), Ok(machine))].into() };
        assert_eq!(bad(&found), [], "case {n}");
    }
}

#[test]
fn a_machine_that_cannot_be_looked_at_and_one_that_differs_are_told() {
    let found = Found { cluster: None, machines: [(name(2), Err("no route".to_owned()))].into() };
    one(&bad(&found), Severity::Hurts, "reach", "no route", "");
    let other = Machine { evenkeel: "0.1.0".to_owned(), ..machine() };
    let found = Found { cluster: None, machines: [(name(1), Ok(machine())), (name(2), Ok(other))].into() };
    one(&bad(&found), Severity::Warns, "program", "h1 0.2.0, h2 0.1.0", "host add");
}
