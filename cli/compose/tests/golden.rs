//! Whole files, with the documents and the report that come of them. `EVENKEEL_UPDATE_GOLDEN=1 cargo test -p
//! evenkeel-compose --test golden` writes both anew.

mod common;

use std::path::{Path, PathBuf};

use common::{Memory, report, run};

/// A case is a folder: `compose.yaml`, what it needs, and `expected.yaml` with documents and report.
fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(root).expect("the cases").map(|entry| entry.expect("a case").path()).collect();
    cases.sort();
    cases
}

/// The files of a case, by their names in it.
fn world(case: &Path) -> Memory {
    let mut world = Memory::default().and("TAG", "1.4").and("EMPTY", "");
    let mut folders = vec![case.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a file").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(case).expect("below it").to_path_buf();
                world.files.insert(name, std::fs::read_to_string(path).expect("a text"));
            }
        }
    }
    world
}

#[test]
fn files_become_what_is_expected() {
    let mut wrong = Vec::new();
    for case in cases() {
        let world = world(&case);
        let mut files = vec!["compose.yaml"];
        if world.files.contains_key(Path::new("compose.override.yaml")) {
            files.push("compose.override.yaml");
        }
        let imported = run(&world, &files, &["chosen"]);
        let report: String = report(&imported).lines().map(|line| format!("# {line}\n")).collect();
        let found = format!("{report}---\n{}", imported.documents());
        let path = case.join("expected.yaml");
        if std::env::var_os("EVENKEEL_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
