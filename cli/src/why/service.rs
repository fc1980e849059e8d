//! The chain of a service, of one of its slots, or of one copy.

use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{InstanceId, ServiceId, Slot};
use evenkeel_api::record::{ConditionType, Desired, Phase, Rollout};
use evenkeel_plan::service::{Copy, NO_ROOM, Service, Survey, survey};

use super::links::of_all;
use super::placement::{Place, leaving};
use super::{Explanation, Finding, Link, Mark, Scene, copy, telling};

/// What of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// All of it.
    All,
    /// What is in one slot.
    Slot(Slot),
    /// One copy.
    Copy(InstanceId),
}

/// Explains it. The service is known.
pub(super) fn explain(scene: &Scene, id: &ServiceId, of: &Of) -> Explanation {
    let unknown = Service::default();
    let service = scene.service(id).unwrap_or(&unknown);
    let survey = survey(&scene.world, id);
    let chain = Chain { scene, id, service, survey: survey.as_ref(), of };
    let links = chain.links();
    let what = chain.what();
    let answer = chain.answer(&what, &links);
    let worst = telling(&links);
    let help = worst.map(|link| link.finding.help.clone()).unwrap_or_default();
    let state = worst.map_or(Mark::Holds, |link| link.finding.mark);
    Explanation { what, answer, state, links, help }
}

struct Chain<'a> {
    scene: &'a Scene,
    id: &'a ServiceId,
    service: &'a Service,
    survey: Option<&'a Survey>,
    of: &'a Of,
}

impl<'a> Chain<'a> {
    fn what(&self) -> String {
        match self.of {
            Of::All => format!("Service {}", self.id),
            Of::Slot(slot) => format!("slot {slot} of Service {}", self.id),
            Of::Copy(id) => format!("copy {id}"),
        }
    }

    fn links(&self) -> Vec<Link> {
        let mut links = vec![
            Link { name: "document", finding: self.document() },
            Link { name: "accepted", finding: self.accepted() },
            Link { name: "rollout", finding: self.rollout() },
            Link { name: "placement", finding: self.placement() },
        ];
        let copies = self.copies();
        let of = |of: &(&'a InstanceId, &'a Copy)| copy::Of {
            scene: self.scene,
            service: self.service,
            id: of.0,
            copy: of.1,
        };
        let each =
            |find: &dyn Fn(copy::Of<'a>) -> Finding| copies.iter().map(|copy| find(of(copy))).collect();
        let runs = |well, all| format!("{well} of {all} copies run");
        links.push(Link { name: "container", finding: of_all(each(&|copy| copy.container()), runs) });
        let well = |well, all| format!("{well} of {all} copies are well");
        links.push(Link { name: "health", finding: self.health(of_all(each(&|copy| copy.health()), well)) });
        let names = |well, all| format!("names lead to {well} of {all} copies");
        links.push(Link { name: "names", finding: self.names(of_all(each(&|copy| copy.names()), names)) });
        links
    }

    /// The slots that shall have a copy, of those that are asked for.
    fn slots(&self) -> Vec<Slot> {
        let wanted = self.survey.map(|survey| survey.wanted.as_slice()).unwrap_or_default();
        let asked = |slot: &&Slot| match self.of {
            Of::All => true,
            Of::Slot(asked) => asked == *slot,
            Of::Copy(id) => id.slot == **slot,
        };
        wanted.iter().filter(asked).cloned().collect()
    }

    /// The copies that are asked for: those that shall run, or the one that was named.
    fn copies(&self) -> Vec<(&'a InstanceId, &'a Copy)> {
        let asked = |(id, copy): &(&InstanceId, &Copy)| {
            let lives = copy.record.as_ref().is_some_and(|record| record.value.desired == Desired::Run);
            match self.of {
                Of::All => lives,
                Of::Slot(slot) => lives && id.slot == *slot,
                Of::Copy(asked) => asked == *id,
            }
        };
        self.service.copies.iter().filter(asked).collect()
    }

    fn document(&self) -> Finding {
        let object = ObjectRef::Service(self.id.clone());
        let brakes = self.scene.world.brakes.as_ref();
        match &self.service.document {
            Some(document) => Finding::holds(format!("revision {}", document.mod_revision)),
            None if brakes.is_some_and(|brakes| brakes.value.deletions.contains(&object)) => Finding::aside(
                "its document is gone, and so are many others at once: what it brought is kept",
            )
            .help("evenkeel apply -f DIR", "puts the documents back")
            .help("evenkeel brake release --deletions", "it was meant: takes down what they brought"),
            None => Finding::broken("its document is deleted, and its copies are taken down")
                .help("evenkeel apply -f FILE", "brings it back"),
        }
    }

    fn accepted(&self) -> Finding {
        let Some(document) = &self.service.document else { return Finding::open("nothing to accept") };
        let accepted = self.service.accepted.as_ref().map(|accepted| &accepted.value);
        let looked = self.service.status.as_ref().map_or(0, |status| status.value.observed_revision);
        match (&document.parsed, accepted) {
            _ if looked < document.mod_revision => self.unseen(document.mod_revision),
            (Err(why), None) => Finding::broken(format!(
                "its document is refused, and none of it was ever valid: {}",
                one_line(why)
            ))
            .help(format!("evenkeel get service {} >FILE", self.id), "to mend it, then apply it"),
            (Err(why), Some(accepted)) => Finding::aside(format!(
                "the newest document is refused: {}; revision {} holds",
                one_line(why),
                accepted.source_revision
            ))
            .help(format!("evenkeel get service {} >FILE", self.id), "to mend it, then apply it"),
            (Ok(_), _) => match self.idle() {
                Some(idle) => Finding { mark: Mark::Aside, ..idle },
                None => Finding::holds("its newest document holds"),
            },
        }
    }

    /// A document that nobody has looked at.
    fn unseen(&self, revision: i64) -> Finding {
        match self.idle() {
            Some(idle) => idle,
            None => {
                Finding::waits(format!("no controller has looked at revision {revision} of its document yet"))
                    .help("evenkeel status", "if that lasts: whether a controller leads")
            }
        }
    }

    /// That nobody decides anything.
    fn idle(&self) -> Option<Finding> {
        let why = self.scene.idle.as_ref()?;
        Some(Finding::broken(why.clone()).help("evenkeel status", "what is wrong with the cluster"))
    }

    fn rollout(&self) -> Finding {
        if let [first, ..] = self.service.unreadable.iter().collect::<Vec<_>>().as_slice() {
            let why = format!("{first} cannot be read, so nothing is changed");
            return Finding::broken(why).help("evenkeel status", "what to do about it");
        }
        let (Some(survey), Some(rollout)) = (self.survey, &self.service.rollout) else {
            return Finding::open("nothing is rolled out yet");
        };
        let rollout = &rollout.value;
        let target = rollout.target.unwrap_or(survey.template);
        let own = match self.of {
            Of::Copy(id) => self.service.copies.get(id).and_then(|copy| copy.record.as_ref()),
            _ => None,
        };
        let own = own.map(|record| record.value.template.revision).filter(|own| *own != target);
        let of = own.map(|own| format!("it is of template @{own}; ")).unwrap_or_default();
        let found = self.stands(survey, rollout, target);
        Finding { says: format!("{of}{}", found.says), ..found }
    }

    fn stands(&self, survey: &Survey, rollout: &Rollout, target: i64) -> Finding {
        let id = self.id;
        let waits = rollout.instead_of.map(|newest| format!("; the document's @{newest} waits"));
        let resume = format!("evenkeel rollout resume {id}");
        match &rollout.phase {
            Phase::Paused { why } if !rollout.held => {
                return Finding::broken(format!("the rollout of template @{target} stands still: {why}"))
                    .help("evenkeel apply -f FILE --wait", "brings a better document")
                    .help(resume, "the document is right: tries it again");
            }
            _ if survey.held && (rollout.held || waits.is_some()) => {
                let why =
                    format!("a person paused its rollout at template @{target}{}", waits.unwrap_or_default());
                return Finding::aside(why).help(resume, "lets it go on");
            }
            _ => {}
        }
        if let Some(newest) =
            rollout.instead_of.filter(|newest| rollout.rejected.contains(newest) && !survey.pinned)
        {
            let why = rollout.evidence.get(&newest).map_or("its copies failed", String::as_str);
            let rejected =
                format!("template @{newest} of its document is rejected, and @{target} in its place: {why}");
            return Finding::aside(rejected)
                .help("evenkeel apply -f FILE --wait", "brings a better document")
                .help(format!("evenkeel rollout retry {id}"), "the document is right: tries it again");
        }
        if survey.pinned {
            let why = format!("a person pinned template @{target}{}", waits.unwrap_or_default());
            return Finding::aside(why)
                .help(format!("evenkeel rollout unpin {id}"), "the document holds again");
        }
        if rollout.phase == Phase::Rolling {
            let status = self.service.status.as_ref();
            let degraded = status.and_then(|status| status.value.condition(ConditionType::Degraded));
            if let Some(stuck) = degraded.filter(|degraded| degraded.status && degraded.reason == NO_ROOM) {
                let why = format!("the rollout of template @{target} does not go on: {}", stuck.message);
                return Finding::broken(why)
                    .help(
                        "evenkeel get hosts",
                        "what the hosts have; `evenkeel host undrain HOST` lets one take copies",
                    )
                    .help(format!("evenkeel get service {id}"), "what the document demands")
                    .help(format!("evenkeel unpin {id}"), "if it is about a restart: takes that back");
            }
            let told = status.and_then(|status| status.value.condition(ConditionType::Progressing));
            let told = told.map_or("copies are exchanged", |told| told.message.as_str());
            return Finding::waits(format!("the rollout of template @{target} is under way: {told}"))
                .help(format!("evenkeel rollout status {id} --wait"), "follows it");
        }
        let held = if survey.held { ", and a person paused what comes next" } else { "" };
        Finding::holds(format!("template @{target}{held}"))
    }

    fn placement(&self) -> Finding {
        let Some(survey) = self.survey else { return Finding::open("nothing is to be placed yet") };
        if self.service.accepted.as_ref().is_some_and(|accepted| accepted.value.deleting) {
            return Finding::open("its copies are taken down");
        }
        let place = Place { scene: self.scene, id: self.id, service: self.service, survey };
        let (slots, copies) = (self.slots(), self.copies());
        match self.of {
            Of::Copy(id) => match copies.first() {
                None => self.no_such_copy(id),
                Some((id, copy)) => {
                    leaving(id, copy).unwrap_or_else(|| place.of(std::slice::from_ref(&id.slot), &copies))
                }
            },
            Of::Slot(slot) if slots.is_empty() => self.no_such_slot(slot, survey),
            _ => self.with_hindrance(place.of(&slots, &copies)),
        }
    }

    fn no_such_copy(&self, id: &InstanceId) -> Finding {
        let mut others = self.service.copies.keys().filter(|other| other.slot == id.slot && *other != id);
        let now = others.next_back().map(|other| format!("; in its slot is {other}")).unwrap_or_default();
        Finding::broken(format!("there is no such copy any more, or there never was{now}"))
            .help(format!("evenkeel explain {}/{}", id.service, id.slot), "why its slot is as it is")
            .help(format!("evenkeel events {}", id.service), "what became of it")
    }

    fn no_such_slot(&self, slot: &Slot, survey: &Survey) -> Finding {
        let slots: Vec<&str> = survey.wanted.iter().map(Slot::as_str).collect();
        let numbers: Vec<u32> = survey.wanted.iter().filter_map(Slot::number).collect();
        let in_a_row = numbers.windows(2).all(|pair| matches!(pair, [one, next] if one + 1 == *next));
        let there = match numbers.as_slice() {
            [first, _, .., last] if in_a_row => format!("{first} to {last}"),
            _ if slots.is_empty() => "none".to_owned(),
            _ => slots.join(", "),
        };
        Finding::broken(format!("there shall be no copy in slot {slot}; its slots are {there}"))
            .help(format!("evenkeel get copies {}", self.id), "the copies that there are")
    }

    /// What the leader says is in the way, where nothing else was found.
    fn with_hindrance(&self, found: Finding) -> Finding {
        let status = self.service.status.as_ref().filter(|_| found.mark == Mark::Holds);
        match status.and_then(|status| crate::words::hindrance(&status.value)) {
            Some(why) => Finding {
                mark: Mark::Aside,
                cause: why.clone(),
                says: format!("{}; {why}", found.says),
                ..found
            },
            None => found,
        }
    }

    /// Beside what checks say: those that ask nothing, since they are refused.
    fn health(&self, found: Finding) -> Finding {
        let refused =
            self.scene.refused_checks.iter().find(|(check, _)| {
                check.namespace == self.id.namespace && !self.taken_by_another(&check.name)
            });
        match refused {
            Some((check, why)) if found.mark >= Mark::Aside => {
                let why =
                    format!("HealthCheck {check} is refused and may be meant for it: {}", one_line(why));
                let says = format!("{}; {why}", found.says);
                Finding { mark: found.mark.min(Mark::Aside), says, cause: why, ..found }
                    .help(format!("evenkeel describe healthcheck {check}"), "what is wrong with it")
            }
            _ => found,
        }
    }

    /// Whether a check is known to ask copies of another service.
    fn taken_by_another(&self, check: &evenkeel_api::name::ObjectName) -> bool {
        let mut others = self.scene.world.services.iter();
        others.any(|(id, other)| {
            id != self.id && id.namespace == self.id.namespace && other.checks.contains_key(check)
        })
    }

    /// Beside what of the copies is in the names: what the names say, and where not yet.
    fn names(&self, found: Finding) -> Finding {
        // Of a copy that is not there, its slot's name says nothing.
        let absent = matches!(self.of, Of::Copy(_)) && self.copies().is_empty();
        let Some(name) = self.name().filter(|_| !absent) else { return found };
        let addresses: Vec<String> = self.scene.addresses(&name).iter().map(ToString::to_string).collect();
        let leads = match addresses.as_slice() {
            [] => format!("{name} leads nowhere"),
            some => format!("{name} leads to {}", some.join(", ")),
        };
        let last_resort = match !addresses.is_empty() && self.ready() == 0 {
            true => ", which are not ready: the last resort",
            false => "",
        };
        let found = Finding { says: format!("{}; {leads}{last_resort}", found.says), ..found };
        let newest = self.service.endpoints.values().map(|shard| shard.mod_revision).max().unwrap_or(0);
        let behind = self.scene.world.hosts.keys().filter(|host| {
            self.scene.is_alive(host) && self.scene.served.get(*host).is_some_and(|served| *served < newest)
        });
        let behind: Vec<&str> = behind.map(|host| host.as_str()).collect();
        match found.mark == Mark::Holds && !behind.is_empty() {
            true => {
                let late = format!("the name server of {} does not know it yet", behind.join(", "));
                Finding { mark: Mark::Waits, says: format!("{}; {late}", found.says), cause: late, ..found }
                    .help(
                        format!("evenkeel explain host {}", behind.first().copied().unwrap_or_default()),
                        "if that lasts",
                    )
            }
            false => found,
        }
    }

    /// The name that is meant, with the domain of its first network.
    fn name(&self) -> Option<String> {
        let spec = &self.service.accepted.as_ref()?.value.spec;
        let network = spec.networks().into_iter().find_map(|name| self.scene.world.networks.get(&name))?;
        let slot = match self.of {
            Of::All => String::new(),
            Of::Slot(slot) => format!("{slot}."),
            Of::Copy(id) => format!("{}.", id.slot),
        };
        Some(format!("{slot}{}.{}.{}", self.id.name, self.id.namespace, network.spec.domain()))
    }

    /// How many of the copies that are asked for serve.
    fn ready(&self) -> usize {
        let serving = self
            .copies()
            .into_iter()
            .filter(|(id, copy)| copy::Of { scene: self.scene, service: self.service, id, copy }.serves());
        serving.count()
    }

    fn running(&self) -> usize {
        let running = self
            .copies()
            .into_iter()
            .filter(|(id, copy)| copy::Of { scene: self.scene, service: self.service, id, copy }.runs());
        running.count()
    }

    /// The one sentence.
    fn answer(&self, what: &str, links: &[Link]) -> String {
        let (ready, running) = (self.ready(), self.running());
        let wanted = self.slots().len().max(1);
        let one = !matches!(self.of, Of::All) || wanted == 1;
        let Some(link) = telling(links) else {
            return match one {
                true => format!("{what} runs, and is in the names"),
                false => format!("{what} runs: {ready} of {wanted} copies are ready and in the names"),
            };
        };
        let why = &link.finding.cause;
        match link.finding.mark {
            _ if ready >= wanted => format!("{what} runs, but {why}"),
            _ if ready > 0 => format!("{what} runs with {ready} of {wanted} copies: {why}"),
            Mark::Waits if running == 0 => format!("{what} does not run yet: {why}"),
            Mark::Waits => format!("{what} runs, but is not ready yet: {why}"),
            _ if running == 0 => format!("{what} does not run: {why}"),
            _ => format!("{what} runs, but is not ready: {why}"),
        }
    }
}

/// The first line of what may have several, as refusals with an excerpt of the document have.
fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
