//! Waiting longer after each failure, with jitter so that a crowd does not come back in step.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// How long to wait before the next try. Doubles from `min` to `max`; [`Backoff::reset`] after a success.
#[derive(Debug)]
pub struct Backoff {
    steps: ExponentialBuilder,
    next: ExponentialBackoff,
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// From `min`, which must not be zero to have any effect, to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        let max = max.max(min);
        // The library's own jitter is left off: chance comes from outside, so that a run can be repeated.
        let steps = ExponentialBuilder::new().with_min_delay(min).with_max_delay(max).without_max_times();
        Self { steps, next: steps.build(), min, max }
    }

    /// The next wait: between half of the present step and all of it, as `random` says.
    pub fn next(&mut self, random: u64) -> Duration {
        let step = self.next.next().unwrap_or(self.max).clamp(self.min, self.max);
        let half = step / 2;
        let choices = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
        step - half + Duration::from_nanos(random % choices)
    }

    /// Start over.
    pub fn reset(&mut self) {
        self.next = self.steps.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum_and_stay_within_half_and_all_of_a_step() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        for (random, least, most) in
            [(0, 50, 50), (u64::MAX, 100, 200), (50_000_000, 175, 350), (7, 175, 350), (9, 175, 350)]
        {
            let wait = backoff.next(random);
            assert!(wait >= ms(least) && wait <= ms(most), "{wait:?} of {least}..{most}");
        }
        backoff.reset();
        assert!(backoff.next(1) <= ms(100));
        assert_eq!(Backoff::new(Duration::ZERO, Duration::ZERO).next(5), Duration::ZERO);
    }
}
