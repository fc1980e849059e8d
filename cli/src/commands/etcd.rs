//! `evenkeel etcd`: the members of the cluster's store, and hosts that become one.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use evenkeel_api::name::HostName;
use evenkeel_etcd::EtcdStore;
use evenkeel_etcd::membership::MemberOfEtcd;
use evenkeel_etcd::rights::Admin;
use evenkeel_runtime::store::{Store, StoreError};

use super::defrag;
use crate::cluster::book::Book;
use crate::cluster::deliver::Place;
use crate::cluster::{person, rights};
use crate::failure::Failure;
use crate::output::{say, table};
use crate::polling::{Step, poll};

/// What about etcd.
#[derive(Debug, Args)]
pub struct Etcd {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All members
    List,
    /// Let all members give back what they do not need, and take writes again when they were full
    Defrag,
    /// Let a host carry a member; three of them outlive the loss of one. It may lead then
    Add {
        /// The host
        host: HostName,
    },
    /// A member has lost its data: it goes, and its host gets a new one
    Replace {
        /// The host
        host: HostName,
    },
}

/// How long a new member may take to have all there is.
const LEARNS_WITHIN: Duration = Duration::from_secs(120);

/// Ends a host's member, and keeps its data out of the way.
pub const SET_ASIDE: &str = "/usr/local/sbin/evenkeel-etcd stop && if [ -e /var/lib/evenkeel-etcd ]; then \
                             mv /var/lib/evenkeel-etcd /var/lib/evenkeel-etcd.before-$(date +%s); fi";

struct Work {
    book: Book,
    admin: Admin,
    store: Arc<dyn Store>,
}

impl Etcd {
    /// Does it.
    ///
    /// # Errors
    /// This is not where the cluster was made, there is no such host, or a step fails.
    pub async fn run(&self) -> Result<(), Failure> {
        let home = Book::home()?;
        let book = Book::need(&home)?;
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?);
        let mut work = Work { book, admin, store };
        let host = match &self.verb {
            Verb::List => return work.list().await,
            Verb::Defrag => return defrag::run(&work.book).await,
            Verb::Add { host } => host,
            Verb::Replace { host } => {
                work.take_out(host).await?;
                host
            }
        };
        work.add(host).await?;
        // Everyone else learns of it.
        tell(&work.book, &work.store, host).await?;
        person::settings(&home, &work.book)?;
        say!("etcd has {} members: {}", work.book.facts.members.len(), work.names());
        Ok(())
    }
}

fn peer_url(address: Ipv4Addr) -> String {
    format!("https://{address}:2380")
}

impl Work {
    fn names(&self) -> String {
        self.book.facts.members.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    async fn list(&self) -> Result<(), Failure> {
        let members = self.admin.members().await?.into_iter();
        let rows = members.map(|member| {
            let state = if member.learns { "learns" } else { "votes" };
            vec![member.name, member.peer_url, state.to_owned()]
        });
        table(&["MEMBER", "ADDRESS", "STATE"], rows.collect(), "no members");
        Ok(())
    }

    async fn address(&self, host: &HostName) -> Result<Ipv4Addr, Failure> {
        let hosts = crate::snapshot::hosts(&self.store).await?;
        let found = hosts.accepted.get(host).map(|found| found.spec.address);
        found.ok_or_else(|| Failure::new(format!("there is no host {host}: see `evenkeel host list`")))
    }

    async fn member_at(&self, address: Ipv4Addr) -> Result<Option<MemberOfEtcd>, Failure> {
        let url = peer_url(address);
        Ok(self.admin.members().await?.into_iter().find(|member| member.peer_url == url))
    }

    async fn add(&mut self, host: &HostName) -> Result<(), Failure> {
        let address = self.address(host).await?;
        let known = self.member_at(address).await?;
        if known.as_ref().is_some_and(|member| !member.learns) {
            say!("{host} carries a member already");
            return Ok(());
        }
        if known.is_none() {
            self.admin.add_learner(&peer_url(address)).await?;
        }
        self.book.facts.members.insert(host.clone(), address);
        self.book.backs_up(host, address);
        self.book.save()?;
        rights::ensure(&self.admin, &self.book.access(host)).await?;
        say!("{host}: a member that learns");
        Place::of(address, None).deliver(&self.book.ticket(host, address, true)?)?;
        self.promote(host, address).await
    }

    /// Lets it vote, once it has all there is.
    async fn promote(&self, host: &HostName, address: Ipv4Addr) -> Result<(), Failure> {
        poll(LEARNS_WITHIN, async || {
            let Some(member) = self.member_at(address).await? else {
                return Err(Failure::new(format!("somebody took the member of {host} out meanwhile")));
            };
            let told = |error: StoreError| {
                Failure::new(format!(
                    "the member of {host} does not vote yet: {error}\n  what it says itself, there: \
                     docker logs evenkeel-etcd; then do it again"
                ))
            };
            match self.admin.promote(member.id).await {
                Ok(()) => Ok(Step::Done(())),
                // Not in step yet, or nobody leads in this very moment.
                Err(error @ (StoreError::Refused(_) | StoreError::Unknown(_))) => {
                    Ok(Step::NotYet(told(error)))
                }
                Err(error) => Err(told(error)),
            }
        })
        .await
    }

    async fn take_out(&mut self, host: &HostName) -> Result<(), Failure> {
        let address = self.address(host).await?;
        let members = self.admin.members().await?;
        if members.iter().filter(|member| !member.learns).count() < 3 {
            return Err(Failure::new(
                "there are fewer than three members: the others could not decide without it; restore a backup instead",
            ));
        }
        if let Some(member) = self.member_at(address).await? {
            self.admin.remove_member(member.id).await?;
            say!("{host}: its member is out");
        }
        // What it may still have is of no use: it must begin as one that has nothing.
        Place::of(address, None).ask(SET_ASIDE)?;
        Ok(())
    }
}

/// Tells all hosts but the one that knows where etcd is now; those that cannot be reached keep what they knew.
///
/// # Errors
/// etcd does not answer.
pub async fn tell(book: &Book, store: &Arc<dyn Store>, knows: &HostName) -> Result<(), Failure> {
    let hosts = crate::snapshot::hosts(store).await?.accepted;
    for (host, accepted) in hosts.into_iter().filter(|(host, _)| host != knows) {
        let address = accepted.spec.address;
        let ticket = book.ticket(&host, address, true)?;
        if let Err(failure) = Place::of(address, None).deliver(&ticket) {
            say!(
                "{host} does not know of it yet: {failure}\n  later: evenkeel host add {address} --name {host}"
            );
        }
    }
    Ok(())
}
