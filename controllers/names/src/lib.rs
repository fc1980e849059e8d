//! The name server: it answers for the networks' domains from one immutable zone, and passes everything
//! else on to the host's resolvers.
//!
//! [`answer`] is the whole of what it says, as a function of zone and query. [`server`] is the sockets,
//! [`forward`] the way to other resolvers, [`handover`] how sockets outlive the process that serves them.
//!
//! Nothing on the way of a query takes a lock: the zone stands behind an atomic pointer.

pub mod answer;
pub mod forward;
pub mod handover;
pub mod resolv;
pub mod server;

mod random;
