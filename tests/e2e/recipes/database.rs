//! docs/recipes.md, «A database with a volume».

use evenkeel_tests::lab::running::Watch;
use evenkeel_tests::lab::{Lab, case, eventually, since};
use tokio::time::Instant;

use super::desk::Desk;
use super::{PAGE, the_copy};
use crate::documents;

const HEADING: &str = "A database with a volume";
const DB: &str = "store/db";

#[test]
fn a_database_keeps_its_data_and_waits_for_its_host() {
    case(|lab| {
        let mut desk = Desk::new(lab, PAGE, HEADING);
        desk.after_the_first_hour();
        let said = desk.next();
        let (home, first) = the_copy(lab, DB);
        assert!(said.contains(&home), "`get copies` does not say that it is on {home}:\n{said}");
        desk.is_done();
        let text = std::fs::read_to_string(desk.file("db.yaml")).expect("what was typed");
        assert!(!text.contains("change-me"), "the file has the password:\n{text}");

        // A neighbour in the namespace, and one in another.
        let elsewhere = lab.hosts_but(&home);
        let client = |host: &str| {
            let constraint = format!("placement: {{constraints: [\"node.hostname == {host}\"]}}");
            documents::client("postgres:15", "default", &constraint)
        };
        lab.put("services/store/near", &client(&elsewhere[0]));
        lab.put("services/far/far", &client(&elsewhere[1]));
        lab.settled("store/near", 1, 30);
        lab.settled("far/far", 1, 30);
        for (client, name) in [("store/near", "db"), ("far/far", "db.store")] {
            assert_eq!(ask(lab, client, name, "SELECT 1"), Ok("1".to_owned()));
        }
        assert!(ask_as(lab, "far/far", "db.store", "wrong", "SELECT 1").is_err(), "any password will do");
        ask(lab, "store/near", "db", "CREATE TABLE kept AS SELECT 42 AS n").expect("a table");

        let timed = |what: &str, then: Instant| println!("-> {what}: {:.1} s", since(then));
        let begun = Instant::now();
        killed(lab, &home, &first.name);
        timed("killed", begun);
        let begun = Instant::now();
        exchanged(lab, &desk, &home, &first.name);
        timed("exchanged", begun);
        let begun = Instant::now();
        drained(lab, &home);
        timed("drained", begun);
        let begun = Instant::now();
        lost(lab, &home);
        timed("lost", begun);
    });
}

fn ask_as(lab: &Lab, client: &str, name: &str, password: &str, sql: &str) -> Result<String, String> {
    let password = format!("PGPASSWORD={password}");
    let psql = ["env", &password, "PGCONNECT_TIMEOUT=2", "psql", "-h", name, "-U", "shop", "-tAc", sql];
    lab.keel(&[&["exec", client, "--"], &psql[..]].concat()).result()
}

fn ask(lab: &Lab, client: &str, name: &str, sql: &str) -> Result<String, String> {
    ask_as(lab, client, name, "change-me", sql)
}

/// It answers, with the row that it was given.
fn has_its_data(lab: &Lab) {
    eventually(20, "its data", || match ask(lab, "store/near", "db", "SELECT n FROM kept")?.as_str() {
        "42" => Ok(()),
        other => Err(other.to_owned()),
    });
}

/// «Starts again on the spot, with its data».
fn killed(lab: &Lab, home: &str, copy: &str) {
    lab.docker(home, &["kill", copy]).ok();
    has_its_data(lab);
    let (host, again) = the_copy(lab, DB);
    assert_eq!((host.as_str(), again.name.as_str()), (home, copy));
}

/// «The old copy stops first, the new one starts where the volume is».
fn exchanged(lab: &Lab, desk: &Desk<'_>, home: &str, old: &str) {
    let watch = Watch::start(lab, "store.db.");
    let begun = Instant::now();
    desk.shell("sed -i 's/POSTGRES_USER: shop/PGTZ: UTC, &/' db.yaml\nevenkeel apply -f db.yaml --wait").ok();
    let (host, new) = the_copy(lab, DB);
    assert!(host == home && new.name != old, "{} on {host}, after {old} on {home}", new.name);
    assert_eq!(watch.doubles(begun), Vec::new(), "both ran at once");
    has_its_data(lab);
}

/// «It stays, since its data cannot leave; `evenkeel status` says so».
fn drained(lab: &Lab, home: &str) {
    let (_, before) = the_copy(lab, DB);
    lab.keel(&["host", "drain", home]).ok();
    eventually(20, "status says why it stays", || {
        let status = lab.keel(&["status"]).out;
        let told = status.lines().any(|line| line.contains(DB) && line.contains("volume"));
        if told { Ok(()) } else { Err(status) }
    });
    assert_eq!(the_copy(lab, DB).1.name, before.name);
    has_its_data(lab);
    lab.keel(&["host", "undrain", home]).ok();
}

/// «Waits for it», and «`evenkeel delete host` gives it up: it starts elsewhere with an empty volume».
fn lost(lab: &Lab, home: &str) {
    let others = lab.hosts_but(home);
    lab.run(&["poweroff", home]);
    eventually(20, "status says what it waits for", || {
        let status = lab.keel(&["status"]).out;
        let told = status.lines().any(|line| line.contains(DB) && line.contains(home));
        if told { Ok(()) } else { Err(status) }
    });
    assert!(lab.copies_on(&others, DB).is_empty(), "it did not wait for its host");
    lab.keel(&["delete", "host", home]).ok();
    eventually(40, "an empty database elsewhere", || {
        match ask(lab, "far/far", "db.store", "SELECT n FROM kept") {
            Err(said) if said.contains("does not exist") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(lab.copies_on(&others, DB).len(), 1);
}
