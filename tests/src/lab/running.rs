//! Which copies of a service run at any instant, on whichever host: seen by the kernel's own lists of
//! processes, from outside of all hosts. No engine is asked, as engines hang, and hosts are cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::Lab;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(10);

/// A copy that runs: host and instance.
pub type Running = (String, String);

/// Looks until it is dropped or finished.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    on: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    /// What ran, each time when that changed.
    changes: Vec<(Instant, BTreeSet<Running>)>,
    looks: u64,
    /// The longest time between two looks.
    blind: Duration,
}

impl Watch {
    /// The copies whose instance begins with `prefix`, like `shop.db.1.`.
    pub fn start(lab: &Lab, prefix: &str) -> Self {
        let hosts: Vec<Host> = lab.hosts().iter().map(|host| Host::new(lab, host)).collect();
        let (seen, on) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(true)));
        let (told, prefix, go) = (seen.clone(), prefix.to_owned(), on.clone());
        let thread = std::thread::spawn(move || {
            let mut hosts = hosts;
            let mut last = Instant::now();
            while go.load(Ordering::SeqCst) {
                let now: BTreeSet<Running> =
                    hosts.iter_mut().flat_map(|host| host.running(&prefix)).collect();
                let mut seen = told.lock().unwrap_or_else(PoisonError::into_inner);
                seen.looks += 1;
                seen.blind = seen.blind.max(last.elapsed());
                last = Instant::now();
                if seen.changes.last().is_none_or(|(_, known)| *known != now) {
                    seen.changes.push((last, now));
                }
                drop(seen);
                std::thread::sleep(EVERY);
            }
        });
        Self { seen, on, thread: Some(thread) }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What runs now.
    pub fn now(&self) -> BTreeSet<Running> {
        self.seen().changes.last().map(|(_, now)| now.clone()).unwrap_or_default()
    }

    /// How often it looked, and the longest time between two looks.
    pub fn looks(&self) -> (u64, Duration) {
        let seen = self.seen();
        (seen.looks, seen.blind)
    }

    /// All instants at which more than one ran, since `then`.
    pub fn doubles(&self, then: Instant) -> Vec<BTreeSet<Running>> {
        let seen = self.seen();
        let some = seen.changes.iter().filter(|(at, running)| *at >= then && running.len() > 1);
        some.map(|(_, running)| running.clone()).collect()
    }

    /// The longest time without any, between two times with one, since `then`.
    pub fn longest_gap(&self, then: Instant) -> Duration {
        let seen = self.seen();
        let mut longest = Duration::ZERO;
        let mut empty: Option<Instant> = None;
        for (at, running) in seen.changes.iter().filter(|(at, _)| *at >= then) {
            match (running.is_empty(), empty) {
                (true, None) => empty = Some(*at),
                (false, Some(since)) => {
                    longest = longest.max(*at - since);
                    empty = None;
                }
                _ => {}
            }
        }
        longest
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.on.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It only reads.
            let _ = thread.join();
        }
    }
}

struct Host {
    name: String,
    cgroups: PathBuf,
    /// Tells the process whose root is the machine's, while it has power.
    holder: PathBuf,
    names: BTreeMap<String, String>,
}

impl Host {
    fn new(lab: &Lab, name: &str) -> Self {
        let below = format!("evenkeel-lab/{}/{name}", lab.name());
        let holder = lab.file(&format!("{name}/holder"));
        Self { name: name.to_owned(), cgroups: lab.cgroups().join(below), holder, names: BTreeMap::new() }
    }

    fn running(&mut self, prefix: &str) -> Vec<Running> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.cgroups).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            let procs = std::fs::read_to_string(entry.path().join("cgroup.procs")).unwrap_or_default();
            if procs.trim().is_empty() {
                continue;
            }
            if let Some(name) = self.name_of(&id).filter(|name| name.starts_with(prefix)) {
                found.push((self.name.clone(), name));
            }
        }
        found
    }

    fn name_of(&mut self, id: &str) -> Option<String> {
        if let Some(known) = self.names.get(id) {
            return Some(known.clone());
        }
        let holder = std::fs::read_to_string(&self.holder).ok()?;
        let file = format!("/proc/{}/root/var/lib/docker/containers/{id}/config.v2.json", holder.trim());
        let text = std::fs::read_to_string(file).ok()?;
        let config: Value = serde_json::from_str(&text).ok()?;
        let name = config["Name"].as_str()?.trim_start_matches('/').to_owned();
        self.names.insert(id.to_owned(), name.clone());
        Some(name)
    }
}
