mod report;

use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_api::local::{LocalInstance, LocalInstances};
use evenkeel_api::record::{DnsReport, Observed};
use evenkeel_etcd::MemoryStore;
use evenkeel_runtime::env::SystemClock;
use evenkeel_runtime::store::TxnBuilder;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;

/// A host with a store, and a name server on the loopback. In real time, as its sockets are.
struct Rig {
    store: MemoryStore,
    dir: tempfile::TempDir,
    at: SocketAddr,
    controller: JoinHandle<Result<(), Error>>,
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn network() -> serde_json::Value {
    serde_json::json!({
        "source_revision": 1, "create_revision": 1, "metadata": {},
        "spec": {"ipam": {"config": [{"subnet": "10.88.0.0/16"}]}},
    })
}

/// Ready copies of shop/web, each `host/slot`.
fn endpoints(copies: &[&str]) -> serde_json::Value {
    let copy = |text: &&str| {
        let (host, slot) = text.split_once('/').unwrap();
        serde_json::json!({
            "id": format!("shop.web.{slot}.1"), "slot": slot, "host": host, "ready": true,
            "addresses": {"lan": format!("10.88.{}.{slot}", &host[1..])},
        })
    };
    serde_json::json!({"networks": ["lan"], "endpoints": copies.iter().map(copy).collect::<Vec<_>>()})
}

impl Rig {
    /// With a network, two live hosts, and a copy on each.
    async fn new() -> Self {
        let rig = Self::bare(MemoryStore::new(1), tempfile::tempdir().unwrap());
        rig.put("cluster", serde_json::json!({"uid": "c1", "epoch": 0, "level": 1})).await;
        rig.put("accepted/networks/lan", network()).await;
        for host in ["h1", "h2"] {
            rig.put(&format!("alive/{host}"), serde_json::json!({"boot_id": "b", "incarnation": 1})).await;
        }
        rig.put("endpoints/shop/web/0", endpoints(&["h1/1", "h2/2"])).await;
        rig.until("10.88.1.1 10.88.2.2").await;
        rig
    }

    fn bare(store: MemoryStore, dir: tempfile::TempDir) -> Self {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let deps = DnsDeps {
            store: Arc::new(store.client(7)),
            env: Arc::new(Env::new(SystemClock, 7)),
            host: "h1".parse().unwrap(),
            state_dir: dir.path().into(),
            resolv: dir.path().join("resolv.conf"),
            sockets: Sockets::Direct,
            port,
            listen: vec![Ipv4Addr::LOCALHOST],
            meter: Meter::default(),
        };
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { store, dir, at, controller: tokio::spawn(run(deps)) }
    }

    /// The controller again, with another store.
    async fn restart(self, store: MemoryStore) -> Self {
        self.controller.abort();
        assert!(self.controller.await.unwrap_err().is_cancelled());
        // Its tasks end with it, but not at once.
        sleep(ms(50)).await;
        Self::bare(store, self.dir)
    }

    async fn put(&self, at: &str, value: serde_json::Value) {
        let txn = TxnBuilder::new().put(&key(at), value.to_string()).build().unwrap();
        assert!(self.store.commit(&txn).await.unwrap().succeeded);
    }

    async fn delete(&self, at: &str) {
        self.store.commit(&TxnBuilder::new().delete(&key(at)).build().unwrap()).await.unwrap();
    }

    /// The addresses of `web.shop.internal`, or `no 2`: the response code.
    async fn ask(&self) -> Option<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in ["web", "shop", "internal", ""] {
            query.push(label.len() as u8);
            query.extend(label.as_bytes());
        }
        query.extend([0, 1, 0, 1]);
        socket.send_to(&query, self.at).await.unwrap();
        let mut reply = vec![0; 512];
        let len = timeout(ms(200), socket.recv(&mut reply)).await.ok()?.ok()?;
        if reply[3] & 15 != 0 {
            return Some(format!("no {}", reply[3] & 15));
        }
        // Each answer is 16 bytes: its name is a reference to the question.
        let mut found: Vec<Ipv4Addr> = reply[query.len()..len]
            .chunks_exact(16)
            .take(reply[7].into())
            .map(|record| <[u8; 4]>::try_from(&record[12..]).unwrap().into())
            .collect();
        found.sort();
        Some(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    async fn until(&self, answer: &str) -> Duration {
        let began = Instant::now();
        loop {
            let got = self.ask().await;
            if got.as_deref() == Some(answer) {
                return began.elapsed();
            }
            assert!(began.elapsed() < Duration::from_secs(10), "never {answer:?}, still {got:?}");
            sleep(ms(1)).await;
        }
    }

    async fn report(&self) -> Option<DnsReport> {
        let (kv, _) = self.store.get(&key("reports/h1/dns")).await.unwrap();
        kv.map(|kv| serde_json::from_slice(&kv.value).unwrap())
    }
}

#[tokio::test]
async fn a_change_is_served_within_milliseconds_and_reported_and_calm_is_silent() {
    let rig = Rig::new().await;
    rig.put("endpoints/shop/web/0", endpoints(&["h2/2"])).await;
    let wanted = rig.store.revision();
    let took = rig.until("10.88.2.2").await;
    assert!(took < ms(100), "{took:?}");
    let began = Instant::now();
    while rig.report().await.map(|report| report.revision) != Some(wanted) {
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", rig.report().await);
        sleep(ms(10)).await;
    }
    let calm = rig.store.revision();
    sleep(ms(1500)).await;
    assert_eq!(rig.store.revision(), calm);
    rig.delete("endpoints/shop/web/0").await;
    let began = Instant::now();
    while rig.report().await.is_some() {
        assert!(began.elapsed() < Duration::from_secs(5), "a zone without endpoints is told of");
        sleep(ms(10)).await;
    }
}

#[tokio::test]
async fn a_host_that_is_gone_leaves_the_names_after_half_a_second() {
    let rig = Rig::new().await;
    rig.delete("alive/h2").await;
    let took = rig.until("10.88.1.1").await;
    assert!(took >= ms(450) && took < ms(800), "{took:?}");
    // Back within the half second: nobody notices.
    rig.put("alive/h2", serde_json::json!({"boot_id": "b", "incarnation": 2})).await;
    rig.until("10.88.1.1 10.88.2.2").await;
    rig.delete("alive/h2").await;
    sleep(ms(300)).await;
    rig.put("alive/h2", serde_json::json!({"boot_id": "b", "incarnation": 3})).await;
    for _ in 0..40 {
        assert_eq!(rig.ask().await.as_deref(), Some("10.88.1.1 10.88.2.2"));
        sleep(ms(10)).await;
    }
}

#[tokio::test]
async fn without_the_store_the_last_zone_is_served_also_after_a_restart_and_a_local_end_is_seen() {
    let rig = Rig::new().await;
    sleep(ms(1200)).await;
    let away = MemoryStore::new(2);
    away.set_down(true);
    let rig = rig.restart(away).await;
    rig.until("10.88.1.1 10.88.2.2").await;
    let instances = StateFile::open(&rig.dir.path().into(), Controller::Instance).unwrap();
    let observed = serde_json::json!({"state": {"is": "exited", "code": 1}, "since": 0});
    let observed: Observed = serde_json::from_value(observed).unwrap();
    let copy = LocalInstance { desired: evenkeel_api::record::Desired::Run, observed, ports: Vec::new() };
    let copies = LocalInstances { instances: [("shop.web.1.1".parse().unwrap(), copy)].into() };
    instances.save(&copies).unwrap();
    let took = rig.until("10.88.2.2").await;
    assert!(took < ms(400), "{took:?}");
}

#[tokio::test]
async fn a_store_that_is_another_one_is_not_followed() {
    let rig = Rig::new().await;
    sleep(ms(1200)).await;
    let rig = rig.restart(MemoryStore::new(3)).await;
    rig.put("accepted/networks/lan", network()).await;
    rig.until("10.88.1.1 10.88.2.2").await;
    rig.put("cluster", serde_json::json!({"uid": "c2", "epoch": 0, "level": 1})).await;
    sleep(ms(200)).await;
    assert_eq!(rig.ask().await.as_deref(), Some("10.88.1.1 10.88.2.2"));
    // Until a person says so, and of this cluster.
    rig.put("cluster", serde_json::json!({"uid": "c1", "epoch": 1, "level": 1})).await;
    let halt = TxnBuilder::new().delete(&Key::Halt).build().unwrap();
    rig.store.commit(&halt).await.unwrap();
    rig.until("no 3").await;
}

#[tokio::test]
async fn a_store_that_lost_everything_takes_no_name_away() {
    let rig = Rig::new().await;
    rig.store.wipe();
    for _ in 0..60 {
        let got = rig.ask().await;
        assert_eq!(got.as_deref(), Some("10.88.1.1 10.88.2.2"));
        sleep(ms(50)).await;
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_read_leaves_what_was_known() {
    let rig = Rig::new().await;
    rig.put("endpoints/shop/web/0", serde_json::json!({"endpoints": 7})).await;
    rig.put("endpoints/shop/cart/0", endpoints(&[])).await;
    sleep(ms(200)).await;
    assert_eq!(rig.ask().await.as_deref(), Some("10.88.1.1 10.88.2.2"));
}
