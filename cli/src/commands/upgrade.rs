//! `evenkeel upgrade`: another version of the controllers, host by host; it stops at the first one that is sick.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::Key;
use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{Cluster, LEVEL};
use evenkeel_etcd::EtcdStore;
use evenkeel_etcd::rights::Admin;
use evenkeel_runtime::store::{Store, TxnBuilder};

use super::init;
use crate::care::{Care, WATCH, stopped};
use crate::cluster::answers::{member_answers, revive};
use crate::cluster::book::Book;
use crate::cluster::deliver::{Place, quoted};
use crate::cluster::images::{SETTINGS, can_carry};
use crate::cluster::{person, rights, whose};
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::say;
use crate::snapshot;

/// To what.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel upgrade --image registry.lan:5000/evenkeel:2
  evenkeel upgrade --image registry.lan:5000/evenkeel:1       back again: the same
  evenkeel upgrade --etcd-image registry.lan:5000/etcd:3.5.31
  evenkeel upgrade                                            the same names, pulled again
  evenkeel upgrade --finish                                   from now on, no way back

No container of yours is touched: controllers are exchanged on one host after the other, those that lead last. Where one is sick
afterwards, it stops; done again, it goes on. With --image it is for whoever made the cluster by `evenkeel init`, and also puts this
very program onto the hosts and gives them new certificates. Hosts that you have set up yourself say in their
/etc/evenkeel/host.env which image they run: change it there, and leave --image away.")]
pub struct Upgrade {
    /// The controllers' image, where every host can pull it
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The image with etcd; its members are exchanged one after the other, too. etcd cannot go back to an older minor version
    #[arg(long, value_name = "IMAGE")]
    etcd_image: Option<String>,
    /// A host to leave as it is, as one that is switched off; may be given again
    #[arg(long = "skip", value_name = "HOST")]
    skip: Vec<HostName>,
    /// There is no way back any more behind what hosts run then: what older ones cannot read may be used
    #[arg(long, conflicts_with = "skip")]
    finish: bool,
    /// How long each host is watched before the next one: longer than its lease, which the controllers of before renewed
    #[arg(long, default_value_t = WATCH)]
    watch: Span,
    /// What hosts run stays: the image that is there will do, and no other one leads back.
    #[arg(skip)]
    stays: bool,
}

/// A program's version, and the newest feature level that it understands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    name: String,
    level: u32,
}

/// What is done where.
struct Work<'a> {
    command: &'a Upgrade,
    book: Option<&'a Book>,
    store: Arc<dyn Store>,
    care: Care,
}

impl Upgrade {
    /// What hosts run stays; their certificates are made anew.
    pub fn to_the_same(skip: Vec<HostName>, watch: Span) -> Self {
        Self { image: None, etcd_image: None, skip, finish: false, watch, stays: true }
    }

    /// What makes the image be there. A registry need not answer for what stays as it is.
    fn brings(&self, image: &str) -> String {
        let pull = format!("$docker pull -q {image} >/dev/null");
        if self.stays { format!("$docker image inspect {image} >/dev/null 2>&1 || {pull}") } else { pull }
    }

    /// The way back, if there is one.
    fn back(&self, Failure { code, message }: Failure) -> Failure {
        if self.stays {
            return Failure { code, message };
        }
        Failure { code, message: format!("{message}; with the image of before, it goes back") }
    }

    /// Does it.
    ///
    /// # Errors
    /// A host is away, or is sick after its own; the rest is left as it was.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let mut book = whose::book_to_change(settings)?;
        if let Some(book) = &mut book {
            let facts = &mut book.facts;
            for (wanted, known) in
                [(&self.image, &mut facts.image), (&self.etcd_image, &mut facts.etcd_image)]
            {
                known.clone_from(wanted.as_ref().unwrap_or(&known.clone()));
            }
        } else if self.image.is_some() || self.etcd_image.is_some() {
            return Err(Failure::new(
                "this is not where `evenkeel init` made the cluster, so hosts cannot be told of another image from here: \
                 set EVENKEEL_IMAGE in /etc/evenkeel/host.env of each, then do `evenkeel upgrade` without --image",
            ));
        }
        if let Some((image, book)) = self.etcd_image.as_ref().zip(book.as_ref()) {
            let members = book.facts.members.iter().filter(|(host, _)| !self.skip.contains(host));
            let ask = async |address, script: String| Place::of(address, None).asks(&script).await;
            can_carry(image, members.map(|(host, address)| (host, *address)), ask).await?;
            // The way back from one that has let etcd down.
            revive(book, &self.skip).await?;
        }
        self.exchange(book.as_mut(), settings).await
    }

    /// Brings every host to what the book says, which the caller holds; without one, to what hosts say themselves.
    ///
    /// # Errors
    /// A host is away, or is sick after its own; the rest is left as it was.
    pub async fn exchange(&self, mut book: Option<&mut Book>, settings: &Settings) -> Result<(), Failure> {
        if let Some(book) = book.as_deref_mut() {
            book.renew()?;
            let admin = Admin::new(&book.root()).map_err(Failure::new)?;
            let generations = &mut book.facts.generations;
            // Not kept yet: the book may name an image that no host has.
            generations.learn(&admin.read().await.map_err(rights::refused)?);
            // First: a version that is gone back to does with more than it needs.
            rights::renew(&admin).await?;
        }
        let book = book.as_deref();
        let store: Arc<dyn Store> = match book {
            Some(book) => Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?),
            None => crate::store(settings)?,
        };
        let care = Care::begin(&store, self.watch).await?;
        let work = Work { command: self, book, store, care };
        let level = work.all().await?;
        if let Some(book) = book {
            book.save()?;
            person::settle(&Book::home()?, book, init::OPERATOR)?;
        }
        raise(&work.store, level, self.finish).await
    }
}

impl Work<'_> {
    /// Does all hosts: the level that all of them understand.
    async fn all(&self) -> Result<u32, Failure> {
        let cluster = snapshot::get::<Cluster>(&self.store, &Key::Cluster).await?.map(|found| found.value);
        if self.store.get(&Key::Halt).await?.0.is_some() {
            return Err(Failure::new("etcd is not believed at the moment: see `evenkeel recover` first"));
        }
        let hosts = snapshot::hosts(&self.store).await?;
        let skip = &self.command.skip;
        let away =
            hosts.accepted.keys().find(|host| !hosts.alive.contains_key(*host) && !skip.contains(host));
        if let Some(host) = away {
            return Err(Failure::new(format!(
                "host {host} is not alive: bring it back first, or leave it out by --skip {host}"
            )));
        }
        let addresses: BTreeMap<HostName, Ipv4Addr> =
            hosts.accepted.into_iter().map(|(host, accepted)| (host, accepted.spec.address)).collect();
        let mut level = LEVEL;
        for host in self.care.order(addresses.keys().filter(|host| !skip.contains(host))).await? {
            let place = Place::of(addresses[host], None);
            let version = self.fetch(host, &place).await?;
            if let Some(cluster) = cluster.as_ref().filter(|cluster| cluster.level > version.level) {
                return Err(Failure::new(format!(
                    "the cluster uses what came with level {}, and evenkeel {} knows up to {}: it cannot go back that far",
                    cluster.level, version.name, version.level
                )));
            }
            level = level.min(version.level);
            if let Some(book) = self.book {
                // Whatever is told to a host after this one, also if this is cut off, is told the image that runs already.
                book.save()?;
            }
            self.exchange(host, addresses[host], &place)
                .await
                .map_err(|failure| self.command.back(stopped(host, failure)))?;
            let well = self.care.well(host, &place, Some(&version.name)).await;
            well.map_err(|failure| self.command.back(failure))?;
            say!("{host}: evenkeel {}", version.name);
        }
        // Who was left out may know less.
        Ok(if skip.is_empty() { level } else { 0 })
    }

    /// Brings the image there, and asks it what it is.
    async fn fetch(&self, host: &HostName, place: &Place) -> Result<Version, Failure> {
        let image =
            self.book.as_ref().map_or("\"$EVENKEEL_IMAGE\"".to_owned(), |book| quoted(&book.facts.image));
        let ask = format!(
            "{SETTINGS}; {{ {}; }} && $docker run --rm --network none {image} --version",
            self.command.brings(&image)
        );
        let said = place.asks(&ask).await;
        let said =
            said.map_err(|failure| Failure::new(format!("{host} cannot have the image: {failure}")))?;
        version(&said).ok_or_else(|| Failure::new(format!("that image is not evenkeel's: it says «{said}»")))
    }

    /// Exchanges what runs there.
    async fn exchange(&self, host: &HostName, address: Ipv4Addr, place: &Place) -> Result<(), Failure> {
        let Some(book) = self.book else {
            return place.asks("PATH=$PATH:/usr/local/sbin evenkeel-host upgrade").await.map(drop);
        };
        place.delivers(book.ticket(host, address, true)?).await?;
        member_answers(book, host).await
    }
}

/// What `evenkeel --version` says; before there were levels it did not name one.
fn version(said: &str) -> Option<Version> {
    let words = said.lines().last()?.strip_prefix("evenkeel ")?;
    let (name, level) = match words.split_once(" (level ") {
        Some((name, level)) => (name, level.strip_suffix(')')?.parse().ok()?),
        None => (words, 1),
    };
    Some(Version { name: name.to_owned(), level })
}

/// Lets everyone use what all understand now, if that is wished.
async fn raise(store: &Arc<dyn Store>, level: u32, finish: bool) -> Result<(), Failure> {
    let Some(found) = snapshot::get::<Cluster>(store, &Key::Cluster).await? else { return Ok(()) };
    if level <= found.value.level {
        if finish {
            say!("what came with level {} is in use already: there was nothing to finish", found.value.level);
        }
        return Ok(());
    }
    if !finish {
        say!(
            "all hosts know what came with level {level}: once you will not go back, `evenkeel upgrade --finish` lets it be used"
        );
        return Ok(());
    }
    let value = serde_json::to_vec(&Cluster { level, ..found.value }).map_err(Failure::new)?;
    let txn = TxnBuilder::new().if_unchanged(&Key::Cluster, found.mod_revision).put(&Key::Cluster, value);
    if !store.commit(&txn.build()?).await?.succeeded {
        return Err(Failure::new(
            "all hosts are done, but somebody changed the cluster's record meanwhile: do it again",
        ));
    }
    say!("the cluster uses what came with level {level}; evenkeel of before cannot run it any more");
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_version_is_read_whether_it_names_a_level_or_not() {
        let read = |said| version(said).map(|version| (version.name, version.level));
        assert_eq!(read("evenkeel 0.1.0"), Some(("0.1.0".to_owned(), 1)));
        assert_eq!(read("warning: x\nevenkeel 0.2.0-dev (level 3)"), Some(("0.2.0-dev".to_owned(), 3)));
        for wrong in ["", "nginx 1", "evenkeel 0.2.0 (level x)"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn there_is_no_way_to_finish_without_all_hosts() {
        let parse = |words: &str| Finish::try_parse_from(words.split(' ')).map(drop);
        assert!(parse("upgrade --finish").is_ok() && parse("upgrade --skip h3").is_ok());
        let refused = parse("upgrade --finish --skip h3").unwrap_err();
        assert_eq!(refused.kind(), clap::error::ErrorKind::ArgumentConflict);
    }

    #[test]
    fn certificates_alone_need_no_registry_and_no_image_leads_back_from_them() {
        let same = Upgrade::to_the_same(Vec::new(), WATCH);
        let other = Upgrade { stays: false, ..Upgrade::to_the_same(Vec::new(), WATCH) };
        assert!(same.brings("i").starts_with("$docker image inspect i"), "{}", same.brings("i"));
        assert_eq!(other.brings("i"), "$docker pull -q i >/dev/null");
        let back = |upgrade: &Upgrade| upgrade.back(Failure::not_converged("sick"));
        assert_eq!((back(&same).message.as_str(), back(&same).code), ("sick", 3));
        assert!(back(&other).message.contains("image of before"));
    }

    #[derive(Debug, clap::Parser)]
    struct Finish {
        #[command(flatten)]
        _upgrade: Upgrade,
    }

    #[tokio::test]
    async fn the_level_is_raised_and_never_lowered() {
        let store: Arc<dyn Store> = Arc::new(evenkeel_etcd::MemoryStore::new(1));
        raise(&store, 2, true).await.unwrap();
        let cluster = Cluster { uid: "u".into(), epoch: 3, level: 1, floor: 9 };
        let put = TxnBuilder::new().put(&Key::Cluster, serde_json::to_vec(&cluster).unwrap());
        store.commit(&put.build().unwrap()).await.unwrap();
        for (level, finish, expected) in [(0, true, 1), (2, false, 1), (2, true, 2), (1, true, 2)] {
            raise(&store, level, finish).await.unwrap();
            let found = snapshot::get::<Cluster>(&store, &Key::Cluster).await.unwrap().unwrap().value;
            assert_eq!(found, Cluster { level: expected, ..cluster.clone() });
        }
    }
}
