//! Faults on real engines and etcds, each under load: what must hold is looked at from outside, by Docker,
//! `etcdctl`, `dig` and HTTP. The number in a case's name is its number in docs/faults.md.

mod crashes;
mod disks;
mod engines;
mod etcd_away;
mod etcd_full;
mod etcd_members;
mod etcd_past;
mod hostile;
mod lost_hosts;
mod partitions;
mod people;
mod shop;

use std::time::Duration;

use evenkeel_tests::lab::case::is_full;

/// The length of a fault: at full length, or in the short form that CI runs.
fn length(full: u64, short: u64) -> Duration {
    Duration::from_secs(if is_full() { full } else { short })
}
