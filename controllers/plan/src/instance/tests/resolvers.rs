//! Which name servers a copy asks.

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
