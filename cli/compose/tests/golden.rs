//! Whole files, with the documents and the report that come of them. `EVENKEEL_UPDATE_GOLDEN=1 cargo test -p
//! evenkeel-compose --test golden` writes both anew.

mod common;

use std::path::{Path, PathBuf};

use common::{Memory, report, run};
use evenkeel_api::text::{Origin, interpolate, parse_documents};
use evenkeel_compose::{Options, import};

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

/// docs/compose.md tells of it: what the import writes, and that what a person made of it is valid.
#[test]
fn the_example_of_the_docs_is_what_comes_of_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/notes");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file of the example");
    let files = ["compose.yaml", "images.yaml"];
    let world = Memory::with(
        &files.map(|name| (name, read(name))).each_ref().map(|(name, text)| (*name, text.as_str())),
    );
    let options = Options {
        files: files.iter().map(PathBuf::from).collect(),
        namespace: Some("notes".parse().expect("a namespace")),
        ..Options::default()
    };
    let imported = import(&options, &world);
    let found = [("imported.yaml", imported.documents()), ("report.txt", report(&imported))];
    for (name, text) in found {
        if std::env::var_os("EVENKEEL_UPDATE_GOLDEN").is_some() {
            std::fs::write(folder.join(name), &text).expect("it is written");
        }
        assert_eq!(read(name), text, "{name}: EVENKEEL_UPDATE_GOLDEN=1 writes it anew");
    }
    let decided =
        interpolate(&read("notes.yaml"), |_| Some("secret".to_owned())).expect("variables that are set");
    for document in parse_documents(&decided, &Origin::file("notes.yaml")) {
        document.unwrap_or_else(|error| panic!("{error}"));
    }
}
