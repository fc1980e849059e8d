//! Heavy calls take turns: an engine does little more when more of them come at once, and each then takes
//! longer.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::Map;
use tower::limit::ConcurrencyLimit;
use tower::{Service, ServiceExt};

/// So many at a time, in the order in which they came. Clones share the limit.
#[derive(Debug, Clone)]
pub struct Turns(ConcurrencyLimit<Run>);

/// The innermost service: does what it is asked.
#[derive(Debug, Clone)]
struct Run;

impl<F: Future> Service<F> for Run {
    type Response = F::Output;
    type Error = Infallible;
    type Future = Map<F, fn(F::Output) -> Result<F::Output, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, work: F) -> Self::Future {
        work.map(Ok)
    }
}

impl Turns {
    /// At most `at_once` at a time.
    pub fn new(at_once: usize) -> Self {
        Self(ConcurrencyLimit::new(Run, at_once))
    }

    /// Does `work` when its turn has come.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        match self.0.clone().oneshot(work).await {
            Ok(output) => output,
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_work_at_once_and_all_get_their_turn() {
        let (turns, working, most) =
            (Turns::new(3), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = (0..10).map(|n| {
            let (turns, working, most) = (turns.clone(), working.clone(), most.clone());
            async move {
                let work = async {
                    most.fetch_max(working.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    working.fetch_sub(1, Ordering::Relaxed);
                    n
                };
                turns.run(work).await
            }
        });
        assert_eq!(join_all(work).await, (0..10).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::Relaxed), 3);
    }
}
