//! What a leader measured since it leads: how long something has been so. Kept apart from the world, since
//! no clock but the leader's own is believed. A new leader begins with nothing, and therefore waits anew:
//! that is the safe side of every rule that has a time in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, InstanceId, NetworkName, ObjectName, ServiceId, Slot};
use evenkeel_api::record::{Desired, InstanceState, Observed, Timestamp};

use super::world::{Service, World};
use super::{ready, restarts};

/// After a first failure at once, then doubling from here.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// No longer than this between two tries of a slot.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A copy that was ready for so long clears its slot's back-off.
const BACKOFF_FORGIVEN: Duration = Duration::from_secs(30);
/// A host where a copy of a service failed is avoided for so long, where others fit.
const FAILED_THERE: Duration = Duration::from_secs(300);

/// A copy that never started and only waits for so long, for the registry say, is tried on another host too.
const STUCK: Duration = Duration::from_secs(30);

/// A new network has so long to stand everywhere before copies go where it stands already: else all would
/// go to the host that is first.
const SET_UP: Duration = Duration::from_secs(5);

/// What a leader measured since it leads.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// By host.
    pub(crate) hosts: BTreeMap<HostName, HostMemory>,
    /// By service.
    pub(crate) services: BTreeMap<ServiceId, ServiceMemory>,
    /// The brake on evictions.
    pub(crate) brake: BrakeMemory,
    /// Documents that went.
    pub(crate) deletions: DeletionMemory,
    /// When each network was first seen; absent for those that were there before we led.
    pub(crate) networks: BTreeMap<NetworkName, Option<Duration>>,
    /// Whether anything was observed yet.
    pub(crate) began: bool,
}

/// One host, measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostMemory {
    /// Since when it is gone, without a pause and with our own reads answered.
    pub absent_since: Option<Duration>,
    /// The last incarnation that was seen.
    pub incarnation: Option<u64>,
    /// When its copies were given up; `Some(None)`: before we led.
    pub evicted: Option<Option<Duration>>,
    /// When it came back after it was lost, the last few times.
    pub losses: Vec<Duration>,
}

/// The brake on evictions, measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct BrakeMemory {
    /// Hosts that are gone and whose copies stay where they are; not empty: the brake is on.
    pub held: BTreeSet<HostName>,
    /// Whether it is on.
    pub on: bool,
    /// Since when too few are gone to keep it on.
    pub low_since: Option<Duration>,
    /// Hosts went a moment ago that would pull it: until then it is open whether they are back at once.
    pub open_until: Option<Duration>,
}

/// Documents that went, measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeletionMemory {
    /// Those that went of late, or are gone and kept.
    pub vanished: BTreeMap<ObjectRef, Vanished>,
    /// Those that are kept although their documents are gone.
    pub held: BTreeSet<ObjectRef>,
}

/// One document that went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vanished {
    /// When it was first missed.
    pub since: Duration,
    /// A person said that this deletion is meant.
    pub meant: bool,
}

/// One service, measured.
#[derive(Debug, Clone, Default)]
pub struct ServiceMemory {
    /// By copy.
    pub(crate) copies: BTreeMap<InstanceId, CopyMemory>,
    /// Slots whose copies failed.
    pub(crate) slots: BTreeMap<Slot, Backoff>,
    /// Hosts on which copies of a slot failed.
    pub(crate) failed_on: BTreeMap<(Slot, HostName), FailedThere>,
    /// When half of the copies or more were last seen to fail a check.
    pub(crate) doubted: BTreeMap<ObjectName, Duration>,
    /// What people said about the rollout when it was last looked at.
    pin: Option<i64>,
}

/// How a copy failed on a host.
#[derive(Debug, Clone, Default)]
pub(crate) struct FailedThere {
    /// Of which template it was.
    pub template: i64,
    /// When it was seen.
    pub at: Duration,
    /// What the host's policy said, if that was it.
    pub refused: Option<String>,
}

/// One copy, measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct CopyMemory {
    /// Since when it is leaving the names.
    pub drain_since: Option<Duration>,
    /// Since when its record says that it is lost.
    pub lost_since: Option<Duration>,
    /// Since when it is ready.
    pub ready_since: Option<Duration>,
    /// The run that was ready last.
    pub run: Option<Option<Timestamp>>,
    /// Restarts when it was first seen: those before are not this leader's to judge.
    pub restarts: Option<u32>,
    /// When it was first seen.
    pub since: Option<Duration>,
    /// It was ready, with all checks that a rollout waits for.
    pub arrived: bool,
    /// It never started, and waits for what may never come.
    pub stuck: bool,
    /// Which run it is in, and since when.
    pub run_since: Option<(Option<Timestamp>, Duration)>,
    /// Since when checks find this run sick.
    pub sick_since: BTreeMap<ObjectName, Duration>,
    /// This run was ready for so long that its restarts are forgiven.
    pub well: bool,
    /// Its failure was counted.
    pub failed: bool,
}

/// Tries of one slot that failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    /// The template that failed.
    pub template: i64,
    /// The last copy that failed: only a later one can make good for it.
    pub seq: u64,
    /// When the first of them in a row began.
    pub since: Duration,
    /// How often in a row.
    pub failures: u32,
    /// Not again before.
    pub until: Duration,
}

impl Memory {
    /// A leader that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Take note of hosts, brakes and documents at `now`. `answered`: our own reads of the store are
    /// answered, so that absence of a host is not our own.
    pub fn observe(&mut self, world: &World, now: Duration, answered: bool) {
        super::failover::observe(self, world, now, answered);
        super::deletions::observe(&mut self.deletions, world, now, !self.began);
        self.networks.retain(|name, _| world.networks.contains_key(name));
        for name in world.networks.keys() {
            self.networks.entry(name.clone()).or_insert(self.began.then_some(now));
        }
        self.services.retain(|id, _| world.services.contains_key(id));
        self.began = true;
    }

    /// Take note of one service at `now`. Must come before its plan.
    pub fn observe_service(&mut self, world: &World, id: &ServiceId, now: Duration) {
        match world.services.get(id) {
            Some(service) => self.services.entry(id.clone()).or_default().observe(service, now),
            None => {
                self.services.remove(id);
            }
        }
    }

    /// The hosts and objects that brakes hold: when that changes, all plans may.
    pub fn held(&self) -> (BTreeSet<HostName>, BTreeSet<ObjectRef>) {
        (self.brake.held.clone(), self.deletions.held.clone())
    }

    /// Until when a network counts as one that hosts are just setting up, if that is later than `now`.
    pub(crate) fn set_up_until(&self, name: &NetworkName, now: Duration) -> Option<Duration> {
        let until = (*self.networks.get(name)?)? + SET_UP;
        (until > now).then_some(until)
    }

    pub(crate) fn service(&self, id: &ServiceId) -> Option<&ServiceMemory> {
        self.services.get(id)
    }
}

impl ServiceMemory {
    fn observe(&mut self, service: &Service, now: Duration) {
        self.copies.retain(|id, _| service.copies.get(id).is_some_and(|copy| copy.record.is_some()));
        self.failed_on.retain(|_, failed| now.saturating_sub(failed.at) < FAILED_THERE);
        let pin = service.pin.as_ref().map(|pin| pin.mod_revision);
        if std::mem::replace(&mut self.pin, pin) != pin {
            // A person who lets a rollout go on does not want to wait for the next try.
            self.slots.clear();
            self.failed_on.clear();
        }
        let listed = ready::listed(service);
        for (id, copy) in &service.copies {
            let Some(record) = &copy.record else { continue };
            let known = self.copies.get(id);
            let was_ready = ready::was_ready(copy, known, listed.get(id).copied());
            let is_ready = ready::is_ready(service, copy, was_ready);
            let memory = self.copies.entry(id.clone()).or_default();
            memory.ready_since = if is_ready { memory.ready_since.or(Some(now)) } else { None };
            if is_ready {
                memory.run = Some(copy.observed.as_ref().and_then(|observed| observed.started));
            }
            memory.since.get_or_insert(now);
            memory.arrived |= is_ready && ready::rollout_checks_pass(service, copy);
            if record.value.desired >= Desired::Drain {
                memory.drain_since.get_or_insert(now);
            }
            if record.value.desired == Desired::Lost {
                memory.lost_since.get_or_insert(now);
            }
            if let Some(observed) = &copy.observed {
                memory.restarts.get_or_insert(observed.restarts);
                memory.stuck = is_stuck(observed) && memory.since.is_some_and(|since| since + STUCK <= now);
                let failed = memory.stuck || matches!(observed.state, InstanceState::Failed { .. });
                if failed && !memory.failed && record.value.desired == Desired::Run {
                    let template = record.value.template.revision;
                    let since = memory.since.unwrap_or(now);
                    let backoff = self.slots.entry(record.value.slot.clone()).or_default();
                    backoff.fail(template, id.seq, since, now);
                    let place = (record.value.slot.clone(), copy.host.clone());
                    let refused = observed.state.refusal().map(str::to_owned);
                    self.failed_on.insert(place, FailedThere { template, at: now, refused });
                }
                memory.failed = failed;
            } else {
                memory.restarts.get_or_insert(0);
            }
            let forgiven =
                memory.ready_since.is_some_and(|since| now.saturating_sub(since) >= BACKOFF_FORGIVEN);
            let later = self.slots.get(&record.value.slot).is_some_and(|backoff| id.seq > backoff.seq);
            if forgiven && later {
                self.slots.remove(&record.value.slot);
            }
        }
        restarts::observe(self, service, now);
    }

    /// When `slot` may be tried again with `template`, if that is later than `now`.
    pub(crate) fn not_before(&self, slot: &Slot, template: i64, now: Duration) -> Option<Duration> {
        let backoff = self.slots.get(slot).filter(|backoff| backoff.template == template)?;
        (backoff.until > now).then_some(backoff.until)
    }

    /// When the first try began of those of `slot` and `template` that failed in a row.
    pub(crate) fn tried_since(&self, slot: &Slot, template: i64) -> Option<Duration> {
        self.slots.get(slot).filter(|backoff| backoff.template == template).map(|backoff| backoff.since)
    }

    /// Until when a copy that waits is left to wait, if that is later than `now`.
    pub(crate) fn stuck_at(&self, id: &InstanceId, observed: &Observed, now: Duration) -> Option<Duration> {
        let at = self.copies.get(id)?.since? + STUCK;
        (is_stuck(observed) && at > now).then_some(at)
    }

    /// Hosts where a copy of `slot` and `template` failed of late.
    pub(crate) fn avoids(&self, slot: &Slot, template: i64) -> BTreeSet<HostName> {
        self.failed_there(slot, template).map(|(host, _)| host.clone()).collect()
    }

    /// The same, and how.
    pub(crate) fn failed_there<'a>(
        &'a self,
        slot: &'a Slot,
        template: i64,
    ) -> impl Iterator<Item = (&'a HostName, &'a FailedThere)> {
        let of = self
            .failed_on
            .iter()
            .filter(move |((known, _), failed)| known == slot && failed.template == template);
        of.map(|((_, host), failed)| (host, failed))
    }

    /// Since when a copy is ready.
    pub(crate) fn ready_since(&self, id: &InstanceId) -> Option<Duration> {
        self.copies.get(id).and_then(|copy| copy.ready_since)
    }
}

/// It never started, and says that it waits.
fn is_stuck(observed: &Observed) -> bool {
    observed.started.is_none() && matches!(observed.state, InstanceState::Waiting { .. })
}

impl Backoff {
    pub(super) fn fail(&mut self, template: i64, seq: u64, since: Duration, now: Duration) {
        if self.template != template || self.failures == 0 {
            *self = Self { template, since, ..Self::default() };
        }
        let wait = match self.failures {
            0 => Duration::ZERO,
            n => BACKOFF_FIRST.saturating_mul(1 << (n - 1).min(6)).min(BACKOFF_MAX),
        };
        self.seq = seq;
        self.failures += 1;
        self.until = now + wait;
    }
}
