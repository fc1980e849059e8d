//! Why hosts cannot take a copy, counted, and the words for it: the same in a status, a plan and an explanation.

use std::collections::BTreeMap;

use evenkeel_api::name::{NetworkName, ObjectName};
use evenkeel_api::service::{Protocol, ServiceSpec};

/// Why a host cannot take a copy, in the order of the filters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It takes no new copies.
    Paused,
    /// Its copies move elsewhere.
    Drained,
    /// It is gone.
    Absent,
    /// It has not said what it is.
    NoFacts,
    /// The copy is exclusive, and nobody would guard it there.
    NoWatchdog,
    /// It is another platform.
    Platform(String),
    /// There is no such network.
    NoNetwork(NetworkName),
    /// The network does not stand there.
    NetworkNotReady(NetworkName),
    /// A constraint does not hold.
    Constraint(String),
    /// A published range picks no address of the host.
    NoAddress,
    /// A port is taken.
    Port(u16, Protocol),
    /// The slot's volume, or one that it shares, is elsewhere.
    Volume(ObjectName),
    /// The host's part of the network is used up.
    Addresses(NetworkName),
    /// Too few CPUs are free.
    Cpus,
    /// Too little memory is free.
    Memory,
    /// It has as many copies as one host may.
    MaxPerHost,
}

/// Who refused a copy, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// By reason.
    pub counts: BTreeMap<Refusal, u32>,
}

impl Refusals {
    pub(crate) fn add(&mut self, refusal: Refusal) {
        *self.counts.entry(refusal).or_default() += 1;
    }

    /// In words, with how many hosts could: `1 of 3 hosts fits: 2 lack memory`. `spec`: what was asked for.
    pub fn say(&self, fit: usize, spec: &ServiceSpec) -> String {
        let refused: u32 = self.counts.values().sum();
        let all = fit + refused as usize;
        if all == 0 {
            return "there are no hosts".to_owned();
        }
        // A Network that is not there is the same for all of them.
        let missing = self.counts.keys().find(|refusal| matches!(refusal, Refusal::NoNetwork(_)));
        if let Some(Refusal::NoNetwork(name)) = missing.filter(|_| fit == 0) {
            return format!("there is no Network named {name}");
        }
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let reasons: Vec<String> = counts.into_iter().map(|(why, count)| why.say(*count, spec)).collect();
        let head = match (fit, all) {
            (0, 1) => "the only host does not fit".to_owned(),
            (0, all) => format!("none of {all} hosts fits"),
            (1, all) => format!("1 of {all} hosts fits"),
            (fit, all) => format!("{fit} of {all} hosts fit"),
        };
        if reasons.is_empty() { head } else { format!("{head}: {}", reasons.join(", ")) }
    }
}

impl Refusal {
    /// In words, of so many hosts.
    pub(crate) fn say(&self, count: u32, spec: &ServiceSpec) -> String {
        let wanted = &spec.deploy.reservations;
        let (lacks, does) = if count == 1 { ("lacks", "does") } else { ("lack", "do") };
        match self {
            Refusal::Paused => format!("{count} paused"),
            Refusal::Drained => format!("{count} drained"),
            Refusal::Absent => format!("{count} gone"),
            Refusal::NoFacts => format!("{count} not registered yet"),
            Refusal::NoWatchdog => format!("{count} without a watchdog"),
            Refusal::Platform(wanted) => format!("{count} not {wanted}"),
            Refusal::NoNetwork(name) => format!("{count} without a Network named {name}"),
            Refusal::NetworkNotReady(name) => format!("{count} where network {name} does not stand"),
            Refusal::Constraint(text) => format!("{count} {does} not match {text}"),
            Refusal::NoAddress => format!("{count} {lacks} an address in host_ip"),
            Refusal::Port(port, Protocol::Tcp) => format!("{count} with port {port} taken"),
            Refusal::Port(port, Protocol::Udp) => format!("{count} with port {port}/udp taken"),
            Refusal::Volume(name) => format!("{count} without its volume {name}"),
            Refusal::Addresses(name) => format!("{count} with all addresses of {name} used"),
            Refusal::Cpus => {
                let cpus = wanted.cpus.map(|cpus| format!(" ({cpus} are reserved)")).unwrap_or_default();
                format!("{count} {lacks} CPUs{cpus}")
            }
            Refusal::Memory => {
                let memory =
                    wanted.memory.map(|memory| format!(" ({memory} is reserved)")).unwrap_or_default();
                format!("{count} {lacks} memory{memory}")
            }
            Refusal::MaxPerHost => format!("{count} with as many copies as max_replicas_per_node lets"),
        }
    }
}
