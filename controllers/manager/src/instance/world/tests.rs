//! What is known, from the store and from the disk.

use std::path::Path;

use evenkeel_api::meta::Metadata;
use evenkeel_api::record::{Alive, InstanceState, Timestamp};
use evenkeel_etcd::MemoryStore;
use evenkeel_runtime::disk::MemoryDisk;
use evenkeel_runtime::store::TxnBuilder;
use serde_json::{Value, json};

use super::*;

fn host() -> HostName {
    "h1".parse().unwrap()
}

fn id() -> InstanceId {
    "shop.web.1.1".parse().unwrap()
}

fn key() -> Key {
    Key::Instance(host(), id())
}

fn observed(restarts: u32) -> Observed {
    Observed {
        state: InstanceState::Running,
        since: Timestamp(1),
        started: None,
        restarts,
        addresses: BTreeMap::new(),
        ports: Vec::new(),
        engine_health: None,
        digest: None,
    }
}

/// What an earlier life saved.
fn saved() -> Saved {
    let one = SavedInstance {
        desired: Desired::Run,
        observed: observed(7),
        ports: Vec::new(),
        record: None,
        template: None,
        accepted: None,
        pin: None,
    };
    Saved { uid: "u0".to_owned(), instances: [(id(), one)].into(), ..Saved::default() }
}

async fn put(store: &MemoryStore, key: &Key, value: impl Serialize) {
    let txn = TxnBuilder::new().put(key, serde_json::to_vec(&value).unwrap()).build().unwrap();
    assert!(store.commit(&txn).await.unwrap().succeeded);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}

fn world(store: &MemoryStore, saved: Saved) -> World {
    let dir = StateDir::on(Arc::new(MemoryDisk::new()), Path::new("/state"));
    World::new(Arc::new(store.client(2)), &host(), &dir, saved)
}

/// One that has heard of all that the store has.
async fn synced(store: &MemoryStore, saved: Saved) -> World {
    let world = world(store, saved);
    world.mirror().synced().await;
    world
}

#[tokio::test(start_paused = true)]
async fn the_clusters_id_is_the_stores_and_else_the_disks() {
    let store = MemoryStore::new(1);
    assert_eq!(synced(&store, Saved::default()).await.uid(), None);
    assert_eq!(synced(&store, saved()).await.uid().as_deref(), Some("u0"));
    put(&store, &Key::Cluster, Cluster { uid: "u1".into(), epoch: 1, level: 1, floor: 0 }).await;
    assert_eq!(synced(&store, saved()).await.uid().as_deref(), Some("u1"));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_there_and_so_may_be_all_while_the_store_says_nothing() {
    let store = MemoryStore::new(1);
    assert!(world(&store, saved()).is_recorded(&id()));
    assert!(!synced(&store, saved()).await.is_recorded(&id()));
    put(&store, &key(), "no record").await;
    let world = synced(&store, saved()).await;
    assert!(world.is_recorded(&id()));
    assert_eq!(world.record(&id()), None);
}

#[tokio::test(start_paused = true)]
async fn what_was_reported_is_what_the_store_holds_and_else_what_the_disk_does() {
    let store = MemoryStore::new(1);
    let before = synced(&store, saved()).await;
    assert_eq!((before.in_store(&id()), before.reported(&id())), (None, Some(observed(7))));
    put(&store, &Key::Observed(host(), id()), observed(8)).await;
    let after = synced(&store, saved()).await;
    assert_eq!((after.in_store(&id()), after.reported(&id())), (Some(observed(8)), Some(observed(8))));
}

#[tokio::test(start_paused = true)]
async fn this_hosts_addresses_are_those_of_its_facts() {
    let store = MemoryStore::new(1);
    let address = |n| Address { address: Ipv4Addr::new(10, 0, 0, n), prefix: 24 };
    let facts = |host: &str, n| {
        let facts: Value = json!({
            "cpus": 1000, "memory": 1024, "os": "linux", "arch": "amd64", "engine": "28", "evenkeel": "0",
            "addresses": [address(n)],
        });
        (Key::Facts(host.parse().unwrap()), facts)
    };
    for (key, facts) in [facts("h1", 1), facts("h2", 2)] {
        put(&store, &key, facts).await;
    }
    let mut world = synced(&store, Saved { own: vec![address(9)], ..Saved::default() }).await;
    assert_eq!(world.own, [address(9)]);
    world.read_facts();
    assert_eq!(world.own, [address(1)]);
}

#[tokio::test(start_paused = true)]
async fn peers_are_the_other_hosts_of_a_network_that_are_alive() {
    let store = MemoryStore::new(1);
    for (host, part) in [("h1", "10.88.1.0/24"), ("h2", "10.88.2.0/24"), ("h3", "10.88.3.0/24")] {
        let key = Key::Subnet("lan".parse().unwrap(), host.parse().unwrap());
        put(&store, &key, Subnet { subnet: part.parse().unwrap() }).await;
    }
    for host in ["h1", "h2"] {
        let alive = Alive { boot_id: "b".into(), incarnation: 1 };
        put(&store, &Key::Alive(host.parse().unwrap()), alive).await;
    }
    let peers = synced(&store, Saved::default()).await.peers(&"lan".parse().unwrap());
    assert_eq!(peers, [("h2".parse().unwrap(), "10.88.2.1".parse().unwrap())].into());
}

#[tokio::test(start_paused = true)]
async fn templates_and_services_are_read_once_as_long_as_they_are_used() {
    let store = MemoryStore::new(1);
    let reference: TemplateRef = "shop/web@7".parse().unwrap();
    let service = reference.service.clone();
    let template = Template { image: "web:1".into(), ..Template::default() };
    put(&store, &Key::Revision(service.clone(), 7), Revision { template: template.clone() }).await;
    let accepted = |deleting| Accepted {
        source_revision: 7,
        create_revision: 7,
        template: Some(7),
        deleting,
        metadata: Metadata::default(),
        spec: ServiceSpec { template: template.clone(), ..ServiceSpec::default() },
    };
    let accepted_key = Key::Accepted(ObjectRef::Service(service.clone()));
    put(&store, &accepted_key, accepted(false)).await;
    let mut world = synced(&store, Saved::default()).await;
    let read = |world: &mut World| {
        (world.template(&reference, &id()).unwrap(), world.accepted(&service, &id()).unwrap())
    };
    let first = read(&mut world);
    world.keep_templates(&[reference.clone()].into());
    let second = read(&mut world);
    assert!(Arc::ptr_eq(&first.0, &second.0) && Arc::ptr_eq(&first.1, &second.1), "still used");
    world.keep_templates(&BTreeSet::new());
    let third = read(&mut world);
    assert!(!Arc::ptr_eq(&first.0, &third.0) && !Arc::ptr_eq(&first.1, &third.1), "forgotten meanwhile");
    put(&store, &accepted_key, accepted(true)).await;
    assert!(!Arc::ptr_eq(&third.1, &read(&mut world).1), "a newer one is read");
}
