//! Which slots there are, which go first, and what the first start of a service waits for.

use evenkeel_api::record::ConditionType;
use evenkeel_api::service::{Attribute, Constraint, Dependency, DependencyCondition, Mode};

use super::*;

fn available(lab: &mut Lab, n: u32, availability: Availability) {
    lab.put_host(n, |spec| spec.availability = Some(availability), &[]);
}

fn degraded(lab: &Lab) -> String {
    lab.condition("shop/web", ConditionType::Degraded)
}

fn global() -> ServiceSpec {
    let mut spec = spec("web:1", 1);
    spec.deploy.mode = Some(Mode::Global);
    spec
}

/// What becomes of the copy of a slot, until its host looks again.
pub(super) fn becomes(lab: &mut Lab, slot: &str, state: &InstanceState) {
    for copy in lab.model.world.services.get_mut(&id("shop/web")).unwrap().copies.values_mut() {
        if copy.record.as_ref().is_some_and(|record| record.value.slot.as_str() == slot) {
            copy.observed.as_mut().unwrap().state = state.clone();
        }
    }
}

#[test]
fn a_global_service_has_a_copy_of_its_own_on_each_host_that_is_meant() {
    let mut lab = Lab::new(4);
    // A host has a slot of its name, however full it is beside others.
    lab.put("shop/other", spec("other:1", 1));
    available(&mut lab, 3, Availability::Pause);
    lab.put("shop/web", global());
    lab.seconds(1);
    assert_eq!(lab.running("shop/web"), ["h1@h1", "h2@h2", "h4@h4"]);
    assert_eq!(degraded(&lab), "false Fine ");
    available(&mut lab, 2, Availability::Pause);
    available(&mut lab, 4, Availability::Drain);
    lab.seconds(1);
    assert_eq!(lab.running("shop/web"), ["h1@h1", "h2@h2"], "a paused host keeps what it has");
    available(&mut lab, 3, Availability::Active);
    lab.seconds(1);
    assert_eq!(lab.running("shop/web"), ["h1@h1", "h2@h2", "h3@h3"]);
    let mut elsewhere = global();
    let attribute = Attribute::Hostname;
    elsewhere.deploy.placement.constraints = vec![Constraint { attribute, equal: false, value: "h1".into() }];
    lab.put("shop/web", elsewhere);
    lab.seconds(1);
    assert_eq!(lab.running("shop/web"), ["h2@h2", "h3@h3"]);
}

#[test]
fn slots_of_another_mode_go_when_the_wanted_ones_serve() {
    let mut lab = Lab::new(2);
    lab.put("shop/web", spec("web:1", 2));
    lab.seconds(20);
    lab.put("shop/web", global());
    lab.settle();
    assert_eq!(lab.running("shop/web"), ["1@h1", "2@h2", "h1@h1", "h2@h2"]);
    lab.seconds(1);
    assert_eq!(lab.running("shop/web"), ["h1@h1", "h2@h2"]);
    lab.put("shop/web", spec("web:1", 2));
    lab.settle();
    assert_eq!(lab.running("shop/web"), ["1@h1", "2@h2", "h1@h1", "h2@h2"]);
    lab.seconds(1);
    assert_eq!(lab.running("shop/web"), ["1@h1", "2@h2"]);
    // Those of its own mode do not wait for that.
    becomes(&mut lab, "1", &InstanceState::Created);
    lab.put("shop/web", spec("web:1", 1));
    lab.settle();
    assert_eq!(lab.running("shop/web").len(), 1);
}

#[test]
fn what_serves_nobody_goes_first() {
    let ended = InstanceState::Exited { code: 1, oom: false };
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(20);
    becomes(&mut lab, "1", &ended);
    lab.put("shop/web", spec("web:1", 2));
    lab.settle();
    assert_eq!(lab.running("shop/web"), ["2@h2", "3@h3"]);

    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(20);
    becomes(&mut lab, "3", &ended);
    lab.put("shop/web", spec("web:2", 3));
    lab.settle();
    assert_eq!(lab.running("shop/web"), ["1@h1", "2@h2"], "and nothing else while it is missing");
}

#[test]
fn a_copy_waits_for_its_lost_host_where_it_cannot_be_elsewhere() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", global());
    lab.seconds(20);
    lab.host_gone("h2");
    lab.seconds(20);
    assert_eq!(lab.running("shop/web"), ["h1@h1", "h2@h2", "h3@h3"]);
    assert!(
        degraded(&lab).ends_with(" is on h2, which is lost: it waits for the host"),
        "{}",
        degraded(&lab)
    );

    let mut lab = Lab::new(3);
    let mut wanted = spec("web:1", 3);
    wanted.template.mounts.push(volume("data"));
    lab.put("shop/web", wanted.clone());
    lab.seconds(20);
    lab.host_gone("h2");
    lab.seconds(20);
    assert_eq!(lab.running("shop/web"), ["1@h1", "2@h2", "3@h3"]);
    assert!(
        degraded(&lab).ends_with(
            " is on h2, which is lost, and so is its volume: it waits for the host; if that is dead for good, give \
             both up with `evenkeel host remove h2 --dead` (with an etcd of your own, `evenkeel delete host h2`)"
        ),
        "{}",
        degraded(&lab)
    );

    // Its next copy will have a volume, but it has none yet.
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 3));
    lab.seconds(20);
    lab.put("shop/web", wanted);
    lab.settle();
    lab.host_gone("h3");
    lab.seconds(20);
    let running = lab.running("shop/web");
    assert!(running.len() == 3 && running.iter().all(|copy| !copy.ends_with("@h3")), "{running:?}");
}

/// How far the service is that another one depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Db {
    Absent,
    Refused,
    Accepted,
    Running,
    /// It runs, but its check has not passed.
    Unchecked,
    /// It serves, and of a check that is new nothing is known.
    NewlyChecked,
    /// What runs of it is on its way out.
    Leaving,
}

fn db(lab: &mut Lab, how: Db) {
    if how == Db::Absent {
        return;
    }
    if how == Db::Refused {
        lab.put_parsed("shop/db", Err("unknown key".into()));
        lab.settle();
        return;
    }
    lab.put("shop/db", spec("db:1", 1));
    lab.settle();
    let check = |lab: &mut Lab| {
        let text = r#"{"target": {"service": "db"}, "type": "tcp"}"#;
        let check = Check { spec: serde_json::from_str(text).unwrap(), revision: 7 };
        let service = lab.model.world.services.get_mut(&id("shop/db")).unwrap();
        service.checks.insert("tcp".parse().unwrap(), check);
    };
    if how == Db::Unchecked {
        check(lab);
    }
    if how != Db::Accepted {
        lab.obey();
        lab.settle();
    }
    if how == Db::NewlyChecked {
        check(lab);
        lab.settle();
    }
    if how == Db::Leaving {
        lab.put("shop/db", spec("db:1", 0));
        lab.settle();
    }
}

#[test]
fn a_first_start_waits_for_what_it_depends_on_as_far_as_that_is_asked() {
    use DependencyCondition::{ServiceHealthy, ServiceStarted};
    let absent = Some("shop/db is not there");
    let unready = Some("shop/db is not ready");
    for (how, condition, required, waits) in [
        (Db::Absent, ServiceStarted, true, absent),
        (Db::Absent, ServiceStarted, false, None),
        (Db::Refused, ServiceStarted, true, absent),
        (Db::Refused, ServiceStarted, false, None),
        (Db::Accepted, ServiceStarted, true, unready),
        (Db::Accepted, ServiceStarted, false, unready),
        (Db::Accepted, ServiceHealthy, true, unready),
        (Db::Leaving, ServiceStarted, true, unready),
        (Db::Leaving, ServiceHealthy, true, unready),
        (Db::Running, ServiceStarted, true, None),
        (Db::Running, ServiceHealthy, true, None),
        (Db::Unchecked, ServiceStarted, true, None),
        (Db::Unchecked, ServiceHealthy, true, unready),
        (Db::NewlyChecked, ServiceHealthy, true, None),
    ] {
        let mut lab = Lab::new(1);
        db(&mut lab, how);
        let mut wanted = spec("web:1", 1);
        wanted.depends_on.insert("db".parse().unwrap(), Dependency { condition, required });
        lab.put("shop/web", wanted);
        lab.settle();
        let expected = waits.map(|waits| format!("true Pending slot 1: waits for its first start: {waits}"));
        assert_eq!(degraded(&lab), expected.unwrap_or("false Fine ".into()), "{how:?} {condition:?}");
        assert_eq!(lab.running("shop/web").is_empty(), waits.is_some(), "{how:?} {condition:?}");
    }
}

#[test]
fn no_start_but_the_first_waits_for_what_the_service_depends_on() {
    let mut lab = Lab::new(1);
    db(&mut lab, Db::Running);
    let web = |replicas| {
        let mut wanted = spec("web:1", replicas);
        let dependency = Dependency { condition: DependencyCondition::ServiceStarted, required: true };
        wanted.depends_on.insert("db".parse().unwrap(), dependency);
        wanted
    };
    lab.put("shop/web", web(1));
    lab.seconds(20);
    lab.delete("shop/db");
    lab.seconds(20);
    lab.put("shop/web", web(2));
    lab.settle();
    assert_eq!(lab.running("shop/web").len(), 2);
    lab.put("shop/web", web(0));
    lab.seconds(20);
    assert_eq!(lab.service("shop/web").copies.len(), 0);
    lab.put("shop/web", web(1));
    lab.settle();
    assert_eq!(lab.running("shop/web").len(), 1, "also from none");
    // Its numbers begin anew after a recovery, but not its life.
    lab.model.world.floor = 5000;
    lab.put("shop/web", web(2));
    lab.settle();
    assert_eq!(lab.running("shop/web").len(), 2);
}
