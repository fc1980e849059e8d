//! The shortest part of a scenario that still fails.

use crate::run::run;
use crate::scenario::{Scenario, Step};

/// What a run says of itself first: the invariant, without the particulars.
fn kind(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}

/// Leave out what can be left out: what comes after the failure, then halves, quarters and single steps, as
/// long as the same invariant fails. `told` hears how far it is. The scenario itself if it does not fail.
pub fn shrink(scenario: &Scenario, mut told: impl FnMut(&str)) -> Scenario {
    let Some((at, what)) = run(scenario, false).violation else { return scenario.clone() };
    let fails = |steps: &[Step]| {
        let part = Scenario { steps: steps.to_vec(), ..scenario.clone() };
        let violation = run(&part, false).violation;
        violation.is_some_and(|(_, other)| kind(&other) == kind(&what))
    };
    let before: Vec<Step> = scenario.steps.iter().filter(|step| step.at <= at).cloned().collect();
    let mut steps = if fails(&before) { before } else { scenario.steps.clone() };
    let mut piece = steps.len().div_ceil(2);
    while piece > 0 {
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
        piece /= 2;
    }
    Scenario { steps, ..scenario.clone() }
}
