//! `evenkeel host remove`: a host goes for good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::host::Availability;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::quantity::Span;
use evenkeel_etcd::EtcdStore;
use evenkeel_etcd::rights::{Admin, Rights};
use evenkeel_runtime::store::{Store, StoreError, TxnBuilder};

use super::{availability, host, stays};
use crate::cluster::deliver::Place;
use crate::cluster::generations::is_of_host;
use crate::cluster::whose;
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::say;
use crate::polling::{Step, poll};
use crate::which::{self, Which};

/// Which host.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel host remove h2            its copies move, its controllers stop, its certificates are void
  evenkeel host remove h2 --dead     it will not come back: nothing is waited for")]
pub struct Remove {
    /// Its name, or its address
    host: Which,
    /// It is gone and will not come back
    #[arg(long)]
    dead: bool,
    /// How long its copies may take to move
    #[arg(long, default_value = "10m")]
    timeout: Span,
    /// How ssh reaches it as root [default: root@ADDRESS]
    #[arg(long, value_name = "TARGET")]
    ssh: Option<String>,
}

/// Ends what is ours on a machine, and takes away who it was. Volumes stay, and the engine.
const LEAVES: &str = "/usr/local/sbin/evenkeel-host stop && /usr/local/sbin/evenkeel-backup stop && \
                      rm -rf /etc/evenkeel/tls /etc/evenkeel-backup";
/// For how long the network controllers may take to forget it.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(60);

impl Remove {
    /// Does it.
    ///
    /// # Errors
    /// There is no such host, it carries etcd, its copies fit nowhere else, or it is not reached.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let mut book = whose::need_book_to_change(settings).map_err(without_book)?;
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?);
        let mut known = which::addresses(&store).await?;
        known.extend(book.facts.backups.clone());
        let name = &self.host.name_among(&known)?;
        if book.facts.members.contains_key(name) {
            let how = if self.dead { " --dead" } else { "" };
            return Err(Failure::new(format!(
                "{name} carries a member of etcd: `evenkeel etcd remove {name}{how}` first, then this again"
            )));
        }
        let hosts = crate::snapshot::hosts(&store).await?;
        let found = hosts.accepted.get(name);
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        let known = !users_of(&admin.read().await?, name).is_empty() || book.facts.backups.contains_key(name);
        if self.dead && hosts.alive.contains_key(name) {
            return Err(Failure::new(format!(
                "{name} is alive: leave --dead away, and its copies move first"
            )));
        }
        let document = Key::Document(ObjectRef::Host(name.clone()));
        let document = store.get(&document).await?.0.is_some();
        let parts = parts(&Remains { document, accepted: found.is_some(), known }, self.dead);
        if parts.is_empty() {
            return Err(Failure::new(format!("there is no host {name}: see `evenkeel host list`")));
        }
        for part in parts {
            match (part, found) {
                (Part::Empties, Some(found)) => {
                    stay(name, &stays::on(&store, name).await?)?;
                    availability::set(&store, name, Availability::Drain).await?;
                    host::empty(&store, name, self.timeout.0).await?;
                    Place::of(found.spec.address, self.ssh.as_deref()).ask(LEAVES)?;
                }
                (Part::Empties, None) => {}
                (Part::Forgets, _) => forget(&store, name).await?,
                (Part::Voids, _) => {
                    let told = book.facts.generations.retire_host(name, &admin.read().await?);
                    // First: were this cut off, whoever adds the host again would give its old certificates their rights back.
                    book.save()?;
                    admin.apply(&told).await?;
                }
            }
        }
        if book.facts.backups.remove(name).is_some() {
            book.save()?;
            say!(
                "{name} made backups of etcd: `evenkeel host add` of any other host, again, makes that one do it"
            );
        }
        say!("{name} is no host any more, and its certificates are void");
        Ok(())
    }
}

/// A step of the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Its copies move, and its controllers stop.
    Empties,
    /// The store keeps nothing for it.
    Forgets,
    /// etcd knows its users no more.
    Voids,
}

/// What is there of a host still; not all of it after a removal that was cut off.
#[derive(Debug, Clone, Copy)]
struct Remains {
    /// Its document is there.
    document: bool,
    /// The leader has accepted it. For a moment after its document is gone, too.
    accepted: bool,
    /// It has users at etcd, or backups in the book.
    known: bool,
}

/// What is left to do for a host.
fn parts(remains: &Remains, dead: bool) -> Vec<Part> {
    let Remains { document, accepted, known } = *remains;
    match (accepted || known, dead) {
        (false, _) => Vec::new(),
        // Whoever has the machine has its keys: nothing that is waited for comes before.
        (true, true) => vec![Part::Voids, Part::Forgets],
        // While it runs it needs its rights.
        (true, false) if accepted && document => vec![Part::Empties, Part::Forgets, Part::Voids],
        (true, false) => vec![Part::Forgets, Part::Voids],
    }
}

/// Refuses while copies would stay, before the host is drained for nothing.
fn stay(host: &HostName, stays: &BTreeMap<InstanceId, String>) -> Result<(), Failure> {
    if stays.is_empty() {
        return Ok(());
    }
    let stays: String =
        stays.iter().map(|(copy, why)| format!("\n  copy {copy} cannot leave: {why}")).collect();
    Err(Failure::new(format!(
        "{host} is left as it is:{stays}\n  make room for them, or delete their services; to leave them and their volumes behind, switch the \
         machine off, then `evenkeel host remove {host} --dead`"
    )))
}

/// The users at etcd that are this host's, and may do anything.
fn users_of(rights: &Rights, host: &HostName) -> BTreeSet<String> {
    let users = rights.users.iter().filter(|(user, roles)| is_of_host(user, host) && !roles.is_empty());
    users.map(|(user, _)| user.clone()).collect()
}

/// What to do in a cluster that was not made from here.
fn without_book(failure: Failure) -> Failure {
    Failure::new(format!(
        "{failure}\n  with an etcd of your own: evenkeel host drain HOST --wait, evenkeel delete host HOST, and on it \
         evenkeel-host stop"
    ))
}

/// Takes its document out, and waits until nothing is kept for it.
async fn forget(store: &Arc<dyn Store>, host: &HostName) -> Result<(), Failure> {
    let object = ObjectRef::Host(host.clone());
    let key = Key::Document(object.clone());
    let (kv, _) = store.get(&key).await?;
    if let Some(kv) = kv {
        let txn = TxnBuilder::new().if_unchanged(&key, kv.mod_revision).delete(&key);
        if !store.commit(&txn.build()?).await?.succeeded {
            return Err(Failure::new("its document was changed in this very moment: do it again"));
        }
    }
    let accepted = Key::Accepted(object);
    let alive = Key::Alive(host.clone());
    poll(FORGOTTEN_WITHIN, async || {
        let gone = async {
            Ok::<_, StoreError>(
                store.get(&accepted).await?.0.is_none()
                    && store.get(&alive).await?.0.is_none()
                    && store.list(&prefix::instances_on(host)).await?.kvs.is_empty(),
            )
        };
        Ok(match gone.await {
            // One member that is slow is no reason to leave it half done.
            Err(error) => Step::NotYet(error.into()),
            Ok(gone) => Step::once(gone, || {
                Failure::timed_out(format!("{host} is still being taken out: do it again"))
            }),
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_whose_copies_cannot_leave_is_left_as_it_is() {
        let host = "h2".parse().unwrap();
        assert!(stay(&host, &BTreeMap::new()).is_ok());
        let copy = "shop.db.1.n".parse().unwrap();
        let stays = BTreeMap::from([(copy, "its volume shop.data is on h2".to_owned())]);
        let told = stay(&host, &stays).unwrap_err().message;
        for part in ["copy shop.db.1.n cannot leave: its volume shop.data is on h2", "host remove h2 --dead"]
        {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn what_was_cut_off_is_gone_on_with_and_a_dead_hosts_rights_go_first() {
        use Part::{Empties, Forgets, Voids};
        // Whether its document is there, it is accepted, known to etcd's access control or the book, and dead.
        for (document, accepted, known, dead, expected) in [
            (true, true, true, false, vec![Empties, Forgets, Voids]),
            (true, true, false, false, vec![Empties, Forgets, Voids]),
            (true, true, true, true, vec![Voids, Forgets]),
            // Its document went a moment ago, which is after it was empty.
            (false, true, true, false, vec![Forgets, Voids]),
            (false, true, false, false, vec![Forgets, Voids]),
            (false, true, true, true, vec![Voids, Forgets]),
            (false, false, true, false, vec![Forgets, Voids]),
            (false, false, true, true, vec![Voids, Forgets]),
            (false, false, false, false, vec![]),
            (false, false, false, true, vec![]),
            // The leader has not read it yet, or never could.
            (true, false, true, false, vec![Forgets, Voids]),
        ] {
            let remains = Remains { document, accepted, known };
            assert_eq!(parts(&remains, dead), expected, "{remains:?} {dead}");
        }
    }

    #[test]
    fn a_hosts_users_are_its_own_and_that_of_its_backups() {
        let users = ["evenkeel.host.h2", "evenkeel.host.h2.backup", "evenkeel.host.h20", "evenkeel.user.h2"];
        let users = users.map(|user| (user.to_owned(), BTreeSet::from(["its role".to_owned()])));
        let mut rights = Rights { users: users.into(), ..Rights::default() };
        // Who only stands for the name's next generation is none.
        rights.users.insert("evenkeel.host.h2@1".to_owned(), BTreeSet::new());
        let found = users_of(&rights, &"h2".parse().unwrap());
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["evenkeel.host.h2", "evenkeel.host.h2.backup"]);
    }
}
