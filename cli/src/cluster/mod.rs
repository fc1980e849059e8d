//! Making a cluster and bringing hosts in: what `init`, `host add` and `host join` share.

pub mod book;
pub mod deliver;
pub mod machine;
pub mod person;
pub mod rights;
pub mod ssh;

use std::time::Duration;

use evenkeel_runtime::env::{SystemClock, WallClock};

/// The time since 1970.
pub fn now() -> Duration {
    Duration::from_millis(SystemClock.now().0.try_into().unwrap_or_default())
}
