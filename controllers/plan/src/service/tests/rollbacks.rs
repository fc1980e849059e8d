//! Templates that fail, and what copies go back to.

use std::collections::BTreeSet;

use evenkeel_api::record::{ConditionType, Phase, Rollout};
use evenkeel_api::service::{FailureAction, UpdateOrder};

use super::*;

pub(super) fn wanted(image: &str, order: UpdateOrder) -> ServiceSpec {
    let mut wanted = spec(image, 3);
    wanted.deploy.update_config.failure_action = Some(FailureAction::Rollback);
    wanted.deploy.update_config.order = Some(order);
    wanted
}

pub(super) fn rollout(lab: &Lab) -> &Rollout {
    &lab.service("shop/web").rollout.as_ref().unwrap().value
}

pub(super) fn is_of(copy: &Copy, template: i64) -> bool {
    copy.record.as_ref().is_some_and(|record| record.value.template.revision == template)
}

fn good_then_bad(lab: &mut Lab, order: UpdateOrder) -> (i64, i64) {
    lab.bad.insert("web:2".into(), InstanceState::failed("exec format error"));
    let good = lab.put("shop/web", wanted("web:1", order));
    lab.seconds(10);
    let bad = lab.put("shop/web", wanted("web:2", order));
    (good, bad)
}

#[test]
fn a_bad_template_is_rejected_and_copies_go_back() {
    for order in [UpdateOrder::StopFirst, UpdateOrder::StartFirst] {
        let mut lab = Lab::new(3);
        let (good, bad) = good_then_bad(&mut lab, order);
        let mut serving = 3;
        for _ in 0..300 {
            lab.run(Duration::from_millis(100));
            let ready = lab.service("shop/web").endpoints[&0].value.endpoints.iter().filter(|e| e.ready);
            serving = serving.min(ready.count());
        }
        assert_eq!(serving, if order == UpdateOrder::StartFirst { 3 } else { 2 });
        assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![good; 3], Phase::Done));
        assert_eq!(rollout(&lab).rejected, [bad].into());
        assert_eq!((rollout(&lab).current, rollout(&lab).instead_of), (Some(good), Some(bad)));
        let degraded = lab.condition("shop/web", ConditionType::Degraded);
        assert!(degraded.starts_with(&format!("true RolledBack template {bad} is rejected: shop.web.")));
        assert!(degraded.contains("failed: exec format error (on h"), "{degraded}");
        assert!(lab.settle().is_empty());
    }
}

#[test]
fn templates_that_ran_well_are_remembered_in_the_order_in_which_they_did() {
    let mut lab = Lab::new(3);
    lab.bad.insert("web:2".into(), InstanceState::failed("no such image"));
    let put = |lab: &mut Lab, image: &str| {
        let number = lab.put("shop/web", spec(image, 3));
        lab.seconds(60);
        number
    };
    let first = put(&mut lab, "web:1");
    // It never runs, and the rollout stands still.
    put(&mut lab, "web:2");
    let third = put(&mut lab, "web:3");
    assert_eq!(rollout(&lab).proven, [first, third]);
    say(&mut lab, 5000, Some(Pin { template: Some(first), of: Some(third), ..Pin::default() }));
    lab.seconds(60);
    assert_eq!((&rollout(&lab).proven, rollout(&lab).current), (&vec![third, first], Some(first)));
    // What a leader of before the list left.
    lab.model.world.services.get_mut(&id("shop/web")).unwrap().rollout.as_mut().unwrap().value.proven.clear();
    let fourth = put(&mut lab, "web:4");
    assert_eq!(rollout(&lab).proven, [first, fourth]);
    let all: Vec<i64> = (5..20).map(|n| put(&mut lab, &format!("web:{n}"))).collect();
    assert_eq!(rollout(&lab).proven, all[all.len() - 10..]);
}

#[test]
fn a_rejected_template_stays_so_over_a_new_leader_and_the_same_text() {
    let mut lab = Lab::new(3);
    let (good, bad) = good_then_bad(&mut lab, UpdateOrder::StartFirst);
    lab.seconds(30);
    lab.bad.clear();
    lab.model.memory = Memory::new();
    lab.model.ledger = Ledger::of(&lab.model.world);
    lab.seconds(60);
    assert_eq!(lab.templates("shop/web"), vec![good; 3]);
    lab.put("shop/web", wanted("web:2", UpdateOrder::StartFirst));
    lab.seconds(60);
    assert_eq!(lab.templates("shop/web"), vec![good; 3]);
    // All else of the document is followed.
    let mut more = wanted("web:2", UpdateOrder::StartFirst);
    more.deploy.replicas = Some(4);
    lab.put("shop/web", more);
    lab.seconds(60);
    assert_eq!(lab.templates("shop/web"), vec![good; 4]);
    assert_eq!(rollout(&lab).rejected, [bad].into());
}

#[test]
fn a_rejected_template_stays_so_with_others_in_between() {
    let mut lab = Lab::new(3);
    let (_, bad) = good_then_bad(&mut lab, UpdateOrder::StartFirst);
    lab.seconds(30);
    let better = lab.put("shop/web", wanted("web:3", UpdateOrder::StartFirst));
    lab.seconds(60);
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![better; 3], Phase::Done));
    assert!(lab.condition("shop/web", ConditionType::Degraded).starts_with("false Fine"));
    lab.bad.clear();
    lab.put("shop/web", wanted("web:2", UpdateOrder::StartFirst));
    lab.seconds(60);
    assert_eq!(lab.templates("shop/web"), vec![better; 3]);
    assert_eq!(lab.service("shop/web").accepted.as_ref().unwrap().value.template, Some(bad));
    assert_eq!(rollout(&lab).instead_of, Some(bad));
}

#[test]
fn without_a_template_that_ever_ran_well_a_rollout_pauses() {
    let mut lab = Lab::new(3);
    lab.bad.insert("web:1".into(), InstanceState::failed("no such image"));
    lab.bad.insert("web:2".into(), InstanceState::failed("no such image either"));
    lab.put("shop/web", wanted("web:1", UpdateOrder::StopFirst));
    lab.seconds(30);
    assert_eq!(lab.phase("shop/web"), Phase::Done, "the first start is tried on");
    lab.put("shop/web", wanted("web:2", UpdateOrder::StopFirst));
    lab.seconds(30);
    let Phase::Paused { why } = lab.phase("shop/web") else { panic!("{:?}", lab.phase("shop/web")) };
    assert!(why.contains("no such image either") && why.contains("nothing to go back to"), "{why}");
    assert!(rollout(&lab).rejected.is_empty());
}

#[test]
fn copies_of_the_good_template_are_never_stopped() {
    let mut lab = Lab::new(4);
    let mut document = wanted("web:1", UpdateOrder::StartFirst);
    document.deploy.replicas = Some(4);
    document.deploy.update_config.parallelism = Some(2);
    document.deploy.update_config.monitor = Some(evenkeel_api::quantity::Span::seconds(20));
    let good = lab.put("shop/web", document.clone());
    lab.seconds(60);
    document.template.image = "web:2".into();
    let bad = lab.put("shop/web", document);
    lab.settle();
    lab.obey();
    // Both new copies serve before their predecessors were told to leave; then one of them dies.
    let copies = &mut lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies;
    let mut new = copies.values_mut().filter(|copy| is_of(copy, bad));
    let (first, second) = (new.next().unwrap(), new.next().unwrap());
    first.observed = Some(observed(InstanceState::Exited { code: 1, oom: false }, 900));
    second.observed = Some(observed(InstanceState::Running, 901));
    let before: Vec<InstanceId> = lab.service("shop/web").copies.keys().cloned().collect();
    lab.settle();
    assert_eq!(rollout(&lab).rejected, [bad].into());
    for id in before {
        let record = lab.service("shop/web").copies[&id].record.as_ref().unwrap();
        let stays = record.value.template.revision == good;
        assert_eq!(record.value.desired == Desired::Run, stays, "{id}");
    }
}

/// What shall stop has stopped, and what is on its way fails.
fn fail_what_comes(lab: &mut Lab, why: &str) {
    let copies = &mut lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies;
    for copy in copies.values_mut() {
        if copy.record.as_ref().is_some_and(|record| record.value.desired >= Desired::Stop) {
            copy.observed = Some(observed(InstanceState::Stopped { code: Some(0) }, 991));
        } else if copy.observed.is_none() {
            copy.observed = Some(observed(InstanceState::failed(why), 990));
        }
    }
}

#[test]
fn going_back_is_not_given_up() {
    let mut lab = Lab::new(3);
    let (good, bad) = good_then_bad(&mut lab, UpdateOrder::StopFirst);
    // A stop delay later the first new copy comes, and fails.
    lab.settle();
    while rollout(&lab).rejected.is_empty() {
        lab.model.now += Duration::from_secs(1);
        lab.settle();
        fail_what_comes(&mut lab, "exec format error");
        lab.settle();
    }
    for _ in 0..5 {
        fail_what_comes(&mut lab, "the registry burnt down");
        lab.model.now += Duration::from_secs(70);
        lab.settle();
        assert_eq!((lab.phase("shop/web"), rollout(&lab).target), (Phase::Rolling, Some(good)));
        let serving = lab.service("shop/web").endpoints[&0].value.endpoints.iter().filter(|e| e.ready);
        assert_eq!(serving.count(), 2);
    }
    lab.seconds(60);
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![good; 3], Phase::Done));
    assert_eq!(rollout(&lab).rejected, [bad].into());
}

pub(super) fn say(lab: &mut Lab, revision: i64, pin: Option<Pin>) {
    let pin = pin.map(|value| At { value, mod_revision: revision, create_revision: revision });
    lab.model.world.services.get_mut(&id("shop/web")).unwrap().pin = pin;
}

#[test]
fn a_person_has_a_rejected_template_tried_again() {
    let mut lab = Lab::new(3);
    let (_, bad) = good_then_bad(&mut lab, UpdateOrder::StartFirst);
    lab.seconds(30);
    let retry = Some(Pin { retry: Some(bad), ..Pin::default() });
    say(&mut lab, 5000, retry.clone());
    lab.seconds(30);
    assert_eq!(rollout(&lab).rejected, [bad].into(), "it is as bad as it was, and rejected again");
    lab.model.memory = Memory::new();
    lab.seconds(30);
    assert_eq!(rollout(&lab).rejected, [bad].into(), "one word is one try");
    lab.bad.clear();
    say(&mut lab, 5001, retry);
    lab.seconds(60);
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![bad; 3], Phase::Done));
    assert!(rollout(&lab).rejected.is_empty() && rollout(&lab).evidence.is_empty());
}

#[test]
fn a_pin_holds_over_the_same_template_and_ends_with_another() {
    let mut lab = Lab::new(3);
    let old = lab.put("shop/web", wanted("web:1", UpdateOrder::StartFirst));
    lab.seconds(10);
    let new = lab.put("shop/web", wanted("web:2", UpdateOrder::StartFirst));
    lab.seconds(60);
    say(&mut lab, 5000, Some(Pin { template: Some(old), of: Some(new), ..Pin::default() }));
    lab.seconds(60);
    assert_eq!(lab.templates("shop/web"), vec![old; 3]);
    let said = lab.condition("shop/web", ConditionType::Progressing);
    assert!(said.starts_with(&format!("false Pinned a person pinned template {old}")), "{said}");
    lab.put("shop/web", wanted("web:2", UpdateOrder::StartFirst));
    lab.seconds(60);
    assert_eq!(lab.templates("shop/web"), vec![old; 3]);
    let third = lab.put("shop/web", wanted("web:3", UpdateOrder::StartFirst));
    lab.seconds(60);
    assert_eq!(lab.templates("shop/web"), vec![third; 3]);
    assert_eq!(rollout(&lab).ended, Some(5000));
    assert!(lab.settle().is_empty());
}

#[test]
fn a_pinned_template_that_fails_is_not_left_for_another() {
    let mut lab = Lab::new(3);
    let old = lab.put("shop/web", wanted("web:1", UpdateOrder::StartFirst));
    lab.seconds(10);
    let new = lab.put("shop/web", wanted("web:2", UpdateOrder::StartFirst));
    lab.seconds(60);
    lab.bad.insert("web:1".into(), InstanceState::failed("gone from the registry"));
    say(&mut lab, 5000, Some(Pin { template: Some(old), of: Some(new), ..Pin::default() }));
    lab.seconds(60);
    let Phase::Paused { why } = lab.phase("shop/web") else { panic!("{:?}", lab.phase("shop/web")) };
    assert!(why.ends_with("a person pinned it"), "{why}");
    say(&mut lab, 5001, None);
    lab.seconds(60);
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![new; 3], Phase::Done));
}

#[test]
fn a_pause_holds_over_a_new_template() {
    let mut lab = Lab::new(3);
    let old = lab.put("shop/web", wanted("web:1", UpdateOrder::StartFirst));
    lab.seconds(10);
    say(&mut lab, 5000, Some(Pin { pause: true, ..Pin::default() }));
    let new = lab.put("shop/web", wanted("web:2", UpdateOrder::StartFirst));
    lab.seconds(60);
    assert_eq!((lab.templates("shop/web"), rollout(&lab).instead_of), (vec![old; 3], Some(new)));
    assert!(
        lab.condition("shop/web", ConditionType::Progressing).starts_with("false Paused a person paused it")
    );
    say(&mut lab, 5001, None);
    lab.seconds(60);
    assert_eq!((lab.templates("shop/web"), rollout(&lab).instead_of), (vec![new; 3], None));
}

/// The newest copies wait: the registry does not answer.
fn wait_for_the_registry(lab: &mut Lab, template: i64) {
    let copies = &mut lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies;
    for copy in copies.values_mut() {
        let record = copy.record.as_ref().unwrap();
        if record.value.template.revision == template && record.value.desired == Desired::Run {
            let state = InstanceState::Waiting { why: "cannot pull web:2: no route to host".into() };
            copy.observed = Some(Observed { started: None, ..observed(state, 0) });
        }
    }
}

#[test]
fn a_registry_that_is_away_fails_no_template_before_its_deadline() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", wanted("web:1", UpdateOrder::StartFirst));
    lab.seconds(10);
    let bad = lab.put("shop/web", wanted("web:2", UpdateOrder::StartFirst));
    let mut hosts = BTreeSet::new();
    for second in 0..620 {
        lab.settle();
        wait_for_the_registry(&mut lab, bad);
        lab.settle();
        let copies = lab.service("shop/web").copies.values();
        let new = copies.filter(|copy| is_of(copy, bad));
        hosts.extend(new.map(|copy| copy.host.clone()));
        let rejected = !rollout(&lab).rejected.is_empty();
        assert_eq!(rejected, second >= 600, "after {second}s");
        lab.model.now += Duration::from_secs(1);
    }
    assert_eq!(hosts.len(), 3, "it was tried elsewhere too");
    let why = &rollout(&lab).evidence[&bad];
    assert!(why.contains("not ready after 10m: cannot pull web:2: no route to host (on h"), "{why}");
}

#[test]
fn a_first_start_that_is_late_is_told_of_and_tried_on() {
    let mut lab = Lab::new(1);
    let first = lab.put("shop/web", wanted("web:1", UpdateOrder::StartFirst));
    for _ in 0..700 {
        lab.settle();
        wait_for_the_registry(&mut lab, first);
        lab.settle();
        lab.model.now += Duration::from_secs(1);
    }
    let degraded = lab.condition("shop/web", ConditionType::Degraded);
    assert!(degraded.starts_with("true ProgressDeadline shop.web."), "{degraded}");
    assert_eq!((lab.phase("shop/web"), rollout(&lab).current), (Phase::Done, None));
    lab.seconds(60);
    assert!(lab.condition("shop/web", ConditionType::Degraded).starts_with("false Fine"));
    assert_eq!(rollout(&lab).current, Some(first));
}

/// A rollout whose third new copy fails when two others are exchanged already: copies go back, one by one.
pub(super) fn going_back(lab: &mut Lab) -> (i64, i64) {
    let mut document = wanted("web:1", UpdateOrder::StopFirst);
    document.deploy.replicas = Some(4);
    let good = lab.put("shop/web", document.clone());
    lab.seconds(60);
    document.template.image = "web:2".into();
    let bad = lab.put("shop/web", document);
    while of(lab, bad).len() < 3 {
        lab.seconds(1);
    }
    let copies = &mut lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies;
    let newest = copies.values_mut().rfind(|copy| is_of(copy, bad));
    newest.unwrap().observed = Some(observed(InstanceState::Exited { code: 1, oom: false }, 900));
    lab.settle();
    assert_eq!(rollout(lab).rejected, [bad].into());
    (good, bad)
}

pub(super) fn of(lab: &Lab, template: i64) -> BTreeMap<InstanceId, HostName> {
    let copies = lab.service("shop/web").copies.iter().filter(|(_, copy)| is_of(copy, template));
    copies.map(|(id, copy)| (id.clone(), copy.host.clone())).collect()
}

#[test]
fn what_takes_the_place_of_a_copy_is_not_of_a_rejected_template() {
    for pauses in [false, true] {
        let mut lab = Lab::new(4);
        let (good, bad) = going_back(&mut lab);
        let before = of(&lab, bad);
        let number = (1..=4).find(|n| before.values().any(|at| *at == host(&format!("h{n}")))).unwrap();
        if pauses {
            say(&mut lab, 5000, Some(Pin { pause: true, ..Pin::default() }));
            lab.host_gone(&format!("h{number}"));
        } else {
            lab.put_host(number, |spec| spec.availability = Some(Availability::Drain), &[]);
        }
        for _ in 0..120 {
            lab.seconds(1);
            assert!(of(&lab, bad).keys().all(|id| before.contains_key(id)), "paused: {pauses}");
        }
        say(&mut lab, 5001, None);
        lab.seconds(120);
        assert_eq!(lab.templates("shop/web"), vec![good; 4]);
    }
}

/// Case 21 of docs/faults.md.
#[test]
fn a_crashing_image_rolled_to_a_thousand_services_costs_each_a_few_transactions() {
    const MANY: i64 = 1000;
    let mut lab = Lab::new(10);
    let services: Vec<String> = (0..MANY).map(|n| format!("shop/s{n}")).collect();
    let one = |image: &str| {
        let mut one = wanted(image, UpdateOrder::StartFirst);
        one.deploy.replicas = Some(1);
        one
    };
    let good: Vec<i64> = services.iter().map(|service| lab.put(service, one("web:1"))).collect();
    lab.seconds(10);
    lab.bad.insert("web:2".into(), InstanceState::failed("exec format error"));
    for service in &services {
        lab.put(service, one("web:2"));
    }
    let before = lab.model.revision;
    lab.seconds(60);
    let took = lab.model.revision - before;
    for (service, good) in services.iter().zip(good) {
        assert_eq!((lab.templates(service), lab.phase(service)), (vec![good], Phase::Done), "{service}");
    }
    assert!(took <= 8 * MANY, "{took} transactions");
    assert!(lab.settle().is_empty());
}
