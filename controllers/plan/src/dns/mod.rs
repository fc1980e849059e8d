//! Names: from who serves, to what a name server answers.
//!
//! [`World`] is what the store says, [`Here`] what this host knows by itself; [`zone`] turns both into
//! one immutable [`Zone`], and [`Zone::lookup`] is the whole of what a query asks of it.

mod absence;
mod build;
mod choose;
mod lookup;
mod served;
#[cfg(test)]
mod tests;
mod why;
mod world;

pub use absence::{Absences, LIMIT};
pub use build::{Target, Zone, zone};
pub use lookup::{Found, Origin, Wanted};
pub use world::{Here, Shard, World};
