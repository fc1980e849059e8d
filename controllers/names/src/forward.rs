//! Everything that is none of our names goes to the host's resolvers, as it is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::base::Message;
use domain::base::iana::Rcode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::{Transport, failure};

/// How long one resolver is waited for before the next is asked.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Questions that are with resolvers at a time, each with a socket. What comes on top fails at once rather
/// than take all descriptors.
pub const MOST_IN_FLIGHT: usize = 256;

/// The way to other resolvers.
#[derive(Debug)]
pub struct Forwarder {
    servers: ArcSwap<Vec<SocketAddr>>,
    /// The one that answered last is asked first, so that a dead one costs its two seconds once.
    good: AtomicUsize,
    room: Semaphore,
}

impl Default for Forwarder {
    fn default() -> Self {
        Self {
            servers: ArcSwap::from_pointee(Vec::new()),
            good: AtomicUsize::new(0),
            room: Semaphore::new(MOST_IN_FLIGHT),
        }
    }
}

/// Why a resolver is no help.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("cannot be reached")]
    Io(#[from] std::io::Error),
    #[error("does not answer")]
    Silent,
}

impl Forwarder {
    /// To no resolver yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Ask these from now on, but never `own`: two name servers of ours that asked each other would go on
    /// for ever.
    pub fn set(&self, servers: &[SocketAddr], own: impl Fn(IpAddr) -> bool) {
        let others: Vec<SocketAddr> = servers.iter().copied().filter(|server| !own(server.ip())).collect();
        if **self.servers.load() != others {
            self.good.store(0, Ordering::Relaxed);
            self.servers.store(Arc::new(others));
        }
    }

    /// The answer to `query`, with its own id; SERVFAIL if nobody gives one. `None`: it is no query.
    pub async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Ok(_room) = self.room.try_acquire() else { return failure(query, Rcode::SERVFAIL) };
        let servers = self.servers.load_full();
        let first = self.good.load(Ordering::Relaxed);
        let mut refusal = None;
        for turn in 0..servers.len() {
            let at = (first + turn) % servers.len();
            let Some(server) = servers.get(at) else { continue };
            match timeout(PATIENCE, one(*server, query, transport)).await.unwrap_or(Err(AskError::Silent)) {
                Ok(reply) if helps(&reply) => {
                    if turn > 0 {
                        self.good.store(at, Ordering::Relaxed);
                    }
                    return Some(reply);
                }
                Ok(reply) => refusal = Some(reply),
                Err(error) => tracing::debug!(%server, %error, "resolver"),
            }
        }
        refusal.or_else(|| failure(query, Rcode::SERVFAIL))
    }
}

/// Whether the answer is one: another resolver may know what this one cannot tell.
fn helps(reply: &[u8]) -> bool {
    let Ok(msg) = Message::from_slice(reply) else { return false };
    !matches!(msg.header().rcode(), Rcode::SERVFAIL | Rcode::REFUSED | Rcode::NOTIMP)
}

/// One resolver's answer, with the query's id.
async fn one(server: SocketAddr, query: &[u8], transport: Transport) -> Result<Vec<u8>, AskError> {
    let mut sent = query.to_vec();
    let mut asked = Message::from_octets(&mut sent[..]).map_err(|_| AskError::Silent)?;
    // Ours, and from a port of its own: an answer must be guessed on both to be forged.
    asked.header_mut().set_random_id();
    let mut reply = match transport {
        Transport::Udp => datagram(server, &sent).await?,
        Transport::Tcp => stream(server, &sent).await?,
    };
    for (to, from) in reply.iter_mut().zip(query).take(2) {
        *to = *from;
    }
    Ok(reply)
}

async fn datagram(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>, AskError> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let len = socket.recv(&mut buffer).await?;
        if belongs(&buffer[..len], query) {
            buffer.truncate(len);
            return Ok(buffer);
        }
    }
}

async fn stream(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>, AskError> {
    let mut stream = TcpStream::connect(server).await?;
    write(&mut stream, query).await?;
    loop {
        let reply = read(&mut stream).await?;
        if belongs(&reply, query) {
            return Ok(reply);
        }
    }
}

/// Whether `reply` answers `query`. A server that cannot read a question may leave it out.
fn belongs(reply: &[u8], query: &[u8]) -> bool {
    let (Ok(reply), Ok(query)) = (Message::from_slice(reply), Message::from_slice(query)) else {
        return false;
    };
    let empty = reply.header_counts().qdcount() == 0 && reply.header().rcode() != Rcode::NOERROR;
    let same = reply.header().qr() && reply.header().id() == query.header().id();
    same && (empty || reply.is_answer(query))
}

/// One message of a connection.
pub(crate) async fn read(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let len = stream.read_u16().await?;
    let mut message = vec![0; len.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// One message onto a connection, in one segment where it fits.
pub(crate) async fn write(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&len.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}
