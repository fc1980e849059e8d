//! What `evenkeel dev` leaves behind when it is told to end before it has begun, or ends without a word. The programs
//! that it asks for are scripts: an engine with nothing in it, and an etcd that never answers.

#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(30);

struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> io::Result<Self> {
        let machine = Self(tempfile::tempdir()?);
        machine.program("docker", "exit 0")?;
        let pid = machine.path("pid");
        machine.program(
            "etcd",
            &format!(
                "[ \"$1\" = --version ] && exit 0\necho $$ >{}.new\nmv {0}.new {0}\nexec sleep 1000",
                pid.display()
            ),
        )?;
        Ok(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, script: &str) -> io::Result<()> {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    }

    fn dev(&self) -> io::Result<Child> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut dev = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        dev.args(["dev", "--port", "1", "--address", "127.0.0.1", "--data"]).arg(self.path("data"));
        dev.env("PATH", format!("{}:{path}", self.0.path().display()));
        dev.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
    }
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Some(found) => return found,
            None if Instant::now() >= end => panic!("{what} did not come about"),
            None => sleep(Duration::from_millis(20)),
        }
    }
}

/// The etcd that was started.
fn etcd(pid: &Path) -> Option<Pid> {
    fs::read_to_string(pid).ok()?.trim().parse().ok().map(Pid::from_raw)
}

fn is_gone(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // What has ended waits for whoever asks how; its parent is gone.
    status.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
}

/// How `dev` ended, and the folder in which it kept its data.
fn ended_by(signal: Signal) -> io::Result<(ExitStatus, PathBuf, Machine)> {
    let machine = Machine::new()?;
    let mut dev = machine.dev()?;
    let etcd = eventually("etcd's start", || etcd(&machine.path("pid")));
    let own = Pid::from_raw(i32::try_from(dev.id()).map_err(io::Error::other)?);
    kill(own, signal)?;
    let status = eventually("the end", || dev.try_wait().ok().flatten());
    eventually(&format!("the end of etcd after {signal}"), || is_gone(etcd).then_some(()));
    Ok((status, machine.path("data"), machine))
}

#[test]
fn nothing_is_left_of_a_cluster_that_was_told_to_end_before_it_stood() -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tried: `evenkeel dev` is for root");
        return Ok(());
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (status, data, _machine) = ended_by(signal)?;
        assert!(status.success(), "{signal}: {status}");
        assert!(!data.exists(), "{signal}: {} is left", data.display());
    }
    Ok(())
}

#[test]
fn no_child_outlives_a_cluster_that_was_killed() -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tried: `evenkeel dev` is for root");
        return Ok(());
    }
    let (_status, data, _machine) = ended_by(Signal::SIGKILL)?;
    assert!(data.exists());
    Ok(())
}
