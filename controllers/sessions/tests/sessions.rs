//! Both ends over real sockets, with certificates and without.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_api::name::HostName;
use evenkeel_api::session::{Action, Challenge, Session};
use evenkeel_cluster::{Authority, Subject, Use};
use evenkeel_runtime::env::{SystemClock, WallClock};
use evenkeel_sessions::{Copies, Frame, Identity, Link, Opening, Refused, Server, call};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// Lets happen what is noted down, and says back what it hears.
#[derive(Clone, Default)]
struct Echo(Arc<Mutex<Vec<(Challenge, Session)>>>);

#[async_trait]
impl Copies for Echo {
    async fn permit(&self, challenge: Challenge, asked: &Session) -> Result<(), String> {
        let noted = self.0.lock().unwrap();
        if noted.contains(&(challenge, asked.clone())) { Ok(()) } else { Err("not noted down".to_owned()) }
    }

    async fn serve(&self, _asked: &Session, mut link: Link) {
        while let Ok(Frame::Input(data)) = link.receive().await {
            link.send(Frame::Output(data)).await.unwrap();
        }
        link.finish(Frame::End(7)).await;
    }
}

fn host() -> HostName {
    "h1".parse().unwrap()
}

fn session(by: &str, action: Action) -> Session {
    Session { by: by.to_owned(), host: host(), action }
}

fn usage() -> Action {
    Action::Usage { service: None, follow: false }
}

async fn serving(identity: Option<Identity>) -> (Echo, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (echo, address) = (Echo::default(), listener.local_addr().unwrap());
    tokio::spawn(Server::new(host(), identity, echo.clone()).answer(listener));
    (echo, address)
}

/// Asks for what was noted down or not, and gives the answer.
async fn asked(
    echo: &Echo,
    address: SocketAddr,
    identity: Option<&Identity>,
    session: Session,
    note: bool,
) -> Result<(Frame, Link), Refused> {
    let (hello, mut link) = call(&host(), 0, address, identity).await?;
    if note {
        echo.0.lock().unwrap().push((hello.challenge, session.clone()));
    }
    link.send(Frame::Open(Opening::Ask(session))).await.unwrap();
    Ok((link.receive().await.unwrap(), link))
}

#[tokio::test]
async fn a_session_is_what_was_noted_down_for_its_own_connection() {
    let (echo, address) = serving(None).await;
    let (answer, mut link) = asked(&echo, address, None, session("ann", usage()), true).await.unwrap();
    assert_eq!(answer, Frame::Accepted(None));
    link.send(Frame::Input(Bytes::from_static(b"hi"))).await.unwrap();
    assert_eq!(link.receive().await.unwrap(), Frame::Output(Bytes::from_static(b"hi")));
    link.send(Frame::InputEnd).await.unwrap();
    assert_eq!(link.receive().await.unwrap(), Frame::End(7));
    // Noted down for another connection, or not at all.
    let (answer, _) = asked(&echo, address, None, session("ann", usage()), false).await.unwrap();
    assert_eq!(answer, Frame::Refused("not noted down".to_owned()));
    let elsewhere = Session { host: "h2".parse().unwrap(), ..session("ann", usage()) };
    let (answer, _) = asked(&echo, address, None, elsewhere, true).await.unwrap();
    assert!(matches!(answer, Frame::Refused(why) if why.contains("h1")));
    assert!(call(&"h2".parse().unwrap(), 0, address, None).await.err().unwrap().0.contains("h1"));
}

#[tokio::test]
async fn further_connections_join_while_the_first_one_stands() {
    let (echo, address) = serving(None).await;
    let action = Action::Forward { copy: "shop.web.1.1".parse().unwrap(), port: 80 };
    let (answer, first) = asked(&echo, address, None, session("ann", action), true).await.unwrap();
    let Frame::Accepted(Some(token)) = answer else { panic!("{answer:?}") };
    let join = async |token| {
        let (_, mut link) = call(&host(), 0, address, None).await.unwrap();
        link.send(Frame::Open(Opening::Join(token))).await.unwrap();
        (link.receive().await.unwrap(), link)
    };
    for data in ["one", "two"] {
        let (answer, mut link) = join(token).await;
        assert_eq!(answer, Frame::Accepted(None));
        link.send(Frame::Input(Bytes::from(data))).await.unwrap();
        assert_eq!(link.receive().await.unwrap(), Frame::Output(Bytes::from(data)));
    }
    assert!(matches!(join(Challenge(token.0 ^ 1)).await.0, Frame::Refused(_)));
    drop(first);
    let mut over = false;
    for _ in 0..100 {
        over = matches!(join(token).await.0, Frame::Refused(_));
        if over {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(over, "it stands for ever");
}

/// Somebody at that address of this machine.
async fn knock(from: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(address).await.unwrap()
}

/// Seconds go by, one after the other: whoever has something to say in between says it.
async fn go_by(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::time::resume();
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn whoever_knocks_without_a_word_is_let_go_and_the_next_one_is_heard() {
    let pki = Pki::new();
    let ann = pki.identity(&pki.clients, "ann");
    let host_is = pki.identity(&pki.clients, "evenkeel.host.h1");
    // Who they are is to be said sooner than what they want.
    for (host_is, ann, seconds) in [(Some(host_is), Some(&ann), 5), (None, None, 20)] {
        let is_known = host_is.is_none();
        let (echo, address) = serving(host_is).await;
        // Each takes all that one address may have: together that is the door.
        let (mut silent, mut alive) = (Vec::new(), Vec::new());
        for from in [[127, 0, 0, 2], [127, 0, 0, 3]].into_iter().flat_map(|from| [from; 32]) {
            let stream = knock(from, address).await;
            // Whoever is let that far, and is merely there, has said nothing either.
            if is_known { alive.push(Link::over(stream)) } else { silent.push(stream) }
        }
        let early = timeout(Duration::from_secs(1), call(&host(), 0, address, ann)).await;
        assert!(early.is_err(), "there is a place at the door: nobody need be let go");
        go_by(seconds).await;
        let (answer, _link) = asked(&echo, address, ann, session("ann", usage()), true).await.unwrap();
        assert_eq!(answer, Frame::Accepted(None));
    }
}

#[tokio::test]
async fn one_person_cannot_take_all_places() {
    let (echo, address) = serving(None).await;
    let mut open = Vec::new();
    for _ in 0..64 {
        let (answer, link) = asked(&echo, address, None, session("ann", usage()), true).await.unwrap();
        assert_eq!(answer, Frame::Accepted(None));
        open.push(link);
    }
    let (answer, _) = asked(&echo, address, None, session("ann", usage()), true).await.unwrap();
    assert!(matches!(&answer, Frame::Refused(why) if why.contains("64 sessions of ann")), "{answer:?}");
    let (answer, _link) = asked(&echo, address, None, session("joe", usage()), true).await.unwrap();
    assert_eq!(answer, Frame::Accepted(None));
}

#[tokio::test]
async fn one_address_cannot_hold_the_door_shut() {
    let (echo, address) = serving(None).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut link = Link::over(knock([127, 0, 0, 2], address).await);
    let Frame::Hello(hello) = link.receive().await.unwrap() else { panic!("no greeting") };
    let session = session("joe", usage());
    echo.0.lock().unwrap().push((hello.challenge, session.clone()));
    link.send(Frame::Open(Opening::Ask(session))).await.unwrap();
    assert_eq!(link.receive().await.unwrap(), Frame::Accepted(None));
}

fn now() -> Duration {
    Duration::from_millis(SystemClock.now().0.try_into().unwrap())
}

struct Pki {
    folder: TempDir,
    clients: Authority,
    others: Authority,
}

impl Pki {
    fn new() -> Self {
        let now = now();
        let folder = tempfile::tempdir().unwrap();
        let clients = Authority::create("clients", now).unwrap();
        let others = Authority::create("others", now).unwrap();
        std::fs::write(folder.path().join("ca.crt"), &clients.pair.cert).unwrap();
        Self { folder, clients, others }
    }

    fn identity(&self, authority: &Authority, name: &str) -> Identity {
        let now = now();
        let subject = Subject { name: name.to_owned(), addresses: Vec::new(), usage: Use::Client };
        let pair = authority.issue(&subject, now).unwrap();
        let path = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        write(&path("crt"), &pair.cert);
        write(&path("key"), &pair.key);
        Identity { ca: self.folder.path().join("ca.crt"), cert: path("crt"), key: path("key") }
    }
}

#[tokio::test]
async fn with_certificates_both_ends_are_who_they_say() {
    let pki = Pki::new();
    let ann = pki.identity(&pki.clients, "evenkeel.user.ann");
    assert_eq!(ann.name().unwrap(), "evenkeel.user.ann");
    for name in ["evenkeel.host.h1", "evenkeel.host.h1.instance", "h1"] {
        let (echo, address) = serving(Some(pki.identity(&pki.clients, name))).await;
        let own = session("evenkeel.user.ann", usage());
        let (answer, _) = asked(&echo, address, Some(&ann), own, true).await.unwrap();
        assert_eq!(answer, Frame::Accepted(None), "{name}");
        // What is noted down for another is that other's.
        let (answer, _) =
            asked(&echo, address, Some(&ann), session("evenkeel.user.eve", usage()), true).await.unwrap();
        assert!(matches!(answer, Frame::Refused(why) if why.contains("evenkeel.user.ann")));
    }
}

#[tokio::test]
async fn who_is_not_the_host_is_not_spoken_with_and_who_is_nobody_is_not_heard() {
    let pki = Pki::new();
    let ann = pki.identity(&pki.clients, "evenkeel.user.ann");
    for (authority, name) in [
        (&pki.clients, "evenkeel.host.h2"),
        (&pki.clients, "evenkeel.host.h1@1"),
        (&pki.clients, "evenkeel.host.h1.dns"),
        (&pki.clients, "evenkeel.user.eve"),
        (&pki.others, "evenkeel.host.h1"),
    ] {
        let (_, address) = serving(Some(pki.identity(authority, name))).await;
        let refused = call(&host(), 0, address, Some(&ann)).await;
        assert!(refused.is_err(), "{name} passes for host h1");
    }
    // Whoever was that host before its name was given again.
    for name in ["evenkeel.host.h1", "h1"] {
        let (_, address) = serving(Some(pki.identity(&pki.clients, name))).await;
        assert!(call(&host(), 1, address, Some(&ann)).await.is_err(), "{name} passes for the host of now");
    }
    let (_, address) = serving(Some(pki.identity(&pki.clients, "evenkeel.host.h1@1"))).await;
    assert!(call(&host(), 1, address, Some(&ann)).await.is_ok());
    let (_, address) = serving(Some(pki.identity(&pki.clients, "evenkeel.host.h1"))).await;
    let forged = pki.identity(&pki.others, "evenkeel.user.forged");
    for nobody in [None, Some(&forged)] {
        assert!(call(&host(), 0, address, nobody).await.is_err());
    }
    // A host without certificates is no host of a cluster that has them.
    let (_, address) = serving(None).await;
    let refused = call(&host(), 0, address, Some(&ann)).await.err().unwrap();
    assert!(!refused.0.is_empty());
}
