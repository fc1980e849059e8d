//! Where copies are, or why nobody takes them.

use evenkeel_api::name::{HostName, InstanceId, ServiceId, Slot};
use evenkeel_api::record::Desired;
use evenkeel_api::service::{DependencyCondition, Mode};
use evenkeel_plan::service::{Copy, Refusal, Room, Service, Survey, Unmet, room};

use super::{Finding, Scene};
use crate::words;

/// A slot that shall have a copy.
pub(super) struct Place<'a> {
    pub scene: &'a Scene,
    pub id: &'a ServiceId,
    pub service: &'a Service,
    pub survey: &'a Survey,
}

impl Place<'_> {
    /// Of `slots`, those without a copy, then copies that are where nothing is heard of them.
    pub fn of(&self, slots: &[Slot], copies: &[(&InstanceId, &Copy)]) -> Finding {
        if slots.is_empty() {
            return self.nothing_wanted();
        }
        if let [first, ..] = self.survey.unmet.as_slice() {
            return self.waits_for(first);
        }
        let has = |slot: &&Slot| copies.iter().any(|(id, _)| id.slot == **slot);
        let missing: Vec<&Slot> = slots.iter().filter(|slot| !has(slot)).collect();
        if let [first, rest @ ..] = missing.as_slice() {
            return self.missing(first, rest.len(), slots.len());
        }
        // Where a successor is already, nothing is missed.
        let there =
            |slot: &Slot| copies.iter().any(|(id, copy)| id.slot == *slot && self.scene.is_alive(&copy.host));
        let gone: Vec<_> = copies.iter().filter(|(id, _)| !there(&id.slot)).collect();
        if let [(id, copy), rest @ ..] = gone.as_slice() {
            return self.gone(id, copy, rest.len());
        }
        let hosts: std::collections::BTreeSet<&str> =
            copies.iter().map(|(_, copy)| copy.host.as_str()).collect();
        Finding::holds(format!(
            "{} on {}",
            match copies.len() {
                1 => "1 copy is".to_owned(),
                n => format!("{n} copies are"),
            },
            hosts.into_iter().collect::<Vec<_>>().join(", ")
        ))
    }

    fn nothing_wanted(&self) -> Finding {
        let Some(accepted) = &self.service.accepted else { return Finding::open("nothing is accepted yet") };
        match accepted.value.spec.mode() {
            Mode::Replicated => Finding::broken("its document wants no copy: replicas is 0")
                .help(format!("evenkeel scale {}=1", self.id), "wants one"),
            Mode::Global => Finding::broken(format!(
                "no host is meant: {}",
                self.survey.not_meant.say(0, &accepted.value.spec)
            ))
            .help("evenkeel get hosts", "the hosts, and what they do"),
        }
    }

    fn waits_for(&self, unmet: &Unmet) -> Finding {
        let id = &unmet.service;
        let why = match (unmet.exists, unmet.condition) {
            (false, _) => format!("its first start waits for {id}, and there is no such service"),
            (true, DependencyCondition::ServiceStarted) => {
                format!("its first start waits for {id}, of which no copy runs")
            }
            (true, DependencyCondition::ServiceHealthy) => {
                format!("its first start waits for {id}, of which no copy is ready")
            }
        };
        let found = Finding::broken(why);
        match unmet.exists {
            true => found.help(format!("evenkeel explain {id}"), "why that is so"),
            false => found.help("evenkeel apply -f FILE", "brings it; or take it out of depends_on"),
        }
    }

    fn missing(&self, slot: &Slot, more: usize, wanted: usize) -> Finding {
        let Some(accepted) = &self.service.accepted else { return Finding::open("nothing is accepted yet") };
        let spec = &accepted.value.spec;
        let room = room(&self.scene.world, self.id, slot).unwrap_or_default();
        let which = match (more, wanted) {
            (_, 1) => "its copy".to_owned(),
            (0, _) => format!("slot {slot}"),
            (n, _) => format!("slot {slot} (and {n} more)"),
        };
        let hosts = room.refusals.say(room.fit.len(), spec);
        if !room.fit.is_empty() {
            let status = self.service.status.as_ref().and_then(|status| words::hindrance(&status.value));
            let why = status.map(|why| format!("; {why}")).unwrap_or_default();
            return Finding::waits(format!("{which} is yet to be placed: {hosts}{why}"));
        }
        if room.refusals.counts.keys().any(|refusal| matches!(refusal, Refusal::NoNetwork(_))) {
            return Finding::broken(format!("{which} is on no host: {hosts}"))
                .help("evenkeel get networks", "those that there are")
                .help("evenkeel apply -f FILE", "brings it; or name another in the Service's networks");
        }
        let network = self.network(&room);
        self.advise(Finding::broken(format!("no host can take {which}: {hosts}{network}")), &room)
    }

    /// What keeps a network from standing, where that is what is missing.
    fn network(&self, room: &Room) -> String {
        let missing = room.refusals.counts.keys().find_map(|refusal| match refusal {
            Refusal::NetworkNotReady(network) => Some(network),
            _ => None,
        });
        let told = missing.and_then(|network| {
            let mut told = self.scene.networks.iter();
            told.find(|((name, _), _)| name == network)
        });
        told.map(|((_, host), why)| format!("; on {host}: {why}")).unwrap_or_default()
    }

    fn advise(&self, mut found: Finding, room: &Room) -> Finding {
        let mut refused = [false; 3];
        for refusal in room.refusals.counts.keys() {
            match refusal {
                Refusal::Drained | Refusal::Paused => refused[0] = true,
                Refusal::NetworkNotReady(_) => refused[1] = true,
                _ => refused[2] = true,
            }
        }
        if refused[0] {
            found = found.help("evenkeel host undrain HOST", "lets a host take copies again");
        }
        if refused[1] {
            found = found.help("evenkeel describe network NAME", "where it stands, and where not");
        }
        if refused[2] {
            found = found
                .help("evenkeel get hosts", "what the hosts have")
                .help(format!("evenkeel get service {}", self.id), "what the document demands");
        }
        found
    }

    fn gone(&self, id: &InstanceId, copy: &Copy, more: usize) -> Finding {
        let host = &copy.host;
        let which = match more {
            0 => format!("{id} is on {host}, which is gone"),
            n => format!("{id} (and {n} more) is on {host}, which is gone"),
        };
        let status = self.scene.world.hosts.get(host).and_then(|known| known.status.as_ref());
        let since = status.and_then(|status| {
            let available = status.value.condition(evenkeel_api::record::ConditionType::Available)?;
            (!available.status).then_some(available.since)
        });
        let held =
            self.scene.world.brakes.as_ref().is_some_and(|brakes| brakes.value.held.contains_key(host));
        let found = if held {
            Finding::broken(format!(
                "{which}; too many hosts went at once, and the brake keeps it from being replaced"
            ))
            .help(format!("evenkeel host confirm-dead {host}"), "that host is dead: replace its copies now")
            .help("evenkeel brake release", "all that are gone are dead")
        } else if self.stays(id, copy) {
            let found =
                Finding::broken(format!("{which}, and it can be nowhere else: it waits for the host"));
            self.give_up(found, host)
        } else {
            Finding::waits(format!("{which}; it is replaced elsewhere, unless that host is back soon"))
        };
        found.since(since)
    }

    /// How a host is given up for good: who made the cluster has a way that also takes its certificates.
    fn give_up(&self, found: Finding, host: &HostName) -> Finding {
        let remove = format!("evenkeel host remove {host} --dead");
        if self.scene.made_here {
            return found.help(remove, "if the host is dead for good: gives the copy and its volume up");
        }
        found
            .help(remove, "if the host is dead for good: gives both up; by whoever did `evenkeel init`")
            .help(format!("evenkeel delete host {host}"), "the same, with an etcd of your own")
    }

    /// Whether a copy is bound to its host.
    fn stays(&self, id: &InstanceId, copy: &Copy) -> bool {
        let homes = self.service.rollout.as_ref().map(|rollout| &rollout.value.homes);
        id.slot.number().is_none() || homes.is_some_and(|homes| homes.get(&id.slot) == Some(&copy.host))
    }
}

/// Why a copy is on its way out.
pub(super) fn leaving(id: &InstanceId, copy: &Copy) -> Option<Finding> {
    let record = &copy.record.as_ref()?.value;
    let how = match record.desired {
        Desired::Run => return None,
        Desired::Drain => "is taken out of the names, and stopped then",
        Desired::Stop => "is being stopped",
        Desired::Lost => "is given up with its host",
    };
    Some(
        Finding::broken(format!("{id} {how}: {}", record.cause))
            .help(format!("evenkeel explain {}/{}", id.service, id.slot), "what is in its place"),
    )
}
