//! Golden scenarios: `tests/scenarios/*.txt` say in words what happens to a cluster and what is planned for
//! it. Lines that begin with `>` are the plan; all others are what happens. `UPDATE_SCENARIOS=1` writes the
//! plan anew: review the difference.

#![allow(clippy::unwrap_used, reason = "a test may end where it finds something amiss")]

#[path = "scenarios/cluster.rs"]
mod cluster;
#[path = "scenarios/script.rs"]
mod script;
#[path = "scenarios/words.rs"]
mod words;

use std::path::{Path, PathBuf};

fn all() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
}

#[test]
fn every_scenario_is_planned_as_written() {
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut wrong = Vec::new();
    let paths = all();
    assert!(paths.len() >= 15, "only {} scenarios were found", paths.len());
    for path in paths {
        let written = std::fs::read_to_string(&path).unwrap();
        let played = script::play(&written).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if played == written {
            continue;
        }
        if update {
            std::fs::write(&path, played).unwrap();
        } else {
            wrong.push(format!("{}\n{}", path.display(), difference(&written, &played)));
        }
    }
    assert!(wrong.is_empty(), "{}\nUPDATE_SCENARIOS=1 writes them anew", wrong.join("\n"));
}

/// The first lines that differ, with what leads to them.
fn difference(written: &str, played: &str) -> String {
    let at = written.lines().zip(played.lines()).take_while(|(a, b)| a == b).count();
    let lines =
        |text: &str| text.lines().skip(at).take(6).map(|line| format!("    {line}\n")).collect::<String>();
    format!("from line {}:\n  written:\n{}  planned:\n{}", at + 1, lines(written), lines(played))
}
