//! A machine, as far as a script of the bundle sees it: a folder with its files, and programs that stand in for its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Where the scripts are.
pub const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/host");

/// What docker is told, a call a line: see [`Machine::new`].
const CALLS: &str = "calls";

pub struct Machine(TempDir);

impl Machine {
    /// One whose docker notes each call, and then does what `docker` says, in bash: `$HERE` is the machine's folder.
    pub fn new(docker: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.put(CALLS, "");
        machine.program("docker", &format!("#!/bin/bash\necho \"$*\" >>\"$HERE/{CALLS}\"\n{docker}"));
        machine
    }

    /// Where a file of it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same, as a word for a script.
    pub fn word(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts a program there that is found before the machine's own.
    pub fn program(&self, name: &str, text: &str) {
        let name = format!("bin/{name}");
        self.put(&name, text);
        fs::set_permissions(self.path(&name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a script of the bundle there.
    pub fn script(&self, name: &str, arguments: &[&str], settings: &[(&str, String)]) -> Output {
        Command::new("bash")
            .arg(Path::new(BUNDLE).join(name))
            .args(arguments)
            .env("PATH", format!("{}:{}", self.word("bin"), std::env::var("PATH").unwrap()))
            .env("HERE", self.0.path())
            .env("EVENKEEL_DOCKER_CLI", "docker")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap()
    }

    /// What docker was told until now.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path(CALLS)).unwrap();
        calls.lines().map(str::to_owned).collect()
    }

    /// What is in a folder, in order.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap().map(Result::unwrap);
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// What a script complains of.
pub fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
