//! Cases of one rule each.

use std::time::Duration;

use evenkeel_api::healthcheck::{HealthCheckSpec, ProbeKind, Target};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{CheckState, ConditionType, Health, InstanceState, Phase, Timestamp, Verdict};
use evenkeel_api::service::FailureAction;

use super::*;

fn check() -> Check {
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

fn set_check(lab: &mut Lab, check: Option<Check>) {
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

fn ready(lab: &Lab) -> usize {
    lab.service("shop/web").endpoints[&0].value.endpoints.iter().filter(|endpoint| endpoint.ready).count()
}

#[test]
fn a_new_check_leaves_ready_copies_as_they_are_until_it_fails() {
    let mut lab = Lab::new(2);
    lab.put("shop/web", spec("web:1", 2));
    lab.seconds(1);
    set_check(&mut lab, Some(check()));
    lab.seconds(1);
    assert_eq!(ready(&lab), 2, "no verdict yet");
    judge(&mut lab, Verdict::Starting);
    lab.seconds(1);
    assert_eq!(ready(&lab), 2);
    judge(&mut lab, Verdict::Unhealthy);
    lab.seconds(1);
    assert_eq!(ready(&lab), 0);
    judge(&mut lab, Verdict::Starting);
    lab.seconds(1);
    assert_eq!(ready(&lab), 0, "what failed must pass again");
    judge(&mut lab, Verdict::Healthy);
    lab.seconds(1);
    assert_eq!(ready(&lab), 2);
    lab.model.memory = Memory::new();
    judge(&mut lab, Verdict::Starting);
    lab.seconds(1);
    assert_eq!(ready(&lab), 2, "a new leader believes the endpoints of the same run");
}

#[test]
fn a_new_run_is_not_ready_before_its_first_pass() {
    let mut lab = Lab::new(1);
    lab.put("shop/web", spec("web:1", 1));
    lab.settle();
    set_check(&mut lab, Some(check()));
    lab.seconds(1);
    assert_eq!(ready(&lab), 0);
    judge(&mut lab, Verdict::Healthy);
    lab.seconds(1);
    assert_eq!(ready(&lab), 1);
    let copy = lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut().next().unwrap();
    copy.observed = Some(observed(InstanceState::Running, 999));
    lab.settle();
    assert_eq!(ready(&lab), 0, "the verdict was on the run before");
}

#[test]
fn continue_goes_on_past_failures_and_a_ratio_allows_some() {
    for (action, ratio, goes_on) in [
        (FailureAction::Continue, None, true),
        (FailureAction::Pause, Some(0.5), true),
        (FailureAction::Pause, Some(0.2), false),
    ] {
        let mut wanted = spec("web:1", 4);
        wanted.deploy.update_config.failure_action = Some(action);
        wanted.deploy.update_config.max_failure_ratio = ratio;
        let mut lab = Lab::new(4);
        lab.put("shop/web", wanted.clone());
        lab.seconds(1);
        wanted.template.image = "web:2".into();
        lab.bad.insert("web:2".into(), "broken".into());
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
        assert!(ready(&lab) >= 3);
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
fn a_host_that_leaves_the_cluster_leaves_nothing_behind() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    let name = host("h2");
    lab.model.world.hosts.get_mut(&name).unwrap().document = None;
    lab.seconds(10);
    assert!(lab.service("shop/web").copies.values().all(|copy| copy.host != name));
    assert_eq!(ready(&lab), 3);
    assert!(lab.model.world.hosts[&name].accepted.is_none());
}

#[test]
fn suspicion_needs_answers_without_a_pause() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    lab.host_gone("h2");
    lab.seconds(1);
    // Our own reads are not answered for a moment: the count begins again.
    lab.model.memory.observe(&lab.model.world, lab.model.now, false);
    lab.seconds(1);
    assert!(lab.running("shop/web").iter().any(|copy| copy.ends_with("@h2")));
    lab.seconds(2);
    assert!(!lab.running("shop/web").iter().any(|copy| copy.ends_with("@h2")));
}

#[test]
fn clusters_of_each_size_replace_what_one_host_lost_and_brake_for_half() {
    for (hosts, lost, held) in
        [(2, 1, false), (2, 2, true), (3, 1, false), (3, 2, true), (4, 1, false), (4, 2, true), (5, 2, false)]
    {
        let mut lab = Lab::new(hosts);
        lab.put("shop/web", spec("web:1", hosts * 2));
        lab.seconds(60);
        let before = lab.running("shop/web");
        let victims: Vec<String> = (1..=lost).map(|n| format!("h{n}")).collect();
        for victim in &victims {
            lab.host_gone(victim);
        }
        // `status` speaks of it within 5 s.
        lab.seconds(5);
        let on = lab.model.world.brakes.as_ref().map_or(0, |brakes| brakes.value.held.len());
        assert_eq!(on, if held { victims.len() } else { 0 }, "{lost} of {hosts}");
        lab.seconds(3600);
        let stay =
            lab.running("shop/web").iter().filter(|copy| victims.iter().any(|v| copy.ends_with(v))).count();
        assert_eq!(stay > 0, held, "{lost} of {hosts}");
        for victim in &victims {
            lab.host_back(victim);
        }
        lab.seconds(60);
        if held {
            assert_eq!(lab.running("shop/web"), before, "{lost} of {hosts}: back, and nothing moved");
        }
        assert!(lab.model.world.brakes.is_none());
    }
}

#[test]
fn leases_that_end_one_after_the_other_are_hosts_that_went_at_once() {
    // Hosts renew up to 0.7 s apart, and etcd ends leases in steps of 0.5 s.
    for apart in [0, 400, 800, 1200, 1900] {
        let mut lab = Lab::new(4);
        lab.put("shop/web", spec("web:1", 8));
        lab.seconds(60);
        let before = lab.running("shop/web");
        lab.host_gone("h3");
        lab.run(Duration::from_millis(apart));
        lab.host_gone("h4");
        lab.seconds(60);
        assert_eq!(lab.running("shop/web"), before, "{apart} ms apart");
        assert_eq!(lab.model.world.brakes.as_ref().unwrap().value.held.len(), 2);
    }
}

#[test]
fn hosts_that_blink_put_off_the_loss_of_another_by_no_more_than_a_suspicion() {
    let mut lab = Lab::new(2);
    lab.put("shop/web", spec("web:1", 4));
    lab.seconds(60);
    lab.host_gone("h2");
    // Given up 2 s after its lease without doubt.
    lab.run(Duration::from_millis(1900));
    let moved = |lab: &Lab| !lab.running("shop/web").iter().any(|copy| copy.ends_with("@h2"));
    for blink in 0..3 {
        lab.host_gone("h1");
        lab.run(Duration::from_millis(1000));
        assert!(blink > 0 || !moved(&lab), "h1 may have gone together with it");
        lab.host_back("h1");
        lab.run(Duration::from_millis(100));
    }
    assert!(moved(&lab));
}

#[test]
fn leases_of_healthy_hosts_that_die_in_waves_move_nothing() {
    let mut lab = Lab::new(50);
    lab.put("shop/web", spec("web:1", 100));
    lab.seconds(60);
    let before = lab.running("shop/web");
    for _ in 0..10 {
        // All at once after the thaw, and then all but the sixteen that were under way.
        for wave in [1..=50, 17..=50] {
            for n in wave.clone() {
                lab.host_gone(&format!("h{n}"));
            }
            lab.run(Duration::from_millis(500));
            for n in wave {
                lab.host_back(&format!("h{n}"));
            }
            lab.run(Duration::from_millis(6500));
        }
        lab.seconds(10);
    }
    assert_eq!(lab.running("shop/web"), before);
    assert!(lab.model.memory.flapping(lab.model.now).is_empty(), "nobody flaps for that");
}

#[test]
fn a_brake_is_not_pulled_by_hosts_that_never_came() {
    let mut lab = Lab::new(3);
    for n in 4..=8 {
        lab.put_host(n, |_| {}, &[]);
    }
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(20);
    assert!(lab.model.world.brakes.is_none());
    lab.host_gone("h2");
    lab.seconds(6);
    assert_eq!(ready(&lab), 3);
}

#[test]
fn a_missing_network_is_named() {
    let mut wanted = spec("web:1", 1);
    wanted.template.networks.insert("lan".parse().unwrap(), Default::default());
    let mut lab = Lab::new(2);
    lab.put("shop/web", wanted);
    lab.settle();
    let degraded = lab.condition("shop/web", ConditionType::Degraded);
    assert!(degraded.ends_with("0/2 hosts fit: 2 no Network named lan"), "{degraded}");
}

#[test]
fn an_event_on_a_brake_is_about_what_it_holds() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(1);
    lab.host_gone("h2");
    lab.host_gone("h3");
    let mut told = Vec::new();
    let mut tell = |plans: Vec<Plan>| {
        let events = plans.into_iter().flat_map(|plan| plan.events);
        let brakes = events.filter(|event| event.reason.starts_with("Brake"));
        told.extend(brakes.map(|event| format!("{} {}", event.object, event.reason)));
    };
    for second in 0..25 {
        if second == 10 {
            lab.host_back("h2");
            lab.host_back("h3");
        }
        lab.model.now += Duration::from_secs(1);
        tell(lab.settle());
    }
    assert_eq!(told, ["Host h2 BrakeOn", "Host h2 BrakeReleased"]);
}
