//! What is put around an edge, and counts what passes.

mod disk;
mod engine;
mod probe;
mod store;

pub use disk::MeteredDisk;
pub use engine::MeteredEngine;
pub use probe::MeteredProbe;
pub use store::MeteredStore;
