//! A rollout that fails stops, says why, and the old copies serve on.

use evenkeel_api::record::{Phase, Rollout};
use evenkeel_tests::lab::{Lab, case, eventually};

use crate::documents;

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
        std::thread::sleep(std::time::Duration::from_secs(3));
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
