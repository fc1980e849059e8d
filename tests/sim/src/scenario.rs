//! What happens in a run, all of it decided beforehand: so that a run can be repeated without some of it.

use std::fmt;
use std::time::Duration;

use crate::chance::Chance;
use crate::documents::{Image, Service};
use crate::wire::{Cut, WireFaults};

/// Something that people do, or that breaks. Hosts by their number, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A document of a service, with its check.
    Apply(Service),
    /// A document that nobody can read, in place of a service's.
    Break(Service, u64),
    /// A service's documents are removed.
    Delete(Service),
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
    /// Some value of the leaders' is replaced by garbage.
    Garbage(u64),
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
            | Act::StoreFull(time) => Some(*time),
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
            Act::StoreDown(_) | Act::StoreFull(_) | Act::Compact | Act::Elect | Act::LeasesDie => Some(0),
            _ => None,
        }
    }

    /// One word for its kind.
    pub fn kind(&self) -> String {
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
            other => write!(f, "{other:?}"),
        }
    }
}

/// An act and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Since the beginning.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// How large, how long and how rough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Hosts; `None`: 3 to 8, by the seed.
    pub hosts: Option<u8>,
    /// Copies of all services, about.
    pub copies: Option<u32>,
    /// How long it is rough.
    pub rough: Duration,
    /// Whether anything breaks at all.
    pub faults: bool,
}

impl Default for Size {
    fn default() -> Self {
        Self { hosts: None, copies: None, rough: Duration::from_secs(600), faults: true }
    }
}

/// All of a run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What chance comes from.
    pub seed: u64,
    /// How many hosts.
    pub hosts: u8,
    /// By time.
    pub steps: Vec<Step>,
    /// When the roughness ends.
    pub ends: Duration,
}

/// When the hosts have come up.
const BEGIN: u64 = 5_000;

impl Scenario {
    /// What a seed means.
    pub fn new(seed: u64, size: &Size) -> Self {
        let mut chance = Chance::new(seed, "scenario");
        let hosts = size.hosts.unwrap_or(chance.between(3, 8) as u8);
        let mut people = People::new(hosts, size, &mut chance);
        let mut steps = people.begin();
        let rough = u64::try_from(size.rough.as_millis()).unwrap_or(u64::MAX);
        // From calm to rough: a change or a fault each 2 to 40 seconds.
        let pace = chance.between(2, 40) * 1000;
        let mut at = BEGIN + chance.between(5_000, 40_000);
        while at < BEGIN + rough {
            let act = if !size.faults || chance.permille(350) {
                people.act(&mut chance)
            } else {
                Some(fault(hosts, &mut chance))
            };
            steps.extend(act.map(|act| Step { at: Duration::from_millis(at), act }));
            at += chance.between(200, pace * 2);
        }
        Self { seed, hosts, steps, ends: Duration::from_millis(BEGIN + rough) }
    }
}

/// Those who write documents.
struct People {
    hosts: u8,
    services: Vec<Service>,
    /// Those that stand now.
    standing: Vec<bool>,
    most: u32,
}

impl People {
    fn new(hosts: u8, size: &Size, chance: &mut Chance) -> Self {
        let count = size.copies.map_or(chance.between(2, 7), |copies| u64::from(copies / 10).max(2));
        let most = size.copies.map_or(u32::from(hosts) * 2, |copies| copies / count as u32 * 2);
        let services = (0..count).map(|n| {
            let (global, exclusive) = (chance.permille(120), chance.permille(300));
            let global = global && !exclusive;
            let port = chance.permille(250).then_some(8000 + n as u16);
            let most = if port.is_some() { u32::from(hosts) - 1 } else { most };
            Service {
                name: format!("s{n}"),
                replicas: (!global).then(|| chance.between(1, u64::from(most.max(1))) as u32),
                image: Image::Good,
                version: 0,
                checked: chance.permille(600),
                start_first: chance.permille(500) && !exclusive,
                port,
                volume: chance.permille(150),
                exclusive,
            }
        });
        let services: Vec<_> = services.collect();
        Self { hosts, standing: vec![true; services.len()], services, most }
    }

    fn begin(&self) -> Vec<Step> {
        let step = |(n, service): (usize, &Service)| Step {
            at: Duration::from_millis(BEGIN + 20 * n as u64),
            act: Act::Apply(service.clone()),
        };
        self.services.iter().enumerate().map(step).collect()
    }

    fn act(&mut self, chance: &mut Chance) -> Option<Act> {
        let at = chance.below(self.services.len() as u64) as usize;
        let service = self.services.get_mut(at)?;
        Some(match chance.below(100) {
            0..35 => {
                service.version += 1;
                service.image = match chance.below(10) {
                    0 => Image::Crash,
                    1 => Image::Sick,
                    2 => Image::Missing,
                    _ => Image::Good,
                };
                self.standing[at] = true;
                Act::Apply(service.clone())
            }
            35..65 => {
                if let Some(replicas) = &mut service.replicas {
                    let most = if service.port.is_some() { u32::from(self.hosts) - 1 } else { self.most };
                    *replicas = chance.between(1, u64::from(most.max(1))) as u32;
                }
                self.standing[at] = true;
                Act::Apply(service.clone())
            }
            65..75 => Act::Break(service.clone(), chance.number()),
            75..85 if self.standing[at] => {
                self.standing[at] = false;
                Act::Delete(service.clone())
            }
            _ => Act::Drain(chance.between(1, u64::from(self.hosts)) as u8, chance.ms(5_000, 60_000)),
        })
    }
}

/// Something breaks.
fn fault(hosts: u8, chance: &mut Chance) -> Act {
    let host = chance.between(1, u64::from(hosts)) as u8;
    let (short, long) = (chance.ms(100, 8_000), chance.ms(1_000, 60_000));
    match chance.below(100) {
        0..20 => Act::Crash(host, chance.between(1, 30)),
        20..26 => Act::Stop(host, long),
        26..32 => {
            let cut = if chance.permille(500) { Cut::Silent } else { Cut::Refused };
            Act::CutOff(host, cut, long)
        }
        32..46 => Act::BadWire(host, bad_wire(chance), long),
        46..50 => Act::EngineHangs(host, long),
        50..54 => Act::EngineAway(host, long),
        54..58 => Act::EngineMute(host, long),
        58..63 => Act::EngineErrors(host, chance.number()),
        63..70 => Act::ContainerEnds(host, chance.number()),
        70..74 => Act::PersonRemoves(host, chance.number()),
        74..77 => Act::Foreign(host, chance.number()),
        77..80 => Act::DiskFull(host, long),
        80..84 => Act::PowerLost(host, long),
        84..88 => {
            let off = i64::try_from(chance.between(0, 7_200_000)).unwrap_or(0) - 3_600_000;
            Act::ClockJumps(host, off)
        }
        88..91 => Act::StoreDown(short),
        91..93 => Act::StoreFull(long),
        93..95 => Act::Compact,
        95..97 => Act::Elect,
        97..99 => Act::LeasesDie,
        _ => Act::Garbage(chance.number()),
    }
}

fn bad_wire(chance: &mut Chance) -> WireFaults {
    let mut often = |most| if chance.permille(500) { chance.between(1, most) } else { 0 };
    WireFaults {
        cut: None,
        refused: often(300),
        lost_answers: often(200),
        slow_ms: often(400),
        lag_ms: often(3000),
        missed: if often(10) > 8 { 40 } else { 0 },
        replayed: often(300),
        closed: often(200),
    }
}
