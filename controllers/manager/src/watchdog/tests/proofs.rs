//! Whose life is to be proved, and when it is asked for.

use std::collections::BTreeMap;

use super::*;

#[test]
fn many_are_asked_for_in_several_transactions() {
    case(async {
        let world = World::started().await;
        let ids: Vec<InstanceId> = (1..=250).map(|n| format!("shop.db.{n}.1").parse().unwrap()).collect();
        let guards: BTreeMap<_, _> = ids
            .iter()
            .map(|id| {
                let guard = evenkeel_api::local::Guard { instance: id.clone(), stop_after: Span(S) };
                (format!("c{id}"), guard)
            })
            .collect();
        let fence = Some(Fence { token: 1, stop_after: Span(S) });
        for id in &ids {
            let record = Instance {
                template: "shop/db@7".parse().unwrap(),
                slot: id.slot.clone(),
                desired: Desired::Stop,
                cause: "test".into(),
                fence,
                restart: None,
            };
            world.put(&Key::Instance("h2".parse().unwrap(), id.clone()), &record).await;
            world.put(&Key::Instance(host(), id.clone()), &record).await;
        }
        let mut watch = Watch::new(evenkeel_api::local::Guards { guards }, None, "b");
        let (_keep, watched) = watch::channel(watch.clone());
        let (tell, mut news) = mpsc::channel(16);
        let prover = tokio::spawn(prove::run(world.deps(), watched, tell));
        for _ in 0..3 {
            let Some(News::Proof(sent, records)) = news.recv().await else { panic!("no proof") };
            watch.proved(sent, &records);
        }
        prover.abort();
        assert_eq!(watch.overdue(world.env.boot_time()), Vec::new());
    });
}

#[test]
fn proofs_are_asked_for_again_after_what_had_none_is_gone() {
    case(async {
        let world = World::started().await;
        let guard = |container: &str| {
            let guard = evenkeel_api::local::Guard { instance: id(), stop_after: Span(S) };
            evenkeel_api::local::Guards { guards: [(container.to_owned(), guard)].into() }
        };
        let nothing = evenkeel_api::local::Guards::default();
        let (guarded, watched) = watch::channel(Watch::new(guard("c1"), None, "b"));
        let (tell, mut news) = mpsc::channel(16);
        world.line.cut_off(true);
        let prover = tokio::spawn(prove::run(world.deps(), watched, tell));
        seconds(2.0).await;
        guarded.send_replace(Watch::new(nothing, None, "b"));
        seconds(2.0).await;
        world.line.cut_off(false);
        guarded.send_replace(Watch::new(guard("c2"), None, "b"));
        let proof = tokio::time::timeout(Duration::from_secs(1), news.recv()).await;
        assert!(matches!(proof, Ok(Some(News::Proof(..)))), "nothing proves the life of its successor");
        prover.abort();
    });
}
