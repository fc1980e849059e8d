//! What must hold whatever broke, looked at from outside: engines, etcd, processes; never by asking evenkeel.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{Lab, eventually, pause, raw};

/// A container that is no business of evenkeel's.
const FOREIGN: &str = "e2e-foreign";

impl Lab {
    /// Every container of a service on these hosts, by name, with its start: equal maps say that none was
    /// started, stopped or removed.
    pub fn runs(&self, hosts: &[String]) -> BTreeMap<String, String> {
        let run = |copy: super::engine::Container| {
            let state = if copy.running { copy.started() } else { format!("ended {}", copy.finished()) };
            (copy.name, state)
        };
        hosts.iter().flat_map(|host| self.containers(host).into_iter().map(run)).collect()
    }

    /// Each container has its record, and each record its container.
    pub fn nothing_orphaned(&self) {
        let store = self.store();
        let wanted: BTreeSet<String> =
            store.keys("instances/").map(|key| key["instances/".len()..].to_owned()).collect();
        let there: BTreeSet<String> = self
            .hosts()
            .iter()
            .flat_map(|host| {
                self.containers(host).into_iter().map(move |copy| format!("{host}/{}", copy.name))
            })
            .collect();
        assert_eq!(wanted, there, "records and containers differ");
    }

    /// After a fault and all that came of it: soon no container is touched and no key written any more.
    pub fn at_rest(&self) {
        eventually(30, "nothing is touched and nothing written", || {
            let before = (self.runs(&self.hosts()), self.try_store()?);
            // What is written at most once a second would be seen.
            pause(Duration::from_secs(3));
            let after = (self.runs(&self.hosts()), self.try_store()?);
            let same = |key: &&String| before.1.values.get(*key) == after.1.values.get(*key);
            let changed: Vec<&String> = after.1.values.keys().filter(|key| !same(key)).collect();
            if before.0 == after.0 && before.1.revision == after.1.revision {
                Ok(())
            } else {
                Err(format!("containers before: {:?}, after: {:?}; keys: {changed:?}", before.0, after.0))
            }
        });
        self.nothing_orphaned();
    }

    /// The workers of a host's controllers, as processes of this machine.
    pub fn workers(&self, host: &str) -> BTreeSet<i32> {
        let namespace = format!("/run/netns/ekl.{}.{host}", self.name());
        let inode = |path: &str| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        let Some(wanted) = inode(&namespace) else { return BTreeSet::new() };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &i32| {
                let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let words = String::from_utf8_lossy(&words).replace('\0', " ");
                words.contains("controller --worker") && inode(&format!("/proc/{pid}/ns/net")) == Some(wanted)
            })
            .collect()
    }

    /// SIGKILL to all workers of a host at once, within a millisecond.
    pub fn kill_workers(&self, workers: &BTreeSet<i32>) {
        for pid in workers {
            // One that ended meanwhile is as good.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
    }

    /// How many lines a host's controllers have logged.
    pub fn log_lines(&self, host: &str) -> usize {
        let names: &[&str] = if self.is_separate() {
            &["host", "network", "service", "healthcheck", "instance", "dns"]
        } else {
            &["service"]
        };
        let lines = |name: &&str| {
            let done = self.call(&["logs", host, name]);
            done.out.lines().count() + done.err.lines().count()
        };
        names.iter().map(lines).sum()
    }
}

/// Containers of others, one on each host.
#[derive(Debug)]
pub struct Foreign(BTreeMap<String, String>);

impl Foreign {
    /// Starts them.
    pub fn start(lab: &Lab) -> Self {
        let body = json!({"Image": "registry.lan:5000/busybox:1", "Cmd": ["sleep", "1000000"],
            "HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}});
        let start = |host: String| {
            let engine = lab.engine(&host);
            raw::run(&engine, FOREIGN, &body).unwrap_or_else(|error| panic!("{host}: {error}"));
            let id = engine.container(FOREIGN).unwrap_or_else(|error| panic!("{host}: {error}")).id;
            (host, id)
        };
        Self(lab.hosts().into_iter().map(start).collect())
    }

    /// They are the same ones, and run.
    pub fn assert_untouched(&self, lab: &Lab) {
        for (host, id) in &self.0 {
            let now = lab.engine(host).container(FOREIGN).unwrap_or_else(|error| panic!("{host}: {error}"));
            assert!(now.id == *id && now.running, "a foreign container of {host} was touched");
        }
    }
}
