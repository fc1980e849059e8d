//! What a name leads to, and if nowhere, why: of the service that has it.

use evenkeel_api::name::{HostName, InstanceId, ServiceId, Slot};

use super::service::{self, Of};
use super::{Explanation, Finding, Help, Link, Mark, Scene, host};

/// Who has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    Service(ServiceId),
    Slot(ServiceId, Slot),
    Host(HostName),
    Nobody,
}

/// Whether `name` lies below a domain of the networks.
pub(super) fn is_below_a_domain(scene: &Scene, name: &str) -> bool {
    scene.domains().into_iter().any(|domain| rest(name, domain).is_some())
}

/// Explains it.
pub(super) fn explain(scene: &Scene, name: &str) -> Explanation {
    // Without a domain, as containers may write it.
    let full = match is_below_a_domain(scene, name) {
        true => name.to_owned(),
        false => format!("{name}.{}", first(scene)),
    };
    let addresses: Vec<String> = scene.addresses(&full).iter().map(ToString::to_string).collect();
    let ports = scene.ports(&full);
    let leads = if ports.is_empty() { addresses } else { ports };
    let below = match owner(scene, name) {
        Owner::Service(id) => service::explain(scene, &id, &Of::All),
        Owner::Slot(id, slot) => service::explain(scene, &id, &Of::Slot(slot)),
        Owner::Host(name) => host::explain(scene, &name),
        Owner::Nobody => return nobody(scene, name),
    };
    let what = format!("name {name}");
    let (mark, says) = match leads.as_slice() {
        [] if below.state == Mark::Holds => (Mark::Waits, format!("{name} leads nowhere")),
        [] => (Mark::Open, format!("{name} leads nowhere")),
        some => (Mark::Holds, format!("{name} leads to {}", some.join(", "))),
    };
    let answer = match below.state {
        Mark::Holds if mark == Mark::Holds => says.clone(),
        // Its service serves, and still there is nothing of that name: a port that no copy has by that name.
        Mark::Holds => format!("{says}: {} runs, and has nothing of that name", below.what),
        _ => format!("{says}: {}", below.answer),
    };
    let state = below.state.min(mark);
    let mut links = vec![Link { name: "name", finding: Finding::new(mark, says) }];
    links.extend(below.links);
    Explanation { what, answer, state, links, help: below.help }
}

/// A name that nobody has.
fn nobody(scene: &Scene, name: &str) -> Explanation {
    let says = match is_below_a_domain(scene, name) {
        true => format!("{name} is no name of anything: a service's is SERVICE.NAMESPACE.{}", first(scene)),
        false => format!("{name} is none of our names: they end in {}", scene.domains().join(", ")),
    };
    let help =
        vec![Help { command: "evenkeel get services".to_owned(), why: "the services that have names" }];
    let links = vec![Link { name: "name", finding: Finding::new(Mark::Broken, says.clone()) }];
    Explanation { what: format!("name {name}"), answer: says, state: Mark::Broken, links, help }
}

fn first(scene: &Scene) -> &str {
    scene.domains().first().copied().unwrap_or("internal")
}

/// What stands before a domain.
fn rest<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    name.strip_suffix(domain)?.strip_suffix('.')
}

fn owner(scene: &Scene, name: &str) -> Owner {
    let mut rests = scene.domains().into_iter().filter_map(|domain| rest(name, domain));
    let owners = rests.by_ref().chain(std::iter::once(name)).map(|rest| of(scene, rest));
    owners.into_iter().find(|owner| *owner != Owner::Nobody).unwrap_or(Owner::Nobody)
}

fn of(scene: &Scene, rest: &str) -> Owner {
    let parts: Vec<&str> = rest.split('.').collect();
    let service = |name: &str, namespace: &str| known(scene, name, namespace);
    let found = match parts.as_slice() {
        [host, "node"] => {
            let host = host.parse().ok().filter(|host| scene.world.hosts.contains_key(host));
            host.map(Owner::Host)
        }
        [name, namespace] => service(name, namespace).map(Owner::Service),
        [label, name, namespace] if !label.starts_with('_') => {
            let slot = label.parse().ok();
            slot.zip(service(name, namespace)).map(|(slot, id)| Owner::Slot(id, slot))
        }
        [port, protocol, name, namespace] if port.starts_with('_') && protocol.starts_with('_') => {
            service(name, namespace).map(Owner::Service)
        }
        _ => None,
    };
    found.unwrap_or(Owner::Nobody)
}

/// The service that has a name in a namespace: its own, or a further one.
fn known(scene: &Scene, name: &str, namespace: &str) -> Option<ServiceId> {
    let own: Option<ServiceId> = format!("{namespace}/{name}").parse().ok();
    if let Some(id) = own.filter(|id| scene.service(id).is_some()) {
        return Some(id);
    }
    let mut services = scene.world.services.iter().filter(|(id, _)| id.namespace.as_str() == namespace);
    let carries = services.find(|(_, service)| {
        let shards = service.endpoints.values();
        shards.flat_map(|shard| shard.value.aliases.values().flatten()).any(|alias| alias.as_str() == name)
    });
    carries.map(|(id, _)| id.clone())
}

/// A copy's id is told from a name by the domain: both are labels with dots between.
pub(super) fn copy(scene: &Scene, word: &str) -> Option<InstanceId> {
    word.parse().ok().filter(|_| !is_below_a_domain(scene, word))
}
