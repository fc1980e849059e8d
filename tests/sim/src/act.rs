//! Everything that happens in a run, in words.

use std::fmt;
use std::time::Duration;

use evenkeel_manager::recover::Way;

use crate::documents::Service;
use crate::wire::{Cut, Thaw, WireFaults};

/// Something that people do, or that breaks. Hosts by their number, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A document of a service, with its check.
    Apply(Service),
    /// A document that nobody can read, in place of a service's.
    Break(Service, u64),
    /// A service's documents are removed.
    Delete(Service),
    /// A person says something about the rollout of a service.
    Say(Service, Word, u64),
    /// A host's document says that it is drained, for so long.
    Drain(u8, Duration),
    /// The controllers of a host are killed so many points (calls that change something) later.
    Crash(u8, u64),
    /// They get no turn for so long.
    Stop(u8, Duration),
    /// A host does not reach the store for so long.
    CutOff(u8, Cut, Duration),
    /// The way to the store is bad for so long.
    BadWire(u8, WireFaults, Duration),
    /// The engine takes calls and never answers, for so long.
    EngineHangs(u8, Duration),
    /// The engine is away for so long; containers run on.
    EngineAway(u8, Duration),
    /// The engine tells no events for so long.
    EngineMute(u8, Duration),
    /// Some calls of the engine fail; half of them are done all the same.
    EngineErrors(u8, u64),
    /// Some container ends by itself.
    ContainerEnds(u8, u64),
    /// Some copy answers no check any more until it is restarted.
    Sickens(u8, u64),
    /// A person removes some container.
    PersonRemoves(u8, u64),
    /// A person makes a container of their own.
    Foreign(u8, u64),
    /// The disk takes no writes for so long.
    DiskFull(u8, Duration),
    /// The host has no power for so long.
    PowerLost(u8, Duration),
    /// Its wall clock is set so many milliseconds off.
    ClockJumps(u8, i64),
    /// No member answers for so long.
    StoreDown(Duration),
    /// The store takes no more writes for so long.
    StoreFull(Duration),
    /// Its history is forgotten.
    Compact,
    /// Another member leads.
    Elect,
    /// A stalled leader ends all leases.
    LeasesDie,
    /// A member is gone for so long; who was on it goes to another.
    MemberLost(usize, Duration),
    /// A member applies all that much later (in milliseconds), for so long.
    MemberLags(usize, u64, Duration),
    /// The leader stands still for so long; another one is elected meanwhile.
    LeaderFreezes(Thaw, Duration),
    /// Somebody saves a snapshot of the store.
    Snapshot,
    /// The store goes back; so long a person takes to decide which way out.
    GoesBack(Back, Way, Duration),
    /// Some value of the leaders' is replaced by garbage.
    Garbage(u64),
}

/// What people say about a rollout, as the commands do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `rollout pause`
    Pause,
    /// `rollout resume`
    Resume,
    /// `rollout undo`
    Undo,
    /// `rollout rollback --to` some template
    Back,
    /// `rollout retry`
    Retry,
    /// `rollout unpin`
    Unpin,
    /// `restart`
    Restart,
}

/// What the store goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// The newest snapshot.
    Restored,
    /// That, with its revision raised.
    Bumped,
    /// That, and before a controller is back, people have written more than was lost.
    Overtaken,
    /// Nothing.
    Wiped,
}

impl Act {
    /// How long it lasts.
    pub fn lasts(&self) -> Option<Duration> {
        match self {
            Act::Drain(_, time)
            | Act::Stop(_, time)
            | Act::CutOff(_, _, time)
            | Act::BadWire(_, _, time)
            | Act::EngineHangs(_, time)
            | Act::EngineAway(_, time)
            | Act::EngineMute(_, time)
            | Act::DiskFull(_, time)
            | Act::PowerLost(_, time)
            | Act::StoreDown(time)
            | Act::StoreFull(time)
            | Act::MemberLost(_, time)
            | Act::MemberLags(_, _, time)
            | Act::LeaderFreezes(_, time) => Some(*time),
            _ => None,
        }
    }

    /// Whom it troubles: a host, or 0 for all; `None`: nobody's work.
    pub fn troubles(&self) -> Option<u8> {
        match self {
            Act::Crash(host, _)
            | Act::Stop(host, _)
            | Act::CutOff(host, ..)
            | Act::BadWire(host, ..)
            | Act::EngineHangs(host, _)
            | Act::EngineAway(host, _)
            | Act::EngineMute(host, _)
            | Act::EngineErrors(host, _)
            | Act::DiskFull(host, _)
            | Act::PowerLost(host, _) => Some(*host),
            Act::StoreDown(_)
            | Act::StoreFull(_)
            | Act::Compact
            | Act::Elect
            | Act::LeasesDie
            | Act::MemberLost(..)
            | Act::MemberLags(..)
            | Act::LeaderFreezes(..)
            | Act::GoesBack(..) => Some(0),
            _ => None,
        }
    }

    /// One word for its kind.
    pub fn kind(&self) -> String {
        if let Act::GoesBack(to, way, _) = self {
            return format!("GoesBack/{to:?}/{way:?}");
        }
        let text = format!("{self:?}");
        text.split(['(', ' ']).next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Apply(service) => write!(
                f,
                "apply {} {:?} x {}",
                service.name,
                service.replicas,
                service.image.reference(service.version)
            ),
            Act::Break(service, _) => write!(f, "break the document of {}", service.name),
            Act::Delete(service) => write!(f, "delete {}", service.name),
            Act::Say(service, word, _) => write!(f, "{word:?} the rollout of {}", service.name),
            other => write!(f, "{other:?}"),
        }
    }
}
