//! The etcd adapter and its twin in memory
