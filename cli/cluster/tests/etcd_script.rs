//! `evenkeel-etcd` with an engine that only writes down what it is told: what is stopped, and when.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/host/evenkeel-etcd");

/// A host with a member of etcd, whose image has these programs.
struct Host(PathBuf);

impl Host {
    fn new(name: &str, programs: &str) -> Self {
        let host = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        let _ = fs::remove_dir_all(&host.0);
        fs::create_dir_all(host.0.join("data/member")).unwrap();
        fs::write(host.0.join("backup.db"), "").unwrap();
        fs::write(
            host.0.join("etcd.env"),
            "ETCD_IMAGE=r/etcd:1 ETCD_NAME=h1 ETCD_ADDRESS=10.0.0.11 ETCD_TOKEN=t ETCD_CLUSTER= ETCD_STATE=new\n",
        )
        .unwrap();
        let docker = host.0.join("docker");
        let engine = format!(
            "#!/bin/bash\necho \"$*\" >>{0}/told\ncase $* in\n*' r/etcd:1 etcdutl '*' --help')\n\
             [[ ' {programs} ' == *' etcdutl '* ]] || exit 127\necho '      --bump-revision uint' ;;\n\
             *' r/etcd:1 etcdutl snapshot restore '*)\n\
             [[ ' {programs} ' == *' etcdutl '* ]] || exit 127\nmkdir -p {0}/data/restored/member ;;\nesac\n",
            host.0.display()
        );
        fs::write(&docker, engine).unwrap();
        fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
        host
    }

    fn restore(&self) -> Output {
        Command::new("/bin/bash")
            .arg(SCRIPT)
            .arg("restore")
            .arg(self.0.join("backup.db"))
            .env("EVENKEEL_ETCD_ETC", &self.0)
            .env("EVENKEEL_DOCKER_CLI", self.0.join("docker"))
            .env("ETCD_DATA", self.0.join("data"))
            .output()
            .unwrap()
    }

    fn was_stopped(&self) -> bool {
        let told = fs::read_to_string(self.0.join("told")).unwrap();
        told.lines().any(|line| line.starts_with("stop ") || line.starts_with("rm "))
    }

    /// Whether data were put aside.
    fn has_data_of_before(&self) -> bool {
        let mut names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        names.any(|name| name.to_string_lossy().starts_with("data.before-"))
    }
}

#[test]
fn an_image_without_etcdutl_stops_nothing() {
    let host = Host::new("without-etcdutl", "etcd");
    let done = host.restore();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!host.was_stopped() && !host.has_data_of_before(), "it was stopped: {said}");
    assert!(!done.status.success() && said.contains("the image r/etcd:1 has no etcdutl"), "{said}");
}

#[test]
fn a_backup_takes_the_place_of_the_data() {
    let host = Host::new("with-etcdutl", "etcd etcdutl");
    let done = host.restore();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(host.was_stopped() && host.has_data_of_before());
    assert!(host.0.join("data/member").is_dir());
}

/// The image that the host bundle builds has what the script asks for.
#[test]
fn the_image_of_the_bundle_has_both_programs() {
    let dockerfile = include_str!("../../../charts/host/etcd.Dockerfile");
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .flat_map(str::split_whitespace)
        .collect();
    assert_eq!(copied, ["etcd", "etcdutl", "/usr/local/bin/"]);
}
