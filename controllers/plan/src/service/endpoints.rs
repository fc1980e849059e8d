//! Who serves: written for the name servers, so that they need not watch every instance.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::key::Key;
use evenkeel_api::name::{InstanceId, NetworkName, ObjectName, ServiceId, Slot};
use evenkeel_api::record::{Desired, ENDPOINTS_PER_SHARD, Endpoint, EndpointPort, Endpoints};

use super::batch::{MAX_BATCH, Write};
use super::draft::Draft;

/// Write the shards that differ. Copies that leave are out of the names in the very batch that sends them
/// away.
pub(crate) fn write(draft: &mut Draft<'_>) {
    let wanted = shards(draft);
    let known = &draft.service.endpoints;
    let numbers: BTreeSet<u32> = known.keys().chain(wanted.keys()).copied().collect();
    let mut later = Vec::new();
    for number in numbers {
        let revision = known.get(&number).map_or(0, |shard| shard.mod_revision);
        let key = Key::Endpoints(draft.id.clone(), number);
        let write = match (wanted.get(&number), known.get(&number)) {
            (Some(shard), Some(known)) if *shard == known.value => continue,
            (Some(shard), _) => Write::Endpoints(shard.clone()),
            (None, _) => Write::Delete,
        };
        later.push((key, revision, write));
    }
    // Those come first that a copy was in which leaves or ends: the room for them was kept.
    let touched: BTreeSet<&InstanceId> = touched(draft);
    let urgent = |key: &Key| match key {
        Key::Endpoints(_, number) => known
            .get(number)
            .is_some_and(|shard| shard.value.endpoints.iter().any(|endpoint| touched.contains(&endpoint.id))),
        _ => false,
    };
    let (first, rest): (Vec<_>, Vec<_>) = later.into_iter().partition(|(key, ..)| urgent(key));
    for (key, revision, write) in first.into_iter().chain(rest) {
        // Two more are kept for the rollout record and the status.
        if draft.plan.batch.writes.len() + 2 >= MAX_BATCH {
            draft.plan.more = true;
            break;
        }
        draft.plan.batch.put(key, revision, write);
    }
}

fn touched<'d>(draft: &'d Draft<'_>) -> BTreeSet<&'d InstanceId> {
    let touched = draft.copies.iter().filter(|(_, copy)| copy.touched);
    touched.map(|(id, _)| id).chain(draft.gone.keys()).collect()
}

/// All shards as they should be. A copy stays in its shard, so that one change is one write.
fn shards(draft: &Draft<'_>) -> BTreeMap<u32, Endpoints> {
    let head = Endpoints {
        policy: draft.spec().endpoints_policy.unwrap_or_default(),
        aliases: aliases(draft),
        networks: draft.spec().networks(),
        endpoints: Vec::new(),
    };
    let mut home: BTreeMap<&InstanceId, u32> = BTreeMap::new();
    for (number, shard) in &draft.service.endpoints {
        home.extend(shard.value.endpoints.iter().map(|endpoint| (&endpoint.id, *number)));
    }
    let mut ports: BTreeMap<i64, Vec<EndpointPort>> = BTreeMap::new();
    let mut shards: BTreeMap<u32, Vec<Endpoint>> = BTreeMap::new();
    let mut homeless = Vec::new();
    for (id, copy) in draft.copies.iter().filter(|(_, copy)| copy.desired == Desired::Run && copy.runs()) {
        let endpoint = Endpoint {
            id: id.clone(),
            slot: copy.slot.clone(),
            host: copy.host.clone(),
            addresses: copy.observed.map(|observed| observed.addresses.clone()).unwrap_or_default(),
            ports: ports.entry(copy.template).or_insert_with(|| named_ports(draft, copy.template)).clone(),
            ready: copy.ready,
        };
        match home.get(id) {
            Some(number) => shards.entry(*number).or_default().push(endpoint),
            None => homeless.push(endpoint),
        }
    }
    let mut number = 0;
    for endpoint in homeless {
        while shards.get(&number).is_some_and(|shard| shard.len() >= ENDPOINTS_PER_SHARD) {
            number += 1;
        }
        shards.entry(number).or_default().push(endpoint);
    }
    // The first shard stands as long as the service does: its name is known even while nobody serves.
    shards.entry(0).or_default();
    let finished = shards.into_iter().map(|(number, mut endpoints)| {
        endpoints.sort_by(|a, b| order(&a.slot).cmp(&order(&b.slot)).then_with(|| a.id.cmp(&b.id)));
        (number, Endpoints { endpoints, ..head.clone() })
    });
    finished.collect()
}

fn order(slot: &Slot) -> (u32, &str) {
    (slot.number().unwrap_or(u32::MAX), slot.as_str())
}

fn named_ports(draft: &Draft<'_>, template: i64) -> Vec<EndpointPort> {
    let ports = draft.template(template).map(|template| template.ports.as_slice()).unwrap_or_default();
    let named = ports.iter().filter_map(|port| {
        Some(EndpointPort { name: port.name.clone()?, port: port.target, protocol: port.protocol })
    });
    let mut named: Vec<EndpointPort> = named.collect();
    named.sort();
    named.dedup();
    named
}

fn aliases(draft: &Draft<'_>) -> BTreeMap<NetworkName, BTreeSet<ObjectName>> {
    let template = &draft.spec().template;
    let mut aliases: BTreeMap<NetworkName, BTreeSet<ObjectName>> = BTreeMap::new();
    for network in draft.spec().networks() {
        let written = template.networks.get(&network).map(|attachment| attachment.aliases.iter());
        let names: BTreeSet<ObjectName> =
            written.into_iter().flatten().chain(&template.container_name).cloned().collect();
        if !names.is_empty() {
            aliases.insert(network, names);
        }
    }
    aliases
}

/// Whether a name server is still told of a service.
pub(crate) fn keys(id: &ServiceId, known: &BTreeMap<u32, super::world::At<Endpoints>>) -> Vec<(Key, i64)> {
    known.iter().map(|(number, shard)| (Key::Endpoints(id.clone(), *number), shard.mod_revision)).collect()
}
