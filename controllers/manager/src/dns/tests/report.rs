//! What the others are told, on paused time.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_report_that_was_not_taken_is_tried_again_and_nothing_is_no_news() {
    let store = MemoryStore::new(1);
    let client: Arc<dyn Store> = Arc::new(store.client(7));
    let host: HostName = "h1".parse().unwrap();
    let key = Key::DnsReport(host.clone());
    let env = Arc::new(Env::new(SystemClock, 7));
    let writer = Writer::new(client.clone(), env, host.clone(), Controller::Dns);
    let mirror = Mirror::start(client, vec![key.to_string()]);
    let (serve, served) = watch::channel(Some(0));
    let _running = tokio::spawn(crate::dns::report::run(host, writer, mirror, served));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(store.revision(), MemoryStore::new(1).revision(), "a zone without endpoints is no news");

    store.set_down(true);
    serve.send_replace(Some(5));
    sleep(Duration::from_secs(5)).await;
    store.set_down(false);
    sleep(Duration::from_secs(10)).await;
    let (kv, _) = store.get(&key).await.unwrap();
    let report: DnsReport = serde_json::from_slice(&kv.unwrap().value).unwrap();
    assert_eq!(report, DnsReport { revision: 5 });
}
