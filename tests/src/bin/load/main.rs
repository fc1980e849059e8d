//! Open-loop load and name watching for the end-to-end cases: run on a machine of the lab, it goes on until
//! its standard input ends, and then prints one line of JSON with what it counted.
//!
//! ```text
//! load http SERVER,… NAME PORT RATE   RATE requests a second, NAME resolved every 0.5 s at SERVER, or the next if it
//!                                     does not answer
//! load names SERVER EVERY NAME…       asks for each NAME every EVERY ms; a line at each change:
//!                                     MILLISECONDS-SINCE-1970 NAME ADDRESS,ADDRESS…|why not
//! load fetch ADDRESS PORT EVERY       asks one address every EVERY ms; a line at each change:
//!                                     MILLISECONDS-SINCE-1970 ok|why not
//! ```
//!
//! Open loop: a request is sent when its time has come, whether or not earlier ones were answered, so that
//! a server that stalls is counted for each request that it kept waiting.

mod dns;
mod http;
mod tally;

use std::net::Ipv4Addr;
use std::process::ExitCode;

use tokio::sync::oneshot;

const USAGE: &str =
    "load http SERVER,… NAME PORT RATE | load names SERVER EVERY NAME… | load fetch ADDRESS PORT EVERY";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let end = end_of_input();
    runtime.block_on(async {
        match words.as_slice() {
            ["http", servers, name, port, rate] => {
                let servers = servers.split(',').map(address).collect::<Result<_, _>>()?;
                http::load(servers, name, number(port)?, number(rate)?, end).await;
            }
            ["names", server, every, names @ ..] if !names.is_empty() => {
                dns::watch(address(server)?, number(every)?, names, end).await;
            }
            ["fetch", target, port, every] => {
                http::fetch(address(target)?, number(port)?, number(every)?, end).await
            }
            _ => return Err(USAGE.to_owned()),
        }
        Ok(())
    })
}

fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| format!("{text:?} is no IPv4 address"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no such number"))
}

/// Comes when standard input ends: the caller wants the result, or is gone.
fn end_of_input() -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = tell.send(());
    });
    told
}
