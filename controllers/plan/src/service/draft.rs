//! A plan in the making: the service as it will be after the batch, and the moves that lead there. Every
//! move keeps the batch consistent and within its size.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::host::Availability;
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, InstanceId, ServiceId, Slot, TemplateRef};
use evenkeel_api::record::{Accepted, Desired, Fence, Instance, InstanceState, Observed, Restart, Rollout};
use evenkeel_api::service::{ServiceSpec, Template};

use super::batch::{Happening, MAX_BATCH, Plan};
use super::exclusive;
use super::failover::{Presence, presence};
use super::lack::Unplaced;
use super::ledger::Ledger;
use super::memory::{Memory, ServiceMemory};
use super::place::Places;
use super::world::{Service, World};
use super::{pins, ready};

mod placing;

pub(crate) use placing::slot_host;

/// Writes of a batch that are kept for the service's own records.
const OVERHEAD: usize = 6;

/// A copy as it will be.
#[derive(Debug, Clone)]
pub(crate) struct Held<'a> {
    pub host: HostName,
    pub slot: Slot,
    pub template: i64,
    pub desired: Desired,
    pub cause: String,
    /// The revision of its record; 0: made by this plan.
    pub revision: i64,
    pub observed: Option<&'a Observed>,
    /// Ready, as far as the copy itself is concerned.
    pub ready: bool,
    pub presence: Presence,
    /// It never started, and waits for what may never come.
    pub stuck: bool,
    /// The newest run of it that is to end for a new one.
    pub restart: Option<Restart>,
    /// Why restarts do not help it any more: it is to be replaced elsewhere.
    pub spent: Option<String>,
    /// Its host shall be emptied.
    pub host_drains: bool,
    /// A person wants a new copy in its place.
    pub stale: bool,
    /// Changed by this plan.
    pub touched: bool,
    /// What an exclusive copy is guarded by.
    pub fence: Option<Fence>,
}

impl Held<'_> {
    /// It serves: ready, on a host that is there.
    pub(crate) fn available(&self) -> bool {
        self.ready && self.presence == Presence::Present
    }

    pub(crate) fn runs(&self) -> bool {
        self.observed.is_some_and(ready::runs)
    }

    /// Nothing of it will come back: its host is given up or taken out of the cluster.
    pub(crate) fn is_forsaken(&self) -> bool {
        matches!(self.presence, Presence::Lost | Presence::Removed)
    }

    pub(crate) fn has_failed(&self) -> bool {
        let failed = |observed: &Observed| matches!(observed.state, InstanceState::Failed { .. });
        self.stuck || self.observed.is_some_and(failed)
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.observed.is_some_and(|observed| matches!(observed.state, InstanceState::Stopped { .. }))
    }
}

/// A plan in the making.
pub(crate) struct Draft<'a> {
    pub world: &'a World,
    pub id: &'a ServiceId,
    pub service: &'a Service,
    pub accepted: &'a Accepted<ServiceSpec>,
    /// What holds for the template that runs.
    spec: &'a ServiceSpec,
    /// The template that copies shall be of.
    pub wanted_template: i64,
    pub all: &'a Memory,
    pub memory: Option<&'a ServiceMemory>,
    pub ledger: &'a mut Ledger,
    pub now: Duration,
    pub rollout: Rollout,
    pub copies: BTreeMap<InstanceId, Held<'a>>,
    pub gone: BTreeMap<InstanceId, Held<'a>>,
    pub plan: Plan,
    /// Slots without a copy that cannot have one now, and why.
    pub pending: BTreeMap<Slot, Unplaced>,
    /// Slots whose copy comes by itself, and what it waits for.
    pub waits: BTreeMap<Slot, String>,
    /// What a person should know of the rollout's pace.
    pub notes: BTreeSet<String>,
    /// Copies that are to be exchanged and stay, since nothing could take their place.
    pub cramped: BTreeSet<String>,
    /// What keeps sick copies from being restarted.
    pub suspicion: Option<String>,
    /// What hosts' policies say where they alone keep all from running that is missing.
    pub refused: Option<String>,
    /// Why copies that run could not be placed again.
    pub crowded: Option<String>,
    /// The slots that shall have a copy.
    pub wanted: Vec<Slot>,
    live: BTreeMap<Slot, Vec<InstanceId>>,
    places: BTreeMap<i64, Places<'a>>,
    room: usize,
    numbered: bool,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        world: &'a World,
        (id, service): (&'a ServiceId, &'a Service),
        accepted: &'a Accepted<ServiceSpec>,
        (wanted_template, spec): (i64, &'a ServiceSpec),
        all: &'a Memory,
        ledger: &'a mut Ledger,
        now: Duration,
    ) -> Self {
        let memory = all.service(id);
        let mut rollout = service.rollout.as_ref().map(|rollout| rollout.value.clone()).unwrap_or_default();
        rollout.seq = rollout.seq.max(world.first_seq(accepted.create_revision));
        let mut draft = Self {
            world,
            id,
            service,
            accepted,
            spec,
            wanted_template,
            all,
            memory,
            ledger,
            now,
            rollout,
            copies: BTreeMap::new(),
            gone: BTreeMap::new(),
            plan: Plan::default(),
            pending: BTreeMap::new(),
            waits: BTreeMap::new(),
            notes: BTreeSet::new(),
            cramped: BTreeSet::new(),
            suspicion: None,
            refused: None,
            crowded: None,
            wanted: Vec::new(),
            live: BTreeMap::new(),
            places: BTreeMap::new(),
            room: MAX_BATCH - OVERHEAD,
            numbered: false,
        };
        draft.read_copies();
        draft
    }

    fn read_copies(&mut self) {
        let lost_after = self.accepted.spec.lost_after();
        let mut hosts: BTreeMap<&HostName, (Presence, bool)> = BTreeMap::new();
        for (id, copy) in &self.service.copies {
            let Some(record) = &copy.record else { continue };
            let (presence, host_drains) = match hosts.get(&copy.host) {
                Some(known) => *known,
                None => {
                    let (presence, wake) = presence(self.world, self.all, &copy.host, lost_after, self.now);
                    if let Some(wake) = wake {
                        self.plan.wake(wake);
                    }
                    let host = self.world.hosts.get(&copy.host);
                    let availability = host.and_then(super::world::Host::availability);
                    let drains = matches!(availability, None | Some(Availability::Drain));
                    hosts.insert(&copy.host, (presence, drains));
                    (presence, drains)
                }
            };
            let held = Held {
                host: copy.host.clone(),
                slot: record.value.slot.clone(),
                template: record.value.template.revision,
                desired: record.value.desired,
                cause: record.value.cause.clone(),
                revision: record.mod_revision,
                observed: copy.observed.as_ref(),
                ready: self.memory.is_some_and(|memory| memory.ready_since(id).is_some()),
                presence,
                restart: record.value.restart,
                spent: None,
                stuck: self.memory.and_then(|memory| memory.copies.get(id)).is_some_and(|copy| copy.stuck),
                host_drains,
                stale: pins::wants_anew(self.service, id),
                touched: false,
                fence: record.value.fence,
            };
            if held.desired == Desired::Run {
                self.live.entry(held.slot.clone()).or_default().push(id.clone());
            }
            self.copies.insert(id.clone(), held);
        }
        for live in self.live.values_mut() {
            live.sort_by_key(|id| id.seq);
        }
    }

    /// The spec that holds: the newest document's, with the template that runs.
    pub(crate) fn spec(&self) -> &'a ServiceSpec {
        self.spec
    }

    /// A template, also one that this very plan brings.
    pub(crate) fn template(&self, number: i64) -> Option<&'a Template> {
        match self.accepted.template {
            Some(newest) if newest == number => Some(&self.accepted.spec.template),
            _ => self.service.template(number),
        }
    }

    /// The newest template's number.
    pub(crate) fn target(&self) -> i64 {
        self.rollout.target.or(self.accepted.template).unwrap_or(self.accepted.source_revision)
    }

    /// Whether copies of `number` are what is wanted: of the target, or of one with the same content.
    pub(crate) fn is_updated(&self, number: i64) -> bool {
        let target = self.target();
        number == target
            || self.template(number).is_some_and(|template| Some(template) == self.template(target))
    }

    /// Whether a copy is what is wanted: of such a template, and not one that is to be exchanged all the same.
    pub(crate) fn is_current(&self, copy: &Held<'_>) -> bool {
        !copy.stale && self.is_updated(copy.template)
    }

    /// The copies of a slot that shall run, oldest first.
    pub(crate) fn live(&self, slot: &Slot) -> Vec<InstanceId> {
        self.live.get(slot).cloned().unwrap_or_default()
    }

    /// The slots with copies that shall run.
    pub(crate) fn live_slots(&self) -> impl Iterator<Item = (&Slot, &Vec<InstanceId>)> {
        self.live.iter()
    }

    fn no_longer_live(&mut self, id: &InstanceId) {
        if let Some(live) = self.live.get_mut(&id.slot) {
            live.retain(|other| other != id);
            if live.is_empty() {
                self.live.remove(&id.slot);
            }
        }
    }

    /// Whether `writes` more fit into the batch; if not, the rest is planned after it.
    pub(crate) fn fits(&mut self, writes: usize) -> bool {
        let fits = self.room >= writes;
        if fits {
            self.room -= writes;
        } else {
            self.plan.more = true;
        }
        fits
    }

    /// How many writes are left.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Tell something.
    pub(crate) fn tell(
        &mut self,
        instance: Option<&InstanceId>,
        warning: bool,
        reason: &'static str,
        message: String,
    ) {
        let object = ObjectRef::Service(self.id.clone());
        self.plan.events.push(Happening { object, instance: instance.cloned(), warning, reason, message });
    }

    /// Whether a copy of the slot serves.
    pub(crate) fn serves(&self, slot: &Slot) -> bool {
        self.live(slot).iter().any(|id| self.copies.get(id).is_some_and(Held::available))
    }

    /// Send a copy on its way out: gently if it may be in the names. `false`: no room in this batch.
    pub(crate) fn leave(&mut self, id: &InstanceId, cause: &str) -> bool {
        let Some(copy) = self.copies.get(id) else { return true };
        if copy.presence == Presence::Removed && !exclusive::concerns(self, copy) {
            return self.delete(id);
        }
        let (desired, writes) = if copy.runs() { (Desired::Drain, 2) } else { (Desired::Stop, 2) };
        self.set(id, desired, cause, writes)
    }

    /// Give a copy up: replaced elsewhere, and to be removed should its host return.
    pub(crate) fn lose(&mut self, id: &InstanceId, cause: &str) -> bool {
        match self.copies.get(id) {
            Some(copy) if copy.presence == Presence::Removed && !exclusive::concerns(self, copy) => {
                self.delete(id)
            }
            Some(_) => self.set(id, Desired::Lost, cause, 2),
            None => true,
        }
    }

    pub(crate) fn set(&mut self, id: &InstanceId, desired: Desired, cause: &str, writes: usize) -> bool {
        if self.copies.get(id).is_none_or(|copy| copy.desired >= desired) {
            return true;
        }
        if !self.fits(writes) {
            return false;
        }
        if let Some(copy) = self.copies.get_mut(id) {
            copy.desired = desired;
            copy.cause = cause.to_owned();
            copy.touched = true;
        }
        if desired == Desired::Drain {
            let delay = self.stop_delay();
            self.plan.wake(delay);
        }
        self.no_longer_live(id);
        self.ledger.leaves(id);
        self.places.clear();
        true
    }

    /// Remove a copy's record: nothing of it is left, or nobody will ever look.
    pub(crate) fn delete(&mut self, id: &InstanceId) -> bool {
        if !self.fits(2) {
            return false;
        }
        if let Some(copy) = self.copies.remove(id) {
            self.gone.insert(id.clone(), copy);
        }
        self.no_longer_live(id);
        self.ledger.strike(id);
        self.places.clear();
        true
    }

    /// Between leaving the names and the signal.
    pub(crate) fn stop_delay(&self) -> Duration {
        let spec = self.spec();
        spec.stop_delay(self.world.ttl(&spec.networks())).0
    }

    /// The writes for the copies and the rollout record.
    pub(crate) fn write_copies(&mut self) {
        for (id, copy) in self.copies.iter().filter(|(_, copy)| copy.touched) {
            let template = TemplateRef { service: self.id.clone(), revision: copy.template };
            let record = Instance {
                template,
                slot: copy.slot.clone(),
                desired: copy.desired,
                cause: copy.cause.clone(),
                fence: copy.fence,
                restart: copy.restart,
            };
            let key = Key::Instance(copy.host.clone(), id.clone());
            self.plan.batch.put(key, copy.revision, super::batch::Write::Instance(record));
        }
        for (id, copy) in &self.gone {
            self.plan.batch.delete(Key::Instance(copy.host.clone(), id.clone()), copy.revision);
        }
    }
}
