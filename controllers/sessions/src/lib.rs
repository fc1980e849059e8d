//! How people reach the copies of a host: one TCP port, on it one connection a session, on that small frames both
//! ways. Both ends are here; what is done for a session, and whether it may be, is a trait ([`Copies`]) that the
//! instance controller fills.
//!
//! ```text
//! host    Hello      a challenge, made up for this connection
//! person  Ask        what is wanted, after the same was put into the store by the challenge's key
//! host    Accepted   or Refused, with the reason
//! both    …          until End
//! ```

mod client;
mod frame;
mod link;
mod places;
mod server;
mod tls;

pub use client::{Refused, call};
pub use frame::{Frame, Hello, MAX_DATA, Opening, Size};
pub use link::{Broken, Link, Receiver, Sender, pipe};
pub use server::{Copies, Server};
pub use tls::{Identity, TlsError, common_name};
