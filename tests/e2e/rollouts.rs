//! A rollout that fails stops or goes back, says why, and the old copies serve on.

use std::time::Duration;

use evenkeel_api::record::{Observed, Phase, Rollout};
use evenkeel_tests::lab::load::Load;
use evenkeel_tests::lab::wait::pause;
use evenkeel_tests::lab::{Lab, case, eventually, since};
use tokio::time::Instant;

use crate::{documents, load};

const DEPLOY: &str = "replicas: 3, update_config: {parallelism: 1, order: start-first, monitor: 2s}";

#[test]
fn a_bad_image_pauses_and_the_old_copies_serve() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("healthchecks/shop/web", &documents::http_check("web"));
        lab.put("services/shop/web", &documents::web("1", DEPLOY));
        lab.settled("shop/web", 3, 60);
        let good: Vec<String> = lab.copies("shop/web").into_iter().map(|(_, copy)| copy.id).collect();

        for (version, clue) in [("bad", "1"), ("nowhere", "web:nowhere")] {
            lab.put("services/shop/web", &documents::web(version, DEPLOY));
            let why = paused(lab);
            println!("-> web:{version}: the rollout is paused: {why}");
            assert!(why.contains(clue), "the message does not say why: {why}");
            let status = lab.keel(&["status"]).ok();
            assert!(status.contains("shop/web"), "status does not name the service:\n{status}");
            old_copies_serve(lab, &good);
        }
        // The same text again is no new try.
        lab.put("services/shop/web", &documents::web("nowhere", DEPLOY));
        pause(Duration::from_secs(3));
        paused(lab);
        old_copies_serve(lab, &good);

        lab.keel(&["rollout", "resume", "shop/web"]).ok();
        eventually(10, "the rollout is resumed", || {
            let rollout: Rollout = lab.try_store()?.record("rollouts/shop/web").unwrap_or_default();
            if rollout.resumed.is_some() { Ok(()) } else { Err(format!("{rollout:?}")) }
        });
        paused(lab);

        lab.put("services/shop/web", &documents::web("2", DEPLOY));
        lab.settled("shop/web", 3, 60);
        for address in lab.dig("h1", "web.shop.internal") {
            let answer =
                lab.exec("h2", &["curl", "-sS", "--max-time", "3", &format!("http://{address}:8080/")]).ok();
            assert!(answer.starts_with("2 "), "{answer}");
        }
    });
}

fn paused(lab: &Lab) -> String {
    eventually(60, "the rollout is paused", || {
        let store = lab.try_store()?;
        let rollout: Rollout = store.record("rollouts/shop/web").unwrap_or_default();
        let accepted: Option<serde_json::Value> = store.record("accepted/services/shop/web");
        let newest = accepted.and_then(|accepted| accepted["template"].as_i64());
        match rollout.phase {
            // A pause of an earlier template does not count.
            Phase::Paused { why }
                if rollout.target == newest || newest.is_some_and(|t| rollout.rejected.contains(&t)) =>
            {
                Ok(why)
            }
            phase => Err(format!("{phase:?}, target {:?}, newest {newest:?}", rollout.target)),
        }
    })
}

fn old_copies_serve(lab: &Lab, good: &[String]) {
    let copies = lab.copies("shop/web");
    let still = copies.iter().filter(|(_, copy)| good.contains(&copy.id)).count();
    assert_eq!(still, good.len(), "old copies were stopped");
    let addresses: Vec<String> = copies
        .iter()
        .filter(|(_, copy)| good.contains(&copy.id))
        .map(|(_, copy)| copy.address("lan"))
        .collect();
    let named = lab.dig("h1", "web.shop.internal");
    assert!(addresses.iter().all(|address| named.contains(address)), "old copies left the names: {named:?}");
    for address in named {
        let answer =
            lab.exec("h1", &["curl", "-sS", "--max-time", "3", &format!("http://{address}:8080/")]).ok();
        assert!(answer.starts_with("1 "), "{answer}");
    }
}

/// Copies are not on h3, from where the load comes.
const ROLLBACK: &str = "replicas: 4, placement: {constraints: [\"node.hostname != h3\"]}, \
                        update_config: {order: start-first, monitor: 2s, failure_action: rollback}";

#[test]
fn a_bad_image_under_load_is_rolled_back_and_stays_rejected() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("healthchecks/shop/web", &documents::http_check("web"));
        lab.put("services/shop/web", &documents::web("1", ROLLBACK));
        lab.settled("shop/web", 4, 60);
        eventually(30, "the first template is known to be good", || {
            let rollout: Rollout = lab.try_store()?.record("rollouts/shop/web").unwrap_or_default();
            rollout.current.map(drop).ok_or_else(|| format!("{rollout:?}"))
        });
        let good = ids(lab);
        let server = lab.gateway("lan", "h3");
        let load = Load::on(lab, load(), "h3", &["http", &server, "web.shop.internal", "8080", "100"]);

        let begun = Instant::now();
        lab.put("services/shop/web", &documents::web("bad", ROLLBACK));
        let why = rejected(lab, 1);
        lab.settled("shop/web", 4, 60);
        println!("-> web:bad: rejected and gone back after {:.1} s: {why}", since(begun));
        assert_eq!(ids(lab), good, "copies of the good template were touched");
        let status = lab.keel(&["status"]).ok();
        assert!(status.contains("is rejected"), "status does not say so:\n{status}");
        let waited = lab.keel(&["rollout", "status", "shop/web", "--wait"]);
        assert!(!waited.succeeded() && waited.err.contains("rollout retry shop/web"), "{}", waited.err);

        let leader = lab.leader("service");
        lab.kill(&leader, "service");
        pause(Duration::from_secs(5));
        println!("-> {leader} led, and {} leads now", lab.leader("service"));
        lab.put("services/shop/web", &documents::web("bad", ROLLBACK));
        lab.told("services/shop/web", 20, "the same text was looked at", |status| {
            status.observed_revision == status.accepted_revision.unwrap_or(0)
        });
        pause(Duration::from_secs(5));
        rejected(lab, 1);
        assert_eq!(ids(lab), good, "the rejected template was tried again");

        // A person's word is one more try, and it is as bad as it was.
        lab.keel(&["rollout", "retry", "shop/web"]).ok();
        rejected(lab, 2);
        lab.settled("shop/web", 4, 60);
        assert_eq!(ids(lab), good);

        let (_, summary) = load.finish();
        println!("-> {summary}");
        assert_eq!(summary.failed, 0, "requests failed: {summary}");
    });
}

fn ids(lab: &Lab) -> Vec<String> {
    let mut ids: Vec<String> = lab.copies("shop/web").into_iter().map(|(_, copy)| copy.id).collect();
    ids.sort();
    ids
}

/// Until the newest template is rejected, for the `times`th time, and the one before it runs; why.
fn rejected(lab: &Lab, times: usize) -> String {
    eventually(60, "the template is rejected", || {
        let store = lab.try_store()?;
        let rollout: Rollout = store.record("rollouts/shop/web").unwrap_or_default();
        let accepted: Option<serde_json::Value> = store.record("accepted/services/shop/web");
        let newest = accepted.and_then(|accepted| accepted["template"].as_i64()).ok_or("not accepted")?;
        let told = lab.keel(&["events", "shop/web"]).ok().matches("TemplateRejected").count();
        match rollout.evidence.get(&newest) {
            Some(why)
                if rollout.phase == Phase::Done && rollout.target == rollout.current && told >= times =>
            {
                Ok(why.clone())
            }
            _ => Err(format!("{rollout:?}, told {told} times")),
        }
    })
}

#[test]
fn a_sick_copy_is_restarted_where_it_is_and_then_replaced() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        let check = documents::http_check("web") + "  effects: {restart: {limit: 1, grace: 3s}}\n";
        lab.put("healthchecks/shop/web", &check);
        lab.put("services/shop/web", &documents::web("1", ROLLBACK));
        lab.settled("shop/web", 4, 60);
        let copies = lab.copies("shop/web");
        let (host, sick) = &copies[0];
        let server = lab.gateway("lan", "h3");
        let load = Load::on(lab, load(), "h3", &["http", &server, "web.shop.internal", "8080", "100"]);
        let begun = Instant::now();
        // The file is there after a restart too: only a new container is rid of it.
        lab.within(host, &sick.name, &["touch", "/tmp/sick"]).ok();
        let key = format!("observed/{host}/{}", sick.name);
        eventually(60, "it is restarted", || {
            let now = lab.engine(host).container(&sick.name)?;
            match now.id == sick.id && now.started() != sick.started() {
                true => Ok(()),
                false => Err(format!("started {}", now.started())),
            }
        });
        println!("-> restarted where it is {:.1} s after it fell sick", since(begun));
        eventually(60, "it is replaced", || {
            let there = ids(lab);
            match !there.contains(&sick.id) && there.len() == 4 {
                true => Ok(()),
                false => Err(format!("{there:?}")),
            }
        });
        println!("-> replaced {:.1} s after it fell sick", since(begun));
        lab.settled("shop/web", 4, 60);
        let others: Vec<&String> = copies[1..].iter().map(|(_, copy)| &copy.id).collect();
        assert!(others.iter().all(|id| ids(lab).contains(id)), "others were touched");
        let crashed: Option<Observed> = lab.store().record(&key);
        assert!(crashed.is_none_or(|seen| seen.restarts == 0), "it counts as a crash");
        let events = lab.keel(&["events", "shop/web"]).ok();
        assert!(events.contains("HealthRestart"), "no event tells of it:\n{events}");
        let (_, summary) = load.finish();
        println!("-> {summary}");
    });
}
