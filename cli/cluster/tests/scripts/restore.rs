//! `evenkeel-etcd restore`: what is stopped, and when.

use std::process::Output;

use super::machine::{Machine, told};

/// The programs of the image are in the file `programs`.
const DOCKER: &str = r#"
has() { [[ " $(cat "$HERE/programs") " == *" $1 "* ]]; }
case $* in
*' r/etcd:1 etcdutl '*' --help')
    has etcdutl || exit 127
    echo '      --bump-revision uint'
    ;;
*' r/etcd:1 etcdutl snapshot restore '*)
    has etcdutl || exit 127
    mkdir -p "$HERE/data/restored/member"
    ;;
esac
"#;

/// A host with a member of etcd, whose image has these programs.
fn host(programs: &str) -> Machine {
    let host = Machine::new(DOCKER);
    host.put("programs", programs);
    host.put("data/member/db", "old");
    host.put("backup.db", "");
    host.put(
        "etc/etcd.env",
        "ETCD_IMAGE=r/etcd:1 ETCD_NAME=h1 ETCD_ADDRESS=10.0.0.11 ETCD_TOKEN=t ETCD_CLUSTER= ETCD_STATE=new\n",
    );
    host
}

fn restore(host: &Machine) -> Output {
    let settings = [("EVENKEEL_ETCD_ETC", host.word("etc")), ("ETCD_DATA", host.word("data"))];
    host.script("evenkeel-etcd", &["restore", &host.word("backup.db")], &settings)
}

fn was_stopped(host: &Machine) -> bool {
    host.calls().iter().any(|call| call.starts_with("stop ") || call.starts_with("rm "))
}

/// Whether data were put aside.
fn has_data_of_before(host: &Machine) -> bool {
    host.names("").iter().any(|name| name.starts_with("data.before-"))
}

#[test]
fn an_image_without_etcdutl_stops_nothing() {
    let host = host("etcd");
    let done = restore(&host);
    let said = told(&done);
    assert!(!was_stopped(&host) && !has_data_of_before(&host), "it was stopped: {said}");
    assert!(!done.status.success() && said.contains("the image r/etcd:1 has no etcdutl"), "{said}");
}

#[test]
fn a_backup_takes_the_place_of_the_data() {
    let host = host("etcd etcdutl");
    let done = restore(&host);
    assert!(done.status.success(), "{}", told(&done));
    assert!(was_stopped(&host) && has_data_of_before(&host));
    assert!(host.path("data/member").is_dir());
}

/// The image that the host bundle builds has what the script asks for.
#[test]
fn the_image_of_the_bundle_has_both_programs() {
    let dockerfile = include_str!("../../../../charts/host/etcd.Dockerfile");
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .flat_map(str::split_whitespace)
        .collect();
    assert_eq!(copied, ["etcd", "etcdutl", "/usr/local/bin/"]);
}
