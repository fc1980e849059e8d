//! From whatever a case left to a cluster without documents: so that each case starts from the same place.

use std::collections::BTreeMap;

use super::cluster::PREFIX;
use super::{Lab, eventually};

/// The pools that cases use; nothing on a host may name them when no Network is there.
pub const POOLS: [&str; 3] = ["10.88.", "10.89.", "10.90."];

/// Prefixes of keys that a cluster without documents has.
const LASTING: [&str; 8] =
    ["hosts/", "accepted/hosts/", "status/hosts/", "alive/", "facts/", "events/", "writers/", "leaders/"];

/// What is not documents of Networks, Services and HealthChecks, and yet a case may have put.
const WORDS: [&str; 3] = ["brake", "confirmed", "pins/"];

/// What a case may give to hosts as their administrator: policies beside their own, and the edge's certificates.
const GIVEN: [&str; 2] = ["/etc/evenkeel/policy.d", "/etc/evenkeel-edge"];

/// Names of containers, networks and volumes that cases make by Docker's own means begin so.
pub const FOREIGN: &str = "e2e-";

impl Lab {
    /// Whether a key may be there when no Network, Service or HealthCheck is.
    pub fn is_lasting(key: &str) -> bool {
        key == "cluster" || LASTING.iter().any(|prefix| key.starts_with(prefix))
    }

    /// Brings the cluster back: every machine on, every controller running, no document but those of hosts,
    /// and nothing left of any.
    pub fn clean(&self) {
        self.revive();
        self.restore_hosts();
        self.delete_documents();
        self.remove_foreign();
        eventually(90, "a clean cluster", || match self.leftovers().as_slice() {
            [] => Ok(()),
            left => Err(left.join("; ")),
        });
        self.forget_words();
        self.remove_volumes();
        self.take_from_hosts();
    }

    /// Takes away what a case has given to hosts.
    pub fn take_from_hosts(&self) {
        for host in self.hosts() {
            self.exec(&host, &[&["rm", "-rf"], &GIVEN[..]].concat()).ok();
        }
    }

    /// Machines, engines, etcd and controllers: all on.
    fn revive(&self) {
        self.undo_faults();
        let alive = eventually(30, "etcd", || self.try_store()).records::<serde_json::Value>("alive/");
        for host in self.hosts() {
            if !self.exec(&host, &["true"]).succeeded() {
                self.run(&["poweron", &host]);
            }
            if !alive.contains_key(&host) {
                self.call(&["engine", &host, "resume"]);
                self.run(&["engine", &host, "start"]);
                self.run(&["controllers", &host, "start"]);
            }
        }
        eventually(60, "all hosts alive", || {
            let alive = self.try_store()?.records::<serde_json::Value>("alive/");
            let missing: Vec<String> =
                self.hosts().into_iter().filter(|host| !alive.contains_key(host)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{} missing", missing.join(", "))) }
        });
    }

    /// The Host documents as they were when the lab was new, of hosts that were deleted, too.
    fn restore_hosts(&self) {
        let path = self.file("e2e-hosts.json");
        let now = || {
            let store = self.try_store()?;
            let text = |key: &String| String::from_utf8_lossy(&store.values[key]).into_owned();
            Ok(store.keys("hosts/").map(|key| (key.clone(), text(key))).collect())
        };
        let Ok(text) = std::fs::read_to_string(&path) else {
            let first = eventually(30, "a document of every host", || {
                let found: BTreeMap<String, String> = now()?;
                if found.len() == self.hosts().len() { Ok(found) } else { Err(format!("{:?}", found.keys())) }
            });
            let text = serde_json::to_string(&first).unwrap_or_default();
            std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            return;
        };
        let first: BTreeMap<String, String> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let now: BTreeMap<String, String> = eventually(30, "the documents of hosts", now);
        for (key, text) in first {
            if now.get(&key) != Some(&text) {
                self.put(&key, &text);
            }
        }
    }

    /// All at once, and confirmed: half of all services gone would otherwise be held as a slip.
    fn delete_documents(&self) {
        let store = self.store();
        let kinds = ["healthchecks/", "services/", "networks/", "pins/"];
        self.delete_all(kinds.iter().flat_map(|kind| store.keys(kind)).map(String::as_str));
    }

    fn forget_words(&self) {
        for word in WORDS {
            self.etcdctl(&["del", "--prefix", &format!("{PREFIX}{word}")]).ok();
        }
    }

    fn remove_foreign(&self) {
        for host in self.hosts() {
            self.sweep(&host, &["ps", "-aq"], &["rm", "-f", "-v"]);
            self.sweep(&host, &["network", "ls", "-q"], &["network", "rm"]);
        }
    }

    /// Volumes outlive their services by design; cases do not want those of another.
    fn remove_volumes(&self) {
        for host in self.hosts() {
            let list = self.docker(&host, &["volume", "ls", "-q", "--filter", "label=evenkeel.cluster"]).ok();
            for name in list.lines() {
                self.docker(&host, &["volume", "rm", name]);
            }
        }
    }

    fn sweep(&self, host: &str, list: &[&str], remove: &[&str]) {
        let filter = format!("name={FOREIGN}");
        let found = self.docker(host, &[list, &["--filter", &filter]].concat()).ok();
        let ids: Vec<&str> = found.lines().collect();
        if !ids.is_empty() {
            self.docker(host, &[remove, &ids].concat());
        }
    }

    /// What documents that are gone have left, one a line: keys, containers, networks, bridges, routes, rules.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> = match self.try_store() {
            Ok(store) => store
                .values
                .keys()
                .filter(|key| !Self::is_lasting(key) && !WORDS.iter().any(|word| key.starts_with(word)))
                .map(|key| format!("key {key}"))
                .collect(),
            Err(error) => vec![format!("etcd: {error}")],
        };
        for host in self.hosts() {
            left.extend(self.leftovers_on(&host).into_iter().map(|what| format!("{host}: {what}")));
        }
        left
    }

    fn leftovers_on(&self, host: &str) -> Vec<String> {
        let mut left = Vec::new();
        match self.engine(host).labelled("evenkeel.cluster") {
            Ok(containers) => left.extend(containers.into_iter().map(|c| format!("container {}", c.name))),
            Err(error) => left.push(error),
        }
        let mut lines = |what: &str, done: super::Done, ours: &dyn Fn(&str) -> bool| match done.result() {
            Ok(text) => left
                .extend(text.lines().filter(|line| ours(line)).map(|line| format!("{what} {}", line.trim()))),
            Err(error) => left.push(format!("{what}: {error}")),
        };
        lines("network", self.docker(host, &["network", "ls", "--format", "{{.Name}}"]), &|name| {
            name.starts_with("ek-")
        });
        lines("bridge", self.exec(host, &["ip", "-br", "link"]), &|line| line.starts_with("ek-"));
        lines("route", self.exec(host, &["ip", "-4", "route", "show", "proto", "212"]), &|_| true);
        let names_us = |line: &str| {
            line.contains("ek-")
                || line.contains("comment \"evenkeel")
                || POOLS.iter().any(|p| line.contains(p))
        };
        lines("rule", self.exec(host, &["nft", "list", "ruleset"]), &names_us);
        left
    }
}
