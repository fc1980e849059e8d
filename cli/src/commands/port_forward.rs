//! `evenkeel port-forward`: a port of a copy, on this machine.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::key::Key;
use evenkeel_api::name::{HostName, InstanceId, Namespace};
use evenkeel_api::session::{Action, Challenge};
use evenkeel_sessions::{Frame, Link, pipe};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;

use crate::config::Settings;
use crate::failure::Failure;
use crate::output::{complain, say};
use crate::sessions::target::Target;
use crate::sessions::{Begun, Desk};

/// Of what, and which.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel port-forward shop/web 8080:80     http://127.0.0.1:8080, until Ctrl-C
  evenkeel port-forward shop.db.1.4 5432     the same number on both sides
  evenkeel port-forward shop/db 0:5432       any port that is free here

Of a service it is the first ready copy; when that goes, the next one. It may be done by whoever may change the namespace, and
leaves an event. What listens on the copy's own 127.0.0.1 alone is not reached.")]
pub struct PortForward {
    /// SERVICE, NAMESPACE/SERVICE, or a copy as `evenkeel get copies` shows it
    #[arg(value_name = "SERVICE|COPY")]
    target: String,
    /// The port here, and the one in the copy
    #[arg(value_name = "[LOCAL:]REMOTE", value_parser = ports)]
    ports: (u16, u16),
    /// The namespace of a service that is named without one
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
}

/// Connections that are begun at once, until the host has let them in: it hangs up on more than 32 from one address, and a
/// second command here may have as many.
const AT_ONCE: usize = 16;
/// Connections that failed, until it is looked why.
const WAITING: usize = 16;
/// Until another copy is looked for.
const PAUSE: Duration = Duration::from_secs(1);

fn ports(text: &str) -> Result<(u16, u16), String> {
    let (local, remote) = text.split_once(':').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is no port"));
    match (number(local)?, number(remote)?) {
        (_, 0) => Err("no copy has a port 0".to_owned()),
        both => Ok(both),
    }
}

impl PortForward {
    /// Forwards until it is told to end.
    ///
    /// # Errors
    /// The port here is taken, there is no such copy, or one may not.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let target = Target::read(&self.target, self.namespace.as_ref())?;
        let desk = Desk::new(settings)?;
        let (local, port) = self.ports;
        let mut stands = self.begin(&desk, &target).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, local)).await.map_err(|error| {
            Failure::new(format!("port {local} of this machine: {error}; name another as LOCAL:{port}"))
        })?;
        let here = listener.local_addr()?;
        loop {
            say!("{here} leads to port {port} of {} on {}", stands.copy, stands.host);
            let ended = stands.forward(&desk, &target, &listener).await;
            complain!("the session with {} ended: {ended}", stands.host);
            if matches!(target, Target::Copy(_)) {
                return Err(Failure::new(format!("{} is not reached any more", stands.copy)));
            }
            stands = loop {
                sleep(PAUSE).await;
                match self.begin(&desk, &target).await {
                    Ok(stands) => break stands,
                    Err(failure) => complain!("{failure}"),
                }
            };
        }
    }

    async fn begin(&self, desk: &Desk, target: &Target) -> Result<Stands, Failure> {
        let (copy, host) = target.one(&desk.store).await?;
        let begun = desk.ask(&host, Action::Forward { copy: copy.clone(), port: self.ports.1 }).await?;
        let token =
            begun.token.ok_or_else(|| Failure::new(format!("host {host} lets no connection through")))?;
        Ok(Stands { copy, host, token, begun })
    }
}

/// A session that stands.
struct Stands {
    copy: InstanceId,
    host: HostName,
    token: Challenge,
    begun: Begun,
}

impl Stands {
    /// Takes connections until the session ends, or leads nowhere: why.
    async fn forward(&mut self, desk: &Desk, target: &Target, listener: &TcpListener) -> String {
        let (tell, mut failed) = mpsc::channel(WAITING);
        let door = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (desk, host) = (desk.clone(), self.host.clone());
                        let (at, token) = (self.begun.door, self.token);
                        let (door, tell) = (door.clone(), tell.clone());
                        tokio::spawn(async move {
                            let joined = async {
                                let _place = door.acquire().await.map_err(Failure::new)?;
                                desk.join(&host, at, token).await
                            };
                            let carried = async { carry(&host, joined.await?, stream).await };
                            if let Err(failure) = carried.await {
                                let _over = tell.send(failure).await;
                            }
                        });
                    }
                    // Out of file descriptors: they come back.
                    Err(_) => sleep(PAUSE).await,
                },
                Some(failure) = failed.recv() => {
                    if !self.is_meant(desk, target).await {
                        return failure.message;
                    }
                    complain!("{failure}");
                }
                heard = self.begun.link.receive() => match heard {
                    Ok(Frame::Refused(why)) => return why,
                    Ok(_) => {}
                    Err(broken) => return broken.to_string(),
                },
            }
        }
    }

    /// Whether connections would come here again, were it begun anew. While etcd does not say so, nothing is changed.
    async fn is_meant(&self, desk: &Desk, target: &Target) -> bool {
        match target.silently(&desk.store).await {
            Ok((copy, host)) => (&copy, &host) == (&self.copy, &self.host),
            Err(_) => desk.store.get(&Key::Cluster).await.is_err(),
        }
    }
}

async fn carry(host: &HostName, link: Link, stream: TcpStream) -> Result<(), Failure> {
    let (sender, mut receiver) = link.split();
    let (from, to) = stream.into_split();
    match pipe(&sender, &mut receiver, from, to, Frame::Input).await {
        // Nobody is here any more to take what the copy says.
        Ok(false) => Ok(()),
        Ok(true) => {
            receiver.finish(sender, Frame::End(0)).await;
            Ok(())
        }
        Err(broken) => Err(Failure::new(format!("a connection through {host} ended: {broken}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use async_trait::async_trait;
    use evenkeel_api::name::TemplateRef;
    use evenkeel_api::record::{Desired, Instance};
    use evenkeel_api::session::Session;
    use evenkeel_etcd::MemoryStore;
    use evenkeel_runtime::store::{Store, TxnBuilder};
    use evenkeel_sessions::{Copies, Hello, Opening, Server, call};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;
    use crate::sessions::Door;

    #[test]
    fn ports_are_one_or_two_numbers() {
        for (text, expected) in [
            ("80", Some((80, 80))),
            ("8080:80", Some((8080, 80))),
            ("0:80", Some((0, 80))),
            ("80:0", None),
            ("a", None),
            ("1:2:3", None),
        ] {
            assert_eq!(ports(text).ok(), expected, "{text}");
        }
    }

    /// A host whose copy is gone: it takes connections, and then says so.
    async fn without_a_copy(listener: TcpListener, host: HostName) {
        loop {
            let mut link = Link::over(listener.accept().await.unwrap().0);
            link.send(Frame::Hello(Hello { host: host.clone(), challenge: Challenge(1) })).await.unwrap();
            let _asked = link.receive().await.unwrap();
            link.send(Frame::Accepted(None)).await.unwrap();
            link.finish(Frame::Refused("it has no container on h1".to_owned())).await;
        }
    }

    #[tokio::test]
    async fn a_copy_that_is_gone_is_left_for_the_next_one() {
        let (host, copy): (HostName, InstanceId) = ("h1".parse().unwrap(), "shop.web.1.n".parse().unwrap());
        let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = there.local_addr().unwrap();
        tokio::spawn(without_a_copy(there, host.clone()));
        let here = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
        let desk = Desk::of(store.clone(), "ann");
        let (near, _far) = tokio::io::duplex(64);
        let begun = Begun { link: Link::over(near), token: None, door: Door { address, generation: 0 } };
        let mut stands = Stands { copy: copy.clone(), host: host.clone(), token: Challenge(2), begun };
        let _connection = TcpStream::connect(here.local_addr().unwrap()).await.unwrap();
        let key = Key::Instance(host, copy.clone());
        let instance = Instance {
            template: TemplateRef { service: copy.service.clone(), revision: 1 },
            slot: copy.slot.clone(),
            desired: Desired::Run,
            cause: String::new(),
            fence: None,
            restart: None,
        };
        let txn = TxnBuilder::new().put(&key, serde_json::to_vec(&instance).unwrap()).build().unwrap();
        store.commit(&txn).await.unwrap();
        // While etcd says that it is there, it may come back; another one would be no other.
        let target = Target::Copy(copy.clone());
        let soon = Duration::from_millis(500);
        let stayed = timeout(soon, stands.forward(&desk, &target, &here)).await;
        assert!(stayed.is_err(), "{stayed:?}");
        let _connection = TcpStream::connect(here.local_addr().unwrap()).await.unwrap();
        let target = Target::Service(copy.service);
        let ended = timeout(Duration::from_secs(5), stands.forward(&desk, &target, &here)).await;
        assert!(ended.unwrap().contains("has no container on h1"));
    }

    /// Lets everything be, and says back what it hears.
    struct Echo;

    #[async_trait]
    impl Copies for Echo {
        async fn permit(&self, _: Challenge, _: &Session) -> Result<(), String> {
            Ok(())
        }

        async fn serve(&self, _: &Session, mut link: Link) {
            while let Ok(Frame::Input(data)) = link.receive().await {
                link.send(Frame::Output(data)).await.unwrap();
            }
            link.send(Frame::InputEnd).await.unwrap();
            link.finish(Frame::End(0)).await;
        }
    }

    async fn speaks(address: SocketAddr) -> std::io::Result<[u8; 2]> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"hi").await?;
        let mut said = [0; 2];
        stream.read_exact(&mut said).await?;
        Ok(said)
    }

    #[tokio::test]
    async fn of_a_hundred_connections_at_once_all_are_let_in() {
        let (host, copy): (HostName, InstanceId) = ("h1".parse().unwrap(), "shop.web.1.n".parse().unwrap());
        let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = there.local_addr().unwrap();
        tokio::spawn(Server::new(host.clone(), None, Echo).answer(there));
        let (_, mut link) = call(&host, 0, address, None).await.unwrap();
        let action = Action::Forward { copy: copy.clone(), port: 80 };
        let session = Session { by: "ann".to_owned(), host: host.clone(), action };
        link.send(Frame::Open(Opening::Ask(session))).await.unwrap();
        let Frame::Accepted(Some(token)) = link.receive().await.unwrap() else { panic!("it lets nobody in") };
        let begun = Begun { link, token: Some(token), door: Door { address, generation: 0 } };
        let mut stands = Stands { copy: copy.clone(), host, token, begun };
        let here = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = here.local_addr().unwrap();
        let all: Vec<_> = (0..100).map(|_| tokio::spawn(speaks(address))).collect();
        let desk = Desk::of(Arc::new(MemoryStore::new(1)), "ann");
        let target = Target::Copy(copy);
        tokio::select! {
            ended = stands.forward(&desk, &target, &here) => panic!("{ended}"),
            () = async {
                for one in all {
                    assert_eq!(one.await.unwrap().unwrap(), *b"hi");
                }
            } => {}
        }
    }
}
