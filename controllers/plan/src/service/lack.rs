//! What is in the way of a copy, in one of a few words: for programs, which count by it.

use std::fmt;

use super::refusals::{Refusal, Refusals};

/// What is lacking most where no host takes a copy: for programs, which count by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// Another service must come first.
    Dependency,
    /// Hosts that are there and take copies.
    Hosts,
    /// What exclusive copies rely on.
    Exclusive,
    /// A host that the document means.
    Constraint,
    /// A network.
    Network,
    /// An address.
    Address,
    /// A port.
    Port,
    /// The volume: it is elsewhere.
    Volume,
    /// CPUs.
    Cpus,
    /// Memory.
    Memory,
    /// Leave to have more copies on one host.
    MaxPerHost,
}

impl Lack {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Lack::Dependency => "dependency",
            Lack::Hosts => "hosts",
            Lack::Exclusive => "exclusive",
            Lack::Constraint => "constraint",
            Lack::Network => "network",
            Lack::Address => "address",
            Lack::Port => "port",
            Lack::Volume => "volume",
            Lack::Cpus => "cpus",
            Lack::Memory => "memory",
            Lack::MaxPerHost => "max_per_host",
        }
    }
}

impl Refusal {
    /// The same in one of a few words.
    pub(crate) fn lack(&self) -> Lack {
        match self {
            Refusal::Paused | Refusal::Drained | Refusal::Absent | Refusal::NoFacts => Lack::Hosts,
            Refusal::NoWatchdog => Lack::Exclusive,
            Refusal::Platform(_) | Refusal::Constraint(_) => Lack::Constraint,
            Refusal::NoNetwork(_) | Refusal::NetworkNotReady(_) => Lack::Network,
            Refusal::NoAddress | Refusal::Addresses(_) => Lack::Address,
            Refusal::Port(..) => Lack::Port,
            Refusal::Volume(_) => Lack::Volume,
            Refusal::Cpus => Lack::Cpus,
            Refusal::Memory => Lack::Memory,
            Refusal::MaxPerHost => Lack::MaxPerHost,
        }
    }
}

impl Refusals {
    /// What the most hosts lack; of several, what the later filter asks for: who fails there has all the rest.
    pub(crate) fn lack(&self) -> Lack {
        let most = self.counts.iter().max_by_key(|(_, count)| **count);
        most.map_or(Lack::Hosts, |(refusal, _)| refusal.lack())
    }
}

/// Why a slot has no copy: in one word, and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unplaced {
    /// What is lacking.
    pub lack: Lack,
    /// In words.
    pub why: String,
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
