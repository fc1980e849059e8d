//! Networks, decided: which documents are valid, which part of a pool each host owns, and what bridges,
//! routes and firewall rules a host needs for them.
//!
//! | room | who runs it | what |
//! |---|---|---|
//! | [`admit`] | leader | documents to accepted specs |
//! | [`subnet`] | leader | who owns which part |
//! | [`status`] | leader | what people are told |
//! | [`leader`] | leader | the three above, put together |
//! | [`host`] | every host | engine network, bridge, routes, rules: wanted against found |
//! | [`firewall`] | every host | the text of our own table, and what must be let through engines' |

pub mod admit;
pub mod conflict;
pub mod firewall;
mod found;
pub mod host;
pub mod leader;
pub mod names;
pub mod ranges;
pub mod state;
pub mod status;
pub mod subnet;

#[cfg(test)]
mod tests;
