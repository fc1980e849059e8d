//! The brake: who counts for it, whom it holds, and when it is looked at again.

use std::time::Duration;

use super::*;

fn held(lab: &Lab) -> usize {
    lab.model.world.brakes.as_ref().map_or(0, |brakes| brakes.value.held.len())
}

/// So many hosts, with two copies each.
fn cluster(hosts: u32) -> Lab {
    let mut lab = Lab::new(hosts);
    lab.put("shop/web", spec("web:1", hosts * 2));
    lab.seconds(60);
    lab
}

/// Whether copies are still wanted on a host.
fn stays(lab: &Lab, name: &str) -> bool {
    lab.running("shop/web").iter().any(|copy| copy.ends_with(&format!("@{name}")))
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn hosts_given_up_within_ten_seconds_are_counted_with_one_that_goes() {
    for (apart, brakes) in [(8, true), (10, true), (11, false), (60, false)] {
        let mut lab = cluster(4);
        lab.host_gone("h1");
        lab.seconds(apart);
        assert!(!stays(&lab, "h1"), "it was one of four");
        lab.host_gone("h2");
        lab.seconds(30);
        assert_eq!((held(&lab), stays(&lab, "h2")), (usize::from(brakes), brakes), "{apart} s apart");
    }
}

#[test]
fn a_host_that_went_this_moment_counts_as_one_of_the_cluster() {
    let mut lab = cluster(6);
    for name in ["h1", "h2"] {
        lab.host_gone(name);
    }
    // Two of six are gone, which is too few, and not two of four.
    lab.run(millis(1400));
    for name in ["h3", "h4"] {
        lab.host_gone(name);
    }
    lab.run(millis(300));
    assert_eq!(held(&lab), 0);
    for name in ["h3", "h4"] {
        lab.host_back(name);
    }
    lab.seconds(5);
    assert_eq!((held(&lab), stays(&lab, "h1"), stays(&lab, "h2")), (0, false, false));
}

#[test]
fn a_host_that_blinks_puts_off_no_loss_where_it_would_not_pull_the_brake() {
    let mut lab = cluster(5);
    lab.host_gone("h2");
    lab.run(millis(1900));
    lab.host_gone("h1");
    assert!(stays(&lab, "h2"));
    lab.run(millis(100));
    assert!(!stays(&lab, "h2"));
}

#[test]
fn a_host_whose_document_never_held_pulls_no_brake() {
    let mut lab = Lab::new(3);
    lab.put("shop/web", spec("web:1", 6));
    for n in 4..=5 {
        lab.add_host(n);
        let entry = lab.model.world.hosts.get_mut(&host(&format!("h{n}"))).unwrap();
        entry.document.as_mut().unwrap().parsed = Err("line 1: no such thing".into());
    }
    lab.seconds(60);
    for name in ["h2", "h4", "h5"] {
        lab.host_gone(name);
    }
    lab.seconds(5);
    assert_eq!((held(&lab), stays(&lab, "h2")), (0, false));
}

#[test]
fn what_is_held_stays_so_while_nobody_counts_as_gone() {
    let two_held = || {
        let mut lab = cluster(4);
        lab.host_gone("h3");
        lab.host_gone("h4");
        lab.seconds(10);
        assert_eq!(held(&lab), 2);
        lab
    };
    // Our own reads are not answered for a moment: how long they are gone is counted anew.
    let mut lab = two_held();
    lab.model.memory.observe(&lab.model.world, lab.model.now, false);
    lab.settle();
    assert_eq!(held(&lab), 2);
    // And so does a new leader.
    let mut lab = two_held();
    lab.model.memory = Memory::new();
    lab.settle();
    assert_eq!(held(&lab), 2);
}

#[test]
fn hosts_and_their_brake_are_looked_at_again_at_the_instant_at_which_they_may_change() {
    // What happens, after how long, and when it is to be looked at next. Without services: nobody else asks.
    type Script = &'static [(u64, &'static [&'static str], &'static [&'static str], Option<u64>)];
    let one: Script = &[
        (0, &["h1"], &[], Some(1500)),
        (500, &[], &[], Some(1000)),
        (1000, &[], &[], Some(2500)),
        (2500, &[], &[], None),
        (5000, &["h2"], &[], Some(1500)),
    ];
    let half: Script = &[
        (0, &["h1", "h2"], &[], Some(1500)),
        (1500, &[], &[], Some(2500)),
        (2500, &[], &[], None),
        (60_000, &[], &["h1", "h2"], Some(10_000)),
        (4000, &[], &[], Some(6000)),
        (6000, &[], &[], None),
    ];
    for script in [one, half] {
        let mut lab = Lab::new(4);
        lab.seconds(60);
        for (after, gone, back, expected) in script {
            lab.model.now += millis(*after);
            gone.iter().for_each(|name| lab.host_gone(name));
            back.iter().for_each(|name| lab.host_back(name));
            let (_, wake) = lab.model.settle().unwrap();
            assert_eq!(wake, expected.map(millis), "{after} ms later: gone {gone:?}, back {back:?}");
        }
        assert_eq!(held(&lab), 0);
    }
}
