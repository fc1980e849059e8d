//! docs/recipes.md, «A web tier with an HTTPS edge».

use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::{Lab, case, eventually, since};
use tokio::time::Instant;

use super::PAGE;
use super::desk::Desk;
use crate::https::Client;

#[test]
fn a_web_tier_is_exchanged_and_goes_back_without_a_failed_request() {
    case(|lab| {
        let mut desk = Desk::new(lab, PAGE, "A web tier with an HTTPS edge");
        desk.after_the_first_hour();
        desk.next();
        desk.next();
        let answers = desk.next();
        let greeted = answers.lines().filter(|line| line.starts_with("1 ")).count();
        assert_eq!(greeted, 3, "each host's proxy answers:\n{answers}");

        let clients: Vec<Client> = lab.hosts().iter().map(|host| client(lab, &desk, host)).collect();
        desk.next();
        desk.is_done();
        all_are(lab, "2");
        // «And goes back when it fails»: `apply` tells by its exit code, and nobody notices.
        let begun = Instant::now();
        let bad = desk.shell("sed -i 's/web:2/web:bad/' web.yaml\nevenkeel apply -f web.yaml --wait");
        assert_eq!(bad.code, 3, "{bad:?}");
        all_are(lab, "2");
        println!("-> tried one that fails, and went back: {:.1} s", since(begun));
        for client in clients {
            let seen = client.finish();
            seen.is_without_failures(100);
            let versions: Vec<&str> = seen.versions.keys().map(String::as_str).collect();
            assert_eq!(versions, ["1", "2"], "{} was answered by others", seen.name);
        }
        lab.take_from_hosts();
    });
}

/// One that asks a host's proxy, and verifies the certificate that the page has made.
fn client(lab: &Lab, desk: &Desk<'_>, host: &str) -> Client {
    let authority = desk.file("edge/evenkeel-edge/tls.crt");
    let curl = format!(
        "curl -sS --max-time 3 --cacert {} --resolve shop.example:443:{}",
        authority.display(),
        lab.address(host)
    );
    Client::new(lab, format!("the proxy on {host}"), &curl, "https://shop.example/")
}

/// All three copies are of that version, by what its image sets; what was exchanged may be on its way out still.
fn all_are(lab: &Lab, version: &str) {
    let wanted = format!("VERSION={version}");
    let is = |copy: &Container| {
        copy.raw["Config"]["Env"].as_array().is_some_and(|env| env.iter().any(|v| *v == *wanted))
    };
    eventually(30, &format!("three copies of version {version}"), || {
        let (right, wrong): (Vec<_>, Vec<_>) =
            lab.copies("shop/web").into_iter().partition(|(_, copy)| is(copy));
        if right.len() == 3 && wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("{} of it, {} of others", right.len(), wrong.len()))
        }
    });
}
