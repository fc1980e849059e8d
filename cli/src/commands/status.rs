//! `evenkeel status`: what is wrong and why, newest first; then hosts, services and networks.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_api::key::prefix;
use evenkeel_api::meta::Kind;
use evenkeel_api::record::{Status, Timestamp};
use evenkeel_runtime::store::Store;
use serde::Serialize;

use super::hosts::{self, HostRow};
use super::trouble::{self, Objects, Trouble};
use crate::cluster::whose;
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::{Format, age, say, structured, table};
use crate::{snapshot, words};

/// What is wrong, and how everything is.
#[derive(Debug)]
pub struct Look {
    /// What is wrong and why, newest first.
    pub trouble: Vec<Trouble>,
    hosts: Vec<HostRow>,
    objects: Objects,
}

#[derive(Debug, Serialize)]
struct Report {
    trouble: Vec<Trouble>,
    hosts: Vec<HostRow>,
    objects: BTreeMap<String, Status>,
}

/// Looks at everything once; `made_here`: the cluster was made from here by `evenkeel init`.
///
/// # Errors
/// The store does not answer.
pub async fn look(store: &Arc<dyn Store>, made_here: bool) -> Result<Look, Failure> {
    let hosts = snapshot::hosts(store).await?;
    let copies = snapshot::copies(store, None).await?;
    // Documents before statuses: what is written in between is then looked at already, not missing.
    let mut documents = Vec::new();
    for kind in Kind::ALL {
        documents.extend(store.list(&prefix::documents(kind)).await?.kvs);
    }
    let mut objects = Objects::new();
    for kind in Kind::ALL {
        objects.extend(snapshot::statuses(store, kind).await?);
    }
    let trouble = trouble::all(store, &hosts, &documents, &objects, made_here).await?;
    Ok(Look { trouble, hosts: hosts::rows(&hosts, &copies), objects })
}

/// Prints it.
///
/// # Errors
/// The store does not answer.
pub async fn run(
    settings: &Settings,
    store: &Arc<dyn Store>,
    format: Format,
    now: Timestamp,
) -> Result<(), Failure> {
    let Look { trouble, hosts, objects } = look(store, whose::is_made_here(settings)).await?;
    if format != Format::Table {
        let objects = objects.into_iter().map(|(object, status)| (object.to_string(), status)).collect();
        return structured(format, &Report { trouble, hosts, objects });
    }
    print(&trouble, &hosts, &objects, now);
    Ok(())
}

fn print(trouble: &[Trouble], hosts: &[HostRow], objects: &Objects, now: Timestamp) {
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
    hosts::print(hosts);
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
