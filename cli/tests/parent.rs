//! The parent process under kill -9 of its worker: no query is lost, no orphan stays, signals pass on.
//!
//! This binary plays all roles: the parent runs its own program again as the worker, so it must not be
//! run by a test harness of many threads.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

#[path = "../src/parent/mod.rs"]
mod parent;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddrV4, UdpSocket};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use evenkeel_names::forward::Forwarder;
use evenkeel_names::server::Server;
use evenkeel_plan::dns::{Here, World, zone};
use rustix::process::{Pid, Signal, kill_process};

const ADDRESS: &str = "EVENKEEL_TEST_ADDRESS";
/// What the worker exits with when it is asked to end.
const GOODBYE: u8 = 7;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        // What test runners ask first.
        _ if args.iter().any(|arg| arg == "--list") => {
            if !args.iter().any(|arg| arg == "--ignored") {
                println!("parent: test");
            }
            ExitCode::SUCCESS
        }
        Some("controller") => worker(),
        Some("as-parent") => {
            // As PID 1 has it: orphans become its children.
            nix::sys::prctl::set_child_subreaper(true).unwrap();
            parent::run(["--worker"].into_iter(), &["dns".into()])
        }
        _ => {
            no_query_is_lost();
            println!("test parent ... ok");
            ExitCode::SUCCESS
        }
    }
}

/// Serves one host's name, until it is asked to end.
fn worker() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    assert_eq!(args, ["controller", "--worker", "dns"]);
    // Leaves an orphan.
    Command::new("sh").args(["-c", "sleep 0.2 &"]).status().unwrap();
    let sockets = parent::sockets().unwrap();
    let address: SocketAddrV4 = std::env::var(ADDRESS).unwrap().parse().unwrap();
    let mut world = World::default();
    let lan = r#"{"ipam":{"config":[{"subnet":"10.88.0.0/16"}]}}"#;
    world.networks.insert("lan".parse().unwrap(), serde_json::from_str(lan).unwrap());
    world.hosts.insert("h1".parse().unwrap(), "10.0.0.11".parse().unwrap());
    let here = Here { host: "h1".parse().unwrap(), instances: None, health: None, networks: None };
    let server = Server::new(zone(&world, &here, &BTreeSet::new()), Forwarder::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _serving = server.serve(sockets.get(address).unwrap(), 1).unwrap();
        sockets.keep(&[address].into()).unwrap();
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        term.recv().await;
    });
    ExitCode::from(GOODBYE)
}

/// The processes below `pid`, with their states.
fn children(pid: u32) -> BTreeMap<u32, char> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(child) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let mut words = rest.split(' ');
        let (state, parent) = (words.next().unwrap(), words.next().unwrap());
        if parent == pid.to_string() {
            found.insert(child, state.chars().next().unwrap());
        }
    }
    found
}

/// The worker: the child that is neither a zombie nor an orphan's `sleep`.
fn worker_of(parent: u32) -> Option<u32> {
    let runs = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("--worker")
    };
    children(parent).into_keys().find(runs)
}

fn query(id: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in ["h1", "node", "internal", ""] {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 1, 0, 1]);
    query
}

/// Whatever came back: when, and what for.
fn collect(socket: &UdpSocket, replies: &mut BTreeMap<u16, Instant>) {
    let mut buffer = [0; 512];
    while let Ok(len) = socket.recv(&mut buffer) {
        assert!(buffer[..len].ends_with(&[10, 0, 0, 11]), "{:?}", &buffer[..len]);
        replies.insert(u16::from_be_bytes([buffer[0], buffer[1]]), Instant::now());
    }
}

fn start(address: SocketAddrV4) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program).arg("as-parent").env(ADDRESS, address.to_string()).spawn().unwrap()
}

/// Leaves no process behind, however the test ends.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn no_query_is_lost() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let std::net::SocketAddr::V4(address) = free else { unreachable!() };
    let mut parent = Guard(start(address));
    let parent = &mut parent.0;
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(3))).unwrap();
    // The first answer says that the worker has its sockets.
    let (mut sent, mut replies) = (BTreeMap::new(), BTreeMap::new());
    let began = Instant::now();
    while replies.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "the worker does not start");
        let _ = client.send(&query(0));
        collect(&client, &mut replies);
    }
    let (mut id, mut kills) = (1u16, 0);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        for _ in 0..3 {
            client.send(&query(id)).unwrap();
            sent.insert(id, Instant::now());
            id += 1;
        }
        collect(&client, &mut replies);
        if began.elapsed() > Duration::from_millis(400) * (kills + 1) {
            if let Some(pid) = worker_of(parent.id()) {
                kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
            }
            kills += 1;
        }
    }
    let late = Instant::now();
    while replies.len() <= sent.len() && late.elapsed() < Duration::from_secs(10) {
        collect(&client, &mut replies);
    }
    let lost: Vec<_> = sent.keys().filter(|id| !replies.contains_key(id)).collect();
    let worst = sent.iter().filter_map(|(id, at)| replies.get(id).map(|back| back.duration_since(*at))).max();
    println!("{kills} kills, {} queries, {} lost, worst {worst:?}", sent.len(), lost.len());
    assert!(kills >= 5 && sent.len() > 500 && lost.is_empty(), "lost {lost:?}");

    std::thread::sleep(Duration::from_millis(500));
    let left = children(parent.id());
    assert_eq!(left.len(), 1, "only the worker is left, no orphan and no zombie: {left:?}");

    kill_process(Pid::from_child(parent), Signal::TERM).unwrap();
    let asked = Instant::now();
    let status = loop {
        match parent.try_wait().unwrap() {
            Some(status) => break status,
            None => assert!(asked.elapsed() < Duration::from_secs(10), "the parent does not end"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(i32::from(GOODBYE)));
    assert!(std::net::TcpListener::bind(address).is_ok(), "the sockets went with the parent");
}
