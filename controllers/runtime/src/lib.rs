//! What every controller stands on: the store as a trait, a watched mirror of parts of it, guarded
//! writing, leading, state on disk, and the loop that runs the five rooms.

pub mod env;
pub mod store;
