//! What whoever made a cluster keeps of it, in a folder of their own: both authorities' keys, the identity of
//! etcd's root, and what hosts that come later must be told. Whoever has it can make any identity.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use evenkeel_api::access::Role;
use evenkeel_api::key::Controller;
use evenkeel_api::name::HostName;
use evenkeel_cluster::ticket::ALL;
use evenkeel_cluster::{Authority, Member, Pair, Subject, Ticket, Use};
use evenkeel_etcd::rights::{Access, ROOT};
use evenkeel_etcd::{EtcdConfig, EtcdTls};
use serde::{Deserialize, Serialize};

use super::generations::Generations;
use super::hold::hold;
use super::signers::{Signers, keep};
use crate::failure::Failure;

/// What hosts that come later must be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Default))]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The cluster's, for ever.
    pub uid: String,
    /// Where its keys begin.
    pub prefix: String,
    /// The controllers' image.
    pub image: String,
    /// The image with etcd.
    pub etcd_image: String,
    /// Each controller has a container and an identity of its own.
    pub separate: bool,
    /// The hosts that carry etcd, with their addresses.
    pub members: BTreeMap<HostName, Ipv4Addr>,
    /// The hosts that keep backups of it.
    #[serde(default)]
    pub backups: BTreeMap<HostName, Ipv4Addr>,
    /// Whose names were taken out.
    #[serde(default, skip_serializing_if = "Generations::is_empty")]
    pub generations: Generations,
}

/// See the module.
#[derive(Debug)]
pub struct Book {
    /// What is known of the cluster.
    pub facts: Facts,
    folder: PathBuf,
    clients: Signers,
    peers: Signers,
}

/// What is known of the cluster. It is written last: where it is, there is a book.
const FACTS: &str = "cluster.json";

/// Who is trusted to be etcd.
const TRUSTED: &str = "trusted.crt";

/// The names of both authorities.
fn names(uid: &str) -> (String, String) {
    (format!("evenkeel {uid}"), format!("evenkeel {uid} etcd members"))
}

impl Book {
    /// The folder in which a person's own settings are, and below it the book.
    ///
    /// # Errors
    /// Nothing says who the person is.
    pub fn home() -> Result<PathBuf, Failure> {
        crate::config::own_folder()
            .ok_or_else(|| Failure::new("HOME is not set: where are your settings to be kept?"))
    }

    /// Where it is, below that folder.
    pub fn folder(home: &Path) -> PathBuf {
        home.join("authority")
    }

    /// Whether there is one, whatever is in it.
    pub fn is_there(home: &Path) -> bool {
        Self::folder(home).join(FACTS).exists()
    }

    /// The one that is there; none if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(home: &Path) -> Result<Option<Self>, Failure> {
        let folder = Self::folder(home);
        let path = folder.join(FACTS);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(&path, error)),
        };
        let facts: Facts = serde_json::from_slice(&text).map_err(|error| told(&path, error))?;
        let (of_clients, of_peers) = names(&facts.uid);
        let clients = Signers::open(&folder, "clients", &of_clients)?;
        let peers = Signers::open(&folder, "peers", &of_peers)?;
        Ok(Some(Self { facts, folder, clients, peers }))
    }

    /// The same, for whoever changes it: no other command does until this one ends.
    ///
    /// # Errors
    /// It cannot be read, or another command changes it now.
    pub fn open_to_change(home: &Path) -> Result<Option<Self>, Failure> {
        if Self::is_there(home) {
            hold(&Self::folder(home))?;
        }
        let book = Self::open(home)?;
        if let Some(book) = &book {
            book.clients.go_on()?;
            book.peers.go_on()?;
        }
        Ok(book)
    }

    /// A new one, with new authorities.
    ///
    /// # Errors
    /// It cannot be made or kept.
    pub fn create(home: &Path, facts: Facts) -> Result<Self, Failure> {
        let (now, folder) = (super::now(), Self::folder(home));
        let (of_clients, of_peers) = names(&facts.uid);
        let clients = Signers::create(&folder, "clients", &of_clients, now)?;
        let peers = Signers::create(&folder, "peers", &of_peers, now)?;
        let book = Self { facts, folder, clients, peers };
        book.renew()?;
        // The last: what is there as a whole can be opened.
        book.save()?;
        Ok(book)
    }

    /// Keeps what is known of the cluster.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(&self.facts).map_err(Failure::new)?;
        write(&self.folder.join(FACTS), 0o600, &text)
    }

    /// Where one of its files is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the certificate anew that etcd knows its root by: it holds for a year.
    ///
    /// # Errors
    /// It cannot be made or kept.
    pub fn renew(&self) -> Result<(), Failure> {
        keep(&self.folder, "root", &self.issue(self.clients.signer(), ROOT)?)?;
        write(&self.folder.join(TRUSTED), 0o644, &self.clients.trusted())
    }

    /// A person's identity at etcd.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn person(&self, user: &str) -> Result<Pair, Failure> {
        self.issue(self.clients.lasting(), user)
    }

    fn issue(&self, authority: &Authority, user: &str) -> Result<Pair, Failure> {
        let subject = Subject { name: user.to_owned(), addresses: Vec::new(), usage: Use::Client };
        authority.issue(&subject, super::now()).map_err(Failure::chain)
    }

    /// The certificates by which etcd is known.
    pub fn authority(&self) -> String {
        self.clients.trusted()
    }

    /// Both authorities, while one follows another.
    pub fn signers(&mut self) -> [&mut Signers; 2] {
        [&mut self.clients, &mut self.peers]
    }

    /// etcd, as its root.
    pub fn root(&self) -> EtcdConfig {
        let file = |name: &str| self.folder.join(name);
        // Books of before have no such file until something is made anew.
        let trusted = Some(file(TRUSTED)).filter(|path| path.exists()).unwrap_or_else(|| file("clients.crt"));
        let identity = Some((file("root.crt"), file("root.key")));
        let tls = Some(EtcdTls { ca: trusted, identity, domain: None });
        EtcdConfig { prefix: self.facts.prefix.clone(), tls, ..EtcdConfig::new(self.endpoints(None)) }
    }

    /// etcd's client URLs, that of `nearest` first.
    pub fn endpoints(&self, nearest: Option<&HostName>) -> Vec<String> {
        let mut members: Vec<_> = self.facts.members.iter().collect();
        members.sort_by_key(|(host, _)| Some(*host) != nearest);
        members.into_iter().map(|(_, address)| format!("https://{address}:2379")).collect()
    }

    /// Who a host is to etcd: its users, and what each may be.
    pub fn access(&self, host: &HostName) -> Access {
        let leads = self.leads(host);
        let role = |controller: Controller| {
            let lead =
                Some(Role::Lead(controller)).filter(|_| leads && Controller::LEADING.contains(&controller));
            lead.into_iter().chain([Role::Host(host.clone(), controller)]).collect::<BTreeSet<_>>()
        };
        let users = &self.facts.generations;
        let mut access: Access = if self.facts.separate {
            let user = |controller| (users.host(host, Some(controller)), role(controller));
            Controller::ALL.into_iter().map(user).collect()
        } else {
            let roles = Role::of_host(host, leads).into_iter().collect();
            [(users.host(host, None), roles)].into()
        };
        if self.facts.backups.contains_key(host) {
            access.insert(users.backup(host), [Role::Root].into());
        }
        access
    }

    /// Whether a host shall keep backups from now on: all that carry etcd do, and one more while that is one alone.
    pub fn backs_up(&mut self, host: &HostName, address: Ipv4Addr) -> bool {
        if self.leads(host) || self.facts.backups.len() < 2 {
            self.facts.backups.insert(host.clone(), address);
        }
        self.facts.backups.contains_key(host)
    }

    /// Leaders run where etcd does: they go with their quorum.
    fn leads(&self, host: &HostName) -> bool {
        self.facts.members.contains_key(host)
    }

    /// What a host is given. A member of etcd `joins` others that run already.
    ///
    /// # Errors
    /// A certificate cannot be made.
    pub fn ticket(&self, host: &HostName, address: Ipv4Addr, joins: bool) -> Result<Ticket, Failure> {
        let users = &self.facts.generations;
        let controllers = Controller::ALL.into_iter().map(Some).filter(|_| self.facts.separate);
        let identities = controllers.chain([None].into_iter().filter(|_| !self.facts.separate));
        let identities = identities
            .map(|controller| {
                let name = controller.map_or(ALL, Controller::as_str).to_owned();
                Ok((name, self.issue(self.clients.signer(), &users.host(host, controller))?))
            })
            .collect::<Result<_, Failure>>()?;
        let etcd = self.leads(host).then(|| self.member(address, joins)).transpose()?;
        let backs_up = self.facts.backups.contains_key(host);
        let backup = backs_up.then(|| self.issue(self.clients.signer(), &users.backup(host))).transpose()?;
        Ok(Ticket {
            host: host.clone(),
            address,
            endpoints: self.endpoints(Some(host)),
            prefix: self.facts.prefix.clone(),
            image: self.facts.image.clone(),
            lead: self.leads(host),
            authority: self.authority(),
            identities,
            etcd,
            backup,
        })
    }

    fn member(&self, address: Ipv4Addr, joins: bool) -> Result<Member, Failure> {
        let subject = |usage| {
            let addresses = vec![IpAddr::V4(address), IpAddr::V4(Ipv4Addr::LOCALHOST)];
            Subject { name: String::new(), addresses, usage }
        };
        let cluster =
            self.facts.members.iter().map(|(host, address)| format!("{host}=https://{address}:2380"));
        let now = super::now();
        Ok(Member {
            image: self.facts.etcd_image.clone(),
            cluster: cluster.collect::<Vec<_>>().join(","),
            token: format!("evenkeel-{}", self.facts.uid),
            joins,
            restore: None,
            server: self.clients.signer().issue(&subject(Use::Server), now).map_err(Failure::chain)?,
            peer: self.peers.signer().issue(&subject(Use::Peer), now).map_err(Failure::chain)?,
            authority: self.peers.trusted(),
        })
    }
}

/// Writes a file as a whole or not at all, in a folder that nobody else looks into.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        let private = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        private.map_err(|error| told(folder, error))?;
    }
    super::replace(path, mode, text)
}

/// What is wrong with a file.
pub fn told(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
