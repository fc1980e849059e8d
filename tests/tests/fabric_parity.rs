//! The kernel and the fake fabric do the same. Each test runs itself again in a network namespace of its
//! own, which is gone with the process; needs root and `nft`, and says so where it has not.

#![allow(clippy::unwrap_used, reason = "a failed test says where")]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use evenkeel_fabric::{Fabric, FakeFabric, LinuxFabric, Wakes};
use evenkeel_plan::network::firewall::{Member, Rules, table};
use evenkeel_plan::network::state::*;

const INSIDE: &str = "EVENKEEL_TEST_NETNS";

/// Run `body` in a new namespace, in another process of this test binary.
fn in_namespace(name: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(body);
    }
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !is_root || !ran(Command::new("nft").arg("--version")) {
        eprintln!("SKIPPED {name}: needs root and nft");
        return;
    }
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its namespace");
}

fn ran(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

fn pair(from: &str, to: &str) -> Pair {
    Pair { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

fn route(to: &str, via: u8) -> Route {
    Route { to: to.parse().unwrap(), via: Ipv4Addr::new(10, 0, 0, via), src: [10, 88, 1, 1].into() }
}

fn rules(ports: &[u16]) -> Rules {
    let member = Member {
        bridge: "ek-lan".into(),
        pools: vec!["10.88.0.0/16".parse().unwrap(), "10.90.0.0/16".parse().unwrap()],
        part: "10.88.1.0/24".parse().unwrap(),
        from: vec!["10.0.0.0/28".parse().unwrap(), "10.0.0.5".parse().unwrap()],
    };
    let address = Ipv4Addr::new(10, 0, 0, 11);
    let protocol = evenkeel_api::service::Protocol::Udp;
    let published = ports.iter().flat_map(|port| {
        [address, Ipv4Addr::UNSPECIFIED].map(|address| Published { address, protocol, port: *port })
    });
    Rules { members: vec![member], guarded: [address].into(), published: published.collect() }
}

fn load(ports: &[u16]) -> FabricAction {
    let table = table(&rules(ports));
    FabricAction::LoadTable { text: table.text, mark: table.mark }
}

/// Both hosts alike: a LAN device and a bridge of ours.
struct Pairing {
    linux: LinuxFabric,
    fake: FakeFabric,
}

impl Pairing {
    fn new() -> Self {
        sh("ip link set lo up
            ip link add eth0 type veth peer name wall
            ip link set wall up; ip link set eth0 up; ip addr add 10.0.0.11/24 dev eth0
            ip link add ek-lan type bridge; ip link set ek-lan up; ip addr add 10.88.1.1/16 dev ek-lan");
        let fake = FakeFabric::new();
        fake.edit(|state| state.engine.present = false);
        fake.add_link("eth0", false, [10, 0, 0, 11].into(), 24);
        fake.add_link("ek-lan", true, [10, 88, 1, 1].into(), 16);
        Self { linux: LinuxFabric::new().unwrap(), fake }
    }

    /// Both give the same answer, and look the same afterwards.
    async fn apply(&self, action: FabricAction) {
        let (linux, fake) = (self.linux.apply(&action).await, self.fake.apply(&action).await);
        assert_eq!(linux.is_ok(), fake.is_ok(), "{action:?}: {linux:?}, {fake:?}");
        self.alike(&format!("{action:?}")).await;
    }

    async fn alike(&self, after: &str) {
        let (mut linux, mut fake) = (self.linux.observe().await.unwrap(), self.fake.state());
        for state in [&mut linux, &mut fake] {
            state.links.retain(|name, _| name == "eth0" || name == "ek-lan");
            state.foreign.sort();
        }
        assert_eq!(linux, fake, "after {after}");
    }
}

#[test]
fn both_do_the_same() {
    in_namespace("both_do_the_same", async {
        let both = Pairing::new();
        both.alike("nothing").await;
        both.apply(load(&[])).await;
        both.apply(load(&[53, 80])).await;
        let pools = vec![pair("10.88.0.0/15", "10.88.0.0/15"), pair("10.0.0.5", "10.88.0.0/16")];
        for chain in [Chain::Forward, Chain::Raw] {
            both.apply(FabricAction::Accept { chain, pairs: pools.clone() }).await;
            both.apply(FabricAction::Accept { chain, pairs: pools.clone() }).await;
            both.apply(FabricAction::Accept { chain, pairs: pools[..1].to_vec() }).await;
        }
        for bridge in ["ek-lan", "ek-none"].map(str::to_owned) {
            both.apply(FabricAction::ProxyArp { bridge: bridge.clone() }).await;
            both.apply(FabricAction::ProxyDelay { bridge }).await;
        }
        both.apply(FabricAction::PutRoute(route("10.88.2.0/24", 12))).await;
        both.apply(FabricAction::PutRoute(route("10.88.3.0/24", 13))).await;
        both.apply(FabricAction::PutRoute(route("10.88.2.0/24", 22))).await;
        let foreign = Route { src: [10, 99, 1, 1].into(), ..route("10.88.4.0/24", 14) };
        both.apply(FabricAction::PutRoute(foreign)).await;
        both.apply(FabricAction::DropRoute(route("10.88.3.0/24", 13))).await;
        both.apply(FabricAction::DropRoute(route("10.88.3.0/24", 13))).await;
        both.apply(FabricAction::Jump).await;

        sh("nft flush ruleset");
        both.fake.flush();
        both.alike("a flush").await;
        both.apply(load(&[])).await;
        both.apply(FabricAction::Accept { chain: Chain::Raw, pairs: Vec::new() }).await;
        both.apply(FabricAction::DropTable).await;
        both.apply(FabricAction::DropTable).await;

        sh("ip link del ek-lan");
        both.fake.remove_link("ek-lan");
        both.alike("the end of the bridge").await;
    });
}

#[test]
fn foreign_edits_are_seen_and_put_right() {
    in_namespace("foreign_edits_are_seen_and_put_right", async {
        let linux = Pairing::new().linux;
        let pairs = vec![pair("10.88.0.0/16", "10.88.0.0/16")];
        linux.apply(&load(&[])).await.unwrap();
        linux.apply(&FabricAction::Accept { chain: Chain::Forward, pairs: pairs.clone() }).await.unwrap();
        linux.apply(&FabricAction::PutRoute(route("10.88.2.0/24", 12))).await.unwrap();
        assert!(linux.observe().await.unwrap().table.unwrap().intact);

        for edit in [
            "nft insert rule inet evenkeel forward accept",
            "nft add element inet evenkeel pools { 10.7.0.0/16 }",
            "nft add chain inet evenkeel input '{ policy drop; }'",
        ] {
            sh(edit);
            assert!(!linux.observe().await.unwrap().table.unwrap().intact, "{edit}");
            linux.apply(&load(&[])).await.unwrap();
            assert!(linux.observe().await.unwrap().table.unwrap().intact, "{edit}");
        }
        // Another process cannot know what was loaded: it must not take it for intact.
        assert!(!LinuxFabric::new().unwrap().observe().await.unwrap().table.unwrap().intact);

        sh("nft insert rule ip filter DOCKER-USER ip saddr 9.9.9.9 drop");
        assert!(!linux.observe().await.unwrap().engine.forward.first);
        linux.apply(&FabricAction::Accept { chain: Chain::Forward, pairs: pairs.clone() }).await.unwrap();
        let found = linux.observe().await.unwrap().engine.forward;
        assert_eq!(found, Accepts { pairs, first: true });
        let listed =
            Command::new("nft").args(["list", "chain", "ip", "filter", "DOCKER-USER"]).output().unwrap();
        assert!(String::from_utf8_lossy(&listed.stdout).contains("9.9.9.9"), "others' rules stay");

        // A chain that is led to too late, or not at all.
        sh("nft 'add chain ip filter FORWARD { type filter hook forward priority 0; }'
            nft add chain ip filter DOCKER-FORWARD; nft add rule ip filter FORWARD jump DOCKER-FORWARD
            nft add rule ip filter FORWARD jump DOCKER-USER");
        assert_eq!(linux.observe().await.unwrap().engine.jump, Jump::Missing);
        linux.apply(&FabricAction::Jump).await.unwrap();
        assert_eq!(linux.observe().await.unwrap().engine.jump, Jump::Fine);

        sh("ip route replace 10.88.2.0/24 via 10.0.0.99 proto 212; ip route add 10.88.9.0/24 dev eth0");
        let state = linux.observe().await.unwrap();
        assert!(!state.routes.contains(&route("10.88.2.0/24", 12)), "a bent route is not ours as we want it");
        let other = ForeignRoute { to: "10.88.9.0/24".parse().unwrap(), link: "eth0".into() };
        assert!(state.foreign.contains(&other));
        linux.apply(&FabricAction::PutRoute(route("10.88.2.0/24", 12))).await.unwrap();
        linux.apply(&FabricAction::DropRoute(route("10.88.9.0/24", 12))).await.unwrap();
        let state = linux.observe().await.unwrap();
        assert_eq!(state.routes, BTreeSet::from([route("10.88.2.0/24", 12)]));
        assert!(state.foreign.contains(&other), "a foreign route is never removed");
    });
}

#[test]
fn changes_wake() {
    in_namespace("changes_wake", async {
        let linux = Pairing::new().linux;
        let mut wakes = linux.changes().await.unwrap();
        quiet(&mut wakes).await;
        for change in [
            "nft add table inet other",
            "nft flush ruleset",
            "ip link set ek-lan down",
            "ip addr add 10.7.0.1/24 dev eth0",
            "ip route add 10.66.0.0/16 via 10.0.0.3",
        ] {
            sh(change);
            let woken = tokio::time::timeout(Duration::from_secs(5), wakes.next()).await;
            assert!(woken.is_ok(), "{change} wakes");
            quiet(&mut wakes).await;
        }
        linux.observe().await.unwrap();
        let woken = tokio::time::timeout(Duration::from_millis(500), wakes.next()).await;
        assert!(woken.is_err(), "looking is no change");
    });
}

/// What was on its way is through.
async fn quiet(wakes: &mut Box<dyn Wakes>) {
    while tokio::time::timeout(Duration::from_millis(300), wakes.next()).await.is_ok() {}
}

#[test]
fn an_engine_on_the_old_tables_is_found() {
    in_namespace("an_engine_on_the_old_tables_is_found", async {
        let chains = "mount -t tmpfs none /run
            for c in 'filter -N DOCKER-USER' 'filter -A DOCKER-USER -j RETURN' 'filter -A FORWARD -j DOCKER-USER' \
                     'nat -N DOCKER' 'raw -S'; do iptables-legacy -t $c >/dev/null; done";
        if !ran(Command::new("sh").args(["-ec", chains])) {
            eprintln!("SKIPPED: no iptables-legacy here");
            return;
        }
        let linux = LinuxFabric::new().unwrap();
        let found = linux.observe().await.unwrap().engine;
        assert_eq!((found.backend, found.present, found.jump), (Backend::Legacy, true, Jump::Fine));
        let pairs = [pair("10.0.0.5", "10.88.0.0/16"), pair("10.88.0.0/15", "10.88.0.0/15")];
        for wanted in [&pairs[..], &pairs[1..], &[]] {
            for chain in [Chain::Forward, Chain::Raw] {
                linux.apply(&FabricAction::Accept { chain, pairs: wanted.to_vec() }).await.unwrap();
            }
            let found = linux.observe().await.unwrap().engine;
            assert_eq!(found.forward, Accepts { pairs: wanted.to_vec(), first: true });
            assert_eq!(found.raw.pairs, wanted);
        }
        // An engine with chains in nftables is believed over leftovers in the old tables.
        sh(
            "nft add table ip filter; nft add chain ip filter DOCKER; nft add table ip nat; nft add chain ip nat DOCKER",
        );
        assert_eq!(linux.observe().await.unwrap().engine.backend, Backend::Nft);
    });
}
