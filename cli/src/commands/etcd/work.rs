//! Members that come and go, one at a time. Each step can be done again where the one after it failed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::name::HostName;
use evenkeel_api::quantity::Span;
use evenkeel_etcd::membership::MemberOfEtcd;
use evenkeel_etcd::rights::{Admin, removal};
use evenkeel_etcd::{EtcdConfig, EtcdStore};
use evenkeel_runtime::store::{Store, StoreError};

use super::decide::{Seen, peer_url, without};
use super::tell::{How, tell};
use crate::cluster::book::Book;
use crate::cluster::deliver::Place;
use crate::cluster::rights;
use crate::failure::Failure;
use crate::output::say;
use crate::polling::{Step, poll_every};
use crate::snapshot;
use crate::which::{self, Which};

/// How long a new member may take to have all there is.
const LEARNS_WITHIN: Duration = Duration::from_secs(120);
/// Each look asks the host by ssh.
const PAUSE: Duration = Duration::from_secs(2);
/// A container that ended so often, and again since the last look, will not come to run by itself.
const ENDS_IN_VAIN: u32 = 5;

/// Asks a machine nothing but whether it is reached.
pub const REACHED: &str = "true";
/// Ends a host's member, if it has one, and keeps its data out of the way. Only its own program knows where those are; that of a
/// version before cannot say it.
pub const SET_ASIDE: &str = "etcd=/usr/local/sbin/evenkeel-etcd data=/var/lib/evenkeel-etcd; \
                             if [ ! -r /etc/evenkeel-etcd/etcd.env ] || [ ! -x $etcd ]; then etcd=; fi; \
                             if [ -n \"$etcd\" ] && $etcd --help | grep -q '|aside'; then $etcd aside; \
                             elif [ -z \"$etcd\" ] || $etcd stop; then \
                             if [ -e $data ]; then mv $data $data.before-$(date +%s); fi; else false; fi";
/// Nothing of etcd is left on a host but its data of before.
const FORGETS: &str = "rm -rf /etc/evenkeel-etcd";
const NO_BACKUPS: &str = "/usr/local/sbin/evenkeel-backup stop; rm -rf /etc/evenkeel-backup";
/// How often a host's member has ended by itself, and what it said last of why.
const ENDED: &str = "docker=${EVENKEEL_DOCKER_CLI:-docker}; $docker inspect -f '{{.RestartCount}}' evenkeel-etcd; \
                     $docker logs --tail 40 evenkeel-etcd 2>&1 | grep -E '\"level\":\"(error|fatal|panic)\"' | tail -n 1";
/// Hosts with backups of etcd that there shall be.
const KEEPERS: usize = 2;

/// See the module.
pub struct Work {
    /// What is kept of the cluster here.
    pub book: Book,
    /// Hosts that could not be told where etcd is now.
    pub left_out: Vec<HostName>,
    admin: Admin,
    store: Arc<dyn Store>,
    watch: Span,
}

impl Work {
    /// On the cluster of that book.
    ///
    /// # Errors
    /// Its certificates cannot be read.
    pub fn new(book: Book, watch: Span) -> Result<Self, Failure> {
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?);
        Ok(Self { book, left_out: Vec::new(), admin, store, watch })
    }

    /// See [`rights::catch_up`]. Where etcd does not say it now, it does not decide either, which is told by who needs that.
    ///
    /// # Errors
    /// The book cannot be kept.
    pub async fn catch_up(&mut self) -> Result<(), Failure> {
        match self.admin.read().await {
            Ok(_) => rights::catch_up(&self.admin, &mut self.book).await,
            Err(_) => Ok(()),
        }
    }

    /// All members, each asked alone, all at once.
    ///
    /// # Errors
    /// None of them answers.
    pub async fn look(&self) -> Result<Vec<Seen>, Failure> {
        let members = self.admin.members().await?;
        let mut asked = Vec::new();
        for member in members {
            let config = member
                .client_urls
                .first()
                .map(|url| EtcdConfig { endpoints: vec![url.clone()], ..self.book.root() });
            asked.push((member, tokio::spawn(answer(config))));
        }
        let mut seen = Vec::new();
        for (member, answer) in asked {
            let answer = answer.await.unwrap_or_else(|error| Err(error.to_string()));
            seen.push(Seen { member, answer });
        }
        Ok(seen)
    }

    /// The host that a person means.
    ///
    /// # Errors
    /// No host has that address, or the store does not answer.
    pub async fn host(&self, which: &Which) -> Result<HostName, Failure> {
        which.name_among(&self.known().await?)
    }

    /// Where hosts are, also those that have gone and carry a member still.
    async fn known(&self) -> Result<BTreeMap<HostName, Ipv4Addr>, Failure> {
        let mut known = self.book.facts.members.clone();
        known.extend(which::addresses(&self.store).await?);
        Ok(known)
    }

    async fn address(&self, host: &HostName) -> Result<Ipv4Addr, Failure> {
        let found = self.known().await?.get(host).copied();
        found.ok_or_else(|| Failure::new(format!("there is no host {host}: see `evenkeel host list`")))
    }

    async fn member_at(&self, address: Ipv4Addr) -> Result<Option<MemberOfEtcd>, Failure> {
        let url = peer_url(address);
        Ok(self.admin.members().await?.into_iter().find(|member| member.peer_url == url))
    }

    /// Lets a host carry a member, or goes on with that.
    ///
    /// # Errors
    /// A step fails: done again, it goes on.
    pub async fn add(&mut self, host: &HostName) -> Result<(), Failure> {
        let address = self.address(host).await?;
        self.follow().await?;
        match self.member_at(address).await? {
            Some(member) if !member.learns => say!("{host} carries a member already"),
            known => self.begin(host, address, known.is_some()).await?,
        }
        self.everyone(None).await
    }

    /// A member of its own for a host whose member has lost its data.
    ///
    /// # Errors
    /// The host is not reached, the others could not decide meanwhile, or a step fails: done again, it goes on.
    pub async fn replace(&mut self, host: &HostName) -> Result<(), Failure> {
        let address = self.address(host).await?;
        Place::of(address, None).asks(REACHED).await.map_err(|failure| {
            Failure::new(format!(
                "{failure}\n  nothing was changed: {host} must be on to carry a new member; if it will not come back: \
                 `evenkeel etcd remove {host} --dead`"
            ))
        })?;
        without(host.as_str(), &peer_url(address), &self.look().await?).map_err(Failure::new)?;
        if let Some(member) = self.member_at(address).await? {
            self.admin.remove_member(member.id).await?;
            say!("{host}: its member is out");
        }
        self.add(host).await
    }

    /// A host carries no member any more.
    ///
    /// # Errors
    /// The others could not decide, the host is not reached, or a step fails: done again, it goes on.
    pub async fn remove(&mut self, host: &HostName, dead: bool) -> Result<(), Failure> {
        let address = self.address(host).await?;
        let place = Place::of(address, None);
        let (members, url) = (self.look().await?, peer_url(address));
        let member = members.iter().find(|seen| seen.member.peer_url == url);
        let lives = snapshot::hosts(&self.store).await?.alive.contains_key(host)
            || member.is_some_and(|seen| seen.answer.is_ok());
        if dead && lives {
            return Err(Failure::new(format!("{host} is alive: leave --dead away")));
        }
        without(host.as_str(), &url, &members).map_err(Failure::new)?;
        if !dead {
            place.asks(REACHED).await.map_err(|failure| {
                Failure::new(format!("{failure}\n  nothing was changed; if it will not come back: --dead"))
            })?;
        }
        match member {
            Some(seen) => {
                self.admin.remove_member(seen.member.id).await?;
                say!("{host}: its member is out");
            }
            None => say!("{host} carries no member"),
        }
        self.book.facts.members.remove(host);
        self.follow().await?;
        let keeps = self.book.facts.backups.len() <= KEEPERS;
        if !dead {
            place.asks(&format!("{SET_ASIDE} && {FORGETS}")).await?;
            if !keeps && self.book.facts.backups.contains_key(host) {
                place.asks(NO_BACKUPS).await?;
                self.book.facts.backups.remove(host);
                let stored = self.admin.read().await?;
                self.admin
                    .apply(&removal(&stored, &BTreeSet::from([self.book.facts.generations.backup(host)])))
                    .await?;
            }
        }
        self.book.save()?;
        self.everyone(dead.then_some(host)).await?;
        if dead {
            say!("now: evenkeel host remove {host} --dead");
            return Ok(());
        }
        // The last: until it is told, it may lead still.
        rights::ensure(&self.admin, &self.book.access(host)).await
    }

    /// The book says what etcd says: whoever changed its members by other means is believed.
    async fn follow(&mut self) -> Result<(), Failure> {
        let (known, members) = (self.known().await?, self.admin.members().await?);
        let there = known
            .into_iter()
            .filter(|(_, address)| members.iter().any(|member| member.peer_url == peer_url(*address)));
        let there: BTreeMap<_, _> = there.collect();
        if there != self.book.facts.members {
            self.book.facts.members = there;
            self.book.save()?;
        }
        Ok(())
    }

    async fn everyone(&mut self, but: Option<&HostName>) -> Result<(), Failure> {
        let but = but.into_iter().cloned().collect();
        self.left_out = tell(&self.book, &self.store, How::Carefully(self.watch), &but).await?;
        Ok(())
    }

    /// Starts a member, which learns first.
    async fn begin(&mut self, host: &HostName, address: Ipv4Addr, known: bool) -> Result<(), Failure> {
        let place = Place::of(address, None);
        if !known {
            // A member begins with nothing: with what one of before has left it would not run. It is also the question
            // whether the host is reached, before anything is changed.
            place.asks(SET_ASIDE).await?;
            if let Some(other) = self.admin.members().await?.into_iter().find(|member| member.learns) {
                return Err(Failure::new(format!(
                    "the member {} learns still: `evenkeel etcd list` shows it; let it come to vote by `evenkeel etcd add`, or \
                     take it out by `evenkeel etcd remove`",
                    if other.name.is_empty() { other.peer_url } else { other.name }
                )));
            }
            self.admin.add_learner(&peer_url(address)).await?;
        }
        self.book.facts.members.insert(host.clone(), address);
        self.book.backs_up(host, address);
        self.book.save()?;
        rights::ensure(&self.admin, &self.book.access(host)).await?;
        say!("{host}: a member that learns");
        place.delivers(self.book.ticket(host, address, true)?).await?;
        self.promote(host, address, &place).await
    }

    /// Lets it vote, once it has all there is.
    async fn promote(&self, host: &HostName, address: Ipv4Addr, place: &Place) -> Result<(), Failure> {
        let mut ended = 0;
        poll_every(PAUSE, LEARNS_WITHIN, async || {
            let member = match self.member_at(address).await {
                Ok(Some(member)) => member,
                Ok(None) => {
                    return Err(Failure::new(format!("somebody took the member of {host} out meanwhile")));
                }
                // While members come and go, one or the other of them does not answer.
                Err(failure) => return Ok(Step::NotYet(failure)),
            };
            let told = |error: StoreError| {
                Failure::timed_out(format!(
                    "the member of {host} does not vote yet: {error}\n  what it says itself, there: docker logs \
                     evenkeel-etcd; `evenkeel etcd add {host}` goes on"
                ))
            };
            match self.admin.promote(member.id).await {
                Ok(()) => Ok(Step::Done(())),
                // Not in step yet, or nobody leads in this very moment.
                Err(error @ (StoreError::Refused(_) | StoreError::Unknown(_))) => {
                    let before = ended;
                    let why;
                    (ended, why) = read_ended(&place.asks(ENDED).await.unwrap_or_default());
                    if ended < ENDS_IN_VAIN || ended == before {
                        return Ok(Step::NotYet(told(error)));
                    }
                    Err(Failure::new(format!(
                        "the member of {host} ends again and again, {ended} times until now: {why}\n  `evenkeel etcd replace \
                         {host}` begins with another one"
                    )))
                }
                Err(error) => Err(told(error)),
            }
        })
        .await
    }
}

/// What [`ENDED`] says.
fn read_ended(said: &str) -> (u32, String) {
    let mut lines = said.lines();
    let times = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or_default();
    (times, lines.next().unwrap_or("it does not say why").to_owned())
}

/// Whether a member takes part.
async fn answer(config: Option<EtcdConfig>) -> Result<(), String> {
    let Some(config) = config else { return Err("has never started".to_owned()) };
    let admin = Admin::new(&config).map_err(|error| error.to_string())?;
    match admin.health().await {
        Ok(health) if health.leader == 0 => Err("sees no member that leads".to_owned()),
        Ok(_) => Ok(()),
        Err(StoreError::Unavailable(why) | StoreError::Unknown(why)) => {
            Err(format!("does not answer: {why}"))
        }
        Err(error) => Err(format!("does not answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_of_its_member_is_read() {
        assert_eq!(read_ended(""), (0, "it does not say why".to_owned()));
        assert_eq!(read_ended("7\n{\"level\":\"fatal\"}").0, 7);
        assert_eq!(read_ended("7\nremoved"), (7, "removed".to_owned()));
    }
}
