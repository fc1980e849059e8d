//! What to do next for one instance. One step at a time: after it, what is known has changed, and the next
//! decision is taken from that. An instance for which nothing is to be done gives no action.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_api::local::LocalNetwork;
use evenkeel_api::name::{HostName, InstanceId, NetworkName};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{Address, Desired, Instance, InstanceState};
use evenkeel_api::service::{Limits, ServiceSpec, Template};

use super::container::{Container, ContainerSpec, ContainerState};
use super::memory::Memory;
use super::policy::{self, HostPolicy};
use super::restart::Verdict;
use super::spec::{self, Making};

mod images;

use images::{image_here, right_image, wanted_image};

/// All that is known of one instance.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The cluster's uid.
    pub uid: &'a str,
    /// This host.
    pub host: &'a HostName,
    /// The instance.
    pub id: &'a InstanceId,
    /// What the leader wants of it; `None`: there is no such record.
    pub record: Option<&'a Instance>,
    /// Its template, once that is known.
    pub template: Option<&'a Template>,
    /// The newest accepted service.
    pub accepted: Option<&'a ServiceSpec>,
    /// What its template's image was pinned to.
    pub pin: Option<&'a str>,
    /// Its container.
    pub container: Option<&'a Container>,
    /// What was done and failed before.
    pub memory: &'a Memory,
    /// Its addresses, from the book; or why there are none.
    pub addresses: Result<&'a BTreeMap<NetworkName, Ipv4Addr>, &'a str>,
    /// The networks that stand here.
    pub networks: &'a BTreeMap<NetworkName, LocalNetwork>,
    /// The host's own addresses.
    pub own: &'a [Address],
    /// What the host allows.
    pub policy: &'a HostPolicy,
    /// The resolver file of this instance, on the host.
    pub resolv: &'a str,
    /// The file on the host that tells an exclusive instance its token.
    pub fence: &'a str,
    /// Why its container may not be started: of an exclusive one that is for the watchdog to say.
    pub uncovered: Option<&'a str>,
    /// Whether the store's word is believed, so that something may be stopped or removed for it.
    pub may_destroy: bool,
    /// Monotonic time.
    pub now: Duration,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Get the image.
    Pull {
        /// Under this reference.
        reference: String,
    },
    /// Compare the container's image with the one of this reference.
    Verify {
        /// By digest.
        reference: String,
    },
    /// Make the container, and the volumes that it names.
    Create {
        /// The container.
        spec: Box<ContainerSpec>,
        /// By name, with their labels.
        volumes: BTreeMap<String, BTreeMap<String, String>>,
    },
    /// Start the container.
    Start,
    /// Change the container's limits.
    Update(Limits),
    /// Ask the container to stop; kill it after the grace.
    Stop {
        /// The grace.
        grace: Span,
    },
    /// Remove the container.
    Remove,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// What to do; then decide again.
    pub action: Option<Action>,
    /// How the instance is; `None`: as it was.
    pub state: Option<InstanceState>,
    /// Decide again at that time, should nothing happen before.
    pub wake: Option<Duration>,
    /// Nothing of it is left: forget it.
    pub gone: bool,
}

impl Decision {
    fn of(state: InstanceState) -> Self {
        Self { state: Some(state), ..Self::default() }
    }

    fn act(action: Action) -> Self {
        Self { action: Some(action), ..Self::default() }
    }

    fn with(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    fn until(mut self, wake: Duration) -> Self {
        self.wake = Some(wake);
        self
    }
}

fn waiting(why: impl Into<String>) -> Decision {
    Decision::of(InstanceState::Waiting { why: why.into() })
}

fn failed(why: impl Into<String>) -> Decision {
    Decision::of(InstanceState::failed(why))
}

/// How long a container that the engine is at work on is left alone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How soon the watchdog is asked again.
const COVER_AGAIN: Duration = Duration::from_millis(50);

/// The next step for one instance.
pub fn decide(view: &View<'_>) -> Decision {
    match view.record.map(|record| record.desired) {
        None => match end(view) {
            Some(step) => step,
            None => Decision { gone: true, ..Decision::default() },
        },
        Some(Desired::Stop | Desired::Lost) => match end(view) {
            Some(step) => step,
            None => Decision::of(InstanceState::Stopped { code: view.memory.last_code }),
        },
        Some(Desired::Run | Desired::Drain) => match view.container {
            Some(container) => keep(view, container),
            None => make(view),
        },
    }
}

/// Towards no container; `None`: there is none.
fn end(view: &View<'_>) -> Option<Decision> {
    let container = view.container?;
    if !view.may_destroy {
        return Some(Decision::default());
    }
    Some(match container.state {
        ContainerState::Running | ContainerState::Paused => {
            // Without its template, an orphan gets the default grace.
            let fallback = Template::default();
            let grace = spec::stop_grace(view.accepted, view.template.unwrap_or(&fallback));
            Decision::act(Action::Stop { grace })
        }
        ContainerState::Changing => Decision::default().until(view.now + LOOK_AGAIN),
        ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Dead => {
            Decision::act(Action::Remove)
        }
    })
}

/// A container that is there shall run.
fn keep(view: &View<'_>, container: &Container) -> Decision {
    if let Some(step) = right_image(view, container) {
        return step;
    }
    match container.state {
        ContainerState::Running if ends(view, container) => end_run(view),
        ContainerState::Running => {
            let step = Decision::of(InstanceState::Running);
            match limits(view, container) {
                Some(limits) => step.with(Action::Update(limits)),
                None => match view.memory.limits_again {
                    Some(again) if view.now < again => step.until(again),
                    _ => step,
                },
            }
        }
        ContainerState::Paused => {
            waiting(format!("paused by hand; `docker unpause {}` lets it run again", container.name))
        }
        ContainerState::Exited { .. } if may_start_anew(view, container) => match view.uncovered {
            None => waiting("restarted for its health").with(Action::Start),
            Some(why) => waiting(why).until(view.now + COVER_AGAIN),
        },
        ContainerState::Exited { code, oom } => restart(view, code, oom || view.memory.oom),
        ContainerState::Created => first_start(view),
        ContainerState::Dead if view.may_destroy => Decision::act(Action::Remove),
        ContainerState::Dead => Decision::default(),
        ContainerState::Changing => Decision::default().until(view.now + LOOK_AGAIN),
    }
}

/// Whether this run of the container is the one that the leader wants to end for a new one.
fn ends(view: &View<'_>, container: &Container) -> bool {
    let restart = view.record.and_then(|record| record.restart);
    restart.is_some_and(|restart| Some(restart.run) == container.started)
}

/// Whether a run has ended that was to end, with nothing in the way of a new one.
fn may_start_anew(view: &View<'_>, container: &Container) -> bool {
    ends(view, container) && view.memory.trouble.is_none() && !view.memory.address_taken
}

/// A run that shall end does so gently: when names have not led to it for long enough.
fn end_run(view: &View<'_>) -> Decision {
    let step = Decision::of(InstanceState::Running);
    let restart = view.record.and_then(|record| record.restart);
    let (Some(restart), Some((_, since))) = (restart, view.memory.asked) else { return step };
    let due = since.saturating_add(restart.after.0);
    if view.now < due {
        return step.until(due);
    }
    if !view.may_destroy {
        return step;
    }
    let fallback = Template::default();
    let grace = spec::stop_grace(view.accepted, view.template.unwrap_or(&fallback));
    step.with(Action::Stop { grace })
}

fn restart(view: &View<'_>, code: i64, oom: bool) -> Decision {
    if view.memory.address_taken {
        return another_address(view);
    }
    let policy = view.accepted.map(|spec| spec.deploy.restart_policy).unwrap_or_default();
    let exited = match &view.memory.trouble {
        Some(trouble) => InstanceState::failed(trouble.why.clone()),
        None => InstanceState::Exited { code, oom },
    };
    match view.memory.runs.verdict(&policy, code, view.now) {
        Verdict::StartAt(at) if at <= view.now => match view.uncovered {
            None => Decision::of(exited).with(Action::Start),
            Some(why) => waiting(why).until(view.now + COVER_AGAIN),
        },
        Verdict::StartAt(at) => Decision::of(exited).until(at),
        Verdict::Rest => Decision::of(exited),
        Verdict::UsedUp(why) => failed(why),
    }
}

fn first_start(view: &View<'_>) -> Decision {
    if view.memory.address_taken {
        return another_address(view);
    }
    match (&view.memory.trouble, view.uncovered) {
        (Some(trouble), _) if view.now < trouble.until => failed(&trouble.why).until(trouble.until),
        (_, Some(why)) => waiting(why).until(view.now + COVER_AGAIN),
        (Some(trouble), None) => failed(&trouble.why).with(Action::Start),
        (None, None) => Decision::of(InstanceState::Created).with(Action::Start),
    }
}

/// An address is fixed when a container is made.
fn another_address(view: &View<'_>) -> Decision {
    let step = waiting("its address is taken by a container that is not evenkeel's; it gets another one");
    if view.may_destroy { step.with(Action::Remove) } else { step }
}

fn limits(view: &View<'_>, container: &Container) -> Option<Limits> {
    let wanted = spec::limits(Some(view.accepted?));
    let memory = view.memory;
    if memory.limits_again.is_some_and(|again| view.now < again) || memory.limits_set == Some(wanted) {
        return None;
    }
    (comparable(&wanted) != comparable(&container.limits)
        || wanted.memory_swap.is_some_and(|swap| container.limits.memory_swap != Some(swap)))
    .then_some(wanted)
}

/// Without what the engine says in several ways. Swap is compared only where something is said of it:
/// else it follows from memory, by the engine's own rule.
fn comparable(limits: &Limits) -> Limits {
    Limits {
        pids: limits.pids.filter(|pids| *pids > 0),
        cpu_shares: limits.cpu_shares.filter(|shares| *shares != 1024),
        memory_swap: None,
        ..*limits
    }
}

/// Towards a container.
fn make(view: &View<'_>) -> Decision {
    let Some(record) = view.record else { return Decision::default() };
    if record.desired == Desired::Drain {
        return waiting("it is on its way out, and its container is gone");
    }
    let Some(template) = view.template else {
        return waiting(format!("template {} has not arrived yet", record.template));
    };
    if let Some(why) = policy::refusal(view.policy, view.host, &view.id.service.namespace, template) {
        return Decision::of(InstanceState::refused(why));
    }
    if let Some(missing) = template.networks().iter().find(|name| !view.networks.contains_key(*name)) {
        return waiting(spec::not_ready(missing, view.host));
    }
    let addresses = match view.addresses {
        Ok(addresses) => addresses,
        Err(why) => return failed(why),
    };
    let image = wanted_image(template, view.pin);
    if let Some(step) = image_here(view, template, &image) {
        return step;
    }
    if let Some(trouble) = view.memory.trouble.as_ref().filter(|trouble| view.now < trouble.until) {
        return failed(&trouble.why).until(trouble.until);
    }
    let built = spec::build(&Making {
        uid: view.uid,
        host: view.host,
        id: view.id,
        reference: &record.template,
        template,
        accepted: view.accepted,
        image: &image,
        addresses,
        networks: view.networks,
        own: view.own,
        resolv: view.resolv,
        fence: record.fence.map(|fence| (fence, view.fence)),
    });
    match built {
        Ok(spec) => {
            let volumes = spec::volumes(view.uid, view.id, template);
            let create = Action::Create { spec: Box::new(spec), volumes };
            let state = view.memory.trouble.as_ref().map(|t| InstanceState::failed(t.why.clone()));
            Decision { action: Some(create), state, ..Decision::default() }
        }
        Err(why) => failed(why),
    }
}
