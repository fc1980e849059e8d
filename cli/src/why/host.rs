//! The chain of a host: whether it is there, takes copies, and carries them.

use evenkeel_api::host::Availability;
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::record::{ConditionType, Desired};
use evenkeel_plan::service::{Copy, Host, Service};

use super::{Explanation, Finding, Link, Mark, Scene, copy, telling};
use crate::output::gib;
use crate::words;

/// Explains it. Something is known of the host.
pub(super) fn explain(scene: &Scene, name: &HostName) -> Explanation {
    let unknown = Host::default();
    let host = scene.world.hosts.get(name).unwrap_or(&unknown);
    let chain = Chain { scene, name, host };
    let links = vec![
        Link { name: "document", finding: chain.document() },
        Link { name: "alive", finding: chain.alive() },
        Link { name: "machine", finding: chain.machine() },
        Link { name: "networks", finding: chain.networks() },
        Link { name: "availability", finding: chain.availability() },
        Link { name: "copies", finding: chain.copies() },
    ];
    let what = format!("Host {name}");
    let worst = telling(&links);
    let answer = match worst {
        None => format!("{what} takes copies, and {}", chain.carries()),
        Some(link) => format!("{what} {}", link.finding.cause),
    };
    let help = worst.map(|link| link.finding.help.clone()).unwrap_or_default();
    let state = worst.map_or(Mark::Holds, |link| link.finding.mark);
    Explanation { what, answer, state, links, help }
}

struct Chain<'a> {
    scene: &'a Scene,
    name: &'a HostName,
    host: &'a Host,
}

impl<'a> Chain<'a> {
    fn document(&self) -> Finding {
        let runs = self.host.alive.is_some();
        match (&self.host.document, &self.host.accepted) {
            (None, None) if runs => Finding::broken(
                "has no document: evenkeel runs there, and nobody wants the host in the cluster",
            )
            .help("evenkeel apply -f FILE", "takes it in: a document of kind Host"),
            (None, None) => Finding::broken("has no document, and is not there"),
            (None, Some(_)) => Finding::broken("has no document any more, and gives up its copies")
                .help("evenkeel apply -f FILE", "takes it in again"),
            (Some(document), accepted) => match &document.parsed {
                Err(why) => {
                    let why =
                        format!("has a document that is refused: {}", why.lines().next().unwrap_or_default());
                    let found = if accepted.is_some() { Finding::aside(why) } else { Finding::broken(why) };
                    found.help(format!("evenkeel get host {} >FILE", self.name), "to mend it, then apply it")
                }
                Ok(_) if accepted.is_none() => {
                    Finding::waits("has a document that no controller has looked at yet")
                }
                Ok(_) => Finding::holds(format!("revision {}", document.mod_revision)),
            },
        }
    }

    fn alive(&self) -> Finding {
        if let Some(alive) = &self.host.alive {
            return Finding::holds(format!("it renews its lease; incarnation {}", alive.incarnation));
        }
        let status = self.host.status.as_ref();
        let available = status.and_then(|status| status.value.condition(ConditionType::Available));
        let since = available.filter(|available| !available.status).map(|available| available.since);
        let brakes = self.scene.world.brakes.as_ref();
        let found = match brakes.is_some_and(|brakes| brakes.value.held.contains_key(self.name)) {
            true => Finding::broken(
                "is gone, and so were too many others at once: the brake keeps its copies from being replaced",
            )
            .help(format!("evenkeel host confirm-dead {}", self.name), "it is dead: replace its copies now")
            .help("evenkeel brake status", "what the brake holds"),
            false => Finding::broken("is gone: it does not renew its lease, and its copies are replaced elsewhere")
                .help("evenkeel-host status", "on the host: whether its controllers run"),
        };
        found.since(since)
    }

    fn machine(&self) -> Finding {
        match &self.host.facts {
            None => Finding::waits("has not said yet what machine it is"),
            Some(facts) => {
                let memory = gib(facts.memory.0);
                let engine = &facts.engine;
                Finding::holds(format!("{} CPUs, {memory} of memory, Docker {engine}", facts.cpus))
            }
        }
    }

    fn networks(&self) -> Finding {
        if self.host.alive.is_none() {
            return Finding::open("nothing is known of them while the host is gone");
        }
        let networks = self.scene.world.networks.iter().filter(|(_, network)| !network.deleting);
        let missing: Vec<_> =
            networks.map(|(name, _)| name).filter(|name| !self.host.ready.contains(*name)).collect();
        let Some(first) = missing.first() else {
            return Finding::holds(format!("{} stand", self.host.ready.len()));
        };
        let why = self.scene.networks.get(&((*first).clone(), self.name.clone()));
        let describe = format!("evenkeel describe network {first}");
        match why {
            Some(why) => Finding::broken(format!("takes no copies on network {first}: {why}")),
            None => Finding::waits(format!("takes no copies on network {first} yet: it is being set up")),
        }
        .help(describe, "where it stands, and where not")
    }

    fn availability(&self) -> Finding {
        let undrain = format!("evenkeel host undrain {}", self.name);
        match self.host.availability() {
            None => Finding::open("it is not wanted"),
            Some(Availability::Active) => Finding::holds("active"),
            Some(Availability::Pause) => {
                Finding::aside("is paused: what is there runs on, and nothing comes")
                    .help(undrain, "lets copies come")
            }
            Some(Availability::Drain) => {
                let left = match self.there() {
                    0 => "no copy is left there".to_owned(),
                    1 => "1 copy is there still".to_owned(),
                    n => format!("{n} copies are there still"),
                };
                Finding::aside(format!("is drained: it takes no copies, and {left}"))
                    .help(undrain, "lets copies come")
            }
        }
    }

    /// How many copies count as being there.
    fn there(&self) -> usize {
        let copies = self.scene.world.services.values().flat_map(|service| service.copies.values());
        let records = copies
            .filter(|copy| copy.host == *self.name)
            .filter_map(|copy| copy.record.as_ref())
            .filter(|record| words::is_there(record.value.desired, self.host.alive.is_some()));
        records.count()
    }

    /// What is to run there.
    fn carried(&self) -> Vec<(&'a Service, &'a InstanceId, &'a Copy)> {
        let services = self.scene.world.services.values();
        let copies =
            services.flat_map(|service| service.copies.iter().map(move |(id, copy)| (service, id, copy)));
        let runs =
            |copy: &Copy| copy.record.as_ref().is_some_and(|record| record.value.desired == Desired::Run);
        copies.filter(|(_, _, copy)| copy.host == *self.name && runs(copy)).collect()
    }

    fn carries(&self) -> String {
        match self.carried().len() {
            0 => "carries none".to_owned(),
            1 => "carries one, which is well".to_owned(),
            n => format!("carries {n}, all of them well"),
        }
    }

    fn copies(&self) -> Finding {
        if self.host.alive.is_none() {
            return Finding::open(match self.there() {
                0 => "no copy is to run there".to_owned(),
                1 => "1 copy is to run there, of which nothing is known".to_owned(),
                n => format!("{n} copies are to run there, of which nothing is known"),
            });
        }
        let scene = self.scene;
        let carried = self.carried();
        let found = carried.iter().map(|(service, id, copy)| {
            let of = copy::Of { scene, service, id, copy };
            let (container, health) = (of.container(), of.health());
            (*id, if container.mark <= health.mark { container } else { health })
        });
        let bad: Vec<_> = found.filter(|(_, finding)| finding.mark < Mark::Aside).collect();
        let worst = bad.iter().min_by_key(|(_, finding)| finding.mark);
        let Some((id, worst)) = worst else { return Finding::holds(self.carries()) };
        let says = match carried.len() {
            1 => format!("carries 1 copy, which does not serve: {}", worst.cause),
            all if bad.len() == 1 => {
                format!("carries {all} copies, one of which does not serve: {}", worst.cause)
            }
            all => format!("carries {all} copies, {} of which do not serve: {}", bad.len(), worst.cause),
        };
        Finding::aside(says)
            .since(worst.since)
            .help(format!("evenkeel explain {id}"), "that copy")
            .help(format!("evenkeel host describe {}", self.name), "all copies there")
    }
}
