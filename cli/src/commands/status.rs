//! `evenkeel status`: what is wrong and why, newest first; then hosts, services and networks.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::HostName;
use evenkeel_api::record::{BrakeState, Condition, ConditionType, Distrust, Status, Timestamp};
use evenkeel_runtime::store::Store;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Format, age, say, structured, table};
use crate::snapshot::{self, Hosts};
use crate::words;

/// Something that a person should know.
#[derive(Debug, Clone, Serialize)]
struct Trouble {
    since: Timestamp,
    what: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct HostRow {
    name: HostName,
    state: &'static str,
    address: Option<String>,
    engine: Option<String>,
    cpus: Option<String>,
    memory: Option<String>,
    copies: usize,
}

#[derive(Debug, Serialize)]
struct Report {
    trouble: Vec<Trouble>,
    hosts: Vec<HostRow>,
    objects: BTreeMap<String, Status>,
}

/// Prints it.
///
/// # Errors
/// The store does not answer.
pub async fn run(store: &Arc<dyn Store>, format: Format, now: Timestamp) -> Result<(), Failure> {
    let hosts = snapshot::hosts(store).await?;
    let copies = snapshot::copies(store, None).await?;
    let mut objects = BTreeMap::new();
    for kind in Kind::ALL {
        objects.extend(snapshot::statuses(store, kind).await?);
    }
    let brakes = snapshot::get::<BrakeState>(store, &Key::Brakes).await?.map(|found| found.value);
    let mut trouble: Vec<Trouble> =
        objects.iter().flat_map(|(object, status)| of_object(object, status)).collect();
    trouble.extend(brakes.iter().flat_map(of_brakes));
    trouble.extend(distrust(store).await?);
    trouble.sort_by_key(|trouble| std::cmp::Reverse(trouble.since));
    let rows = host_rows(&hosts, &copies);
    if format != Format::Table {
        let objects = objects.into_iter().map(|(object, status)| (object.to_string(), status)).collect();
        return structured(format, &Report { trouble, hosts: rows, objects });
    }
    print(&trouble, &rows, &objects, now);
    Ok(())
}

fn print(trouble: &[Trouble], hosts: &[HostRow], objects: &BTreeMap<ObjectRef, Status>, now: Timestamp) {
    if trouble.is_empty() {
        say!("all is well\n");
    } else {
        let rows = trouble.iter().map(|t| {
            let since = if t.since.0 == 0 { "-".to_owned() } else { age(t.since, now) };
            vec![since, t.what.clone(), t.why.clone()]
        });
        table(&["SINCE", "WHAT IS WRONG", "WHY"], rows.collect(), "");
        say!();
    }
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows = hosts.iter().map(|host| {
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
    say!();
    let of = |kind| objects.iter().filter(move |(object, _)| object.kind() == kind);
    let rows = of(Kind::Service).map(|(object, status)| {
        let copies = status.copies.unwrap_or_default();
        vec![
            object.path(),
            format!("{}/{}", copies.ready, copies.desired),
            copies.running.to_string(),
            copies.updated.to_string(),
            words::summary(status).0,
        ]
    });
    table(&["SERVICE", "READY", "RUNNING", "UPDATED", "STATE"], rows.collect(), "no services");
    say!();
    let rows = of(Kind::Network).map(|(object, status)| vec![object.path(), words::summary(status).0]);
    table(&["NETWORK", "STATE"], rows.collect(), "no networks");
}

/// The conditions of an object that a person should know of.
fn of_object(object: &ObjectRef, status: &Status) -> Vec<Trouble> {
    let bad = |condition: &&Condition| match condition.kind {
        ConditionType::Valid | ConditionType::Available => !condition.status,
        ConditionType::Degraded => condition.status,
        ConditionType::Progressing => false,
    };
    let word = |condition: &Condition| match condition.kind {
        ConditionType::Valid => "invalid document",
        ConditionType::Available => "not available",
        ConditionType::Degraded | ConditionType::Progressing => "degraded",
    };
    status
        .conditions
        .iter()
        .filter(bad)
        .map(|condition| Trouble {
            since: condition.since,
            what: format!("{object}: {}", word(condition)),
            why: condition.message.clone(),
        })
        .collect()
}

fn of_brakes(brakes: &BrakeState) -> Vec<Trouble> {
    let mut trouble = Vec::new();
    if !brakes.held.is_empty() {
        let hosts: Vec<&str> = brakes.held.keys().map(HostName::as_str).collect();
        trouble.push(Trouble {
            since: brakes.since,
            what: format!("brake: {} are gone at once, their copies are not replaced", hosts.join(", ")),
            why: "it ends when they are back; or say `evenkeel host confirm-dead HOST` of each that is dead, or \
                  `evenkeel brake release` of all"
                .to_owned(),
        });
    }
    if !brakes.deletions.is_empty() {
        let objects: Vec<String> = brakes.deletions.iter().map(ToString::to_string).collect();
        trouble.push(Trouble {
            since: brakes.since,
            what: format!("brake: {} documents vanished at once, what they brought is kept", objects.len()),
            why: format!(
                "{}: put them back, or confirm with `evenkeel brake release --deletions`",
                objects.join(", ")
            ),
        });
    }
    trouble
}

/// Controllers that do not believe the store any more.
async fn distrust(store: &Arc<dyn Store>) -> Result<Vec<Trouble>, Failure> {
    let listing = store.list(&prefix::reports()).await?;
    Ok(listing
        .kvs
        .iter()
        .filter_map(|kv| match kv.key.parse() {
            Ok(Key::Distrust(host, controller)) => {
                let distrust: Distrust = serde_json::from_slice(&kv.value).ok()?;
                Some(Trouble {
                    since: distrust.since,
                    what: format!("{controller} controller on {host} does not trust etcd and stops nothing"),
                    why: distrust.why,
                })
            }
            _ => None,
        })
        .collect())
}

fn host_rows(hosts: &Hosts, copies: &[snapshot::Copy]) -> Vec<HostRow> {
    let names: std::collections::BTreeSet<&HostName> =
        hosts.accepted.keys().chain(hosts.alive.keys()).collect();
    names
        .into_iter()
        .map(|name| {
            let facts = hosts.facts.get(name);
            let spec = hosts.accepted.get(name).map(|host| &host.spec);
            let state = match (
                hosts.alive.contains_key(name),
                spec.map(evenkeel_api::host::HostSpec::availability),
            ) {
                (false, _) => "gone",
                (true, None) => "new",
                (true, Some(evenkeel_api::host::Availability::Active)) => "active",
                (true, Some(evenkeel_api::host::Availability::Pause)) => "paused",
                (true, Some(evenkeel_api::host::Availability::Drain)) => "draining",
            };
            HostRow {
                name: name.clone(),
                state,
                address: spec.map(|spec| spec.address.to_string()),
                engine: facts.map(|facts| facts.engine.clone()),
                cpus: facts.map(|facts| facts.cpus.to_string()),
                memory: facts.map(|facts| gib(facts.memory.0)),
                copies: copies.iter().filter(|copy| copy.host == *name).count(),
            }
        })
        .collect()
}

fn gib(bytes: u64) -> String {
    format!("{:.1}G", bytes as f64 / f64::from(1 << 30))
}
