//! Who may take a copy, and which of those does.

use evenkeel_api::name::{NetworkName, Slot};
use evenkeel_api::service::{Attribute, Constraint};

use super::*;
use crate::service::filter::{Leave, refuses, volume_homes};
use crate::service::memory::FailedThere;
use crate::service::place::Only;

/// What keeps a copy from h1.
fn refused(lab: &Lab, spec: &ServiceSpec) -> String {
    let (world, name) = (&lab.model.world, host("h1"));
    let refusal = refuses(world, &world.hosts[&name], spec, &spec.template, &name);
    refusal.map_or("fits".to_owned(), |refusal| refusal.say(1, spec))
}

#[test]
fn a_platform_is_an_os_and_what_more_is_said() {
    let lab = Lab::new(1);
    for (platform, expected) in [
        ("linux", "fits"),
        ("linux/amd64", "fits"),
        ("linux/amd64/v2", "fits"),
        ("linux/arm64", "1 not linux/arm64"),
        ("windows", "1 not windows"),
        ("windows/amd64", "1 not windows/amd64"),
    ] {
        let mut wanted = spec("web:1", 1);
        wanted.template.platform = Some(platform.into());
        assert_eq!(refused(&lab, &wanted), expected);
    }
    assert_eq!(refused(&lab, &spec("web:1", 1)), "fits");
}

#[test]
fn all_constraints_must_hold_and_the_first_that_does_not_is_named() {
    let mut lab = Lab::new(1);
    lab.put_host(1, |_| {}, &[("disk", "ssd")]);
    lab.settle();
    let label = |key: &str| Attribute::Label(key.into());
    for (attribute, right, name) in [
        (Attribute::Hostname, "h1", "node.hostname"),
        (Attribute::Os, "linux", "node.platform.os"),
        (Attribute::Arch, "amd64", "node.platform.arch"),
        (label("disk"), "ssd", "node.labels.disk"),
    ] {
        for (equal, value, holds) in
            [(true, right, true), (true, "other", false), (false, right, false), (false, "other", true)]
        {
            let constraint = Constraint { attribute: attribute.clone(), equal, value: value.into() };
            let region = Constraint { attribute: label("region"), equal: true, value: "north".into() };
            let mut wanted = spec("web:1", 1);
            wanted.deploy.placement.constraints = vec![constraint];
            let expected = match (holds, equal) {
                (true, _) => "fits".to_owned(),
                (false, true) => format!("1 does not match {name} == {value}"),
                (false, false) => format!("1 does not match {name} != {value}"),
            };
            assert_eq!(refused(&lab, &wanted), expected);
            wanted.deploy.placement.constraints.push(region);
            let expected =
                if holds { "1 does not match node.labels.region == north".to_owned() } else { expected };
            assert_eq!(refused(&lab, &wanted), expected);
        }
    }
}

#[test]
fn a_network_stands_where_its_host_has_a_part_and_says_so_until_it_is_taken_down() {
    let name: NetworkName = "default".parse().unwrap();
    for (part, ready, deleting, expected) in [
        (true, true, false, "fits"),
        (true, false, false, "1 where network default does not stand"),
        (false, true, false, "1 where network default does not stand"),
        (true, true, true, "1 without a Network named default"),
    ] {
        let mut lab = Lab::new(1);
        lab.model.world.networks.get_mut(&name).unwrap().deleting = deleting;
        let entry = lab.model.world.hosts.get_mut("h1").unwrap();
        if !part {
            entry.subnets.clear();
        }
        if !ready {
            entry.ready.clear();
        }
        assert_eq!(refused(&lab, &spec("web:1", 1)), expected);
    }
}

#[test]
fn a_host_is_filled_to_the_last_place_and_no_further() {
    let cases: [(&str, usize, Change); 3] = [
        ("lacks CPUs (1 are reserved)", 4, |spec| spec.deploy.reservations.cpus = Some(MilliCpus(1000))),
        ("lacks memory (1G is reserved)", 4, |spec| spec.deploy.reservations.memory = Some(Bytes(1 << 30))),
        ("with as many copies as max_replicas_per_node lets", 2, |spec| {
            spec.deploy.placement.max_replicas_per_node = Some(2)
        }),
    ];
    for (what, places, reserve) in cases {
        let mut lab = Lab::new(1);
        let mut wanted = spec("web:1", 5);
        reserve(&mut wanted);
        lab.put("shop/web", wanted.clone());
        lab.seconds(1);
        assert_eq!(lab.running("shop/web").len(), places, "{what}");
        let degraded = lab.condition("shop/web", evenkeel_api::record::ConditionType::Degraded);
        assert!(degraded.ends_with(&format!(": the only host does not fit: 1 {what}")), "{degraded}");

        // The same while nothing of it is written yet.
        let lab = Lab::new(1);
        let mut all = places_of(&lab, &wanted, None);
        for n in 1..=places {
            assert_eq!(all.best().unwrap(), host("h1"), "{what}");
            all.take(&copy(u32::try_from(n).unwrap()), &host("h1"));
        }
        let refused = all.best().unwrap_err().say(0, &wanted);
        assert_eq!(refused, format!("the only host does not fit: 1 {what}"));
    }
}

/// The hosts for copies of `shop/web`.
fn places_of<'a>(lab: &'a Lab, spec: &'a ServiceSpec, memory: Option<&ServiceMemory>) -> Places<'a> {
    Places::new(&lab.model.world, &lab.model.ledger, &id("shop/web"), spec, &spec.template, memory)
}

fn copy(slot: u32) -> InstanceId {
    InstanceId { service: id("shop/web"), slot: Slot::numbered(slot), seq: 9000 }
}

fn best(lab: &Lab, spec: &ServiceSpec) -> String {
    places_of(lab, spec, None).best().unwrap().to_string()
}

/// Copies of another service on one host.
fn put_on(lab: &mut Lab, service: &str, host: &str, mut wanted: ServiceSpec) {
    let only = Constraint { attribute: Attribute::Hostname, equal: true, value: host.into() };
    wanted.deploy.placement.constraints.push(only);
    lab.put(service, wanted);
    lab.settle();
}

#[test]
fn the_host_is_taken_that_is_least_full_of_what_is_scarcest_there() {
    let mut wanted = spec("web:1", 1);
    wanted.deploy.reservations.cpus = Some(MilliCpus(1000));
    wanted.deploy.reservations.memory = Some(Bytes(1 << 30));
    // CPUs and GiB of two hosts.
    for (first, second, expected) in [
        ((4, 8), (8, 8), "h2"),
        ((8, 4), (8, 8), "h2"),
        ((8, 8), (4, 8), "h1"),
        ((2, 16), (4, 4), "h2"),
        ((8, 8), (8, 8), "h1"),
    ] {
        let mut lab = Lab::new(2);
        for (name, (cpus, memory)) in [("h1", first), ("h2", second)] {
            let facts = lab.model.world.hosts.get_mut(name).unwrap().facts.as_mut().unwrap();
            (facts.cpus, facts.memory) = (MilliCpus(cpus * 1000), Bytes(memory << 30));
        }
        assert_eq!(best(&lab, &wanted), expected, "{first:?} {second:?}");
    }
    // What others reserved there counts more than how many they are.
    let mut lab = Lab::new(2);
    let mut large = spec("large:1", 1);
    large.deploy.reservations.cpus = Some(MilliCpus(2000));
    put_on(&mut lab, "shop/large", "h1", large);
    put_on(&mut lab, "shop/small", "h2", spec("small:1", 2));
    assert_eq!(best(&lab, &wanted), "h2");
}

#[test]
fn own_copies_on_a_host_count_more_than_those_of_others_and_a_failure_there_least() {
    let wanted = spec("web:1", 1);
    let mut lab = Lab::new(2);
    put_on(&mut lab, "shop/web", "h1", spec("web:1", 1));
    put_on(&mut lab, "shop/other", "h2", spec("other:1", 2));
    assert_eq!(best(&lab, &wanted), "h2");

    // Those placed a moment ago like those that are written.
    let mut lab = Lab::new(2);
    put_on(&mut lab, "shop/other", "h2", spec("other:1", 2));
    let mut places = places_of(&lab, &wanted, None);
    places.take(&copy(1), &host("h1"));
    assert_eq!(places.best().unwrap(), host("h2"));

    let mut lab = Lab::new(2);
    put_on(&mut lab, "shop/other", "h1", spec("other:1", 1));
    put_on(&mut lab, "shop/web", "h2", spec("web:1", 1));
    let mut places = places_of(&lab, &wanted, None);
    places.take(&copy(2), &host("h1"));
    assert_eq!(places.best().unwrap(), host("h2"), "one of its own on each, and one of another on h1");

    let lab = Lab::new(2);
    let mut memory = ServiceMemory::default();
    memory
        .failed_on
        .insert((Slot::numbered(7), host("h1")), FailedThere { template: 1, ..FailedThere::default() });
    assert_eq!(places_of(&lab, &wanted, Some(&memory)).best().unwrap(), host("h2"));
}

#[test]
fn copies_are_spread_over_the_values_of_a_label_and_then_over_hosts() {
    let mut lab = Lab::new(3);
    for (n, zone) in [(1, "a"), (2, "a"), (3, "b")] {
        lab.put_host(n, |_| {}, &[("zone", zone)]);
    }
    lab.settle();
    put_on(&mut lab, "shop/web", "h1", spec("web:1", 1));
    let mut wanted = spec("web:1", 1);
    wanted.deploy.placement.spread = vec!["zone".into()];
    let mut places = places_of(&lab, &wanted, None);
    let mut taken = Vec::new();
    for n in 2..=5 {
        let host = places.best().unwrap();
        places.take(&copy(n), &host);
        taken.push(host.to_string());
    }
    assert_eq!(taken, ["h3", "h2", "h3", "h1"]);
}

#[test]
fn a_slot_that_is_bound_goes_where_it_is_bound_to_or_nowhere() {
    let lab = Lab::new(3);
    let wanted = spec("web:1", 1);
    let places = places_of(&lab, &wanted, None);
    let volume =
        |hosts: &[&str]| Only::Volume("data".parse().unwrap(), hosts.iter().map(|name| host(name)).collect());
    for (only, avoid, expected) in [
        (Only::Any, vec![], "h1"),
        (Only::Any, vec!["h1"], "h2"),
        (Only::Any, vec!["h1", "h2", "h3"], "h1"),
        (Only::Host(host("h2")), vec![], "h2"),
        (Only::Host(host("h2")), vec!["h2"], "h2"),
        (Only::Host(host("h9")), vec![], "there are no hosts"),
        (volume(&["h2", "h3"]), vec![], "h2"),
        (volume(&["h2", "h3"]), vec!["h2"], "h3"),
        (volume(&["h9"]), vec![], "none of 3 hosts fits: 3 without its volume data"),
    ] {
        let avoid: BTreeSet<HostName> = avoid.into_iter().map(host).collect();
        let found = places.pick(&only, Leave::default(), &avoid);
        let found = found.map_or_else(|refusals| refusals.say(0, &wanted), |name| name.to_string());
        assert_eq!(found, expected, "{only:?} but {avoid:?}");
    }
}

/// Where slot 1 of `shop/db` may go for its volume, with these homes of its slots.
fn homes(lab: &Lab, homes: &[(u32, &str)]) -> Option<Vec<String>> {
    let mut wanted = spec("db:1", 2);
    wanted.template.mounts.push(volume("data"));
    let homes = homes.iter().map(|(slot, name)| (Slot::numbered(*slot), host(name))).collect();
    let found = volume_homes(&lab.model.world, &id("shop/db"), &wanted, &homes, &Slot::numbered(1));
    found.map(|(volume, hosts)| {
        assert_eq!(volume.as_str(), "data");
        hosts.iter().map(ToString::to_string).collect()
    })
}

fn has_volumes(lab: &mut Lab, name: &str, volumes: &[&str]) {
    let facts = lab.model.world.hosts.get_mut(name).unwrap().facts.as_mut().unwrap();
    facts.volumes = volumes.iter().map(ToString::to_string).collect();
}

fn leaves(lab: &mut Lab, name: &str) {
    let entry = lab.model.world.hosts.get_mut(name).unwrap();
    (entry.document, entry.accepted) = (None, None);
}

fn some(hosts: &[&str]) -> Option<Vec<String>> {
    Some(hosts.iter().map(ToString::to_string).collect())
}

#[test]
fn a_volume_is_at_the_home_of_its_slot_or_where_hosts_say_that_it_lies() {
    let mut lab = Lab::new(4);
    assert_eq!(homes(&lab, &[]), None, "nowhere yet");
    has_volumes(&mut lab, "h1", &["other.data", "shop.logs"]);
    assert_eq!(homes(&lab, &[]), None, "nothing of that name in this namespace");
    has_volumes(&mut lab, "h3", &["shop.data"]);
    has_volumes(&mut lab, "h4", &["shop.data"]);
    assert_eq!(homes(&lab, &[]), some(&["h3", "h4"]));
    assert_eq!(homes(&lab, &[(2, "h3")]), some(&["h4"]), "one is another slot's");
    assert_eq!(homes(&lab, &[(1, "h2"), (2, "h3")]), some(&["h2"]));
    leaves(&mut lab, "h2");
    assert_eq!(homes(&lab, &[(1, "h2")]), some(&["h3", "h4"]), "its home left the cluster");
    leaves(&mut lab, "h3");
    assert_eq!(homes(&lab, &[(1, "h2")]), some(&["h4"]));
    assert_eq!(homes(&lab, &[(2, "h4")]), None);
}

#[test]
fn a_volume_that_services_of_a_namespace_share_is_where_one_of_them_has_it() {
    for (other, mounted, expected) in [
        ("shop/backup", "data", some(&["h2"])),
        ("shop/backup", "logs", None),
        ("other/backup", "data", None),
        ("shop/db", "data", None),
    ] {
        let mut lab = Lab::new(3);
        let mut sharing = spec("backup:1", 1);
        sharing.template.mounts.push(volume(mounted));
        put_on(&mut lab, other, "h2", sharing);
        assert_eq!(homes(&lab, &[]), expected, "{mounted} of {other}");
        leaves(&mut lab, "h2");
        assert_eq!(homes(&lab, &[]), None, "{mounted} of {other}, whose home left");
    }
}
