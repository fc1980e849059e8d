//! What is asked, and how the store is told of many copies.

use super::*;

#[tokio::test(start_paused = true)]
async fn new_checks_are_taken_in_together_and_one_that_is_deleted_asks_no_more() {
    let mut world = World::new();
    world.runs(1, 1);
    let controller = world.start(false);
    sleep(Duration::from_secs(6)).await;
    world.accept().await;
    sleep(ms(40)).await;
    assert_eq!(world.probe.asked(&at(1)), 0, "more may follow");
    sleep(ms(20)).await;
    assert_eq!(world.probe.asked(&at(1)), 1);
    world.until(1, Verdict::Healthy).await;
    world.put_accepted(true).await;
    sleep(Duration::from_secs(1)).await;
    let asked = world.probe.asked(&at(1));
    sleep(Duration::from_secs(10)).await;
    assert_eq!((world.probe.asked(&at(1)), world.told(1).await), (asked, None));
    end(controller).await;
}

#[tokio::test(start_paused = true)]
async fn verdicts_that_come_one_by_one_are_told_at_a_pace() {
    let mut world = World::new();
    world.accept().await;
    let controller = world.start(false);
    sleep(Duration::from_secs(6)).await;
    let before = world.store.revision();
    for n in 1..=9 {
        world.probe.set(&at(n), Answer::pass("200 OK"), ms(u64::from(n) * 10));
        world.copies.instances.insert(id(n), copy(n, 1));
    }
    world.instances.save(&world.copies).unwrap();
    for n in 1..=9 {
        world.until(n, Verdict::Healthy).await;
    }
    let changes = world.store.peek_changes(before).unwrap();
    let of_health = changes.iter().filter(|change| change.key().starts_with("health/"));
    let mut transactions: Vec<i64> = of_health.map(|change| change.mod_revision()).collect();
    transactions.dedup();
    assert!(transactions.len() <= 3, "{transactions:?}");
    end(controller).await;
}
