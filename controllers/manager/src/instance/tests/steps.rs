//! Steps whose turn depends on what another step, the engine or the disk did before.

use evenkeel_api::record::Event;
use evenkeel_engine::Engine;
use evenkeel_plan::instance::container::NetworkChoice;

use super::*;

impl World {
    /// What was told of instances, and how often.
    fn events(&self) -> Vec<(String, u32)> {
        let events = self.store.peek("events/").into_iter();
        let events = events.map(|kv| serde_json::from_slice::<Event>(&kv.value).unwrap());
        events.map(|event| (event.reason, event.count)).collect()
    }

    async fn address(&self, id: &InstanceId) -> String {
        self.until_running(id).await.addresses.values().next().unwrap().to_string()
    }

    /// A person runs a container by hand, made as `of` was, with an address that is free.
    async fn add_by_hand(&self, of: &InstanceId, address: &str) {
        let mut spec = self.engine.spec_of(&of.to_string()).unwrap();
        (spec.name, spec.labels) = ("by-hand".into(), BTreeMap::new());
        let NetworkChoice::Attached(all) = &mut spec.network else { panic!("{spec:?}") };
        all[0].address = address.parse().unwrap();
        let container = self.engine.create(&spec).await.unwrap();
        self.engine.start(&container).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_to_run_takes_an_address() {
    let world = World::started().await;
    world.want(&id(1), Desired::Stop).await;
    pass(2).await;
    world.want(&id(2), Desired::Run).await;
    assert_eq!(world.address(&id(2)).await, "10.88.1.2");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_lasts_is_one_event() {
    let world = World::started().await;
    let privileged = Template { privileged: Some(true), ..template() };
    world.put(&Key::Revision(service(), 7), &Revision { template: privileged }).await;
    world.want(&id(1), Desired::Run).await;
    world.until_told(&id(1), |state| matches!(state, InstanceState::Failed { .. })).await;
    pass(120).await;
    assert_eq!(world.events(), [("Failed".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_something_else_has_is_given_up() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    assert_eq!(world.address(&id(1)).await, "10.88.1.2");
    world.add_by_hand(&id(1), "10.88.1.3").await;
    world.want(&id(2), Desired::Run).await;
    assert_eq!(world.address(&id(2)).await, "10.88.1.4");
    assert_eq!(world.address(&id(1)).await, "10.88.1.2");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_taken_by_nobody_knows_whom_is_given_up_too() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    world.add_by_hand(&id(1), "10.88.1.3").await;
    // The engine refuses the address, and does not list who has it.
    world.engine.pause("by-hand", true);
    world.engine.set_delay(Op::Create, Duration::from_secs(1));
    world.want(&id(2), Desired::Run).await;
    pass(10).await;
    assert_eq!(world.address(&id(2)).await, "10.88.1.4");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_replaced_for_its_image_keeps_its_address() {
    let world = World::started().await;
    world.engine.add_image(IMAGE, "sha256:old");
    world.want(&id(1), Desired::Run).await;
    assert_eq!(world.address(&id(1)).await, "10.88.1.2");
    let digest = Digest { digest: DIGEST.into(), host: "h2".parse().unwrap() };
    world.put(&Key::Digest(service(), 7), &digest).await;
    pass(2).await;
    assert_eq!(world.address(&id(1)).await, "10.88.1.2");
    assert_eq!(world.told(&id(1)).await.unwrap().digest.as_deref(), Some(DIGEST));
}

#[tokio::test(start_paused = true)]
async fn limits_that_the_engine_refuses_are_told_and_tried_again_also_without_the_store() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    let before = world.until_running(&id(1)).await;
    world.engine.fail_next(Op::Update, EngineError::Refused("less than it uses".into()));
    let limits = Limits { pids: Some(99), ..Limits::default() };
    world.accept(ServiceSpec { template: template(), limits, ..ServiceSpec::default() }).await;
    pass(5).await;
    assert_eq!(world.events(), [("LimitsRefused".to_owned(), 1)]);
    assert_eq!(world.told(&id(1)).await.unwrap(), before, "it runs on");
    // Another revision of its record, for which nothing was confirmed; then the store goes.
    world.want(&id(1), Desired::Run).await;
    pass(1).await;
    world.store.set_down(true);
    pass(30).await;
    assert_eq!(world.container(&id(1)).unwrap().limits, limits);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_file_that_cannot_be_written_holds_up_no_start_of_what_is_made() {
    let world = World::started().await;
    world.want(&id(1), Desired::Run).await;
    world.until_running(&id(1)).await;
    let folder = world.folder.path().join("instance/resolv");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    world.engine.crash("shop.web.1.1", 1, false);
    pass(2).await;
    assert!(world.runs(&id(1)), "older names are better than none");
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_does_not_know_of_is_not_forgotten_in_the_store() {
    let mut world = World::started().await;
    world.want(&id(2), Desired::Run).await;
    world.until_running(&id(2)).await;
    pass(1).await;
    let file = world.folder.path().join("instance/state.json");
    let older = std::fs::read(&file).unwrap();
    world.want(&id(1), Desired::Run).await;
    let told = world.until_running(&id(1)).await;
    let spoil = TxnBuilder::new().put(&Key::Instance(host(), id(1)), "{\"is\":").build().unwrap();
    world.store.commit(&spoil).await.unwrap();
    pass(1).await;
    world.kill().await;
    std::fs::write(&file, older).unwrap();
    world.store.set_down(true);
    world.start();
    pass(7).await;
    world.store.set_down(false);
    pass(20).await;
    assert_eq!(world.told(&id(1)).await, Some(told));
    assert!(world.runs(&id(1)));
}
