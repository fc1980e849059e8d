//! `evenkeel import` as a process: what goes where, and how it ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const WHOLE: &str = "name: shop\nservices: {web: {image: 'web:${TAG}', restart: always, networks: [lan]}}\n\
                     networks: {lan: {ipam: {config: [{subnet: 10.88.0.0/16}]}}}\n";

/// A folder of its own with these files.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    for (file, text) in files {
        std::fs::write(folder.join(file), text).expect("a file");
    }
    folder
}

fn keel(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_is_whole_ends_with_0_and_can_be_validated() {
    let folder = folder("whole", &[("compose.yaml", WHOLE), (".env", "TAG=1.4\n")]);
    let imported = keel(&folder, &["import", "compose.yaml", "--to", "shop.yaml"]);
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    assert!(
        text(&imported.stderr).contains("compose.yaml:1:7: changed: the namespace is shop"),
        "{imported:?}"
    );
    assert!(text(&imported.stderr).contains("2 of 2 documents imported"), "{imported:?}");
    let validated = keel(&folder, &["validate", "-f", "shop.yaml"]);
    assert_eq!(validated.status.code(), Some(0), "{validated:?}");
    assert!(text(&validated.stdout).contains("Service shop/web is valid"), "{validated:?}");
}

#[test]
fn what_needs_a_decision_ends_with_3_and_is_printed() {
    let folder = folder("decide", &[("compose.yaml", WHOLE)]);
    let missing = keel(&folder, &["import", "compose.yaml", "-n", "shop"]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(text(&missing.stderr).contains("refused: services.web.image: TAG is not set"), "{missing:?}");
    assert!(text(&missing.stdout).contains("kind: Network"), "{missing:?}");
    let compose = "services: {web: {image: 'web:1', restart: always, volumes: ['./x:/x']}}";
    std::fs::write(folder.join("mount.yaml"), compose).unwrap();
    let mount = keel(&folder, &["import", "mount.yaml"]);
    assert_eq!(mount.status.code(), Some(3), "{mount:?}");
    assert!(
        text(&mount.stderr).contains("1 of 1 documents imported; 0 refusals, 2 decisions needed"),
        "{mount:?}"
    );
    assert!(!text(&mount.stderr).contains("error"), "nothing went wrong: {mount:?}");
    let there =
        keel(&folder, &["import", "mount.yaml", "-n", "shop", "--files-at", "/srv/shop", "--to", "at.yaml"]);
    assert_eq!(there.status.code(), Some(3), "{there:?}");
    assert!(text(&there.stderr).contains("1 decision needed"), "{there:?}");
    // What is to be decided then is the hosts' leave, which can be had as their file.
    let policy = keel(&folder, &["validate", "-f", "at.yaml", "--policy"]);
    assert_eq!(policy.status.code(), Some(0), "{policy:?}");
    let expected = "namespaces:\n  shop:\n    host_paths:\n    - /srv/shop/x\n";
    assert_eq!(text(&policy.stdout).replace("      - ", "    - "), expected, "{policy:?}");
    std::fs::write(folder.join("calm.yaml"), "services: {web: {image: 'web:1', restart: always}}").unwrap();
    assert_eq!(
        keel(&folder, &["import", "calm.yaml", "-n", "shop", "--to", "calm-documents.yaml"]).status.code(),
        Some(0)
    );
    let policy = keel(&folder, &["validate", "-f", "calm-documents.yaml", "--policy"]);
    assert!(text(&policy.stdout).starts_with("# these services need no leave"), "{policy:?}");
}

#[test]
fn what_cannot_be_imported_ends_with_1() {
    let folder =
        folder("nothing", &[("bad.yaml", "services: [\n"), ("built.yaml", "services: {web: {build: .}}")]);
    for file in ["bad.yaml", "built.yaml", "gone.yaml"] {
        let imported = keel(&folder, &["import", file]);
        assert_eq!(imported.status.code(), Some(1), "{imported:?}");
        assert!(text(&imported.stderr).starts_with(&format!("{file}:")), "{imported:?}");
        assert!(text(&imported.stderr).contains("error: no service was imported"), "{imported:?}");
    }
}

#[test]
fn compose_files_are_pointed_to_the_import() {
    let folder = folder("pointed", &[("compose.yaml", WHOLE)]);
    let validated = keel(&folder, &["validate", "-f", "compose.yaml"]);
    assert_eq!(validated.status.code(), Some(1), "{validated:?}");
    assert!(text(&validated.stderr).contains("`evenkeel import FILE`"), "{validated:?}");
}

#[test]
fn programs_get_the_report_as_json() {
    let folder = folder("json", &[("compose.yaml", WHOLE)]);
    let imported = keel(&folder, &["import", "compose.yaml", "-o", "json"]);
    let found: serde_json::Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(found["objects"][1]["name"], "Service shop/web");
    assert_eq!(found["objects"][1]["refused"], true);
    assert!(found["findings"].as_array().unwrap().iter().any(|finding| finding["severity"] == "refused"));
}
