//! `evenkeel-etcd` of the host bundle, with a docker that only notes what it is asked.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/host/evenkeel-etcd");

/// Notes each call. `ps` says what the file `left` says, and fails if there is none; `run` makes what a restore makes.
const DOCKER: &str = r#"#!/bin/bash
echo "$*" >>"$HERE/calls"
case $1 in
ps) cat "$HERE/left" ;;
run)
    echo "--bump-revision"
    mkdir -p "$HERE/data/restored/member"
    ;;
esac
"#;

/// A machine, as far as the script sees it.
struct Machine {
    home: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Self {
        let home = std::env::temp_dir().join(format!("evenkeel-etcd-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        let machine = Self { home };
        machine.put("etc/tls/ca.crt", "clients");
        machine.put("etc/tls/peer-ca.crt", "peers");
        let settings = "ETCD_NAME=h1 ETCD_ADDRESS=10.0.0.11 ETCD_CLUSTER=h1=https://10.0.0.11:2380 ETCD_TOKEN=evenkeel-u \
                        ETCD_STATE=existing ETCD_IMAGE=r/etcd:3";
        machine.put("etc/etcd.env", settings);
        machine.put("etc/local.env", &format!("ETCD_DATA={}", machine.path("data").display()));
        machine.put("data/member/db", "old");
        machine.put("left", "");
        machine.program("docker", DOCKER);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        let name = format!("bin/{name}");
        self.put(&name, text);
        fs::set_permissions(self.path(&name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn script(&self, arguments: &[&str]) -> Output {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        Command::new("bash")
            .arg(SCRIPT)
            .args(arguments)
            .env("PATH", path)
            .env("HERE", &self.home)
            .env("EVENKEEL_DOCKER_CLI", "docker")
            .env("EVENKEEL_ETCD_ETC", self.path("etc"))
            .output()
            .unwrap()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap().map(Result::unwrap);
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn stop_ends_well_only_if_nothing_is_left() {
    let machine = Machine::new("stop");
    assert!(machine.script(&["stop"]).status.success());
    machine.put("left", "0123456789ab\n");
    let still = machine.script(&["stop"]);
    assert!(!still.status.success() && told(&still).contains("could not be removed"), "{}", told(&still));
    fs::remove_file(machine.path("left")).unwrap();
    let silent = machine.script(&["stop"]);
    assert!(!silent.status.success() && told(&silent).contains("does not answer"), "{}", told(&silent));
}

#[test]
fn data_are_put_aside_where_they_are_and_not_while_the_member_may_run() {
    let machine = Machine::new("aside");
    machine.put("left", "0123456789ab\n");
    assert!(!machine.script(&["aside"]).status.success());
    assert_eq!(fs::read_to_string(machine.path("data/member/db")).unwrap(), "old");
    machine.put("left", "");
    let output = machine.script(&["aside"]);
    assert!(output.status.success(), "{}", told(&output));
    let before = machine.names("").into_iter().find(|name| name.starts_with("data.before-")).unwrap();
    assert!(machine.path(&before).join("member/db").exists() && !machine.path("data").exists());
    // There is nothing to put aside any more.
    assert!(machine.script(&["aside"]).status.success());
}

#[test]
fn a_disk_of_its_own_stays_where_it_is_mounted() {
    let machine = Machine::new("mount");
    machine.program("mountpoint", "#!/bin/sh\n");
    machine.put("data/before-1/member/db", "older");
    fs::create_dir(machine.path("data/lost+found")).unwrap();
    let output = machine.script(&["aside"]);
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
    let machine = Machine::new("restore");
    machine.put("backup.db", "backup");
    let backup = machine.path("backup.db");
    let output = machine.script(&["restore", &backup.display().to_string()]);
    assert!(output.status.success(), "{}", told(&output));
    let calls = fs::read_to_string(machine.path("calls")).unwrap();
    let words: Vec<_> = calls.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "--initial-cluster-token").unwrap();
    let time = words[at + 1].strip_prefix("evenkeel-u-").and_then(|time| time.parse::<u64>().ok());
    assert!(time.is_some_and(|time| time > 1_700_000_000), "{}", words[at + 1]);
    assert_eq!(machine.names("data"), ["member"]);
}
