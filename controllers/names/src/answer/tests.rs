use std::collections::BTreeSet;

use domain::base::iana::OptRcode;
use domain::rdata::AllRecordData;
use evenkeel_plan::dns::{Here, Shard, World, zone};
use proptest::prelude::*;

use super::*;

/// `web.shop` with `copies` copies.
fn zone_of(copies: usize) -> Zone {
    let mut world = World::default();
    let lan = r#"{"ipam":{"config":[{"subnet":"10.88.0.0/16"}]}}"#;
    world.networks.insert("lan".parse().unwrap(), serde_json::from_str(lan).unwrap());
    let endpoints: Vec<_> = (1..=copies)
        .map(|n| {
            serde_json::json!({
                "id": format!("shop.web.{n}.1"), "slot": n.to_string(), "host": "h1", "ready": true,
                "addresses": {"lan": format!("10.88.{}.{}", 1 + n / 256, n % 256)}, "ports": [{"name": "http", "port": 8080}],
            })
        })
        .collect();
    let body = serde_json::json!({"networks": ["lan"], "endpoints": endpoints});
    let shard = Shard { revision: 9, body: std::sync::Arc::new(serde_json::from_value(body).unwrap()) };
    world.endpoints.entry("shop/web".parse().unwrap()).or_default().insert(0, shard);
    let here = Here { host: "h1".parse().unwrap(), instances: None, health: None, networks: None };
    zone(&world, &here, &BTreeSet::new())
}

fn query(name: &str, rtype: Rtype, edns: Option<u16>) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(7);
    builder.header_mut().set_rd(true);
    let mut question = builder.question();
    question.push((name.parse::<Name<Vec<u8>>>().unwrap(), rtype)).unwrap();
    let mut additional = question.additional();
    if let Some(size) = edns {
        additional
            .opt(|opt| {
                opt.set_udp_payload_size(size);
                Ok(())
            })
            .unwrap();
    }
    additional.finish()
}

fn step(zone: &Zone, query: &[u8], transport: Transport) -> Step {
    answer(zone, query, "10.88.1.9".parse().unwrap(), transport, &mut Random::new(1))
}

fn replied(zone: &Zone, query: &[u8], transport: Transport) -> Message<Vec<u8>> {
    match step(zone, query, transport) {
        Step::Reply(bytes) => Message::from_octets(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn udp(zone: &Zone, name: &str, rtype: Rtype, edns: Option<u16>) -> Message<Vec<u8>> {
    replied(zone, &query(name, rtype, edns), Transport::Udp)
}

#[test]
fn a_name_in_any_case_gives_an_authoritative_answer_in_the_case_asked() {
    let reply = udp(&zone_of(2), "wEb.Shop.INTERNAL", Rtype::A, None);
    let header = reply.header();
    assert!(header.qr() && header.aa() && header.ra() && header.rd() && !header.tc());
    assert_eq!((header.id(), header.rcode(), reply.header_counts().ancount()), (7, Rcode::NOERROR, 2));
    for record in reply.answer().unwrap() {
        let record = record.unwrap();
        assert_eq!(record.owner().to_string(), "wEb.Shop.INTERNAL");
        assert_eq!(record.ttl(), Ttl::from_secs(5));
    }
}

#[test]
fn no_such_name_and_no_such_record_differ_and_are_cached_for_a_second() {
    for (name, rtype, rcode) in [
        ("cart.shop.internal", Rtype::A, Rcode::NXDOMAIN),
        ("cart.shop.internal", Rtype::AAAA, Rcode::NXDOMAIN),
        ("web.shop.internal", Rtype::AAAA, Rcode::NOERROR),
        ("web.shop.internal", Rtype::MX, Rcode::NOERROR),
        ("shop.internal", Rtype::A, Rcode::NOERROR),
        ("99.1.88.10.in-addr.arpa", Rtype::PTR, Rcode::NXDOMAIN),
    ] {
        let reply = udp(&zone_of(1), name, rtype, Some(4096));
        assert_eq!(reply.header().rcode(), rcode, "{name} {rtype}");
        assert_eq!(reply.header_counts().ancount(), 0);
        let records: Vec<_> = reply.authority().unwrap().limit_to::<Soa<_>>().map(Result::unwrap).collect();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].data().minimum(), Ttl::from_secs(1));
        assert_eq!(records[0].ttl(), Ttl::from_secs(1));
        assert_eq!(records[0].data().serial(), Serial(9));
        assert!(reply.opt().is_some());
    }
}

#[test]
fn names_of_others_are_forwarded_and_ours_never() {
    let zone = zone_of(1);
    for (name, forward) in [
        ("example.org", true),
        ("internal.example.org", true),
        ("1.0.0.127.in-addr.arpa", true),
        ("a.b.c.d.internal", false),
        ("1.2.3.4.5.6.88.10.in-addr.arpa", false),
        ("7.88.10.in-addr.arpa", false),
    ] {
        let step = step(&zone, &query(name, Rtype::A, None), Transport::Udp);
        assert_eq!(step == Step::Forward, forward, "{name}: {step:?}");
    }
}

#[test]
fn answers_are_cut_to_what_the_client_takes() {
    let zone = zone_of(100);
    // Thirty of a hundred; without EDNS as many as fit, as a part is as good as all.
    for (edns, transport, addresses) in
        [(Some(1232), Transport::Udp, 30), (None, Transport::Udp, 29), (None, Transport::Tcp, 30)]
    {
        let reply = replied(&zone, &query("web.shop.internal", Rtype::A, edns), transport);
        assert_eq!((reply.header_counts().ancount(), reply.header().tc()), (addresses, false));
    }
    let srv = "_http._tcp.web.shop.internal";
    let cut = udp(&zone, srv, Rtype::SRV, Some(4096));
    assert!(cut.header().tc() && cut.header_counts().ancount() == 0 && cut.opt().is_some());
    assert!(cut.as_slice().len() <= 1232);
    let whole = replied(&zone, &query(srv, Rtype::SRV, None), Transport::Tcp);
    assert!(!whole.header().tc());
    assert_eq!((whole.header_counts().ancount(), whole.header_counts().arcount()), (100, 100));
    // More than any answer holds.
    let most = replied(&zone_of(3000), &query(srv, Rtype::SRV, None), Transport::Tcp);
    assert!(!most.header().tc() && most.header_counts().ancount() > 1000);
    assert!(most.as_slice().len() <= usize::from(u16::MAX));
    // What is left out first is what the client can ask for.
    let some = udp(&zone_of(20), srv, Rtype::SRV, Some(1232));
    assert_eq!((some.header().tc(), some.header_counts().ancount()), (false, 20));
    assert_eq!(some.header_counts().arcount(), 1, "only the OPT record");
    let few = udp(&zone_of(2), srv, Rtype::SRV, None);
    assert_eq!((few.header_counts().ancount(), few.header_counts().arcount()), (2, 2));
}

#[test]
fn srv_names_the_copies() {
    let reply = udp(&zone_of(1), "_http._tcp.web.shop.internal", Rtype::SRV, None);
    let record = reply.answer().unwrap().limit_to::<Srv<_>>().next().unwrap().unwrap();
    assert_eq!(
        (record.data().port(), record.data().target().to_string()),
        (8080, "1.web.shop.internal".into())
    );
    let extra = reply.additional().unwrap().limit_to::<A>().next().unwrap().unwrap();
    assert_eq!(
        (extra.owner().to_string(), extra.data().to_string()),
        ("1.web.shop.internal".into(), "10.88.1.1".into())
    );
    let reply = udp(&zone_of(1), "1.1.88.10.in-addr.arpa", Rtype::PTR, None);
    let record = reply.answer().unwrap().limit_to::<Ptr<_>>().next().unwrap().unwrap();
    assert_eq!(record.data().to_string(), "1.web.shop.internal.");
}

#[test]
fn why_a_name_leads_there_is_told_in_texts_all_or_by_tcp() {
    let texts = |message: &Message<Vec<u8>>| -> Vec<String> {
        let answer = message.answer().unwrap().limit_to::<Txt<_>>();
        answer.map(|record| String::from_utf8(record.unwrap().data().text()).unwrap()).collect()
    };
    let few = udp(&zone_of(2), "why.web.shop.internal", Rtype::TXT, None);
    assert_eq!(texts(&few), ["1.web.shop on h1: answers", "2.web.shop on h1: answers"]);
    let zone = zone_of(100);
    let many = udp(&zone, "why.web.shop.internal", Rtype::TXT, Some(4096));
    assert!(many.header().tc() && texts(&many).is_empty());
    let query = query("why.web.shop.internal", Rtype::TXT, None);
    assert_eq!(texts(&replied(&zone, &query, Transport::Tcp)).len(), 100);
}

#[test]
fn the_order_is_random() {
    let (zone, query) = (zone_of(4), query("web.shop.internal", Rtype::A, None));
    let mut random = Random::new(1);
    let mut first = BTreeSet::new();
    for _ in 0..100 {
        let asker = "10.88.1.9".parse().unwrap();
        let Step::Reply(reply) = answer(&zone, &query, asker, Transport::Udp, &mut random) else { panic!() };
        let reply = Message::from_octets(reply).unwrap();
        first.insert(reply.answer().unwrap().limit_to::<A>().next().unwrap().unwrap().data().addr());
    }
    assert_eq!(first.len(), 4);
}

#[test]
fn what_is_no_plain_query_gets_an_error_that_says_so() {
    let zone = zone_of(1);
    let good = query("web.shop.internal", Rtype::A, Some(1232));
    let rcode = |bytes: &[u8]| replied(&zone, bytes, Transport::Udp).header().rcode();
    let mut update = good.clone();
    update[2] = 5 << 3;
    assert_eq!(rcode(&update), Rcode::NOTIMP);
    let mut two = good.clone();
    two[5] = 2;
    assert_eq!(rcode(&two), Rcode::FORMERR);
    assert_eq!(rcode(&good[..20]), Rcode::FORMERR);
    assert_eq!(rcode(&good[..good.len() - 3]), Rcode::FORMERR);
    let mut chaos = query("web.shop.internal", Rtype::A, None);
    let last = chaos.len() - 1;
    chaos[last] = 3;
    assert_eq!(rcode(&chaos), Rcode::REFUSED);
    let mut version = good.clone();
    let at = version.len() - 5;
    version[at] = 1;
    assert_eq!(replied(&zone, &version, Transport::Udp).opt_rcode(), OptRcode::BADVERS);
    let mut reply = good.clone();
    reply[2] |= 0x80;
    assert_eq!(step(&zone, &reply, Transport::Udp), Step::Drop);
    assert_eq!(step(&zone, &good[..11], Transport::Udp), Step::Drop);
}

#[test]
fn a_zone_that_was_never_learnt_fails_so_that_the_client_asks_a_peer() {
    let lan = r#"{"networks":{"lan":{"pool":"10.88.0.0/16","subnet":"10.88.1.0/24",
        "engine_name":"ek-lan","domain":"internal"}}}"#;
    let networks = Some(serde_json::from_str(lan).unwrap());
    let here = Here { host: "h1".parse().unwrap(), instances: None, health: None, networks };
    let reply = udp(&Zone::unknown(&here), "web.shop.internal", Rtype::A, None);
    assert_eq!(reply.header().rcode(), Rcode::SERVFAIL);
}

/// Every record of a message, so that a broken one shows.
fn readable(message: &[u8]) {
    let message = Message::from_slice(message).unwrap();
    for record in message.iter() {
        let (record, _) = record.unwrap();
        record.to_record::<AllRecordData<_, _>>().unwrap();
    }
}

proptest! {
    #[test]
    fn any_bytes_get_a_readable_answer_or_none(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Step::Reply(reply) = step(&zone_of(3), &bytes, Transport::Udp) {
            readable(&reply);
        }
    }

    #[test]
    fn a_damaged_query_too(
        name in prop::sample::select(vec!["web.shop.internal", "_http._tcp.web.shop.internal", "x.1.88.10.in-addr.arpa"]),
        damage in prop::collection::vec((0usize..60, any::<u8>()), 0..4),
        size in any::<u16>(),
    ) {
        let mut bytes = query(name, Rtype::SRV, Some(size));
        for (at, byte) in damage {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        if let Step::Reply(reply) = step(&zone_of(40), &bytes, Transport::Udp) {
            readable(&reply);
            prop_assert!(reply.len() <= 1232);
        }
    }
}
