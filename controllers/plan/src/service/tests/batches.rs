//! What goes together, and how much of it.

use evenkeel_api::key::Key;
use evenkeel_api::record::{Digest, Revision, Rollout, Status};
use evenkeel_api::service::Template;

use super::*;
use crate::service::remove;

fn at<T>(value: T) -> At<T> {
    At { value, mod_revision: 1, create_revision: 1 }
}

fn digest() -> At<Option<Digest>> {
    at(Some(Digest { digest: "sha256:1".into(), host: host("h1") }))
}

#[test]
fn the_oldest_templates_of_a_service_go_first_where_one_batch_does_not_take_all() {
    for (templates, last) in [(44, true), (45, false), (60, false)] {
        let mut service = Service::default();
        for number in 1..=templates {
            service.revisions.insert(number, at(Revision { template: Template::default() }));
            service.digests.insert(number, digest());
        }
        service.status = Some(at(Status::default()));
        service.rollout = Some(at(Rollout::default()));
        let mut plan = Plan::default();
        remove::records(&mut plan, &id("shop/web"), &service);
        let told: Vec<&str> = plan.events.iter().map(|event| event.reason).collect();
        let expected = if last { vec!["Deleted"] } else { vec![] };
        assert_eq!((plan.batch.writes.len(), plan.more, told), (MAX_BATCH, !last, expected), "{templates}");
        let gone = |key: &Key| plan.batch.writes.contains_key(key);
        for number in 1..=templates {
            let pair = [Key::Revision(id("shop/web"), number), Key::Digest(id("shop/web"), number)];
            assert_eq!(pair.map(|key| gone(&key)), [number <= 45; 2], "{number} of {templates}");
        }
        assert_eq!(gone(&Key::Rollout(id("shop/web"))), last, "{templates}");
    }
}

#[test]
fn old_templates_are_forgotten_with_their_digests_and_as_many_at_once_as_a_batch_takes() {
    for (digests, sizes) in [(false, [88, 3]), (true, [88, 6])] {
        let mut lab = Lab::new(1);
        lab.put("shop/web", spec("web:1", 1));
        lab.seconds(10);
        let service = lab.model.world.services.get_mut(&id("shop/web")).unwrap();
        let newest = *service.revisions.keys().next().unwrap();
        // The newest ten stay, and of those the service has one.
        let old = if digests { 47 + 9 } else { 91 + 9 };
        for number in newest - old..newest {
            service.revisions.insert(number, at(Revision { template: Template::default() }));
            service.digests.extend(digests.then(|| (number, digest())));
        }
        let plans = lab.settle();
        let wrote: Vec<usize> = plans.iter().map(|plan| plan.batch.writes.len()).collect();
        assert_eq!(wrote, sizes, "with digests: {digests}");
        let service = lab.service("shop/web");
        assert_eq!(service.revisions.len(), 10);
        assert_eq!(service.digests.len(), if digests { 9 } else { 0 });
    }
}

/// A host says what a copy's image is.
fn tell(lab: &mut Lab, copy: usize, digest: &str) {
    let service = lab.model.world.services.get_mut(&id("shop/web")).unwrap();
    let copy = service.copies.values_mut().nth(copy).unwrap();
    copy.observed.as_mut().unwrap().digest = Some(digest.to_owned());
}

fn pinned(lab: &Lab) -> Vec<(i64, String)> {
    let digests = lab.service("shop/web").digests.iter();
    digests.filter_map(|(number, at)| Some((*number, at.value.clone()?.digest))).collect()
}

#[test]
fn what_the_first_host_found_a_tag_to_be_is_what_it_means() {
    let mut lab = Lab::new(2);
    lab.put("shop/web", spec("web:1", 2));
    lab.seconds(10);
    assert_eq!(pinned(&lab), []);
    tell(&mut lab, 1, "sha256:b");
    lab.settle();
    let template = *lab.service("shop/web").revisions.keys().next().unwrap();
    assert_eq!(pinned(&lab), [(template, "sha256:b".to_owned())]);
    tell(&mut lab, 0, "sha256:a");
    let plans = lab.settle();
    assert!(plans.iter().all(|plan| plan.batch.writes.is_empty()));
    assert_eq!(pinned(&lab), [(template, "sha256:b".to_owned())]);
    // A record that cannot be read says nothing: it is written anew.
    lab.model.world.services.get_mut(&id("shop/web")).unwrap().digests.get_mut(&template).unwrap().value =
        None;
    lab.settle();
    assert_eq!(pinned(&lab), [(template, "sha256:a".to_owned())]);
}

#[test]
fn an_image_that_is_named_by_its_digest_needs_no_other_word() {
    let mut lab = Lab::new(1);
    lab.put("shop/web", spec("web@sha256:a", 1));
    lab.seconds(10);
    tell(&mut lab, 0, "sha256:a");
    lab.settle();
    assert_eq!(pinned(&lab), []);
}

#[test]
fn a_plan_that_relies_on_the_absence_of_a_host_does_not_hold_once_it_is_back() {
    let mut lab = Lab::new(2);
    let mut batch = Batch::default();
    batch.guards.insert(Key::Alive(host("h1")), 0);
    assert!(lab.model.world.commit(&batch, 999).is_err());
    lab.host_gone("h1");
    assert_eq!(lab.model.world.commit(&batch, 999), Ok(()));
}
