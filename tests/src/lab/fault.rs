//! One case of the table of faults: its number, what came of it in a line that scripts read, and how every
//! fault that the lab can make is taken back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::case::is_full;
use super::{Lab, case};

/// What came of a case that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All that must hold held; what was seen, for people.
    Passed(String),
    /// It cannot be tried on this lab; why not.
    Skipped(String),
}

/// Runs case `number` of the faults on real engines, and says in one line what came of it:
/// `-> case NUMBER R passed|skipped|failed: WHAT`. `hack/faults` makes its table of these lines.
pub fn fault(number: u32, body: impl FnOnce(&Lab) -> Outcome) {
    let say = |word: &str, what: &str| println!("-> case {number} R {word}: {}", what.replace('\n', " "));
    let tried = catch_unwind(AssertUnwindSafe(|| {
        case(|lab| match body(lab) {
            Outcome::Passed(what) => say("passed", &what),
            Outcome::Skipped(why) => say("skipped", &why),
        });
    }));
    if let Err(panic) = tried {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic");
        say("failed", text.lines().next().unwrap_or_default());
        resume_unwind(panic);
    }
}

/// [`fault`] for a case that the short form of all tests leaves out, for the time it takes:
/// EVENKEEL_E2E_FULL=1 and EVENKEEL_E2E_FAULTS=all run it.
pub fn rare_fault(number: u32, body: impl FnOnce(&Lab) -> Outcome) {
    if is_full() || std::env::var("EVENKEEL_E2E_FAULTS").is_ok_and(|value| value == "all") {
        fault(number, body);
    } else {
        println!("-> case {number} R skipped: left out of the short form; `hack/faults` runs it");
    }
}

impl Lab {
    /// Takes back what the lab can break and what is not seen by asking who is alive: members of etcd, part of
    /// a cable, paused workers, full disks, an etcd that is full, and distrust of one that went back.
    pub fn undo_faults(&self) {
        // All its members, also where the others are enough.
        self.call(&["etcd", "resume"]);
        self.call(&["etcd", "start"]);
        for host in self.hosts() {
            self.call(&["heal", &host]);
            self.exec(&host, &["pkill", "-CONT", "-f", "controller --worker"]);
            self.call(&["disk", &host, "free"]);
        }
        self.registry_hurries();
        if self.try_store().is_ok_and(|store| store.values.contains_key("halt")) {
            self.call(&["keel", "recover", "--accept-etcd"]);
        }
        if self.etcdctl(&["alarm", "list"]).out.contains("NOSPACE") {
            self.run(&["etcd", "drain"]);
        }
    }

    /// From now on the registry gives 8 kB a second. Its answers alone are slowed: etcd may be on the same machine.
    pub fn registry_crawls(&self) {
        let rule = "tcp sport 5000 limit rate over 8 kbytes/second burst 8 kbytes drop";
        let chain = "{ type filter hook output priority 0; }";
        let table = format!(
            "add table inet {CRAWL}; add chain inet {CRAWL} out {chain}; add rule inet {CRAWL} out {rule}"
        );
        let done = self.exec("infra", &["nft", &table]);
        assert!(done.succeeded(), "the registry cannot be slowed: {}", done.err);
    }

    /// It gives what it has again.
    pub fn registry_hurries(&self) {
        self.exec("infra", &["nft", "delete", "table", "inet", CRAWL]);
    }
}

/// The table of packet filters that slows the registry.
const CRAWL: &str = "crawl";
