//! What the store and the siblings tell.

use super::*;

const RESOLV: &str = "instance/resolv/shop.web.1.1";

fn with_container() -> Slot {
    Slot { container: Some(container("c1", &id(1), ContainerState::Running)), ..Slot::default() }
}

/// Whether the copy's resolver file was written since it was asked last.
fn resolver_written(bench: &Bench) -> bool {
    let disk = bench.driver.deps.state_dir.disk();
    let written = disk.read(Path::new(RESOLV)).unwrap().is_some();
    disk.remove(Path::new(RESOLV)).unwrap();
    written
}

#[tokio::test(start_paused = true)]
async fn resolver_files_follow_the_network_and_the_peers_on_it() {
    let mut bench = Bench::booted().await;
    bench.set(with_container());
    bench.write_networks();
    bench.driver.sibling_changed(Controller::Healthcheck);
    assert!(!resolver_written(&bench) && bench.driver.due.is_empty(), "it says nothing of networks");
    bench.driver.sibling_changed(Controller::Network);
    assert!(resolver_written(&bench) && bench.driver.due.contains(&id(1)));
    let table = [
        (keys(&[]), true),
        (keys(&["subnets/lan/h2"]), true),
        (keys(&["alive/h2"]), true),
        (keys(&["accepted/services/shop/web", "alive/h2"]), true),
        (keys(&["accepted/services/shop/web"]), false),
    ];
    for (changed, written) in table {
        bench.driver.store_changed(&changed);
        assert_eq!(resolver_written(&bench), written, "{changed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_holds_is_known_of_reports_and_of_copies() {
    let mut bench = Bench::on_a_store().await;
    put(&bench.store, &Key::Observed(host(), id(2)), &running()).await;
    bench.driver.boot().await;
    bench.driver.slots.insert(id(3), Slot::default());
    let expected = BTreeMap::from([(id(1), None), (id(2), Some(running())), (id(3), None)]);
    assert_eq!(bench.driver.in_store(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_store_counts_as_read_only_once_it_was() {
    let mut bench = Bench::on_a_store().await;
    bench.store.set_down(true);
    bench.driver.boot().await;
    assert!(bench.driver.told && !bench.driver.was_synced, "the disk decides");
    bench.store.set_down(false);
    bench.driver.world.mirror().synced().await;
    bench.driver.store_changed(&keys(&[]));
    assert!(bench.driver.was_synced);
}

#[tokio::test(start_paused = true)]
async fn a_spoilt_report_is_told_again_whatever_changes_meanwhile() {
    let mut bench = Bench::booted().await;
    let key = Key::Observed(host(), id(1));
    let told = || bench.store.peek(&key.to_string()).pop().unwrap().value;
    bench.driver.reports.tell(&id(1), Some(&running()));
    bench.driver.publish();
    pass(1).await;
    assert_eq!(bench.driver.world.in_store(&id(1)), Some(running()));
    let good = told();
    let spoil = TxnBuilder::new().put(&key, "{\"is\":").build().unwrap();
    bench.store.commit(&spoil).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    bench.driver.store_changed(&keys(&[&key.to_string()]));
    bench.driver.store_changed(&keys(&["alive/h2"]));
    pass(1).await;
    assert_eq!(told(), good);
}

#[tokio::test(start_paused = true)]
async fn what_was_confirmed_holds_until_a_person_makes_the_past_void() {
    let mut bench = Bench::booted().await;
    bench.set(Slot { confirmed: Some(5), ..Slot::default() });
    bench.driver.store_changed(&keys(&[]));
    assert_eq!(bench.slot().confirmed, Some(5));
    bench.driver.deps.store.witness().forgive();
    bench.driver.store_changed(&keys(&[]));
    assert_eq!(bench.slot().confirmed, Some(5), "what was read is still the past");
    bench.driver.world.mirror().fresh().await;
    bench.driver.store_changed(&keys(&[]));
    assert_eq!(bench.slot().confirmed, None);
    assert!(!bench.driver.is_void(), "it was looked at anew");
}

#[tokio::test(start_paused = true)]
async fn only_a_store_that_was_read_and_is_trusted_may_destroy() {
    let mut bench = Bench::on_a_store().await;
    assert!(!bench.driver.may_destroy(), "it was not read");
    bench.driver.boot().await;
    assert!(bench.driver.may_destroy());
    bench.driver.deps.store.witness().distrust("it went back".to_owned());
    assert!(!bench.driver.may_destroy());
}
