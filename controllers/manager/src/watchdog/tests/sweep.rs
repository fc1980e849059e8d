//! One look of the loop, and what the beat costs.

use std::collections::BTreeSet;
use std::sync::Mutex;

use evenkeel_api::local::{Beat, Guard, Guards};
use evenkeel_runtime::disk::Scratch;

use super::*;

/// Notes which sweeps were to search.
#[derive(Debug, Default)]
struct Searches(Mutex<Vec<bool>>);

impl Cgroups for Searches {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
    fn end(&self, _container: &str, search: bool) -> std::io::Result<Sweep> {
        self.0.lock().unwrap().push(search);
        Ok(Sweep::default())
    }
}

/// A loop that guards one copy, whose life was proved after a second.
async fn guarding(cgroups: Arc<Searches>) -> Loop {
    let world = World::new().await;
    let guard = Guard { instance: id(), stop_after: Span(S) };
    let guards = Guards { guards: [("c1".to_owned(), guard)].into() };
    let boot = world.env.boot().to_owned();
    let beat = Beat { boot: boot.clone(), at: 1000, proofs: [("c1".to_owned(), 1000)].into() };
    let watch = Watch::new(guards, Some(&beat), &boot);
    let deps = WatchdogDeps { cgroups, ..world.deps() };
    Loop { deps, tell_watch: watch::channel(watch.clone()).0, watch, late: false, sweeps: 0 }
}

#[test]
fn the_loop_rests_no_longer_than_until_the_next_deadline() {
    case(async {
        let began = Instant::now();
        let mut guard = guarding(Arc::default()).await;
        for (at, rest) in [(5000, TICK), (5899, TICK), (5970, Duration::from_millis(30)), (6000, SWEEP)] {
            tokio::time::sleep_until(began + Duration::from_millis(at)).await;
            assert_eq!(guard.sweep(), rest, "at {at} ms");
        }
        guard.watch.take(Guards::default());
        assert_eq!(guard.sweep(), REST);
    });
}

#[test]
fn what_must_not_run_is_searched_for_at_once_and_then_now_and_then() {
    case(async {
        let searches = Arc::new(Searches::default());
        let mut guard = guarding(searches.clone()).await;
        seconds(10.0).await;
        for _ in 0..7 {
            guard.sweep();
        }
        let first = std::mem::take(&mut *searches.0.lock().unwrap());
        assert_eq!(first, [true, false, false, false, false, true, false]);
        // Proved, and late once more.
        let now = guard.deps.env.boot_time();
        guard.watch.proved(now, &[(id(), Desired::Run)].into());
        guard.sweep();
        seconds(10.0).await;
        guard.sweep();
        guard.sweep();
        assert_eq!(*searches.0.lock().unwrap(), [true, false]);
    });
}

#[test]
fn a_watchdog_without_work_beats_as_seldom_as_it_may() {
    case(async {
        let mut world = World::new().await;
        world.start_watchdog();
        seconds(1.0).await;
        let beat = Scratch::<Beat>::new(&world.dir, Controller::Watchdog, "beat");
        let mut written = BTreeSet::new();
        for _ in 0..1000 {
            written.insert(beat.load().unwrap().at);
            seconds(0.01).await;
        }
        assert!((20..=21).contains(&written.len()), "in ten seconds: {}", written.len());
    });
}
