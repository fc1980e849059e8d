//! An exclusive database under everything that can cut its host off: never two of it run, at any instant.

use std::time::Duration;

use evenkeel_tests::lab::case::is_full;
use evenkeel_tests::lab::running::{Running, Watch};
use evenkeel_tests::lab::{Lab, case, eventually, limit, pause, since};
use tokio::time::Instant;

use crate::documents;

/// `deploy.disconnect.stop_on_client_after` of the database.
const STOP_AFTER: f64 = 5.0;
/// From a host's loss to its copy's successor: the lease (2 s, and up to 0.5 s until etcd ends it), 2 s until
/// it is given up, its own time, 3 s, and the start.
const LIMIT: f64 = 2.5 + 2.0 + STOP_AFTER + 3.0 + 4.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Its network cable.
    Cut,
    /// SIGSTOP to the process that keeps its lease.
    Pause,
    /// Its plug.
    Power,
    /// The cable, while the engine hangs: only the watchdog can end it.
    CutAndHang,
    /// kill -9 of what runs its controllers.
    Kill,
    /// kill -9 of its watchdog.
    KillWatchdog,
}

const FAULTS: [Fault; 6] =
    [Fault::Cut, Fault::Pause, Fault::Power, Fault::CutAndHang, Fault::Kill, Fault::KillWatchdog];

/// `hack/faults` asks for a hundred.
fn rounds() -> usize {
    let asked = std::env::var("EVENKEEL_E2E_ROUNDS").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or(if is_full() { 2 * FAULTS.len() } else { 4 })
}

#[test]
fn an_exclusive_database_is_never_there_twice() {
    case(|lab| {
        // A successor that waits for its image tells nothing about the protocol.
        for host in lab.hosts() {
            lab.docker(&host, &["pull", "-q", &documents::image("postgres:15")]).ok();
        }
        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/db", &documents::exclusive_database());
        lab.settled("shop/db", 1, 120);
        let begun = Instant::now();
        let watch = Watch::start(lab, "shop.db.1.");
        let mut token = 0;
        for round in 0..rounds() {
            let fault = FAULTS[round % FAULTS.len()];
            let (host, copy) = the_one(&watch);
            let next = token_of(lab, &host, &copy);
            assert!(next >= token, "the fence token went back from {token} to {next}");
            token = next;
            let struck = Instant::now();
            strike(lab, &host, fault);
            let moves = !matches!(fault, Fault::Kill | Fault::KillWatchdog);
            if moves {
                let (there, successor) = successor(&watch, &copy);
                assert_ne!(there, host);
                let after = since(struck);
                println!("-> round {round}: {fault:?} on {host}: {successor} on {there} after {after:.1} s");
                assert!(after < limit(LIMIT + host_time(fault)), "replaced only after {after:.1} s");
            } else {
                pause(Duration::from_secs(3));
                assert_eq!(the_one(&watch), (host.clone(), copy.clone()), "{fault:?} cost it its life");
                println!("-> round {round}: {fault:?} on {host}: {copy} runs on");
            }
            heal(lab, &host, fault);
            // What is back finds its copy given up, and nothing of it runs again.
            lab.settled("shop/db", 1, 120);
            let doubles = watch.doubles(begun);
            assert!(doubles.is_empty(), "two at once: {doubles:?}");
            writes(lab, &watch);
        }
        let (looks, blind) = watch.looks();
        println!(
            "-> {} rounds, {looks} looks, at most {} ms apart; longest time without a copy: {:.1} s",
            rounds(),
            blind.as_millis(),
            watch.longest_gap(begun).as_secs_f64()
        );
        assert!(blind.as_secs_f64() < limit(1.0), "the observer itself was away for {blind:?}");
    });
}

/// What the lab's own verbs take.
fn host_time(fault: Fault) -> f64 {
    if fault == Fault::Power { 3.0 } else { 1.0 }
}

fn the_one(watch: &Watch) -> Running {
    eventually(30, "one copy", || match watch.now().iter().collect::<Vec<_>>().as_slice() {
        [one] => Ok((*one).clone()),
        other => Err(format!("{other:?}")),
    })
}

fn successor(watch: &Watch, before: &str) -> Running {
    eventually(60, "another copy", || {
        let now = watch.now();
        now.iter().find(|(_, copy)| copy != before).cloned().ok_or_else(|| format!("{now:?}"))
    })
}

fn strike(lab: &Lab, host: &str, fault: Fault) {
    match fault {
        Fault::Cut => drop(lab.run(&["cut", host])),
        Fault::Pause => drop(lab.run(&["controllers", host, "pause", "host"])),
        Fault::Power => drop(lab.run(&["poweroff", host])),
        Fault::CutAndHang => {
            lab.run(&["engine", host, "hang"]);
            lab.run(&["cut", host]);
        }
        Fault::Kill => ["host", "instance", "service"].iter().for_each(|name| lab.kill(host, name)),
        Fault::KillWatchdog => lab.kill(host, "watchdog"),
    }
}

fn heal(lab: &Lab, host: &str, fault: Fault) {
    match fault {
        Fault::Cut => drop(lab.run(&["heal", host])),
        Fault::Pause => drop(lab.run(&["controllers", host, "resume", "host"])),
        Fault::Power => drop(lab.run(&["poweron", host])),
        Fault::CutAndHang => {
            lab.run(&["engine", host, "resume"]);
            lab.run(&["heal", host]);
        }
        Fault::Kill | Fault::KillWatchdog => {}
    }
    eventually(60, &format!("{host} is there"), || {
        let alive = lab.try_store()?.values.contains_key(&format!("alive/{host}"));
        if alive { Ok(()) } else { Err("it is gone".to_owned()) }
    });
}

fn token_of(lab: &Lab, host: &str, copy: &str) -> u64 {
    let text = lab.within(host, copy, &["sh", "-c", "cat $EVENKEEL_FENCE"]).ok();
    text.trim().parse().unwrap_or_else(|error| panic!("{text:?} is no token: {error}"))
}

/// It serves: a row goes in and comes out.
fn writes(lab: &Lab, watch: &Watch) {
    let sql = "create table if not exists t (n int); insert into t values (1); select count(*) from t";
    eventually(30, "a row is written", || {
        // On a busy machine a host may lose its lease by itself, and the copy moves on.
        let (host, copy) = the_one(watch);
        lab.within(&host, &copy, &["psql", "-U", "postgres", "-tA", "-c", sql]).result()
    });
}

#[test]
fn nothing_exclusive_runs_where_the_controllers_were_stopped() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/db", &documents::exclusive_database());
        lab.put("services/shop/idle", &documents::idle("replicas: 3"));
        lab.settled("shop/db", 1, 120);
        lab.settled("shop/idle", 3, 60);
        let begun = Instant::now();
        let watch = Watch::start(lab, "shop.db.1.");
        let (host, copy) = the_one(&watch);
        // An exchange of the controllers costs it nothing.
        lab.run(&["controllers", &host, "restart"]);
        pause(Duration::from_secs(10));
        lab.settled("shop/db", 1, 60);
        assert_eq!(the_one(&watch), (host.clone(), copy.clone()));
        let idle = lab.copies_on(std::slice::from_ref(&host), "shop/idle").len();
        assert!(idle > 0);
        lab.run(&["controllers", &host, "stop"]);
        assert_eq!(lab.copies_on(std::slice::from_ref(&host), "shop/db").len(), 0);
        assert_eq!(lab.copies_on(std::slice::from_ref(&host), "shop/idle").len(), idle);
        let (there, _) = successor(&watch, &copy);
        assert_ne!(there, host);
        lab.run(&["controllers", &host, "start"]);
        lab.settled("shop/db", 1, 120);
        assert_eq!(watch.doubles(begun), Vec::new());
    });
}
