//! `evenkeel describe`: all that is known of one object, in the order in which one asks.

use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, Namespace, NetworkName, ServiceId};
use evenkeel_api::record::{Alive, Endpoints, NetworkReport, Phase, Pin, Rollout, Status, Subnet, Timestamp};
use evenkeel_runtime::store::Store;

use super::{asks, events, get};
use crate::failure::Failure;
use crate::output::{Format, age, gib, say, structured, table};
use crate::snapshot;
use crate::words;

/// Which object.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel describe shop/web                   copies, checks, names, rollout, events
  evenkeel describe healthcheck shop/web-http  who asks, and what they found
  evenkeel describe network lan                which addresses are whose
  evenkeel describe host h2")]
pub struct Describe {
    /// SERVICE, NAMESPACE/SERVICE, or KIND NAME
    #[arg(required = true, num_args = 1..=2)]
    object: Vec<String>,
    /// The namespace of the object
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
}

impl Describe {
    /// One host.
    pub fn host(host: &HostName) -> Self {
        Self { object: vec!["host".to_owned(), host.to_string()], namespace: None }
    }

    /// Prints it.
    ///
    /// # Errors
    /// There is no such object, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format, now: Timestamp) -> Result<(), Failure> {
        let object = words::target(&self.object, self.namespace.as_ref())?;
        let (document, _) = store.get(&Key::Document(object.clone())).await?;
        let status =
            snapshot::get::<Status>(store, &Key::Status(object.clone())).await?.map(|found| found.value);
        if document.is_none() && status.is_none() {
            return Err(Failure::new(format!("there is no {object}")));
        }
        let mut events = events::all(store).await?;
        events.retain(|event| event.object == object);
        if format != Format::Table {
            let document = document.map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
            return structured(
                format,
                &serde_json::json!({"object": object, "document": document, "status": status, "events": events}),
            );
        }
        say!("{object}");
        match &document {
            Some(kv) => say!("document  revision {}", kv.mod_revision),
            None => say!("document  deleted"),
        }
        if let Some(status) = &status {
            conditions(status, now);
        }
        match &object {
            ObjectRef::Service(id) => service(store, id).await?,
            ObjectRef::Network(name) => network(store, name).await?,
            ObjectRef::Host(name) => host(store, name).await?,
            ObjectRef::HealthCheck(id) => asks::print(store, id).await?,
        }
        say!("\nevents");
        let skip = events.len().saturating_sub(20);
        events::print(&events[skip..], format, now)
    }
}

fn conditions(status: &Status, now: Timestamp) {
    if let Some(accepted) = status.accepted_revision {
        say!("accepted  revision {accepted}");
    }
    say!();
    let rows = status.conditions.iter().map(|condition| {
        vec![
            format!("{:?}", condition.kind),
            if condition.status { "yes" } else { "no" }.to_owned(),
            age(condition.since, now),
            condition.reason.clone(),
            condition.message.clone(),
        ]
    });
    table(
        &["CONDITION", "HOLDS", "SINCE", "REASON", "MESSAGE"],
        rows.collect(),
        "no controller has looked at it yet",
    );
}

async fn service(store: &Arc<dyn Store>, id: &ServiceId) -> Result<(), Failure> {
    if let Some(found) = snapshot::get::<Rollout>(store, &Key::Rollout(id.clone())).await? {
        say!();
        let pin = snapshot::get::<Pin>(store, &Key::Pin(id.clone())).await?;
        rollout(&found.value, &pin.map(|pin| pin.value).unwrap_or_default());
    }
    say!("\ncopies");
    get::copies_table(&snapshot::copies(store, Some(id)).await?);
    let shards = snapshot::list::<Endpoints>(store, &prefix::endpoints_of(id)).await?;
    let alive = snapshot::list::<Alive>(store, &prefix::alive()).await?;
    let rows = shards
        .values()
        .flat_map(|shard| &shard.value.endpoints)
        .map(|endpoint| {
            let addresses: Vec<String> =
                endpoint.addresses.iter().map(|(network, address)| format!("{network}={address}")).collect();
            vec![
                endpoint.id.to_string(),
                endpoint.host.to_string(),
                addresses.join(" "),
                match (alive.contains_key(&Key::Alive(endpoint.host.clone())), endpoint.ready) {
                    (false, _) => format!("{} is gone", endpoint.host),
                    (true, true) => "ready".to_owned(),
                    (true, false) => "not ready".to_owned(),
                },
            ]
        })
        .collect();
    say!("\nnames lead to");
    table(&["COPY", "HOST", "ADDRESSES", "STATE"], rows, "nothing");
    Ok(())
}

/// A rollout in a few lines, with what people said about it.
pub fn rollout(rollout: &Rollout, pin: &Pin) {
    let number = |n: Option<i64>| n.map_or("none".to_owned(), |n| format!("@{n}"));
    let phase = match &rollout.phase {
        Phase::Done => "done".to_owned(),
        Phase::Rolling => format!("exchanging {} for {}", number(rollout.current), number(rollout.target)),
        Phase::Paused { why } => format!("paused: {why}"),
    };
    let newest = rollout.instead_of.map(|newest| format!(" in place of @{newest}")).unwrap_or_default();
    say!("rollout   template {}{newest}, {phase}", number(rollout.target));
    for template in &rollout.rejected {
        let why = rollout.evidence.get(template).map_or("its copies failed", String::as_str);
        say!("rejected  template @{template}: {why}");
    }
    if pin.restart.is_some() && rollout.phase != Phase::Done {
        say!("restart   new copies in place of all that were there, wanted by a person");
    }
    if pin.pause {
        say!("paused    by a person");
    }
    if let Some(template) =
        pin.template.filter(|_| rollout.instead_of.is_some() && rollout.instead_of == pin.of)
    {
        say!("pinned    template @{template}, by a person");
    }
    for (slot, host) in &rollout.homes {
        say!("volumes   slot {slot} has its data on {host}");
    }
}

async fn network(store: &Arc<dyn Store>, name: &NetworkName) -> Result<(), Failure> {
    let subnets = snapshot::list::<Subnet>(store, &prefix::subnets_of(name)).await?;
    let mut rows = Vec::new();
    for (key, found) in subnets {
        let Key::Subnet(_, host) = key else { continue };
        let report =
            snapshot::get::<NetworkReport>(store, &Key::NetworkReport(host.clone(), name.clone())).await?;
        let state = match report.map(|found| found.value) {
            None => "not reported".to_owned(),
            Some(NetworkReport::Ready { .. }) => "ready".to_owned(),
            Some(NetworkReport::Conflict { why }) => format!("conflict: {why}"),
            Some(NetworkReport::Failed { why }) => format!("failed: {why}"),
            Some(NetworkReport::Gone) => "gone".to_owned(),
        };
        rows.push(vec![host.to_string(), found.value.subnet.to_string(), state]);
    }
    say!("\nhosts' parts");
    table(&["HOST", "SUBNET", "STATE"], rows, "none");
    Ok(())
}

async fn host(store: &Arc<dyn Store>, name: &HostName) -> Result<(), Failure> {
    let hosts = snapshot::hosts(store).await?;
    match hosts.alive.get(name) {
        Some(alive) => say!("\nalive     boot {}, incarnation {}", alive.boot_id, alive.incarnation),
        None => say!("\nalive     no"),
    }
    if let Some(facts) = hosts.facts.get(name) {
        let addresses: Vec<String> =
            facts.addresses.iter().map(|address| format!("{}/{}", address.address, address.prefix)).collect();
        let memory = gib(facts.memory.0);
        say!("machine   {} {}, {} CPUs, {memory} of memory", facts.os, facts.arch, facts.cpus);
        say!("engine    Docker {}, evenkeel {}", facts.engine, facts.evenkeel);
        say!("addresses {}", addresses.join(" "));
        for volume in &facts.volumes {
            say!("volume    {volume}");
        }
    }
    say!("\ncopies");
    let mut copies = snapshot::copies(store, None).await?;
    copies.retain(|copy| copy.host == *name);
    get::copies_table(&copies);
    Ok(())
}
