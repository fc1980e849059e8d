//! Which name servers a copy asks.

use super::addresses::numbered;
use super::*;

#[test]
fn resolver_files() {
    let case = Case::new();
    let peers = BTreeMap::from([("h2".parse().unwrap(), "10.88.2.1".parse().unwrap())]);
    let (gateway, peer) = ("10.88.1.1".parse().unwrap(), resolv::peer(&case.id, &peers));
    let known = Resolvers { gateway, peer, domain: "internal".into() };
    assert_eq!(
        resolv::text(&case.id, case.template.as_ref().unwrap(), &known),
        "nameserver 10.88.1.1\nnameserver 10.88.2.1\nsearch shop.internal internal\n\
         options ndots:2 timeout:1 attempts:2\n"
    );
    assert_eq!(resolv::peer(&case.id, &BTreeMap::new()), None);
}

#[test]
fn the_file_is_mounted_unless_the_template_brings_its_own() {
    let mounts = |target: &str| {
        let mount = Mount { target: target.into(), source: MountSource::Anonymous, read_only: false };
        let spec = Case::new().template(|template| template.mounts = vec![mount]).created();
        spec.mounts.into_iter().map(|mount| mount.target).collect::<Vec<_>>()
    };
    assert_eq!(mounts("/data"), ["/data", "/etc/resolv.conf"]);
    assert_eq!(mounts("/etc/resolv.conf"), ["/etc/resolv.conf"]);
}

#[test]
fn what_a_template_says_of_names_is_given_to_the_engine_too() {
    assert_eq!(Case::new().created().dns_options, resolv::OPTIONS);
    let own = Case::new().template(|template| {
        template.dns_search = Some(vec!["lan.example".into()]);
        template.dns_opt = vec!["ndots:1".into()];
    });
    let spec = own.created();
    assert_eq!((spec.dns_search, spec.dns_options), (vec!["lan.example".into()], vec!["ndots:1".into()]));
}

#[test]
fn every_peer_serves_its_share_and_one_that_goes_changes_only_its_own() {
    let gateway = |n: u8| (format!("h{n}").parse().unwrap(), Ipv4Addr::new(10, 88, n, 1));
    let all: BTreeMap<HostName, Ipv4Addr> = (1..=4).map(gateway).collect();
    let fewer: BTreeMap<HostName, Ipv4Addr> = (1..=3).map(gateway).collect();
    let mut served: BTreeMap<Ipv4Addr, u32> = BTreeMap::new();
    for n in 0..400 {
        let peer = resolv::peer(&numbered(n), &all).unwrap();
        *served.entry(peer).or_default() += 1;
        let after = resolv::peer(&numbered(n), &fewer).unwrap();
        assert!(after == peer || peer == Ipv4Addr::new(10, 88, 4, 1), "{n}: {peer} {after}");
    }
    assert!(served.len() == 4 && served.values().all(|copies| *copies > 50), "{served:?}");
}
