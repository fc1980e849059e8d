//! The shortest part of a scenario that still fails.

use crate::run::run;
use crate::scenario::{Scenario, Step};

/// What a run says of itself first: the invariant, without the particulars.
fn kind(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}

/// The steps up to the one without which the scenario does not fail; as it is, if it does not fail at all.
pub fn shortest(scenario: &Scenario) -> Scenario {
    failing(scenario, |steps, fails| prefix(steps, fails).to_vec())
}

/// The same, and of these steps every one left out that can be. `told` hears how far it is.
pub fn shrink(scenario: &Scenario, told: impl FnMut(&str)) -> Scenario {
    failing(scenario, |steps, fails| fewest(prefix(steps, fails).to_vec(), fails, told))
}

/// With those of its steps that `choose` chooses by trying which still fail by the same invariant, if it fails.
fn failing(
    scenario: &Scenario,
    choose: impl FnOnce(&[Step], &dyn Fn(&[Step]) -> bool) -> Vec<Step>,
) -> Scenario {
    let Some((at, what)) = run(scenario, false).violation else { return scenario.clone() };
    let fails = |steps: &[Step]| {
        let part = Scenario { steps: steps.to_vec(), ..scenario.clone() };
        let violation = run(&part, false).violation;
        violation.is_some_and(|(_, other)| kind(&other) == kind(&what))
    };
    // A run ends where something does not hold. Without what was to come later it is the same run up to there,
    // unless it is mended before.
    let before: Vec<Step> = scenario.steps.iter().filter(|step| step.at <= at).cloned().collect();
    let steps = choose(if fails(&before) { &before } else { &scenario.steps }, &fails);
    Scenario { steps, ..scenario.clone() }
}

/// The first of the steps that fail, by halves: not without the last of them. All of them fail.
fn prefix(steps: &[Step], fails: impl Fn(&[Step]) -> bool) -> &[Step] {
    let (mut holds, mut failing) = (0, steps.len());
    while holds < failing {
        let middle = usize::midpoint(holds, failing);
        if fails(&steps[..middle]) {
            failing = middle;
        } else {
            holds = middle + 1;
        }
    }
    &steps[..failing]
}

/// Leave out what can be left out: halves, quarters, single steps; again until none can.
fn fewest(mut steps: Vec<Step>, fails: impl Fn(&[Step]) -> bool, mut told: impl FnMut(&str)) -> Vec<Step> {
    let mut piece = steps.len().div_ceil(2);
    while piece > 0 {
        let had = steps.len();
        let mut from = 0;
        while from < steps.len() {
            let rest: Vec<Step> =
                steps.iter().take(from).chain(steps.iter().skip(from + piece)).cloned().collect();
            if fails(&rest) {
                steps = rest;
                told(&format!("{} steps", steps.len()));
            } else {
                from += piece;
            }
        }
        // One may have been needed only for others that are gone since.
        if piece > 1 || steps.len() == had {
            piece /= 2;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::act::Act;
    use crate::chance::Chance;

    fn steps(seconds: impl IntoIterator<Item = u64>) -> Vec<Step> {
        seconds.into_iter().map(|at| Step { at: Duration::from_secs(at), act: Act::Snapshot }).collect()
    }

    fn has(steps: &[Step], second: u64) -> bool {
        steps.iter().any(|step| step.at.as_secs() == second)
    }

    #[test]
    fn what_one_step_needs_and_no_other_is_left_out_once_that_one_is() {
        // 5 alone fails; 7 holds unless 2 is there.
        let fails = |some: &[Step]| has(some, 5) && (!has(some, 7) || has(some, 2));
        assert_eq!(fewest(steps(0..10), fails, |_| ()), steps([5]));
    }

    #[test]
    fn no_step_can_be_left_out_of_what_is_left() {
        for seed in 0..300 {
            let mut chance = Chance::new(seed, "shrink");
            let of = chance.between(1, 90);
            let needed: BTreeSet<u64> =
                (0..chance.between(0, 5)).map(|_| chance.between(0, of - 1)).collect();
            let fails = |some: &[Step]| needed.iter().all(|one| has(some, *one));
            let all = steps(0..of);
            let last = needed.last().map_or(0, |last| last + 1);
            assert_eq!(prefix(&all, fails), steps(0..last), "seed {seed}");
            assert_eq!(fewest(all, fails, |_| ()), steps(needed.iter().copied()), "seed {seed}");
        }
    }
}
