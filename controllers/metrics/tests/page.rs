//! What a page says after something of everything has happened, and that rules and board ask for nothing else.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_engine::fake::Op;
use evenkeel_engine::{Engine, EngineError, FakeEngine};
use evenkeel_etcd::MemoryStore;
use evenkeel_metrics::{
    Build, Form, HostState, MeteredDisk, MeteredEngine, MeteredProbe, MeteredStore, Page, RolloutState,
    ServiceTally, Tally, Trouble,
};
use evenkeel_plan::health::target::Question;
use evenkeel_plan::health::verdict::{Answer, Outcome};
use evenkeel_plan::service::Lack;
use evenkeel_probe::Probe;
use evenkeel_probe::fake::FakeProbe;
use evenkeel_runtime::disk::{Disk, MemoryDisk};
use evenkeel_runtime::env::{Env, SystemClock};
use evenkeel_runtime::leader::Leadership;
use evenkeel_runtime::store::{Store, StoreError, TxnBuilder};

fn page() -> Page {
    Page::new(&Build { version: "1.2.3".into(), level: 2, started: 1_700_000_000.5 })
}

fn lines(page: &Page) -> BTreeSet<String> {
    page.text(Form::Prometheus).lines().map(str::to_owned).collect()
}

/// All lines are there; else the page is shown.
fn says(page: &Page, wanted: &[&str]) {
    let lines = lines(page);
    for line in wanted {
        let all: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert!(lines.contains(*line), "{line} is missing in\n{}", all.join("\n"));
    }
}

async fn store(page: &Page) {
    let memory = MemoryStore::new(1);
    let store = MeteredStore::new(Arc::new(memory.client(1)), page.meter(Controller::Service));
    let put = |guard: i64| {
        TxnBuilder::new().if_unchanged(&Key::Brake, guard).put(&Key::Brake, "{}").build().unwrap()
    };
    assert!(store.commit(&put(0)).await.unwrap().succeeded);
    assert!(!store.commit(&put(0)).await.unwrap().succeeded);
    // It tells nothing of a transaction that only reads.
    store.commit(&TxnBuilder::new().get(&Key::Brake).build().unwrap()).await.unwrap();
    let mut watch = store.watch("instances/", 1).await.unwrap();
    memory.set_down(true);
    assert!(matches!(store.commit(&put(1)).await, Err(StoreError::Unavailable(_))));
    assert!(watch.next().await.is_err());
    memory.set_down(false);
    store.witness().distrust("a test says so".into());
    tokio::time::sleep(Duration::from_secs(12)).await;
}

async fn edges(page: &Page) {
    let fake = FakeEngine::new();
    fake.add_to_registry("web:1", "sha256:1");
    fake.fail_next(Op::Info, EngineError::Timeout("info".into()));
    let engine = MeteredEngine::new(Arc::new(fake), page.meter(Controller::Instance));
    assert!(engine.info().await.is_err());
    engine.pull("web:1", None, None).await.unwrap();
    assert!(engine.pull("web:2", None, None).await.is_err());

    let probe = FakeProbe::default();
    probe.set("10.88.0.3:80", Answer::new(Outcome::Fail, "503"), Duration::from_millis(30));
    let probe = MeteredProbe::new(Arc::new(probe), page.meter(Controller::Healthcheck));
    for address in ["10.88.0.2:80", "10.88.0.3:80"] {
        probe.ask(&Question::Tcp { address: address.parse().unwrap() }, Duration::from_secs(1)).await;
    }

    let memory = MemoryDisk::new();
    let disk = MeteredDisk::new(Arc::new(memory.clone()), page.meter(Controller::Dns));
    disk.replace(Path::new("dns/state.json"), b"1").unwrap();
    memory.set_full(true);
    assert!(disk.replace(Path::new("dns/state.json"), b"2").is_err());

    let names = page.meter(Controller::Dns).names();
    names.answered(Some(0), false, Duration::from_micros(20));
    names.answered(Some(3), false, Duration::from_micros(20));
    names.answered(None, true, Duration::from_millis(700));
    page.meter(Controller::Dns).serves_names(true);
}

fn tally() -> Tally {
    let service = ServiceTally {
        valid: true,
        wanted: 3,
        running: 2,
        ready: 1,
        pending: BTreeMap::from([(Lack::Memory, 1)]),
        rollout: RolloutState::Paused,
        rejected: true,
    };
    let host = |name: &str, state| (name.parse().unwrap(), state);
    Tally {
        services: BTreeMap::from([("shop/web".parse().unwrap(), service)]),
        hosts: [host("h1", HostState::Active), host("h2", HostState::Gone), host("h3", HostState::Active)]
            .into(),
        held_hosts: 2,
        held_deletions: 0,
    }
}

/// A page after something of everything has happened.
async fn full() -> Page {
    let page = page();
    store(&page).await;
    edges(&page).await;
    let meter = page.meter(Controller::Service);
    meter.cluster(Some(tally()));
    drop(meter.pass());
    meter.failed(Trouble::Untrusted);
    page.meter(Controller::Instance).restarted(&"shop/web".parse().unwrap(), 2);
    let candidate = MemoryStore::new(2);
    let env = Arc::new(Env::new(SystemClock, 1));
    let standing =
        Leadership::start(Arc::new(candidate), env, "h1".parse().unwrap(), Controller::Service, false);
    meter.leads(standing.subscribe());
    page
}

#[tokio::test(start_paused = true)]
async fn a_page_says_what_happened() {
    let page = full().await;
    says(
        &page,
        &[
            r#"evenkeel_build_info{version="1.2.3",level="2"} 1"#,
            "process_start_time_seconds 1700000000.5",
            r#"evenkeel_reconcile_seconds_count{controller="service"} 1"#,
            r#"evenkeel_reconcile_errors_total{controller="service",kind="untrusted"} 1"#,
            r#"evenkeel_store_writes_total{controller="service",outcome="done"} 1"#,
            r#"evenkeel_store_writes_total{controller="service",outcome="lost"} 1"#,
            r#"evenkeel_store_writes_total{controller="service",outcome="failed"} 1"#,
            r#"evenkeel_store_errors_total{controller="service",kind="unavailable"} 1"#,
            r#"evenkeel_store_watches_lost_total{controller="service",kind="unavailable"} 1"#,
            r#"evenkeel_store_silence_seconds{controller="service"} 12.03"#,
            r#"evenkeel_store_revision{controller="service"} 2"#,
            r#"evenkeel_store_trusted{controller="service"} 0"#,
            r#"evenkeel_store_full{controller="service"} 0"#,
            r#"evenkeel_engine_errors_total{controller="instance",call="info",kind="timeout"} 1"#,
            r#"evenkeel_engine_call_seconds_count{controller="instance",call="pull"} 2"#,
            r#"evenkeel_image_pulls_total{outcome="done"} 1"#,
            r#"evenkeel_image_pulls_total{outcome="failed"} 1"#,
            r#"evenkeel_checks_total{type="tcp",outcome="passed"} 1"#,
            r#"evenkeel_checks_total{type="tcp",outcome="failed"} 1"#,
            r#"evenkeel_check_seconds_bucket{type="tcp",le="0.025"} 1"#,
            r#"evenkeel_disk_write_failures_total{controller="dns"} 1"#,
            r#"evenkeel_dns_queries_total{code="nxdomain",from="own"} 1"#,
            r#"evenkeel_dns_queries_total{code="none",from="resolver"} 1"#,
            r#"evenkeel_dns_query_seconds_count{from="own"} 2"#,
            "evenkeel_dns_serving 1",
            r#"evenkeel_copy_restarts_total{namespace="shop",service="web"} 2"#,
            r#"evenkeel_leader{controller="service"} 0"#,
            r#"evenkeel_service_copies_wanted{namespace="shop",service="web"} 3"#,
            r#"evenkeel_service_copies_running{namespace="shop",service="web"} 2"#,
            r#"evenkeel_service_copies_ready{namespace="shop",service="web"} 1"#,
            r#"evenkeel_service_copies_pending{namespace="shop",service="web",reason="memory"} 1"#,
            r#"evenkeel_service_document_valid{namespace="shop",service="web"} 1"#,
            r#"evenkeel_service_template_rejected{namespace="shop",service="web"} 1"#,
            r#"evenkeel_service_rollout{namespace="shop",service="web",state="paused"} 1"#,
            r#"evenkeel_hosts{state="active"} 2"#,
            r#"evenkeel_hosts{state="gone"} 1"#,
            r#"evenkeel_host_alive{host="h2"} 0"#,
            r#"evenkeel_brake_held{what="hosts"} 2"#,
            r#"evenkeel_brake_held{what="deletions"} 0"#,
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_leads_no_more_tells_nothing_of_the_cluster() {
    let page = full().await;
    page.meter(Controller::Service).cluster(None);
    let text = page.text(Form::Prometheus);
    for figure in ["evenkeel_service_", "evenkeel_hosts", "evenkeel_host_", "evenkeel_brake"] {
        assert!(!text.contains(figure), "{figure} is on the page of one who does not lead");
    }
    page.meter(Controller::Instance).forget(&"shop/web".parse().unwrap());
    assert!(!page.text(Form::Prometheus).contains("shop"), "nothing of it is here any more");
}

#[tokio::test(start_paused = true)]
async fn both_forms_have_the_same_figures() {
    let page = full().await;
    let open = page.text(Form::OpenMetrics);
    assert!(open.ends_with("# EOF\n"));
    // Numbers are spelled in several ways, also where they bound a bucket.
    let samples = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(sample, _)| sample.replace("{}", "")).collect()
    };
    assert_eq!(samples(&open), samples(&page.text(Form::Prometheus)));
}

/// The figures that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for prefix in ["evenkeel_", "process_"] {
        for (at, _) in text.match_indices(prefix) {
            let name: String =
                text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let begins =
                text[..at].chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
            found.extend(begins.then_some(name));
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn rules_and_board_ask_only_for_figures_that_there_are() {
    let text = full().await.text(Form::Prometheus);
    let there: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for file in ["rules.yaml", "rules.test.yaml", "board.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/observe").join(file);
        let asked = named(&std::fs::read_to_string(&path).unwrap());
        assert!(asked.len() > 5, "{file}: {asked:?}");
        let unknown: Vec<_> = asked.iter().filter(|name| !there.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{file} asks for what no page has: {unknown:?}");
    }
}
