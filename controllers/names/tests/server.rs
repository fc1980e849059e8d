//! The server over real sockets of this machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::A;
use evenkeel_names::forward::Forwarder;
use evenkeel_names::handover::Pair;
use evenkeel_names::server::{Server, Serving};
use evenkeel_plan::dns::{Here, Shard, World, Zone, zone};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

fn zone_of(copies: usize) -> Zone {
    let mut world = World::default();
    let lan = r#"{"ipam":{"config":[{"subnet":"10.88.0.0/16"}]}}"#;
    world.networks.insert("lan".parse().unwrap(), serde_json::from_str(lan).unwrap());
    let endpoints: Vec<_> = (1..=copies)
        .map(|n| {
            serde_json::json!({
                "id": format!("shop.web.{n}.1"), "slot": n.to_string(), "host": "h1", "ready": true,
                "addresses": {"lan": format!("10.88.1.{n}")}, "ports": [{"name": "http", "port": 8080}],
            })
        })
        .collect();
    let body = serde_json::json!({"networks": ["lan"], "endpoints": endpoints});
    let shard = Shard { revision: 9, body: Arc::new(serde_json::from_value(body).unwrap()) };
    world.endpoints.entry("shop/web".parse().unwrap()).or_default().insert(0, shard);
    let here = Here { host: "h1".parse().unwrap(), instances: None, health: None, networks: None };
    zone(&world, &here, &BTreeSet::new())
}

fn query(name: &str, rtype: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_random_id();
    let mut question = builder.question();
    question.push((name.parse::<Name<Vec<u8>>>().unwrap(), rtype)).unwrap();
    question.finish()
}

fn start(zone: Zone) -> (Server, Serving, Arc<Forwarder>) {
    let forwarder = Forwarder::new();
    let server = Server::new(zone, forwarder.clone());
    let serving = server.serve(Pair::bind("127.0.0.1:0".parse().unwrap()).unwrap(), 1).unwrap();
    (server, serving, forwarder)
}

async fn udp(at: SocketAddr, query: &[u8]) -> Message<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(query, at).await.unwrap();
    let mut buffer = vec![0; 4096];
    let received = tokio::time::timeout(Duration::from_secs(8), socket.recv_from(&mut buffer)).await;
    let (len, from) = received.unwrap().unwrap();
    assert_eq!(from, at);
    buffer.truncate(len);
    let reply = Message::from_octets(buffer).unwrap();
    assert!(reply.is_answer(Message::from_slice(query).unwrap()));
    reply
}

async fn send(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(&(message.len() as u16).to_be_bytes()).await.unwrap();
    stream.write_all(message).await.unwrap();
}

async fn receive(stream: &mut TcpStream) -> Message<Vec<u8>> {
    let mut reply = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut reply).await.unwrap();
    Message::from_octets(reply).unwrap()
}

fn addresses(reply: &Message<Vec<u8>>) -> Vec<String> {
    let mut all: Vec<String> =
        reply.answer().unwrap().limit_to::<A>().map(|record| record.unwrap().data().to_string()).collect();
    all.sort();
    all
}

#[tokio::test]
async fn datagrams_are_answered_and_a_new_zone_counts_at_once() {
    let (server, serving, _) = start(zone_of(1));
    let ask = query("web.shop.internal", Rtype::A);
    assert_eq!(addresses(&udp(serving.udp(), &ask).await), ["10.88.1.1"]);
    server.set_zone(zone_of(2));
    assert_eq!(addresses(&udp(serving.udp(), &ask).await), ["10.88.1.1", "10.88.1.2"]);
}

#[tokio::test]
async fn a_large_answer_comes_by_tcp() {
    let (_server, serving, _) = start(zone_of(30));
    let ask = query("_http._tcp.web.shop.internal", Rtype::SRV);
    let cut = udp(serving.udp(), &ask).await;
    assert!(cut.header().tc() && cut.header_counts().ancount() == 0);
    let mut stream = TcpStream::connect(serving.tcp()).await.unwrap();
    // Several questions on one connection, the second before the first is answered.
    let second = query("web.shop.internal", Rtype::A);
    send(&mut stream, &ask).await;
    send(&mut stream, &second).await;
    assert_eq!(receive(&mut stream).await.header_counts().ancount(), 30);
    assert!(receive(&mut stream).await.is_answer(Message::from_slice(&second).unwrap()));
    // What is no query ends the connection, and only that.
    send(&mut stream, &[0; 5]).await;
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    let mut other = TcpStream::connect(serving.tcp()).await.unwrap();
    send(&mut other, &second).await;
    assert_eq!(receive(&mut other).await.header_counts().ancount(), 30);
}

/// A resolver that has one address for every name, or only refusals.
async fn resolver(rcode: Rcode) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(at).await.unwrap();
    let reply = move |query: &[u8], address: [u8; 4]| {
        let query = Message::from_slice(query).unwrap();
        let mut answer = MessageBuilder::new_vec().start_answer(query, rcode).unwrap();
        if rcode == Rcode::NOERROR {
            let owner = query.sole_question().unwrap();
            answer.push((owner.qname(), 60, A::new(address.into()))).unwrap();
        }
        answer.finish()
    };
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        loop {
            let (len, client) = socket.recv_from(&mut buffer).await.unwrap();
            // A stranger's guess comes first: with another id.
            let mut forged = reply(&buffer[..len], [6, 6, 6, 6]);
            forged[0] ^= 1;
            socket.send_to(&forged, client).await.unwrap();
            socket.send_to(&reply(&buffer[..len], [1, 2, 3, 4]), client).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let query = receive(&mut stream).await;
            send(&mut stream, &reply(query.as_slice(), [1, 2, 3, 5])).await;
        }
    });
    at
}

#[tokio::test]
async fn names_of_others_go_to_the_first_resolver_that_helps() {
    let (_server, serving, forwarder) = start(zone_of(1));
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (refuses, good) = (resolver(Rcode::REFUSED).await, resolver(Rcode::NOERROR).await);
    forwarder.set(&[closed, refuses, good], |_| false);
    let ask = query("example.org", Rtype::A);
    for _ in 0..2 {
        assert_eq!(addresses(&udp(serving.udp(), &ask).await), ["1.2.3.4"]);
    }
    let mut stream = TcpStream::connect(serving.tcp()).await.unwrap();
    send(&mut stream, &ask).await;
    assert_eq!(addresses(&receive(&mut stream).await), ["1.2.3.5"]);
    forwarder.set(&[refuses], |_| false);
    assert_eq!(udp(serving.udp(), &ask).await.header().rcode(), Rcode::REFUSED);
}

#[tokio::test]
async fn nobody_to_ask_is_a_failure_at_once_and_we_never_ask_ourselves() {
    let (_server, serving, forwarder) = start(zone_of(1));
    let ask = query("example.org", Rtype::A);
    assert_eq!(udp(serving.udp(), &ask).await.header().rcode(), Rcode::SERVFAIL);
    let own = serving.udp().ip();
    forwarder.set(&[serving.udp()], |address| address == own);
    assert_eq!(udp(serving.udp(), &ask).await.header().rcode(), Rcode::SERVFAIL);
}

#[tokio::test]
async fn a_silent_resolver_delays_but_does_not_block_others_names() {
    let (_server, serving, forwarder) = start(zone_of(1));
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    forwarder.set(&[silent.local_addr().unwrap()], |_| false);
    let foreign = query("example.org", Rtype::A);
    let waiting = tokio::spawn({
        let at = serving.udp();
        async move { udp(at, &foreign).await }
    });
    let began = tokio::time::Instant::now();
    let own = query("web.shop.internal", Rtype::A);
    assert_eq!(addresses(&udp(serving.udp(), &own).await), ["10.88.1.1"]);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(waiting.await.unwrap().header().rcode(), Rcode::SERVFAIL);
}
