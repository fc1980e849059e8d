//! `evenkeel host remove`: a host goes for good.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::host::Availability;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_etcd::EtcdStore;
use evenkeel_etcd::rights::{Admin, removal};
use evenkeel_runtime::store::{Store, TxnBuilder};

use super::{availability, host};
use crate::cluster::book::is_of_host;
use crate::cluster::deliver::Place;
use crate::cluster::whose;
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::say;
use crate::polling::{Step, poll};
use crate::which::Which;

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
        let mut book = whose::need_book(settings).map_err(without_book)?;
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?);
        let name = &self.host.name(&store).await?;
        if book.facts.members.contains_key(name) {
            let how = if self.dead { " --dead" } else { "" };
            return Err(Failure::new(format!(
                "{name} carries a member of etcd: `evenkeel etcd remove {name}{how}` first, then this again"
            )));
        }
        let hosts = crate::snapshot::hosts(&store).await?;
        let Some(found) = hosts.accepted.get(name) else {
            return Err(Failure::new(format!("there is no host {name}: see `evenkeel host list`")));
        };
        if self.dead && hosts.alive.contains_key(name) {
            return Err(Failure::new(format!(
                "{name} is alive: leave --dead away, and its copies move first"
            )));
        }
        if !self.dead {
            availability::set(&store, name, Availability::Drain).await?;
            host::empty(&store, name, self.timeout.0).await?;
            Place::of(found.spec.address, self.ssh.as_deref()).ask(LEAVES)?;
        }
        forget(&store, name).await?;
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        let rights = admin.read().await?;
        let users: BTreeSet<String> =
            rights.users.keys().filter(|user| is_of_host(user, name)).cloned().collect();
        admin.apply(&removal(&rights, &users)).await?;
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
        let gone = store.get(&accepted).await?.0.is_none()
            && store.get(&alive).await?.0.is_none()
            && store.list(&prefix::instances_on(host)).await?.kvs.is_empty();
        let late = || Failure::timed_out(format!("{} is still being taken out: do it again", host));
        Ok(Step::once(gone, late))
    })
    .await
}
