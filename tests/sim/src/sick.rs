//! Runs of copies that answer no check: until they are restarted.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_api::record::Timestamp;
use evenkeel_plan::instance::container::Container;

/// Those of one host; a cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Sick(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    runs: BTreeSet<(String, Option<Timestamp>)>,
    version: u64,
}

impl Sick {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This run of a container answers no check from now on.
    pub fn add(&self, container: &Container) {
        let mut state = self.state();
        state.runs.insert((container.id.clone(), container.started));
        state.version += 1;
    }

    /// All are well again.
    pub fn heal(&self) {
        let mut state = self.state();
        state.runs.clear();
        state.version += 1;
    }

    /// Whether it answers no check.
    pub fn is(&self, container: &Container) -> bool {
        let state = self.state();
        !state.runs.is_empty() && state.runs.contains(&(container.id.clone(), container.started))
    }

    /// Changes with each change.
    pub fn version(&self) -> u64 {
        self.state().version
    }
}
