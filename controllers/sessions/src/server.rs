//! The host's end: greets whoever connects, asks whether what they want may be, and lets it be done.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::name::HostName;
use evenkeel_api::session::{Action, Challenge, Session};
use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::frame::{Frame, Hello, Opening};
use crate::link::Link;
use crate::places::{Place, Places};
use crate::tls::{Identity, TlsError, common_name};

/// How long whoever connects may take to show who they are: two round trips.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long whoever is known may take to say what they want. The store is asked in between.
const SAY_WITHIN: Duration = Duration::from_secs(20);
/// Connections that have not been let in yet, at most, and from one address: nobody holds the door shut alone.
const AT_THE_DOOR: usize = 64;
const AT_THE_DOOR_FROM_ONE: usize = 32;
/// Connections that were, at most, and of one person. A forwarded port has one for each of its own, which are counted apart.
const INSIDE: usize = 256;
const INSIDE_OF_ONE: usize = 64;
const JOINED_OF_ONE: usize = 192;
/// How long whoever is refused may take to go.
const LEAVE_WITHIN: Duration = Duration::from_secs(12);
/// Between two tries to listen.
const AGAIN: Duration = Duration::from_secs(5);

/// A place at the door, and that of the address.
type Door = (OwnedSemaphorePermit, Place<IpAddr>);

/// What a host does for sessions.
#[async_trait]
pub trait Copies: Send + Sync + 'static {
    /// Whether the store holds what was asked, word for word, under the key that `challenge` makes; if so, it is
    /// written down that it was let happen.
    ///
    /// # Errors
    /// It does not, or does not answer: why, for people.
    async fn permit(&self, challenge: Challenge, asked: &Session) -> Result<(), String>;

    /// Does what was asked, over `link`, and says the last frame.
    async fn serve(&self, asked: &Session, link: Link);
}

/// One host's end.
pub struct Server<C> {
    host: HostName,
    identity: Option<Identity>,
    copies: Arc<C>,
    door: Arc<Semaphore>,
    from: Arc<Places<IpAddr>>,
    inside: Arc<Places<String>>,
    joined: Arc<Places<String>>,
    /// Sessions that further connections may join.
    open: Mutex<BTreeMap<Challenge, Session>>,
}

impl<C: Copies> Server<C> {
    /// One that listens nowhere yet.
    pub fn new(host: HostName, identity: Option<Identity>, copies: C) -> Arc<Self> {
        Arc::new(Self {
            host,
            identity,
            copies: Arc::new(copies),
            door: Arc::new(Semaphore::new(AT_THE_DOOR)),
            from: Places::new(AT_THE_DOOR, AT_THE_DOOR_FROM_ONE),
            inside: Places::new(INSIDE, INSIDE_OF_ONE),
            joined: Places::new(INSIDE, JOINED_OF_ONE),
            open: Mutex::default(),
        })
    }

    /// Listens at `address` and answers, for ever. A port that is taken is tried again: the controller has more to
    /// do than this.
    pub async fn run(self: Arc<Self>, address: SocketAddr) {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    tracing::info!(%address, "answering for copies");
                    self.clone().answer(listener).await;
                }
                Err(error) => {
                    tracing::warn!(%address, %error, "cannot listen for sessions; is another port set by EVENKEEL_SESSIONS_PORT?")
                }
            }
            sleep(AGAIN).await;
        }
    }

    /// Answers whoever connects, for ever.
    pub async fn answer(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok(permit) = self.door.clone().acquire_owned().await else { return };
            let Ok((stream, from)) = listener.accept().await else {
                // Out of file descriptors: they come back.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Some(place) = self.from.take(from.ip()) else { continue };
            let server = self.clone();
            tokio::spawn(async move {
                if let Err(why) = server.welcome(stream, (permit, place)).await {
                    tracing::debug!(%from, %why, "a session was not begun");
                }
            });
        }
    }

    /// One connection: who it is, what they want, and then that.
    async fn welcome(&self, stream: TcpStream, door: Door) -> Result<(), String> {
        let said = |error: std::io::Error| error.to_string();
        stream.set_nodelay(true).map_err(said)?;
        let Some(identity) = &self.identity else { return self.hear(Link::over(stream), None, door).await };
        // Read anew each time: certificates are exchanged while we run.
        let config: ServerConfig = identity.answering().map_err(told)?;
        let accepting = TlsAcceptor::from(Arc::new(config)).accept(stream);
        let stream =
            timeout(HANDSHAKE, accepting).await.map_err(|_| "no handshake in time")?.map_err(said)?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let name = certificates.first().and_then(common_name).ok_or("a certificate without a name")?;
        self.hear(Link::over(stream), Some(name), door).await
    }

    async fn hear(&self, mut link: Link, name: Option<String>, door: Door) -> Result<(), String> {
        let challenge = challenge()?;
        let hello = Frame::Hello(Hello { host: self.host.clone(), challenge });
        let opened = timeout(SAY_WITHIN, async {
            link.send(hello).await.map_err(|error| error.to_string())?;
            let opening = match link.receive().await {
                Ok(Frame::Open(opening)) => opening,
                Ok(_) => return Err("that is no question".to_owned()),
                Err(error) => return Err(error.to_string()),
            };
            Ok(self.let_in(opening, challenge, name.as_deref()).await)
        });
        let opened = opened.await.map_err(|_| "nothing was asked in time".to_owned())??;
        let opened = opened.and_then(|(session, joins)| {
            let (places, each) =
                if joins { (&self.joined, JOINED_OF_ONE) } else { (&self.inside, INSIDE_OF_ONE) };
            let inside = places.take(session.by.clone()).ok_or_else(|| {
                format!(
                    "{each} sessions of {}, or {INSIDE} of all, are open on {} already: close some",
                    session.by, self.host
                )
            })?;
            Ok((session, joins, inside))
        });
        match opened {
            Err(why) => {
                // It has a place at the door for as long as it takes: whoever is refused again and again waits there.
                let _stays = timeout(LEAVE_WITHIN, link.finish(Frame::Refused(why.clone()))).await;
                Err(why)
            }
            Ok((session, joins, _inside)) => {
                drop(door);
                self.serve(session, joins, link).await;
                Ok(())
            }
        }
    }

    /// What is to be done, and whether it belongs to a session that stands; or why it is not done.
    async fn let_in(
        &self,
        opening: Opening,
        challenge: Challenge,
        name: Option<&str>,
    ) -> Result<(Session, bool), String> {
        let is_theirs = |session: &Session| name.is_none_or(|name| name == session.by);
        match opening {
            Opening::Ask(session) => {
                if session.host != self.host {
                    return Err(format!("this is host {}, not {}", self.host, session.host));
                }
                if !is_theirs(&session) {
                    return Err(format!(
                        "the certificate is of {}, not of {}",
                        name.unwrap_or("nobody"),
                        session.by
                    ));
                }
                self.copies.permit(challenge, &session).await?;
                Ok((session, false))
            }
            Opening::Join(token) => {
                let session = self.open().get(&token).filter(|session| is_theirs(session)).cloned();
                Ok((session.ok_or("there is no such session any more")?, true))
            }
        }
    }

    async fn serve(&self, session: Session, joins: bool, mut link: Link) {
        let stands = matches!(session.action, Action::Forward { .. }) && !joins;
        let Some(token) = stands.then(challenge).and_then(Result::ok) else {
            if link.send(Frame::Accepted(None)).await.is_ok() {
                self.copies.serve(&session, link).await;
            }
            return;
        };
        self.open().insert(token, session);
        // It stands as long as its first connection does.
        if link.send(Frame::Accepted(Some(token))).await.is_ok() {
            while link.receive().await.is_ok() {}
        }
        self.open().remove(&token);
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<Challenge, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn challenge() -> Result<Challenge, String> {
    let mut bytes = [0; 16];
    let random = ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| "the machine gives no random numbers")?;
    Ok(Challenge(u128::from_be_bytes(bytes)))
}

fn told(error: TlsError) -> String {
    tracing::warn!(error = &error as &dyn std::error::Error, "no session can be begun");
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    #[async_trait]
    impl Copies for Nothing {
        async fn permit(&self, _challenge: Challenge, _asked: &Session) -> Result<(), String> {
            Err("nobody may".to_owned())
        }

        async fn serve(&self, _asked: &Session, _link: Link) {}
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_refused_and_does_not_go_holds_the_door_for_a_while_only() {
        let host: HostName = "h1".parse().unwrap();
        let server = Server::new(host.clone(), None, Nothing);
        let (near, far) = tokio::io::duplex(1 << 10);
        let permit = server.door.clone().acquire_owned().await.unwrap();
        let place = server.from.take(IpAddr::from([127, 0, 0, 1])).unwrap();
        let answering = server.clone();
        let answered =
            tokio::spawn(async move { answering.hear(Link::over(near), None, (permit, place)).await });
        // Its link says all the time that somebody is there.
        let mut asker = Link::over(far);
        assert!(matches!(asker.receive().await.unwrap(), Frame::Hello(_)));
        asker.send(Frame::Open(Opening::Join(Challenge(1)))).await.unwrap();
        assert!(matches!(asker.receive().await.unwrap(), Frame::Refused(_)));
        let left = timeout(Duration::from_secs(30), answered).await;
        assert!(matches!(left, Ok(Ok(Err(_)))), "{left:?}");
        assert_eq!(server.door.available_permits(), AT_THE_DOOR);
        drop(asker);
    }
}
