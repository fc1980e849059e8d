//! Checks that act: a sick copy leaves the names, and comes back.

use evenkeel_tests::lab::{Lab, case, eventually, since};
use tokio::time::Instant;

use crate::documents;

fn check(spec: &str) -> String {
    format!(
        "apiVersion: evenkeel/v1\nkind: HealthCheck\nspec:\n  target: {{service: web}}\n  interval: 1s\n  timeout: 1s\n  retries: 2\n{spec}"
    )
}

/// Waits until a name has exactly these addresses on every host.
fn named(lab: &Lab, expected: &[String]) {
    let mut expected = expected.to_vec();
    expected.sort();
    eventually(20, &format!("web.shop.internal is {expected:?} everywhere"), || {
        for host in lab.hosts() {
            let found = lab.dig(&host, "web.shop.internal");
            if found != expected {
                return Err(format!("{host}: {found:?}"));
            }
        }
        Ok(())
    });
}

#[test]
fn a_sick_copy_leaves_the_names() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("healthchecks/shop/http", &documents::http_check("web"));
        lab.put("healthchecks/shop/tcp", &check("  type: tcp\n  port: 8080\n"));
        lab.put("healthchecks/shop/exec", &check("  type: exec\n  command: [test, \"!\", -e, /tmp/ill]\n"));
        lab.put("services/shop/web", &documents::web("1", "replicas: 3"));
        lab.settled("shop/web", 3, 60);
        let copies = lab.copies("shop/web");
        let all: Vec<String> = copies.iter().map(|(_, copy)| copy.address("lan")).collect();
        named(lab, &all);
        for (file, (host, copy)) in ["/tmp/sick", "/tmp/ill"].into_iter().zip(&copies) {
            let begun = Instant::now();
            lab.within(host, &copy.name, &["touch", file]).ok();
            let rest: Vec<String> =
                all.iter().filter(|address| **address != copy.address("lan")).cloned().collect();
            named(lab, &rest);
            println!("-> {file}: out of the names everywhere after {:.1} s", since(begun));
            let evidence = lab.keel(&["describe", "shop/web"]).ok();
            assert!(evidence.contains("unhealthy"), "describe does not say so:\n{evidence}");
            lab.within(host, &copy.name, &["rm", file]).ok();
            named(lab, &all);
        }
        // All sick: better all of them than none.
        for (host, copy) in &copies {
            lab.within(host, &copy.name, &["touch", "/tmp/sick"]).ok();
        }
        lab.told("services/shop/web", 20, "none is ready", |status| {
            status.copies.is_some_and(|copies| copies.ready == 0)
        });
        named(lab, &all);
        let restarted = lab
            .copies("shop/web")
            .iter()
            .filter(|(_, copy)| !copies.iter().any(|(_, old)| old.id == copy.id))
            .count();
        assert_eq!(restarted, 0, "sick copies were replaced, and nobody asked for that");
    });
}
