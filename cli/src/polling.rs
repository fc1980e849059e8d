//! Asking again and again until something is so, for at most some time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::failure::Failure;

/// What one look found.
#[derive(Debug)]
pub enum Step<T> {
    /// It is so.
    Done(T),
    /// Not so yet: what to say if it never comes about.
    NotYet(Failure),
}

impl Step<()> {
    /// Done if `so`, else what to say in the end.
    pub fn once(so: bool, late: impl FnOnce() -> Failure) -> Self {
        if so { Self::Done(()) } else { Self::NotYet(late()) }
    }
}

const PAUSE: Duration = Duration::from_millis(300);

/// Looks until it is so.
///
/// # Errors
/// The look itself fails, or it is still not so when the time is over.
pub async fn poll<T>(
    within: Duration,
    look: impl AsyncFnMut() -> Result<Step<T>, Failure>,
) -> Result<T, Failure> {
    poll_every(PAUSE, within, look).await
}

/// The same, with a pause of its own: for looks that cost something.
///
/// # Errors
/// The look itself fails, or it is still not so when the time is over.
pub async fn poll_every<T>(
    pause: Duration,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<Step<T>, Failure>,
) -> Result<T, Failure> {
    let end = Instant::now() + within;
    loop {
        match look().await? {
            Step::Done(answer) => return Ok(answer),
            Step::NotYet(failure) if Instant::now() >= end => return Err(failure),
            Step::NotYet(_) => sleep(pause).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_looks_until_it_is_so_and_tells_at_the_end_what_is_missing() {
        let begun = Instant::now();
        let mut looks = 0;
        let answer = poll(Duration::from_secs(5), async || {
            looks += 1;
            Ok(if looks == 3 { Step::Done(looks) } else { Step::NotYet(Failure::new("late")) })
        });
        assert_eq!(answer.await.unwrap(), 3);
        assert_eq!(begun.elapsed(), 2 * PAUSE);
        let never =
            poll(Duration::from_secs(5), async || Ok(Step::once(false, || Failure::timed_out("late"))));
        assert_eq!(never.await.unwrap_err().message, "late");
        assert!(begun.elapsed() >= Duration::from_secs(5) && begun.elapsed() < Duration::from_secs(7));
        let broken = poll::<()>(Duration::from_secs(5), async || Err(Failure::new("broken")));
        assert_eq!(broken.await.unwrap_err().message, "broken");
    }
}
