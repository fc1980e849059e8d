//! Machines that become hosts: `evenkeel host add`, and without ssh `host ticket` and `host join`.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::HostName;
use evenkeel_cluster::Ticket;
use evenkeel_etcd::EtcdStore;
use evenkeel_etcd::rights::Admin;
use evenkeel_plan::host::document::document;
use evenkeel_runtime::store::{Store, StoreError, TxnBuilder};

use crate::cluster::book::Book;
use crate::cluster::deliver::Place;
use crate::cluster::{machine, rights, whose};
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::say;
use crate::polling::{Step, poll};
use crate::which::{self, Which};

/// Which machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel host add 10.0.0.12
  evenkeel host add 10.0.0.12 --name h2 --label disk=ssd --label rack=b
  evenkeel host add 10.0.0.12 --ssh h2.lan         by a name of your ssh config

Done again, it goes on where it failed.")]
pub struct Add {
    /// Its address on the LAN; of a host that is there, its name does
    #[arg(value_name = "ADDRESS")]
    machine: Which,
    /// Its name in the cluster [default: the machine's short host name]
    #[arg(long, value_name = "NAME")]
    name: Option<HostName>,
    /// A label for placement; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// How ssh reaches it as root [default: root@ADDRESS]
    #[arg(long, value_name = "TARGET")]
    ssh: Option<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE, like disk=ssd")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Makes this machine the host that the ticket names.
pub fn join(file: &Path) -> Result<(), Failure> {
    machine::need_root("evenkeel host join")?;
    let mut text = String::new();
    // A ticket has some kilobytes.
    let read = if file == Path::new("-") {
        std::io::stdin().take(1 << 20).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(1 << 20).read_to_string(&mut text))
    };
    read.map_err(|error| {
        Failure::new(format!("{}: {error}; it is a file, or `-` for standard input", file.display()))
    })?;
    let ticket = Ticket::decode(&text).map_err(Failure::new)?;
    machine::prepare(&ticket)?;
    machine::start(&ticket)?;
    say!("{} runs its controllers", ticket.host);
    Ok(())
}

/// Prints a ticket, once etcd knows the host.
pub async fn ticket(settings: &Settings, name: &HostName, address: Ipv4Addr) -> Result<(), Failure> {
    let mut book = whose::need_book_to_change(settings)?;
    let (_, ticket) = admit(&mut book, name, address, &[]).await?;
    say!("{}", ticket.encode());
    Ok(())
}

impl Add {
    /// Does it.
    ///
    /// # Errors
    /// This is not where the cluster was made, the machine is not reached, or a step fails.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let mut book = whose::need_book_to_change(settings)?;
        let address = self.address(&book).await?;
        let place = Place::of(address, self.ssh.as_deref());
        let name = self.probe(&place)?;
        let (store, ticket) = admit(&mut book, &name, address, &self.labels).await?;
        say!("{name} at {address}: program, files, engine");
        place.delivers(ticket).await?;
        joined(&store, &name).await?;
        say!("{name} is a host");
        Ok(())
    }

    /// Where the machine is.
    async fn address(&self, book: &Book) -> Result<Ipv4Addr, Failure> {
        if let Which::Address(address) = self.machine {
            return Ok(address);
        }
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?);
        self.machine.address_among(&which::addresses(&store).await?)
    }

    /// Whether the machine can be a host, and what it is called.
    fn probe(&self, place: &Place) -> Result<HostName, Failure> {
        let said = place.ask("id -u && uname -m && hostname -s")?;
        let mut lines = said.lines();
        let (id, arch, called) = (
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
        );
        if id != "0" {
            return Err(Failure::new("ssh does not make us root there: say how with --ssh root@…"));
        }
        if arch != std::env::consts::ARCH {
            return Err(Failure::new(format!(
                "that machine is {arch}, this program is for {}: hosts must be alike",
                std::env::consts::ARCH
            )));
        }
        if let (Some(name), _) | (None, Which::Name(name)) = (&self.name, &self.machine) {
            return Ok(name.clone());
        }
        called.to_lowercase().parse().map_err(|error| {
            Failure::new(format!("that machine is called '{called}', which cannot be a host's name: {error}; say another one with --name"))
        })
    }
}

/// Lets a host be: its document, and its rights at etcd. The store, as root, and what the host is given.
async fn admit(
    book: &mut Book,
    name: &HostName,
    address: Ipv4Addr,
    labels: &[(String, String)],
) -> Result<(Arc<dyn Store>, Ticket), Failure> {
    let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?);
    let admin = Admin::new(&book.root()).map_err(Failure::new)?;
    rights::catch_up(&admin, book).await?;
    enter(&store, name, address, labels).await?;
    book.backs_up(name, address);
    book.save()?;
    rights::ensure_anew(&admin, &book.access(name), &book.facts.generations).await?;
    // A member of etcd, if it carries one, was there before.
    Ok((store, book.ticket(name, address, true)?))
}

/// Makes the host's document, unless there is one.
///
/// # Errors
/// There is one that says another address, or the store does not answer.
pub async fn enter(
    store: &Arc<dyn Store>,
    name: &HostName,
    address: Ipv4Addr,
    labels: &[(String, String)],
) -> Result<(), Failure> {
    let hosts = crate::snapshot::hosts(store).await?;
    let same = hosts.accepted.iter().find(|(other, host)| *other != name && host.spec.address == address);
    if let Some((other, _)) = same {
        return Err(Failure::new(format!("{address} is the host {other} already")));
    }
    if let Some(host) = hosts.accepted.get(name).filter(|host| host.spec.address != address) {
        return Err(Failure::new(format!(
            "there is a host {name} at {}: say another name with --name, or `evenkeel host remove {name}` first (with --dead, if it \
             will not come back), which also makes its certificates void",
            host.spec.address
        )));
    }
    let labels: BTreeMap<_, _> = labels.iter().cloned().collect();
    if hosts.accepted.get(name).is_some_and(|host| !holds(&host.metadata.labels, &labels)) {
        return Err(Failure::new(format!(
            "{name} is a host already, with other labels: those are in its document (evenkeel get host {name} >{name}.yaml; \
             evenkeel apply -f {name}.yaml); leave --label away to bring its machine in again"
        )));
    }
    let key = Key::Document(ObjectRef::Host(name.clone()));
    let text = document(name, address, &labels);
    store.commit(&TxnBuilder::new().if_absent(&key).put(&key, text).build()?).await?;
    Ok(())
}

/// Whether all of `wanted` stand there.
fn holds(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// How long a host may take from its controllers' start to its word in the store.
const JOINS_WITHIN: Duration = Duration::from_secs(90);

/// Waits until a host is there.
///
/// # Errors
/// It does not come in time, or the store does not answer.
pub async fn joined(store: &Arc<dyn Store>, name: &HostName) -> Result<(), Failure> {
    let there = async |key| Ok::<_, StoreError>(store.get(&key).await?.0.is_some());
    poll(JOINS_WITHIN, async || {
        let said = async { Ok(there(Key::Alive(name.clone())).await? && there(Key::Facts(name.clone())).await?) };
        Ok(match said.await {
            // One member that is slow is no reason to leave the host half done.
            Err(error) => Step::NotYet(StoreError::into(error)),
            Ok(said) => Step::once(said, || {
                Failure::timed_out(format!(
                    "host {name} has said nothing yet: on it, see `evenkeel-host status` and `docker logs evenkeel`"
                ))
            }),
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_are_asked_for_again_must_be_those_that_stand() {
        let labels = |text: &str| text.split_whitespace().map(|one| label(one).unwrap()).collect();
        for (there, wanted, expected) in [
            ("", "", true),
            ("disk=ssd rack=b", "", true),
            ("disk=ssd rack=b", "rack=b", true),
            ("disk=ssd", "disk=hdd", false),
            ("", "disk=ssd", false),
        ] {
            assert_eq!(holds(&labels(there), &labels(wanted)), expected, "{there} {wanted}");
        }
    }
}
