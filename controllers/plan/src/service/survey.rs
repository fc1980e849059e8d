//! What a planner would say of one service to a person who asks: which slots there shall be, what its first start
//! waits for, and who could take a copy. The same filters as the plan's own, on the same world; nothing is decided.

use std::collections::BTreeSet;

use evenkeel_api::name::{HostName, ServiceId, Slot};
use evenkeel_api::record::Desired;
use evenkeel_api::service::{DependencyCondition, Mode, ServiceSpec};

use super::draft::slot_host;
use super::filter::{self, volume_homes};
use super::ledger::Ledger;
use super::place::{Only, Places};
use super::refusals::{Refusal, Refusals};
use super::world::{Service, World};
use super::{pins, ready, rollback};

/// A service as its planner sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The template that copies shall be of.
    pub template: i64,
    /// That it is a person's choice in place of the document's.
    pub pinned: bool,
    /// That a person lets no copies be exchanged.
    pub held: bool,
    /// The slots that shall have a copy.
    pub wanted: Vec<Slot>,
    /// What its first start waits for.
    pub unmet: Vec<Unmet>,
    /// In global mode, the hosts that are not meant, counted.
    pub not_meant: Refusals,
}

/// A service that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// Which.
    pub service: ServiceId,
    /// Whether there is such a service.
    pub exists: bool,
    /// What is waited for.
    pub condition: DependencyCondition,
}

/// Who could take a copy of one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// Those that could.
    pub fit: BTreeSet<HostName>,
    /// Those that could not, counted.
    pub refusals: Refusals,
}

/// What holds for a service; `None`: no document of it was ever accepted.
pub fn survey(world: &World, id: &ServiceId) -> Option<Survey> {
    let service = world.services.get(id)?;
    let accepted = &service.accepted.as_ref()?.value;
    let template = rollback::running(service, accepted);
    let spec = rollback::spec(service, accepted, template);
    let newest = accepted.template.unwrap_or(accepted.source_revision);
    let live = live_slots(service);
    let (wanted, not_meant) = match spec.mode() {
        Mode::Global => (global(world, &spec, |slot| live.contains(slot)), not_meant(world, &spec)),
        Mode::Replicated => {
            let kept = live.into_iter().filter_map(|slot| slot.number());
            let kept: BTreeSet<u32> = kept.take(spec.replicas() as usize).collect();
            (numbered(kept, spec.replicas() as usize), Refusals::default())
        }
    };
    Some(Survey {
        template,
        pinned: pins::template(service, newest).is_some(),
        held: pins::pauses(service),
        wanted,
        unmet: unmet(world, id, service, accepted.create_revision, &spec),
        not_meant,
    })
}

/// Who could take a copy of `slot` now; `None`: no document of the service was ever accepted.
pub fn room(world: &World, id: &ServiceId, slot: &Slot) -> Option<Room> {
    let service = world.services.get(id)?;
    let accepted = &service.accepted.as_ref()?.value;
    let number = rollback::running(service, accepted);
    let spec = rollback::spec(service, accepted, number);
    let homes = service.rollout.as_ref().map(|rollout| rollout.value.homes.clone()).unwrap_or_default();
    let only = match slot_host(&spec, slot) {
        Some(host) => Only::Host(host),
        None => match volume_homes(world, id, &spec, &homes, slot) {
            Some((volume, hosts)) => Only::Volume(volume, hosts),
            None => Only::Any,
        },
    };
    let ledger = Ledger::of(world);
    let (fit, refusals) = Places::new(world, &ledger, id, &spec, &spec.template, None).sort_out(&only);
    Some(Room { fit, refusals })
}

/// As many slots as replicas: those that there are, then the lowest free numbers.
pub(crate) fn numbered(mut kept: BTreeSet<u32>, replicas: usize) -> Vec<Slot> {
    let mut next = 1;
    while kept.len() < replicas {
        kept.insert(next);
        next += 1;
    }
    kept.into_iter().map(Slot::numbered).collect()
}

/// A slot on each host that is meant; a host that is only paused or gone keeps what it has.
pub(crate) fn global(world: &World, spec: &ServiceSpec, has: impl Fn(&Slot) -> bool) -> Vec<Slot> {
    let hosts = world.hosts.iter().filter(|(_, host)| host.accepted.is_some());
    let meant = hosts.filter(|(name, host)| match filter::suits(host, spec, &spec.template, name) {
        None => true,
        Some(Refusal::Paused | Refusal::Absent | Refusal::NoFacts) => has(&Slot::from(*name)),
        Some(_) => false,
    });
    meant.map(|(name, _)| Slot::from(name)).collect()
}

fn not_meant(world: &World, spec: &ServiceSpec) -> Refusals {
    let mut refusals = Refusals::default();
    let hosts = world.hosts.iter().filter(|(_, host)| host.accepted.is_some());
    for refusal in hosts.filter_map(|(name, host)| filter::suits(host, spec, &spec.template, name)) {
        refusals.add(refusal);
    }
    refusals
}

fn live_slots(service: &Service) -> BTreeSet<Slot> {
    let records = service.copies.values().filter_map(|copy| copy.record.as_ref());
    let live = records.filter(|record| record.value.desired == Desired::Run);
    live.map(|record| record.value.slot.clone()).collect()
}

/// What the first start of a service waits for, whose document was created at `create_revision`.
pub(crate) fn unmet(
    world: &World,
    id: &ServiceId,
    service: &Service,
    create_revision: i64,
    spec: &ServiceSpec,
) -> Vec<Unmet> {
    let began =
        service.rollout.as_ref().is_some_and(|rollout| rollout.value.seq > world.first_seq(create_revision));
    let has_copies = service.copies.values().any(|copy| copy.record.is_some());
    if began || has_copies {
        return Vec::new();
    }
    let unmet = spec.depends_on.iter().filter_map(|(name, dependency)| {
        let id = ServiceId { namespace: id.namespace.clone(), name: name.clone() };
        let service = world.services.get(&id);
        let exists = service.is_some_and(|service| service.accepted.is_some());
        let met = (!exists && !dependency.required)
            || service.is_some_and(|service| serves(service, dependency.condition));
        (!met).then_some(Unmet { service: id, exists, condition: dependency.condition })
    });
    unmet.collect()
}

/// Whether a service is as far as one that depends on it waits for.
fn serves(service: &Service, condition: DependencyCondition) -> bool {
    service.copies.iter().any(|(copy_id, copy)| {
        let runs = copy.observed.as_ref().is_some_and(ready::runs)
            && copy.record.as_ref().is_some_and(|record| record.value.desired == Desired::Run);
        match condition {
            DependencyCondition::ServiceStarted => runs,
            DependencyCondition::ServiceHealthy => {
                let listed = ready::listed(service).get(copy_id).copied();
                runs && (listed == Some(true) || ready::is_ready(service, copy, false))
            }
        }
    })
}
