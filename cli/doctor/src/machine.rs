//! Whether a machine is fit to be a host.

use evenkeel_api::name::HostName;

use crate::facts::{
    Asked, Backups, Containers, Disk, Engine, EngineSettings, Machine, MemberHere, Room, Shown, Syncs,
    TimeSync,
};
use crate::finding::{Chart, Finding, Severity};
use crate::version::numbers;

/// The first engine whose API has all that is needed.
const OLDEST_ENGINE: (u64, u64) = (20, 10);
/// How long etcd allows itself for a write to reach the disk, in microseconds.
const SYNC_SHOULD: u64 = 10_000;
/// Above that, its members take each other for dead now and then: half of their election time.
const SYNC_MUST: u64 = 250_000;
/// Containers that start again so often are looked at.
const MANY_RESTARTS: u64 = 5;
/// With less than that no image can be pulled, in bytes.
const LEAST: u64 = 1 << 29;
const DAY: u64 = 24 * 3600;
/// Certificates hold for a year. So many days before its end a new one is wanted, and at last needed.
const RENEW_DAYS: u64 = 60;
const LAST_DAYS: u64 = 14;
/// Whoever signs for all is made anew in peace.
const AUTHORITY_DAYS: u64 = 365;

/// What is found on one machine.
pub fn machine(host: &HostName, asked: &Asked<Machine>) -> Vec<Finding> {
    let mut chart = Chart::of_host(host);
    let found = match asked {
        Ok(found) => found,
        Err(why) => {
            chart.hurts("reach", format!("it cannot be looked at: {why}"), "");
            return chart.findings;
        }
    };
    engine(&mut chart, &found.engine);
    settings(&mut chart, &found.engine, &found.settings);
    forwards(&mut chart, &found.forwards);
    mtu(&mut chart, found);
    time(&mut chart, &found.time);
    found.disks.iter().for_each(|disk| room(&mut chart, disk));
    containers(&mut chart, &found.containers);
    certificates(&mut chart, found.clock / 1000, &found.certificates);
    if let Some(member) = &found.etcd {
        sync(&mut chart, member);
    }
    if let Some(backups) = &found.backups {
        self::backups(&mut chart, found.clock / 1000, backups);
    }
    chart.findings
}

fn engine(chart: &mut Chart, asked: &Asked<Engine>) {
    let engine = match asked {
        Ok(engine) => engine,
        Err(why) => {
            return chart.hurts(
                "engine",
                format!("the Docker engine does not answer: {why}"),
                "there: systemctl restart docker; it says why in `journalctl -u docker`",
            );
        }
    };
    let version = numbers(&engine.version).map(|(major, minor, _)| (major, minor));
    match version {
        Some(version) if version < OLDEST_ENGINE => chart.hurts(
            "engine",
            format!("Docker {} is too old: 20.10 or later is needed", engine.version),
            "there: install a newer engine",
        ),
        _ => chart.fine("engine", format!("Docker {}", engine.version)),
    }
    if !engine.rootful {
        chart.hurts(
            "engine",
            "Docker runs without root: networks that reach other hosts cannot be made so",
            "there: install the engine of the system (apt-get install docker.io)",
        );
    }
    if engine.live_restore {
        chart.fine("live-restore", "containers outlive an engine that restarts");
    } else {
        chart.hurts(
            "live-restore",
            "all containers stop when the engine restarts, as at its next update",
            "there: put \"live-restore\": true into /etc/docker/daemon.json, then `systemctl reload docker` (without \
             systemd: `pkill -HUP dockerd`)",
        );
    }
}

fn settings(chart: &mut Chart, engine: &Asked<Engine>, asked: &Asked<EngineSettings>) {
    let Ok(engine) = engine else { return };
    let settings = match asked {
        Ok(settings) => settings,
        Err(why) => {
            return chart.warns(
                "engine-settings",
                format!("the engine's settings cannot be read: {why}"),
                "",
            );
        }
    };
    if !settings.firewall {
        chart.hurts(
            "engine-firewall",
            "the engine makes no firewall rules (\"iptables\": false): ports are not published, and nothing is kept \
             apart",
            "there: take \"iptables\" out of /etc/docker/daemon.json, then `systemctl restart docker`",
        );
    }
    if engine.log_driver == "json-file" && !settings.log_limit {
        chart.warns(
            "logs",
            "logs of containers grow until the disk is full",
            "there: put \"log-opts\": {\"max-size\": \"10m\", \"max-file\": \"3\"} into /etc/docker/daemon.json, then \
             `systemctl restart docker`; copies made from then on keep to it",
        );
    } else {
        chart.fine("logs", format!("logs of containers are kept by {}, and end", engine.log_driver));
    }
}

fn forwards(chart: &mut Chart, asked: &Asked<bool>) {
    match asked {
        Ok(true) => chart.fine("forwarding", "packets are routed"),
        Ok(false) => chart.hurts(
            "forwarding",
            "net.ipv4.ip_forward is 0: containers here reach no other host, and none reaches them",
            "there: evenkeel-setup",
        ),
        Err(why) => chart.warns("forwarding", format!("net.ipv4.ip_forward cannot be read: {why}"), ""),
    }
}

fn mtu(chart: &mut Chart, found: &Machine) {
    let lan = match &found.lan {
        Ok(lan) => lan,
        Err(why) => return chart.warns("mtu", format!("the device on the LAN is not found: {why}"), ""),
    };
    let wide: Vec<&str> = found
        .bridges
        .iter()
        .filter(|bridge| bridge.mtu > lan.mtu)
        .map(|bridge| bridge.name.as_str())
        .collect();
    if wide.is_empty() {
        return chart.fine("mtu", format!("{} carries {} bytes, and no bridge more", lan.name, lan.mtu));
    }
    chart.warns(
        "mtu",
        format!(
            "{} carries packets of {} bytes, {} longer ones: what containers send elsewhere is slow, or lost where \
             somebody drops ICMP",
            lan.name,
            lan.mtu,
            wide.join(", ")
        ),
        format!(
            "there, with Docker 24 or later: put \"default-network-opts\": {{\"bridge\": \
             {{\"com.docker.network.driver.mtu\": \"{}\"}}}} into /etc/docker/daemon.json; then drain the host, `systemctl \
             restart docker`, `docker network rm` of each, which is made again, and undrain it",
            lan.mtu
        ),
    );
}

fn time(chart: &mut Chart, asked: &Asked<TimeSync>) {
    let install = "there: apt-get install chrony";
    match asked {
        Ok(TimeSync::Synchronized) => chart.fine("time", "its clock is in step"),
        Ok(TimeSync::Runs) => chart.fine("time", "something keeps its clock in step"),
        Ok(TimeSync::NotYet) => chart.warns(
            "time",
            "its clock is not in step with the servers that it is set by",
            "there: timedatectl timesync-status, or chronyc sources, tells which are not reached",
        ),
        Ok(TimeSync::Nothing) => chart.warns("time", "nothing keeps its clock in step", install),
        Err(why) => {
            chart.warns("time", format!("what keeps its clock in step cannot be told: {why}"), install);
        }
    }
}

fn room(chart: &mut Chart, disk: &Disk) {
    let Disk { of, path, room } = disk;
    let check = "disk";
    let room = match room {
        Ok(room) => room,
        Err(why) => return chart.warns(check, format!("{path}, of {of}: {why}"), ""),
    };
    let Room { bytes, free, files, files_free } = *room;
    let (gib, whole) = (gib(free), gib(bytes));
    let mend =
        "there: `docker system prune` takes away what nobody uses; `du -xsh /var/lib/*` shows the rest";
    let few_files = files > 0 && files_free < files / 50;
    match () {
        () if few_files || free < LEAST || free < bytes / 20 && free < 20 * LEAST => {
            let what = if few_files { format!("{files_free} more files") } else { format!("{gib} GiB") };
            chart.hurts(check, format!("{path}, of {of}, is full but for {what}"), mend);
        }
        () if free < bytes / 7 && free < 40 * LEAST => {
            chart.warns(check, format!("{path}, of {of}, has {gib} GiB of {whole} left"), mend);
        }
        () => chart.fine(check, format!("{path}, of {of}, has {gib} GiB of {whole} left")),
    }
}

fn gib(bytes: u64) -> String {
    format!("{}.{}", bytes >> 30, ((bytes & ((1 << 30) - 1)) * 10) >> 30)
}

fn containers(chart: &mut Chart, asked: &Asked<Containers>) {
    let containers = match asked {
        Ok(containers) => containers,
        // That the engine does not answer is said already.
        Err(_) => return,
    };
    for (name, mend) in &containers.wanted {
        let check = "containers";
        match containers.found.get(name) {
            None => chart.hurts(check, format!("container {name} is not there"), format!("there: {mend}")),
            Some(found) if found.state == "paused" => {
                chart.hurts(
                    check,
                    format!("container {name} is paused"),
                    format!("there: docker unpause {name}"),
                );
            }
            Some(found) if found.state != "running" => chart.hurts(
                check,
                format!("container {name} does not run: it is {}", found.state),
                format!("there: {mend}; why it ended says `docker logs {name}`"),
            ),
            Some(found) if found.restarts >= MANY_RESTARTS => chart.warns(
                check,
                format!("container {name} was started again {} times", found.restarts),
                format!("there: docker logs {name}"),
            ),
            Some(_) => chart.fine(check, format!("container {name} runs")),
        }
    }
    for name in containers.found.keys().filter(|name| !containers.wanted.contains_key(*name)) {
        let what = format!("container {name} is left over: two of the same controller fight over its state");
        chart.hurts("containers", what, "there: evenkeel-host start, which removes it");
    }
}

/// Certificates and how long they hold, from `now` on.
pub(crate) fn certificates(chart: &mut Chart, now: u64, shown: &[Shown]) {
    for Shown { path, until, mend, authority } in shown {
        let (last, renew) = if *authority { (RENEW_DAYS, AUTHORITY_DAYS) } else { (LAST_DAYS, RENEW_DAYS) };
        let check = "certificate";
        match until {
            Err(why) => chart.hurts(check, format!("{path}: {why}"), mend.clone()),
            Ok(until) if *until <= now => chart.hurts(check, format!("{path} holds no more"), mend.clone()),
            Ok(until) => {
                let days = (until - now) / DAY;
                let severity = match days {
                    days if days < last => Severity::Hurts,
                    days if days < renew => Severity::Warns,
                    _ => Severity::Fine,
                };
                let mend = if severity == Severity::Fine { String::new() } else { mend.clone() };
                chart.say(severity, check, format!("{path} holds for {days} days"), mend);
            }
        }
    }
}

fn sync(chart: &mut Chart, member: &MemberHere) {
    let check = "etcd-disk";
    let Syncs { half, most, count } = match &member.disk {
        Ok(syncs) => *syncs,
        Err(why) => return chart.warns(check, format!("how fast etcd's disk is cannot be told: {why}"), ""),
    };
    let said = format!(
        "etcd's disk keeps a write within {} ms (99 of 100; half within {} ms; {count} tried)",
        millis(most),
        millis(half)
    );
    match most {
        0..=SYNC_SHOULD => chart.fine(check, said),
        _ => chart.say(
            if most > SYNC_MUST { Severity::Hurts } else { Severity::Warns },
            check,
            format!("{said}: it wants 10 ms, and its members lose sight of each other from 250 on"),
            "there: let nothing else write to that disk, or put ETCD_DATA=FOLDER of a faster one into \
             /etc/evenkeel-etcd/local.env after `evenkeel-etcd stop` and moving the data, then `evenkeel-etcd start`",
        ),
    }
}

fn millis(micros: u64) -> String {
    format!("{}.{}", micros / 1000, micros % 1000 / 100)
}

fn backups(chart: &mut Chart, now: u64, backups: &Backups) {
    let check = "backups";
    let mend = "there: docker logs evenkeel-backup says why; then evenkeel-backup start";
    let Some(newest) = backups.newest else {
        return chart.hurts(check, "it has made no backup of etcd yet", mend);
    };
    let (age, every) = (now.saturating_sub(newest), backups.every.max(60));
    let said = format!("its newest backup of etcd is {} h {} min old", age / 3600, age % 3600 / 60);
    match age / every {
        0..=2 => chart.fine(check, said),
        late => {
            let severity = if late < 24 { Severity::Warns } else { Severity::Hurts };
            chart.say(severity, check, said, mend);
        }
    }
}
