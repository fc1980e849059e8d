//! What every controller stands on: the store as a trait, a watched mirror of parts of it, guarded
//! writing, leading, state on disk, and the queue that runs one key at a time.

pub mod backoff;
pub mod disk;
pub mod env;
pub mod latest;
pub mod leader;
pub mod mirror;
pub mod queue;
pub mod recall;
pub mod store;
pub mod tick;
pub mod verify;
pub mod witness;
pub mod writer;
