//! The sockets: one task a UDP socket, one a listener, one a connection, one a question that is forwarded.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::base::iana::Rcode;
use evenkeel_plan::dns::Zone;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::answer::{Random, Step, Transport, answer, failure};
use crate::forward::{self, Forwarder};
use crate::handover::Pair;

/// How long a connection may say nothing, or take to say or hear one message.
const IDLE: Duration = Duration::from_secs(10);
/// Connections at a time, over all sockets; more wait in the kernel.
const MOST_CONNECTIONS: usize = 256;

/// Told of every query that was dealt with.
pub trait Observer: Send + Sync + fmt::Debug {
    /// With the code of the answer, if there was one; whether others were asked for it; and how long it took.
    fn answered(&self, code: Option<u8>, forwarded: bool, took: Duration);
}

/// What all sockets answer from. A cheap handle.
#[derive(Debug, Clone)]
pub struct Server {
    zone: Arc<ArcSwap<Zone>>,
    forwarder: Arc<Forwarder>,
    observer: Option<Arc<dyn Observer>>,
    connections: Arc<Semaphore>,
}

/// One address that is served, until dropped.
#[derive(Debug)]
pub struct Serving {
    _tasks: JoinSet<()>,
    udp: SocketAddr,
    tcp: SocketAddr,
}

impl Serving {
    /// Where it takes datagrams.
    pub fn udp(&self) -> SocketAddr {
        self.udp
    }

    /// Where it takes connections.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }
}

impl Server {
    /// A server that starts with `zone`.
    pub fn new(zone: Zone, forwarder: Arc<Forwarder>) -> Self {
        Self {
            zone: Arc::new(ArcSwap::from_pointee(zone)),
            forwarder,
            observer: None,
            connections: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
        }
    }

    /// Tell that one of every query.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    fn tell(&self, reply: Option<&[u8]>, forwarded: bool, began: Instant) {
        if let Some(observer) = &self.observer {
            observer.answered(reply.and_then(code), forwarded, began.elapsed());
        }
    }

    /// The zone that it answers from now.
    pub fn zone(&self) -> Arc<Zone> {
        self.zone.load_full()
    }

    /// Answer from `zone` from now on: whole, for every query from the next one on.
    pub fn set_zone(&self, zone: Zone) {
        self.zone.store(Arc::new(zone));
    }

    /// Serve a pair of sockets. `seed`: for the order of answers.
    ///
    /// # Errors
    /// The sockets cannot be waited for.
    pub fn serve(&self, pair: Pair, seed: u64) -> std::io::Result<Serving> {
        let (udp, tcp) = (UdpSocket::from_std(pair.udp)?, TcpListener::from_std(pair.tcp)?);
        let (udp_at, tcp_at) = (udp.local_addr()?, tcp.local_addr()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().datagrams(Arc::new(udp), Random::new(seed)));
        tasks.spawn(self.clone().listen(tcp, seed));
        Ok(Serving { _tasks: tasks, udp: udp_at, tcp: tcp_at })
    }

    async fn datagrams(self, socket: Arc<UdpSocket>, mut random: Random) {
        let mut buffer = vec![0; 4096];
        let mut forwards = JoinSet::new();
        loop {
            let (len, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // An error of an earlier send (host unreachable) shows up here; it is that client's alone.
                Err(error) => {
                    tracing::debug!(%error, "datagram");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            while forwards.try_join_next().is_some() {}
            let (query, began) = (&buffer[..len], Instant::now());
            let step = answer(&self.zone.load(), query, client.ip(), Transport::Udp, &mut random);
            match step {
                Step::Reply(reply) => {
                    send(&socket, &reply, client).await;
                    self.tell(Some(&reply), false, began);
                }
                Step::Forward if forwards.len() >= forward::MOST_IN_FLIGHT => {
                    if let Some(reply) = failure(query, Rcode::SERVFAIL) {
                        send(&socket, &reply, client).await;
                        self.tell(Some(&reply), true, began);
                    }
                }
                Step::Forward => {
                    let (query, socket) = (query.to_vec(), socket.clone());
                    let server = self.clone();
                    forwards.spawn(async move {
                        let reply = server.forwarder.ask(&query, Transport::Udp).await;
                        if let Some(reply) = &reply {
                            send(&socket, reply, client).await;
                        }
                        server.tell(reply.as_deref(), true, began);
                    });
                }
                Step::Drop => {}
            }
        }
    }

    async fn listen(self, listener: TcpListener, mut seed: u64) {
        let mut connections = JoinSet::new();
        loop {
            let Ok(room) = self.connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, client)) => {
                    seed = seed.wrapping_add(1);
                    let (server, random) = (self.clone(), Random::new(seed));
                    connections.spawn(async move {
                        server.connection(stream, client, random).await;
                        drop(room);
                    });
                }
                // No descriptors left, most likely: they come back with time, not with another try.
                Err(error) => {
                    tracing::warn!(%error, "cannot take connections");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }

    async fn connection(self, mut stream: TcpStream, client: SocketAddr, mut random: Random) {
        let _ = stream.set_nodelay(true);
        while let Ok(Ok(query)) = timeout(IDLE, forward::read(&mut stream)).await {
            let began = Instant::now();
            let step = answer(&self.zone.load(), &query, client.ip(), Transport::Tcp, &mut random);
            let forwarded = matches!(step, Step::Forward);
            let reply = match step {
                Step::Reply(reply) => Some(reply),
                Step::Forward => self.forwarder.ask(&query, Transport::Tcp).await,
                Step::Drop => None,
            };
            if forwarded || reply.is_some() {
                self.tell(reply.as_deref(), forwarded, began);
            }
            // Whoever sends what is no query gets no second chance.
            let Some(reply) = reply else { return };
            if !matches!(timeout(IDLE, forward::write(&mut stream, &reply)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// The code that an answer says in its header.
fn code(reply: &[u8]) -> Option<u8> {
    reply.get(3).map(|flags| flags & 0x0f)
}

async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(reply, client).await {
        tracing::debug!(%client, %error, "datagram");
    }
}
