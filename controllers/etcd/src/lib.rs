//! The etcd adapter and its twin in memory. Both implement [`evenkeel_runtime::store::Store`] and pass one
//! suite (`tests/tests/store_parity.rs`); no other crate knows that etcd exists.

mod config;
mod errors;
pub mod health;
mod keys;
mod leases;
mod members;
pub mod membership;
pub mod memory;
pub mod rights;
pub mod snapshot;
mod store;
mod watching;

pub use config::{ConfigError, DEFAULT_PREFIX, EtcdConfig, EtcdTls};
pub use memory::MemoryStore;
pub use store::EtcdStore;

/// The largest answer that is read: a whole prefix may come as one.
const MAX_MESSAGE: usize = 512 << 20;
