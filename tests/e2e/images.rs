//! Images: credentials of the host, and a tag that moves.

use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::{Lab, case, eventually};
use serde_json::Value;

use crate::documents::{self, REGISTRY};

#[test]
fn a_private_image_comes_by_the_hosts_credentials() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        let private = documents::web("1", "replicas: 3").replace(REGISTRY, "private.lan:5001");
        lab.put("services/shop/web", &private);
        lab.settled("shop/web", 3, 60);
        let nobody = documents::web("nothing", "replicas: 1").replace(REGISTRY, "private.lan:5001");
        lab.put("services/shop/none", &nobody);
        let status = lab.told("services/shop/none", 30, "says what is wrong with the image", |status| {
            status
                .conditions
                .iter()
                .any(|condition| condition.message.contains("private.lan:5001/web:nothing"))
        });
        println!(
            "-> an image that is not there: {:?}",
            status.conditions.iter().map(|c| &c.message).collect::<Vec<_>>()
        );
    });
}

#[test]
fn a_moved_tag_does_not_mix_versions() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        move_tag(lab, "web:1");
        let service = |host: &str| {
            let deploy = format!(
                "replicas: 1, placement: {{constraints: [\"node.hostname == {host}\"]}}, stop_delay: 0s"
            );
            documents::web("1", &deploy).replace("/web:1", "/moving:1")
        };
        lab.put("services/shop/moving", &service("h1"));
        lab.settled("shop/moving", 1, 60);
        let first = the_copy(lab);
        let digests: Vec<String> = lab
            .store()
            .keys("revisions/services/shop/moving/")
            .filter(|key| key.ends_with("/digest"))
            .cloned()
            .collect();
        assert_eq!(digests.len(), 1, "the digest is pinned beside the template: {digests:?}");

        move_tag(lab, "web:2");
        // Not the template changes, only the place: the next copy must be what the first one is.
        lab.put("services/shop/moving", &service("h2"));
        eventually(60, "the copy moved to h2", || {
            let copies = lab.copies_on(&["h2".to_owned()], "shop/moving");
            if copies.len() == 1 { Ok(()) } else { Err(format!("{} copies", copies.len())) }
        });
        lab.settled("shop/moving", 1, 60);
        let second = the_copy(lab);
        assert_ne!(first.id, second.id);
        assert_eq!(first.raw["Image"], second.raw["Image"], "the second host runs another image");
        let version = |copy: &Container| {
            copy.raw["Config"]["Env"].as_array().is_some_and(|env| env.contains(&Value::from("VERSION=1")))
        };
        assert!(version(&first) && version(&second));
    });
}

fn the_copy(lab: &Lab) -> Container {
    let mut copies = lab.copies("shop/moving");
    assert_eq!(copies.len(), 1);
    copies.remove(0).1
}

/// `moving:1` is now what that image is.
fn move_tag(lab: &Lab, to: &str) {
    let (from, moving) = (format!("{REGISTRY}/{to}"), format!("{REGISTRY}/moving:1"));
    lab.docker("h3", &["pull", "-q", &from]).ok();
    lab.docker("h3", &["tag", &from, &moving]).ok();
    lab.docker("h3", &["push", "-q", &moving]).ok();
    lab.docker("h3", &["rmi", &moving]).ok();
}
