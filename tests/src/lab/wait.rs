//! Waiting, with what was last seen in the message.

use std::time::Duration;

use tokio::time::Instant;

use super::limit;

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Sleeps.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Seconds since then.
pub fn since(then: Instant) -> f64 {
    then.elapsed().as_secs_f64()
}

/// Looks again and again until `look` gives a value; panics after `seconds` ([`limit`]) with what it said last.
pub fn eventually<T>(seconds: u64, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    let patience = Duration::from_secs_f64(limit(seconds as f64));
    loop {
        match look() {
            Ok(value) => return value,
            Err(last) => {
                assert!(
                    begun.elapsed() < patience,
                    "not within {} s: {what}; last seen: {last}",
                    patience.as_secs()
                );
            }
        }
        pause(EVERY);
    }
}
