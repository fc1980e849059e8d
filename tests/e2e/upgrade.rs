//! Another version of the controllers on one host after the other, while a service serves.

use std::path::{Path, PathBuf};

use evenkeel_tests::lab::case::is_full;
use evenkeel_tests::lab::load::Load;
use evenkeel_tests::lab::{Lab, case, eventually, since};
use tokio::time::Instant;

use crate::{documents, load};

/// Another build, such as a release's; without it the same one is taken, as another image.
const OTHER: &str = "EVENKEEL_OTHER_BIN";

/// Shorter than a lease: what comes of it is seen from the outside.
const WATCH: &str = "1s";

#[test]
fn controllers_are_exchanged_there_and_back_and_nobody_notices() {
    case(|lab| {
        let own = PathBuf::from(lab.run(&["binary"]).trim());
        let given = std::env::var_os(OTHER).map(PathBuf::from);
        // From the other one, if the lab came up with it, to ours and back.
        let times = if given.is_some() { 2 } else { 1 };
        let other = given.unwrap_or_else(|| another_image(lab, &own));
        lab.put("networks/lan", &documents::lan());
        lab.put("healthchecks/shop/web", &documents::http_check("web"));
        lab.put("services/shop/web", &documents::web("1", "replicas: 6"));
        lab.put("services/shop/db", &documents::exclusive_database());
        lab.settled("shop/web", 6, 60);
        lab.settled("shop/db", 1, 60);
        let before = lab.runs(&lab.hosts());
        // As a copy on h3 has it: that host's name server, and a peer's while that one is exchanged.
        let servers = ["h3", "h1"].map(|host| lab.gateway("lan", host)).join(",");
        let load = Load::on(lab, load(), "h3", &["http", &servers, "web.shop.internal", "8080", "100"]);
        for binary in [&other, &own].into_iter().cycle().take(2 * times) {
            let begun = Instant::now();
            lab.run(&["image", &binary.display().to_string()]);
            let said = lab.keel(&["upgrade", "--watch", WATCH]).ok();
            println!("-> {} in {:.1} s", said.trim().replace('\n', ", "), since(begun));
            assert_eq!(said.lines().filter(|line| line.contains(": evenkeel ")).count(), lab.hosts().len());
        }
        assert_eq!(before, lab.runs(&lab.hosts()), "a container was started, stopped or removed");
        let (_, summary) = load.finish();
        println!("-> {summary}");
        assert_eq!(summary.failed, 0, "requests failed: {summary}");
        if is_full() {
            a_sick_host_is_the_last(lab, &other);
        }
    });
}

/// Controllers that do not come back are noticed on the first host, and the others keep what they have.
fn a_sick_host_is_the_last(lab: &Lab, other: &Path) {
    let images = || {
        let of = |host: &String| lab.docker(host, &["inspect", "-f", "{{.Image}}", "evenkeel"]).ok();
        lab.hosts().iter().map(of).collect::<Vec<_>>()
    };
    let before = images();
    let set = |command: &str| {
        for host in lab.hosts() {
            lab.exec(&host, &["sh", "-c", command]).ok();
        }
    };
    set(
        "cp /etc/evenkeel/host.env /etc/evenkeel/host.env.before; echo EVENKEEL_ENDPOINTS=http://10.0.0.99:2379 >>/etc/evenkeel/host.env",
    );
    lab.run(&["image", &other.display().to_string()]);
    let done = lab.keel(&["upgrade"]);
    set("mv /etc/evenkeel/host.env.before /etc/evenkeel/host.env");
    lab.run(&["image"]);
    assert!(!done.succeeded(), "controllers that do not reach etcd were taken for well: {done:?}");
    assert!(done.err.contains("is not well"), "{}", done.err);
    let changed = images().iter().zip(&before).filter(|(now, then)| now != then).count();
    assert_eq!(changed, 1, "hosts that were exchanged");
    let sick =
        lab.hosts().into_iter().zip(&before).find(|(host, then)| {
            lab.docker(host, &["inspect", "-f", "{{.Image}}", "evenkeel"]).ok() != **then
        });
    if let Some((host, _)) = sick {
        lab.run(&["controllers", &host, "start"]);
    }
    eventually(30, "all hosts are alive", || {
        if lab.alive().len() == before.len() { Ok(()) } else { Err("not all".to_owned()) }
    });
    lab.settled("shop/web", 6, 60);
    lab.keel(&["upgrade", "--watch", "1s"]).ok();
    assert_eq!(images(), before);
}

/// The same program, with a byte more.
fn another_image(lab: &Lab, own: &Path) -> PathBuf {
    let path = lab.file("evenkeel-other");
    let done = std::fs::copy(own, &path).and_then(|_| {
        let mut file = std::fs::OpenOptions::new().append(true).open(&path)?;
        std::io::Write::write_all(&mut file, &[0])
    });
    done.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
