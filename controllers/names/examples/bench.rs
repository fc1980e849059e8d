//! How fast names are: `cargo run --release -p evenkeel-names --example bench [INSTANCES] [SECONDS]`.
//! Prints what a new zone and one answer cost, and queries a second over this machine's loopback. With 0
//! seconds it serves until it is ended, for other tools to ask.
#![allow(clippy::disallowed_methods, reason = "real speed takes real time")]

use std::collections::BTreeSet;
use std::error::Error;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use evenkeel_names::answer::{Random, Transport, answer};
use evenkeel_names::forward::Forwarder;
use evenkeel_names::handover::Pair;
use evenkeel_names::server::Server;
use evenkeel_plan::dns::{Here, Shard, World, zone};

/// Queries that are under way at a time.
const WINDOW: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).flat_map(|arg| arg.parse::<usize>());
    let instances = args.next().unwrap_or(5000);
    let seconds = args.next().unwrap_or(3);
    let mut world = world(instances)?;
    let here = Here { host: "h1".parse()?, instances: None, health: None, networks: None };
    let none = BTreeSet::new();
    let began = Instant::now();
    let first = zone(&world, &here, &none);
    println!("zone of {instances} instances from nothing: {:.2?}", began.elapsed());
    let shards = world.endpoints.first_entry().ok_or("no instances")?.into_mut();
    for shard in shards.values_mut() {
        shard.body = std::sync::Arc::new((*shard.body).clone());
    }
    let began = Instant::now();
    let zone = first.next(&world, &here, &none);
    println!("after a change of one service: {:.2?}", began.elapsed());
    let began = Instant::now();
    assert!(std::hint::black_box(first == zone));
    println!("comparing the two: {:.2?}", began.elapsed());

    let (query, asker) = (query("s7.shop.internal"), IpAddr::from([10, 88, 1, 9]));
    let (mut random, began, times) = (Random::new(1), Instant::now(), 200_000);
    for _ in 0..times {
        std::hint::black_box(answer(&zone, &query, asker, Transport::Udp, &mut random));
    }
    println!("one answer: {:.2?}", began.elapsed() / times);

    let server = Server::new(zone, Forwarder::new());
    let pair = Pair::bind("127.0.0.1:0".parse()?)?;
    let at = pair.udp.local_addr()?;
    println!("served at {at}");
    std::thread::spawn(move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let _serving = server.serve(pair, 1)?;
            std::future::pending().await
        })
    });
    if seconds == 0 {
        loop {
            std::thread::park();
        }
    }
    load(at, &query, Duration::from_secs(seconds as u64))
}

fn load(at: SocketAddr, query: &[u8], time: Duration) -> Result<(), Box<dyn Error>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(at)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let (began, mut answered, mut lost, mut reply) = (Instant::now(), 0u64, 0, [0; 2048]);
    for _ in 0..WINDOW {
        socket.send(query)?;
    }
    while began.elapsed() < time {
        match socket.recv(&mut reply) {
            Ok(_) => answered += 1,
            Err(_) => lost += 1,
        }
        socket.send(query)?;
    }
    let rate = answered as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} queries a second with {WINDOW} under way, {lost} lost");
    Ok(())
}

/// Services of ten copies each.
fn world(instances: usize) -> Result<World, Box<dyn Error>> {
    let mut world = World::default();
    let lan = r#"{"ipam":{"config":[{"subnet":"10.88.0.0/16"}]}}"#;
    world.networks.insert("lan".parse()?, serde_json::from_str(lan)?);
    for service in 0..instances.div_ceil(10) {
        let copies: Vec<_> = (1..=10)
            .map(|slot| {
                let n = service * 10 + slot;
                serde_json::json!({
                    "id": format!("shop.s{service}.{slot}.1"), "slot": slot.to_string(),
                    "host": format!("h{}", n % 100), "ready": true,
                    "addresses": {"lan": format!("10.88.{}.{}", n / 200, n % 200 + 2)},
                    "ports": [{"name": "http", "port": 8080}],
                })
            })
            .collect();
        let body = serde_json::json!({"networks": ["lan"], "endpoints": copies});
        let shard = Shard { revision: 1, body: std::sync::Arc::new(serde_json::from_value(body)?) };
        world.endpoints.entry(format!("shop/s{service}").parse()?).or_default().insert(0, shard);
    }
    Ok(world)
}

fn query(name: &str) -> Vec<u8> {
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').chain([""]) {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 1, 0, 1]);
    query
}
