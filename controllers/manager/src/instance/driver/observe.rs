//! The observer's room: what tasks and the engine tell.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_api::name::InstanceId;
use evenkeel_engine::{EngineError, EngineEvent, Image};
use evenkeel_metrics::Trouble;
use evenkeel_plan::instance::container::{Container, ContainerState, label};
use evenkeel_plan::instance::memory::Pull;
use evenkeel_plan::instance::resolv::{self, Resolvers};

use super::super::execute::{Message, Outcome};
use super::{Driver, LIST_AGAIN, by_instance};

/// After an engine that did not answer.
const ENGINE_AGAIN: Duration = Duration::from_secs(1);
/// After a store that did not confirm.
const STORE_AGAIN: Duration = Duration::from_millis(300);
/// After a start that was refused for a reason that passes; longer each time.
const REFUSED_AGAIN: Duration = Duration::from_millis(100);
/// Such starts in a row after which people are told.
const REFUSALS: u32 = 5;
/// After limits that the engine refused.
const LIMITS_AGAIN: Duration = Duration::from_secs(30);

impl Driver {
    pub(super) fn hear(&mut self, message: Message) {
        match message {
            Message::Done(id, outcome) => self.done(&id, *outcome),
            Message::Listed(asked, listed) => self.listed(asked, listed),
            Message::Pulled(reference, pulled) => self.pulled(&reference, pulled),
            Message::Event(event) => self.engine_event(&event),
            Message::Subscribed => (self.next_list, self.list_again) = (Duration::ZERO, true),
        }
    }

    fn listed(&mut self, asked: Duration, listed: Result<Vec<Container>, EngineError>) {
        self.listing = false;
        let now = self.now();
        let containers = match listed {
            Ok(containers) => {
                self.warden.listed(&containers);
                by_instance(containers)
            }
            Err(error) => {
                self.deps.meter.failed(Trouble::Engine);
                tracing::warn!(%error, "the containers cannot be listed");
                self.next_list = now + ENGINE_AGAIN;
                return;
            }
        };
        self.listed = true;
        if std::mem::take(&mut self.list_again) {
            self.next_list = now + LIST_AGAIN;
        }
        for (id, container) in &containers {
            self.slot(id);
            self.adopt(id, container);
        }
        for (id, slot) in &mut self.slots {
            // A list that was asked for before the newest step says nothing about what the step did.
            if !slot.busy && slot.seen <= asked {
                slot.saw(containers.get(id).cloned(), now);
            }
        }
        self.write_resolvers();
        self.all_due();
    }

    /// Notes the addresses of a container that an earlier life made, should the book be lost.
    fn adopt(&mut self, id: &InstanceId, container: &Container) {
        for (name, network) in &self.world.networks {
            if let Some(address) = container.addresses.get(&network.engine_name) {
                self.book.adopt(id, name, *address);
            }
        }
    }

    fn engine_event(&mut self, event: &EngineEvent) {
        if event.kind != "container" {
            return;
        }
        // By its label, as a person may have renamed it; what has no label of ours may be in our way.
        let Ok(id) = event.attributes.get(label::INSTANCE).unwrap_or(&event.name).parse::<InstanceId>()
        else {
            return;
        };
        let now = self.now();
        let Some(slot) = self.slots.get_mut(&id) else { return };
        match event.action.as_str() {
            "oom" => {
                slot.memory.oom = true;
                return;
            }
            "die" | "destroy" | "pause" | "unpause" | "rename" | "update" => {}
            "start" if slot.container.as_ref().is_some_and(|one| one.state != ContainerState::Running) => {}
            action if action.starts_with("health_status") => {}
            _ => return,
        }
        if slot.busy {
            // The step's own look may have been before or after it; of its own doing it knows.
            let passing = matches!(event.action.as_str(), "start" | "update" | "rename");
            slot.look |= !passing;
            return;
        }
        let known = slot.container.as_ref().filter(|one| one.id == event.id);
        match (event.action.as_str(), known) {
            // Looking would cost a call between the end and the start.
            ("die", Some(container)) if container.state == ContainerState::Running => {
                let code = event.attributes.get("exitCode").and_then(|code| code.parse().ok()).unwrap_or(-1);
                let ended = Container {
                    state: ContainerState::Exited { code, oom: slot.memory.oom },
                    ports: Vec::new(),
                    health: None,
                    pid: None,
                    ..container.clone()
                };
                slot.saw(Some(ended), now);
            }
            ("destroy", Some(_)) => slot.saw(None, now),
            // Another container's, from before this one was made.
            ("die" | "destroy", None) if slot.container.is_some() => return,
            ("destroy", None) => slot.memory.trouble = None,
            _ => slot.look = true,
        }
        slot.hold = None;
        self.due.insert(id);
    }

    fn done(&mut self, id: &InstanceId, outcome: Outcome) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.busy = false;
        let starting = std::mem::take(&mut slot.starting);
        match outcome {
            Outcome::Saw(container) => slot.saw(container.map(|container| *container), now),
            Outcome::Updated => self.limits_taken(id),
            Outcome::Image(image) => image_compared(slot, image.as_ref()),
            Outcome::AddressTaken(taken) => {
                slot.memory.address_taken = true;
                self.note_taken(taken);
            }
            Outcome::Unconfirmed(why) => {
                tracing::info!(instance = %id, why, "not stopped: the store does not confirm it");
                (slot.hold, slot.confirmed) = (Some(now + STORE_AGAIN), None);
            }
            Outcome::Failed(error) if starting && passes(&error) => self.start_refused(id, &error),
            Outcome::Failed(error) => self.engine_said_no(id, error),
        }
        self.due.insert(id.clone());
    }

    /// Addresses on engine networks that no container of ours has.
    fn note_taken(&mut self, found: Vec<(String, BTreeSet<Ipv4Addr>)>) {
        for (network, addresses) in found {
            let has = |one: &Container, at: &Ipv4Addr| {
                one.state == ContainerState::Running && one.addresses.get(&network) == Some(at)
            };
            let ours = |at: &Ipv4Addr| {
                self.slots.values().filter_map(|slot| slot.container.as_ref()).any(|one| has(one, at))
            };
            let theirs: BTreeSet<_> = addresses.into_iter().filter(|at| !ours(at)).collect();
            self.taken.entry(network).or_default().extend(theirs);
        }
    }

    /// The container is being removed, or something that it needs is not there yet.
    fn start_refused(&mut self, id: &InstanceId, error: &EngineError) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.refusals += 1;
        if slot.refusals > REFUSALS {
            slot.memory.troubled(error.to_string(), now);
            slot.memory.runs.failed_to_start(now);
        }
        (slot.look, slot.hold) = (true, Some(now + REFUSED_AGAIN * slot.refusals.min(50)));
    }

    fn limits_taken(&mut self, id: &InstanceId) {
        let wanted = self.world.accepted(&id.service, id).map(|spec| spec.limits).unwrap_or_default();
        if let Some(slot) = self.slots.get_mut(id) {
            slot.memory.limits_set = slot.asked_limits.take().or(Some(wanted));
            slot.look = true;
        }
    }

    fn engine_said_no(&mut self, id: &InstanceId, error: EngineError) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.asked_limits.take().is_some() && !error.is_engine_away() {
            slot.memory.limits_again = Some(now + LIMITS_AGAIN);
            self.event(id, true, "LimitsRefused", error.to_string());
            return;
        }
        if !matches!(error, EngineError::ImageMissing(_) | EngineError::NotFound(_)) {
            self.deps.meter.failed(Trouble::Engine);
        }
        match error {
            EngineError::ImageMissing(_) => {
                // Pulled, and not here all the same: somebody removes images.
                let asked = slot.asked_image.as_deref();
                if slot.memory.pull.as_ref().is_some_and(|pull| Some(pull.reference()) == asked) {
                    slot.memory.troubled(error.to_string(), now);
                    slot.memory.pull = None;
                }
                slot.memory.missing.clone_from(&slot.asked_image);
            }
            // Unknown outcome, or none: look before the next step.
            ref away if away.is_engine_away() => {
                tracing::warn!(instance = %id, error = %away, "the engine did not do it");
                (slot.hold, slot.look) = (Some(now + ENGINE_AGAIN), true);
            }
            EngineError::NotFound(_) => slot.look = true,
            EngineError::Conflict { ref who } => {
                let why = format!("something that is not evenkeel's is in the way: {who}");
                slot.memory.troubled(why, now);
                slot.look = true;
            }
            other => {
                slot.memory.troubled(other.to_string(), now);
                slot.memory.runs.failed_to_start(now);
                slot.look = true;
            }
        }
    }

    fn pulled(&mut self, reference: &str, pulled: Result<Image, EngineError>) {
        let now = self.now();
        if pulled.is_err() {
            self.deps.meter.failed(Trouble::Image);
        }
        for id in self.pulls.over(reference) {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            let image = match &pulled {
                Ok(image) => image,
                Err(error) => {
                    let failed = Pull::failed(reference, &error.to_string(), slot.memory.pull.as_ref(), now);
                    slot.memory.pull = Some(failed);
                    self.event(&id, true, "PullFailed", format!("cannot pull {reference}: {error}"));
                    self.due.insert(id);
                    continue;
                }
            };
            let digest = image.digest_for(reference);
            slot.memory.pull = Some(Pull::Done { reference: reference.to_owned(), digest });
            slot.memory.missing = None;
            if slot.memory.wrong_image {
                // The same after all: the engine only did not know it by that name.
                let same = slot.container.as_ref().is_some_and(|container| container.image_id == image.id);
                (slot.memory.verified, slot.memory.wrong_image) = (same, !same);
            }
            self.due.insert(id);
        }
    }

    /// Brings the resolver files of all that have a container up to date.
    pub(super) fn write_resolvers(&mut self) {
        let ids: Vec<InstanceId> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.container.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            if let Err(why) = self.write_resolver(&id) {
                tracing::error!(instance = %id, why, "what its container has goes on holding");
            }
        }
    }

    /// Writes one.
    ///
    /// # Errors
    /// It cannot be written: why, for people.
    pub(super) fn write_resolver(&mut self, id: &InstanceId) -> Result<(), String> {
        let Some((record, _)) = self.world.record(id) else { return Ok(()) };
        let Some(template) = self.world.template(&record.template, id) else { return Ok(()) };
        if !resolv::is_mounted(&template) {
            return Ok(());
        }
        let first = template.networks().into_iter().next();
        let Some((name, network)) = first.and_then(|name| self.world.networks.get_key_value(&name)) else {
            return Ok(());
        };
        let Some(gateway) = network.subnet.nth(1) else { return Ok(()) };
        let peer = resolv::peer(id, &self.world.peers(name));
        let text = resolv::text(id, &template, &Resolvers { gateway, peer, domain: network.domain.clone() });
        self.resolvers.write(id, &text).map_err(|error| {
            format!("its resolver file {} cannot be written: {error}", self.resolvers.path(id).display())
        })
    }

    /// The addresses that others hold on the engine's network of that name, as far as they were found.
    pub(super) fn held_by_others(&self, engine_name: &str) -> BTreeSet<Ipv4Addr> {
        self.taken.get(engine_name).cloned().unwrap_or_default()
    }
}

/// Whether a start may go well the next time, though nobody does anything.
fn passes(error: &EngineError) -> bool {
    matches!(error, EngineError::NotFound(_) | EngineError::Conflict { .. })
}

fn image_compared(slot: &mut super::Slot, image: Option<&Image>) {
    let running = slot.container.as_ref().map(|container| container.image_id.as_str());
    let same = image.is_some_and(|image| Some(image.id.as_str()) == running);
    (slot.memory.verified, slot.memory.wrong_image) = (same, !same);
}
