//! Who reaches whom, by which names, and under which address.

use std::collections::BTreeSet;

use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::{Done, Lab, case, eventually, limit};

use crate::documents;

fn set_up(lab: &Lab) {
    lab.put("networks/lan", &documents::lan());
    lab.put("networks/db", &documents::network("10.89.0.0/16"));
    lab.put("services/shop/cart", &cart());
    lab.put("services/shop/both", &on("lan, db", "replicas: 3"));
    lab.put("services/shop/store", &on("db", "mode: global"));
    lab.put("services/shop/on-lan", &documents::client("glibc:1", "lan", "mode: global"));
    lab.put("services/shop/on-db", &documents::client("glibc:1", "db", "mode: global"));
    lab.put("services/shop/musl", &documents::client("musl:1", "lan", "replicas: 1"));
    for (service, copies) in
        [("cart", 3), ("both", 3), ("store", 3), ("on-lan", 3), ("on-db", 3), ("musl", 1)]
    {
        lab.settled(&format!("shop/{service}"), copies, 90);
    }
}

/// Published on each host's own address in the LAN.
fn cart() -> String {
    documents::web("1", "mode: global, stop_delay: 0s")
        .replace("target: 8080", "target: 8080, published: 8081, host_ip: 10.0.0.0/24")
}

fn on(networks: &str, deploy: &str) -> String {
    documents::web("1", &format!("{deploy}, stop_delay: 0s"))
        .replace("networks: [lan]", &format!("networks: [{networks}]"))
}

/// The copy of a global service on a host.
fn copy_on(lab: &Lab, host: &str, service: &str) -> Container {
    let found = lab.copies_on(&[host.to_owned()], service);
    found.into_iter().next().unwrap_or_else(|| panic!("no copy of {service} on {host}")).1
}

/// Fetches from within a copy: "VERSION HOSTNAME CLIENT".
fn fetch(lab: &Lab, host: &str, service: &str, url: &str) -> Done {
    lab.within(host, &copy_on(lab, host, service).name, &["curl", "-sS", "--max-time", "3", url])
}

fn curl(lab: &Lab, machine: &str, url: &str) -> Done {
    lab.exec(machine, &["curl", "-sS", "--max-time", "3", url])
}

#[test]
fn packets_go_where_they_may_and_nowhere_else() {
    case(|lab| {
        set_up(lab);
        published_ports(lab);
        two_networks(lab);
        names_in_both_libraries(lab);
        other_records(lab);
        isolation(lab);
        access_from(lab);
    });
}

fn published_ports(lab: &Lab) {
    let url = "http://10.0.0.11:8081/";
    let itself = copy_on(lab, "h1", "shop/cart").name;
    let from_itself = lab.within(
        "h1",
        &itself,
        &[
            "python3",
            "-c",
            "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=3).read().decode())",
            url,
        ],
    );
    let asked = [
        ("LAN", curl(lab, "lan", url), Some("10.0.0.5")),
        ("peer host", curl(lab, "h2", url), Some("10.0.0.12")),
        ("its own host", curl(lab, "h1", url), None),
        ("a container on a peer, same network", fetch(lab, "h2", "shop/on-lan", url), Some("10.0.0.12")),
        ("a container on a peer, other network", fetch(lab, "h2", "shop/on-db", url), Some("10.0.0.12")),
        ("a container on the host, same network", fetch(lab, "h1", "shop/on-lan", url), None),
        ("a container on the host, other network", fetch(lab, "h1", "shop/on-db", url), None),
        ("the container itself", from_itself, None),
    ];
    let mut wrong = Vec::new();
    for (who, done, expected) in asked {
        match done.result() {
            Ok(answer) => {
                let client = answer.trim().rsplit(' ').next().unwrap_or_default().to_owned();
                println!("-> published port asked by {who}: the service sees {client}");
                if expected.is_some_and(|expected| expected != client) {
                    wrong.push(format!("{who}: seen as {client}, not {expected:?}"));
                }
            }
            Err(error) => wrong.push(format!("{who}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "published port: {wrong:#?}");
    assert!(
        !curl(lab, "h1", "http://127.0.0.1:8081/").succeeded(),
        "published on more than the LAN's address"
    );
}

fn two_networks(lab: &Lab) {
    for (client, network) in [("shop/on-lan", "lan"), ("shop/on-db", "db")] {
        let addresses: BTreeSet<String> =
            lab.copies("shop/both").iter().map(|(_, copy)| copy.address(network)).collect();
        for host in lab.hosts() {
            assert_eq!(
                resolve(lab, &host, client, "both"),
                addresses,
                "`both` as seen from {client} on {host}"
            );
            let own = copy_on(lab, &host, client).address(network);
            for address in &addresses {
                let answer = fetch(lab, &host, client, &format!("http://{address}:8080/")).ok();
                assert!(answer.ends_with(&own), "{address} saw {client} on {host} ({own}) as {answer}");
            }
        }
    }
}

/// By glibc's resolver in a copy.
fn resolve(lab: &Lab, host: &str, service: &str, name: &str) -> BTreeSet<String> {
    let done = lab.within(host, &copy_on(lab, host, service).name, &["getent", "ahostsv4", name]);
    done.out.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn names_in_both_libraries(lab: &Lab) {
    let cart: BTreeSet<String> =
        lab.copies("shop/cart").iter().map(|(_, copy)| copy.address("lan")).collect();
    let outside = BTreeSet::from(["10.0.0.2".to_owned()]);
    let names =
        [("cart", &cart), ("cart.shop", &cart), ("cart.shop.internal", &cart), ("outside.example", &outside)];
    for (name, expected) in names {
        assert_eq!(&resolve(lab, "h1", "shop/on-lan", name), expected, "{name} by glibc");
    }
    let (host, musl) = lab.copies("shop/musl").into_iter().next().unwrap_or_else(|| panic!("no musl"));
    let words: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    let answer = lab.within(&host, &musl.name, &[&["getaddr"], words.as_slice()].concat()).ok();
    for ((name, expected), line) in names.iter().zip(answer.lines()) {
        // "NAME MILLISECONDS ADDRESS…"
        let mut parts = line.split_whitespace();
        assert_eq!(parts.next(), Some(*name));
        let took: f64 = parts.next().and_then(|ms| ms.parse().ok()).unwrap_or(f64::NAN);
        let found: BTreeSet<String> = parts.map(str::to_owned).collect();
        assert_eq!(&found, *expected, "{name} by musl");
        assert!(took < limit(500.0), "{name} took musl {took} ms");
    }
    println!("-> glibc and musl resolve cart, cart.shop, cart.shop.internal and outside.example");
    assert_eq!(fetch(lab, "h1", "shop/on-lan", "http://outside.example/").ok(), "outside");
}

fn other_records(lab: &Lab) {
    let srv = lab.run(&["dig", "_http._tcp.cart.shop.internal", "SRV"]);
    assert_eq!(srv.lines().filter(|line| line.contains(" 8080 ")).count(), 3, "SRV: {srv}");
    let why = lab.run(&["dig", "why.cart.shop.internal", "TXT"]);
    assert_eq!(why.lines().filter(|line| line.ends_with(": answers\"")).count(), 3, "TXT: {why}");
    let copy = copy_on(lab, "h2", "shop/cart");
    let reverse: Vec<&str> = copy.raw["NetworkSettings"]["Networks"]["ek-lan"]["IPAddress"]
        .as_str()
        .unwrap_or_default()
        .rsplit('.')
        .collect();
    let ptr = lab.run(&["dig", &format!("{}.in-addr.arpa", reverse.join(".")), "PTR"]);
    assert!(ptr.contains("cart.shop.internal"), "PTR: {ptr}");
    assert_eq!(lab.dig("h1", "h2.cart.shop.internal"), [copy.address("lan")], "the name of one copy");
    assert!(!lab.dig("h1", "h2.node.internal").is_empty(), "no name of host h2");
    assert!(lab.dig("h1", "nothing.shop.internal").is_empty());
}

fn isolation(lab: &Lab) {
    for target in ["h1", "h2"] {
        let store = copy_on(lab, target, "shop/store").address("db");
        let url = format!("http://{store}:8080/");
        fetch(lab, "h1", "shop/on-db", &url).ok();
        assert!(!fetch(lab, "h1", "shop/on-lan", &url).succeeded(), "lan reaches db on {target}");
        assert!(!curl(lab, "lan", &url).succeeded(), "the LAN reaches db on {target}");
    }
    fetch(lab, "h1", "shop/on-lan", "http://10.0.0.2/").ok();
    let etcd = if lab.setting("MEMBERS") == "3" { vec!["10.0.0.11", "10.0.0.12"] } else { vec!["10.0.0.2"] };
    for address in etcd {
        for port in [2379, 2380, 7730] {
            let done = fetch(lab, "h1", "shop/on-lan", &format!("http://{address}:{port}/version"));
            assert!(!done.succeeded(), "a container reaches etcd at {address}:{port}: {}", done.out);
        }
    }
}

fn access_from(lab: &Lab) {
    let copy = copy_on(lab, "h1", "shop/cart").address("lan");
    let url = format!("http://{copy}:8080/");
    lab.exec("lan", &["ip", "route", "replace", &format!("{copy}/32"), "via", "10.0.0.11"]).ok();
    assert!(!curl(lab, "lan", &url).succeeded(), "the LAN reaches a container directly");
    lab.put("networks/lan", &format!("{}  access: {{from: [10.0.0.5/32]}}\n", documents::lan()));
    eventually(15, "who may reach containers directly does", || curl(lab, "lan", &url).result());
    lab.put("networks/lan", &documents::lan());
    eventually(15, "who may no more does no more", || {
        if curl(lab, "lan", &url).succeeded() { Err("it still does".to_owned()) } else { Ok(()) }
    });
    lab.exec("lan", &["ip", "route", "del", &format!("{copy}/32")]).ok();
}
