//! A DNS client of a few lines: A records over UDP, with no cache and no second try, so that every silence
//! of a server shows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::tally::{Tally, now, say};

/// Less than resolvers wait (5 s), and long enough that a busy machine is no lost question.
const PATIENCE: Duration = Duration::from_secs(3);

/// The addresses of `name`, as `server` knows them.
pub async fn resolve(server: Ipv4Addr, name: &str) -> Result<BTreeSet<Ipv4Addr>, String> {
    static ID: AtomicU16 = AtomicU16::new(1);
    let id = ID.fetch_add(1, Ordering::Relaxed);
    let ask = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect((server, 53)).await?;
        socket.send(&query(id, name)).await?;
        let mut answer = [0; 1500];
        loop {
            let length = socket.recv(&mut answer).await?;
            if answer[..length].starts_with(&id.to_be_bytes()) {
                return Ok::<Vec<u8>, std::io::Error>(answer[..length].to_vec());
            }
        }
    };
    match timeout(PATIENCE, ask).await {
        Err(_) => Err("no answer".to_owned()),
        Ok(Err(error)) => Err(error.kind().to_string()),
        Ok(Ok(answer)) => addresses(&answer),
    }
}

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    // Recursion desired, one question.
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

fn addresses(answer: &[u8]) -> Result<BTreeSet<Ipv4Addr>, String> {
    match answer.get(3).map(|flags| flags & 15) {
        Some(0) => {}
        Some(3) => return Err("NXDOMAIN".to_owned()),
        Some(code) => return Err(format!("rcode {code}")),
        None => return Err("a short answer".to_owned()),
    }
    read(answer)
        .ok_or_else(|| "an answer that cannot be read".to_owned())
        .and_then(|found| if found.is_empty() { Err("no address".to_owned()) } else { Ok(found) })
}

fn read(answer: &[u8]) -> Option<BTreeSet<Ipv4Addr>> {
    let pair = |at: usize| Some(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    let mut at = after_name(answer, 12)? + 4;
    let mut found = BTreeSet::new();
    for _ in 0..pair(6)? {
        at = after_name(answer, at)?;
        let length = usize::from(pair(at + 8)?);
        if pair(at)? == 1 && length == 4 {
            let bytes: [u8; 4] = answer.get(at + 10..at + 14)?.try_into().ok()?;
            found.insert(Ipv4Addr::from(bytes));
        }
        at += 10 + length;
    }
    Some(found)
}

fn after_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// Asks for all names again and again, says each change, and counts what was not answered.
pub async fn watch(server: Ipv4Addr, every: u64, names: &[&str], mut end: oneshot::Receiver<()>) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut tick = tokio::time::interval(Duration::from_millis(every.max(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tally = Tally::default();
    let mut shown: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut turn = 0_u64;
    loop {
        tokio::select! {
            biased;
            _ = &mut end => break,
            Some((turn, name, taken, answer)) = told.recv() => take(&mut tally, &mut shown, turn, name, taken, answer),
            _ = tick.tick() => {
                turn += 1;
                for name in names {
                    let (name, tell) = ((*name).to_owned(), tell.clone());
                    tokio::spawn(async move {
                        let begun = Instant::now();
                        let answer = resolve(server, &name).await;
                        let _ = tell.send((turn, name, begun.elapsed(), answer));
                    });
                }
            }
        }
    }
    drop(tell);
    while let Some((turn, name, taken, answer)) = told.recv().await {
        take(&mut tally, &mut shown, turn, name, taken, answer);
    }
    tally.print();
}

fn take(
    tally: &mut Tally,
    shown: &mut BTreeMap<String, (u64, String)>,
    turn: u64,
    name: String,
    taken: Duration,
    answer: Result<BTreeSet<Ipv4Addr>, String>,
) {
    let text = match &answer {
        Ok(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        Err(why) => why.clone(),
    };
    tally.count(taken, answer.map(|_| ()), &name);
    // An answer that was overtaken by a later one says nothing new.
    let last = shown.entry(name.clone()).or_default();
    if turn > last.0 && text != last.1 {
        say(&format!("{} {name} {text}", now()));
        *last = (turn, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let mut answer = query(7, "a.b");
        answer[2..8].copy_from_slice(&[0x84, 0, 0, 1, 0, 2]);
        for last in [1, 2] {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 88, 1, last]);
        }
        let found = addresses(&answer).unwrap();
        assert_eq!(found.into_iter().map(|a| a.to_string()).collect::<Vec<_>>(), ["10.88.1.1", "10.88.1.2"]);
        answer[3] = 3;
        assert_eq!(addresses(&answer).unwrap_err(), "NXDOMAIN");
    }
}
