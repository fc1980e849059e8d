//! Images: credentials of the host, and a tag that moves.

use std::collections::BTreeSet;

use evenkeel_runtime::env::{SystemClock, WallClock};
use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::{Lab, case};
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
        // Never seen on any host: only a pull tells what a tag means.
        let moving = format!("moving:{}", SystemClock.now().0);
        move_tag(lab, &moving, "web:1");
        let service = |replicas: u32| {
            let deploy =
                format!("replicas: {replicas}, placement: {{max_replicas_per_node: 1}}, stop_delay: 0s");
            documents::web("1", &deploy).replace("/web:1", &format!("/{moving}"))
        };
        lab.put("services/shop/moving", &service(1));
        lab.settled("shop/moving", 1, 60);
        let digests: Vec<String> = lab
            .store()
            .keys("revisions/services/shop/moving/")
            .filter(|key| key.ends_with("/digest"))
            .cloned()
            .collect();
        assert_eq!(digests.len(), 1, "the digest is pinned beside the template: {digests:?}");

        move_tag(lab, &moving, "web:2");
        // More copies of the same template, on hosts that never pulled: they must be what the first one is.
        lab.put("services/shop/moving", &service(3));
        lab.settled("shop/moving", 3, 60);
        let copies = lab.copies("shop/moving");
        let hosts: BTreeSet<&String> = copies.iter().map(|(host, _)| host).collect();
        assert_eq!(hosts.len(), 3);
        let images: BTreeSet<String> = copies.iter().map(|(_, copy)| copy.raw["Image"].to_string()).collect();
        assert_eq!(images.len(), 1, "hosts run different images: {images:?}");
        let version = |copy: &Container| {
            copy.raw["Config"]["Env"].as_array().is_some_and(|env| env.contains(&Value::from("VERSION=1")))
        };
        assert!(copies.iter().all(|(_, copy)| version(copy)), "not the first version");
    });
}

/// `moving` is now what `to` is.
fn move_tag(lab: &Lab, moving: &str, to: &str) {
    let (from, moving) = (documents::image(to), documents::image(moving));
    lab.docker("h3", &["pull", "-q", &from]).ok();
    lab.docker("h3", &["tag", &from, &moving]).ok();
    lab.docker("h3", &["push", "-q", &moving]).ok();
    lab.docker("h3", &["rmi", &moving]).ok();
}
