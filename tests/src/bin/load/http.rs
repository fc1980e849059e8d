//! HTTP requests, each on a connection of its own, at a steady rate.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::dns::resolve;
use crate::tally::{Tally, now, say};

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a client keeps what a name meant.
const RESOLVE_EVERY: Duration = Duration::from_millis(500);

#[derive(Default)]
struct State {
    addresses: Vec<Ipv4Addr>,
    next: usize,
    tally: Tally,
}

/// Sends `rate` requests a second to the addresses of `name`, one after the other.
pub async fn load(servers: Vec<Ipv4Addr>, name: &str, port: u16, rate: u32, mut end: oneshot::Receiver<()>) {
    let state = Rc::new(RefCell::new(State::default()));
    let tasks = LocalSet::new();
    let name = name.to_owned();
    tasks
        .run_until(async {
            look_up(&state, &servers, &name).await;
            let resolver = tokio::task::spawn_local(keep_looking_up(state.clone(), servers, name));
            let mut tick = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                tokio::select! {
                    biased;
                    _ = &mut end => break,
                    _ = tick.tick() => { tokio::task::spawn_local(one(state.clone(), port)); }
                }
            }
            resolver.abort();
        })
        .await;
    // Those that are under way.
    tasks.await;
    std::mem::take(&mut state.borrow_mut().tally).print();
}

async fn keep_looking_up(state: Rc<RefCell<State>>, servers: Vec<Ipv4Addr>, name: String) {
    loop {
        tokio::time::sleep(RESOLVE_EVERY).await;
        look_up(&state, &servers, &name).await;
    }
}

async fn look_up(state: &RefCell<State>, servers: &[Ipv4Addr], name: &str) {
    let begun = Instant::now();
    match resolve_at(servers, name).await {
        Ok(found) => state.borrow_mut().addresses = found.into_iter().collect(),
        Err(why) => {
            let mut state = state.borrow_mut();
            // A client that cannot resolve cannot ask: that is a failure as any other.
            state.addresses.clear();
            state.tally.count(begun.elapsed(), Err(format!("name: {why}")), name);
        }
    }
}

/// As a resolver with that list: the next one where one does not answer.
async fn resolve_at(servers: &[Ipv4Addr], name: &str) -> Result<BTreeSet<Ipv4Addr>, String> {
    let mut found = Err("no server to ask".to_owned());
    for server in servers {
        found = resolve(*server, name).await;
        if found.is_ok() {
            break;
        }
    }
    found
}

async fn one(state: Rc<RefCell<State>>, port: u16) {
    let target = {
        let mut state = state.borrow_mut();
        state.next = state.next.wrapping_add(1);
        let next = state.next;
        (!state.addresses.is_empty()).then(|| state.addresses[next % state.addresses.len()])
    };
    let Some(target) = target else {
        state.borrow_mut().tally.count(Duration::ZERO, Err("no address to ask".to_owned()), "");
        return;
    };
    let begun = Instant::now();
    let answer = request(target, port).await;
    state.borrow_mut().tally.count(begun.elapsed(), answer, &target.to_string());
}

async fn request(target: Ipv4Addr, port: u16) -> Result<(), String> {
    let ask = async {
        let mut stream =
            TcpStream::connect((target, port)).await.map_err(|error| format!("connect: {}", error.kind()))?;
        let text = format!("GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.map_err(|error| format!("send: {}", error.kind()))?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(|error| format!("receive: {}", error.kind()))?;
        let first = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        if first.contains(" 200 ") { Ok(()) } else { Err(format!("answer: {first:?}")) }
    };
    timeout(PATIENCE, ask).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// Asks one address again and again, and says each change.
pub async fn fetch(target: Ipv4Addr, port: u16, every: u64, mut end: oneshot::Receiver<()>) {
    let mut tally = Tally::default();
    let mut shown = String::new();
    loop {
        let begun = Instant::now();
        let answer = request(target, port).await;
        let text = answer.clone().err().unwrap_or_else(|| "ok".to_owned());
        tally.count(begun.elapsed(), answer, "");
        if text != shown {
            say(&format!("{} {text}", now()));
            shown = text;
        }
        tokio::select! {
            biased;
            _ = &mut end => break,
            () = tokio::time::sleep(Duration::from_millis(every)) => {}
        }
    }
    tally.print();
}
