//! A named volume keeps its slot at home.

use evenkeel_tests::lab::{Lab, case, eventually};

use crate::documents;

fn service(replicas: u32, environment: &str) -> String {
    documents::idle(&format!("replicas: {replicas}")).replace(
        "  init: true\n",
        &format!("  init: true\n  environment: {{STEP: {environment}}}\n  volumes: [data:/data]\n"),
    )
}

fn home(lab: &Lab) -> (String, String) {
    let copies = lab.copies("shop/db");
    assert_eq!(copies.len(), 1);
    (copies[0].0.clone(), copies[0].1.name.clone())
}

#[test]
fn a_slot_stays_where_its_volume_is() {
    case(|lab| {
        lab.put("networks/lan", &documents::lan());
        lab.put("services/shop/db", &service(1, "first"));
        lab.settled("shop/db", 1, 60);
        let (host, copy) = home(lab);
        lab.within(&host, &copy, &["touch", "/data/kept"]).ok();

        lab.put("services/shop/db", &service(1, "second"));
        eventually(30, "another copy", || {
            let copies = lab.copies("shop/db");
            if copies.iter().any(|(_, now)| now.name != copy) {
                Ok(())
            } else {
                Err("the same one".to_owned())
            }
        });
        lab.settled("shop/db", 1, 60);
        kept(lab, &host);

        // Others fill the host up, so that placement would choose another one.
        lab.put("services/shop/db", &service(0, "second"));
        lab.settled("shop/db", 0, 60);
        let crowd = format!("replicas: 6, placement: {{constraints: [\"node.hostname == {host}\"]}}");
        lab.put("services/shop/crowd", &documents::idle(&crowd));
        lab.settled("shop/crowd", 6, 60);
        lab.put("services/shop/db", &service(1, "second"));
        lab.settled("shop/db", 1, 60);
        kept(lab, &host);
        let volumes = lab.docker(&host, &["volume", "ls", "-q", "--filter", "label=evenkeel.cluster"]).ok();
        assert_eq!(volumes, "shop.data");
    });
}

fn kept(lab: &Lab, host: &str) {
    let (now, copy) = home(lab);
    assert_eq!(now, host, "the slot left its volume");
    lab.within(&now, &copy, &["ls", "/data/kept"]).ok();
}
