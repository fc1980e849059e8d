use std::sync::Arc;

use evenkeel_etcd::MemoryStore;
use evenkeel_runtime::store::{Store, TxnBuilder};

use super::*;

const HOST: &str =
    "apiVersion: evenkeel/v1\nkind: Host\nmetadata: {labels: {rack: a}}\nspec: {address: 10.0.0.1}\n";
const WEB: &str =
    "apiVersion: evenkeel/v1\nkind: Service\nmetadata: {labels: {team: a}}\nspec: {image: 'web:1'}\n";
const INSTANCE: &str = r#"{"template":"shop/web@7","slot":"1","desired":"run","cause":"wanted"}"#;

/// Whether the world knows of something.
type Has<'a> = &'a dyn Fn(&World) -> bool;

fn web() -> ServiceId {
    "shop/web".parse().unwrap()
}

fn h1() -> HostName {
    "h1".parse().unwrap()
}

/// Take over that `key` has that value since `revision`; what that touches.
fn put(cache: &mut Cache, key: &str, value: &str, revision: i64) -> Touched {
    let kv = Kv {
        key: key.to_owned(),
        value: value.to_owned().into(),
        create_revision: 1,
        mod_revision: revision,
        lease: 0,
    };
    let mut touched = Touched::default();
    cache.apply(&key.parse().unwrap(), Some(&kv), &mut touched);
    touched
}

fn remove(cache: &mut Cache, key: &str) -> Touched {
    let mut touched = Touched::default();
    cache.apply(&key.parse().unwrap(), None, &mut touched);
    touched
}

fn touched(services: &[&str]) -> Touched {
    Touched { services: services.iter().map(|id| id.parse().unwrap()).collect(), ..Touched::default() }
}

fn accepted(spec: &serde_json::Value) -> String {
    let record =
        serde_json::json!({"source_revision": 3, "create_revision": 1, "metadata": {}, "spec": spec});
    record.to_string()
}

fn accepted_service(document: &str) -> String {
    let parsed = text::parse_document_bytes(document.as_bytes(), &Origin::Key(ObjectRef::Service(web())));
    let DocumentSpec::Service(spec) = parsed.unwrap().spec else { panic!("it is no Service") };
    accepted(&serde_json::to_value(spec).unwrap())
}

#[test]
fn each_record_is_taken_over_and_forgotten_and_tells_what_is_to_be_planned() {
    let of_web = || touched(&["shop/web"]);
    let all = || Touched { all: true, ..Touched::default() };
    let service = |world: &World| world.services[&web()].clone();
    let table: [(&str, &str, Has<'_>, Touched); 7] = [
        ("pins/shop/web", r#"{"pause":true}"#, &|world| service(world).pin.is_some(), of_web()),
        (
            "revisions/services/shop/web/7/digest",
            r#"{"digest":"sha256:1","host":"h1"}"#,
            &|world| service(world).digests.contains_key(&7),
            of_web(),
        ),
        (
            "health/h1/shop.web.1.a",
            r#"{"started":1,"checks":{}}"#,
            &|world| service(world).copies.values().any(|copy| copy.health.is_some()),
            of_web(),
        ),
        ("brake", r#"{"dead":{"h1":1}}"#, &|world| world.brake.is_some(), all()),
        ("brakes", r#"{"held":{"h1":1},"since":1}"#, &|world| world.brakes.is_some(), Touched::default()),
        ("confirmed", r#"{"by":"me"}"#, &|world| world.confirmed.is_some(), Touched::default()),
        ("confirmed", "strange", &|world| world.confirmed.is_some(), Touched::default()),
    ];
    for (key, value, has, expected) in table {
        let mut cache = Cache::default();
        put(&mut cache, "rollouts/shop/web", r#"{"seq":1}"#, 2);
        assert!(!has(&cache.world), "{key}");
        assert_eq!(put(&mut cache, key, value, 3), expected, "{key}");
        assert!(has(&cache.world), "{key}");
        assert_eq!(remove(&mut cache, key), expected, "{key}");
        assert!(!has(&cache.world), "{key}");
    }
    let mut cache = Cache::default();
    let cluster = r#"{"uid":"u","epoch":1,"level":1,"floor":77}"#;
    assert_eq!(put(&mut cache, "cluster", cluster, 3), all());
    remove(&mut cache, "cluster");
    assert_eq!(cache.world.floor, 77, "numbers of a lost past stay used");
}

#[test]
fn of_what_is_gone_nothing_stays_and_its_room_is_free() {
    let web = accepted_service(WEB);
    for (key, value, room) in [
        ("services/shop/web", WEB, false),
        ("accepted/services/shop/web", &web, false),
        ("instances/h1/shop.web.1.a", INSTANCE, true),
        ("observed/h1/shop.web.1.a", r#"{"state":{"is":"running"},"since":1}"#, false),
        ("health/h1/shop.web.1.a", r#"{"started":1,"checks":{}}"#, false),
        ("hosts/h1", HOST, true),
        ("status/hosts/h1", r#"{"observed_revision":1,"conditions":[]}"#, false),
        ("alive/h1", "strange", true),
        ("subnets/lan/h1", r#"{"subnet":"10.88.1.0/24"}"#, true),
        ("reports/h1/network/lan", r#"{"is":"ready","subnet":"10.88.1.0/24"}"#, true),
    ] {
        let mut cache = Cache::default();
        put(&mut cache, key, value, 3);
        assert_eq!(cache.world.services.len() + cache.world.hosts.len(), 1, "{key}");
        assert_eq!(remove(&mut cache, key).room, room, "{key}");
        assert_eq!(cache.world.services.len() + cache.world.hosts.len(), 0, "{key}");
    }
}

#[test]
fn a_check_belongs_to_the_one_service_that_it_asks() {
    let mut cache = Cache::default();
    let asks = |service: &str| {
        accepted(&serde_json::json!({"target": {"service": service}, "type": "tcp", "port": 80}))
    };
    let ping = "accepted/healthchecks/shop/ping";
    assert_eq!(put(&mut cache, ping, &asks("web"), 3), touched(&["shop/web"]));
    put(&mut cache, "accepted/healthchecks/shop/other", &asks("web"), 4);
    put(&mut cache, "accepted/healthchecks/lab/ping", &asks("web"), 5);
    let checks = |cache: &Cache| -> Vec<String> {
        let all = cache.world.services.iter();
        all.flat_map(|(id, service)| service.checks.keys().map(move |name| format!("{id}: {name}"))).collect()
    };
    assert_eq!(checks(&cache), ["lab/web: ping", "shop/web: other", "shop/web: ping"]);
    assert_eq!(put(&mut cache, ping, &asks("db"), 6), touched(&["shop/db", "shop/web"]));
    assert_eq!(checks(&cache), ["lab/web: ping", "shop/db: ping", "shop/web: other"]);
    assert_eq!(put(&mut cache, ping, "strange", 7), touched(&[]));
    assert_eq!(checks(&cache), ["lab/web: ping", "shop/db: ping", "shop/web: other"]);
    let deleting = asks("db").replacen('{', r#"{"deleting":true,"#, 1);
    assert_eq!(put(&mut cache, ping, &deleting, 8), touched(&["shop/db"]));
    assert_eq!(checks(&cache), ["lab/web: ping", "shop/web: other"]);
    assert_eq!(remove(&mut cache, "accepted/healthchecks/shop/other"), touched(&["shop/web"]));
    assert_eq!(checks(&cache), ["lab/web: ping"]);
}

#[test]
fn only_what_is_newer_than_what_is_known_is_news() {
    let mut cache = Cache::default();
    for (revision, said, rollout, status) in [
        (5, "5", 5, 5),
        (4, "4", 5, 5),
        (5, "9", 5, 5),
        (6, "6", 6, 6),
        // What cannot be read is as it was, or is nothing where it can be made anew.
        (7, "strange", 6, 0),
    ] {
        put(&mut cache, "rollouts/shop/web", &format!(r#"{{"seq":{said}}}"#), revision);
        let told = format!(r#"{{"observed_revision":{said},"conditions":[]}}"#);
        put(&mut cache, "status/services/shop/web", &told, revision);
        let service = &cache.world.services[&web()];
        let known = (service.rollout.as_ref().unwrap(), service.status.as_ref().unwrap());
        assert_eq!((known.0.value.seq, known.1.value.observed_revision), (rollout, status), "{said}");
        let newest = revision.max(5);
        assert_eq!((known.0.mod_revision, known.1.mod_revision), (newest, newest), "{said}");
    }
}

#[test]
fn a_document_bears_the_name_of_its_key() {
    let mut cache = Cache::default();
    assert!(put(&mut cache, "services/shop/web", WEB, 3).urgent);
    assert!(put(&mut cache, "hosts/h1", HOST, 4).urgent);
    let service = cache.world.services[&web()].document.clone().unwrap().parsed.unwrap().metadata;
    let host = cache.world.hosts[&h1()].document.clone().unwrap().parsed.unwrap().metadata;
    let named = |metadata: &Metadata| {
        let namespace = metadata.namespace.as_ref().map(ToString::to_string);
        (namespace, metadata.name.as_ref().map(ToString::to_string))
    };
    assert_eq!(named(&service), (Some("shop".to_owned()), Some("web".to_owned())));
    assert_eq!(named(&host), (None, Some("h1".to_owned())));
    assert_eq!((service.labels["team"].as_str(), host.labels["rack"].as_str()), ("a", "a"));
}

#[test]
fn a_host_concerns_what_has_copies_there_and_what_is_on_all_hosts() {
    let mut cache = Cache::default();
    let global = WEB.replace("'web:1'", "'web:1', deploy: {mode: global}");
    put(&mut cache, "accepted/services/shop/agent", &accepted_service(&global), 3);
    put(&mut cache, "accepted/services/shop/idle", &accepted_service(WEB), 4);
    for (name, host) in [("here", "h1"), ("there", "h2")] {
        put(&mut cache, &format!("accepted/services/shop/{name}"), &accepted_service(WEB), 5);
        put(&mut cache, &format!("instances/{host}/shop.{name}.1.a"), INSTANCE, 6);
    }
    let concerned = with_copies_on(&cache.world, &[h1()].into());
    assert_eq!(concerned, touched(&["shop/agent", "shop/here"]).services);
}

#[test]
fn when_a_document_went_is_known_where_anything_of_it_is_left() {
    let mut cache = Cache::default();
    put(&mut cache, "accepted/services/shop/web", &accepted_service(WEB), 3);
    put(&mut cache, "alive/h1", "{}", 4);
    let (service, host) = (ObjectRef::Service(web()), ObjectRef::Host(h1()));
    for (object, at) in
        [(&service, Some(5)), (&host, Some(6)), (&ObjectRef::Network("lan".parse().unwrap()), Some(7))]
    {
        cache.deleted(object, at);
    }
    let known = |cache: &Cache| (cache.world.services[&web()].deleted, cache.world.hosts[&h1()].deleted);
    assert_eq!(known(&cache), (Some(5), Some(6)));
    cache.deleted(&service, None);
    cache.deleted(&host, None);
    assert_eq!(known(&cache), (None, None));
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_at_the_world_sees_it_as_the_leader_does() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
    let mirror = Mirror::start(store.clone(), super::super::prefixes());
    mirror.synced().await;
    let (service, host) = (Key::Document(ObjectRef::Service(web())), Key::Document(ObjectRef::Host(h1())));
    let accepted = Key::Accepted(ObjectRef::Service(web()));
    let begin = TxnBuilder::new().put(&service, WEB).put(&host, HOST).put(&Key::Alive(h1()), "{}");
    let txn = begin.put(&accepted, accepted_service(WEB)).build().unwrap();
    assert!(store.commit(&txn).await.unwrap().succeeded);
    let txn = TxnBuilder::new().delete(&service).delete(&host).build().unwrap();
    let revision = store.commit(&txn).await.unwrap().header.revision;
    mirror.caught_up(revision).await;
    let world = super::super::world(&mirror);
    assert!(world.services[&web()].accepted.is_some() && world.hosts[&h1()].alive.is_some());
    assert_eq!(world.services[&web()].deleted, Some(revision));
    assert_eq!(world.hosts[&h1()].deleted, Some(revision));
}

#[test]
fn what_happened_and_who_wrote_it_is_not_followed() {
    for key in ["events/h1.dns/1", "writers/h1/dns", "leaders/service"] {
        assert!(!super::super::prefixes().iter().any(|prefix| key.starts_with(prefix)), "{key}");
    }
}
