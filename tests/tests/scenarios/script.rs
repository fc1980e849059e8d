//! The language of scenarios, a line a step:
//!
//! ```text
//! hosts h1 h2 h3                      each with 4 CPUs, 8G, an address in 10.0.0.0/24, network `default` ready
//! host h4 cpus=2 memory=1G rack=b     one host; other words are labels of its document
//! host h4 gone|back|active|pause|drain|removed
//! put shop/web                        followed by the spec, indented by four spaces
//! text shop/web                       followed by a whole document, good or bad, indented by four spaces
//! delete shop/web shop/db
//! check shop/web-http shop/web        an http check on a service; with `restarts` behind it, of that effect
//! copy shop.web.1 running|waiting|fails: why|exits 3
//! health shop.web.1 web-http healthy|unhealthy: what was seen
//! bad image web:2: why                copies of it fail when hosts are at work
//! good images
//! resume shop/web                     the paused rollout of its newest template
//! retry shop/web                      its newest template, which was rejected
//! pin shop/web 105                    to an older template
//! pause shop/web
//! unpin shop/web
//! confirm                             a mass deletion was meant
//! dead h2 h3                          a person declares hosts dead
//! new leader
//! work                                hosts do as they are told, until nothing changes
//! tick 5s                             time passes, hosts do nothing
//! run 5s                              time passes, hosts do as they are told at once
//! ```
//!
//! `#` begins a comment. After each step stands what was planned, with the time at which it was.

use std::time::Duration;

use evenkeel_api::quantity::Span;
use evenkeel_api::record::Pin;

use super::cluster::Cluster;

/// Play a scenario: the same text, with the plan as it is made now.
pub fn play(text: &str) -> Result<String, String> {
    let mut cluster = Cluster::new();
    let mut played = String::new();
    let mut lines = text.lines().filter(|line| !line.starts_with('>')).peekable();
    while let Some(line) = lines.next() {
        played.push_str(line);
        played.push('\n');
        let step = line.split('#').next().unwrap_or_default().trim();
        let mut block = String::new();
        while let Some(more) = lines.next_if(|next| next.starts_with("    ")) {
            played.push_str(more);
            played.push('\n');
            block.push_str(&more[4..]);
            block.push('\n');
        }
        if step.is_empty() {
            continue;
        }
        take(&mut cluster, step, &block).map_err(|error| format!("`{step}`: {error}"))?;
        for said in cluster.said.drain(..) {
            played.push_str(&format!("> {said}\n"));
        }
    }
    Ok(played)
}

fn take(cluster: &mut Cluster, step: &str, block: &str) -> Result<(), String> {
    let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    match (verb, words.as_slice()) {
        ("hosts", names) => names.iter().try_for_each(|name| cluster.host(name, &[]))?,
        ("host", [name, change @ ("gone" | "back" | "active" | "pause" | "drain" | "removed")]) => {
            cluster.change_host(name, change)?;
        }
        ("host", [name, what @ ..]) => cluster.host(name, what)?,
        ("put", [service]) => cluster.put(service, block)?,
        ("text", [service]) => cluster.text(service, block)?,
        ("delete", services) => cluster.delete(services)?,
        ("check", [name, service]) => cluster.check(name, service, false)?,
        ("check", [name, service, "restarts"]) => cluster.check(name, service, true)?,
        ("copy", [copy, ..]) => cluster.copy(copy, after(rest, 1))?,
        ("health", [copy, check, ..]) => cluster.health(copy, check, after(rest, 2))?,
        ("bad", ["image", ..]) => {
            let (image, why) = after(rest, 1).split_once(": ").ok_or("bad image <image>: <why>")?;
            cluster.bad.insert(image.to_owned(), why.to_owned());
        }
        ("good", ["images"]) => cluster.bad.clear(),
        ("resume", [service]) => {
            cluster.say(service, |rollout, _| Pin { resume: rollout.target, ..Pin::default() })?;
        }
        ("retry", [service]) => cluster.say(service, |_, of| Pin { retry: of, ..Pin::default() })?,
        ("pin", [service, number]) => {
            let template = Some(number.parse().map_err(|error| format!("{error}"))?);
            cluster.say(service, |_, of| Pin { template, of, ..Pin::default() })?;
        }
        ("pause", [service]) => cluster.say(service, |_, _| Pin { pause: true, ..Pin::default() })?,
        ("unpin", [service]) => cluster.unpin(service)?,
        ("confirm", []) => cluster.confirm(),
        ("dead", hosts) => cluster.dead(hosts)?,
        ("new", ["leader"]) => cluster.new_leader(),
        ("work", []) => return cluster.run(Duration::ZERO, true),
        ("tick" | "run", [time]) => {
            let time: Span = time.parse().map_err(|error| format!("{error}"))?;
            return cluster.run(time.0, verb == "run");
        }
        _ => return Err("no such step".to_owned()),
    }
    cluster.settle().map(drop)
}

/// What follows after `n` words.
fn after(text: &str, n: usize) -> &str {
    (0..n).fold(text.trim(), |rest, _| rest.split_once(' ').map_or("", |(_, rest)| rest.trim()))
}
