//! `evenkeel brake`: what an operator says about hosts that are gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::{Args, Subcommand};
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::HostName;
use evenkeel_api::record::{Brake as Record, BrakeState};
use evenkeel_runtime::store::{Store, TxnBuilder};

use super::delete::confirmed;
use super::trouble::{self, Trouble};
use crate::cluster::whose;
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::{Format, say};
use crate::snapshot;

/// What about the brake.
#[derive(Debug, Args)]
pub struct Brake {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(after_help = "\
Examples:
  evenkeel brake status
  evenkeel brake status -o json  for a program")]
    /// What is held, and why
    Status,
    #[command(after_help = "\
Examples:
  evenkeel brake release              hosts are dead
  evenkeel brake release --deletions  documents are meant to be gone

Of one host alone: `evenkeel host confirm-dead HOST`.")]
    /// All hosts that are held are dead: replace their copies
    Release {
        /// The documents that vanished at once were meant to: take down what they brought
        #[arg(long)]
        deletions: bool,
    },
}

impl Brake {
    /// Does it.
    ///
    /// # Errors
    /// Nothing is held, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format) -> Result<(), Failure> {
        let state = snapshot::get::<BrakeState>(store, &Key::Brakes).await?.map(|found| found.value);
        // A brake that holds nothing any more stands for some seconds yet.
        let state = state.filter(|state| !state.held.is_empty() || !state.deletions.is_empty());
        match (&self.verb, state) {
            (Verb::Status, state) if format != Format::Table => crate::output::structured(format, &state),
            (Verb::Status, state) => {
                let distrust = trouble::distrust(store).await?;
                for Trouble { what, why, .. } in &distrust {
                    say!("{what}: {why}");
                }
                if state.is_none() && distrust.is_empty() {
                    say!("no brake is on");
                }
                let state = state.unwrap_or_default();
                for host in state.held.keys() {
                    say!(
                        "host {host} is gone; its copies are not replaced until it is back, or until \
                         `evenkeel host confirm-dead {host}`"
                    );
                }
                for object in &state.deletions {
                    say!("{object} vanished; what it brought is kept");
                }
                if !state.deletions.is_empty() {
                    say!("put the documents back, or confirm with `evenkeel brake release --deletions`");
                }
                Ok(())
            }
            (Verb::Release { deletions: true }, Some(state)) if !state.deletions.is_empty() => {
                release_deletions(store, &state).await
            }
            (Verb::Release { deletions: false }, Some(state)) if !state.held.is_empty() => {
                confirm_dead(store, state.held).await
            }
            (Verb::Release { deletions }, _) => Err(Failure::new(format!(
                "no brake on {} is on: nothing to release",
                if *deletions { "deletions" } else { "hosts" }
            ))),
        }
    }
}

async fn release_deletions(store: &Arc<dyn Store>, state: &BrakeState) -> Result<(), Failure> {
    let objects: Vec<ObjectRef> = state.deletions.iter().cloned().collect();
    let value = serde_json::to_vec(&confirmed(&objects)).map_err(Failure::new)?;
    store.commit(&TxnBuilder::new().put(&Key::Confirmed, value).build()?).await?;
    say!("released: what {} documents brought is taken down", objects.len());
    Ok(())
}

/// Says of hosts, each with the incarnation that was seen last, that they are dead.
async fn confirm_dead(store: &Arc<dyn Store>, hosts: BTreeMap<HostName, u64>) -> Result<(), Failure> {
    let found = snapshot::get::<Record>(store, &Key::Brake).await?;
    let (mut record, revision) =
        found.map_or((Record::default(), 0), |found| (found.value, found.mod_revision));
    record.dead.extend(hosts.clone());
    let value = serde_json::to_vec(&record).map_err(Failure::new)?;
    // Only while they are still gone: a host that came back in this very moment is not meant.
    let txn = hosts
        .keys()
        .fold(TxnBuilder::new().if_unchanged(&Key::Brake, revision), |txn, host| {
            txn.if_absent(&Key::Alive(host.clone()))
        })
        .put(&Key::Brake, value);
    if !store.commit(&txn.build()?).await?.succeeded {
        return Err(Failure::new(
            "a host came back, or somebody else said so, in this very moment: look again",
        ));
    }
    for host in hosts.keys() {
        say!("host {host} is confirmed dead: its copies are replaced");
    }
    Ok(())
}

/// Says of a host that it is dead.
///
/// # Errors
/// There is no such host, it is alive, or the store does not answer.
pub async fn confirm(settings: &Settings, store: &Arc<dyn Store>, host: &HostName) -> Result<(), Failure> {
    let hosts = snapshot::hosts(store).await?;
    if hosts.alive.contains_key(host) {
        return Err(Failure::new(format!(
            "host {host} is alive: to move its copies, write `availability: drain` into its document"
        )));
    }
    if !hosts.accepted.contains_key(host) {
        return Err(Failure::new(format!("there is no host {host}")));
    }
    let state = snapshot::get::<BrakeState>(store, &Key::Brakes).await?.map(|found| found.value);
    let incarnation = state.and_then(|state| state.held.get(host).copied());
    match incarnation {
        Some(incarnation) => confirm_dead(store, BTreeMap::from([(host.clone(), incarnation)])).await,
        None => Err(Failure::new(format!(
            "host {host} is not held by a brake: copies without volumes are replaced by themselves after \
             `lost_after`; to give up those with volumes too, {}",
            whose::farewell(host, whose::is_made_here(settings))
        ))),
    }
}
