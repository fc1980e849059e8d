//! What happens in a run, all of it decided beforehand: so that a run can be repeated without some of it.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use evenkeel_manager::recover::Way;

use crate::act::{Act, Back, Word};
use crate::chance::Chance;
use crate::documents::{Image, Service};
use crate::wire::{Cut, Thaw, WireFaults};

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

impl Display for Scenario {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {} hosts; {} steps:", self.seed, self.hosts, self.steps.len())?;
        self.steps.iter().try_for_each(|step| write!(f, "\n{:>10.3} {}", step.at.as_secs_f64(), step.act))
    }
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
            if matches!(act, Some(Act::GoesBack(..))) {
                // Somebody saved a snapshot not long before.
                let saved = at.saturating_sub(chance.between(200, 30_000)).max(BEGIN);
                steps.push(Step { at: Duration::from_millis(saved), act: Act::Snapshot });
            }
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
    /// What they once ran.
    before: Vec<(usize, Image, u32)>,
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
                restarts: chance.permille(500),
                goes_back: chance.permille(500),
                start_first: chance.permille(500) && !exclusive,
                port,
                volume: chance.permille(150),
                exclusive,
            }
        });
        let services: Vec<_> = services.collect();
        Self { hosts, standing: vec![true; services.len()], services, most, before: Vec::new() }
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
            // The same text as some time ago: the same template, and rejected if that is.
            0..6 => {
                let own: Vec<_> = self.before.iter().filter(|(of, ..)| *of == at).collect();
                let (_, image, version) = chance.pick(&own)?;
                self.standing[at] = true;
                Act::Apply(Service { image: *image, version: *version, ..service.clone() })
            }
            6..33 => {
                self.before.push((at, service.image, service.version));
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
            33..55 => {
                if let Some(replicas) = &mut service.replicas {
                    let most = if service.port.is_some() { u32::from(self.hosts) - 1 } else { self.most };
                    *replicas = chance.between(1, u64::from(most.max(1))) as u32;
                }
                self.standing[at] = true;
                Act::Apply(service.clone())
            }
            55..70 => {
                let words = [Word::Pause, Word::Resume, Word::Undo, Word::Back, Word::Retry, Word::Unpin];
                let (word, pick) = (*chance.pick(&words)?, chance.number());
                // A stream of its own: all else is as it was for the seeds that are kept.
                let restarts = Chance::new(pick, "restart").permille(200);
                Act::Say(service.clone(), if restarts { Word::Restart } else { word }, pick)
            }
            70..78 => Act::Break(service.clone(), chance.number()),
            78..86 if self.standing[at] => {
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
    match chance.below(1000) {
        0..180 => Act::Crash(host, chance.between(1, 30)),
        180..230 => Act::Stop(host, long),
        230..280 => {
            let cut = if chance.permille(500) { Cut::Silent } else { Cut::Refused };
            Act::CutOff(host, cut, long)
        }
        280..400 => Act::BadWire(host, bad_wire(chance), long),
        400..440 => Act::EngineHangs(host, long),
        440..480 => Act::EngineAway(host, long),
        480..520 => Act::EngineMute(host, long),
        520..570 => Act::EngineErrors(host, chance.number()),
        570..620 => Act::ContainerEnds(host, chance.number()),
        620..660 => Act::Sickens(host, chance.number()),
        660..690 => Act::PersonRemoves(host, chance.number()),
        690..710 => Act::Foreign(host, chance.number()),
        710..740 => Act::DiskFull(host, long),
        740..780 => Act::PowerLost(host, long),
        780..810 => {
            let off = i64::try_from(chance.between(0, 7_200_000)).unwrap_or(0) - 3_600_000;
            Act::ClockJumps(host, off)
        }
        810..835 => Act::StoreDown(short),
        835..850 => Act::StoreFull(long),
        850..870 => Act::Compact,
        870..885 => Act::Elect,
        885..900 => Act::LeasesDie,
        900..920 => Act::MemberLost(chance.below(3) as usize, long),
        920..940 => Act::MemberLags(chance.below(3) as usize, chance.between(50, 3000), long),
        940..960 => {
            let thaw = if chance.permille(300) { Thaw::EndsLeases } else { Thaw::Follows };
            Act::LeaderFreezes(thaw, short)
        }
        960..980 => Act::Snapshot,
        980..988 => goes_back(chance),
        _ => Act::Garbage(chance.number()),
    }
}

fn goes_back(chance: &mut Chance) -> Act {
    let to = match chance.below(5) {
        0 => Back::Wiped,
        1 => Back::Bumped,
        2 => Back::Overtaken,
        _ => Back::Restored,
    };
    let way = if chance.permille(500) { Way::FromHosts } else { Way::AcceptEtcd };
    Act::GoesBack(to, way, chance.ms(5_000, 90_000))
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
