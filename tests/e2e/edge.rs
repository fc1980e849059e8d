//! HTTPS at the edge (charts/edge): both proxies, on every host, follow a service whose copies come and go, and no
//! request over HTTPS fails.

use std::path::Path;
use std::time::Duration;

use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::wait::pause;
use evenkeel_tests::lab::{Lab, case, eventually, since};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::documents;
use crate::https::{Client, Seen};

/// A proxy of charts/edge, and the ports of the hosts that it has here: both run at once.
struct Proxy {
    name: &'static str,
    http: &'static str,
    https: &'static str,
}

const PROXIES: [Proxy; 2] = [
    Proxy { name: "haproxy", http: "80", https: "443" },
    Proxy { name: "caddy", http: "8080", https: "8443" },
];

#[test]
fn https_is_answered_by_every_host_while_copies_come_and_go() {
    case(|lab| {
        let folder = certificates();
        give_to_hosts(lab, folder.path());
        lab.put("networks/lan", &documents::lan());
        lab.put("healthchecks/shop/web", &documents::http_check("web"));
        lab.put("services/shop/web", &web("1", 4));
        for proxy in &PROXIES {
            put(lab, proxy);
        }
        lab.settled("shop/web", 4, 60);
        for proxy in &PROXIES {
            lab.settled(&format!("edge/{}", proxy.name), 3, 60);
        }
        for (proxy, host) in doors(lab) {
            answers(lab, proxy, &host, folder.path());
        }
        let clients: Vec<Client> =
            doors(lab).into_iter().map(|(proxy, host)| client(lab, proxy, &host, folder.path())).collect();
        rolled(lab);
        killed_and_scaled(lab, &clients);
        sick(lab, &clients);
        for client in clients {
            client.finish().is_without_failures(100);
        }
        lab.take_from_hosts();
    });
}

fn web(version: &str, replicas: u32) -> String {
    let update = "update_config: {parallelism: 2, order: start-first, monitor: 1s}";
    documents::web(version, &format!("replicas: {replicas}, {update}"))
}

/// Every proxy on every host.
fn doors(lab: &Lab) -> Vec<(&'static Proxy, String)> {
    let on = |proxy| lab.hosts().into_iter().map(move |host| (proxy, host));
    PROXIES.iter().flat_map(on).collect()
}

/// An authority and what it signed for the shop's name, as a team has it.
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
    let make = |words: &str| {
        let common = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 ";
        let words: Vec<&str> = common.split_whitespace().chain(words.split_whitespace()).collect();
        let done = std::process::Command::new("openssl").args(words).current_dir(folder.path()).output();
        let done = done.unwrap_or_else(|error| panic!("openssl: {error}"));
        assert!(done.status.success(), "openssl: {}", String::from_utf8_lossy(&done.stderr));
    };
    make("-subj /CN=authority -keyout ca.key -out ca.crt");
    make(
        "-subj /CN=shop.example -addext subjectAltName=DNS:shop.example -addext basicConstraints=CA:FALSE \
         -CA ca.crt -CAkey ca.key -keyout tls.key -out tls.crt",
    );
    folder
}

/// What a host's administrator does, once.
fn give_to_hosts(lab: &Lab, folder: &Path) {
    let (folder, policy) = (folder.display(), lab.checkout("charts/edge/policy.yaml"));
    let script = format!(
        "mkdir -p -m 700 /etc/evenkeel-edge && cp {folder}/tls.crt {folder}/tls.key /etc/evenkeel-edge/ && \
         install -D -m 644 {} /etc/evenkeel/policy.d/edge.yaml",
        policy.display()
    );
    for host in lab.hosts() {
        lab.exec(&host, &["sh", "-c", &script]).ok();
    }
}

/// The chart as it is, but for the hosts' ports.
fn put(lab: &Lab, proxy: &Proxy) {
    let path = lab.checkout(&format!("charts/edge/{}.yaml", proxy.name));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = text
        .replace("published: 80}", &format!("published: {}}}", proxy.http))
        .replace("published: 443}", &format!("published: {}}}", proxy.https));
    let (service, check) =
        text.split_once("\n---\n").unwrap_or_else(|| panic!("{} has no check", path.display()));
    lab.put(&format!("services/edge/{}", proxy.name), service);
    lab.put(&format!("healthchecks/edge/{}-http", proxy.name), check);
}

/// Words for curl: to that proxy on that host, and what it says of itself is verified.
fn to(lab: &Lab, proxy: &Proxy, host: &str, folder: &Path) -> Vec<String> {
    let resolve = format!("shop.example:{}:{}", proxy.https, lab.address(host));
    let authority = folder.join("ca.crt").display().to_string();
    ["curl", "-sS", "--max-time", "3", "--resolve", &resolve, "--cacert", &authority]
        .map(str::to_owned)
        .to_vec()
}

/// One that asks that proxy on that host.
fn client(lab: &Lab, proxy: &Proxy, host: &str, folder: &Path) -> Client {
    let curl = to(lab, proxy, host, folder).join(" ");
    let url = format!("https://shop.example:{}/", proxy.https);
    Client::new(lab, format!("{} on {host}", proxy.name), &curl, &url)
}

fn answers(lab: &Lab, proxy: &Proxy, host: &str, folder: &Path) {
    let url = format!("https://shop.example:{}/", proxy.https);
    let words = to(lab, proxy, host, folder);
    let mut words: Vec<&str> = words.iter().map(String::as_str).chain([url.as_str()]).collect();
    // It may be a moment until it has asked for the names.
    let answer =
        eventually(5, &format!("{} on {host} answers", proxy.name), || lab.exec("lan", &words).result());
    assert!(answer.starts_with("1 "), "{} on {host}: {answer}", proxy.name);
    // Nobody else's certificate would do: with the machine's authorities alone curl refuses this one.
    words.retain(|word| *word != "--cacert" && !word.ends_with("ca.crt"));
    assert_eq!(lab.exec("lan", &words).code, 60, "{} on {host}: it was not verified", proxy.name);

    let url = format!("http://{}:{}/there?a=1", lab.address(host), proxy.http);
    let format = "%{http_code} %{redirect_url}";
    let words =
        ["curl", "-sS", "--max-time", "3", "-o", "/dev/null", "-H", "Host: shop.example", "-w", format, &url];
    let redirect = lab.exec("lan", &words).ok();
    assert!(
        redirect.starts_with("308 https://shop.example") && redirect.ends_with("/there?a=1"),
        "{} on {host}: {redirect}",
        proxy.name
    );
}

fn copies(lab: &Lab) -> Vec<Container> {
    lab.copies("shop/web").into_iter().map(|(_, copy)| copy).collect()
}

/// Until every client was answered by each of these copies once more; seconds.
fn reached(clients: &[Client], copies: &[Container]) -> f64 {
    let begun = Instant::now();
    let before: Vec<Seen> = clients.iter().map(Client::seen).collect();
    eventually(10, "every proxy uses every copy", || {
        for (client, before) in clients.iter().zip(&before) {
            let now = client.seen();
            if let Some(copy) = copies.iter().find(|copy| now.of(copy) <= before.of(copy)) {
                return Err(format!("{}: not {}; failed: {:?}", now.name, copy.name, now.failed.first()));
            }
        }
        Ok(())
    });
    since(begun)
}

fn rolled(lab: &Lab) {
    let begun = Instant::now();
    lab.put("services/shop/web", &web("2", 4));
    eventually(60, "the new version is known", || {
        let old = copies(lab).iter().filter(|copy| copy.image().ends_with("web:1")).count();
        if old < 4 { Ok(()) } else { Err("all copies are of the old one".to_owned()) }
    });
    lab.settled("shop/web", 4, 60);
    let old = copies(lab).iter().filter(|copy| copy.image().ends_with("web:1")).count();
    assert_eq!(old, 0, "copies of the old version are left");
    println!("-> rolled in {:.1} s", since(begun));
}

fn killed_and_scaled(lab: &Lab, clients: &[Client]) {
    let (host, copy) = lab.copies("shop/web").into_iter().next().unwrap_or_else(|| panic!("no copy"));
    lab.docker(&host, &["kill", &copy.name]).ok();
    lab.put("services/shop/web", &web("2", 6));
    lab.settled("shop/web", 6, 30);
    let again =
        lab.engine(&host).container(&copy.name).unwrap_or_else(|error| panic!("{}: {error}", copy.name));
    assert_ne!(again.started(), copy.started(), "{} was not killed", copy.name);
    println!(
        "-> one was killed, and there are six: all get requests of every proxy after {:.1} s",
        reached(clients, &copies(lab))
    );
    lab.put("services/shop/web", &web("2", 3));
    lab.settled("shop/web", 3, 30);
}

/// A copy that leaves the names runs on, and would answer whoever asks it.
fn sick(lab: &Lab, clients: &[Client]) {
    let (host, copy) = lab.copies("shop/web").into_iter().next().unwrap_or_else(|| panic!("no copy"));
    let named = |count: usize| {
        eventually(10, &format!("{count} copies in the names of every host"), || {
            let found: Vec<usize> =
                lab.hosts().iter().map(|host| lab.dig(host, "web.shop.internal").len()).collect();
            if found.iter().all(|found| *found == count) { Ok(()) } else { Err(format!("{found:?}")) }
        });
        Instant::now()
    };
    lab.within(&host, &copy.name, &["touch", "/tmp/sick"]).ok();
    let gone = named(2);
    let quiet = Duration::from_secs(2);
    eventually(5, "nobody asks a copy that is out of the names", || {
        let before: Vec<Seen> = clients.iter().map(Client::seen).collect();
        pause(quiet);
        match clients.iter().zip(&before).find(|(client, before)| client.seen().of(&copy) > before.of(&copy))
        {
            Some((client, _)) => Err(format!("{} does", client.name)),
            None => Ok(()),
        }
    });
    println!(
        "-> out of the names: the last request came {:.1} s later, at most",
        since(gone) - quiet.as_secs_f64()
    );
    lab.within(&host, &copy.name, &["rm", "/tmp/sick"]).ok();
    named(3);
    let took = reached(clients, &[copy]);
    println!("-> back in the names: it gets requests of every proxy after {took:.1} s");
}
