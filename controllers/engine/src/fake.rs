//! An engine in memory: for tests and simulations. It keeps the rules that plans rely upon (names,
//! addresses, ports, images, labels), and can be told to be slow, to fail, to hang or to be away.

mod calls;
mod inside;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use evenkeel_api::record::{Timestamp, Verdict};
use evenkeel_plan::instance::container::{Container, ContainerSpec, ContainerState};
use tokio::time::Instant;

use crate::engine::EngineError;
use crate::types::{Image, Network};
use state::State;

/// Which call of the trait, for scripts and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "named as the trait's methods")]
pub enum Op {
    Info,
    Containers,
    Inspect,
    Create,
    Start,
    Stop,
    Kill,
    Remove,
    Update,
    Exec,
    Pull,
    Image,
    Volumes,
    CreateVolume,
    RemoveVolume,
    Networks,
    CreateNetwork,
    RemoveNetwork,
    Events,
    Logs,
    Attach,
    Fetch,
    Store,
    Usage,
}

/// What containers of an image do once started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// They run until they are stopped.
    Runs,
    /// They end by themselves.
    Exits {
        /// After this long.
        after: Duration,
        /// With this code.
        code: i64,
    },
    /// They cannot be started.
    FailsToStart(String),
    /// They take this long to stop, if they are not killed before.
    SlowToStop(Duration),
}

/// An engine in memory. A clone is the same engine.
#[derive(Clone)]
pub struct FakeEngine {
    state: Arc<Mutex<State>>,
    began: Instant,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeEngine {
    /// An engine with nothing but the networks that each has.
    pub fn new() -> Self {
        Self { state: Arc::new(Mutex::new(State::new())), began: Instant::now() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The fake's wall clock: it follows tokio's, which tests can pause.
    fn wall(&self) -> Timestamp {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp(1_700_000_000_000 + elapsed)
    }

    /// Calls of `op` take this long from now on.
    pub fn set_delay(&self, op: Op, delay: Duration) {
        self.lock().delays.insert(op, delay);
    }

    /// The next call of `op` fails, and does nothing.
    pub fn fail_next(&self, op: Op, error: EngineError) {
        self.lock().failures.push((op, error, false));
    }

    /// The next call of `op` is done, but fails all the same: its outcome is unknown to the caller.
    pub fn fail_after_next(&self, op: Op, error: EngineError) {
        self.lock().failures.push((op, error, true));
    }

    /// What was to fail and has not yet does not fail any more.
    pub fn forget_failures(&self) {
        self.lock().failures.clear();
    }

    /// Whether the engine can be reached. Going away ends all event streams; containers run on.
    pub fn set_away(&self, away: bool) {
        let mut state = self.lock();
        state.away = away;
        if away {
            state.readers.clear();
        }
    }

    /// Whether calls hang until their deadline. Event streams stay open and silent.
    pub fn set_hung(&self, hung: bool) {
        self.lock().hung = hung;
    }

    /// Ends all event streams, as a restart of the engine does.
    pub fn end_events(&self) {
        self.lock().readers.clear();
    }

    /// Events are lost from now on, or no more.
    pub fn lose_events(&self, lose: bool) {
        self.lock().mute = lose;
    }

    /// Puts an image on the host.
    pub fn add_image(&self, reference: &str, digest: &str) {
        let image = image(reference, digest);
        self.lock().images.insert(reference.to_owned(), image);
    }

    /// Puts an image into the registry; also under its digest.
    pub fn add_to_registry(&self, reference: &str, digest: &str) {
        let image = image(reference, digest);
        let mut state = self.lock();
        state.registry.insert(crate::reference::by_digest(reference, digest), image.clone());
        state.registry.insert(reference.to_owned(), image);
    }

    /// What containers of an image do, by the reference in their template.
    pub fn behave(&self, image: &str, behaviour: Behaviour) {
        self.lock().behaviours.insert(image.to_owned(), behaviour);
    }

    /// Puts a network on the host, as the network controller would.
    pub fn add_network(&self, network: Network) {
        self.lock().networks.insert(network.name.clone(), network);
    }

    /// A person runs `docker create` by hand.
    pub fn add_foreign(&self, name: &str, labels: BTreeMap<String, String>) -> String {
        let mut state = self.lock();
        let id = state.next_id();
        let container = Container {
            id: id.clone(),
            name: name.to_owned(),
            labels,
            image: "foreign".to_owned(),
            image_id: "sha256:foreign".to_owned(),
            state: ContainerState::Running,
            started: Some(self.wall()),
            finished: None,
            health: None,
            addresses: BTreeMap::new(),
            ports: Vec::new(),
            limits: evenkeel_api::service::Limits::default(),
            pid: Some(1),
        };
        state.containers.insert(id.clone(), state::Held { container, spec: None });
        id
    }

    /// The container's main process ends by itself, or is killed by the kernel.
    pub fn crash(&self, container: &str, code: i64, oom: bool) {
        let wall = self.wall();
        self.lock().end(container, code, oom, wall);
    }

    /// The engine's own check says something new.
    pub fn set_health(&self, container: &str, health: Verdict) {
        let mut state = self.lock();
        if let Some(held) = state.find_mut(container) {
            held.container.health = Some(health);
            let (id, name) = (held.container.id.clone(), held.container.name.clone());
            state.tell("health_status", &id, &name, BTreeMap::new());
        }
    }

    /// A person runs `docker pause`, or `unpause`.
    pub fn pause(&self, container: &str, paused: bool) {
        let mut state = self.lock();
        if let Some(held) = state.find_mut(container) {
            held.container.state = if paused { ContainerState::Paused } else { ContainerState::Running };
            let (id, name) = (held.container.id.clone(), held.container.name.clone());
            state.tell(if paused { "pause" } else { "unpause" }, &id, &name, BTreeMap::new());
        }
    }

    /// A person runs `docker rm -f`.
    pub fn person_removes(&self, container: &str) {
        let wall = self.wall();
        let mut state = self.lock();
        state.end(container, 137, false, wall);
        state.drop_container(container);
    }

    /// The machine loses power and comes back: nothing runs, all else is kept.
    pub fn reboot(&self) {
        let wall = self.wall();
        let mut state = self.lock();
        let ids: Vec<String> = state.containers.keys().cloned().collect();
        state.readers.clear();
        for id in ids {
            state.end(&id, 255, false, wall);
        }
    }

    /// All containers as they are, without a call.
    pub fn all(&self) -> Vec<Container> {
        self.lock().containers.values().map(|held| held.container.clone()).collect()
    }

    /// Looks at all containers, each with what it was made from, without a call.
    pub fn look(&self, mut each: impl FnMut(&Container, Option<&ContainerSpec>)) {
        self.lock().containers.values().for_each(|held| each(&held.container, held.spec.as_ref()));
    }

    /// Whether one of the containers is so, without a call.
    pub fn any(&self, is: impl Fn(&Container, Option<&ContainerSpec>) -> bool) -> bool {
        self.lock().containers.values().any(|held| is(&held.container, held.spec.as_ref()))
    }

    /// Calls `told` whenever something happens to a container. It must not look at the engine itself.
    pub fn on_change(&self, told: impl Fn() + Send + Sync + 'static) {
        self.lock().told = Some(Box::new(told));
    }

    /// Changes whenever something happens to a container.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// What a container was made from.
    pub fn spec_of(&self, container: &str) -> Option<ContainerSpec> {
        self.lock().find_mut(container).and_then(|held| held.spec.clone())
    }

    /// The calls since the last time, in order: which, and of what.
    pub fn take_calls(&self) -> Vec<(Op, String)> {
        std::mem::take(&mut self.lock().calls)
    }
}

fn image(reference: &str, digest: &str) -> Image {
    let repository = crate::reference::by_digest(reference, digest);
    Image { id: format!("{digest}-id"), digests: vec![repository] }
}

impl fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeEngine({} containers)", self.lock().containers.len())
    }
}
