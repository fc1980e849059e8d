//! Who may do what, asked of a real etcd with its access control on: certificates as `evenkeel init` makes them,
//! roles as it writes them, and every kind of key tried by everyone.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::access::{Grant, Role, allow};
use evenkeel_api::key::{Controller, Key};
use evenkeel_api::name::HostName;
use evenkeel_api::session::{Action, Session};
use evenkeel_api::user::{Part, User};
use evenkeel_cluster::{Authority, Pair, Subject, Use};
use evenkeel_engine::{FakeEngine, Inside};
use evenkeel_etcd::rights::{Access, Admin, Change, ROOT, changes, removal};
use evenkeel_etcd::{EtcdConfig, EtcdStore, EtcdTls};
use evenkeel_manager::instance::{self, InstanceDeps, Sessions};
use evenkeel_runtime::env::{Env, SystemClock, WallClock};
use evenkeel_runtime::store::{Store, StoreError, TxnBuilder};
use evenkeel_sessions::{Frame, Identity, Opening, call};
use evenkeel_tests::etcd::{PrivateEtcd, free_port};
use tempfile::TempDir;

/// One key of each kind, of this host and of another, of this team and of another.
const KEYS: [&str; 51] = [
    "services/shop/web",
    "services/pay/web",
    "healthchecks/shop/web",
    "healthchecks/pay/web",
    "networks/lan",
    "hosts/h1",
    "hosts/h2",
    "pins/shop/web",
    "pins/pay/web",
    "cluster",
    "halt",
    "confirmed",
    "brake",
    "brakes",
    "accepted/services/shop/web",
    "accepted/networks/lan",
    "accepted/healthchecks/shop/web",
    "accepted/hosts/h1",
    "revisions/services/shop/web/7",
    "revisions/services/shop/web/7/digest",
    "rollouts/shop/web",
    "instances/h1/shop.web.1.1",
    "instances/h2/shop.web.2.1",
    "instances/h10/shop.web.3.1",
    "endpoints/shop/web/0",
    "subnets/lan/h1",
    "status/services/shop/web",
    "status/networks/lan",
    "status/healthchecks/shop/web",
    "alive/h1",
    "alive/h2",
    "alive/h10",
    "facts/h1",
    "facts/h2",
    "observed/h1/shop.web.1.1",
    "observed/h2/shop.web.2.1",
    "health/h1/shop.web.1.1",
    "health/h2/shop.web.2.1",
    "reports/h1/network/lan",
    "reports/h1/dns",
    "reports/h2/dns",
    "reports/h1/trust/dns",
    "events/h1.dns/1",
    "events/h2.dns/1",
    "writers/h1/dns",
    "writers/h2/dns",
    "leaders/service",
    "leaders/network",
    "sessions/shop/0123456789abcdef0123456789abcdef",
    "sessions/pay/0123456789abcdef0123456789abcdef",
    "views/0123456789abcdef0123456789abcdef",
];

struct World {
    folder: TempDir,
    clients: Authority,
    peers: Authority,
    etcd: PrivateEtcd,
}

fn now() -> Duration {
    Duration::from_millis(SystemClock.now().0.try_into().unwrap())
}

fn client(authority: &Authority, name: &str) -> Pair {
    let subject = Subject { name: name.to_owned(), addresses: Vec::new(), usage: Use::Client };
    authority.issue(&subject, now()).unwrap()
}

fn write(folder: &Path, name: &str, pair: &Pair) -> (PathBuf, PathBuf) {
    let paths = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    std::fs::write(&paths.0, &pair.cert).unwrap();
    std::fs::write(&paths.1, &pair.key).unwrap();
    paths
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clients = Authority::create("clients", now()).unwrap();
        let peers = Authority::create("peers", now()).unwrap();
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, &clients.pair.cert).unwrap();
        let addresses = vec!["127.0.0.1".parse().unwrap()];
        let server = Subject { name: String::new(), addresses, usage: Use::Server };
        let (cert, key) = write(folder.path(), "server", &clients.issue(&server, now()).unwrap());
        let identity = Some(write(folder.path(), ROOT, &client(&clients, ROOT)));
        let tls = EtcdTls { ca: ca.clone(), identity, domain: None };
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let flags = [
            "--client-cert-auth".to_owned(),
            format!("--trusted-ca-file={}", text(&ca)),
            format!("--cert-file={}", text(&cert)),
            format!("--key-file={}", text(&key)),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let etcd = PrivateEtcd::start_secured(&flags, tls).await;
        Self { folder, clients, peers, etcd }
    }

    /// How someone reaches etcd, with a certificate from `authority`.
    fn config(&self, authority: &Authority, user: &str) -> EtcdConfig {
        let identity = Some(write(self.folder.path(), user, &client(authority, user)));
        let tls = EtcdTls { ca: self.folder.path().join("ca.crt"), identity, domain: None };
        EtcdConfig { tls: Some(tls), ..EtcdConfig::new([self.etcd.endpoint()]) }
    }

    fn admin(&self) -> Admin {
        Admin::new(&self.config(&self.clients, ROOT)).unwrap()
    }

    fn store(&self, user: &str) -> EtcdStore {
        EtcdStore::new(&self.config(&self.clients, user)).unwrap()
    }
}

fn host() -> HostName {
    "h1".parse().unwrap()
}

/// Everyone there is: each controller alone, a host that may lead and one that may not, and people.
fn everyone() -> Access {
    let mut access = Access::new();
    for controller in Controller::ALL {
        access.insert(format!("evenkeel.host.h1.{controller}"), [Role::Host(host(), controller)].into());
    }
    for controller in Controller::LEADING {
        access.insert(format!("evenkeel.lead.{controller}"), [Role::Lead(controller)].into());
    }
    access.insert("evenkeel.host.h1".to_owned(), Role::of_host(&host(), false).into_iter().collect());
    access.insert("evenkeel.host.h1.leads".to_owned(), Role::of_host(&host(), true).into_iter().collect());
    access.insert("evenkeel.user.ann".to_owned(), [Role::Team("shop".parse().unwrap())].into());
    access.insert("evenkeel.user.joe".to_owned(), [Role::Viewer].into());
    access.insert("evenkeel.user.operator".to_owned(), [Role::Operator].into());
    access
}

fn grants(roles: &BTreeSet<Role>) -> Vec<Grant> {
    roles.iter().flat_map(Role::grants).collect()
}

/// Whether etcd lets it be done.
fn lets<T>(result: Result<T, StoreError>) -> bool {
    match result {
        Ok(_) => true,
        Err(StoreError::Refused(text)) if text.contains("permission denied") => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn everyone_may_do_what_their_role_says_and_nothing_else() {
    let world = World::new().await;
    let (admin, access) = (world.admin(), everyone());
    admin.apply(&changes(&admin.read().await.unwrap(), &admin.rights(&access))).await.unwrap();
    admin.enable().await.unwrap();
    // All that was wished is there, and doing it again is nothing.
    assert_eq!(changes(&admin.read().await.unwrap(), &admin.rights(&access)), []);
    admin.enable().await.unwrap();
    let mut tried = BTreeMap::new();
    for (user, roles) in &access {
        let (store, grants) = (world.store(user), grants(roles));
        for text in KEYS {
            let key: Key = text.parse().unwrap();
            let read = lets(store.get(&key).await);
            let txn = TxnBuilder::new().put(&key, text).build().unwrap();
            let write = lets(store.commit(&txn).await);
            let may = (allow(&grants, text, false), allow(&grants, text, true));
            assert_eq!((read, write), may, "{user} reads and writes {text}");
            *tried.entry((read, write)).or_insert(0) += 1;
        }
        // Whole ranges, too: of all keys, only who may see all.
        assert_eq!(lets(store.list("").await), allow(&grants, "", false), "{user} lists all");
    }
    // It was asked, and not all of it was refused or let.
    assert!(
        [(false, false), (true, false), (true, true)].iter().all(|answer| tried[answer] > 50),
        "{tried:?}"
    );
}

#[tokio::test]
async fn a_certificate_that_is_not_known_or_no_more_known_does_nothing() {
    let world = World::new().await;
    let (admin, user) = (world.admin(), "evenkeel.host.h1");
    let access = Access::from([(user.to_owned(), Role::of_host(&host(), true).into_iter().collect())]);
    admin.apply(&changes(&admin.read().await.unwrap(), &admin.rights(&access))).await.unwrap();
    admin.enable().await.unwrap();
    let halt = TxnBuilder::new().put(&Key::Halt, "x").build().unwrap();
    assert!(lets(world.store(user).commit(&halt).await));
    // Nobody's name.
    assert!(world.store("evenkeel.host.h9").commit(&halt).await.is_err());
    // A member's authority makes no clients, whatever name it writes.
    let forged = EtcdStore::new(&world.config(&world.peers, ROOT)).unwrap();
    assert!(forged.commit(&halt).await.is_err());
    // A host that was removed.
    let gone = removal(&admin.read().await.unwrap(), &BTreeSet::from([user.to_owned()]));
    admin.apply(&gone).await.unwrap();
    assert!(world.store(user).commit(&halt).await.is_err());
    assert_eq!(admin.read().await.unwrap(), Default::default());
}

#[tokio::test]
async fn a_name_that_is_given_again_is_somebody_else() {
    let world = World::new().await;
    let admin = world.admin();
    let user = |generation| User::Host { host: host(), generation, part: Part::All }.to_string();
    let gives = async |user: &str| {
        let access = Access::from([(user.to_owned(), Role::of_host(&host(), true).into_iter().collect())]);
        admin.apply(&changes(&admin.read().await.unwrap(), &admin.rights(&access))).await.unwrap();
    };
    gives(&user(0)).await;
    admin.enable().await.unwrap();
    let halt = TxnBuilder::new().put(&Key::Halt, "x").build().unwrap();
    assert!(lets(world.store(&user(0)).commit(&halt).await));
    // Taken out: who stands for the next generation may do as little as who is gone.
    let gone = removal(&admin.read().await.unwrap(), &BTreeSet::from([user(0)]));
    let told: Vec<_> = [Change::AddUser(user(1))].into_iter().chain(gone).collect();
    admin.apply(&told).await.unwrap();
    for generation in [0, 1] {
        assert!(world.store(&user(generation)).commit(&halt).await.is_err(), "{generation}");
    }
    gives(&user(1)).await;
    assert!(lets(world.store(&user(1)).commit(&halt).await));
    assert!(world.store(&user(0)).commit(&halt).await.is_err(), "the certificate of before is good again");
}

#[tokio::test]
async fn a_snapshot_is_whole_and_nobodys_but_roots() {
    let world = World::new().await;
    let admin = world.admin();
    let operator = "evenkeel.user.operator";
    let access = Access::from([(operator.to_owned(), [Role::Operator].into())]);
    admin.apply(&changes(&admin.read().await.unwrap(), &admin.rights(&access))).await.unwrap();
    admin.enable().await.unwrap();
    let value = "x".repeat(200_000);
    let txn = TxnBuilder::new().put(&"services/shop/web".parse().unwrap(), value.clone()).build().unwrap();
    world.store(operator).commit(&txn).await.unwrap();
    let mut file = Vec::new();
    let bytes = admin
        .snapshot(|piece| {
            file.extend_from_slice(piece);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(bytes, file.len() as u64);
    assert!(file.windows(value.len()).any(|window| window == value.as_bytes()), "what was put is in it");
    // etcd puts a checksum behind whole pages.
    assert_eq!(bytes % 512, 32);
    let refused = Admin::new(&world.config(&world.clients, operator)).unwrap();
    assert!(refused.snapshot(|_| Ok(())).await.is_err());
    let full = admin.snapshot(|_| Err(std::io::Error::other("no room"))).await.unwrap_err();
    assert!(full.to_string().contains("no room"), "{full}");
    let members = admin.members().await.unwrap();
    assert_eq!(
        members.iter().map(|member| (member.name.as_str(), member.learns)).collect::<Vec<_>>(),
        [("private", false)]
    );
}

/// What `user` asks of the host: whether etcd lets it be written down, and what the host says.
async fn asked(world: &World, address: SocketAddr, user: &str, action: Action) -> (bool, Frame) {
    let config = world.config(&world.clients, user);
    let tls = config.tls.clone().unwrap();
    let (cert, key) = tls.identity.unwrap();
    let identity = Identity { ca: tls.ca, cert, key };
    let mut tries = 0;
    let (hello, mut link) = loop {
        match call(&host(), 0, address, Some(&identity)).await {
            Ok(found) => break found,
            Err(refused) => assert!(tries < 50, "{refused}"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let key = Key::asks(&action, hello.challenge);
    let session = Session { by: user.to_owned(), host: host(), action };
    let value = serde_json::to_vec(&session).unwrap();
    let written =
        EtcdStore::new(&config).unwrap().commit(&TxnBuilder::new().put(&key, value).build().unwrap()).await;
    link.send(Frame::Open(Opening::Ask(session))).await.unwrap();
    (lets(written), link.receive().await.unwrap())
}

#[tokio::test]
async fn only_who_may_change_a_namespace_reaches_into_its_copies_and_whoever_sees_all_sees_their_output() {
    let world = World::new().await;
    let admin = world.admin();
    admin.apply(&changes(&admin.read().await.unwrap(), &admin.rights(&everyone()))).await.unwrap();
    admin.enable().await.unwrap();
    let own = world.config(&world.clients, "evenkeel.host.h1.instance");
    let tls = own.tls.clone().unwrap();
    let (cert, key) = tls.identity.clone().unwrap();
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let edges = own.clone();
    let sessions = Sessions {
        listen,
        identity: Some(Identity { ca: tls.ca, cert, key }),
        connect: Arc::new(move || {
            let store = EtcdStore::new(&edges).map_err(|error| error.to_string())?;
            let parts: (Arc<dyn Store>, Arc<dyn Inside>) = (Arc::new(store), Arc::new(FakeEngine::new()));
            Ok(parts)
        }),
    };
    let nowhere = world.folder.path().join("nowhere");
    let state = world.folder.path().join("state");
    let deps = InstanceDeps {
        store: Arc::new(EtcdStore::new(&own).unwrap()),
        env: Arc::new(Env::system().unwrap()),
        engine: Arc::new(FakeEngine::new()),
        host: host(),
        state_dir: state.as_path().into(),
        policy: nowhere.clone(),
        registry_auth: nowhere,
        meter: evenkeel_metrics::Meter::default(),
        sessions: Some(sessions),
    };
    let cluster = br#"{"uid":"u1","epoch":1,"level":1}"#.to_vec();
    let txn = TxnBuilder::new().put(&Key::Cluster, cluster).build().unwrap();
    world.store("evenkeel.user.operator").commit(&txn).await.unwrap();
    let controller = tokio::spawn(instance::run(deps));
    let exec = |copy: &str| {
        let command = vec!["id".to_owned()];
        Action::Exec { copy: copy.parse().unwrap(), command, tty: false, stdin: false }
    };
    let logs =
        |copy: &str| Action::Logs { copy: copy.parse().unwrap(), follow: false, since: None, tail: None };
    let (shop, pay) = ("shop.web.1.1", "pay.web.1.1");
    for (user, action, may) in [
        ("evenkeel.user.joe", logs(shop), true),
        ("evenkeel.user.joe", exec(shop), false),
        ("evenkeel.user.ann", logs(pay), true),
        ("evenkeel.user.ann", exec(shop), true),
        ("evenkeel.user.ann", exec(pay), false),
        ("evenkeel.user.operator", exec(pay), true),
        // A host asks nothing of another one's copies.
        ("evenkeel.host.h1", logs(shop), false),
        ("evenkeel.host.h1.leads", exec(shop), false),
    ] {
        let told = format!("{user}: {action:?}");
        let (written, answer) = asked(&world, listen, user, action).await;
        assert_eq!((written, matches!(answer, Frame::Accepted(_))), (may, may), "{told}: {answer:?}");
    }
    // Who reached in is kept, who looked is not.
    let mut events = Vec::new();
    for _ in 0..100 {
        events = world.store("evenkeel.user.joe").list("events/h1.instance/").await.unwrap().kvs;
        if events.len() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let texts: Vec<String> =
        events.iter().map(|kv| String::from_utf8_lossy(&kv.value).into_owned()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("evenkeel.user.ann runs `id`") && texts[0].contains(shop), "{texts:?}");
    assert!(texts[1].contains("evenkeel.user.operator runs `id`") && texts[1].contains(pay), "{texts:?}");
    controller.abort();
}
