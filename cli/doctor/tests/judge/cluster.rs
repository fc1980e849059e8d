//! What may be wrong with the cluster and its etcd.

use std::collections::BTreeMap;

use evenkeel_api::key::Controller;
use evenkeel_doctor::Severity;
use evenkeel_doctor::facts::{Answer, Cluster, Found, Host, Member};

use crate::{authority, bad, cluster, name, one, shown};

fn answer(cluster: &mut Cluster) -> &mut Answer {
    cluster.members.get_mut("m1").unwrap().answer.as_mut().unwrap().as_mut().unwrap()
}

fn all(cluster: &mut Cluster, change: impl Fn(&mut Answer)) {
    for member in cluster.members.values_mut() {
        change(member.answer.as_mut().unwrap().as_mut().unwrap());
    }
}

fn host(cluster: &mut Cluster) -> &mut Host {
    cluster.hosts.get_mut(&name(2)).unwrap()
}

fn member(cluster: &mut Cluster) -> &mut Member {
    cluster.members.get_mut("m2").unwrap()
}

/// What is done to a cluster; how bad that is, and the words for it.
type OfCluster = (fn(&mut Cluster), Severity, &'static str, &'static str, &'static str);

#[test]
fn what_is_wrong_with_the_cluster_is_told_with_what_mends_it() {
    use Severity::{Hurts, Warns};
    let table: &[OfCluster] = &[
        (
            |c| member(c).answer = Some(Err("late".to_owned())),
            Hurts,
            "members",
            "m2 does not answer: late",
            "etcd replace h2; if the machine will not come back: evenkeel etcd remove h2 --dead",
        ),
        (|c| member(c).answer = None, Hurts, "members", "m2 has never started", "evenkeel etcd add h2"),
        (
            |c| {
                let learns = Member { learns: true, ..c.members["m2"].clone() };
                c.members.insert("m4".to_owned(), learns);
            },
            Warns,
            "members",
            "m4 does not vote",
            "evenkeel etcd add h2",
        ),
        (|c| drop(c.members.remove("m2")), Warns, "members", "two members", "until there are three"),
        (
            |c| c.members.retain(|name, _| name == "m1"),
            Warns,
            "members",
            "one member",
            "until there are three",
        ),
        (|c| all(c, |it| it.leader = 0), Hurts, "members", "no member of etcd leads", "start"),
        (|c| answer(c).leader = 8, Warns, "members", "do not agree", "look again"),
        (
            |c| all(c, |it| it.version = "3.3.10".to_owned()),
            Hurts,
            "etcd-version",
            "too old: m1 3.3.10",
            "--etcd-image",
        ),
        (
            |c| answer(c).version = "3.5.31".to_owned(),
            Warns,
            "etcd-version",
            "several versions: m1 3.5.31",
            "--etcd-image",
        ),
        (
            |c| all(c, |it| it.version = "3.4.23".to_owned()),
            Warns,
            "etcd-version",
            "may be stale",
            "--etcd-image",
        ),
        (
            |c| {
                all(c, |it| it.version = "3.4.23".to_owned());
                c.exclusive = true;
            },
            Hurts,
            "etcd-version",
            "may be stale",
            "--etcd-image",
        ),
        (
            |c| all(c, |it| it.version = "3.5.29".to_owned()),
            Warns,
            "etcd-version",
            "has holes",
            "--etcd-image",
        ),
        (|c| answer(c).size = 1800 << 20, Hurts, "etcd-room", "1800 MiB, 87 %", "evenkeel etcd defrag"),
        (|c| answer(c).size = 1100 << 20, Warns, "etcd-room", "1100 MiB, 53 %", "evenkeel etcd defrag"),
        (|c| answer(c).quota = Some(110 << 20), Hurts, "etcd-room", "90 %", "evenkeel etcd defrag"),
        (
            |c| answer(c).used = 40 << 20,
            Warns,
            "etcd-room",
            "40 MiB of it are in use",
            "evenkeel etcd defrag",
        ),
        (|c| c.alarms = ["NOSPACE".to_owned()].into(), Hurts, "alarm", "NOSPACE", "evenkeel etcd defrag"),
        (|c| c.alarms = ["CORRUPT".to_owned()].into(), Hurts, "alarm", "CORRUPT", "evenkeel etcd replace"),
        (
            |c| {
                c.alarms = ["NOSPACE".to_owned()].into();
                c.open = Some(true);
            },
            Hurts,
            "alarm",
            "NOSPACE",
            "evenkeel etcd defrag",
        ),
        (|c| c.tls = false, Warns, "access", "without TLS", "security"),
        (|c| c.open = Some(true), Hurts, "access", "access control is off", "evenkeel init"),
        (|c| c.halted = Some("h1 saw it".to_owned()), Hurts, "halt", "h1 saw it", "evenkeel recover"),
        (
            |c| c.leaderless = vec![Controller::Network, Controller::Service],
            Hurts,
            "leaders",
            "no network, no service controller leads",
            "evenkeel-host start",
        ),
        (
            |c| host(c).alive = false,
            Hurts,
            "host",
            "does not renew its lease",
            "evenkeel etcd remove h2 --dead, then evenkeel host remove h2 --dead",
        ),
        (
            |c| c.hosts.get_mut(&name(4)).unwrap().alive = false,
            Hurts,
            "host",
            "does not renew its lease",
            "if it will not come back: evenkeel host remove h4 --dead",
        ),
        (
            |c| {
                c.backups = None;
                host(c).alive = false;
            },
            Hurts,
            "host",
            "does not renew its lease",
            "if it will not come back: where the cluster was made: evenkeel etcd remove h2 --dead, then evenkeel host \
             remove h2 --dead; with an etcd of your own: etcdctl member remove, then evenkeel delete host h2",
        ),
        (|c| host(c).known = false, Hurts, "host", "have not said", "docker logs evenkeel"),
        (|c| host(c).watchdog = false, Hurts, "watchdog", "does not run", "evenkeel-host restart"),
        (|c| host(c).active = false, Warns, "host", "takes no copies", "evenkeel host undrain h2"),
        (
            |c| drop(host(c).networks.insert("lan".parse().unwrap(), "taken".to_owned())),
            Hurts,
            "network",
            "network lan does not stand: taken",
            "evenkeel describe network lan",
        ),
        (
            |c| host(c).evenkeel = "0.1.0".to_owned(),
            Warns,
            "controllers",
            "0.1.0 on h2; 0.2.0 on h1, h3, h4",
            "upgrade",
        ),
        (|c| c.backups = Some([name(1)].into()), Warns, "backups", "one host alone", "evenkeel host add"),
        (|c| c.backups = Some([].into()), Warns, "backups", "no host keeps", "evenkeel host add"),
        (|c| c.certificates[0] = shown(-1), Hurts, "certificate", "holds no more", "host add"),
        (|c| c.certificates[0] = shown(59), Warns, "certificate", "for 59 days", "host add"),
        (|c| c.certificates[0] = authority(364), Warns, "certificate", "for 364 days", "host add"),
        (|c| c.certificates[0] = authority(59), Hurts, "certificate", "for 59 days", "host add"),
    ];
    for (spoil, severity, check, what, mend) in table {
        let mut cluster = cluster();
        spoil(&mut cluster);
        let found = Found { cluster: Some(Ok(cluster)), machines: BTreeMap::new() };
        one(&bad(&found), *severity, check, what, mend);
    }
    let found = Found { cluster: Some(Err("refused".to_owned())), machines: BTreeMap::new() };
    one(&bad(&found), Hurts, "etcd", "does not answer: refused", "evenkeel-etcd start");
    // With an etcd of one's own, backups are nobody's business here.
    let found = Found { cluster: Some(Ok(Cluster { backups: None, ..cluster() })), ..Found::default() };
    assert_eq!(bad(&found), []);
}

/// Whoever has not what these commands need is told where they can be given, and what there is instead.
#[test]
fn who_did_not_make_the_cluster_is_not_sent_to_commands_that_refuse_them() {
    type Instead = (fn(&mut Cluster), &'static str);
    let table: &[Instead] = &[
        (|c| member(c).answer = Some(Err("late".to_owned())), "start etcd on h2"),
        (|c| member(c).answer = None, "start that member"),
        (|c| member(c).learns = true, "etcdctl member promote"),
        (|c| c.members.retain(|name, _| name == "m1"), "etcdctl member add"),
        (|c| all(c, |it| it.version = "3.3.10".to_owned()), "as its makers say"),
        (|c| answer(c).size = 1800 << 20, "etcdctl defrag"),
        (|c| c.alarms = ["NOSPACE".to_owned()].into(), "alarm disarm"),
        (|c| c.alarms = ["CORRUPT".to_owned()].into(), "etcdctl member remove"),
        (|c| c.open = Some(true), "etcdctl auth enable"),
        (
            |c| c.hosts.get_mut(&name(4)).unwrap().alive = false,
            "with an etcd of your own: evenkeel delete host h4",
        ),
    ];
    for (spoil, instead) in table {
        let mut cluster = Cluster { backups: None, ..cluster() };
        spoil(&mut cluster);
        let found = Found { cluster: Some(Ok(cluster)), machines: BTreeMap::new() };
        let findings = bad(&found);
        let told = findings.iter().find(|finding| finding.mend.contains(instead));
        let told = told.unwrap_or_else(|| panic!("{instead}: {findings:#?}"));
        assert!(told.mend.contains("where the cluster was made: "), "{told:?}");
    }
}
