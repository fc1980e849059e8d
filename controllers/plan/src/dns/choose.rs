//! Which of a service's copies its names lead to.

use std::collections::BTreeSet;

use evenkeel_api::name::{HostName, ServiceId};
use evenkeel_api::record::{Desired, Health};
use evenkeel_api::record::{Endpoint, InstanceState, Verdict};
use evenkeel_api::service::EndpointsPolicy;

use super::world::{Here, World};

/// How good a copy is as an answer; the best that there are make the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Ready, on a host that is there.
    Ready,
    /// Not ready, but better than an empty answer.
    LastResort,
    /// Ready when its host was last heard of. Only ever given where a name would become empty: then the
    /// chance that host or store is merely silent is worth more than no address.
    ReadyOnGone,
    /// Neither; the last of all last resorts.
    LastResortOnGone,
}

/// What becomes of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is an answer, and so good a one.
    Answer(Rank),
    /// It would be one as good as this, but the service wants no answer rather than such a one.
    Unwanted(Rank),
    /// It does not run.
    Away,
}

impl Standing {
    /// `None`: it is no answer at all.
    pub(super) fn rank(self) -> Option<Rank> {
        match self {
            Self::Answer(rank) => Some(rank),
            Self::Unwanted(_) | Self::Away => None,
        }
    }
}

/// What becomes of the copy in the names of its service.
pub(super) fn stand(
    endpoint: &Endpoint,
    policy: EndpointsPolicy,
    world: &World,
    here: &Here,
    gone: &BTreeSet<HostName>,
) -> Standing {
    let own = endpoint.host == here.host;
    let ready = match if own { local(endpoint, world, here) } else { Local::Silent } {
        Local::Away => return Standing::Away,
        Local::Sick => false,
        Local::Silent => endpoint.ready,
    };
    // This very process proves that its own host is there.
    let gone = !own && gone.contains(&endpoint.host);
    let rank = match (ready, gone) {
        (true, false) => Rank::Ready,
        (true, true) => Rank::ReadyOnGone,
        (false, false) => Rank::LastResort,
        (false, true) => Rank::LastResortOnGone,
    };
    if policy == EndpointsPolicy::Empty && !ready { Standing::Unwanted(rank) } else { Standing::Answer(rank) }
}

/// What this host knows of its own copy.
enum Local {
    /// It does not run, or is on its way out.
    Away,
    /// It runs, and must not serve.
    Sick,
    /// Nothing that speaks against what the leader says. Local knowledge takes copies out of names and
    /// never puts them in: that is the leader's, who may have taken it out for a drain or a rollout.
    Silent,
}

fn local(endpoint: &Endpoint, world: &World, here: &Here) -> Local {
    // A copy that is not in the file is not known to be gone: the file may be the older of the two.
    let Some(copy) = here.instances.as_ref().and_then(|local| local.instances.get(&endpoint.id)) else {
        return Local::Silent;
    };
    if copy.desired != Desired::Run || copy.observed.state != InstanceState::Running {
        return Local::Away;
    }
    if copy.observed.engine_health.is_some_and(|verdict| verdict != Verdict::Healthy) {
        return Local::Sick;
    }
    let health = here.health.as_ref().and_then(|local| local.health.get(&endpoint.id));
    match health {
        // It was started anew, and no check has looked at this run yet.
        Some(health)
            if Some(health.started) < copy.observed.started && counts(&endpoint.id.service, world) =>
        {
            Local::Sick
        }
        Some(health) if fails(health, &endpoint.id.service, world) => Local::Sick,
        _ => Local::Silent,
    }
}

/// Whether any check of the service counts for names.
fn counts(service: &ServiceId, world: &World) -> bool {
    world.checks.values().any(|target| target == service)
}

/// Whether a check that counts for names fails.
fn fails(health: &Health, service: &ServiceId, world: &World) -> bool {
    health.checks.iter().any(|(name, state)| {
        let check = ServiceId { namespace: service.namespace.clone(), name: name.clone() };
        state.verdict == Verdict::Unhealthy && world.checks.get(&check) == Some(service)
    })
}
