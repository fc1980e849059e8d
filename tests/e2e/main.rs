//! End-to-end cases on a lab of three real Docker hosts: the real binary, real engines, a real etcd.
//!
//! `hack/test e2e [CASE]` runs them; EVENKEEL_LAB names a lab that is up, EVENKEEL_E2E_FULL=1 asks for the
//! full length. They share the hosts and power them off: one after the other (`--test-threads 1`).

use std::path::Path;

mod alerts;
mod brakes;
mod calm;
mod checks;
mod cli;
mod controllers;
mod documents;
mod edge;
mod etcdctl;
mod exclusive;
mod faults;
mod https;
mod images;
mod placement;
mod power;
mod recipes;
mod recover;
mod restarts;
mod rolling;
mod rollouts;
mod sessions;
mod traffic;
mod upgrade;
mod volumes;

/// The built load generator.
fn load() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_load"))
}
