//! Exclusive slots: what takes the place of what, when, and that it is never two.

use std::time::Duration;

use evenkeel_api::name::Slot;
use evenkeel_api::record::{Brake, ConditionType};
use proptest::prelude::*;

use super::*;

pub(super) const S: Duration = Duration::from_secs(5);
/// From a host's absence to the record that gives its copy up: `lost_after` but for the life of its lease.
pub(super) const GIVEN_UP: Duration = Duration::from_secs(2);

pub(super) fn db(image: &str, replicas: u32) -> ServiceSpec {
    let mut spec = spec(image, replicas);
    spec.template.exclusive = true;
    spec
}

/// A cluster with one exclusive copy, on h1.
pub(super) fn lab() -> Lab {
    let mut lab = Lab::new(3);
    lab.put("shop/db", db("db:1", 1));
    lab.seconds(2);
    assert_eq!(lab.running("shop/db"), ["1@h1"]);
    lab
}

/// The time until the slot has another copy than now, at most a minute.
pub(super) fn until_replaced(lab: &mut Lab) -> Option<Duration> {
    let (began, before) = (lab.model.now, lab.running("shop/db"));
    let copies = |lab: &Lab| {
        let live = lab.running("shop/db");
        live.iter().any(|copy| !before.contains(copy))
    };
    while lab.model.now < began + Duration::from_secs(60) {
        if copies(lab) {
            return Some(lab.model.now - began);
        }
        lab.run(Duration::from_millis(100));
    }
    None
}

fn degraded(lab: &Lab) -> String {
    lab.condition("shop/db", ConditionType::Degraded)
}

#[test]
fn a_copy_has_a_fence_that_grows() {
    let mut lab = lab();
    let fence = |lab: &Lab| {
        let copies = lab.service("shop/db").copies.iter();
        let live = copies.filter_map(|(id, copy)| Some((id.seq, copy.record.as_ref()?.value.fence?)));
        live.max_by_key(|(seq, _)| *seq).unwrap()
    };
    let (seq, first) = fence(&lab);
    assert_eq!((first.token, first.stop_after.0), (seq, S));
    let mut next = db("db:2", 1);
    next.deploy.disconnect.stop_on_client_after = Some(evenkeel_api::quantity::Span::seconds(9));
    lab.put("shop/db", next);
    lab.seconds(30);
    let (_, second) = fence(&lab);
    assert!(second.token > first.token);
    assert_eq!(second.stop_after.0, Duration::from_secs(9));
}

#[test]
fn the_copy_of_a_lost_host_is_given_up_and_replaced_when_it_has_surely_ended() {
    let mut lab = lab();
    lab.host_gone("h1");
    let after = until_replaced(&mut lab).unwrap();
    assert!(after >= GIVEN_UP + S + STOPPED_AFTER, "{after:?}");
    assert!(after <= GIVEN_UP + S + STOPPED_AFTER + Duration::from_millis(300), "{after:?}");
}

#[test]
fn a_host_that_is_back_before_keeps_its_copy_and_one_that_is_back_later_ends_it_first() {
    let mut lab = lab();
    lab.host_gone("h1");
    lab.run(GIVEN_UP - Duration::from_millis(100));
    lab.host_back("h1");
    assert_eq!(until_replaced(&mut lab), None);

    lab.host_gone("h1");
    lab.run(GIVEN_UP + Duration::from_secs(1));
    assert!(
        degraded(&lab).contains("which is gone, has surely ended, 8s50ms after it was given up"),
        "{}",
        degraded(&lab)
    );
    // It stops the copy at once, and says so.
    lab.host_back("h1");
    assert!(until_replaced(&mut lab).unwrap() < Duration::from_secs(1));
}

#[test]
fn the_record_that_gives_a_copy_up_demands_that_its_host_is_gone() {
    let mut lab = lab();
    lab.host_gone("h1");
    lab.run(GIVEN_UP - Duration::from_millis(100));
    lab.model.now += Duration::from_secs(1);
    let plans = lab.model.pass().unwrap();
    let lost = plans.iter().find(|plan| {
        plan.batch
            .writes
            .values()
            .any(|write| matches!(write, Write::Instance(i) if i.desired == Desired::Lost))
    });
    assert_eq!(lost.unwrap().batch.guards.get(&"alive/h1".parse().unwrap()), Some(&0));
}

#[test]
fn a_new_leader_counts_anew() {
    let mut lab = lab();
    lab.host_gone("h1");
    lab.run(GIVEN_UP + S + STOPPED_AFTER - Duration::from_millis(300));
    lab.model.memory = Memory::new();
    let after = until_replaced(&mut lab).unwrap();
    assert!(after >= S + STOPPED_AFTER, "{after:?}");
}

#[test]
fn neither_a_removed_document_nor_a_confirmed_death_is_a_proof() {
    for what in ["document", "confirmed"] {
        let mut lab = lab();
        lab.host_gone("h1");
        match what {
            "document" => lab.model.world.hosts.get_mut("h1").unwrap().document = None,
            _ => {
                let dead = [(host("h1"), 1)].into();
                lab.model.world.brake =
                    Some(At { value: Brake { dead }, mod_revision: 1, create_revision: 1 });
            }
        }
        let after = until_replaced(&mut lab).unwrap();
        assert!(after >= S + STOPPED_AFTER, "{what}: {after:?}");
    }
}

#[test]
fn the_brake_holds_exclusive_copies_too() {
    let mut lab = lab();
    lab.host_gone("h1");
    lab.host_gone("h2");
    assert_eq!(until_replaced(&mut lab), None);
    let dead = [(host("h1"), 1)].into();
    lab.model.world.brake = Some(At { value: Brake { dead }, mod_revision: 1, create_revision: 1 });
    let after = until_replaced(&mut lab).unwrap();
    assert!(after >= S + STOPPED_AFTER, "{after:?}");
}

#[test]
fn drain_rollout_failure_and_deletion_stop_first() {
    let mut lab = lab();
    lab.put_host(1, |spec| spec.availability = Some(Availability::Drain), &[]);
    lab.settle();
    assert!(lab.running("shop/db").is_empty(), "{:?}", lab.running("shop/db"));
    assert!(until_replaced(&mut lab).unwrap() >= Duration::from_secs(6), "the stop delay");
    let before = lab.running("shop/db");

    lab.put("shop/db", db("db:2", 1));
    lab.settle();
    assert!(lab.running("shop/db").is_empty());
    lab.seconds(30);
    assert_eq!(lab.phase("shop/db"), Phase::Done);

    lab.bad.insert("db:2".into(), InstanceState::failed("it is broken"));
    lab.obey();
    lab.settle();
    assert!(lab.running("shop/db").is_empty(), "its failure does not say that it has ended");
    lab.bad.clear();
    lab.seconds(10);
    assert_eq!(lab.running("shop/db").len(), before.len());

    // Deleted while its host is away, and made again at once.
    let at = lab.running("shop/db")[0].split_once('@').unwrap().1.to_owned();
    lab.host_gone(&at);
    lab.run(GIVEN_UP * 2);
    lab.delete("shop/db");
    lab.run(Duration::from_millis(100));
    lab.put("shop/db", db("db:1", 1));
    assert!(until_replaced(&mut lab).unwrap() > Duration::from_secs(5));
}

#[test]
fn drained_hosts_give_their_copies_away_one_after_the_other() {
    let mut lab = Lab::new(5);
    lab.put("shop/db", db("db:1", 3));
    lab.seconds(2);
    let before = lab.running("shop/db");
    assert_eq!(before, ["1@h1", "2@h2", "3@h3"]);
    for host in [1, 2, 3] {
        lab.put_host(host, |spec| spec.availability = Some(Availability::Drain), &[]);
    }
    for _ in 0..600 {
        lab.run(Duration::from_millis(100));
        assert!(lab.running("shop/db").len() >= 2, "{:?}", lab.running("shop/db"));
    }
    let after = lab.running("shop/db");
    assert!(after.len() == 3 && after.iter().all(|copy| !before.contains(copy)), "{after:?}");
}

#[test]
fn a_copy_from_before_the_slot_was_exclusive_is_believed_only_of_its_host_or_a_person() {
    let mut lab = Lab::new(3);
    lab.put("shop/db", spec("db:1", 1));
    lab.seconds(2);
    lab.host_gone("h1");
    lab.put("shop/db", db("db:1", 1));
    assert_eq!(until_replaced(&mut lab), None);
    assert!(degraded(&lab).contains("evenkeel host confirm-dead h1"), "{}", degraded(&lab));
    assert_eq!(lab.model.settle().unwrap().1, None, "no time changes that");
    let dead = [(host("h1"), 1)].into();
    lab.model.world.brake = Some(At { value: Brake { dead }, mod_revision: 1, create_revision: 1 });
    assert!(until_replaced(&mut lab).is_some());
}

#[test]
fn a_cluster_that_cannot_guard_starts_none_and_says_why() {
    let mut lab = Lab::new(3);
    lab.model.world.no_exclusive = Some("etcd is too old".into());
    lab.put("shop/db", db("db:1", 1));
    lab.put("shop/web", spec("web:1", 1));
    lab.seconds(2);
    assert!(lab.running("shop/db").is_empty());
    assert_eq!(degraded(&lab), "true Pending slot 1: etcd is too old");
    assert_eq!(lab.running("shop/web").len(), 1);
}

#[test]
fn a_host_without_a_watchdog_takes_none() {
    let mut lab = Lab::new(2);
    for host in lab.model.world.hosts.values_mut() {
        host.facts.as_mut().unwrap().watchdog = false;
    }
    lab.put("shop/db", db("db:1", 1));
    lab.seconds(2);
    assert_eq!(degraded(&lab), "true Pending slot 1: none of 2 hosts fits: 2 without a watchdog");
    lab.model.world.hosts.get_mut("h2").unwrap().facts.as_mut().unwrap().watchdog = true;
    lab.seconds(2);
    assert_eq!(lab.running("shop/db"), ["1@h2"]);
}

/// What may run in truth: a container goes on until it is seen stopped, or for `S` after the last moment at
/// which its host was there and its record not given up.
#[derive(Default)]
struct Truth(BTreeMap<InstanceId, (Slot, Duration)>);

impl Truth {
    fn look(&mut self, lab: &Lab) -> Result<(), TestCaseError> {
        let now = lab.model.now;
        for (id, copy) in lab.model.world.services.get(&id("shop/db")).into_iter().flat_map(|s| &s.copies) {
            let Some(record) = &copy.record else { continue };
            let stopped =
                copy.observed.as_ref().is_some_and(|o| matches!(o.state, InstanceState::Stopped { .. }));
            let there = lab.model.world.hosts.get(&copy.host).is_some_and(|host| host.alive.is_some());
            if stopped {
                self.0.remove(id);
            } else if there && record.value.desired < Desired::Lost {
                self.0.insert(id.clone(), (record.value.slot.clone(), now + S));
            }
        }
        self.0.retain(|_, (_, until)| *until > now);
        let mut slots: BTreeMap<&Slot, &InstanceId> = BTreeMap::new();
        for (id, (slot, _)) in &self.0 {
            let other = slots.insert(slot, id);
            prop_assert!(other.is_none(), "{:?} and {} at {:?}", other, id, now);
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u32),
    Delete,
    Gone(u8),
    Back(u8),
    Drain(u8),
    Active(u8),
    Remove(u8),
    Bad(u8),
    Good,
    NewLeader,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3u8, 0..3u32).prop_map(|(image, replicas)| Step::Put(image, replicas)),
        1 => Just(Step::Delete),
        3 => (1..=4u8).prop_map(Step::Gone),
        3 => (1..=4u8).prop_map(Step::Back),
        1 => (1..=4u8).prop_map(Step::Drain),
        1 => (1..=4u8).prop_map(Step::Active),
        1 => (1..=4u8).prop_map(Step::Remove),
        1 => (0..3u8).prop_map(Step::Bad),
        1 => Just(Step::Good),
        2 => Just(Step::NewLeader),
        8 => (1..6_000u64).prop_map(Step::Wait),
    ]
}

impl Lab {
    fn live(&mut self, step: &Step, truth: &mut Truth) -> Result<(), TestCaseError> {
        let name = |n: &u8| format!("h{n}");
        match step {
            Step::Put(image, replicas) => {
                self.put("shop/db", db(&format!("db:{image}"), *replicas));
            }
            Step::Delete if self.model.world.services.contains_key(&id("shop/db")) => self.delete("shop/db"),
            Step::Delete => {}
            Step::Gone(n) if self.model.world.hosts.contains_key(&host(&name(n))) => self.host_gone(&name(n)),
            Step::Back(n) if self.model.world.hosts.contains_key(&host(&name(n))) => self.host_back(&name(n)),
            Step::Gone(_) | Step::Back(_) => {}
            Step::Drain(n) => {
                self.put_host(u32::from(*n), |h| h.availability = Some(Availability::Drain), &[])
            }
            Step::Active(n) => self.put_host(u32::from(*n), |_| {}, &[]),
            Step::Remove(n) => {
                if let Some(host) = self.model.world.hosts.get_mut(&host(&name(n))) {
                    host.document = None;
                }
            }
            Step::Bad(image) => {
                drop(self.bad.insert(format!("db:{image}"), InstanceState::failed("it is broken")))
            }
            Step::Good => self.bad.clear(),
            Step::NewLeader => self.model.memory = Memory::new(),
            Step::Wait(_) => {}
        }
        let wait = if let Step::Wait(millis) = step { *millis } else { 1 };
        let end = self.model.now + Duration::from_millis(wait);
        while self.model.now < end {
            for _ in 0..50 {
                let plans = self.model.pass().map_err(|error| TestCaseError::fail(error.to_string()))?;
                truth.look(self)?;
                let obeyed = self.obey();
                truth.look(self)?;
                if !obeyed && plans.iter().all(Plan::is_empty) {
                    break;
                }
            }
            self.model.now = (self.model.now + Duration::from_millis(250)).min(end);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn there_are_never_two(all in prop::collection::vec(steps(), 10..40)) {
        let mut lab = Lab::new(4);
        let mut truth = Truth::default();
        lab.put("shop/db", db("db:0", 2));
        for step in &all {
            lab.live(step, &mut truth)?;
        }
        // When all is well again, all slots are filled.
        for n in 1..=4u8 {
            lab.live(&Step::Active(n), &mut truth)?;
            if lab.model.world.hosts.contains_key(&host(&format!("h{n}"))) {
                lab.live(&Step::Back(n), &mut truth)?;
            }
        }
        lab.live(&Step::Good, &mut truth)?;
        lab.live(&Step::Put(0, 2), &mut truth)?;
        lab.live(&Step::Wait(200_000), &mut truth)?;
        prop_assert_eq!(lab.running("shop/db").len(), 2);
    }
}
