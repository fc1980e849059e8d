//! The file that an exclusive copy mounts, and what is asked before each of its starts.

use std::path::PathBuf;

use evenkeel_plan::instance::container::MountWhat;

use super::*;

impl World {
    /// What a copy reads in its fence file; `None`: its container cannot be started.
    fn token(&self) -> Option<String> {
        let bytes = self.dir.disk().read(Path::new("instance/fence/shop.db.1.1")).unwrap()?;
        Some(String::from_utf8(bytes).unwrap())
    }
}

#[test]
fn a_copy_mounts_a_file_with_its_token_that_is_there_while_it_may_start() {
    case(async {
        let world = World::started().await;
        assert_eq!(world.token().as_deref(), Some("1\n"));
        let spec = world.engine.spec_of(&id().to_string()).unwrap();
        let mount = spec.mounts.iter().find(|mount| mount.target == "/run/evenkeel/fence").unwrap();
        let MountWhat::Bind { path, .. } = &mount.what else { panic!("{mount:?}") };
        assert_eq!(PathBuf::from(path), Path::new("/state/instance/fence/shop.db.1.1"));

        world.line.cut_off(true);
        world.until("it ends", |world| !world.runs()).await;
        seconds(1.0).await;
        assert_eq!(world.token(), None);
        world.line.cut_off(false);
        world.until("it runs", World::runs).await;
        assert_eq!(world.token().as_deref(), Some("1\n"));

        world.want(Desired::Stop).await;
        world.until("it is removed", |world| world.engine.all().is_empty()).await;
        assert!(world.token().is_some());
        let end = TxnBuilder::new().delete(&Key::Instance(host(), id())).build().unwrap();
        world.store.commit(&end).await.unwrap();
        seconds(2.0).await;
        assert_eq!(world.token(), None, "nobody needs it any more");
    });
}

#[test]
fn every_start_is_confirmed_by_the_store() {
    case(async {
        let world = World::started().await;
        seconds(3.0).await;
        world.own.cut_off(true);
        world.engine.crash(&id().to_string(), 1, false);
        seconds(20.0).await;
        assert!(!world.runs(), "another copy may run by now, if the store went back");
        world.own.cut_off(false);
        world.until("it runs", World::runs).await;
    });
}
