//! What a list of all containers changes.

use super::super::{LIST_AGAIN, by_instance};
use super::*;

fn named(name: &str, engine_id: &str) -> Container {
    Container { name: name.to_owned(), ..container(engine_id, &id(1), ContainerState::Running) }
}

#[test]
fn of_containers_with_the_same_label_the_one_with_the_name_counts() {
    let right = || named("shop.web.1.1", "right");
    let (copy, other) = (|| named("a-copy", "copy"), || named("z-copy", "other"));
    let table = [
        (vec![right()], "right"),
        (vec![copy()], "copy"),
        (vec![copy(), right()], "right"),
        (vec![right(), copy()], "right"),
        (vec![copy(), other()], "copy"),
        (vec![copy(), right(), other()], "right"),
    ];
    for (containers, expected) in table {
        let found = by_instance(containers);
        assert_eq!(found.into_values().map(|one| one.id).collect::<Vec<_>>(), [expected]);
    }
    let labels = BTreeMap::new();
    assert!(by_instance(vec![Container { labels, ..right() }]).is_empty(), "no copy's");
}

#[tokio::test(start_paused = true)]
async fn a_list_says_nothing_of_what_was_done_since_it_was_asked_for() {
    let mut bench = Bench::booted().await;
    let at = Duration::from_secs;
    let table = [
        // Whether a step is under way, when the container was seen last, whether it is gone.
        (false, 9, true),
        (false, 10, true),
        (false, 11, false),
        (true, 9, false),
        (true, 11, false),
    ];
    for (busy, seen, gone) in table {
        let container = Some(container("c1", &id(1), ContainerState::Running));
        bench.set(Slot { container, busy, seen: at(seen), ..Slot::default() });
        bench.driver.hear(Message::Listed(at(10), Ok(Vec::new())));
        assert_eq!(bench.slot().container.is_none(), gone, "busy {busy}, seen at {seen}, listed at 10");
    }
}

#[tokio::test(start_paused = true)]
async fn the_address_of_a_container_is_its_own_also_when_the_book_is_lost() {
    let mut bench = Bench::booted().await;
    bench.write_networks();
    bench.driver.sibling_changed(Controller::Network);
    let found = at("10.88.1.9", container("c1", &id(1), ContainerState::Running));
    bench.driver.hear(Message::Listed(bench.driver.now(), Ok(vec![found])));
    let addresses = bench.driver.book.of(&id(1));
    assert_eq!(addresses, BTreeMap::from([("lan".parse().unwrap(), "10.88.1.9".parse().unwrap())]));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_listed_before_the_cluster_is_known_and_then_soon() {
    let mut bench = Bench::new(MemoryStore::new(1)).await;
    let now = Duration::from_secs(50);
    bench.driver.list(now);
    assert_eq!((bench.driver.listing, bench.driver.next_list), (false, now + LIST_AGAIN));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_before_both_the_containers_and_the_store_are_known() {
    let mut bench = Bench::booted().await;
    for (listed, told) in [(false, false), (false, true), (true, false), (true, true)] {
        bench.set(Slot::default());
        bench.driver.due.insert(id(1));
        (bench.driver.listed, bench.driver.told) = (listed, told);
        bench.driver.turn();
        let decided = bench.driver.due.is_empty();
        assert_eq!(decided, listed && told, "listed {listed}, told {told}");
        assert_eq!(bench.slot().observed.is_some(), decided);
    }
}
