//! Which exclusive containers of a host may run now. A container may run for as long as its own time after
//! the moment at which its newest proof of life was *asked for*: an answer may have been under way for any
//! time. Times are the machine's, since its boot and with suspend; see [`evenkeel_api::local::Beat`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_api::local::{Beat, Guard, Guards};
use evenkeel_api::name::InstanceId;
use evenkeel_api::record::Desired;

/// A watchdog that has written nothing for so long does not run.
pub const SILENT: Duration = Duration::from_secs(2);

/// What a watchdog knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    guards: BTreeMap<String, Guarded>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Guarded {
    guard: Guard,
    /// When its newest proof was asked for.
    proof: Option<Duration>,
}

impl Watch {
    /// A watchdog that goes on from what its last life wrote; in another boot all of that is void.
    pub fn new(guards: Guards, beat: Option<&Beat>, boot: &str) -> Self {
        let proofs = beat.filter(|beat| beat.boot == boot).map(|beat| &beat.proofs);
        let proof = |id: &str| proofs?.get(id).filter(|at| **at > 0).map(|at| Duration::from_millis(*at));
        let guards = guards.guards.into_iter().map(|(id, guard)| {
            let proof = proof(&id);
            (id, Guarded { guard, proof })
        });
        Self { guards: guards.collect() }
    }

    /// The instance controller named what is to be guarded.
    pub fn take(&mut self, guards: Guards) {
        let mut known = std::mem::take(&mut self.guards);
        for (id, guard) in guards.guards {
            let proof = known.remove(&id).and_then(|known| known.proof);
            self.guards.insert(id, Guarded { guard, proof });
        }
    }

    /// Whose life is to be proved.
    pub fn instances(&self) -> BTreeSet<InstanceId> {
        self.guards.values().map(|guarded| guarded.guard.instance.clone()).collect()
    }

    /// Whether nothing is guarded.
    pub fn is_empty(&self) -> bool {
        self.guards.is_empty()
    }

    /// A transaction that was sent at `sent` found this host registered under its own lease, and these
    /// records. One that is given up, or gone, proves nothing; one that is to stop is stopped gently, and may
    /// take the time for it.
    pub fn proved(&mut self, sent: Duration, records: &BTreeMap<InstanceId, Desired>) {
        for guarded in self.guards.values_mut() {
            if records.get(&guarded.guard.instance).is_some_and(|desired| *desired < Desired::Lost) {
                guarded.proof = guarded.proof.max(Some(sent));
            }
        }
    }

    /// The containers that must not run at `now`, whether or not they do.
    pub fn overdue(&self, now: Duration) -> Vec<(&str, &Guard)> {
        let late = |guarded: &Guarded| guarded.deadline().is_none_or(|deadline| now >= deadline);
        let late = self.guards.iter().filter(|(_, guarded)| late(guarded));
        late.map(|(id, guarded)| (id.as_str(), &guarded.guard)).collect()
    }

    /// When the next one must end if nothing more is proved; `None`: none that may run.
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        self.guards.values().filter_map(Guarded::deadline).filter(|deadline| *deadline > now).min()
    }

    /// What is to be written at `now`.
    pub fn beat(&self, now: Duration, boot: &str) -> Beat {
        let proof = |guarded: &Guarded| guarded.proof.map_or(0, milliseconds);
        let proofs = self.guards.iter().map(|(id, guarded)| (id.clone(), proof(guarded))).collect();
        Beat { boot: boot.to_owned(), at: milliseconds(now), proofs }
    }
}

impl Guarded {
    fn deadline(&self) -> Option<Duration> {
        Some(self.proof?.saturating_add(self.guard.stop_after.0))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a host's watchdog runs at `now`.
pub fn runs(beat: Option<&Beat>, boot: &str, now: Duration) -> bool {
    beat.is_some_and(|beat| beat.boot == boot && age(now, beat.at).is_some_and(|age| age < SILENT))
}

/// How old a time of a beat is; none if it is yet to come.
fn age(now: Duration, at: u64) -> Option<Duration> {
    now.checked_sub(Duration::from_millis(at))
}

/// Whether an exclusive container may be started at `now`: the watchdog runs, guards it, and has proved its
/// life not long ago. Half of its time must be left, as a start takes a while.
///
/// # Errors
/// Why not, for people to read.
pub fn cover(
    beat: Option<&Beat>,
    boot: &str,
    now: Duration,
    container: &str,
    guard: &Guard,
) -> Result<(), String> {
    let Some(beat) = beat.filter(|beat| runs(Some(beat), boot, now)) else {
        return Err(
            "exclusive: this host's watchdog does not run, and nothing exclusive starts without it; \
                    see to `evenkeel controller watchdog`"
                .to_owned(),
        );
    };
    let Some(proof) = beat.proofs.get(container) else {
        return Err("exclusive: the watchdog takes it up".to_owned());
    };
    match age(now, *proof).filter(|_| *proof > 0) {
        Some(age) if age < guard.stop_after.0 / 2 => Ok(()),
        _ => Err("exclusive: etcd does not confirm that this host lives and that the copy is still its own"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_api::quantity::Span;

    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn id() -> InstanceId {
        "shop.db.1.a".parse().unwrap()
    }

    fn guards() -> Guards {
        let guard = Guard { instance: id(), stop_after: Span::seconds(5) };
        Guards { guards: [("c1".to_owned(), guard)].into() }
    }

    fn overdue(watch: &Watch, seconds: f64) -> bool {
        !watch.overdue(at(seconds)).is_empty()
    }

    fn records(desired: Desired) -> BTreeMap<InstanceId, Desired> {
        [(id(), desired)].into()
    }

    #[test]
    fn a_container_may_run_for_its_time_after_a_proof_was_asked_for() {
        let mut watch = Watch::new(guards(), None, "b");
        assert!(overdue(&watch, 0.0), "what was never proved must not run");
        watch.proved(at(10.0), &records(Desired::Run));
        assert_eq!((overdue(&watch, 14.9), overdue(&watch, 15.0)), (false, true));
        assert_eq!(watch.next_deadline(at(11.0)), Some(at(15.0)));
        // An answer that comes late is as old as its question, and an older one takes nothing back.
        watch.proved(at(12.0), &records(Desired::Drain));
        watch.proved(at(11.0), &records(Desired::Run));
        assert_eq!((overdue(&watch, 16.9), overdue(&watch, 17.0)), (false, true));
        assert_eq!(watch.next_deadline(at(17.0)), None);
    }

    #[test]
    fn what_is_given_up_or_gone_is_not_proved_and_what_stops_gently_is() {
        for (records, proves) in [
            (records(Desired::Run), true),
            (records(Desired::Drain), true),
            (records(Desired::Stop), true),
            (records(Desired::Lost), false),
            (BTreeMap::new(), false),
        ] {
            let mut watch = Watch::new(guards(), None, "b");
            watch.proved(at(10.0), &records);
            assert_eq!(!overdue(&watch, 11.0), proves, "{records:?}");
        }
    }

    #[test]
    fn a_new_life_goes_on_with_the_proofs_of_the_last_one_but_not_over_a_boot() {
        let mut watch = Watch::new(guards(), None, "b");
        watch.proved(at(10.0), &records(Desired::Run));
        let beat = watch.beat(at(11.0), "b");
        assert_eq!(Watch::new(guards(), Some(&beat), "b"), watch);
        assert!(overdue(&Watch::new(guards(), Some(&beat), "another"), 11.0));
        watch.take(Guards::default());
        assert_eq!(watch, Watch::default());
        watch.take(guards());
        assert!(overdue(&watch, 11.0), "a guard that went and came is a new one");
    }

    #[test]
    fn nothing_starts_without_a_watchdog_that_guards_it_and_a_fresh_proof() {
        let mut watch = Watch::new(guards(), None, "b");
        let guard = &guards().guards["c1"];
        let why = |beat: Option<&Beat>, boot: &str, now: f64, id: &str| {
            cover(beat, boot, at(now), id, guard).err().unwrap_or_default()
        };
        assert!(why(None, "b", 1.0, "c1").contains("does not run"));
        let unproved = watch.beat(at(10.0), "b");
        assert!(why(Some(&unproved), "b", 10.1, "c1").contains("does not confirm"));
        watch.proved(at(10.0), &records(Desired::Run));
        let beat = watch.beat(at(11.0), "b");
        assert_eq!(why(Some(&beat), "b", 12.0, "c1"), "");
        assert!(why(Some(&beat), "b", 12.0, "c2").contains("takes it up"));
        assert!(why(Some(&beat), "b", 12.6, "c1").contains("does not confirm"));
        assert!(why(Some(&beat), "b", 13.1, "c1").contains("does not run"));
        assert!(why(Some(&beat), "another", 12.0, "c1").contains("does not run"));
        assert!(why(Some(&beat), "b", 10.5, "c1").contains("does not run"), "a clock that went back");
        // The instants at which it is over: half of its time is gone, and nothing was written for two seconds.
        assert_eq!(why(Some(&beat), "b", 12.499, "c1"), "");
        assert!(why(Some(&beat), "b", 12.5, "c1").contains("does not confirm"));
        assert_eq!((runs(Some(&beat), "b", at(12.999)), runs(Some(&beat), "b", at(13.0))), (true, false));
    }

    #[test]
    fn what_was_never_proved_does_not_start_just_after_a_boot_either() {
        let unproved = Watch::new(guards(), None, "b").beat(at(1.0), "b");
        let why = cover(Some(&unproved), "b", at(1.1), "c1", &guards().guards["c1"]).unwrap_err();
        assert!(why.contains("does not confirm"), "{why}");
    }

    #[test]
    fn the_lives_to_be_proved_are_those_of_the_guards() {
        let mut watch = Watch::new(Guards::default(), None, "b");
        assert_eq!((watch.is_empty(), watch.instances()), (true, BTreeSet::new()));
        watch.take(guards());
        assert_eq!((watch.is_empty(), watch.instances()), (false, [id()].into()));
    }
}
