//! Cases of one rule each.

use std::time::Duration;

use evenkeel_api::healthcheck::{HealthCheckSpec, ProbeKind, Target};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{CheckState, ConditionType, Health, InstanceState, Phase, Timestamp, Verdict};
use evenkeel_api::service::{Attribute, Constraint, FailureAction};

use super::*;

pub(super) fn check() -> Check {
    let spec = HealthCheckSpec {
        target: Target { service: "web".parse().unwrap() },
        probe: ProbeKind::Tcp,
        port: None,
        path: None,
        method: None,
        header: BTreeMap::new(),
        command: None,
        interval: None,
        timeout: None,
        retries: None,
        success_before_passing: None,
        start_period: None,
        start_interval: None,
        effects: None,
    };
    Check { spec, revision: 7 }
}

pub(super) fn set_check(lab: &mut Lab, check: Option<Check>) {
    let checks = &mut lab.model.world.services.get_mut(&id("shop/web")).unwrap().checks;
    checks.clear();
    checks.extend(check.map(|check| ("tcp".parse().unwrap(), check)));
}

fn judge(lab: &mut Lab, verdict: Verdict) {
    for copy in lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut() {
        let started = copy.observed.as_ref().unwrap().started.unwrap();
        let state = CheckState { verdict, since: Timestamp(0), revision: 7, evidence: "seen".into() };
        copy.health = Some(Health { started, checks: [("tcp".parse().unwrap(), state)].into() });
    }
}

#[test]
fn a_new_check_leaves_ready_copies_as_they_are_until_it_fails() {
    let mut lab = Lab::new(2);
    lab.put("shop/web", spec("web:1", 2));
    lab.seconds(1);
    set_check(&mut lab, Some(check()));
    lab.seconds(1);
    assert_eq!(lab.ready("shop/web"), 2, "no verdict yet");
    judge(&mut lab, Verdict::Starting);
    lab.seconds(1);
    assert_eq!(lab.ready("shop/web"), 2);
    judge(&mut lab, Verdict::Unhealthy);
    lab.seconds(1);
    assert_eq!(lab.ready("shop/web"), 0);
    judge(&mut lab, Verdict::Starting);
    lab.seconds(1);
    assert_eq!(lab.ready("shop/web"), 0, "what failed must pass again");
    judge(&mut lab, Verdict::Healthy);
    lab.seconds(1);
    assert_eq!(lab.ready("shop/web"), 2);
    lab.model.memory = Memory::new();
    judge(&mut lab, Verdict::Starting);
    lab.seconds(1);
    assert_eq!(lab.ready("shop/web"), 2, "a new leader believes the endpoints of the same run");
}

#[test]
fn a_new_run_is_not_ready_before_its_first_pass() {
    let mut lab = Lab::new(1);
    lab.put("shop/web", spec("web:1", 1));
    lab.settle();
    set_check(&mut lab, Some(check()));
    lab.seconds(1);
    assert_eq!(lab.ready("shop/web"), 0);
    judge(&mut lab, Verdict::Healthy);
    lab.seconds(1);
    assert_eq!(lab.ready("shop/web"), 1);
    let copy = lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut().next().unwrap();
    copy.observed = Some(observed(InstanceState::Running, 999));
    lab.settle();
    assert_eq!(lab.ready("shop/web"), 0, "the verdict was on the run before");
}

/// Those of one template pass, all others do not.
fn pass_only(lab: &mut Lab, template: i64) {
    judge(lab, Verdict::Unhealthy);
    for copy in lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut() {
        if copy.record.as_ref().is_some_and(|record| record.value.template.revision == template) {
            let health = copy.health.as_mut().unwrap();
            health.checks.values_mut().for_each(|state| state.verdict = Verdict::Healthy);
        }
    }
}

#[test]
fn two_copies_of_a_slot_that_serve_nobody_do_not_hold_up_a_new_template() {
    let drain = |lab: &mut Lab, on| {
        lab.put_host(
            1,
            |spec| spec.availability = Some(if on { Availability::Drain } else { Availability::Active }),
            &[],
        );
    };
    for why in ["drained for a while", "drained", "lost", "exchanged"] {
        let mut lab = Lab::new(4);
        let mut wanted = spec("web:1", 4);
        wanted.deploy.update_config.order = Some(UpdateOrder::StartFirst);
        let first = lab.put("shop/web", wanted.clone());
        lab.settle();
        set_check(&mut lab, Some(check()));
        lab.seconds(1);
        judge(&mut lab, Verdict::Unhealthy);
        match why {
            "drained for a while" | "drained" => drain(&mut lab, true),
            "lost" => lab.host_gone("h1"),
            _ => {
                wanted.template.image = "web:2".into();
                lab.put("shop/web", wanted.clone());
            }
        }
        for _ in 0..30 {
            lab.seconds(1);
            judge(&mut lab, Verdict::Unhealthy);
        }
        let live = lab.running("shop/web");
        assert_eq!(live.len(), 5, "{why}: two copies of one slot: {live:?}");
        if why == "drained for a while" {
            drain(&mut lab, false);
        }
        wanted.template.image = "web:3".into();
        let last = lab.put("shop/web", wanted);
        assert_ne!(first, last);
        for _ in 0..120 {
            lab.seconds(1);
            pass_only(&mut lab, last);
        }
        assert_eq!(lab.templates("shop/web"), vec![last; 4], "{why}: {:?}", lab.phase("shop/web"));
    }
}

#[test]
fn continue_goes_on_past_failures_and_a_ratio_allows_some() {
    for (action, ratio, goes_on) in [
        (FailureAction::Continue, None, true),
        (FailureAction::Pause, Some(0.5), true),
        (FailureAction::Pause, Some(0.25), true),
        (FailureAction::Pause, Some(0.2), false),
    ] {
        let mut wanted = spec("web:1", 4);
        wanted.deploy.update_config.failure_action = Some(action);
        wanted.deploy.update_config.max_failure_ratio = ratio;
        let mut lab = Lab::new(4);
        lab.put("shop/web", wanted.clone());
        lab.seconds(1);
        wanted.template.image = "web:2".into();
        lab.bad.insert("web:2".into(), InstanceState::failed("broken"));
        lab.put("shop/web", wanted);
        lab.seconds(7);
        let paused = matches!(lab.phase("shop/web"), Phase::Paused { .. });
        assert_eq!(!paused, goes_on, "{action:?} {ratio:?}");
    }
}

#[test]
fn parallelism_zero_exchanges_all_at_once_and_delay_spaces() {
    let mut wanted = spec("web:1", 4);
    wanted.deploy.update_config.parallelism = Some(0);
    wanted.deploy.stop_delay = Some(Span::default());
    let mut lab = Lab::new(4);
    lab.put("shop/web", wanted.clone());
    lab.seconds(1);
    wanted.template.image = "web:2".into();
    let target = lab.put("shop/web", wanted.clone());
    lab.run(Duration::from_millis(100));
    assert_eq!(lab.templates("shop/web"), vec![target; 4]);
    lab.seconds(6);
    wanted.deploy.update_config.parallelism = Some(2);
    wanted.deploy.update_config.delay = Some(Span::seconds(30));
    wanted.template.image = "web:3".into();
    let target = lab.put("shop/web", wanted);
    lab.seconds(29);
    assert_eq!(lab.templates("shop/web").iter().filter(|t| **t == target).count(), 2);
    lab.seconds(40);
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![target; 4], Phase::Done));
}

#[test]
fn the_last_ten_templates_are_kept_and_those_in_use() {
    let mut lab = Lab::new(1);
    let mut wanted = spec("web:0", 1);
    wanted.deploy.stop_delay = Some(Span::default());
    let mut numbers = Vec::new();
    for n in 0..14 {
        wanted.template.image = format!("web:{n}");
        numbers.push(lab.put("shop/web", wanted.clone()));
        lab.seconds(10);
    }
    let kept: Vec<i64> = lab.service("shop/web").revisions.keys().copied().collect();
    assert_eq!(kept, numbers[4..]);
}

#[test]
fn a_new_template_during_a_rollout_turns_it_round() {
    let mut lab = Lab::new(4);
    lab.put("shop/web", spec("web:1", 4));
    lab.seconds(1);
    lab.put("shop/web", spec("web:2", 4));
    lab.seconds(14);
    let target = lab.put("shop/web", spec("web:3", 4));
    for _ in 0..80 {
        lab.seconds(1);
        assert!(lab.ready("shop/web") >= 3);
    }
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![target; 4], Phase::Done));
}

#[test]
fn changes_beside_the_template_touch_no_copy() {
    let mut lab = Lab::new(2);
    lab.put("shop/web", spec("web:1", 2));
    lab.seconds(1);
    let before = lab.service("shop/web").copies.clone();
    let mut wanted = spec("web:1", 2);
    wanted.limits.memory = Some(Bytes(1 << 28));
    wanted.deploy.placement.constraints.clear();
    wanted.deploy.update_config.order = Some(UpdateOrder::StartFirst);
    wanted.deploy.labels.insert("team".into(), "shop".into());
    lab.put("shop/web", wanted);
    lab.seconds(5);
    assert_eq!(lab.service("shop/web").copies, before);
    assert_eq!(lab.service("shop/web").revisions.len(), 1);
}

#[test]
fn a_template_has_its_documents_revision_for_a_number_unless_a_lost_past_may_have_had_that() {
    for (above, number) in [(-1, 0), (0, 1), (1, 2)] {
        let mut lab = Lab::new(1);
        let next = lab.model.revision + 1;
        lab.model.world.floor = next + above;
        assert_eq!(lab.put("shop/web", spec("web:1", 1)), next);
        lab.settle();
        let accepted = lab.service("shop/web").accepted.as_ref().unwrap();
        assert_eq!(accepted.value.template, Some(next + number), "the floor is above it by {above}");
    }
}

#[test]
fn a_constraint_asks_for_the_labels_of_a_hosts_document() {
    let mut wanted = spec("web:1", 2);
    wanted.deploy.placement.constraints =
        vec![Constraint { attribute: Attribute::Label("disk".into()), equal: true, value: "ssd".into() }];
    let mut lab = Lab::new(3);
    lab.put_host(2, |_| {}, &[("disk", "ssd")]);
    lab.put_host(3, |_| {}, &[("disk", "hdd")]);
    lab.put("shop/web", wanted);
    lab.settle();
    assert_eq!(lab.running("shop/web"), ["1@h2", "2@h2"]);
}

#[test]
fn a_missing_network_is_named() {
    let mut wanted = spec("web:1", 1);
    wanted.template.networks.insert("lan".parse().unwrap(), Default::default());
    let mut lab = Lab::new(2);
    lab.put("shop/web", wanted);
    lab.settle();
    let degraded = lab.condition("shop/web", ConditionType::Degraded);
    assert!(degraded.ends_with("there is no Network named lan"), "{degraded}");
}
