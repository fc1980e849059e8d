//! Slots with two copies for a while: which one goes, how, and when a host is emptied.

use std::time::Duration;

use evenkeel_api::record::{CheckState, Health, Verdict};
use evenkeel_api::service::FailureAction;

use super::cases::{check, set_check};
use super::*;

fn drained(lab: &mut Lab, n: u32) {
    lab.put_host(n, |spec| spec.availability = Some(Availability::Drain), &[]);
}

fn start_first(image: &str, replicas: u32) -> ServiceSpec {
    let mut wanted = spec(image, replicas);
    wanted.deploy.update_config.order = Some(UpdateOrder::StartFirst);
    wanted
}

/// The verdict on each copy, by its host.
fn judge(lab: &mut Lab, well: impl Fn(&str) -> bool) {
    for copy in lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut() {
        let Some(started) = copy.observed.as_ref().and_then(|observed| observed.started) else { continue };
        let verdict = if well(copy.host.as_str()) { Verdict::Healthy } else { Verdict::Unhealthy };
        let state = CheckState { verdict, since: Timestamp(0), revision: 7, evidence: "seen".into() };
        copy.health = Some(Health { started, checks: [("tcp".parse().unwrap(), state)].into() });
    }
}

/// What the record of the copy on a host says: what it shall do, and why.
fn record(lab: &Lab, name: &str) -> (Desired, String) {
    let copy = lab.service("shop/web").copies.values().find(|copy| copy.host == host(name)).unwrap();
    let record = &copy.record.as_ref().unwrap().value;
    (record.desired, record.cause.clone())
}

/// One copy with a check, on h1, and well.
fn one_copy(hosts: u32) -> Lab {
    let mut lab = Lab::new(hosts);
    lab.put("shop/web", start_first("web:1", 1));
    lab.settle();
    set_check(&mut lab, Some(check()));
    for _ in 0..20 {
        lab.seconds(1);
        judge(&mut lab, |_| true);
    }
    assert_eq!(lab.running("shop/web"), ["1@h1"]);
    lab
}

#[test]
fn a_copy_that_is_replaced_goes_gently_and_one_on_a_lost_host_is_given_up() {
    for (lost, desired, cause) in [
        (false, Desired::Drain, "replaced by shop.web."),
        (true, Desired::Lost, "h1 is lost; replaced by shop.web."),
    ] {
        let mut lab = Lab::new(3);
        lab.put("shop/web", spec("web:1", 1));
        lab.seconds(60);
        if lost {
            lab.host_gone("h1");
        } else {
            drained(&mut lab, 1);
        }
        lab.run(Duration::from_millis(2500));
        let (now, why) = record(&lab, "h1");
        assert_eq!((now, lab.ready("shop/web")), (desired, 1), "{why}");
        assert!(why.starts_with(cause), "{why}");
    }
}

#[test]
fn the_copy_that_serves_stays_whichever_template_is_wanted() {
    let mut lab = one_copy(2);
    lab.put("shop/web", start_first("web:2", 1));
    lab.settle();
    lab.obey();
    assert_eq!(lab.running("shop/web").len(), 2);
    // The first template again, of which the copy is sick by now.
    lab.put("shop/web", start_first("web:1", 1));
    judge(&mut lab, |host| host == "h2");
    lab.settle();
    assert_eq!((lab.ready("shop/web"), record(&lab, "h2").0), (1, Desired::Run));
}

#[test]
fn a_second_copy_goes_when_its_reason_is_gone() {
    let mut lab = one_copy(2);
    lab.put("shop/web", start_first("web:2", 1));
    for _ in 0..10 {
        lab.seconds(1);
        judge(&mut lab, |host| host == "h1");
    }
    lab.settle();
    assert!(matches!(lab.phase("shop/web"), Phase::Paused { .. }), "{:?}", lab.phase("shop/web"));
    assert_eq!((lab.running("shop/web"), lab.ready("shop/web")), (vec!["1@h1".to_owned()], 1));
}

#[test]
fn of_two_copies_that_serve_nobody_the_older_goes_as_its_host_allows() {
    for (gone_for, desired, cause) in [
        (None, Desired::Drain, "serves nobody, and shop.web."),
        // It may be back at any moment, and serve.
        (Some(1), Desired::Run, "wanted by the service"),
        (Some(3), Desired::Lost, "h1 is lost, and its template is not wanted any more"),
    ] {
        let mut lab = one_copy(4);
        judge(&mut lab, |_| false);
        drained(&mut lab, 1);
        for _ in 0..20 {
            lab.seconds(1);
            judge(&mut lab, |_| false);
        }
        assert_eq!(lab.running("shop/web").len(), 2);
        if let Some(seconds) = gone_for {
            lab.host_gone("h1");
            lab.seconds(seconds);
        }
        lab.put("shop/web", start_first("web:2", 1));
        lab.settle();
        let (now, why) = record(&lab, "h1");
        assert_eq!(now, desired, "{why}");
        assert!(why.starts_with(cause), "{why}");
    }
}

#[test]
fn a_drained_host_that_is_away_is_not_emptied() {
    let mut lab = Lab::new(4);
    lab.put("shop/web", spec("web:1", 4));
    lab.seconds(60);
    let before = lab.running("shop/web");
    drained(&mut lab, 1);
    // The brake holds both.
    lab.host_gone("h1");
    lab.host_gone("h2");
    lab.seconds(60);
    assert_eq!(lab.running("shop/web"), before);
}

#[test]
fn a_copy_that_cannot_come_up_elsewhere_is_tried_again_when_its_time_has_come() {
    for rolls in [false, true] {
        let mut lab = Lab::new(3);
        let mut wanted = start_first("web:1", 1);
        wanted.deploy.update_config.failure_action = Some(FailureAction::Continue);
        lab.put("shop/web", wanted.clone());
        lab.seconds(60);
        if rolls {
            wanted.template.image = "web:2".into();
            lab.put("shop/web", wanted);
        } else {
            drained(&mut lab, 1);
        }
        let fail = |lab: &mut Lab| {
            lab.settle();
            for copy in lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut() {
                if copy.observed.is_none() {
                    copy.observed = Some(observed(InstanceState::failed("no such device"), 900));
                }
            }
            lab.model.settle().unwrap().1
        };
        // The second try comes at once, on another host; the third a second after that.
        fail(&mut lab);
        assert_eq!(lab.running("shop/web").len(), 2, "rolls: {rolls}");
        assert_eq!(fail(&mut lab), Some(Duration::from_secs(1)), "rolls: {rolls}");
        assert_eq!(lab.running("shop/web"), ["1@h1"], "rolls: {rolls}");
        lab.model.now += Duration::from_secs(1);
        lab.settle();
        assert_eq!(lab.running("shop/web").len(), 2, "rolls: {rolls}");
    }
}
