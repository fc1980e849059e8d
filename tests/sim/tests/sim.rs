//! Seeds: that one means one run, that those which once failed do not any more, and fresh ones.

use std::time::{Duration, SystemTime};

use evenkeel_manager::recover::Way;
use evenkeel_sim::act::{Act, Back};
use evenkeel_sim::run::run;
use evenkeel_sim::scenario::{Scenario, Size, Step};
use evenkeel_sim::shrink::shortest;

/// How long a person takes to decide.
const DECIDES: Duration = Duration::from_secs(10);

fn size(minutes: u64) -> Size {
    Size { rough: Duration::from_secs(60 * minutes), ..Size::default() }
}

fn passes(seed: u64, size: &Size) {
    let scenario = Scenario::new(seed, size);
    let report = run(&scenario, false);
    if let Some((at, what)) = report.violation {
        let (tail, short, at) = (report.lines.join("\n"), shortest(&scenario), at.as_secs_f64());
        panic!("{tail}\n{short}\nseed {seed} fails at {at:.3} s: {what}; see docs/simulation.md");
    }
}

#[test]
fn the_same_seed_is_the_same_run_to_the_byte() {
    let small = Size { hosts: Some(3), copies: Some(6), ..size(1) };
    let mut scenario = Scenario::new(3, &small);
    // Also where everybody hears at once that the store went back, and what a person decided.
    scenario.steps.retain(|step| !matches!(step.act, Act::Snapshot | Act::GoesBack(..)));
    let went_back = [(8, Act::Snapshot), (20, Act::GoesBack(Back::Restored, Way::FromHosts, DECIDES))];
    scenario.steps.extend(went_back.map(|(at, act)| Step { at: Duration::from_secs(at), act }));
    scenario.steps.sort_by_key(|step| step.at);
    let (one, other) = (run(&scenario, true), run(&scenario, true));
    assert!(one.lines.iter().any(|line| line.contains("recovered FromHosts")));
    assert_eq!(one.lines, other.lines);
    assert_ne!(run(&Scenario::new(4, &small), false).digest, one.digest);
}

#[test]
fn seeds_that_once_failed() {
    for line in include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#')) {
        let (seed, _cause) = line.split_once(' ').unwrap_or((line, ""));
        passes(seed.parse().unwrap(), &size(4));
    }
}

/// For as many seconds as `EVENKEEL_SIM_SECONDS` says, at least one; from `EVENKEEL_SIM_FIRST` on, or from the time.
#[test]
#[allow(clippy::disallowed_methods, reason = "fresh seeds, and real time to run them in")]
fn fresh_seeds() {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = asked("EVENKEEL_SIM_SECONDS");
    let began = SystemTime::now();
    let since = began.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut seed = asked("EVENKEEL_SIM_FIRST").unwrap_or(since.as_nanos() as u64 % 1_000_000_007);
    loop {
        println!("seed {seed}");
        passes(seed, &size(1));
        seed += 1;
        if began.elapsed().unwrap_or_default() >= Duration::from_secs(seconds.unwrap_or(10)) {
            return;
        }
    }
}
