//! What the driver holds of one instance.

use std::time::Duration;

use evenkeel_api::record::Observed;
use evenkeel_api::service::Limits;
use evenkeel_plan::instance::container::{Container, ContainerState};
use evenkeel_plan::instance::memory::Memory;
use evenkeel_plan::instance::restart::Runs;

/// One instance.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub container: Option<Container>,
    pub memory: Memory,
    pub observed: Option<Observed>,
    /// A call is under way.
    pub busy: bool,
    /// Something happened that its outcome may not show: look before anything else.
    pub look: bool,
    /// When its container was last seen or changed; an older list says nothing about it.
    pub seen: Duration,
    /// Nothing before then: the engine is in trouble, or the store is.
    pub hold: Option<Duration>,
    /// Decide again at that time.
    pub wake: Option<Duration>,
    /// The record's revision for which the store has confirmed that something may be stopped.
    pub confirmed: Option<i64>,
    /// The image of the making that is under way.
    pub asked_image: Option<String>,
    /// The limits of the change that is under way.
    pub asked_limits: Option<Limits>,
    /// A start is under way.
    pub starting: bool,
    /// Starts in a row that were refused for reasons that pass: a removal under way, a network not there.
    pub refusals: u32,
}

impl Slot {
    pub(super) fn new(observed: Option<Observed>) -> Self {
        let runs = observed.as_ref().map(|seen| Runs::known(seen.started, seen.restarts)).unwrap_or_default();
        Self { memory: Memory { runs, ..Memory::default() }, observed, ..Self::default() }
    }

    /// The container as it was just seen, or that there is none.
    pub(super) fn saw(&mut self, container: Option<Container>, now: Duration) {
        self.seen = now;
        if self.container.is_none() && container.is_some() {
            // What kept it from being made does so no more.
            self.memory.trouble = None;
        }
        match &container {
            None => self.memory.container_gone(),
            Some(one) => match one.state {
                ContainerState::Running => {
                    self.memory.runs.running(one.started, now);
                    self.memory.trouble = None;
                    self.memory.oom = false;
                    self.refusals = 0;
                }
                ContainerState::Exited { code, oom } => {
                    self.memory.runs.over(one.started, now);
                    self.memory.last_code = Some(code);
                    self.memory.oom |= oom;
                }
                _ => {}
            },
        }
        // What the engine could not say is as it was.
        let unclear = container.as_ref().is_some_and(|one| one.state == ContainerState::Changing);
        if unclear
            && let (Some(had), Some(new)) = (&self.container, &container)
            && had.id == new.id
        {
            return;
        }
        self.container = container;
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_engine::FakeEngine;

    use super::*;

    fn container(id: &str, state: ContainerState) -> Option<Container> {
        let engine = FakeEngine::new();
        engine.add_foreign("shop.web.1.1", std::collections::BTreeMap::new());
        let one = engine.all().into_iter().next()?;
        Some(Container { id: id.to_owned(), state, ..one })
    }

    #[test]
    fn that_memory_ran_out_is_known_until_it_runs_again() {
        let exited = |oom| container("c1", ContainerState::Exited { code: 137, oom });
        let running = || container("c1", ContainerState::Running);
        let mut slot = Slot::default();
        for (seen, known) in [
            (running(), false),
            (exited(false), false),
            (exited(true), true),
            // The engine says so of one look and not of the next.
            (exited(false), true),
            (running(), false),
        ] {
            let state = seen.as_ref().map(|one| one.state);
            slot.saw(seen, Duration::ZERO);
            assert_eq!(slot.memory.oom, known, "{state:?}");
        }
    }

    #[test]
    fn a_container_whose_state_is_unclear_is_as_it_was_and_another_one_is_new() {
        let mut slot = Slot::default();
        slot.saw(container("c1", ContainerState::Running), Duration::ZERO);
        for (id, state) in [("c1", ContainerState::Running), ("c2", ContainerState::Changing)] {
            slot.saw(container(id, ContainerState::Changing), Duration::ZERO);
            let held = slot.container.as_ref().unwrap();
            assert_eq!((held.id.as_str(), held.state), (id, state));
        }
    }
}
