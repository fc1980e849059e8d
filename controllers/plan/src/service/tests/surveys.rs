//! What is said to who asks is what the plan does.

use evenkeel_api::name::Slot;
use evenkeel_api::record::ConditionType;
use evenkeel_api::service::{Constraint, Dependency, DependencyCondition, Mode};

use super::*;

fn wants(change: impl FnOnce(&mut ServiceSpec)) -> ServiceSpec {
    let mut spec = spec("web:1", 3);
    change(&mut spec);
    spec
}

#[test]
fn a_slot_that_is_pending_has_no_room_and_for_the_same_reasons() {
    let constraint = |spec: &mut ServiceSpec| {
        let attribute = evenkeel_api::service::Attribute::Label("disk".into());
        let value = "ssd".to_owned();
        spec.deploy.placement.constraints = vec![Constraint { attribute, equal: true, value }];
    };
    for (document, fits) in [
        (wants(|_| {}), 3),
        (wants(|spec| spec.deploy.reservations.memory = Some(Bytes(64 << 30))), 0),
        (wants(constraint), 1),
        (wants(|spec| spec.template.platform = Some("linux/arm64".into())), 0),
        (wants(|spec| spec.deploy.placement.max_replicas_per_node = Some(0)), 0),
    ] {
        let mut lab = Lab::new(3);
        lab.put_host(2, |_| {}, &[("disk", "ssd")]);
        lab.settle();
        lab.put("shop/web", document.clone());
        lab.settle();
        let room = room(&lab.model.world, &id("shop/web"), &Slot::numbered(3)).unwrap();
        assert_eq!(room.fit.len(), fits, "{:?}", room.refusals);
        let said = lab.condition("shop/web", ConditionType::Degraded);
        assert_eq!(fits > 0, !said.contains("Pending"), "{said}");
        if fits == 0 {
            let refused = room.refusals.say(0, &document);
            assert!(said.contains(&refused), "{said}: {refused}");
        }
    }
}

#[test]
fn as_many_slots_are_wanted_as_the_status_says() {
    let global = |spec: &mut ServiceSpec| {
        spec.deploy.mode = Some(Mode::Global);
        spec.deploy.replicas = None;
    };
    for (document, wanted) in [(wants(|_| {}), "1 2 3"), (wants(global), "h1 h3")] {
        let mut lab = Lab::new(3);
        lab.put_host(2, |spec| spec.availability = Some(Availability::Drain), &[]);
        lab.put("shop/web", document);
        lab.seconds(5);
        let survey = survey(&lab.model.world, &id("shop/web")).unwrap();
        let slots: Vec<&str> = survey.wanted.iter().map(Slot::as_str).collect();
        assert_eq!(slots.join(" "), wanted);
        let drained = survey.not_meant.counts.values().sum::<u32>();
        assert_eq!(drained, u32::from(wanted == "h1 h3"), "{:?}", survey.not_meant);
        let status = &lab.service("shop/web").status.as_ref().unwrap().value;
        assert_eq!(status.copies.unwrap().desired as usize, slots.len());
    }
}

#[test]
fn what_is_waited_for_is_so_until_the_first_start() {
    let mut lab = Lab::new(2);
    let dependency = Dependency { condition: DependencyCondition::ServiceHealthy, required: true };
    lab.put("shop/web", wants(|spec| spec.depends_on = [("db".parse().unwrap(), dependency)].into()));
    lab.settle();
    let unmet = |lab: &Lab| survey(&lab.model.world, &id("shop/web")).unwrap().unmet;
    let Unmet { service, exists, .. } = unmet(&lab).remove(0);
    assert_eq!((service, exists), (id("shop/db"), false));
    lab.put("shop/db", spec("db:1", 1));
    lab.seconds(5);
    assert_eq!((unmet(&lab), lab.ready("shop/web")), (vec![], 3));
    lab.delete("shop/db");
    lab.seconds(30);
    assert_eq!(unmet(&lab), [], "once it has begun, nothing is waited for");
}
