//! Running the load generator (`src/bin/load`) on machines of the lab and in containers.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{Background, Lab};

/// What the generator counted.
#[derive(Debug, Clone, Deserialize)]
pub struct Summary {
    /// Questions.
    pub asked: u64,
    /// Those without a good answer in time.
    pub failed: u64,
    /// By what was wrong.
    pub failures: BTreeMap<String, u64>,
    /// The first few.
    pub first_failures: Vec<String>,
    /// Half of the answers came within.
    pub median_ms: f64,
    /// 99 of 100 answers came within.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} failed of {}, median {} ms, 99 % {} ms, slowest {} ms",
            self.failed, self.asked, self.median_ms, self.p99_ms, self.max_ms
        )?;
        if self.failed > 0 {
            write!(f, "; {:?}, the first: {:#?}", self.failures, self.first_failures)?;
        }
        Ok(())
    }
}

/// What was said at a time.
#[derive(Debug, Clone)]
pub struct Change {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Which name.
    pub name: String,
    /// Its addresses; empty where it was not answered.
    pub addresses: Vec<String>,
}

/// A generator that runs.
#[derive(Debug)]
pub struct Load(Background);

impl Load {
    /// On a machine of the lab; `program` is the built `load`.
    pub fn on(lab: &Lab, program: &Path, machine: &str, words: &[&str]) -> Self {
        let program = program.display().to_string();
        Self(lab.start(&[&["exec", machine, program.as_str()], words].concat()))
    }

    /// In the network of a container.
    pub fn beside(lab: &Lab, program: &Path, host: &str, container: &str, words: &[&str]) -> Self {
        let pid =
            lab.engine(host).container(container).unwrap_or_else(|error| panic!("{container}: {error}")).raw
                ["State"]["Pid"]
                .to_string();
        let program = program.display().to_string();
        Self(lab.start(&[&["exec", host, "nsenter", "-t", &pid, "-n", program.as_str()], words].concat()))
    }

    /// The changes that were said so far.
    pub fn changes(&self) -> Vec<Change> {
        changes(&self.0.so_far())
    }

    /// Ends it.
    pub fn finish(self) -> (Vec<Change>, Summary) {
        let text = self.0.finish();
        let last = text.lines().last().unwrap_or_default();
        let summary =
            serde_json::from_str(last).unwrap_or_else(|error| panic!("load said {last:?}: {error}"));
        (changes(&text), summary)
    }
}

fn changes(text: &str) -> Vec<Change> {
    let line = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let at = parts.next()?.parse().ok()?;
        let name = parts.next()?.to_owned();
        let addresses = parts.next().unwrap_or_default().split(',').map(str::to_owned);
        let addresses = addresses.filter(|address| address.parse::<std::net::Ipv4Addr>().is_ok()).collect();
        Some(Change { at, name, addresses })
    };
    text.lines().filter_map(line).collect()
}
