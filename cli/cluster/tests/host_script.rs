//! `evenkeel-host --separate` of the host bundle, with a docker that only notes what it is asked: each controller gets what
//! the table of its README says, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/host");

/// Notes each `run` on a line; there is an image, and no container.
const DOCKER: &str = r#"#!/bin/bash
case $1 in
image) echo sha256:1 ;;
inspect) exit 1 ;;
run) echo "$*" >>"$HERE/runs" ;;
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
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let program = |name: &str, text: &str| {
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("docker", DOCKER);
    program("mkdir", MKDIR);
    let settings = format!(
        "EVENKEEL_ENDPOINTS=https://10.0.0.11:2379\nEVENKEEL_ADDRESS=10.0.0.11\nEVENKEEL_IMAGE=r/evenkeel:1\n\
         EVENKEEL_STATE_DIR={}\nEVENKEEL_IDENTITIES={}\nEVENKEEL_HOST=h1\n",
        path("state"),
        path("tls")
    );
    fs::write(path("host.env"), settings).unwrap();
    let ran = Command::new("bash")
        .args([&format!("{BUNDLE}/evenkeel-host"), "start", "--separate"])
        .env("PATH", format!("{}:{}", path(""), std::env::var("PATH").unwrap()))
        .env("HERE", home.path())
        .env("EVENKEEL_HOST_ENV", path("host.env"))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let calls = fs::read_to_string(path("runs")).unwrap();
    let state = path("state");
    let found: Vec<Rights> = calls.lines().map(|call| given(call, &state)).collect();
    assert_eq!(found.len(), 7);
    assert_eq!(found, table());
    for folder in found.iter().flat_map(|rights| &rights.writes) {
        assert!(Path::new(&state).join(folder).is_dir(), "{folder} is there to be mounted");
    }
    for call in calls.lines() {
        for part in ["--cap-drop ALL", "--read-only ", "no-new-privileges"] {
            assert!(call.contains(part), "{call}");
        }
    }
}
