//! What people reach in copies on any host: output, commands, ports, files, and what they use.

use evenkeel_tests::lab::{Lab, case, eventually};

use crate::documents;

/// A service that says which version it is, again and again.
fn talker(version: &str, deploy: &str) -> String {
    let script = format!("while :; do echo tick {version}; echo aside >&2; sleep 0.3; done");
    format!(
        "apiVersion: evenkeel/v1\nkind: Service\nspec:\n  image: {}\n  command: [sh, -c, \"{script}\"]\n  networks: [lan]\n  \
         init: true\n  deploy: {{stop_delay: 0s, {deploy}}}\n",
        documents::image("busybox:1")
    )
}

fn stand(lab: &Lab, document: &str, copies: u32) {
    lab.put("networks/lan", &documents::lan());
    lab.put("services/shop/web", document);
    lab.settled("shop/web", copies, 90);
}

/// One copy's name.
fn a_copy(lab: &Lab) -> String {
    lab.copies("shop/web").into_iter().next().expect("a copy runs").1.name
}

#[test]
fn logs_are_followed_through_a_rollout_and_the_loss_of_a_host() {
    case(|lab| {
        let deploy = "replicas: 3, placement: {max_replicas_per_node: 2}, update_config: {parallelism: 3, monitor: 1s}";
        stand(lab, &talker("one", deploy), 3);
        let once = lab.run(&["keel", "logs", "--tail", "2", "shop/web"]);
        assert_eq!(once.lines().count(), 6, "two lines of each copy:\n{once}");
        assert!(once.lines().all(|line| line.starts_with("web.") && line.contains(" | ")), "{once}");
        // By time, whichever host they come from.
        eventually(20, "enough lines", || {
            let timed = lab.run(&["keel", "logs", "-t", "--since", "5s", "shop/web"]);
            let times: Vec<&str> =
                timed.lines().filter_map(|line| line.split(" | ").nth(1)?.split(' ').next()).collect();
            assert!(times.is_sorted(), "{timed}");
            if times.len() > 20 { Ok(()) } else { Err(timed) }
        });
        // Of one copy, both outputs are apart.
        let copy = a_copy(lab);
        let one = lab.call(&["keel", "logs", "--tail", "4", &copy]);
        assert!(one.out.lines().all(|line| line == "tick one") && !one.out.is_empty(), "{one:?}");
        assert!(one.err.lines().all(|line| line == "aside") && !one.err.is_empty(), "{one:?}");

        let following = lab.start(&["keel", "logs", "-f", "--tail", "0", "shop/web"]);
        eventually(20, "old lines", || has(&following.so_far(), "tick one", 3));
        lab.put("services/shop/web", &talker("two", deploy));
        eventually(60, "lines of all new copies", || has(&following.so_far(), "tick two", 3));
        lab.run(&["poweroff", "h3"]);
        eventually(60, "lines of a copy in place of that of h3", || has(&following.so_far(), "tick two", 4));
        drop(following);
        let rest = lab.call(&["keel", "logs", "--tail", "1", "shop/web"]);
        assert!(rest.code == 0 && rest.out.lines().count() >= 3, "{rest:?}");
    });
}

/// Whether so many copies say that.
fn has(said: &str, text: &str, copies: usize) -> Result<(), String> {
    let who: std::collections::BTreeSet<_> =
        said.lines().filter(|line| line.contains(text)).filter_map(|line| line.split(" | ").next()).collect();
    if who.len() >= copies { Ok(()) } else { Err(format!("{} copies say {text}: {who:?}", who.len())) }
}

#[test]
fn commands_run_in_a_copy_and_end_as_they_end() {
    case(|lab| {
        stand(lab, &talker("one", "replicas: 2"), 2);
        let copy = a_copy(lab);
        let seven =
            lab.call(&["keel", "exec", "shop/web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
        assert_eq!((seven.code, seven.out.as_str(), seven.err.as_str()), (7, "out", "err"), "{seven:?}");
        let text = "line\n".repeat(50_000);
        let counted = lab.feed(&["keel", "exec", "-i", &copy, "--", "wc", "-l"], &text);
        assert_eq!((counted.code, counted.out.trim()), (0, "50000"), "{counted:?}");
        let missing = lab.call(&["keel", "exec", &copy, "--", "no-such-program"]);
        assert_ne!(missing.code, 0, "{missing:?}");
        let nobody = lab.call(&["keel", "exec", "shop.web.9.zz", "--", "true"]);
        assert!(nobody.code == 1 && nobody.err.contains("there is no copy"), "{nobody:?}");
        // Who did what is kept.
        eventually(20, "events of both", || {
            let events = lab.run(&["keel", "events", "shop/web"]);
            let both = events.contains("echo out") && events.contains("wc -l") && events.contains("Exec");
            if both { Ok(()) } else { Err(events) }
        });
    });
}

#[test]
fn files_go_into_a_copy_and_come_back_as_they_were() {
    case(|lab| {
        stand(lab, &talker("one", "replicas: 1"), 1);
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("a text").to_owned();
        let data: Vec<u8> = (0..8 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::create_dir(path("dir")).expect("a folder");
        std::fs::write(path("dir/data"), &data).expect("a file");
        lab.run(&["keel", "cp", &path("dir"), "shop/web:/tmp/"]);
        lab.run(&["keel", "cp", &path("dir/data"), "shop/web:/tmp/other"]);
        lab.run(&["keel", "cp", "shop/web:/tmp/dir", &path("back")]);
        lab.run(&["keel", "cp", "shop/web:/tmp/other", &path("")]);
        for name in ["back/data", "other"] {
            assert!(std::fs::read(path(name)).expect("it came back") == data, "{name} is another one");
        }
        // A folder is one also behind a link, and nothing ever takes the place of what is in it.
        lab.run(&["keel", "exec", "shop/web", "--", "ln", "-s", "/tmp/dir", "/tmp/link"]);
        lab.run(&["keel", "cp", &path("other"), "shop/web:/tmp/link"]);
        lab.run(&["keel", "exec", "shop/web", "--", "test", "-h", "/tmp/link", "-a", "-s", "/tmp/dir/other"]);
        std::fs::create_dir(path("one")).expect("a folder");
        std::fs::write(path("one/back"), "a file").expect("a file");
        lab.run(&["keel", "exec", "shop/web", "--", "mkdir", "-p", "/tmp/in/back"]);
        let refused = lab.call(&["keel", "cp", &path("one/back"), "shop/web:/tmp/in"]);
        assert_ne!(refused.code, 0, "a file took a folder's place: {refused:?}");
        let nothing = lab.call(&["keel", "cp", "shop/web:/no/such", &path("x")]);
        assert!(nothing.code == 1 && !std::path::Path::new(&path("x")).exists(), "{nothing:?}");
    });
}

#[test]
fn a_port_of_a_copy_is_reached_from_here_and_what_copies_use_is_shown() {
    case(|lab| {
        lab.put("healthchecks/shop/web", &documents::http_check("web"));
        stand(lab, &documents::web("1", "replicas: 3"), 3);
        let forward = lab.start(&["keel", "port-forward", "shop/web", "18080:8080"]);
        eventually(20, "it listens", || match forward.so_far() {
            said if said.contains("127.0.0.1:18080") => Ok(()),
            said => Err(said),
        });
        for _ in 0..3 {
            let answer =
                lab.exec("infra", &["curl", "-sSf", "--max-time", "5", "http://127.0.0.1:18080/healthz"]);
            assert_eq!(answer.code, 0, "{answer:?}");
        }
        drop(forward);
        let top = lab.run(&["keel", "top", "shop/web"]);
        assert!(top.lines().count() == 4 && top.contains("CPU") && top.contains('%'), "{top}");
        let json: serde_json::Value =
            serde_json::from_str(&lab.run(&["keel", "top", "-o", "json"])).expect("JSON");
        let rows = json.as_array().expect("a list");
        assert!(rows.len() == 3 && rows.iter().all(|row| row["memory"].as_u64() > Some(0)), "{json}");
    });
}
