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

/// Seconds of life in which the copies of these slots are sick, and the others well.
fn live(lab: &mut Lab, seconds: u64, sick: &[&str]) {
    for _ in 0..seconds {
        lab.settle();
        while lab.obey() {
            lab.settle();
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
        lab.settle();
        lab.model.now += Duration::from_secs(1);
    }
    lab.settle();
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
fn of_a_single_copy_it_cannot_be_told_and_it_is_restarted() {
    let mut lab = started(1);
    live(&mut lab, 6, &["1"]);
    assert_eq!(restarted(&lab).len(), 1);
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
    let mut lab = started(4);
    live(&mut lab, 6, &["1"]);
    live(&mut lab, 700, &[]);
    live(&mut lab, 6, &["1"]);
    assert!(restarted(&lab)[0].ends_with(":1"), "{:?}", restarted(&lab));
    // Counted on from there.
    live(&mut lab, 16, &["1"]);
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
