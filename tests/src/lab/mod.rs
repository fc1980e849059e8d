//! The lab (`hack/lab`) as tests see it: typed, and loud. Whatever goes wrong in the lab itself panics
//! with the command and what it said: a test that runs on after that would blame the wrong thing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub mod case;
pub mod clean;
pub mod cluster;
pub mod engine;
pub mod fault;
pub mod invariants;
pub mod load;
pub mod raw;
pub mod running;
pub mod wait;

pub use case::{case, limit};
pub use fault::{Outcome, fault, rare_fault};
pub use wait::{eventually, pause, since};

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    name: String,
    top: PathBuf,
    folder: PathBuf,
    settings: BTreeMap<String, String>,
}

impl Lab {
    /// The lab that EVENKEEL_LAB names.
    pub fn of_environment() -> Self {
        let name = std::env::var("EVENKEEL_LAB").unwrap_or_else(|_| {
            panic!("EVENKEEL_LAB is not set: bring a lab up (hack/lab --name NAME up) and set it to NAME")
        });
        Self::named(&name)
    }

    /// The lab of that name.
    pub fn named(name: &str) -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default();
        let root = std::env::var_os("EVENKEEL_LAB_DIR")
            .map_or_else(|| "/var/tmp/evenkeel-lab".into(), PathBuf::from);
        let folder = root.join(name);
        let text = std::fs::read_to_string(folder.join("settings"))
            .unwrap_or_else(|error| panic!("lab {name} is not up ({}): {error}", folder.display()));
        let settings = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned()))
            .collect();
        Self { name: name.to_owned(), top, folder, settings }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file below the checkout.
    pub fn checkout(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    /// A file below the lab's own folder.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Its hosts.
    pub fn hosts(&self) -> Vec<String> {
        let count: usize = self.setting("HOSTS").parse().unwrap_or(3);
        (1..=count).map(|n| format!("h{n}")).collect()
    }

    /// Its hosts but one.
    pub fn hosts_but(&self, host: &str) -> Vec<String> {
        self.hosts().into_iter().filter(|other| other != host).collect()
    }

    /// A host's address on the LAN.
    pub fn address(&self, host: &str) -> String {
        match host {
            "infra" => "10.0.0.2".to_owned(),
            "lan" => "10.0.0.5".to_owned(),
            host => format!("10.0.0.{}", 10 + host.trim_start_matches('h').parse::<u32>().unwrap_or(0)),
        }
    }

    /// What `up` was told: HOSTS, ENGINE, ETCD, MEMBERS, SEPARATE, CONTROLLERS.
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    /// Whether each controller has a container of its own.
    pub fn is_separate(&self) -> bool {
        self.setting("SEPARATE") == "true"
    }

    /// A tree of cgroups that holds all of its hosts' containers.
    fn cgroups(&self) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup");
        let unified = root.join("cgroup.controllers").exists();
        match (unified, self.setting("CGROUPS")) {
            (true, _) => root.to_owned(),
            (false, "v2") => root.join("unified"),
            (false, _) => root.join("pids"),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.top.join("hack/lab"));
        command.arg("--name").arg(&self.name).args(words);
        command
    }

    /// `hack/lab WORDS…`, whatever comes of it.
    pub fn call(&self, words: &[&str]) -> Done {
        self.feed(words, "")
    }

    /// `hack/lab WORDS…` with something on its standard input.
    pub fn feed(&self, words: &[&str], input: &str) -> Done {
        let what = format!("hack/lab {}", words.join(" "));
        let fail = |error: std::io::Error| -> ! { panic!("{what}: {error}") };
        let mut child = self
            .command(words)
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| fail(error));
        if let Some(mut stdin) = child.stdin.take() {
            // Who does not read all of it says so by its exit code.
            let _ = stdin.write_all(input.as_bytes());
        }
        let done = child.wait_with_output().unwrap_or_else(|error| fail(error));
        Done {
            what,
            code: done.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&done.stdout).trim_end().to_owned(),
            err: String::from_utf8_lossy(&done.stderr).trim_end().to_owned(),
        }
    }

    /// `hack/lab WORDS…`, which must succeed; its standard output.
    pub fn run(&self, words: &[&str]) -> String {
        self.call(words).ok()
    }

    /// A command on a machine (a host, `infra` or `lan`).
    pub fn exec(&self, machine: &str, words: &[&str]) -> Done {
        self.call(&[&["exec", machine], words].concat())
    }

    /// Docker's CLI against a host's engine.
    pub fn docker(&self, host: &str, words: &[&str]) -> Done {
        self.call(&[&["docker", host], words].concat())
    }

    /// A command in a container.
    pub fn within(&self, host: &str, container: &str, words: &[&str]) -> Done {
        self.call(&[&["docker", host, "exec", container], words].concat())
    }

    /// evenkeel's CLI.
    pub fn keel(&self, words: &[&str]) -> Done {
        self.call(&[&["keel"], words].concat())
    }

    /// `hack/lab WORDS…` in the background, its standard output in a file.
    pub fn start(&self, words: &[&str]) -> Background {
        let what = words.join(" ");
        let path = std::env::temp_dir().join(format!("evenkeel-e2e-{}-{}", std::process::id(), next()));
        let fail = |error: std::io::Error| -> ! { panic!("hack/lab {what}: {error}") };
        let out = File::create(&path).unwrap_or_else(|error| fail(error));
        let child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| fail(error));
        Background { what, child, path }
    }
}

fn next() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// A command that ended.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its words.
    pub what: String,
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// Its standard output, without the last line's end.
    pub out: String,
    /// Its standard error, without the last line's end.
    pub err: String,
}

impl Done {
    /// Its standard output; panics where it failed.
    pub fn ok(self) -> String {
        assert!(self.code == 0, "{} failed with {}:\n{}\n{}", self.what, self.code, self.out, self.err);
        self.out
    }

    /// Its standard output, or, where it failed, what it said.
    ///
    /// # Errors
    /// It failed.
    pub fn result(self) -> Result<String, String> {
        if self.code == 0 {
            Ok(self.out)
        } else {
            Err(format!("code {}: {} {}", self.code, self.out, self.err))
        }
    }

    /// Whether it succeeded.
    pub fn succeeded(&self) -> bool {
        self.code == 0
    }
}

/// A command that runs until its standard input ends.
#[derive(Debug)]
pub struct Background {
    what: String,
    child: Child,
    path: PathBuf,
}

impl Background {
    /// What it said so far.
    pub fn so_far(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// Ends its standard input, waits, and gives all that it said.
    pub fn finish(mut self) -> String {
        drop(self.child.stdin.take());
        for _ in 0..200 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return self.so_far();
            }
            pause(Duration::from_millis(50));
        }
        panic!("hack/lab {} does not end", self.what)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.path);
    }
}
