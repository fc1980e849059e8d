//! End-to-end, parity, scenario and simulation tests; here: what they share.

pub mod etcd;
pub mod lab;
