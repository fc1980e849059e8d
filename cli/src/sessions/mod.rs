//! Reaching the copies of any host: whom to ask where, and how the right to is shown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::host::HostSpec;
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::HostName;
use evenkeel_api::record::{Accepted, Facts};
use evenkeel_api::session::{Action, Challenge, Session};
use evenkeel_runtime::store::{Store, StoreError, TxnBuilder};
use evenkeel_sessions::{Frame, Hello, Identity, Link, Opening, Refused, call};

use crate::config::{self, Settings};
use crate::failure::Failure;
use crate::snapshot;

pub mod archive;
mod aside;
pub mod console;
pub mod lines;
pub mod merge;
mod place;
pub mod reader;
pub mod stop;
pub mod target;
pub mod terminal;

/// How long the store keeps what a host is asked, should nobody take it back.
const KEPT: Duration = Duration::from_secs(60);

/// Who asks, and where.
#[derive(Clone)]
pub struct Desk {
    /// The store.
    pub store: Arc<dyn Store>,
    identity: Option<Identity>,
    by: String,
}

/// A session that a host has let begin.
pub struct Begun {
    /// Over which it goes on.
    pub link: Link,
    /// What further connections of it show.
    pub token: Option<Challenge>,
    /// Where they go.
    pub door: Door,
}

/// Where a host answers for its copies, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// Its address and port.
    pub address: SocketAddr,
    /// The generation of its users at etcd.
    pub generation: u32,
}

impl Desk {
    /// One for whom the settings say.
    ///
    /// # Errors
    /// Nothing says where etcd is, or the certificate cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let identity = config::identity(settings)?;
        let by = match &identity {
            Some(identity) => identity.name().map_err(Failure::chain)?,
            None => format!("{}@{}", variable("USER"), hostname()),
        };
        Ok(Self { store: crate::store(settings)?, identity, by })
    }

    /// One for tests, without certificates.
    #[cfg(test)]
    pub fn of(store: Arc<dyn Store>, by: &str) -> Self {
        Self { store, identity: None, by: by.to_owned() }
    }

    /// Asks a host to let something begin.
    ///
    /// # Errors
    /// It does not answer, or refuses; or etcd refuses, as one has not the right.
    pub async fn ask(&self, host: &HostName, action: Action) -> Result<Begun, Failure> {
        let door = self.door(host).await?;
        let away = |error: Refused| Failure::new(format!("host {host} does not answer: {error}"));
        let (hello, mut link) = self.call(host, door).await.map_err(away)?;
        let key = Key::asks(&action, hello.challenge);
        let session = Session { by: self.by.clone(), host: host.clone(), action };
        let lease = self.store.grant(KEPT).await?;
        let shown = self.show(&key, &session, lease.id).await;
        let answer = match shown {
            Ok(()) => match link.send(Frame::Open(Opening::Ask(session))).await {
                Ok(()) => link.receive().await,
                Err(error) => Err(error),
            },
            Err(failure) => {
                let _late = self.store.revoke(lease.id).await;
                return Err(failure);
            }
        };
        // It has been looked at; if this fails, time takes it away.
        let _late = self.store.revoke(lease.id).await;
        match answer {
            Ok(Frame::Accepted(token)) => Ok(Begun { link, token, door }),
            Ok(Frame::Refused(why)) => Err(Failure::new(format!("host {host}: {why}"))),
            Ok(_) => Err(Failure::new(format!(
                "host {host} gives an answer that is none: is its version another?"
            ))),
            Err(error) => Err(Failure::new(format!("host {host}: {error}"))),
        }
    }

    /// One more connection of a session that stands.
    ///
    /// # Errors
    /// The host does not answer, or the session is over.
    pub async fn join(&self, host: &HostName, door: Door, token: Challenge) -> Result<Link, Failure> {
        let (_, mut link) = self.call(host, door).await.map_err(Failure::new)?;
        link.send(Frame::Open(Opening::Join(token))).await.map_err(Failure::new)?;
        match link.receive().await.map_err(Failure::new)? {
            Frame::Accepted(_) => Ok(link),
            Frame::Refused(why) => Err(Failure::new(why)),
            _ => Err(Failure::new(format!("host {host} gives an answer that is none"))),
        }
    }

    /// Puts what is asked where only those may write who may ask it.
    async fn show(&self, key: &Key, session: &Session, lease: i64) -> Result<(), Failure> {
        let value = serde_json::to_vec(session).map_err(Failure::new)?;
        let txn = TxnBuilder::new().put_leased(key, value, lease).build()?;
        match self.store.commit(&txn).await {
            Ok(_) => Ok(()),
            Err(StoreError::Refused(text)) if text.contains("permission denied") => {
                Err(Failure::new(match session.action.changes() {
                    Some(namespace) => format!(
                        "you may not reach into copies of {namespace}: its teams and operators may\n  whoever made the cluster \
                         sees by `evenkeel user list` what you may do, and changes it by `user add`"
                    ),
                    None => "you may not look at copies: whoever made the cluster changes that by `evenkeel user add`, or by \
                             `evenkeel upgrade`, if it was made by a version without this"
                        .to_owned(),
                }))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn call(&self, host: &HostName, door: Door) -> Result<(Hello, Link), Refused> {
        call(host, door.generation, door.address, self.identity.as_ref()).await
    }

    async fn door(&self, host: &HostName) -> Result<Door, Failure> {
        let key = Key::Accepted(ObjectRef::Host(host.clone()));
        let accepted = snapshot::get::<Accepted<HostSpec>>(&self.store, &key).await?;
        let accepted = accepted.ok_or_else(|| Failure::new(format!("there is no host {host}")))?;
        let facts = snapshot::get::<Facts>(&self.store, &Key::Facts(host.clone())).await?;
        let facts = facts.map(|facts| facts.value).unwrap_or_default();
        let port = facts.sessions.ok_or_else(|| {
            Failure::new(format!(
                "host {host} does not answer for its copies: its controllers are of a version before that, or \
                 EVENKEEL_SESSIONS_PORT is 0 there"
            ))
        })?;
        let address = SocketAddr::from((accepted.value.spec.address, port));
        Ok(Door { address, generation: facts.generation })
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| "somebody".to_owned())
}

fn hostname() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| "somewhere".to_owned(), |name| name.to_string_lossy().into_owned())
}
