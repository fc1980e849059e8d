//! What the host bundle's programs are told, read as they read it: by a shell, from files that a person may have
//! written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use evenkeel_api::name::HostName;
use evenkeel_doctor::facts::Asked;

/// The files, in the order in which they are read.
const HOST: [&str; 2] = ["/etc/evenkeel/cluster.env", "/etc/evenkeel/host.env"];
const ETCD: [&str; 2] = ["/etc/evenkeel-etcd/etcd.env", "/etc/evenkeel-etcd/local.env"];

/// A host's settings.
#[derive(Debug, Clone, Default)]
pub struct Settings(BTreeMap<String, String>);

/// Whether this machine is a host.
pub fn is_host() -> bool {
    HOST.iter().any(|file| Path::new(file).exists())
}

impl Settings {
    /// Those of the controllers here.
    ///
    /// # Errors
    /// A file cannot be read, as a shell reads it.
    pub fn of_host() -> Asked<Self> {
        read(&HOST)
    }

    /// Those of the member of etcd here; none if there is none.
    ///
    /// # Errors
    /// A file cannot be read, as a shell reads it.
    pub fn of_etcd() -> Asked<Option<Self>> {
        if Path::new(ETCD[0]).exists() { read(&ETCD).map(Some) } else { Ok(None) }
    }

    /// What is set, and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The same; else `default`.
    pub fn or(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    /// The same, as a path.
    pub fn path(&self, name: &str, default: &str) -> PathBuf {
        PathBuf::from(self.or(name, default))
    }

    /// This host's name in the cluster; without a setting the machine's own.
    ///
    /// # Errors
    /// It cannot be a host's.
    pub fn host(&self) -> Asked<HostName> {
        match self.get("EVENKEEL_HOST") {
            Some(name) => name.parse().map_err(|error| format!("EVENKEEL_HOST: {error}")),
            None => crate::cluster::machine::name().map_err(|failure| failure.message),
        }
    }
}

fn read(files: &[&str]) -> Asked<Settings> {
    // Nothing of ours may get in: what the files do not set is not set.
    let script = "for file; do [ ! -r \"$file\" ] || { set -a; . \"$file\"; }; done; env -0";
    let output = Command::new("/bin/bash")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .args(["-ec", script, "bash"])
        .args(files)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("/bin/bash: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}", files.join(", "), said.trim()));
    }
    Ok(Settings(pairs(&output.stdout)))
}

fn pairs(bytes: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(bytes);
    text.split('\0')
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_a_shell_reads_them_and_later_ones_win() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let one = file("one", "A='it'\\''s'\nB=1\nC=x\n# D=9\n");
        let two = file("two", "B=2\nC=\nE=\"$A two\"\n");
        let found = read(&[&one, "/nowhere/at/all", &two]).unwrap();
        for (name, expected) in
            [("A", Some("it's")), ("B", Some("2")), ("C", None), ("D", None), ("E", Some("it's two"))]
        {
            assert_eq!(found.get(name), expected, "{name}");
        }
        assert_eq!(found.or("C", "default"), "default");
        let bad = file("bad", "A='x\n");
        assert!(read(&[&bad]).is_err_and(|why| why.contains("bad")));
    }
}
