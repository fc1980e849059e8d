use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::name::HostName;
use evenkeel_api::network::{Cidr, Ipam, NetworkSpec, Pool};
use evenkeel_api::record::{Address, Facts};
use proptest::prelude::*;

use crate::network::subnet::parts;

pub fn spec(pools: &[&str], length: u8) -> NetworkSpec {
    let config = pools.iter().map(|p| Pool { subnet: p.parse().unwrap() }).collect();
    NetworkSpec {
        ipam: Ipam { config, host_prefix_length: Some(length) },
        routing: None,
        dns: None,
        access: None,
    }
}

fn hosts(names: &[&str]) -> BTreeSet<HostName> {
    names.iter().map(|n| n.parse().unwrap()).collect()
}

fn facts(hosts: &BTreeSet<HostName>) -> BTreeMap<HostName, Facts> {
    hosts.iter().map(|h| (h.clone(), Facts::default())).collect()
}

#[test]
fn each_host_gets_the_lowest_free_part_and_keeps_it() {
    let spec = spec(&["10.88.0.0/16"], 24);
    let three = hosts(&["h1", "h2", "h3"]);
    let first = parts(&spec, &BTreeMap::new(), &three, &facts(&three)).claims;
    let shown: Vec<String> = first.iter().map(|(h, p)| format!("{h} {p}")).collect();
    assert_eq!(shown, ["h1 10.88.1.0/24", "h2 10.88.2.0/24", "h3 10.88.3.0/24"]);

    let other = hosts(&["h1", "h3", "h4"]);
    let second = parts(&spec, &first, &other, &facts(&other));
    assert_eq!(second.releases.keys().next().unwrap().as_str(), "h2");
    assert_eq!(second.claims.values().next().unwrap().to_string(), "10.88.4.0/24", "not h2's, yet");
}

#[test]
fn a_full_pool_says_so_and_an_appended_one_helps() {
    let (four, owned) = (hosts(&["h1", "h2", "h3", "h4"]), BTreeMap::new());
    let full = parts(&spec(&["10.88.0.0/22"], 24), &owned, &four, &facts(&four));
    assert_eq!(full.claims.len(), 3);
    assert_eq!(full.refusals, ["h4: all parts of the pools are taken; append a pool"]);
    let more = parts(&spec(&["10.88.0.0/22", "10.90.0.0/24"], 24), &owned, &four, &facts(&four));
    assert_eq!(more.claims[&"h4".parse::<HostName>().unwrap()].to_string(), "10.90.0.0/24");
}

#[test]
fn a_conflict_before_the_first_claim_stops_all_and_later_only_its_own_host() {
    let spec = spec(&["10.88.0.0/16"], 24);
    let two = hosts(&["h1", "h2"]);
    let mut known = facts(&two);
    let h2: HostName = "h2".parse().unwrap();
    known.get_mut(&h2).unwrap().taken.insert("route by tun0".into(), "10.88.7.0/24".parse().unwrap());
    let none = parts(&spec, &BTreeMap::new(), &two, &known);
    assert!(none.claims.is_empty());
    assert_eq!(none.refusals, ["h2: pool 10.88.0.0/16 overlaps route by tun0 (10.88.7.0/24)"]);

    let owned = [("h9".parse().unwrap(), "10.88.9.0/24".parse().unwrap())].into();
    let some = parts(&spec, &owned, &hosts(&["h1", "h2", "h9"]), &known);
    assert_eq!(some.claims.len(), 1);
    assert_eq!(some.refusals.len(), 1);

    let address = Address { address: "10.88.0.4".parse().unwrap(), prefix: 24 };
    known.insert(h2, Facts { addresses: vec![address], ..Facts::default() });
    let lan = parts(&spec, &BTreeMap::new(), &two, &known);
    assert_eq!(lan.refusals, ["h2: pool 10.88.0.0/16 overlaps its own address 10.88.0.4/24"]);
}

#[test]
fn a_host_without_facts_waits() {
    let spec = spec(&["10.88.0.0/16"], 24);
    let one = hosts(&["h1"]);
    let nothing = parts(&spec, &BTreeMap::new(), &one, &BTreeMap::new());
    assert!(nothing.claims.is_empty() && nothing.refusals.is_empty());
}

proptest! {
    #[test]
    fn no_two_hosts_ever_share_a_part(steps in prop::collection::vec((0u8..12, any::<bool>()), 1..40)) {
        let spec = spec(&["10.88.0.0/21", "10.99.0.0/24"], 24);
        let mut hosts: BTreeSet<HostName> = BTreeSet::new();
        let mut owned: BTreeMap<HostName, Cidr> = BTreeMap::new();
        for (n, comes) in steps {
            let host: HostName = format!("h{n}").parse().unwrap();
            if comes { hosts.insert(host); } else { hosts.remove(&host); }
            let before = owned.clone();
            let decided = parts(&spec, &owned, &hosts, &facts(&hosts));
            owned.retain(|host, _| !decided.releases.contains_key(host));
            for (host, part) in decided.claims {
                prop_assert!(owned.values().all(|p| !p.overlaps(&part)));
                prop_assert!(spec.pools().any(|pool| pool.overlaps(&part)));
                owned.insert(host, part);
            }
            for (host, part) in &before {
                prop_assert!(!hosts.contains(host) || owned[host] == *part, "parts are permanent");
            }
            let again = parts(&spec, &owned, &hosts, &facts(&hosts));
            prop_assert!(again.releases.is_empty());
        }
    }
}
