//! Copies that come: where one could go, and what is so once it goes there.

use evenkeel_api::name::{HostName, InstanceId, Slot};
use evenkeel_api::record::Desired;
use evenkeel_api::service::{Mode, ServiceSpec};

use super::super::failover::Presence;
use super::super::filter::{Leave, volume_homes};
use super::super::lack::{Lack, Unplaced};
use super::super::ledger::charge_of;
use super::super::place::{Only, Places};
use super::super::{exclusive, restarts};
use super::{Draft, Held};

impl<'a> Draft<'a> {
    /// Where a copy for `slot` of `template` could go, with the service as it will be so far; or why nowhere.
    pub(crate) fn pick(
        &mut self,
        slot: &Slot,
        template: i64,
        leave: Leave<'_>,
    ) -> Result<HostName, Unplaced> {
        let Some(content) = self.template(template) else {
            return Err(Unplaced {
                lack: Lack::Hosts,
                why: format!("template {template} is not kept any more"),
            });
        };
        let spec = self.spec();
        let only = match slot_host(spec, slot) {
            Some(host) => Only::Host(host),
            None => match volume_homes(self.world, self.id, spec, &self.rollout.homes, slot) {
                Some((volume, hosts)) => Only::Volume(volume, hosts),
                None => Only::Any,
            },
        };
        let mut avoid = self.memory.map(|memory| memory.avoids(slot, template)).unwrap_or_default();
        avoid.extend(restarts::left(self, slot));
        let places = self.places.entry(template).or_insert_with(|| {
            let flapping = self.all.flapping(self.now).into_keys().collect();
            Places::new(self.world, self.ledger, self.id, spec, content, self.memory).rather_not(flapping)
        });
        places
            .pick(&only, leave, &avoid)
            .map_err(|refusals| Unplaced { lack: refusals.lack(), why: refusals.say(0, spec) })
    }

    /// Make a copy for `slot` on `host`. The caller made sure that it fits.
    pub(crate) fn create(
        &mut self,
        slot: &Slot,
        host: HostName,
        template: i64,
        cause: String,
    ) -> Option<InstanceId> {
        // Whoever asks: never two copies of an exclusive slot.
        if exclusive::blocked(self, slot, template).is_some() || !self.fits(1) {
            return None;
        }
        // One number a batch: two copies of one batch differ in their slots, so ids stay unique, and the
        // number never overtakes the store's revision, at which a namesake of later would begin.
        if !self.numbered {
            self.rollout.seq += 1;
            self.numbered = true;
        }
        let id = InstanceId { service: self.id.clone(), slot: slot.clone(), seq: self.rollout.seq };
        let charge =
            charge_of(&host, self.world.hosts.get(&host), Some(self.spec()), self.template(template));
        self.ledger.charge(&id, charge);
        self.places.retain(|known, _| *known == template);
        if let Some(places) = self.places.get_mut(&template) {
            places.take(&id, &host);
        }
        if self.spec().volumes().next().is_some() {
            self.rollout.homes.insert(slot.clone(), host.clone());
        }
        let held = Held {
            host,
            slot: slot.clone(),
            template,
            desired: Desired::Run,
            cause,
            revision: 0,
            observed: None,
            ready: false,
            presence: Presence::Present,
            stuck: false,
            restart: None,
            spent: None,
            host_drains: false,
            stale: false,
            touched: true,
            fence: exclusive::fence(self, template, id.seq),
        };
        self.live.entry(slot.clone()).or_default().push(id.clone());
        self.copies.insert(id.clone(), held);
        Some(id)
    }

    /// Ask `question` with a copy struck from the account.
    pub(crate) fn without<T>(&mut self, id: &InstanceId, question: impl FnOnce(&mut Self) -> T) -> T {
        let charge = self.ledger.strike(id);
        self.places.clear();
        let answer = question(self);
        if let Some(charge) = charge {
            self.ledger.charge(id, charge);
        }
        self.places.clear();
        answer
    }
}

/// The only host for a slot of global mode.
pub(crate) fn slot_host(spec: &ServiceSpec, slot: &Slot) -> Option<HostName> {
    (spec.mode() == Mode::Global).then(|| slot.as_str().parse().ok()).flatten()
}
