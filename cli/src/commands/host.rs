//! `evenkeel host`: its words, and how a host is emptied.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use evenkeel_api::host::Availability;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{Instance, Timestamp};
use evenkeel_runtime::store::{Kv, Store};

use super::{availability, brake, describe, enter, get, leave, maintenance, stays};
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::say;
use crate::polling::{Step, poll};
use crate::which::Which;
use crate::words;

/// What about hosts.
#[derive(Debug, Args)]
pub struct Host {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(after_help = "\
Examples:
  evenkeel host list
  evenkeel host list -o json  for a program")]
    /// All hosts
    List,
    #[command(after_help = "\
Examples:
  evenkeel host describe h2
  evenkeel host describe 10.0.0.12  by its address")]
    /// One host, and what it runs
    Describe {
        /// Its name, or its address
        host: Which,
    },
    #[command(after_help = "\
Examples:
  evenkeel host confirm-dead h2

Say it only of a host that is off for good: what runs on there still would run twice.")]
    /// This host is dead and will not come back as it was: replace its copies now
    ConfirmDead {
        /// Its name, or its address
        host: Which,
    },
    #[command(after_help = "\
Examples:
  evenkeel host drain h2
  evenkeel host drain h2 --wait --timeout 30m  until it is empty

`evenkeel host undrain h2` lets it take copies again.")]
    /// Move all copies off a host, and let none come
    Drain {
        /// Its name, or its address
        host: Which,
        /// Wait until it is empty; exit code 3 if copies cannot leave, 4 if time runs out
        #[arg(long)]
        wait: bool,
        /// How long at most
        #[arg(long, default_value = "10m", requires = "wait")]
        timeout: Span,
    },
    #[command(after_help = "\
Examples:
  evenkeel host undrain h2")]
    /// Let a host take copies again
    Undrain {
        /// Its name, or its address
        host: Which,
    },
    /// Drain a host, wait for its reboot, look whether it is well, and undrain it
    Maintenance(maintenance::Maintenance),
    /// Make a machine a host, over ssh
    Add(enter::Add),
    /// Take a host out of the cluster for good
    Remove(leave::Remove),
    #[command(after_help = "\
Examples:
  evenkeel host join h2.ticket     a file that `evenkeel host ticket` made
  evenkeel host join -             pasted in, and ended by Ctrl-D

It holds keys: as a word of the command, everybody on the machine would see them.")]
    /// Make this machine the host that a ticket names
    Join {
        /// The file with what `evenkeel host ticket` said; `-`: standard input
        #[arg(value_name = "FILE")]
        ticket: PathBuf,
    },
    #[command(after_help = "\
Examples:
  evenkeel host ticket h2 10.0.0.12 >h2.ticket
  evenkeel host ticket h2 10.0.0.12 | ssh root@10.0.0.12 evenkeel host join -")]
    /// What a machine needs to join by itself; whoever has it is that host
    Ticket {
        /// The host's name in the cluster
        name: HostName,
        /// Its address on the LAN
        address: Ipv4Addr,
    },
}

impl Host {
    /// Does it.
    ///
    /// # Errors
    /// There is no such host, it is alive, a machine is not reached, or the store does not answer.
    pub async fn run(&self, settings: &Settings, now: Timestamp) -> Result<(), Failure> {
        let (store, format) = (|| crate::store(settings), settings.output);
        match &self.verb {
            Verb::List => get::Get::all_of("host").run(&store()?, format).await,
            Verb::Describe { host } => {
                let store = store()?;
                describe::Describe::host(&host.name(&store).await?).run(&store, format, now).await
            }
            Verb::ConfirmDead { host } => {
                let store = store()?;
                brake::confirm(settings, &store, &host.name(&store).await?).await
            }
            Verb::Drain { host, wait, timeout } => {
                let store = store()?;
                drain(&store, &host.name(&store).await?, wait.then_some(timeout.0)).await
            }
            Verb::Undrain { host } => {
                let store = store()?;
                let host = &host.name(&store).await?;
                let changed = availability::set(&store, host, Availability::Active).await?;
                say!("host {host} takes copies{}", if changed { "" } else { ", as before" });
                Ok(())
            }
            Verb::Maintenance(maintenance) => maintenance.run(settings).await,
            Verb::Add(add) => add.run(settings).await,
            Verb::Remove(remove) => remove.run(settings).await,
            Verb::Join { ticket } => enter::join(ticket),
            Verb::Ticket { name, address } => enter::ticket(settings, name, *address).await,
        }
    }
}

async fn drain(store: &Arc<dyn Store>, host: &HostName, within: Option<Duration>) -> Result<(), Failure> {
    let stay = stays::on(store, host).await?;
    availability::set(store, host, Availability::Drain).await?;
    for (copy, why) in &stay {
        say!("copy {copy} cannot leave: {why}");
    }
    let Some(within) = within else {
        say!(
            "host {host} is drained: its copies move where they fit; `evenkeel host describe {host}` shows what is left"
        );
        return Ok(());
    };
    empty_but(store, host, &stay.keys().cloned().collect(), within).await?;
    match stay.len() {
        0 => say!("host {host} is empty"),
        1 => {
            return Err(Failure::not_converged(format!(
                "host {host} is empty but for 1 copy, which cannot leave"
            )));
        }
        n => {
            return Err(Failure::not_converged(format!(
                "host {host} is empty but for {n} copies, which cannot leave"
            )));
        }
    }
    Ok(())
}

/// Waits until no copy is to run on a host.
///
/// # Errors
/// Some still are when the time is over, or the store does not answer.
pub async fn empty(store: &Arc<dyn Store>, host: &HostName, within: Duration) -> Result<(), Failure> {
    empty_but(store, host, &BTreeSet::new(), within).await
}

/// The same, of copies other than those that `stay`.
///
/// # Errors
/// Some still are when the time is over, or the store does not answer.
pub async fn empty_but(
    store: &Arc<dyn Store>,
    host: &HostName,
    stay: &BTreeSet<InstanceId>,
    within: Duration,
) -> Result<(), Failure> {
    let leaves = |kv: &Kv| !matches!(kv.key.parse(), Ok(Key::Instance(_, id)) if stay.contains(&id));
    let is_there = |kv: &Kv, alive| {
        let record = serde_json::from_slice::<Instance>(&kv.value);
        record.map_or(true, |record| words::is_there(record.desired, alive))
    };
    poll(within, async || {
        let alive = store.get(&Key::Alive(host.clone())).await?.0.is_some();
        let records = store.list(&prefix::instances_on(host)).await?.kvs;
        let left = records.iter().filter(|kv| leaves(kv) && is_there(kv, alive)).count();
        Ok(Step::once(left == 0, || {
            Failure::timed_out(format!(
                "{left} copies are on {host} still: see `evenkeel host describe {host}` and `evenkeel status`"
            ))
        }))
    })
    .await
}
