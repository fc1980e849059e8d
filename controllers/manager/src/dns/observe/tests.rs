use evenkeel_etcd::MemoryStore;
use evenkeel_runtime::store::TxnBuilder;
use futures_util::FutureExt;
use serde_json::{Value, json};

use super::*;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn kv(value: &Value) -> Option<Kv> {
    let value = value.to_string().into();
    Some(Kv { key: String::new(), value, create_revision: 1, mod_revision: 7, lease: 0 })
}

fn accepted(spec: &Value, deleting: bool) -> Value {
    json!({"source_revision": 1, "create_revision": 1, "metadata": {}, "spec": spec, "deleting": deleting})
}

fn check(dns: bool) -> Value {
    json!({"target": {"service": "web"}, "type": "tcp", "port": 80, "effects": {"dns": dns}})
}

#[test]
fn what_names_are_of_is_watched_and_nothing_else() {
    let watched = prefixes();
    let is_watched = |key: &&str| watched.iter().any(|prefix| key.starts_with(prefix));
    let wanted = [
        "cluster",
        "endpoints/shop/web/0",
        "alive/h1",
        "accepted/networks/lan",
        "accepted/hosts/h1",
        "accepted/healthchecks/shop/tcp",
        "subnets/lan/h1",
    ];
    let others =
        ["services/shop/web", "accepted/services/shop/web", "health/h1/shop.web.1.a", "reports/h1/dns"];
    let all = wanted.iter().chain(&others).copied();
    assert_eq!(all.filter(is_watched).collect::<Vec<_>>(), wanted);
}

#[test]
fn each_key_has_its_part_of_the_world_and_a_value_that_cannot_be_read_leaves_it() {
    for (at, value) in [
        ("endpoints/shop/web/0", json!({"networks": ["lan"], "endpoints": []})),
        ("alive/h1", json!({"boot_id": "b", "incarnation": 1})),
        ("subnets/lan/h1", json!({"subnet": "10.88.1.0/24"})),
        (
            "accepted/networks/lan",
            accepted(&json!({"ipam": {"config": [{"subnet": "10.88.0.0/16"}]}}), false),
        ),
        ("accepted/hosts/h1", accepted(&json!({"address": "10.0.0.11"}), false)),
        ("accepted/healthchecks/shop/tcp", accepted(&check(true), false)),
    ] {
        let mut world = World::default();
        take(&mut world, &key(at), kv(&value));
        assert_eq!(keys_of(&world).collect::<Vec<_>>(), [at]);
        let known = world.clone();
        take(&mut world, &key(at), kv(&json!("?")));
        assert_eq!(world, known, "{at}");
        take(&mut world, &key(at), None);
        assert_eq!(world, World::default(), "{at}");
    }
}

#[test]
fn a_check_counts_until_it_is_deleted_or_says_that_names_do_not_matter() {
    let id = key("accepted/healthchecks/shop/tcp");
    for (deleting, dns, counts) in
        [(false, true, true), (false, false, false), (true, true, false), (true, false, false)]
    {
        let mut world = World::default();
        take(&mut world, &id, kv(&accepted(&check(true), false)));
        take(&mut world, &id, kv(&accepted(&check(dns), deleting)));
        assert_eq!(world.checks.len(), usize::from(counts), "deleting {deleting}, dns {dns}");
    }
}

async fn put(store: &MemoryStore, at: &str, value: impl serde::Serialize) {
    let txn = TxnBuilder::new().put(&key(at), serde_json::to_vec(&value).unwrap());
    assert!(store.commit(&txn.build().unwrap()).await.unwrap().succeeded);
}

fn cluster((uid, epoch): (&str, u64)) -> Cluster {
    Cluster { uid: uid.to_owned(), epoch, level: 1, floor: 0 }
}

/// What is kept is of h1, and of `kept`.
fn stored(store: &MemoryStore, kept: Option<(&str, u64)>) -> Stored {
    let store: Arc<dyn Store> = Arc::new(store.client(7));
    let world = World { alive: ["h1".parse().unwrap()].into(), ..World::default() };
    let mirror = Mirror::start(store.clone(), prefixes());
    Stored::new(store, mirror, State { cluster: kept.map(cluster), world })
}

#[tokio::test(start_paused = true)]
async fn a_store_is_followed_while_it_is_believed_and_of_the_cluster_that_was_kept() {
    for (kept, stands, believed, followed) in [
        (None, None, true, false),
        (None, Some(("c1", 1)), true, true),
        (Some(("c1", 1)), None, true, false),
        (Some(("c1", 1)), Some(("c1", 1)), true, true),
        (Some(("c1", 1)), Some(("c1", 1)), false, false),
        (Some(("c1", 1)), Some(("c2", 1)), true, false),
        (Some(("c1", 1)), Some(("c2", 2)), true, true),
    ] {
        let of = format!("kept {kept:?}, stands {stands:?}, believed {believed}");
        let store = MemoryStore::new(1);
        put(&store, "alive/h2", json!({"boot_id": "b", "incarnation": 1})).await;
        if let Some(stands) = stands {
            put(&store, "cluster", cluster(stands)).await;
        }
        let mut stored = stored(&store, kept);
        assert!(!stored.observe(), "it was not read yet");
        stored.synced().await;
        if !believed {
            stored.store.witness().distrust("it went back".to_owned());
        }
        assert_eq!(stored.observe(), followed, "{of}");
        let alive: Vec<&str> = stored.state.world.alive.iter().map(HostName::as_str).collect();
        assert_eq!(alive, [if followed { "h2" } else { "h1" }], "{of}");
        let known = if followed { stands } else { kept };
        assert_eq!(stored.state.cluster, known.map(cluster), "{of}");
        assert!(!stored.observe(), "nothing has changed since: {of}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_counts_as_read_once_it_has_answered() {
    let store = MemoryStore::new(1);
    store.set_down(true);
    let stored = stored(&store, None);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert!(stored.synced().now_or_never().is_none());
    store.set_down(false);
    stored.synced().await;
    assert!(stored.mirror.is_synced());
}
