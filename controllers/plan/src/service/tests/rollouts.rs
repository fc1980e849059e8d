//! How many copies a rollout exchanges at once, and what it waits for.

use std::time::Duration;

use evenkeel_api::healthcheck::Effects;
use evenkeel_api::record::{CheckState, Health, Verdict};
use evenkeel_api::service::{FailureAction, Mount, MountSource};

use super::cases::{check, set_check};
use super::rollbacks::is_of;
use super::*;

/// Seconds of life in which checks find of each copy, by its slot and template, what is said.
fn live(lab: &mut Lab, seconds: u64, verdict: impl Fn(u32, i64) -> Verdict) {
    for _ in 0..seconds {
        lab.seconds(1);
        for copy in lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut() {
            let Some(started) = copy.observed.as_ref().and_then(|observed| observed.started) else {
                continue;
            };
            let record = &copy.record.as_ref().unwrap().value;
            let verdict = verdict(record.slot.number().unwrap(), record.template.revision);
            let state = CheckState { verdict, since: Timestamp(0), revision: 7, evidence: "seen".into() };
            copy.health = Some(Health { started, checks: [("tcp".parse().unwrap(), state)].into() });
        }
    }
    lab.settle();
}

/// A service with a check that all copies pass.
fn checked(hosts: u32, check: Check, spec: &ServiceSpec) -> Lab {
    let mut lab = Lab::new(hosts);
    lab.put("shop/web", spec.clone());
    lab.settle();
    set_check(&mut lab, Some(check));
    live(&mut lab, 60, |_, _| Verdict::Healthy);
    lab
}

/// Copies of a template that shall run.
fn wanted(lab: &Lab, template: i64) -> usize {
    lab.templates("shop/web").iter().filter(|of| **of == template).count()
}

#[test]
fn a_rollout_that_goes_on_past_failures_waits_for_no_slot_that_failed_and_leaves_none_behind() {
    for (order, phase) in [(UpdateOrder::StopFirst, Phase::Done), (UpdateOrder::StartFirst, Phase::Rolling)] {
        let mut document = spec("web:1", 3);
        document.deploy.update_config.failure_action = Some(FailureAction::Continue);
        document.deploy.update_config.order = Some(order);
        let mut lab = checked(4, check(), &document);
        document.template.image = "web:2".into();
        let target = lab.put("shop/web", document);
        // Of the new copies that of the first slot does not serve; where its predecessor does, that is left to it.
        live(&mut lab, 120, |slot, template| {
            if slot == 1 && template == target { Verdict::Unhealthy } else { Verdict::Healthy }
        });
        let new = lab.service("shop/web").copies.values().filter(|copy| is_of(copy, target));
        let served = new.filter(|copy| copy.record.as_ref().unwrap().value.slot.number() != Some(1));
        assert_eq!((served.count(), lab.phase("shop/web")), (2, phase), "{order:?}");
        live(&mut lab, 60, |_, _| Verdict::Healthy);
        assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![target; 3], Phase::Done));
    }
}

#[test]
fn the_next_copy_waits_until_the_check_that_a_rollout_asks_has_passed() {
    let mut for_rollouts = check();
    for_rollouts.spec.effects = Some(Effects { dns: Some(false), ..Effects::default() });
    let mut lab = checked(3, for_rollouts, &spec("web:1", 3));
    let target = lab.put("shop/web", spec("web:2", 3));
    live(&mut lab, 60, |_, template| if template == target { Verdict::Starting } else { Verdict::Healthy });
    assert_eq!(
        (wanted(&lab, target), lab.ready("shop/web")),
        (1, 3),
        "it serves, and nothing is known of it"
    );
    live(&mut lab, 60, |_, _| Verdict::Healthy);
    assert_eq!((wanted(&lab, target), lab.phase("shop/web")), (3, Phase::Done));
}

#[test]
fn a_missing_copy_counts_as_one_of_those_that_are_exchanged_at_once() {
    for (parallelism, exchanged) in [(1, 0), (2, 1), (3, 2)] {
        let mut document = spec("web:1", 4);
        document.deploy.disconnect.lost_after = Some("10m".parse().unwrap());
        document.deploy.update_config.parallelism = Some(parallelism);
        let mut lab = Lab::new(4);
        let old = lab.put("shop/web", document.clone());
        lab.seconds(60);
        lab.host_gone("h1");
        lab.seconds(60);
        document.template.image = "web:2".into();
        lab.put("shop/web", document);
        lab.seconds(1);
        assert_eq!(wanted(&lab, old), 4 - exchanged, "{parallelism} at once");
        assert!(lab.running("shop/web").iter().any(|copy| copy.ends_with("@h1")), "nothing is known of it");
    }
}

#[test]
fn copies_that_serve_nobody_are_exchanged_no_faster_than_others() {
    let mut lab = checked(4, check(), &spec("web:1", 4));
    live(&mut lab, 5, |_, _| Verdict::Unhealthy);
    assert_eq!(lab.ready("shop/web"), 0);
    lab.put("shop/web", spec("web:2", 4));
    for second in 0..5 {
        live(&mut lab, 1, |_, _| Verdict::Unhealthy);
        assert_eq!(lab.running("shop/web").len(), 3, "one is on its way out, after {second} s");
    }
}

#[test]
fn where_there_can_be_only_one_copy_it_stops_before_the_next_one_starts() {
    for exclusive in [false, true] {
        let mut document = spec("web:1", 1);
        document.deploy.update_config.order = Some(UpdateOrder::StartFirst);
        if exclusive {
            document.template.exclusive = true;
        } else {
            document.template.mounts.push(Mount {
                target: "/data".into(),
                source: MountSource::Volume { name: "data".parse().unwrap(), nocopy: false },
                read_only: false,
            });
        }
        let mut lab = Lab::new(2);
        lab.put("shop/web", document.clone());
        lab.seconds(60);
        document.template.image = "web:2".into();
        let target = lab.put("shop/web", document);
        for _ in 0..300 {
            lab.run(Duration::from_millis(100));
            let copies = lab.service("shop/web").copies.values();
            let runs = copies.filter(|copy| {
                copy.observed.as_ref().is_some_and(|seen| seen.state == InstanceState::Running)
            });
            assert!(runs.count() <= 1, "exclusive: {exclusive}");
        }
        assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![target], Phase::Done));
    }
}
