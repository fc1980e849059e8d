//! Sockets that outlive the process that serves them. A small parent holds them and hands them to its
//! worker over a pair of connected sockets; while the worker is replaced, queries wait in the kernel.
//!
//! The worker's end of that pair is its standard input, which no controller has another use for: so there
//! is no path to clash on and no descriptor number to trust. One message asks, one answers:
//!
//! | the worker says | the parent answers |
//! |---|---|
//! | `get 10.88.1.1:53` | `ok` with a UDP and a TCP socket, or `error …` |
//! | `keep 10.88.1.1:53 …` | `ok`, after it closed all others |

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, bind, listen, recvmsg, sendmsg, socket_with,
    socketpair, sockopt,
};

use crate::server::Server;

/// The longest message.
const MESSAGE: usize = 16 * 1024;
/// How long a worker waits for its parent, which has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections that wait for a worker.
const BACKLOG: i32 = 256;
/// Bytes of datagrams that wait for a worker; the kernel may give less.
const WAITING: usize = 1 << 20;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The system refuses it.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddrV4,
        /// Why.
        #[source]
        source: Errno,
    },
    /// The parent could not give it.
    #[error("the parent process gives no socket: {0}")]
    Parent(String),
    /// The parent cannot be talked to.
    #[error("the parent process does not answer")]
    Talk(#[source] Errno),
}

/// The sockets of one address.
#[derive(Debug)]
pub struct Pair {
    /// For datagrams.
    pub udp: UdpSocket,
    /// For connections.
    pub tcp: TcpListener,
}

impl Pair {
    /// Binds both; also where the address does not exist yet, so that names are served from the moment
    /// that it does. Port 0: each gets a free one.
    ///
    /// # Errors
    /// [`HandoverError::Bind`].
    pub fn bind(address: SocketAddrV4) -> Result<Self, HandoverError> {
        let failed = |source| HandoverError::Bind { address, source };
        Ok(Self {
            udp: socket(address, SocketType::DGRAM).map_err(failed)?.into(),
            tcp: socket(address, SocketType::STREAM).map_err(failed)?.into(),
        })
    }
}

fn socket(address: SocketAddrV4, kind: SocketType) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    sockopt::set_ip_freebind(&socket, true)?;
    if kind == SocketType::STREAM {
        // Connections of an earlier process may linger on the port.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
    } else {
        sockopt::set_socket_recv_buffer_size(&socket, WAITING)?;
        bind(&socket, &address)?;
    }
    Ok(socket)
}

/// Where a worker's sockets come from.
#[derive(Debug)]
pub enum Sockets {
    /// From the parent, at the other end.
    Parent(OwnedFd),
    /// From the system: there is no parent, and names are silent while this process restarts.
    Direct,
    /// From nowhere: nothing is bound. Whoever holds this asks the server's zone, once there is one; for
    /// simulations.
    Nowhere(Arc<OnceLock<Server>>),
}

impl Sockets {
    /// From the parent that made this process, by its standard input.
    ///
    /// # Errors
    /// Standard input is closed, or cannot be set up.
    pub fn from_stdin() -> std::io::Result<Self> {
        let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
        let timeout = Some(PATIENCE);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, timeout)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, timeout)?;
        Ok(Self::Parent(socket))
    }

    /// The sockets of `address`. Asking again gives the same ones.
    ///
    /// # Errors
    /// See [`HandoverError`].
    pub fn get(&self, address: SocketAddrV4) -> Result<Pair, HandoverError> {
        let Self::Parent(parent) = self else { return Pair::bind(address) };
        let mut sockets = talk(parent, &format!("get {address}"))?.into_iter();
        match (sockets.next(), sockets.next()) {
            (Some(udp), Some(tcp)) => Ok(Pair { udp: udp.into(), tcp: tcp.into() }),
            _ => Err(HandoverError::Parent("the answer holds no sockets".to_owned())),
        }
    }

    /// Nothing but `addresses` is wanted any more.
    ///
    /// # Errors
    /// See [`HandoverError`].
    pub fn keep(&self, addresses: &BTreeSet<SocketAddrV4>) -> Result<(), HandoverError> {
        let Self::Parent(parent) = self else { return Ok(()) };
        let words: Vec<String> = addresses.iter().map(|address| format!(" {address}")).collect();
        talk(parent, &format!("keep{}", words.concat())).map(drop)
    }
}

/// One question to the parent.
fn talk(parent: &OwnedFd, question: &str) -> Result<Vec<OwnedFd>, HandoverError> {
    send(parent.as_fd(), question, &[]).map_err(HandoverError::Talk)?;
    let (answer, sockets) = receive(parent.as_fd()).map_err(HandoverError::Talk)?;
    match answer.split_once(' ') {
        None if answer == "ok" => Ok(sockets),
        Some(("error", why)) => Err(HandoverError::Parent(why.to_owned())),
        _ => Err(HandoverError::Parent(format!("it says {answer:?}"))),
    }
}

/// The sockets that a parent holds.
#[derive(Debug, Default)]
pub struct Holder {
    held: BTreeMap<SocketAddrV4, Pair>,
}

impl Holder {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The two ends of a new line to a worker: the parent's, the worker's.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn line() -> std::io::Result<(OwnedFd, OwnedFd)> {
        // Messages keep their bounds on this kind of socket.
        Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
    }

    /// Takes one message from the worker and answers it. `false`: the worker is gone.
    pub fn serve(&mut self, worker: BorrowedFd<'_>) -> bool {
        let Ok((question, _)) = receive(worker) else { return false };
        if question.is_empty() {
            return false;
        }
        let answer = match self.answer(&question) {
            Ok(Some(pair)) => send(worker, "ok", &[pair.udp.as_fd(), pair.tcp.as_fd()]),
            Ok(None) => send(worker, "ok", &[]),
            Err(why) => send(worker, &format!("error {why}"), &[]),
        };
        answer.is_ok()
    }

    fn answer(&mut self, question: &str) -> Result<Option<&Pair>, String> {
        let mut words = question.split(' ');
        let verb = words.next();
        let addresses: Result<BTreeSet<SocketAddrV4>, _> = words.map(str::parse).collect();
        let addresses = addresses.map_err(|error| format!("{question:?}: {error}"))?;
        match (verb, addresses.first()) {
            (Some("keep"), _) => {
                self.held.retain(|address, _| addresses.contains(address));
                Ok(None)
            }
            (Some("get"), Some(address)) => {
                if !self.held.contains_key(address) {
                    let pair = Pair::bind(*address).map_err(|error| chain(&error))?;
                    self.held.insert(*address, pair);
                }
                Ok(self.held.get(address))
            }
            _ => Err(format!("{question:?} is no question")),
        }
    }
}

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn send(to: BorrowedFd<'_>, text: &str, sockets: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(Errno::NOMEM);
    }
    let text = [IoSlice::new(text.as_bytes())];
    rustix::io::retry_on_intr(|| sendmsg(to, &text, &mut control, SendFlags::NOSIGNAL)).map(drop)
}

/// One message; empty at the end of the line.
fn receive(from: BorrowedFd<'_>) -> Result<(String, Vec<OwnedFd>), Errno> {
    let mut buffer = vec![0; MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut text = [IoSliceMut::new(&mut buffer)];
        recvmsg(from, &mut text, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            sockets.extend(passed);
        }
    }
    buffer.truncate(received.bytes);
    Ok((String::from_utf8_lossy(&buffer).into_owned(), sockets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_outlives_who_served_it() {
        let (parent, worker) = Holder::line().unwrap();
        let held = std::thread::spawn(move || {
            let mut holder = Holder::new();
            while holder.serve(parent.as_fd()) {}
            holder
        });
        let sockets = Sockets::Parent(worker);
        // An address that is not there.
        let address = "192.0.2.53:5399".parse().unwrap();
        let first = sockets.get(address).unwrap();
        let second = sockets.get(address).unwrap();
        assert_eq!(first.udp.local_addr().unwrap(), second.udp.local_addr().unwrap());
        drop((first, second));
        assert!(Pair::bind(address).is_err(), "the parent holds it");
        sockets.keep(&BTreeSet::new()).unwrap();
        assert!(Pair::bind(address).is_ok(), "nobody holds it");
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(at) = taken.local_addr().unwrap() else { unreachable!() };
        let error = sockets.get(at).unwrap_err().to_string();
        assert!(error.contains("cannot listen on 127.0.0.1") && error.contains("in use"), "{error}");
        drop(sockets);
        assert!(held.join().unwrap().held.is_empty());
    }
}
