//! What was found on machines and in the cluster. Whoever gathers it says also what could not be found out, and
//! why: as an `Err`, for people.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::key::Controller;
use evenkeel_api::name::{HostName, NetworkName};
use serde::{Deserialize, Serialize};

/// What could be found out, or why not.
pub type Asked<T> = Result<T, String>;

/// All of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Found {
    /// The cluster; none: nobody asked.
    pub cluster: Option<Asked<Cluster>>,
    /// The machines that were asked.
    pub machines: BTreeMap<HostName, Asked<Machine>>,
}

/// A machine that is a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The version of the program that looked.
    pub evenkeel: String,
    /// Its clock at the end of looking, since 1970 in milliseconds.
    pub clock: u64,
    /// By how many milliseconds that is ahead of the clock of who asked, at least; below zero: behind. None where
    /// nobody asked from elsewhere.
    #[serde(default)]
    pub ahead: Option<i64>,
    /// What keeps its clock right.
    pub time: Asked<TimeSync>,
    /// Its engine.
    pub engine: Asked<Engine>,
    /// How its engine was set up.
    pub settings: Asked<EngineSettings>,
    /// Whether it routes packets.
    pub forwards: Asked<bool>,
    /// The device on the LAN.
    pub lan: Asked<Device>,
    /// The bridges of our networks.
    pub bridges: Vec<Device>,
    /// Where there must be room.
    pub disks: Vec<Disk>,
    /// The containers that must run there, and those of ours that are there beside them.
    pub containers: Asked<Containers>,
    /// The certificates that it shows.
    pub certificates: Vec<Shown>,
    /// Its member of etcd.
    pub etcd: Option<MemberHere>,
    /// The backups that it keeps.
    pub backups: Option<Backups>,
}

/// What keeps a clock right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeSync {
    /// It is in step.
    Synchronized,
    /// Something runs that shall bring it in step, and the clock is not, or nobody tells.
    Runs,
    /// Something runs, and says that the clock is not in step.
    NotYet,
    /// Nothing.
    Nothing,
}

/// An engine that answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Its version.
    pub version: String,
    /// Containers outlive it.
    pub live_restore: bool,
    /// Where logs go unless a service says otherwise.
    pub log_driver: String,
    /// It runs as root.
    pub rootful: bool,
}

/// What stands in the engine's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineSettings {
    /// A log file ends at some size.
    pub log_limit: bool,
    /// It makes firewall rules.
    pub firewall: bool,
}

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// The longest packet that it carries, in bytes.
    pub mtu: u32,
}

/// A file system that must have room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What needs it, as people say it: `the engine`.
    pub of: String,
    /// A folder on it.
    pub path: String,
    /// Its size, and what is free of it.
    pub room: Asked<Room>,
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Bytes.
    pub bytes: u64,
    /// Bytes that are free.
    pub free: u64,
    /// Files that there may be; 0: it has no such limit.
    pub files: u64,
    /// Files that may still be made.
    pub files_free: u64,
}

/// Containers of the host bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// What must run, with the command that brings it about.
    pub wanted: BTreeMap<String, String>,
    /// What is there.
    pub found: BTreeMap<String, Container>,
}

/// One of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// In the engine's word: `running`, `exited`, …
    pub state: String,
    /// How often the engine started it again.
    pub restarts: u64,
}

/// A certificate in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The file.
    pub path: String,
    /// Until when it holds, in seconds since 1970.
    pub until: Asked<u64>,
    /// What makes a new one.
    pub mend: String,
    /// It signs all others, whose holders must get new ones with it: that takes its time.
    #[serde(default)]
    pub authority: bool,
}

/// A member of etcd on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHere {
    /// How much it may hold, in bytes.
    pub quota: Option<u64>,
    /// How fast its disk keeps what is written.
    pub disk: Asked<Syncs>,
}

/// How long a small write took until the disk had it, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Syncs {
    /// How many were tried.
    pub count: u64,
    /// Half of them took no longer.
    pub half: u64,
    /// 99 of 100 took no longer.
    pub most: u64,
}

/// The backups on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backups {
    /// When the newest was made, in seconds since 1970; none: there is none.
    pub newest: Option<u64>,
    /// How often one is to be made, in seconds.
    pub every: u64,
}

/// The cluster, as etcd tells of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cluster {
    /// Time there, in seconds since 1970: of the machine that asked.
    pub now: u64,
    /// It is asked by https.
    pub tls: bool,
    /// Whoever reaches it may do all; none: it cannot be told from here.
    pub open: Option<bool>,
    /// Its members, by name.
    pub members: BTreeMap<String, Member>,
    /// Alarms that are raised.
    pub alarms: BTreeSet<String>,
    /// There are exclusive services, whose copies must be alone.
    pub exclusive: bool,
    /// Somebody saw that etcd went back.
    pub halted: Option<String>,
    /// Controllers of whose kind none leads.
    pub leaderless: Vec<Controller>,
    /// Hosts that are accepted, or that are there.
    pub hosts: BTreeMap<HostName, Host>,
    /// The hosts that keep backups, where that is known here.
    pub backups: Option<BTreeSet<HostName>>,
    /// The certificates of who asks.
    pub certificates: Vec<Shown>,
}

/// A member of etcd.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The host that carries it, where that is known.
    pub host: Option<HostName>,
    /// It does not vote yet.
    pub learns: bool,
    /// What it says of itself.
    pub answer: Option<Asked<Answer>>,
}

/// What a member of etcd says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Its version.
    pub version: String,
    /// Which member leads, by number; 0: none.
    pub leader: u64,
    /// The size of its file.
    pub size: u64,
    /// What of it is in use.
    pub used: u64,
    /// How much it may hold, where it tells.
    pub quota: Option<u64>,
}

/// A host, as the store knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its lease is kept.
    pub alive: bool,
    /// It has said what it is.
    pub known: bool,
    /// The version of its controllers.
    pub evenkeel: String,
    /// Its watchdog runs.
    pub watchdog: bool,
    /// It takes copies.
    pub active: bool,
    /// Networks that do not stand there, and why.
    pub networks: BTreeMap<NetworkName, String>,
}
