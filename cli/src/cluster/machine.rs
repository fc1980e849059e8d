//! The machine that becomes a host: what it is called, where it is, and what is put on it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use evenkeel_api::name::HostName;
use evenkeel_cluster::Ticket;
use evenkeel_cluster::layout::{self, File};

use crate::failure::Failure;
use crate::output::say;

/// Where programs of the bundle are.
const SBIN: &str = "/usr/local/sbin";

/// # Errors
/// It is not done as root.
pub fn need_root(what: &str) -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new(format!("{what} changes this machine: do it as root, as by `sudo {what}`")))
}

/// What this machine is called, as a host.
///
/// # Errors
/// Its name cannot be a host's.
pub fn name() -> Result<HostName, Failure> {
    let name = nix::unistd::gethostname().map_err(Failure::new)?;
    let name = name.to_string_lossy();
    let short = name.split('.').next().unwrap_or_default().to_lowercase();
    short.parse().map_err(|error| {
        Failure::new(format!("this machine is called '{name}', which cannot be a host's name: {error}; say another one with --name"))
    })
}

/// Its address on the LAN: the one from which packets to anywhere else go.
///
/// # Errors
/// It has none.
pub fn address() -> Result<Ipv4Addr, Failure> {
    let found = || -> std::io::Result<SocketAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Nothing is sent: it asks the kernel for the route. TEST-NET-1, which is nowhere.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    match found() {
        Ok(SocketAddr::V4(address)) if !address.ip().is_loopback() && !address.ip().is_unspecified() => {
            Ok(*address.ip())
        }
        _ => Err(Failure::new(
            "this machine's address on the LAN cannot be told, as it has no default route: say it with --address",
        )),
    }
}

/// Makes this machine the host that a ticket names: files, engine, etcd if it carries it. The controllers are
/// not started yet.
///
/// # Errors
/// A file cannot be written, or a step fails.
pub fn prepare(ticket: &Ticket) -> Result<(), Failure> {
    for file in &layout::files(ticket) {
        write(file)?;
    }
    equip()?;
    if let Some(member) = &ticket.etcd {
        if let Some(file) = &member.restore {
            run("evenkeel-etcd", &["restore", file])?;
        }
        run("evenkeel-etcd", &["start"])?;
    }
    if ticket.backup.is_some() {
        run("evenkeel-backup", &["start"])?;
    }
    Ok(())
}

/// Puts on this machine what is the same on all hosts: programs, policy, engine.
///
/// # Errors
/// A file cannot be written, or a step fails.
pub fn equip() -> Result<(), Failure> {
    for file in &layout::bundle() {
        write(file)?;
    }
    let policy = layout::policy();
    if !Path::new(&policy.path).exists() {
        write(&policy)?;
    }
    fs::create_dir_all("/var/lib/evenkeel")?;
    install_self()?;
    run("evenkeel-setup", &[])
}

/// Starts the controllers of the host that a ticket names, and keeps what they were told.
///
/// # Errors
/// They do not start.
pub fn start(ticket: &Ticket) -> Result<(), Failure> {
    run("evenkeel-host", &["start"])?;
    super::replace(Path::new(layout::STARTED_WITH), 0o644, &layout::cluster_env(ticket))
}

fn run(program: &str, args: &[&str]) -> Result<(), Failure> {
    let path = format!("{SBIN}/{program}");
    // Its words go where ours go, but never into what a program reads of us.
    let status = Command::new(&path).args(args).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(Failure::new(format!("{program} {}: {status}; what it says stands above", args.join(" "))))
        }
        Err(error) => Err(Failure::new(format!("{path}: {error}"))),
    }
}

/// This very program, for whoever works on the host.
fn install_self() -> Result<(), Failure> {
    let (to, me) = (Path::new("/usr/local/bin/evenkeel"), std::env::current_exe()?);
    if to.exists() && fs::canonicalize(to)? == fs::canonicalize(&me)? {
        return Ok(());
    }
    let new = to.with_extension("new");
    fs::copy(&me, &new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(&new, to)?;
    say!("installed {}", to.display());
    Ok(())
}

fn write(file: &File) -> Result<(), Failure> {
    let path = Path::new(&file.path);
    let told = |error| Failure::new(format!("{}: {error}", file.path));
    if fs::read_to_string(path).is_ok_and(|text| text == file.text) {
        return fs::set_permissions(path, fs::Permissions::from_mode(file.mode)).map_err(told);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(told)?;
    }
    super::replace(path, file.mode, &file.text)
}
