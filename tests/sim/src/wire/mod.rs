//! The edges as one life of a host's controllers sees them: each call takes its time, may be where the
//! process is killed, and meets the faults of that host.

mod disk;
mod engine;
mod machine;
mod members;
mod probe;
mod store;

pub use disk::LifeDisk;
pub use engine::LifeEngine;
pub use machine::{SimCgroups, SimMachine, SimWall};
pub use members::{COUNT as MEMBERS, Connection, Members, Thaw};
pub use probe::SimProbe;
pub use store::{Cut, LifeStore, Wire, WireFaults};
