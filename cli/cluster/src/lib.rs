//! What a secured cluster consists of: who certifies whom ([`pki`]), what a host is given to join ([`ticket`]),
//! and which files that makes on it ([`layout`]). Data in, data out: nothing here reads a disk or a network.

pub mod backups;
pub mod layout;
pub mod pki;
pub mod ticket;

pub use pki::{Authority, Pair, PkiError, Subject, Use};
pub use ticket::{Member, Ticket};
