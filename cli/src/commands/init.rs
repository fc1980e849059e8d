//! `evenkeel init`: makes a cluster on this machine, which becomes its first host.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use evenkeel_api::access::Role;
use evenkeel_api::key::Key;
use evenkeel_api::name::HostName;
use evenkeel_api::record::{Cluster, LEVEL};
use evenkeel_etcd::EtcdStore;
use evenkeel_etcd::rights::{Access, Admin};
use evenkeel_runtime::env::Env;
use evenkeel_runtime::store::{Store, TxnBuilder};

use super::enter;
use crate::cluster::answers::answers;
use crate::cluster::book::{Book, Facts};
use crate::cluster::generations::Generations;
use crate::cluster::{images, machine, person, rights};
use crate::failure::Failure;
use crate::output::say;

/// What people may say of the new cluster.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel init --image registry.lan:5000/evenkeel:1 --etcd-image registry.lan:5000/etcd:3.5.30
  evenkeel init --image … --etcd-image … --address 10.0.0.11 --separate

Done again, it goes on where it failed. What it keeps is in ~/.config/evenkeel: keep a copy of that folder where
only you can read it. `evenkeel host add` brings further machines in.")]
pub struct Init {
    /// The controllers' image, where every host can pull it
    #[arg(long, value_name = "IMAGE", env = "EVENKEEL_IMAGE")]
    image: String,
    /// An image with etcd and etcdutl, 3.5.30 or later, where this host can pull it
    #[arg(long, value_name = "IMAGE", env = "EVENKEEL_ETCD_IMAGE")]
    etcd_image: String,
    /// This host's name in the cluster [default: the machine's short host name]
    #[arg(long, value_name = "NAME")]
    name: Option<HostName>,
    /// Its address on the LAN [default: the one that its default route leaves from]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Ipv4Addr>,
    /// A container and an identity for each controller, with only the rights that it needs, on all hosts
    #[arg(long)]
    separate: bool,
}

/// The user at etcd of the person who made the cluster.
pub const OPERATOR: &str = "evenkeel.user.operator";

impl Init {
    /// Does it.
    ///
    /// # Errors
    /// It is not root's, another cluster was made from here, or a step fails.
    pub async fn run(&self) -> Result<(), Failure> {
        machine::need_root("evenkeel init")?;
        let name = self.name.clone().map_or_else(machine::name, Ok)?;
        let address = self.address.map_or_else(machine::address, Ok)?;
        let home = Book::home()?;
        let begun = self.begun(&home, &name, address)?;
        say!("{name} at {address}: engine, images");
        machine::equip()?;
        // Before there is anything that would have to be made anew with another one.
        self.images().await?;
        let mut book = self.book(&home, begun, &name, address)?;
        say!("{name} at {address}: files, etcd");
        book.backs_up(&name, address);
        book.save()?;
        let ticket = book.ticket(&name, address, false)?;
        machine::prepare(&ticket)?;
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        answers(&admin).await?;
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?);
        found(&store, &book).await?;
        enter::enter(&store, &name, address, &[]).await?;
        admin.enable().await.map_err(rights::refused)?;
        rights::ensure(&admin, &access(&book, &name)).await?;
        say!("etcd answers to certificates alone, each with its own rights");
        machine::start(&ticket)?;
        enter::joined(&store, &name).await?;
        person::settle(&home, &book, OPERATOR)?;
        say!("\nThe cluster is there; this is its first host. What you hold of it is in {}:", home.display());
        say!("keep a copy where only you can read it. Next:\n");
        say!("  evenkeel status");
        say!("  evenkeel host add ADDRESS      for each further machine, as root over ssh");
        Ok(())
    }

    /// What was begun here.
    fn begun(&self, home: &Path, name: &HostName, address: Ipv4Addr) -> Result<Option<Book>, Failure> {
        let begun = Book::open_to_change(home)?;
        if begun.as_ref().is_some_and(|book| book.facts.members.get(name) != Some(&address)) {
            return Err(Failure::new(format!(
                "a cluster was made from here already, without {name} at {address}: `evenkeel host add` brings hosts into \
                 it; to begin another one, move {} away",
                home.display()
            )));
        }
        if let Some(book) = begun.as_ref().filter(|book| book.facts.separate != self.separate) {
            let (was, is) = if book.facts.separate { ("with", "without") } else { ("without", "with") };
            return Err(Failure::new(format!(
                "this cluster was begun {was} --separate, and that holds for all its hosts: it cannot go on {is} it"
            )));
        }
        Ok(begun)
    }

    /// Sees that both images are what they shall be.
    async fn images(&self) -> Result<(), Failure> {
        for (option, image, trial) in [
            ("--image", &self.image, images::CONTROLLERS),
            ("--etcd-image", &self.etcd_image, images::ETCD),
            ("--etcd-image", &self.etcd_image, images::ETCDUTL),
        ] {
            let told = |why: String| Failure::new(format!("{option} {image}: {why}; nothing was made yet"));
            trial.here(image).await.map_err(told)?;
        }
        Ok(())
    }

    /// What was begun, or a new one.
    fn book(
        &self,
        home: &Path,
        begun: Option<Book>,
        name: &HostName,
        address: Ipv4Addr,
    ) -> Result<Book, Failure> {
        if let Some(mut book) = begun {
            book.renew()?;
            book.facts.image.clone_from(&self.image);
            book.facts.etcd_image.clone_from(&self.etcd_image);
            book.save()?;
            return Ok(book);
        }
        Book::create(
            home,
            Facts {
                uid: format!("{:016x}", Env::system()?.random()),
                prefix: evenkeel_etcd::DEFAULT_PREFIX.to_owned(),
                image: self.image.clone(),
                etcd_image: self.etcd_image.clone(),
                separate: self.separate,
                members: BTreeMap::from([(name.clone(), address)]),
                backups: BTreeMap::new(),
                generations: Generations::default(),
            },
        )
    }
}

fn access(book: &Book, name: &HostName) -> Access {
    let mut access = book.access(name);
    access.insert(OPERATOR.to_owned(), [Role::Operator].into());
    access
}

/// Says which cluster this etcd is, unless it is one already.
async fn found(store: &Arc<dyn Store>, book: &Book) -> Result<(), Failure> {
    let cluster = Cluster { uid: book.facts.uid.clone(), epoch: 1, level: LEVEL, floor: 0 };
    let value = serde_json::to_vec(&cluster).map_err(Failure::new)?;
    let txn = TxnBuilder::new().if_absent(&Key::Cluster).put(&Key::Cluster, value);
    if store.commit(&txn.build()?).await?.succeeded {
        return Ok(());
    }
    let there = crate::snapshot::get::<Cluster>(store, &Key::Cluster).await?.map(|found| found.value.uid);
    if there.as_deref() == Some(book.facts.uid.as_str()) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "this etcd holds the cluster {}, not {}",
        there.unwrap_or_default(),
        book.facts.uid
    )))
}
