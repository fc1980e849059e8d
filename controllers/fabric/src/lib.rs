//! The host's network: bridges' settings, routes and firewall, seen and changed through one trait; the
//! kernel behind it, and a twin in memory for tests.

mod fabric;
pub mod fake;
pub mod linux;

pub use fabric::{Fabric, FabricError, Wakes};
pub use fake::FakeFabric;
pub use linux::LinuxFabric;
