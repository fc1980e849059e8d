//! Docker's own Swarm mode on the same hosts, all of them managers; evenkeel's controllers are stopped.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::load::Load;
use evenkeel_tests::lab::{Lab, eventually, pause};

use crate::round::{Round, Watch, load};
use crate::{COPIES, IMAGE, report};

const NETWORK: &str = "bench";

/// `rounds` losses of each kind of victim.
pub fn measure(lab: &Lab, rounds: usize) {
    begin(lab);
    let named = overlay(lab);
    if !named {
        println!("# no overlay network is to be had here: names were not watched");
    }
    for kind in ["leader", "another"] {
        let all: Vec<Round> = (0..rounds).map(|_| one(lab, kind, named)).collect();
        report(kind, &all);
    }
}

/// Swarm mode and live-restore exclude each other.
fn begin(lab: &Lab) {
    for host in lab.hosts() {
        let edit = "s/\"live-restore\": true/\"live-restore\": false/";
        lab.exec(&host, &["sed", "-i", edit, "/etc/docker/daemon.json"]).ok();
        lab.run(&["engine", &host, "stop"]);
        lab.run(&["engine", &host, "start"]);
    }
    let first = "h1".to_owned();
    let address = lab.address(&first);
    lab.docker(&first, &["swarm", "init", "--advertise-addr", &address]).ok();
    let token = lab.docker(&first, &["swarm", "join-token", "-q", "manager"]).ok();
    for host in lab.hosts_but(&first) {
        lab.docker(&host, &["swarm", "join", "--token", &token, &format!("{address}:2377")]).ok();
    }
    ready(lab);
}

fn overlay(lab: &Lab) -> bool {
    let words = ["network", "create", "--driver", "overlay", NETWORK];
    if !lab.docker("h1", &words).succeeded() {
        return false;
    }
    // Somebody who asks for names on each host.
    create(lab, "asker", &["--network", NETWORK, "--mode", "global"]);
    let hosts = lab.hosts().len();
    let asked = std::panic::catch_unwind(|| running(lab, "asker", hosts, 60));
    if asked.is_err() {
        lab.docker("h1", &["service", "rm", "asker"]);
    }
    asked.is_ok()
}

fn create(lab: &Lab, name: &str, more: &[&str]) {
    let words = ["service", "create", "--detach", "--name", name, "--stop-grace-period", "1s"];
    let program = [IMAGE, "sleep", "1000000"];
    lab.docker("h1", &[&words[..], more, &program].concat()).ok();
}

/// Its containers that run, with their hosts.
fn tasks(lab: &Lab, name: &str) -> Result<Vec<(String, Container)>, String> {
    let label = format!("com.docker.swarm.service.name={name}").replace('=', "%3D");
    let mut found = Vec::new();
    for host in lab.hosts() {
        let all = lab.engine(&host).labelled(&label)?;
        found.extend(all.into_iter().filter(|task| task.running).map(|task| (host.clone(), task)));
    }
    Ok(found)
}

fn running(lab: &Lab, name: &str, count: usize, seconds: u64) -> Vec<(String, Container)> {
    eventually(seconds, &format!("{count} tasks of {name}"), || {
        let all = tasks(lab, name)?;
        if all.len() == count { Ok(all) } else { Err(format!("{} run", all.len())) }
    })
}

/// The manager's word on a node that fits, asked of whoever answers.
fn nodes(lab: &Lab) -> Result<Vec<(String, String, String)>, String> {
    let format = "{{.Hostname}} {{.Status}} {{.ManagerStatus}}";
    let said = lab
        .hosts()
        .iter()
        .map(|host| lab.docker(host, &["node", "ls", "--format", format]))
        .find(evenkeel_tests::lab::Done::succeeded)
        .ok_or("no manager answers")?;
    let line = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next().unwrap_or_default()))
    };
    Ok(said.out.lines().filter_map(line).collect())
}

fn ready(lab: &Lab) {
    eventually(120, "all nodes ready and reachable", || {
        let all = nodes(lab)?;
        let good = all.iter().filter(|(_, status, role)| status == "Ready" && role != "Unreachable").count();
        if good == lab.hosts().len() { Ok(()) } else { Err(format!("{all:?}")) }
    });
}

fn leader(lab: &Lab) -> String {
    eventually(60, "a leader", || {
        nodes(lab)?
            .into_iter()
            .find(|(_, _, role)| role == "Leader")
            .map(|(host, ..)| host)
            .ok_or("none".to_owned())
    })
}

/// A service of its own each time: tasks do not go back to a node by themselves.
fn one(lab: &Lab, kind: &str, named: bool) -> Round {
    let replicas = COPIES.to_string();
    let mut words = vec!["--replicas", &replicas];
    if named {
        words.extend(["--network", NETWORK, "--endpoint-mode", "dnsrr"]);
    }
    create(lab, "web", &words);
    let all = running(lab, "web", COPIES as usize, 120);
    // As long as evenkeel's settle, so that nothing of the start is measured.
    pause(Duration::from_secs(3));
    let leads = leader(lab);
    let victim = if kind == "leader" { leads } else { lab.hosts_but(&leads).remove(0) };
    let lost: Vec<&Container> =
        all.iter().filter(|(host, _)| *host == victim).map(|(_, task)| task).collect();
    assert!(!lost.is_empty(), "{victim} carries no task");
    let address = |task: &&Container| {
        task.raw["NetworkSettings"]["Networks"][NETWORK]["IPAddress"].as_str().unwrap_or_default().to_owned()
    };
    let names = if named { askers(lab, &victim) } else { Vec::new() };
    let round = Watch {
        lab,
        victim: &victim,
        prefix: "web.",
        lost: lost.len(),
        gone: lost.iter().map(address).collect::<BTreeSet<String>>(),
        names,
    }
    .pull();
    lab.run(&["poweron", &victim]);
    ready(lab);
    eventually(60, "the service is removed", || lab.docker("h1", &["service", "rm", "web"]).result());
    running(lab, "web", 0, 60);
    if named {
        running(lab, "asker", lab.hosts().len(), 60);
    }
    round
}

/// The names as the remaining hosts' containers see them, by the engine's own resolver.
fn askers(lab: &Lab, victim: &str) -> Vec<Load> {
    let all = tasks(lab, "asker").unwrap_or_else(|error| panic!("{error}"));
    let beside = |(host, task): &(String, Container)| {
        Load::beside(lab, &load(), host, &task.name, &["names", "127.0.0.11", "20", "web"])
    };
    all.iter().filter(|(host, _)| host != victim).map(beside).collect()
}
