//! docs/recipes.md, «An exclusive primary».

use evenkeel_tests::lab::running::Watch;
use evenkeel_tests::lab::{Lab, case, eventually, limit, since};
use tokio::time::Instant;

use super::desk::Desk;
use super::{PAGE, the_copy};
use crate::documents;

const PRIMARY: &str = "bills/primary";

/// «Some twelve seconds pass without it»: at least as long as its host may still run it, at most some more.
const WITHOUT: std::ops::Range<f64> = 8.0..15.0;
/// «Names lead to its successor as soon as that runs».
const UNTIL_NAMED: f64 = 3.0;
/// «Its first check, two or three seconds more».
const UNTIL_READY: f64 = 6.0;

#[test]
fn an_exclusive_primary_is_elsewhere_in_the_time_that_the_page_says() {
    case(|lab| {
        let mut desk = Desk::new(lab, PAGE, "An exclusive primary");
        desk.after_the_first_hour();
        let said = desk.next();
        let (home, copy) = the_copy(lab, PRIMARY);
        assert!(said.contains(&home), "`describe` does not say that it is on {home}:\n{said}");
        lab.put("services/bills/asker", &documents::client("redis:7", "default", "mode: global"));
        lab.settled("bills/asker", lab.hosts().len() as u32, 60);
        answers(lab, &home);
        let first = fence(lab);

        let watch = Watch::start(lab, "bills.primary.1.");
        let struck = Instant::now();
        lab.run(&["cut", &home]);
        let there = eventually(40, "another copy", || {
            let now = watch.now().into_iter().find(|(_, name)| *name != copy.name);
            now.map(|(host, _)| host).ok_or_else(|| "none runs".to_owned())
        });
        assert_ne!(there, home);
        let without = since(struck);
        answers(lab, &there);
        let named = since(struck) - without;
        // Also when its first check has not come yet.
        assert!(fence(lab) > first, "its number did not grow from {first}");
        lab.settled(PRIMARY, 1, 20);
        let ready = since(struck) - without;
        println!(
            "-> {without:.1} s without it after the loss of {home}, then {named:.1} s until names led to it"
        );
        println!("-> ready {ready:.1} s after it ran");
        assert!(without > WITHOUT.start && without < limit(WITHOUT.end), "{without:.1} s without it");
        assert!(named < limit(UNTIL_NAMED), "{named:.1} s until names led to it");
        assert!(ready < limit(UNTIL_READY), "{ready:.1} s until it was ready");
        // Its host is there still, and its watchdog has ended it before.
        assert_eq!(watch.doubles(struck), Vec::new());
        lab.run(&["heal", &home]);
        let begun = Instant::now();
        away(lab, &watch, &there);
        lab.settled(PRIMARY, 1, 60);
        println!("-> it outlived an etcd that was away: {:.1} s", since(begun));

        let (home, _) = the_copy(lab, PRIMARY);
        let begun = Instant::now();
        let drain = desk.next_text().replace("h2", &home);
        desk.shell(&drain).ok();
        desk.is_done();
        lab.settled(PRIMARY, 1, 60);
        let (there, _) = the_copy(lab, PRIMARY);
        assert_ne!(there, home, "a drain does not move it");
        answers(lab, &there);
        println!("-> it left a host that was drained: {:.1} s", since(begun));
        assert_eq!(watch.doubles(struck), Vec::new());
    });
}

/// «An etcd that is away for longer costs the same: the copy ends, and starts again where it was».
fn away(lab: &Lab, watch: &Watch, host: &str) {
    lab.run(&["etcd", "stop"]);
    eventually(20, "it ends while etcd is away", || match watch.now() {
        now if now.is_empty() => Ok(()),
        now => Err(format!("{now:?}")),
    });
    lab.run(&["etcd", "start"]);
    let there = eventually(60, "it runs again", || {
        watch.now().into_iter().next().map(|(host, _)| host).ok_or_else(|| "none runs".to_owned())
    });
    assert_eq!(there, host, "it starts again where it was");
    answers(lab, host);
}

/// By its name, asked from a copy on that host.
fn answers(lab: &Lab, host: &str) {
    let asker = lab.copies_on(&[host.to_owned()], "bills/asker");
    let (_, asker) = asker.first().unwrap_or_else(|| panic!("nobody asks on {host}"));
    eventually(20, "an answer by name", || {
        let said = lab.within(host, &asker.name, &["redis-cli", "-h", "primary", "ping"]).result()?;
        if said == "PONG" { Ok(()) } else { Err(said) }
    });
}

/// Its number, from the file that `EVENKEEL_FENCE` names.
fn fence(lab: &Lab) -> u64 {
    let said = lab.keel(&["exec", PRIMARY, "--", "sh", "-c", "cat $EVENKEEL_FENCE"]).ok();
    said.trim().parse().unwrap_or_else(|error| panic!("{said:?} is no number: {error}"))
}
