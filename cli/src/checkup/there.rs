//! Another host, asked by running the same command there.

use std::time::Duration;

use evenkeel_doctor::facts::{Asked, Machine};
use serde::Deserialize;

use crate::cluster::deliver::Place;

/// Exit code 1 says that something is wrong there, which we judge ourselves.
const ASK: &str = "/usr/local/bin/evenkeel doctor --here -o json || test $? = 1";

/// What `evenkeel doctor --here -o json` says, as far as it is read here.
#[derive(Deserialize)]
struct Said {
    machine: Asked<Machine>,
}

/// Asks it; blocks until it has answered.
///
/// # Errors
/// It is not reached, or does not know the question.
pub fn machine(place: &Place) -> Asked<Machine> {
    let before = crate::cluster::now();
    let said = place.ask(ASK).map_err(|failure| failure.message)?;
    let after = crate::cluster::now();
    let said: Said = serde_json::from_str(&said).map_err(|error| {
        format!(
            "what its program says is not understood ({error}): `evenkeel host add`, where the cluster was made, puts that one \
             there, or copy it to /usr/local/bin/evenkeel"
        )
    })?;
    let mut machine = said.machine?;
    machine.ahead = Some(ahead(machine.clock, before, after));
    Ok(machine)
}

/// By how much a clock is ahead that was read between two moments, in milliseconds: what is beyond doubt.
fn ahead(clock: u64, before: Duration, after: Duration) -> i64 {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let clock = i64::try_from(clock).unwrap_or(i64::MAX);
    let (early, late) = (clock.saturating_sub(millis(after)), clock.saturating_sub(millis(before)));
    if early > 0 {
        early
    } else if late < 0 {
        late
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_what_the_time_of_asking_does_not_explain() {
        let at = Duration::from_millis;
        for (clock, expected) in [(10_000, 0), (12_000, 0), (11_500, 0), (12_700, 700), (4_000, -6_000)] {
            assert_eq!(ahead(clock, at(10_000), at(12_000)), expected, "{clock}");
        }
    }
}
