//! `evenkeel-host --separate`: each controller gets what the table of the bundle's README says, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::machine::{BUNDLE, Machine};

/// There is an image, and no container.
const DOCKER: &str = r#"
case $1 in
image) echo sha256:1 ;;
inspect) exit 1 ;;
esac
"#;
/// The machine's own /etc is nobody's business here.
const MKDIR: &str = r#"#!/bin/bash
for path in "$@"; do [ "$path" = /etc/evenkeel ] || paths+=("$path"); done
exec /bin/mkdir "${paths[@]}"
"#;

/// What a controller has, in the table's columns.
#[derive(Debug, PartialEq, Eq)]
struct Rights {
    name: String,
    capabilities: BTreeSet<String>,
    writes: BTreeSet<String>,
    settings: bool,
    engine: bool,
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    words.into_iter().map(str::to_owned).collect()
}

/// The rows of the README, but for that of all in one.
fn table() -> Vec<Rights> {
    let text = fs::read_to_string(format!("{BUNDLE}/README.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| controller |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|')).filter(|line| !line.starts_with("| all in one"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let words = cells[2].split([',', ';', ' ']).filter(|word| !word.is_empty());
        Rights {
            name: cells[1].to_owned(),
            capabilities: set(words
                .filter(|word| word.chars().all(|c| c.is_ascii_uppercase() || c == '_') && *word != "PID")),
            writes: set(cells[3].split('`').skip(1).step_by(2)),
            settings: cells[4] == "yes",
            engine: cells[5] == "yes",
        }
    })
    .collect()
}

/// What a call of docker gives.
fn given(call: &str, state: &str) -> Rights {
    let words: Vec<&str> = call.split(' ').collect();
    let after = |word: &str| -> Vec<&str> {
        words.windows(2).filter(|pair| pair[0] == word).map(|pair| pair[1]).collect()
    };
    let mounts = after("--mount");
    let targets = |writable: bool| {
        let mounts = mounts.iter().filter(move |mount| mount.contains(",readonly") != writable);
        mounts
            .filter_map(|mount| mount.split("target=").nth(1))
            .map(|target| target.split(',').next().unwrap())
    };
    let below = |target: &str| target.strip_prefix(state).map(|path| path.trim_start_matches('/').to_owned());
    let other = targets(true).find(|target| below(target).is_none() && *target != "/host/cgroup");
    assert_eq!(other, None, "{call}");
    Rights {
        name: words.last().unwrap().to_string(),
        capabilities: set(after("--cap-add")),
        writes: targets(true).filter_map(below).collect(),
        settings: targets(false).any(|target| target == "/etc/evenkeel"),
        engine: targets(false).any(|target| target == "/host/run"),
    }
}

#[test]
fn each_controller_alone_has_what_its_row_says_and_no_more() {
    let machine = Machine::new(DOCKER);
    machine.program("mkdir", MKDIR);
    let state = machine.word("state");
    let settings = format!(
        "EVENKEEL_ENDPOINTS=https://10.0.0.11:2379\nEVENKEEL_ADDRESS=10.0.0.11\nEVENKEEL_IMAGE=r/evenkeel:1\n\
         EVENKEEL_STATE_DIR={state}\nEVENKEEL_IDENTITIES={}\nEVENKEEL_HOST=h1\n",
        machine.word("tls")
    );
    machine.put("host.env", &settings);
    let env = [("EVENKEEL_HOST_ENV", machine.word("host.env"))];
    let ran = machine.script("evenkeel-host", &["start", "--separate"], &env);
    assert!(ran.status.success(), "{ran:?}");
    let mut calls = machine.calls();
    calls.retain(|call| call.starts_with("run "));
    let found: Vec<Rights> = calls.iter().map(|call| given(call, &state)).collect();
    assert_eq!(found.len(), 7);
    assert_eq!(found, table());
    for folder in found.iter().flat_map(|rights| &rights.writes) {
        assert!(Path::new(&state).join(folder).is_dir(), "{folder} is there to be mounted");
    }
    for call in &calls {
        for part in ["--cap-drop ALL", "--read-only ", "no-new-privileges"] {
            assert!(call.contains(part), "{call}");
        }
    }
}
