//! The etcd adapter and its twin in memory. Both implement [`evenkeel_runtime::store::Store`] and pass one
//! suite (`tests/tests/store_parity.rs`); no other crate knows that etcd exists.

pub mod memory;

pub use memory::MemoryStore;
