//! What is gone back to, and what holds for copies of a template that is not the newest.

use evenkeel_api::record::{ConditionType, Phase};
use evenkeel_api::service::{Mount, MountSource, UpdateOrder};

use super::rollbacks::{is_of, of, rollout, say, wanted};
use super::*;

#[test]
fn a_template_that_serves_is_gone_back_to_before_it_was_watched_to_its_end() {
    let mut lab = Lab::new(3);
    lab.bad.insert("web:2".into(), InstanceState::failed("exec format error"));
    let good = lab.put("shop/web", wanted("web:1", UpdateOrder::StartFirst));
    lab.seconds(2);
    assert_eq!(rollout(&lab).current, None);
    let bad = lab.put("shop/web", wanted("web:2", UpdateOrder::StartFirst));
    lab.seconds(60);
    assert_eq!((lab.templates("shop/web"), lab.phase("shop/web")), (vec![good; 3], Phase::Done));
    assert_eq!((rollout(&lab).current, &rollout(&lab).rejected), (Some(good), &[bad].into()));
}

#[test]
fn a_rollout_that_a_person_turned_round_is_no_way_back_from_a_bad_template() {
    let mut lab = Lab::new(3);
    let old = lab.put("shop/web", wanted("web:1", UpdateOrder::StartFirst));
    lab.seconds(60);
    let new = lab.put("shop/web", wanted("web:2", UpdateOrder::StartFirst));
    lab.seconds(60);
    say(&mut lab, 5000, Some(Pin { template: Some(old), of: Some(new), ..Pin::default() }));
    lab.seconds(3);
    // To the template that ran last, which nobody rejected: if it fails now, the rollout stands still.
    say(&mut lab, 5001, None);
    lab.bad.insert("web:2".into(), InstanceState::failed("the disk is full"));
    lab.settle();
    let said = lab.condition("shop/web", ConditionType::Progressing);
    assert!(said.starts_with("true RollingOut"), "{said}");
    lab.seconds(30);
    assert!(matches!(lab.phase("shop/web"), Phase::Paused { .. }), "{:?}", lab.phase("shop/web"));
}

#[test]
fn while_a_rollout_stands_still_a_copy_is_moved_with_its_own_template() {
    let mut lab = Lab::new(4);
    let old = lab.put("shop/web", spec("web:1", 3));
    lab.seconds(60);
    lab.bad.insert("web:2".into(), InstanceState::failed("exec format error"));
    let bad = lab.put("shop/web", spec("web:2", 3));
    lab.seconds(30);
    assert!(matches!(lab.phase("shop/web"), Phase::Paused { .. }), "{:?}", lab.phase("shop/web"));
    let before = of(&lab, old);
    assert_eq!(before.len(), 2);
    // One host is drained, another one is lost.
    let mut hosts: Vec<HostName> = before.values().cloned().collect();
    let (drained, lost) = (hosts.remove(0), hosts.remove(0));
    let number = (1..=4).find(|n| drained == host(&format!("h{n}"))).unwrap();
    lab.put_host(number, |spec| spec.availability = Some(Availability::Drain), &[]);
    lab.seconds(60);
    lab.host_gone(lost.as_str());
    lab.seconds(60);
    let running = lab.service("shop/web").copies.values().filter(|copy| is_of(copy, old)).filter(|copy| {
        let record = copy.record.as_ref().unwrap();
        record.value.desired == Desired::Run && copy.host != drained && copy.host != lost
    });
    assert_eq!(running.count(), 2);
    assert!(of(&lab, bad).len() <= 1, "{:?}", of(&lab, bad));
}

#[test]
fn a_moved_copy_is_of_the_very_template_that_the_last_rollout_was_of() {
    // Of equal content, so that its end left most copies as they were.
    let mut lab = Lab::new(4);
    lab.bad.insert("web:2".into(), InstanceState::failed("image web:2 not found"));
    let first = lab.put("shop/web", spec("web:1", 3));
    lab.seconds(60);
    lab.put("shop/web", spec("web:2", 3));
    lab.seconds(30);
    let third = lab.put("shop/web", spec("web:1", 3));
    lab.seconds(60);
    assert_eq!((of(&lab, first).len(), of(&lab, third).len(), lab.phase("shop/web")), (2, 1, Phase::Done));
    let drained = of(&lab, first).values().next().unwrap().clone();
    let number = (1..=4).find(|n| drained == host(&format!("h{n}"))).unwrap();
    lab.put_host(number, |spec| spec.availability = Some(Availability::Drain), &[]);
    lab.seconds(60);
    assert_eq!((of(&lab, first).len(), of(&lab, third).len()), (1, 2));
}

#[test]
fn the_volume_of_the_template_that_runs_keeps_its_host_whatever_the_newest_says() {
    let mut lab = Lab::new(3);
    let mut with_volume = spec("web:1", 1);
    with_volume.template.mounts.push(Mount {
        target: "/data".into(),
        source: MountSource::Volume { name: "data".parse().unwrap(), nocopy: false },
        read_only: false,
    });
    lab.put("shop/web", with_volume);
    lab.seconds(60);
    say(&mut lab, 5000, Some(Pin { pause: true, ..Pin::default() }));
    lab.put("shop/web", spec("web:2", 1));
    lab.seconds(10);
    let before = lab.running("shop/web");
    lab.host_gone("h1");
    lab.seconds(60);
    assert_eq!((before, lab.running("shop/web")), (vec!["1@h1".to_owned()], vec!["1@h1".to_owned()]));
}

#[test]
fn the_last_ten_rejected_templates_are_remembered() {
    let mut lab = Lab::new(2);
    let mut document = wanted("web:1", UpdateOrder::StartFirst);
    document.deploy.replicas = Some(1);
    let good = lab.put("shop/web", document.clone());
    lab.seconds(60);
    let mut bad = Vec::new();
    for n in 0..12 {
        document.template.image = format!("bad:{n}");
        lab.bad.insert(document.template.image.clone(), InstanceState::failed("exec format error"));
        bad.push(lab.put("shop/web", document.clone()));
        lab.seconds(30);
    }
    let rollout = rollout(&lab);
    assert_eq!(rollout.rejected.iter().copied().collect::<Vec<_>>(), bad[2..]);
    assert_eq!(rollout.evidence.keys().copied().collect::<Vec<_>>(), bad[2..]);
    assert_eq!(lab.templates("shop/web"), [good]);
}
