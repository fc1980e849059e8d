use evenkeel_api::key::Controller;
use evenkeel_api::record::Status;
use evenkeel_etcd::MemoryStore;
use evenkeel_metrics::{Build, Form, Page};
use evenkeel_plan::service::{StatusWrite, Write};
use evenkeel_runtime::env::SystemClock;
use evenkeel_runtime::store::{Store, TxnBuilder};
use tokio::time::{Instant, sleep};

use super::news::STATUS_EVERY;
use super::*;

const WEB: &str = "apiVersion: evenkeel/v1\nkind: Service\nspec: {image: 'web:1'}\n";

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn put(store: &MemoryStore, key: &str, value: &str) {
    let txn = TxnBuilder::new().put(&key.parse().unwrap(), value.to_owned()).build().unwrap();
    assert!(store.commit(&txn).await.unwrap().succeeded);
}

fn accepted(spec: &str) -> String {
    format!(r#"{{"source_revision":1,"create_revision":1,"metadata":{{}},"spec":{spec}}}"#)
}

/// A leader that has read all that there is, with nothing to plan, some time after its process began.
async fn reign(store: &MemoryStore) -> Reign {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    let env = Arc::new(Env::new(SystemClock, 1));
    sleep(ms(60_000)).await;
    let writer = Writer::new(store.clone(), env.clone(), "h1".parse().unwrap(), Controller::Service);
    let mirror = Mirror::start(store.clone(), super::super::cache::prefixes());
    mirror.synced().await;
    let lead = Lead { key: Key::Leader(Controller::Service), mod_revision: 0 };
    let mut reign = Reign::new(env, writer, mirror, lead, Fitness::start(store, true));
    reign.read_all();
    calm(&mut reign);
    reign
}

fn calm(reign: &mut Reign) {
    reign.services.clear();
    reign.hosts.clear();
}

fn services(ids: &[&str]) -> BTreeSet<ServiceId> {
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

fn hosts(names: &[&str]) -> BTreeSet<HostName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_person_does_not_wait_and_what_hosts_say_is_gathered() {
    for (key, waited, seen) in [("services/shop/web", 0, &[][..]), ("alive/h1", 4, &["h1", "h2"])] {
        let store = MemoryStore::new(1);
        let mut reign = reign(&store).await;
        let mut changed = reign.mirror.subscribe();
        put(&store, key, WEB).await;
        let keys = changed.next().await;
        tokio::spawn(async move {
            sleep(ms(2)).await;
            put(&store, "alive/h2", "{}").await;
        });
        let began = Instant::now();
        reign.gather(keys, &mut changed).await;
        assert_eq!((began.elapsed(), &reign.hosts), (ms(waited), &hosts(seen)), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_service_is_planned_when_that_changes() {
    let mut reign = reign(&MemoryStore::new(1)).await;
    reign.waiting.insert("shop/web".parse().unwrap(), services(&["shop/db", "shop/cache"]));
    for (changed, planned) in
        [(&["shop/db"][..], &["shop/db", "shop/web"][..]), (&["shop/other"], &["shop/other"]), (&[], &[])]
    {
        calm(&mut reign);
        reign.mark(Touched { services: services(changed), ..Touched::default() });
        assert_eq!(reign.services, services(planned));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_on_the_word_of_a_store_that_is_silent_or_not_trusted() {
    let store = MemoryStore::new(1);
    let mut reign = reign(&store).await;
    store.set_down(true);
    // Counted from the last answer.
    let silence = reign.mirror.silence();
    for (wait, pause) in [(SILENT - silence, None), (ms(1), Some(RETRY)), (ms(5000), Some(RETRY))] {
        sleep(wait).await;
        assert_eq!(reign.must_not_act(), pause, "{:?}", reign.mirror.silence());
    }
    store.set_down(false);
    sleep(ms(5000)).await;
    assert_eq!(reign.must_not_act(), None);
    store.witness().distrust("it went back".to_owned());
    assert_eq!(reign.must_not_act(), Some(RETRY));
}

#[tokio::test(start_paused = true)]
async fn who_is_overtaken_again_and_again_waits_longer_and_reads_all_anew() {
    let store = MemoryStore::new(1);
    put(&store, "services/shop/web", WEB).await;
    let mut reign = reign(&store).await;
    for (n, pause) in [5, 10, 20, 40, 80, 160, 320, 640, 640, 640].into_iter().enumerate() {
        calm(&mut reign);
        assert_eq!(reign.was_overtaken(), ms(pause));
        assert_eq!(reign.services.len(), usize::from(n == 4 || n == 9), "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_is_put_off_until_its_time_but_not_with_a_new_document() {
    let store = MemoryStore::new(1);
    put(&store, "services/shop/web", WEB).await;
    let mut reign = reign(&store).await;
    let key: Key = "status/services/shop/web".parse().unwrap();
    let news = plan_service(
        &reign.cache.world,
        &"shop/web".parse().unwrap(),
        &reign.memory,
        &mut reign.ledger,
        reign.env.now(),
    );
    assert!(news.batch.writes.values().any(|write| matches!(write, Write::Accepted(_))));
    let status = StatusWrite { key: key.clone(), revision: 0, status: Status::default() };
    let plan = Plan { status: Some(status), ..Plan::default() };
    assert_eq!(reign.too_soon(&key, &plan), None, "it was never told");
    let told = reign.env.now();
    reign.told.insert(key.clone(), told);
    for (wait, late) in [(0, true), (999, true), (1, false), (1, false)] {
        sleep(ms(wait)).await;
        assert_eq!(reign.too_soon(&key, &plan), late.then_some(told + STATUS_EVERY), "{wait}");
        assert_eq!(reign.too_soon(&key, &news), None, "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_just_said_is_answered_at_once() {
    let store = MemoryStore::new(1);
    put(&store, "services/shop/web", WEB).await;
    put(&store, "rollouts/shop/web", r#"{"seq":3,"resumed":7}"#).await;
    put(&store, "status/services/shop/web", r#"{"observed_revision":5,"conditions":[]}"#).await;
    let mut reign = reign(&store).await;
    let key: Key = "status/services/shop/web".parse().unwrap();
    reign.told.insert(key.clone(), reign.env.now());
    for (observed_revision, resumed, late) in
        [(5, Some(7), true), (6, Some(7), false), (5, Some(8), false), (5, None, false)]
    {
        let status = Status { observed_revision, ..Status::default() };
        let status = StatusWrite { key: key.clone(), revision: 1, status };
        let mut plan = Plan { status: Some(status), ..Plan::default() };
        let rollout = evenkeel_api::record::Rollout { seq: 4, resumed, ..Default::default() };
        plan.batch.put("rollouts/shop/web".parse().unwrap(), 1, Write::Rollout(rollout));
        assert_eq!(reign.too_soon(&key, &plan).is_some(), late, "{observed_revision} {resumed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_a_host_is_answered_at_once() {
    let store = MemoryStore::new(1);
    put(&store, "accepted/hosts/h1", &accepted(r#"{"address":"10.0.0.1"}"#)).await;
    put(&store, "status/hosts/h1", r#"{"observed_revision":5,"conditions":[]}"#).await;
    let mut reign = reign(&store).await;
    let key: Key = "status/hosts/h1".parse().unwrap();
    reign.told.insert(key.clone(), reign.env.now());
    for (observed_revision, late) in [(5, true), (6, false)] {
        let status = Status { observed_revision, ..Status::default() };
        let status = StatusWrite { key: key.clone(), revision: 1, status };
        let plan = Plan { status: Some(status), ..Plan::default() };
        assert_eq!(reign.too_soon(&key, &plan).is_some(), late, "{observed_revision}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_cluster_is_counted_after_a_pass_and_not_too_often() {
    let store = MemoryStore::new(1);
    put(&store, "accepted/hosts/h1", &accepted(r#"{"address":"10.0.0.1"}"#)).await;
    let page = Page::new(&Build { version: "1".into(), level: 1, started: 0.0 });
    let mut reign = reign(&store).await.measured(page.meter(Controller::Service));
    let is_counted = || page.text(Form::Prometheus).contains("evenkeel_hosts{");
    assert!(!is_counted());
    assert_eq!(reign.count(), Duration::MAX, "it is due, and done");
    assert!(is_counted());
    sleep(COUNT_EVERY - ms(400)).await;
    assert_eq!(reign.count(), ms(400));
    sleep(ms(400)).await;
    assert_eq!(reign.count(), Duration::MAX);
}

#[tokio::test(start_paused = true)]
async fn all_is_planned_anew_when_what_holds_for_all_changes_and_now_and_then() {
    let store = MemoryStore::new(1);
    put(&store, "services/shop/web", WEB).await;
    let mut reign = reign(&store).await;
    // Whether a look at this makes all to be planned.
    let all = |reign: &mut Reign| {
        calm(reign);
        reign.observe();
        !reign.services.is_empty()
    };
    assert!(!all(&mut reign));
    reign.fitness = Fitness::start(Arc::new(store.clone()), false);
    assert!(all(&mut reign), "nothing exclusive may start any more");
    assert!(reign.cache.world.no_exclusive.is_some());
    assert!(!all(&mut reign));
    for name in ["a", "b", "c"] {
        put(&store, &format!("accepted/hosts/{name}"), &accepted(r#"{"address":"10.0.0.1"}"#)).await;
    }
    sleep(ms(1)).await;
    reign.read_all();
    reign.cache.world.no_exclusive = reign.fitness.no_exclusive();
    assert!(all(&mut reign), "documents are held that went together");
    assert!(!all(&mut reign));
    sleep(reign.resync - reign.env.now() - ms(1)).await;
    assert!(!all(&mut reign));
    sleep(ms(1)).await;
    assert!(all(&mut reign), "it is time");
    assert!(!all(&mut reign));
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_planned_and_what_is_not_is_slept_for() {
    let store = MemoryStore::new(1);
    let mut reign = reign(&store).await;
    let (now, later) = (reign.env.now(), reign.env.now() + ms(1));
    for (id, host, at) in [("shop/a", "a", now), ("shop/b", "b", later)] {
        reign.wakes.insert(id.parse().unwrap(), at);
        reign.host_wakes.insert(host.parse().unwrap(), at);
    }
    reign.observe();
    assert_eq!((reign.services.clone(), reign.hosts.clone()), (services(&["shop/a"]), hosts(&["a"])));
}

#[tokio::test(start_paused = true)]
async fn a_document_that_went_is_looked_at_again_when_it_is_known_whether_many_did() {
    for gone in ["accepted/services/shop/web", "accepted/hosts/h1"] {
        let store = MemoryStore::new(1);
        let spec = if gone.contains("hosts") {
            r#"{"address":"10.0.0.1"}"#
        } else {
            r#"{"template":{"image":"web:1"}}"#
        };
        put(&store, gone, &accepted(spec)).await;
        let mut reign = reign(&store).await;
        reign.all();
        let now = reign.env.now();
        assert_eq!(reign.pass().await, Pass::Done);
        let wakes = reign.wakes.values().chain(reign.host_wakes.values()).chain(&reign.brakes_wake);
        assert_eq!(wakes.copied().collect::<Vec<_>>(), vec![now + ms(200); 2], "{gone}");
        assert_eq!(reign.until_wake(), ms(200), "{gone}");
    }
}
