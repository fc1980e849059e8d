//! Copies that a check finds sick: restarted, held, replaced.

use evenkeel_api::healthcheck::{Effects, HealthCheckSpec, RestartEffect};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{CheckState, ConditionType, Health, Verdict};
use evenkeel_api::service::EndpointsPolicy;

use super::telling::one_a_shard;
use super::*;

/// Asks every 2 s, and for a restart 10 s after a start, twice.
fn check() -> Check {
    let text =
        r#"{"target": {"service": "web"}, "type": "tcp", "port": 80, "interval": "2s", "timeout": "1s"}"#;
    let mut spec: HealthCheckSpec = serde_json::from_str(text).unwrap();
    let restart = RestartEffect { limit: Some(2), grace: Some(Span::seconds(10)) };
    spec.effects = Some(Effects { restart: Some(restart), ..Effects::default() });
    Check { spec, revision: 7 }
}

fn started(replicas: u32) -> Lab {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", replicas));
    lab.settle();
    let service = lab.model.world.services.get_mut(&id("shop/web")).unwrap();
    service.checks.insert("tcp".parse().unwrap(), check());
    live(&mut lab, 60, &[]);
    lab
}

/// Seconds of life in which the copies of these slots are sick, and the others well; what was told meanwhile.
fn live(lab: &mut Lab, seconds: u64, sick: &[&str]) -> Vec<&'static str> {
    let mut plans = Vec::new();
    for _ in 0..seconds {
        plans.extend(lab.settle());
        while lab.obey() {
            plans.extend(lab.settle());
        }
        for copy in lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut() {
            let Some(started) = copy.observed.as_ref().and_then(|seen| seen.started) else { continue };
            let slot = copy.record.as_ref().map(|record| record.value.slot.to_string());
            let verdict = match slot.is_some_and(|slot| sick.contains(&slot.as_str())) {
                true => Verdict::Unhealthy,
                false => Verdict::Healthy,
            };
            let state = CheckState { verdict, since: Timestamp(0), revision: 7, evidence: "refused".into() };
            copy.health = Some(Health { started, checks: [("tcp".parse().unwrap(), state)].into() });
        }
        plans.extend(lab.settle());
        lab.model.now += Duration::from_secs(1);
    }
    plans.extend(lab.settle());
    plans.into_iter().flat_map(|plan| plan.events).map(|event| event.reason).collect()
}

/// How often each copy was restarted: `slot@host:times`.
fn restarted(lab: &Lab) -> Vec<String> {
    let records =
        lab.service("shop/web").copies.values().filter_map(|copy| Some((copy, copy.record.as_ref()?)));
    let times = records.filter_map(|(copy, record)| {
        let restart = record.value.restart?;
        Some(format!("{}@{}:{}", record.value.slot, copy.host, restart.count))
    });
    times.collect()
}

#[test]
fn a_sick_copy_is_restarted_after_its_grace_and_then_replaced_elsewhere() {
    let mut lab = started(4);
    let home = lab
        .service("shop/web")
        .copies
        .values()
        .find(|copy| copy.record.as_ref().unwrap().value.slot.as_str() == "1");
    let home = home.unwrap().host.clone();
    // Unhealthy now: three seconds are waited for what the others say.
    live(&mut lab, 2, &["1"]);
    assert_eq!(restarted(&lab), Vec::<String>::new());
    live(&mut lab, 3, &["1"]);
    assert_eq!(restarted(&lab), [format!("1@{home}:1")]);
    let record = lab.service("shop/web").copies.values().find_map(|copy| copy.record.as_ref()?.value.restart);
    assert_eq!(record.unwrap().after, Span::seconds(6), "names may lead to it for the ttl and a second");
    live(&mut lab, 7, &["1"]);
    assert_eq!(restarted(&lab), [format!("1@{home}:1")], "the grace after its start is not over");
    live(&mut lab, 5, &["1"]);
    assert_eq!(restarted(&lab), [format!("1@{home}:2")]);
    live(&mut lab, 12, &["1"]);
    let new = lab.running("shop/web").into_iter().filter(|copy| copy.starts_with("1@")).collect::<Vec<_>>();
    assert!(new.iter().any(|copy| *copy != format!("1@{home}")), "{new:?}");
    live(&mut lab, 20, &[]);
    assert_eq!(lab.running("shop/web").len(), 4);
    assert!(lab.settle().is_empty());
}

#[test]
fn a_copy_is_out_of_the_names_before_it_ends_and_until_it_is_well() {
    let mut lab = started(4);
    // A check that does not count for names: the copy serves, and is taken out for the restart.
    let service = lab.model.world.services.get_mut(&id("shop/web")).unwrap();
    let check = service.checks.values_mut().next().unwrap();
    check.spec.effects.as_mut().unwrap().dns = Some(false);
    let ready = |lab: &Lab| {
        lab.service("shop/web").endpoints[&0].value.endpoints.iter().filter(|endpoint| endpoint.ready).count()
    };
    live(&mut lab, 2, &["2"]);
    assert_eq!((ready(&lab), restarted(&lab).len()), (4, 0));
    live(&mut lab, 1, &["2"]);
    assert_eq!((ready(&lab), restarted(&lab).len()), (3, 1), "its host was not at it yet");
    live(&mut lab, 1, &[]);
    assert_eq!(ready(&lab), 4);
}

#[test]
fn a_copy_that_is_restarted_is_out_of_the_names_in_the_same_batch_however_many_shards_change() {
    let mut lab = started(100);
    one_a_shard(&mut lab);
    live(&mut lab, 2, &["100"]);
    assert_eq!(restarted(&lab).len(), 0);
    let mut changed = spec("web:1", 100);
    changed.endpoints_policy = Some(EndpointsPolicy::Empty);
    lab.put("shop/web", changed);
    lab.model.now += Duration::from_secs(1);
    lab.model.pass().unwrap();
    assert_eq!(restarted(&lab).len(), 1);
    let service = lab.service("shop/web");
    let shards = service.endpoints.values().map(|shard| &shard.value);
    let endpoints = shards.clone().flat_map(|shard| &shard.endpoints);
    let left: Vec<&str> = endpoints.filter(|it| !it.ready).map(|it| it.slot.as_str()).collect();
    assert_eq!(left, ["100"]);
    assert!(shards.clone().any(|shard| shard.policy != EndpointsPolicy::Empty), "more than one batch takes");
}

#[test]
fn half_of_the_copies_sick_is_not_their_own_fault() {
    let mut lab = started(4);
    live(&mut lab, 60, &["1", "3"]);
    assert_eq!(restarted(&lab), Vec::<String>::new());
    let degraded = lab.condition("shop/web", ConditionType::Degraded);
    assert!(
        degraded.starts_with("true DependencySuspected 2 of 4 copies fail check tcp: what they depend on"),
        "{degraded}"
    );
    live(&mut lab, 2, &["3"]);
    assert_eq!(restarted(&lab), Vec::<String>::new(), "it may not know yet that all is well");
    live(&mut lab, 8, &["3"]);
    assert_eq!(restarted(&lab).len(), 1, "only one is: it is the copy");
    live(&mut lab, 20, &[]);
    assert!(lab.condition("shop/web", ConditionType::Degraded).starts_with("false Fine"));
}

#[test]
fn a_suspected_dependency_is_told_of_once_and_doubted_until_a_check_would_have_seen_it_well() {
    let mut lab = started(4);
    let told = live(&mut lab, 60, &["1", "3"]);
    assert_eq!(told.iter().filter(|reason| **reason == "DependencySuspected").count(), 1, "{told:?}");
    // One of them is well now. An interval and a timeout later the other one would be, too.
    live(&mut lab, 1, &["3"]);
    let (_, wake) = lab.model.settle().unwrap();
    assert_eq!((restarted(&lab).len(), wake), (0, Some(Duration::from_secs(2))));
    lab.model.now += Duration::from_secs(2);
    lab.settle();
    assert_eq!(restarted(&lab).len(), 1);
}

#[test]
fn a_sick_copy_that_serves_is_not_restarted_while_another_one_is_missing() {
    let mut lab = Lab::new(4);
    let mut patient = spec("web:1", 4);
    patient.deploy.disconnect.lost_after = Some("10m".parse().unwrap());
    lab.put("shop/web", patient);
    lab.settle();
    let mut check = check();
    check.spec.effects.as_mut().unwrap().dns = Some(false);
    lab.model.world.services.get_mut(&id("shop/web")).unwrap().checks.insert("tcp".parse().unwrap(), check);
    live(&mut lab, 60, &[]);
    let gone = lab.running("shop/web").remove(0);
    assert!(gone.starts_with("1@"), "{gone}");
    let gone = gone.trim_start_matches("1@");
    lab.host_gone(gone);
    live(&mut lab, 30, &["2"]);
    assert_eq!(restarted(&lab), Vec::<String>::new());
    lab.host_back(gone);
    live(&mut lab, 2, &["2"]);
    assert_eq!(restarted(&lab).len(), 1);
}

#[test]
fn of_a_single_copy_it_cannot_be_told_and_it_is_restarted() {
    let mut lab = started(1);
    live(&mut lab, 1, &["1"]);
    assert_eq!(lab.model.settle().unwrap().1, Some(Duration::from_secs(2)), "an interval and a timeout");
    live(&mut lab, 5, &["1"]);
    assert_eq!(restarted(&lab).len(), 1);
}

#[test]
fn one_of_three_sick_is_its_own_fault() {
    let mut lab = started(3);
    live(&mut lab, 6, &["2"]);
    assert_eq!(restarted(&lab).len(), 1);
}

#[test]
fn a_sick_copy_on_its_way_out_is_not_restarted_and_speaks_against_no_other() {
    let mut lab = started(4);
    live(&mut lab, 1, &["4"]);
    // One too many, and the one that serves nobody leaves the names for six seconds.
    lab.put("shop/web", spec("web:1", 3));
    live(&mut lab, 5, &["1", "4"]);
    assert_eq!(restarted(&lab).len(), 1, "{:?}", restarted(&lab));
    assert!(restarted(&lab)[0].starts_with("1@"), "{:?}", restarted(&lab));
}

#[test]
fn a_restarted_copy_whose_host_went_holds_up_no_other() {
    let mut lab = Lab::new(6);
    let mut patient = spec("web:1", 6);
    patient.deploy.disconnect.lost_after = Some("10m".parse().unwrap());
    lab.put("shop/web", patient);
    lab.settle();
    lab.model.world.services.get_mut(&id("shop/web")).unwrap().checks.insert("tcp".parse().unwrap(), check());
    live(&mut lab, 60, &[]);
    live(&mut lab, 6, &["1"]);
    assert_eq!(restarted(&lab), ["1@h1:1"]);
    lab.host_gone("h1");
    live(&mut lab, 6, &["1", "2"]);
    assert_eq!(restarted(&lab), ["1@h1:1", "2@h2:1"]);
}

/// Three copies on h2, and the fourth on h1: that is where the next one of any slot would go.
fn uneven() -> Lab {
    let mut lab = Lab::new(2);
    lab.put_host(1, |spec| spec.availability = Some(Availability::Drain), &[]);
    lab.put("shop/web", spec("web:1", 3));
    lab.settle();
    lab.model.world.services.get_mut(&id("shop/web")).unwrap().checks.insert("tcp".parse().unwrap(), check());
    live(&mut lab, 60, &[]);
    lab.put_host(1, |_| {}, &[]);
    lab.put("shop/web", spec("web:1", 4));
    live(&mut lab, 60, &[]);
    assert_eq!(lab.running("shop/web"), ["1@h2", "2@h2", "3@h2", "4@h1"]);
    lab
}

#[test]
fn only_what_restarts_do_not_help_gets_its_next_copy_on_another_host() {
    let mut lab = uneven();
    live(&mut lab, 60, &["4"]);
    assert!(lab.running("shop/web").contains(&"4@h2".to_owned()), "{:?}", lab.running("shop/web"));
    // Sick for a moment only, and exchanged before all others since it serves nobody.
    let mut lab = uneven();
    live(&mut lab, 1, &["4"]);
    let mut next = spec("web:2", 4);
    next.deploy.update_config.order = Some(UpdateOrder::StartFirst);
    lab.put("shop/web", next);
    lab.settle();
    assert_eq!(lab.running("shop/web"), ["1@h2", "2@h2", "3@h2", "4@h1", "4@h1"]);
}

#[test]
fn a_quarter_is_restarted_at_once() {
    let mut lab = started(9);
    let sick = ["1", "2", "3", "4"];
    live(&mut lab, 4, &sick);
    assert_eq!(restarted(&lab).len(), 2, "{:?}", restarted(&lab));
}

#[test]
fn a_new_leader_keeps_the_count_and_measures_anew() {
    let mut lab = started(4);
    live(&mut lab, 6, &["1"]);
    assert_eq!(restarted(&lab).len(), 1);
    lab.model.memory = Memory::new();
    lab.model.ledger = Ledger::of(&lab.model.world);
    live(&mut lab, 9, &["1"]);
    assert!(restarted(&lab)[0].ends_with(":1"), "the grace is measured anew");
    live(&mut lab, 6, &["1"]);
    assert!(restarted(&lab)[0].ends_with(":2"), "{:?}", restarted(&lab));
}

#[test]
fn a_copy_that_was_well_for_long_has_all_its_restarts_again() {
    for (well, count) in [(60, 2), (500, 2), (700, 1)] {
        let mut lab = started(4);
        live(&mut lab, 6, &["1"]);
        live(&mut lab, well, &[]);
        live(&mut lab, 6, &["1"]);
        assert!(restarted(&lab)[0].ends_with(&format!(":{count}")), "{well} s: {:?}", restarted(&lab));
    }
}

#[test]
fn restarts_after_those_that_are_forgiven_are_counted_on() {
    let mut lab = started(4);
    live(&mut lab, 6, &["1"]);
    live(&mut lab, 700, &[]);
    live(&mut lab, 22, &["1"]);
    assert!(restarted(&lab)[0].ends_with(":2"), "{:?}", restarted(&lab));
}

#[test]
fn an_exclusive_copy_stays_on_its_drained_host_while_another_one_is_sick() {
    let mut lab = Lab::new(4);
    let mut alone = spec("web:1", 3);
    alone.template.exclusive = true;
    lab.put("shop/web", alone);
    lab.seconds(2);
    let mut check = check();
    check.spec.effects = None;
    lab.model.world.services.get_mut(&id("shop/web")).unwrap().checks.insert("tcp".parse().unwrap(), check);
    live(&mut lab, 30, &["1"]);
    let before = lab.running("shop/web");
    assert_eq!(before, ["1@h1", "2@h2", "3@h3"]);
    lab.put_host(3, |spec| spec.availability = Some(Availability::Drain), &[]);
    live(&mut lab, 60, &["1"]);
    assert_eq!(lab.running("shop/web"), before);
    let degraded = lab.condition("shop/web", ConditionType::Degraded);
    assert!(degraded.contains("cannot leave h3 yet"), "{degraded}");
    live(&mut lab, 60, &[]);
    assert_eq!(lab.running("shop/web"), ["1@h1", "2@h2", "3@h4"]);
}
