//! `evenkeel-etcd`: when a member counts as ended, and where its data go.

use std::fs;
use std::process::Output;

use super::machine::{Machine, told};

/// `ps` says what the file `left` says, and fails if there is none; `run` makes what a restore makes.
const DOCKER: &str = r#"
case $1 in
ps) cat "$HERE/left" ;;
run)
    echo "--bump-revision"
    mkdir -p "$HERE/data/restored/member"
    ;;
esac
"#;

/// One that carries a member of etcd.
fn member() -> Machine {
    let machine = Machine::new(DOCKER);
    machine.put("etc/tls/ca.crt", "clients");
    machine.put("etc/tls/peer-ca.crt", "peers");
    let settings = "ETCD_NAME=h1 ETCD_ADDRESS=10.0.0.11 ETCD_CLUSTER=h1=https://10.0.0.11:2380 ETCD_TOKEN=evenkeel-u \
                    ETCD_STATE=existing ETCD_IMAGE=r/etcd:3";
    machine.put("etc/etcd.env", settings);
    machine.put("etc/local.env", &format!("ETCD_DATA={}", machine.word("data")));
    machine.put("data/member/db", "old");
    machine.put("left", "");
    machine
}

fn etcd(machine: &Machine, arguments: &[&str]) -> Output {
    machine.script("evenkeel-etcd", arguments, &[("EVENKEEL_ETCD_ETC", machine.word("etc"))])
}

#[test]
fn stop_ends_well_only_if_nothing_is_left() {
    let machine = member();
    assert!(etcd(&machine, &["stop"]).status.success());
    machine.put("left", "0123456789ab\n");
    let still = etcd(&machine, &["stop"]);
    assert!(!still.status.success() && told(&still).contains("could not be removed"), "{}", told(&still));
    fs::remove_file(machine.path("left")).unwrap();
    let silent = etcd(&machine, &["stop"]);
    assert!(!silent.status.success() && told(&silent).contains("does not answer"), "{}", told(&silent));
}

#[test]
fn data_are_put_aside_where_they_are_and_not_while_the_member_may_run() {
    let machine = member();
    machine.put("left", "0123456789ab\n");
    assert!(!etcd(&machine, &["aside"]).status.success());
    assert_eq!(fs::read_to_string(machine.path("data/member/db")).unwrap(), "old");
    machine.put("left", "");
    let output = etcd(&machine, &["aside"]);
    assert!(output.status.success(), "{}", told(&output));
    let before = machine.names("").into_iter().find(|name| name.starts_with("data.before-")).unwrap();
    assert!(machine.path(&before).join("member/db").exists() && !machine.path("data").exists());
    // There is nothing to put aside any more.
    assert!(etcd(&machine, &["aside"]).status.success());
}

#[test]
fn a_disk_of_its_own_stays_where_it_is_mounted() {
    let machine = member();
    machine.program("mountpoint", "#!/bin/sh\n");
    machine.put("data/before-1/member/db", "older");
    fs::create_dir(machine.path("data/lost+found")).unwrap();
    let output = etcd(&machine, &["aside"]);
    assert!(output.status.success(), "{}", told(&output));
    let names = machine.names("data");
    assert_eq!(
        (names.len(), names[0].as_str(), names[2].as_str()),
        (3, "before-1", "lost+found"),
        "{names:?}"
    );
    assert_eq!(fs::read_to_string(machine.path("data").join(&names[1]).join("member/db")).unwrap(), "old");
}

#[test]
fn a_restored_etcd_is_another_cluster_than_the_one_that_was_lost() {
    let machine = member();
    machine.put("backup.db", "backup");
    let output = etcd(&machine, &["restore", &machine.word("backup.db")]);
    assert!(output.status.success(), "{}", told(&output));
    let calls = machine.calls().join(" ");
    let words: Vec<_> = calls.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "--initial-cluster-token").unwrap();
    let time = words[at + 1].strip_prefix("evenkeel-u-").and_then(|time| time.parse::<u64>().ok());
    assert!(time.is_some_and(|time| time > 1_700_000_000), "{}", words[at + 1]);
    assert_eq!(machine.names("data"), ["member"]);
}
