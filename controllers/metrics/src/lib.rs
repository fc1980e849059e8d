//! What controllers count and measure, as a page that Prometheus reads.
//!
//! What passes through an edge (store, engine, probes, disk, names) is counted by what is put around the
//! edge; a driver has a [`Meter`] and tells it the little that no edge sees. Nothing here decides anything.

mod edges;
mod figures;
mod lookup;
mod meter;
mod page;
mod serve;
mod tally;

pub use edges::{MeteredDisk, MeteredEngine, MeteredProbe, MeteredStore};
pub use meter::{Meter, Pass, Trouble};
pub use page::{Build, Form, Page};
pub use serve::serve;
pub use tally::{HostState, RolloutState, ServiceTally, Tally};
