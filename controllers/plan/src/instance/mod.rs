//! What a host does for each of its instances.

pub mod container;
