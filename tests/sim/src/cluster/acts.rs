//! What an act does to the cluster.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_api::key::{Key, prefix};
use evenkeel_engine::EngineError;
use evenkeel_engine::fake::Op;
use evenkeel_plan::instance::container::{ContainerState, label};

use super::Cluster;
use crate::act::Act;
use crate::chance::Chance;
use crate::documents::{Image, LAST, broken};
use crate::wire::{Thaw, WireFaults};

/// How long an election takes that goes with something that takes `time`.
fn election(time: Duration) -> Duration {
    Duration::from_millis(1000 + u64::try_from(time.as_millis() % 1500).unwrap_or_default())
}

impl Cluster {
    /// An act begins, or is over at once.
    pub fn begin(&mut self, act: &Act) {
        self.timeline.say("act", &act.to_string());
        if let Some(host) = act.troubles() {
            self.troubles(host, act.lasts().is_some());
        }
        match act {
            Act::Apply(service) => self.apply(service),
            Act::Break(service, how) => {
                self.wishes.push(vec![(service.key(), Some(broken(service, *how).into_bytes()))]);
            }
            Act::Delete(service) => self.delete(&service.id()),
            Act::Say(service, word, pick) => self.say(&service.id(), *word, *pick),
            Act::Drain(host, _) => self.availability(*host, "drain"),
            Act::Crash(host, points) => self.host(*host).fuse.store(*points, Ordering::Relaxed),
            Act::Stop(host, _) => self.host(*host).stopped.set(true),
            Act::CutOff(host, cut, _) => self.host(*host).wire.set(|faults| faults.cut = Some(*cut)),
            Act::BadWire(host, bad, _) => {
                self.host(*host).wire.set(|faults| *faults = WireFaults { cut: faults.cut, ..*bad });
            }
            Act::EngineHangs(host, _) => self.host(*host).engine.set_hung(true),
            Act::EngineAway(host, _) => self.host(*host).engine.set_away(true),
            Act::EngineMute(host, _) => self.host(*host).engine.lose_events(true),
            Act::EngineErrors(host, seed) => self.engine_errors(*host, *seed),
            Act::ContainerEnds(host, pick) => {
                if let Some(id) = self.pick(*host, *pick, true) {
                    self.host(*host).engine.crash(&id, 1, pick % 3 == 0);
                }
            }
            Act::Sickens(host, pick) => self.sicken(*host, *pick),
            Act::PersonRemoves(host, pick) => {
                if let Some(id) = self.pick(*host, *pick, false) {
                    self.host(*host).engine.person_removes(&id);
                }
            }
            Act::Foreign(host, pick) => self.foreign(*host, *pick),
            Act::DiskFull(host, _) => self.host(*host).set_disk_full(true),
            Act::PowerLost(host, _) => self.host(*host).power_off(),
            Act::ClockJumps(host, ms) => self.host(*host).wall.set_off(*ms),
            Act::StoreDown(_) => self.store.set_down(true),
            Act::StoreFull(_) => self.store.set_full(true),
            Act::Compact => self.store.compact(self.store.revision()),
            Act::Elect => self.store.elect(),
            Act::LeasesDie => self.store.kill_all_leases(),
            Act::MemberLost(member, time) => {
                let election = election(*time);
                if self.members.lose(*member, election) {
                    self.elect_after(election);
                }
            }
            Act::MemberLags(member, ms, _) => self.members.set_lag(*member, Duration::from_millis(*ms)),
            Act::LeaderFreezes(_, time) => {
                let election = election(*time);
                if self.members.freeze_leader(election).is_some() {
                    self.elect_after(election);
                }
            }
            Act::Snapshot => self.save_snapshot(),
            Act::GoesBack(to, way, decides) => self.go_back(*to, *way, *decides),
            Act::Garbage(pick) => self.garbage(*pick),
        }
    }

    /// An act that lasted is over.
    pub fn end(&mut self, act: &Act) {
        self.timeline.say("act", &format!("over: {act}"));
        if let Some(host) = act.troubles() {
            self.is_over(host);
        }
        match act {
            Act::Drain(host, _) => self.availability(*host, "active"),
            Act::Stop(host, _) => self.host(*host).stopped.set(false),
            Act::CutOff(host, ..) => self.host(*host).wire.set(|faults| faults.cut = None),
            Act::BadWire(host, ..) => self
                .host(*host)
                .wire
                .set(|faults| *faults = WireFaults { cut: faults.cut, ..WireFaults::default() }),
            Act::EngineHangs(host, _) => self.host(*host).engine.set_hung(false),
            Act::EngineAway(host, _) => {
                let host = self.host(*host);
                host.engine.set_away(!host.powered.get());
            }
            Act::EngineMute(host, _) => self.host(*host).engine.lose_events(false),
            Act::DiskFull(host, _) => self.host(*host).set_disk_full(false),
            Act::PowerLost(host, _) => {
                let host = self.host(*host);
                if !host.powered.get() {
                    host.power_on();
                }
            }
            Act::StoreDown(_) => self.store.set_down(false),
            Act::StoreFull(_) => self.store.set_full(false),
            Act::MemberLost(member, _) => self.members.comes_back(*member),
            Act::MemberLags(member, ..) => self.members.set_lag(*member, Duration::ZERO),
            Act::LeaderFreezes(thaw, _) => self.leader_thaws(*thaw),
            _ => {}
        }
    }

    fn leader_thaws(&mut self, thaw: Thaw) {
        if self.members.thaw() && thaw == Thaw::EndsLeases {
            self.store.kill_all_leases();
        }
    }

    /// All that is still broken is mended, and people want nothing but what is well.
    pub fn mend(&mut self) {
        self.timeline.say("act", "all is mended");
        self.mended = true;
        self.under_way.clear();
        self.trouble.insert(0, self.timeline.now());
        self.store.set_down(false);
        self.store.set_full(false);
        self.members.mend();
        for number in 1..=self.hosts.len() as u8 {
            let host = self.host(number).clone();
            host.fuse.store(0, Ordering::Relaxed);
            host.stopped.set(false);
            host.wire.set(|faults| *faults = WireFaults::default());
            host.engine.set_hung(false);
            host.engine.lose_events(false);
            host.engine.forget_failures();
            host.set_disk_full(false);
            host.sick.heal();
            if host.powered.get() {
                host.engine.set_away(false);
            } else {
                host.power_on();
            }
        }
        for service in self.wanted.values_mut() {
            (service.image, service.version) = (Image::Good, LAST);
        }
        self.insist();
        self.decide_now();
    }

    /// Leases start over with a new leader, and none ends while there is none.
    fn elect_after(&self, election: Duration) {
        self.store.elect();
        let store = self.store.clone();
        tokio::spawn(async move {
            tokio::time::sleep(election).await;
            store.elect();
        });
    }

    /// Some copy answers no check any more.
    fn sicken(&self, host: u8, pick: u64) {
        let host = self.host(host);
        let Some(id) = self.pick(host.number, pick, true) else { return };
        host.engine.look(|container, _| {
            if container.id == id {
                host.sick.add(container);
            }
        });
    }

    fn engine_errors(&self, host: u8, seed: u64) {
        let (engine, mut chance) = (&self.host(host).engine, Chance::new(seed, "errors"));
        for _ in 0..chance.between(1, 6) {
            let ops = [Op::Create, Op::Start, Op::Stop, Op::Remove, Op::Inspect, Op::Containers, Op::Pull];
            let Some(op) = chance.pick(&ops) else { continue };
            let error = match chance.below(3) {
                0 => EngineError::Refused("500 internal error".to_owned()),
                1 => EngineError::Timeout("the call".to_owned()),
                _ => EngineError::Conflict { who: "409".to_owned() },
            };
            if chance.permille(500) {
                engine.fail_next(*op, error);
            } else {
                engine.fail_after_next(*op, error);
            }
        }
    }

    /// Some container of ours on a host.
    fn pick(&self, host: u8, pick: u64, running: bool) -> Option<String> {
        let mut ids = Vec::new();
        self.host(host).engine.look(|container, _| {
            let ours = container.labels.contains_key(label::CLUSTER);
            if ours && (!running || container.state == ContainerState::Running) {
                ids.push(container.id.clone());
            }
        });
        Chance::new(pick, "pick").pick(&ids).cloned()
    }

    /// A container of a person's own: of any name, or of one that the next copy would have.
    fn foreign(&mut self, host: u8, pick: u64) {
        let mut chance = Chance::new(pick, "foreign");
        let name = format!("own-{}", chance.below(1000));
        if self.foreign.insert((host, name.clone())) {
            self.host(host).engine.add_foreign(&name, BTreeMap::new());
        }
    }

    /// Some record becomes unreadable.
    fn garbage(&mut self, pick: u64) {
        let mut chance = Chance::new(pick, "garbage");
        let kinds = [prefix::endpoints(), prefix::observed(), prefix::health(), prefix::facts()];
        let kvs = chance.pick(&kinds).map(|prefix| self.store.peek(prefix)).unwrap_or_default();
        let key = chance.pick(&kvs).and_then(|kv| kv.key.parse::<Key>().ok());
        let value = if chance.permille(500) { b"{\"is\":".to_vec() } else { b"\xff\xfe{}".to_vec() };
        self.wishes.extend(key.map(|key| vec![(key, Some(value))]));
    }
}
