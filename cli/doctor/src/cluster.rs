//! Whether the cluster and its etcd are well.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::key::Controller;
use evenkeel_api::name::HostName;
use evenkeel_plan::service::no_exclusive;

use crate::facts::{Answer, Asked, Cluster, Host, Machine, Member};
use crate::finding::{Chart, Finding};
use crate::machine::certificates;
use crate::version::numbers;

/// The oldest etcd that is spoken to.
const OLDEST: (u64, u64, u64) = (3, 4, 0);
/// Before it, access control has holes (docs/security.md).
const GUARDED: (u64, u64, u64) = (3, 5, 30);
/// What etcd may hold unless it is told otherwise.
const QUOTA: u64 = 2 << 30;
/// A file that is smaller is not worth a defragmentation.
const SMALL: u64 = 64 << 20;
/// Fewer hosts with backups do not outlive the loss of one.
const KEEPERS: usize = 2;

/// What is found in the cluster; `machines` are those of its hosts that were looked at.
pub fn cluster(asked: &Asked<Cluster>, machines: &BTreeMap<HostName, Asked<Machine>>) -> Vec<Finding> {
    let mut chart = Chart::of_cluster();
    let found = match asked {
        Ok(found) => found,
        Err(why) => {
            chart.hurts(
                "etcd",
                format!("etcd does not answer: {why}"),
                "on each host that carries it: evenkeel-etcd status, evenkeel-etcd start; without most of its members: \
                 docs/operations.md, «All of etcd is lost»",
            );
            return chart.findings;
        }
    };
    members(&mut chart, found);
    versions(&mut chart, found);
    room(&mut chart, found, machines);
    alarms(&mut chart, found);
    guarded(&mut chart, found);
    decides(&mut chart, found);
    hosts(&mut chart, found);
    backups(&mut chart, found, machines);
    certificates(&mut chart, found.now, &found.certificates);
    chart.findings
}

fn answers(found: &Cluster) -> impl Iterator<Item = (&String, &Answer)> {
    found.members.iter().filter_map(|(name, member)| Some((name, member.answer.as_ref()?.as_ref().ok()?)))
}

fn members(chart: &mut Chart, found: &Cluster) {
    let check = "members";
    for (name, member) in &found.members {
        let mut of_member = member.host.as_ref().map_or_else(Chart::of_cluster, Chart::of_host);
        let at = member.host.as_ref().map_or_else(|| name.clone(), ToString::to_string);
        self::member(&mut of_member, name, &at, member, found);
        chart.findings.append(&mut of_member.findings);
    }
    let votes = found.members.values().filter(|member| !member.learns).count();
    if matches!(votes, 1 | 2) {
        chart.warns(
            check,
            match votes {
                1 => "etcd has one member: without it nothing is decided",
                _ => "etcd has two members: without either of them nothing is decided",
            },
            found.mend(
                "evenkeel etcd add HOST, until there are three",
                "etcdctl member add, until there are three",
            ),
        );
    }
    let leaders: BTreeSet<u64> = answers(found).map(|(_, answer)| answer.leader).collect();
    match leaders.iter().collect::<Vec<_>>().as_slice() {
        [] => {}
        [0] => chart.hurts(
            check,
            "no member of etcd leads: it takes no writes",
            "start the members that do not answer",
        ),
        [_] => chart.fine(check, "one member of etcd leads"),
        _ => chart.warns(
            check,
            "etcd's members do not agree on who leads",
            "look again: if it stays so, packets between them are lost, or a disk is too slow",
        ),
    }
}

fn member(chart: &mut Chart, name: &str, at: &str, member: &Member, found: &Cluster) {
    let check = "members";
    let add = found.mend(&format!("evenkeel etcd add {at}"), "start that member as its makers say");
    match &member.answer {
        None => chart.hurts(check, format!("etcd's member {name} has never started"), add),
        Some(Err(why)) => chart.hurts(
            check,
            format!("etcd's member {name} does not answer: {why}"),
            match found.backups {
                Some(_) => format!(
                    "on {at}: evenkeel-etcd start; if its data are lost: evenkeel etcd replace {at}; if the machine will \
                     not come back: evenkeel etcd remove {at} --dead"
                ),
                None => format!(
                    "start etcd on {at}; if its data are lost or the machine will not come back: {}",
                    found.mend(
                        &format!("evenkeel etcd replace {at}, or evenkeel etcd remove {at} --dead"),
                        "etcdctl member remove, then member add"
                    )
                ),
            },
        ),
        Some(Ok(_)) if member.learns => {
            let vote = found.mend(&format!("evenkeel etcd add {at}"), "etcdctl member promote");
            chart.warns(check, format!("etcd's member {name} does not vote yet"), vote);
        }
        Some(Ok(_)) => chart.fine(check, format!("etcd's member {name} answers")),
    }
}

fn versions(chart: &mut Chart, found: &Cluster) {
    let check = "etcd-version";
    let versions: BTreeMap<String, String> =
        answers(found).map(|(name, answer)| (name.clone(), answer.version.clone())).collect();
    let said = || {
        let each: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        each.join(", ")
    };
    let upgrade = &found.mend(
        "evenkeel upgrade --etcd-image IMAGE, of 3.5.30 or later",
        "3.5.30 or later, as its makers say",
    );
    let lowest = versions.values().filter_map(|version| numbers(version)).min();
    if lowest.is_some_and(|lowest| lowest < OLDEST) {
        return chart.hurts(check, format!("etcd is too old: {}; 3.4 or later is needed", said()), upgrade);
    }
    if versions.values().collect::<BTreeSet<_>>().len() > 1 {
        chart.warns(check, format!("etcd's members are of several versions: {}", said()), upgrade);
    }
    match no_exclusive(&versions) {
        Some(why) if found.exclusive => chart.hurts(check, why, upgrade),
        Some(why) => chart.warns(check, why, upgrade),
        None if found.tls && lowest.is_some_and(|lowest| lowest < GUARDED) => chart.warns(
            check,
            format!("before 3.5.30 etcd's access control has holes (docs/security.md): {}", said()),
            upgrade,
        ),
        None => chart.fine(check, format!("etcd's versions: {}", said())),
    }
}

/// How full each member is, and how much of it is air.
fn room(chart: &mut Chart, found: &Cluster, machines: &BTreeMap<HostName, Asked<Machine>>) {
    for (name, answer) in answers(found) {
        let here = found.members.get(name).and_then(|member| machines.get(member.host.as_ref()?));
        let here = here.and_then(|asked| asked.as_ref().ok()?.etcd.as_ref()?.quota);
        let quota = answer.quota.or(here).unwrap_or(QUOTA).max(1);
        let share = answer.size.saturating_mul(100) / quota;
        let what = format!("etcd's member {name} holds {} MiB, {share} % of what it may", answer.size >> 20);
        let mend = found.mend("evenkeel etcd defrag", "etcdctl defrag, of each member");
        let air = answer.size > SMALL && answer.used < answer.size / 2;
        match share {
            80.. => chart.hurts("etcd-room", format!("{what}: when it is full it takes no writes"), mend),
            50..80 => chart.warns("etcd-room", what, mend),
            _ if air => chart.warns(
                "etcd-room",
                format!("{what}, and {} MiB of it are in use", answer.used >> 20),
                mend,
            ),
            _ => chart.fine("etcd-room", what),
        }
    }
}

fn alarms(chart: &mut Chart, found: &Cluster) {
    let check = "alarm";
    for alarm in &found.alarms {
        match alarm.as_str() {
            "NOSPACE" => chart.hurts(
                check,
                "etcd is full (NOSPACE) and takes no writes: nothing new is decided",
                found.mend("evenkeel etcd defrag", "etcdctl compact, defrag of each member, alarm disarm"),
            ),
            "CORRUPT" => chart.hurts(
                check,
                "a member of etcd holds other data than the rest (CORRUPT)",
                found.mend(
                    "evenkeel etcd replace HOST, of the member that `etcdctl endpoint hashkv --cluster` shows to differ",
                    "etcdctl member remove of that member, then member add",
                ),
            ),
            other => chart.hurts(check, format!("etcd raises the alarm {other}"), "etcdctl alarm list"),
        }
    }
    if found.alarms.is_empty() {
        chart.fine(check, "etcd raises no alarm");
    }
}

fn guarded(chart: &mut Chart, found: &Cluster) {
    if !found.tls {
        chart.warns(
            "access",
            "etcd is asked without TLS: whoever is on that network can command all hosts",
            "docs/security.md",
        );
    }
    match found.open {
        // While it raises an alarm, etcd does not look at rights as it does otherwise: that goes with the alarm.
        Some(true) if found.tls && found.alarms.is_empty() => chart.hurts(
            "access",
            "etcd's access control is off: every host and person may change everything",
            found.mend(
                "evenkeel init, with the same words as at first",
                "etcdctl auth enable (docs/security.md)",
            ),
        ),
        Some(false) => chart.fine("access", "etcd lets everyone do what is theirs"),
        _ => {}
    }
}

fn decides(chart: &mut Chart, found: &Cluster) {
    if let Some(why) = &found.halted {
        chart.hurts(
            "halt",
            format!("etcd went back to the past, and nothing is decided: {why}"),
            "evenkeel recover",
        );
    }
    if !found.leaderless.is_empty() {
        let names: Vec<&str> = found.leaderless.iter().copied().map(Controller::as_str).collect();
        chart.hurts(
            "leaders",
            format!("no {} controller leads: nothing is decided", names.join(", no ")),
            "on the hosts that may lead: evenkeel-host status, evenkeel-host start",
        );
    }
}

fn hosts(chart: &mut Chart, found: &Cluster) {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, host) in &found.hosts {
        let mut of_host = Chart::of_host(name);
        self::host(&mut of_host, name, host, found);
        chart.findings.append(&mut of_host.findings);
        if host.known {
            versions.entry(&host.evenkeel).or_default().push(name.as_str());
        }
    }
    if versions.len() > 1 {
        let each: Vec<String> =
            versions.iter().map(|(version, hosts)| format!("{version} on {}", hosts.join(", "))).collect();
        chart.warns(
            "controllers",
            format!("controllers are of several versions: {}", each.join("; ")),
            "on each host that is behind: evenkeel-host upgrade",
        );
    }
}

impl Cluster {
    /// What mends something that takes what whoever made the cluster keeps of it. Of others nobody can tell whether it was made
    /// by `evenkeel init` elsewhere, or is an etcd of their own.
    fn mend(&self, with_book: &str, with_own: &str) -> String {
        match self.backups {
            Some(_) => with_book.to_owned(),
            None => format!("where the cluster was made: {with_book}; with an etcd of your own: {with_own}"),
        }
    }
}

/// How a host that will not come back leaves the cluster.
fn farewell(name: &HostName, found: &Cluster) -> String {
    let (mut remove, mut delete) =
        (format!("evenkeel host remove {name} --dead"), format!("evenkeel delete host {name}"));
    if found.members.values().any(|member| member.host.as_ref() == Some(name)) {
        remove = format!("evenkeel etcd remove {name} --dead, then {remove}");
        delete = format!("etcdctl member remove, then {delete}");
    }
    found.mend(&remove, &delete)
}

fn host(chart: &mut Chart, name: &HostName, host: &Host, found: &Cluster) {
    let check = "host";
    if !host.alive {
        return chart.hurts(
            check,
            "it does not renew its lease: it is taken for lost",
            format!("there: evenkeel-host start; if it will not come back: {}", farewell(name, found)),
        );
    }
    if !host.known {
        return chart.hurts(check, "its controllers have not said what it is", "there: docker logs evenkeel");
    }
    for (network, why) in &host.networks {
        chart.hurts(
            "network",
            format!("network {network} does not stand: {why}"),
            format!("evenkeel describe network {network}"),
        );
    }
    if !host.watchdog {
        chart.hurts(
            "watchdog",
            "its watchdog does not run: no exclusive copy may be here",
            "there: evenkeel-host restart",
        );
    }
    if host.active {
        chart.fine(check, "its controllers are there, and it takes copies");
    } else {
        chart.warns(check, "it takes no copies", format!("evenkeel host undrain {name}"));
    }
}

fn backups(chart: &mut Chart, found: &Cluster, machines: &BTreeMap<HostName, Asked<Machine>>) {
    let Some(keepers) = &found.backups else { return };
    let check = "backups";
    if keepers.len() < KEEPERS {
        chart.warns(
            check,
            match keepers.len() {
                0 => "no host keeps backups of etcd",
                _ => "one host alone keeps backups of etcd",
            },
            "evenkeel host add ADDRESS, also of a host that is there: it keeps them from then on",
        );
    }
    for keeper in keepers {
        let none =
            machines.get(keeper).is_some_and(|asked| asked.as_ref().is_ok_and(|it| it.backups.is_none()));
        if none {
            let mut of_host = Chart::of_host(keeper);
            of_host.hurts(
                check,
                "it shall keep backups of etcd, and is not set up for it",
                format!("evenkeel host add ADDRESS --name {keeper}"),
            );
            chart.findings.append(&mut of_host.findings);
        }
    }
}
