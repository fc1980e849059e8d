//! The cluster in numbers, for whoever watches it.

use std::collections::BTreeMap;

use evenkeel_api::host::Availability;
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{ConditionType, Phase, Rollout};
use evenkeel_metrics::{HostState, RolloutState, ServiceTally, Tally};
use evenkeel_plan::service::{Host, Lack, Service, World};

/// By service: copies that no host takes.
pub(super) type Pending = BTreeMap<ServiceId, BTreeMap<Lack, u32>>;

/// The cluster in numbers: as `evenkeel status` says it, from the same records.
pub(super) fn tally(world: &World, pending: &Pending) -> Tally {
    let services = world.services.iter().filter_map(|(id, service)| {
        let pending = pending.get(id).cloned().unwrap_or_default();
        Some((id.clone(), one_service(service, pending)?))
    });
    let hosts = world.hosts.iter().filter_map(|(name, host)| Some((name.clone(), one_host(host)?)));
    let brakes = world.brakes.as_ref().map(|brakes| &brakes.value);
    Tally {
        services: services.collect(),
        hosts: hosts.collect(),
        held_hosts: brakes.map_or(0, |brakes| brakes.held.len()),
        held_deletions: brakes.map_or(0, |brakes| brakes.deletions.len()),
    }
}

/// None of what is being taken down: that nothing of it is ready is no news.
fn one_service(service: &Service, pending: BTreeMap<Lack, u32>) -> Option<ServiceTally> {
    let accepted = service.accepted.as_ref().map(|accepted| &accepted.value);
    if accepted.is_some_and(|accepted| accepted.deleting)
        || (accepted.is_none() && service.document.is_none())
    {
        return None;
    }
    let status = service.status.as_ref().map(|status| &status.value);
    let valid =
        status.and_then(|status| status.condition(ConditionType::Valid)).is_none_or(|valid| valid.status);
    let copies = status.and_then(|status| status.copies).unwrap_or_default();
    let rollout = service.rollout.as_ref().map(|rollout| &rollout.value);
    let newest = accepted.and_then(|accepted| accepted.template);
    let rejected = rollout.zip(newest).is_some_and(|(rollout, newest)| rollout.rejected.contains(&newest));
    let held = service.pin.as_ref().is_some_and(|pin| pin.value.pause);
    Some(ServiceTally {
        valid,
        wanted: copies.desired,
        running: copies.running,
        ready: copies.ready,
        pending,
        rollout: rollout.map_or(RolloutState::Done, |rollout| state(rollout, held)),
        rejected,
    })
}

fn state(rollout: &Rollout, held: bool) -> RolloutState {
    match rollout.phase {
        _ if held || rollout.held => RolloutState::Held,
        Phase::Done => RolloutState::Done,
        Phase::Rolling => RolloutState::Rolling,
        Phase::Paused { .. } => RolloutState::Paused,
    }
}

/// None of a host that is not taken in, or leaves.
fn one_host(host: &Host) -> Option<HostState> {
    let availability = host.availability()?;
    if host.is_removed() {
        return None;
    }
    Some(match (&host.alive, availability) {
        (None, _) => HostState::Gone,
        (Some(_), Availability::Active) => HostState::Active,
        (Some(_), Availability::Pause) => HostState::Paused,
        (Some(_), Availability::Drain) => HostState::Drained,
    })
}

#[cfg(test)]
mod tests {
    use evenkeel_api::host::HostSpec;
    use evenkeel_api::meta::Metadata;
    use evenkeel_api::record::{Accepted, Alive, BrakeState, Condition, Copies, Pin, Status, Timestamp};
    use evenkeel_api::service::ServiceSpec;
    use evenkeel_plan::service::At;

    use super::*;

    fn at<T>(value: T) -> At<T> {
        At { value, mod_revision: 9, create_revision: 1 }
    }

    fn accepted<S>(spec: S) -> Accepted<S> {
        Accepted {
            source_revision: 9,
            create_revision: 1,
            template: Some(9),
            deleting: false,
            metadata: Metadata::default(),
            spec,
        }
    }

    fn service(rollout: Rollout) -> Service {
        let valid = Condition {
            kind: ConditionType::Valid,
            status: false,
            reason: "Invalid".into(),
            message: String::new(),
            since: Timestamp(0),
        };
        let copies = Some(Copies { desired: 3, running: 2, ready: 1, updated: 1 });
        Service {
            accepted: Some(at(accepted(ServiceSpec::default()))),
            rollout: Some(at(rollout)),
            status: Some(at(Status { conditions: vec![valid], copies, ..Status::default() })),
            ..Service::default()
        }
    }

    #[test]
    fn a_service_is_counted_as_its_status_says() {
        let pending = BTreeMap::from([(Lack::Memory, 1)]);
        let counted = |rollout| one_service(&service(rollout), pending.clone()).unwrap();
        let why = || Phase::Paused { why: "a copy failed".into() };
        let paused = counted(Rollout { phase: why(), ..Rollout::default() });
        let expected = ServiceTally {
            valid: false,
            wanted: 3,
            running: 2,
            ready: 1,
            pending: pending.clone(),
            rollout: RolloutState::Paused,
            rejected: false,
        };
        assert_eq!(paused, expected);
        let held = counted(Rollout { phase: why(), held: true, ..Rollout::default() });
        assert_eq!(held.rollout, RolloutState::Held);
        // A template that was rejected long ago is no news; the newest one is.
        for (rejected, is_news) in [(8, false), (9, true)] {
            let tally = counted(Rollout { rejected: [rejected].into(), ..Rollout::default() });
            assert_eq!((tally.rejected, tally.rollout), (is_news, RolloutState::Done), "{rejected}");
        }
        let mut pinned = service(Rollout { phase: Phase::Rolling, ..Rollout::default() });
        assert_eq!(one_service(&pinned, pending.clone()).unwrap().rollout, RolloutState::Rolling);
        pinned.pin = Some(at(Pin { pause: true, ..Pin::default() }));
        assert_eq!(one_service(&pinned, pending.clone()).unwrap().rollout, RolloutState::Held);
    }

    #[test]
    fn what_is_taken_down_or_left_the_cluster_is_not_counted() {
        let mut gone = service(Rollout::default());
        if let Some(accepted) = &mut gone.accepted {
            accepted.value.deleting = true;
        }
        assert_eq!(one_service(&gone, BTreeMap::new()), None);
        assert_eq!(one_service(&Service::default(), BTreeMap::new()), None);
        assert_eq!(one_host(&Host::default()), None);
    }

    #[test]
    fn hosts_are_counted_by_state_and_brakes_by_what_they_hold() {
        let host = |availability, alive: bool| Host {
            document: None,
            accepted: Some(at(accepted(HostSpec {
                address: [10, 0, 0, 1].into(),
                availability,
                reserved: None,
            }))),
            alive: alive.then(|| Alive { boot_id: "b1".into(), incarnation: 1 }),
            ..Host::default()
        };
        let mut world = World::default();
        use Availability as A;
        for (name, availability, alive) in [
            ("h1", None, true),
            ("h2", Some(A::Drain), true),
            ("h3", Some(A::Pause), true),
            ("h4", None, false),
        ] {
            let mut host = host(availability, alive);
            host.document = document();
            world.hosts.insert(name.parse().unwrap(), host);
        }
        world.brakes =
            Some(at(BrakeState { held: [("h4".parse().unwrap(), 1)].into(), ..BrakeState::default() }));
        let tally = tally(&world, &Pending::new());
        let states: Vec<HostState> = tally.hosts.values().copied().collect();
        assert_eq!(states, [HostState::Active, HostState::Drained, HostState::Paused, HostState::Gone]);
        assert_eq!((tally.held_hosts, tally.held_deletions), (1, 0));
    }

    fn document() -> Option<evenkeel_plan::service::Document<HostSpec>> {
        let parsed = Err("only that it is there counts".to_owned());
        Some(evenkeel_plan::service::Document { mod_revision: 9, create_revision: 1, parsed })
    }
}
