//! A host loses its power: when are its copies out of the names, and when do others run in their place?
//! evenkeel beside Swarm mode on one lab, measured alike; `hack/bench failover` runs it.
//!
//! Both from the moment when the victim's engine is heard no more, to the engines' own events of the last
//! replacement's start, and to the answers of the name servers that the remaining hosts' containers ask.

mod keel;
mod round;
mod swarm;

use evenkeel_tests::lab::Lab;
use evenkeel_tests::lab::raw::median;
use round::Round;

/// Copies of the service that is watched.
const COPIES: u32 = 6;
/// It sleeps.
const IMAGE: &str = "registry.lan:5000/busybox:1";

fn main() {
    let lab = Lab::of_environment();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rounds = words.get(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    match words.first().map(String::as_str) {
        Some("keel") => keel::measure(&lab, rounds),
        Some("swarm") => swarm::measure(&lab, rounds),
        _ => panic!("failover keel|swarm [ROUNDS]"),
    }
}

/// One line a kind of victim: KIND OUT-MEDIAN REPLACED-MEDIAN OUT,OUT,… REPLACED,REPLACED,… in seconds; `-`
/// where nothing was to be had.
fn report(kind: &str, rounds: &[Round]) {
    let out: Vec<f64> = rounds.iter().filter_map(|round| round.out).collect();
    let replaced: Vec<f64> = rounds.iter().map(|round| round.replaced).collect();
    let all = |values: &[f64]| {
        let all: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(",") }
    };
    let middle = |values: &[f64]| {
        if values.is_empty() { "-".to_owned() } else { format!("{:.2}", median(values)) }
    };
    println!("{kind} {} {} {} {}", middle(&out), middle(&replaced), all(&out), all(&replaced));
}
