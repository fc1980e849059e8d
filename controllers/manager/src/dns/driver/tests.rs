use std::net::UdpSocket;
use std::path::Path;

use evenkeel_api::key::{Controller, Key};
use evenkeel_etcd::MemoryStore;
use evenkeel_metrics::{Build, Form, Page};
use evenkeel_names::handover::Sockets;
use evenkeel_runtime::disk::{MemoryDisk, StateDir};
use evenkeel_runtime::env::SystemClock;
use evenkeel_runtime::store::{Store, TxnBuilder};
use serde_json::json;

use super::*;

/// A driver that is turned by hand, and those whom it tells.
struct Rig {
    store: MemoryStore,
    driver: Driver,
    own: watch::Receiver<Arc<BTreeSet<Ipv4Addr>>>,
    state: watch::Receiver<Arc<State>>,
    serve: watch::Receiver<Option<i64>>,
    page: Page,
}

/// Of the test's own, so that only this test is on its ports.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);

impl Rig {
    fn new(sockets: Sockets, port: u16) -> Self {
        let store = MemoryStore::new(1);
        let page = Page::new(&Build { version: "1".into(), level: 1, started: 0.0 });
        let (own, owned) = watch::channel(Arc::default());
        let (state, stated) = watch::channel(Arc::default());
        let (serve, served) = watch::channel(None);
        let deps = DnsDeps {
            store: Arc::new(store.client(7)),
            env: Arc::new(Env::new(SystemClock, 7)),
            host: "h1".parse().unwrap(),
            state_dir: StateDir::on(Arc::new(MemoryDisk::new()), Path::new("/state")),
            resolv: "resolv.conf".into(),
            sockets,
            port,
            listen: vec![ADDRESS],
            meter: page.meter(Controller::Dns),
        };
        let driver = Driver::new(deps, Forwarder::new(), Told { own, state, serve });
        Self { store, driver, own: owned, state: stated, serve: served, page }
    }

    /// Puts one key; its revision.
    async fn put(&self, key: &str, value: serde_json::Value) -> i64 {
        let txn = TxnBuilder::new().put(&key.parse::<Key>().unwrap(), value.to_string());
        self.store.commit(&txn.build().unwrap()).await.unwrap().header.revision
    }

    /// What a figure says; none if there is no such line.
    fn figure(&self, name: &str) -> Option<String> {
        let page = self.page.text(Form::Prometheus);
        page.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    }

    /// Lets the driver hear what changed.
    async fn news(&mut self) {
        let keys = self.driver.changed.next().await;
        self.driver.stored.note(keys);
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_taken_is_tried_again_after_a_second() {
    let taken = UdpSocket::bind((ADDRESS, 0)).unwrap();
    let mut rig = Rig::new(Sockets::Direct, taken.local_addr().unwrap().port());
    tokio::time::advance(Duration::from_secs(7)).await;
    let failures = "evenkeel_reconcile_errors_total{controller=\"dns\",kind=\"names\"}";
    assert_eq!(rig.figure(failures), None);
    assert_eq!(rig.driver.turn(), Some(Duration::from_secs(8)));
    assert_eq!(rig.figure(failures).as_deref(), Some("1"));
    drop(taken);
    assert_eq!(rig.driver.turn(), None);
    assert_eq!(rig.figure(failures).as_deref(), Some("1"));
    // It has its address, and knows no name yet.
    assert_eq!(rig.figure("evenkeel_dns_serving").as_deref(), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn before_anything_is_learnt_no_name_is_said_not_to_exist_and_no_revision_is_told_of() {
    let mut rig = Rig::new(Sockets::Nowhere(Arc::default()), 53);
    rig.driver.stored.synced().await;
    assert_eq!(rig.driver.turn(), None);
    assert_eq!(*rig.driver.server.zone(), Zone::unknown(&rig.driver.here));
    assert!(!rig.serve.has_changed().unwrap() && !rig.state.has_changed().unwrap());
    assert!(rig.own.has_changed().unwrap());
    assert_eq!(**rig.own.borrow_and_update(), [ADDRESS].into());
    rig.driver.turn();
    assert!(!rig.own.has_changed().unwrap(), "what is the same is not told again");
}

#[tokio::test(start_paused = true)]
async fn a_new_zone_is_told_of_at_once_and_kept_once_a_second() {
    let mut rig = Rig::new(Sockets::Nowhere(Arc::default()), 53);
    rig.put("cluster", json!({"uid": "c1", "epoch": 0, "level": 1})).await;
    let nobody = json!({"networks": ["lan"], "endpoints": []});
    let first = rig.put("endpoints/shop/web/0", nobody.clone()).await;
    rig.driver.stored.synced().await;
    rig.news().await;
    assert_eq!(rig.driver.turn(), None);
    assert!(rig.state.has_changed().unwrap() && rig.serve.has_changed().unwrap());
    assert_eq!(rig.state.borrow_and_update().world.revision(), first);
    assert_eq!(*rig.serve.borrow_and_update(), Some(first));
    assert_eq!(rig.figure("evenkeel_dns_serving").as_deref(), Some("1"));

    let kept = rig.driver.env.now();
    tokio::time::advance(PERIOD / 2).await;
    let second = rig.put("endpoints/shop/web/0", nobody).await;
    rig.news().await;
    assert_eq!(rig.driver.turn(), Some(kept + PERIOD));
    assert!(rig.serve.has_changed().unwrap() && !rig.state.has_changed().unwrap());
    assert_eq!(*rig.serve.borrow_and_update(), Some(second));

    tokio::time::advance(PERIOD).await;
    assert_eq!(rig.driver.turn(), None);
    assert!(rig.state.has_changed().unwrap());
    assert_eq!(rig.state.borrow_and_update().world.revision(), second);
    tokio::time::advance(PERIOD * 2).await;
    assert_eq!(rig.driver.turn(), None);
    assert!(!rig.state.has_changed().unwrap() && !rig.serve.has_changed().unwrap(), "calm means silent");
}
