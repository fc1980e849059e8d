//! The planner's and the executor's rooms: one step of one instance.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use evenkeel_api::name::{InstanceId, NetworkName};
use evenkeel_api::network::HostSubnet;
use evenkeel_api::record::{Desired, Fence, Instance, Observed};
use evenkeel_api::service::Template;
use evenkeel_plan::instance::container::ContainerState;
use evenkeel_plan::instance::decide::{Action, Decision, View, decide};
use evenkeel_plan::instance::report;

use super::super::execute::{Confirm, Message, Outcome};
use super::{Driver, event_of};

type Addresses = Result<BTreeMap<NetworkName, Ipv4Addr>, String>;

impl Driver {
    /// Decides for one instance, reports it, and begins what is to be done.
    pub(super) fn step(&mut self, id: &InstanceId) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.busy {
            return;
        }
        if let Some(hold) = slot.hold.filter(|hold| now < *hold) {
            slot.wake = Some(hold);
            return;
        }
        slot.hold = None;
        let Some(uid) = self.world.uid() else { return };
        if slot.look {
            (slot.look, slot.busy) = (false, true);
            let (executor, id) = (self.executor.clone(), id.clone());
            let known = slot.container.as_ref().map(|container| container.id.clone());
            self.begin(id.clone(), async move { executor.look(&id, &uid, known).await });
            return;
        }
        let restart = self.world.record(id).and_then(|(record, _)| record.restart);
        if let Some(slot) = self.slots.get_mut(id) {
            slot.memory.asked_for(restart.as_ref(), now);
        }
        let decision = self.decide(id, &uid);
        self.report(id, &decision);
        if decision.gone {
            self.forget(id);
        } else if let Some(action) = decision.action {
            self.act(id, action);
        } else if let Some(slot) = self.slots.get_mut(id) {
            slot.wake = decision.wake;
        }
    }

    fn decide(&mut self, id: &InstanceId, uid: &str) -> Decision {
        let found = self.world.record(id);
        if found.is_none() && self.world.is_recorded(id) {
            tracing::warn!(instance = %id, "its record cannot be read: it is left as it is");
            return Decision::default();
        }
        let record = found.as_ref().map(|(record, _)| record);
        let reference = record.map(|record| record.template.clone());
        let reference = reference.or_else(|| self.slots.get(id)?.container.as_ref()?.template());
        let template = reference.as_ref().and_then(|reference| self.world.template(reference, id));
        let accepted = self.world.accepted(&id.service, id);
        let pin = reference.as_ref().and_then(|reference| self.world.pin(reference, id));
        let addresses = self.addresses(id, record, template.as_deref());
        let resolv = self.resolvers.path(id).to_string_lossy().into_owned();
        let fence = self.warden.path(id).to_string_lossy().into_owned();
        let Some(slot) = self.slots.get(id) else { return Decision::default() };
        let cover = slot.container.as_ref().map_or(Ok(()), |container| self.warden.cover(record, container));
        decide(&View {
            uid,
            host: &self.deps.host,
            id,
            record,
            template: template.as_deref(),
            accepted: accepted.as_deref(),
            pin: pin.as_deref(),
            container: slot.container.as_ref(),
            memory: &slot.memory,
            addresses: addresses.as_ref().map_err(String::as_str),
            networks: &self.world.networks,
            own: &self.world.own,
            policy: &self.policy,
            resolv: &resolv,
            fence: &fence,
            uncovered: cover.as_ref().err().map(String::as_str),
            may_destroy: self.may_destroy(),
            now: self.now(),
        })
    }

    /// The addresses of an instance; new ones only for what is about to be made here.
    fn addresses(
        &mut self,
        id: &InstanceId,
        record: Option<&Instance>,
        template: Option<&Template>,
    ) -> Addresses {
        let wanted = record.is_some_and(|record| record.desired == Desired::Run);
        let made = self.slots.get(id).is_some_and(|slot| slot.container.is_some());
        let Some(template) = template.filter(|_| wanted && !made) else { return Ok(self.book.of(id)) };
        let names = template.networks();
        if names.iter().any(|name| !self.world.networks.contains_key(name)) {
            return Ok(self.book.of(id));
        }
        let mut addresses = BTreeMap::new();
        for name in names {
            let Some(network) = self.world.networks.get(&name) else { continue };
            let (engine_name, host) = (network.engine_name.clone(), self.deps.host.clone());
            let subnet = HostSubnet { network: name.clone(), host, subnet: network.subnet };
            let taken = self.held_by_others(&engine_name);
            let address =
                self.book.assign(id, &subnet, &taken, self.now()).map_err(|full| full.to_string())?;
            addresses.insert(name, address);
        }
        Ok(addresses)
    }

    fn report(&mut self, id: &InstanceId, decision: &Decision) {
        let wall = self.deps.env.wall();
        let addresses = self.book.of(id);
        let Some(slot) = self.slots.get_mut(id) else { return };
        let before = slot.observed.take();
        let state = decision.state.clone();
        let (container, memory) = (slot.container.as_ref(), &slot.memory);
        let observed = report::observed(before.as_ref(), state, container, &addresses, memory, wall);
        // Also one run after the other that ends alike, without anybody seeing it run.
        let is_news = |now: &&Observed| {
            before.as_ref().is_none_or(|then| {
                event_of(&then.state) != event_of(&now.state) || then.started != now.started
            })
        };
        let news = observed.as_ref().filter(is_news);
        let event = news.and_then(|now| event_of(&now.state));
        slot.observed.clone_from(&observed);
        let counted = |observed: &Option<Observed>| observed.as_ref().map(|observed| observed.restarts);
        if let (Some(then), Some(now)) = (counted(&before), counted(&observed))
            && now > then
        {
            self.deps.meter.restarted(&id.service, now - then);
        }
        if let Some((reason, message)) = event {
            self.event(id, true, reason, message);
        }
        if observed.is_some() && !decision.gone {
            self.reports.tell(id, observed.as_ref());
        }
    }

    /// Nothing of it is left, and nobody wants it.
    fn forget(&mut self, id: &InstanceId) {
        if !self.may_destroy() {
            return;
        }
        self.book.release(id, self.now());
        self.resolvers.remove(id);
        self.warden.remove(id);
        self.slots.remove(id);
        if !self.slots.keys().any(|other| other.service == id.service) {
            self.deps.meter.forget(&id.service);
        }
        self.reports.tell(id, None);
    }

    fn act(&mut self, id: &InstanceId, action: Action) {
        let (record, revision) = match self.world.record(id) {
            Some((record, revision)) => (Some(record), revision),
            None => (None, 0),
        };
        let Some(slot) = self.slots.get_mut(id) else { return };
        tracing::debug!(instance = %id, action = name(&action), "begins");
        let fence = record.as_ref().and_then(|record| record.fence);
        match &action {
            Action::Pull { reference } => return self.pull(id, reference),
            Action::Create { spec, .. } => {
                slot.asked_image = Some(spec.image.clone());
                if let Err(why) = self.write_files(id, fence, true) {
                    return self.cannot_make(id, why);
                }
            }
            // A file that is gone would keep the container from starting.
            Action::Start => {
                slot.starting = true;
                if let Err(why) = self.write_files(id, fence, false) {
                    return self.cannot_make(id, why);
                }
            }
            Action::Update(limits) => slot.asked_limits = Some(*limits),
            Action::Remove if slot.memory.address_taken => self.move_away(id),
            _ => {}
        }
        let Some(slot) = self.slots.get_mut(id) else { return };
        let ends = record.is_none_or(|record| matches!(record.desired, Desired::Stop | Desired::Lost));
        let destroys = matches!(action, Action::Stop { .. } | Action::Remove);
        let running = slot.container.as_ref().is_some_and(|one| one.state == ContainerState::Running);
        // Also what is made anew at once: it must not be stopped for a store that went back.
        let destroys = destroys && (ends || running) && slot.confirmed != Some(revision);
        if destroys {
            slot.confirmed = Some(revision);
        }
        // Every start of an exclusive one: another copy may run by now if the store went back.
        let exclusive = slot.container.as_ref().is_some_and(|container| container.guard().is_some());
        let confirm = (destroys || (exclusive && action == Action::Start)).then_some(Confirm { revision });
        (slot.busy, slot.wake) = (true, None);
        let (executor, container, of) = (self.executor.clone(), slot.container.clone(), id.clone());
        self.begin(id.clone(), async move { executor.act(&of, container.as_ref(), action, confirm).await });
    }

    /// The files that its container mounts.
    fn write_files(&mut self, id: &InstanceId, fence: Option<Fence>, new: bool) -> Result<(), String> {
        match self.write_resolver(id) {
            // Older names are better than no start; an older token is not.
            Err(why) if !new => tracing::warn!(instance = %id, why, "started with the file that it has"),
            written => written?,
        }
        self.warden.write(id, fence)
    }

    /// As when the engine cannot make it: told, and tried again with pauses.
    fn cannot_make(&mut self, id: &InstanceId, why: String) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.starting = false;
        slot.memory.troubled(why, now);
        slot.memory.runs.failed_to_start(now);
        self.due.insert(id.clone());
    }

    fn begin(&mut self, id: InstanceId, work: impl Future<Output = Outcome> + Send + 'static) {
        let tell = self.tell.clone();
        // Those that ended.
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(async move {
            let outcome = work.await;
            // Nobody hears when the driver is gone.
            let _end = tell.send(Message::Done(id, Box::new(outcome)));
        });
    }

    fn pull(&mut self, id: &InstanceId, reference: &str) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.wake = None;
        }
        if !self.pulls.want(reference, id) {
            return;
        }
        let platform = (self.world.record(id))
            .and_then(|(record, _)| self.world.template(&record.template, id))
            .and_then(|template| template.platform.clone());
        let auth = super::files::credentials(&self.deps.registry_auth, reference);
        let (engine, tell) = (self.deps.engine.clone(), self.tell.clone());
        let reference = reference.to_owned();
        self.tasks.spawn(async move {
            let pulled = engine.pull(&reference, platform.as_deref(), auth.as_ref()).await;
            let _end = tell.send(Message::Pulled(reference, pulled));
        });
    }

    /// Its address is held by something that is not ours: the next making gets another one.
    fn move_away(&mut self, id: &InstanceId) {
        let has = self.book.of(id);
        let held = |(name, address): &(&NetworkName, &Ipv4Addr)| {
            let network = self.world.networks.get(*name);
            network.is_some_and(|network| self.held_by_others(&network.engine_name).contains(*address))
        };
        let mut leaves: Vec<&NetworkName> = has.iter().filter(held).map(|(name, _)| name).collect();
        if leaves.is_empty() {
            // The engine does not list who holds it, as with the remains of a container: it may be any of them.
            leaves = has.keys().collect();
        }
        let now = self.now();
        for network in leaves {
            self.book.give_up(id, network, now);
        }
    }
}

fn name(action: &Action) -> &'static str {
    match action {
        Action::Pull { .. } => "pull",
        Action::Verify { .. } => "verify",
        Action::Create { .. } => "create",
        Action::Start => "start",
        Action::Update(_) => "update",
        Action::Stop { .. } => "stop",
        Action::Remove => "remove",
    }
}
