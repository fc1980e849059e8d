//! Hosts as a table: what `status`, `get hosts` and `host list` show.

use std::collections::BTreeSet;

use evenkeel_api::host::Availability;
use evenkeel_api::name::HostName;
use serde::Serialize;

use crate::output::{gib, table};
use crate::snapshot::{self, Hosts};
use crate::words;

/// One host.
#[derive(Debug, Serialize)]
pub struct HostRow {
    name: HostName,
    state: &'static str,
    address: Option<String>,
    engine: Option<String>,
    cpus: Option<String>,
    memory: Option<String>,
    copies: usize,
}

/// Every host that has a document, or is there, with how many copies it carries.
pub fn rows(hosts: &Hosts, copies: &[snapshot::Copy]) -> Vec<HostRow> {
    let names: BTreeSet<&HostName> = hosts.accepted.keys().chain(hosts.alive.keys()).collect();
    names
        .into_iter()
        .map(|name| {
            let facts = hosts.facts.get(name);
            let spec = hosts.accepted.get(name).map(|host| &host.spec);
            HostRow {
                name: name.clone(),
                state: state(hosts, name),
                address: spec.map(|spec| spec.address.to_string()),
                engine: facts.map(|facts| facts.engine.clone()),
                cpus: facts.map(|facts| facts.cpus.to_string()),
                memory: facts.map(|facts| gib(facts.memory.0)),
                copies: copies
                    .iter()
                    .filter(|copy| {
                        copy.host == *name && words::is_there(copy.instance.desired, copy.host_alive)
                    })
                    .count(),
            }
        })
        .collect()
}

/// What a host does, in one word.
fn state(hosts: &Hosts, name: &HostName) -> &'static str {
    if !hosts.alive.contains_key(name) {
        return "gone";
    }
    match hosts.accepted.get(name) {
        None => "new",
        Some(host) if host.deleting => "leaving",
        Some(host) => match host.spec.availability() {
            Availability::Active => "active",
            Availability::Pause => "paused",
            Availability::Drain => "draining",
        },
    }
}

/// Prints them.
pub fn print(rows: &[HostRow]) {
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows = rows.iter().map(|host| {
        vec![
            host.name.to_string(),
            host.state.to_owned(),
            dash(&host.address),
            dash(&host.engine),
            dash(&host.cpus),
            dash(&host.memory),
            host.copies.to_string(),
        ]
    });
    table(&["HOST", "STATE", "ADDRESS", "ENGINE", "CPUS", "MEMORY", "COPIES"], rows.collect(), "no hosts");
}
