//! Somebody on the LAN who asks one proxy on one host at a steady pace: every second on a new connection, whose
//! certificate is verified anew.

use std::collections::BTreeMap;

use evenkeel_tests::lab::engine::Container;
use evenkeel_tests::lab::{Background, Lab};

/// Requests a second, of each client.
const RATE: u32 = 15;

pub struct Client {
    pub name: String,
    asks: Background,
}

/// What a client was answered, by the lab's web server.
pub struct Seen {
    pub name: String,
    asked: usize,
    pub failed: Vec<String>,
    /// By the copy that answered: its container's host name.
    by: BTreeMap<String, usize>,
    /// By the version that answered.
    pub versions: BTreeMap<String, usize>,
}

impl Client {
    /// One that asks for `url`, which ends in a slash, by that beginning of a command of curl.
    pub fn new(lab: &Lab, name: String, curl: &str, url: &str) -> Self {
        // After each body a line of its own: the status, the time, and what curl has against it.
        let format = r"= %{http_code} %{time_total} %{errormsg}\n";
        let script = format!(
            "until read -r -t 0; do {curl} --no-buffer --rate {RATE}/s -w '{format}' '{url}?[1-{RATE}]' </dev/null; done"
        );
        let asks = lab.start(&["exec", "lan", "bash", "-c", &script]);
        Self { name, asks }
    }

    /// So far.
    pub fn seen(&self) -> Seen {
        Seen::read(&self.name, &self.asks.so_far())
    }

    pub fn finish(self) -> Seen {
        Seen::read(&self.name, &self.asks.finish())
    }
}

impl Seen {
    fn read(name: &str, text: &str) -> Self {
        let mut seen = Self {
            name: name.to_owned(),
            asked: 0,
            failed: Vec::new(),
            by: BTreeMap::new(),
            versions: BTreeMap::new(),
        };
        let mut body = "";
        for line in text.lines() {
            let Some(result) = line.strip_prefix("= ") else {
                body = line;
                continue;
            };
            seen.asked += 1;
            let words: Vec<&str> = body.split_whitespace().collect();
            match words.as_slice() {
                [version, copy, ..] if result.starts_with("200 ") => {
                    *seen.by.entry((*copy).to_owned()).or_default() += 1;
                    *seen.versions.entry((*version).to_owned()).or_default() += 1;
                }
                _ => seen.failed.push(format!("request {}: {result}: {body}", seen.asked)),
            }
            body = "";
        }
        seen
    }

    /// How often that copy answered.
    pub fn of(&self, copy: &Container) -> usize {
        let name = copy.raw["Config"]["Hostname"].as_str().unwrap_or_default();
        self.by.get(name).copied().unwrap_or(0)
    }

    /// Fails where a request did, or where it asked no more than so often.
    pub fn is_without_failures(&self, least: usize) {
        let what = format!("{}: {} requests, {} copies answered", self.name, self.asked, self.by.len());
        println!("-> {what}, {} failed", self.failed.len());
        assert!(self.failed.is_empty(), "requests failed: {what}: {:#?}", self.failed);
        assert!(self.asked > least, "the load was not sent: {what}");
    }
}
