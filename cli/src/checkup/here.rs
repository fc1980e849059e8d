//! What this machine is: asked of its kernel, its engine and its files. Needs to be root, as keys and data of a
//! host are nobody else's to see.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use evenkeel_cluster::backups as names;
use evenkeel_doctor::facts::{
    Asked, Backups, Container, Containers, Device, Disk, Engine, EngineSettings, Machine, MemberHere, Shown,
    TimeSync,
};
use evenkeel_manager::host::machine::{Linux, Machine as _};
use serde_json::Value;

use super::disk::{disk, syncs};
use super::settings::Settings;
use super::{shown, shown_authority};

const SYSTEMD: &str = "/run/systemd/system";
const DAEMON_JSON: &str = "/etc/docker/daemon.json";
const BACKUPS: &str = "/var/lib/evenkeel-backup";
const BACKUP_TLS: &str = "/etc/evenkeel-backup/tls";
const ETCD_TLS: &str = "/etc/evenkeel-etcd/tls";
/// What keeps a clock in step, as the kernel calls it: no more than 15 letters.
const TIME_KEEPERS: [&str; 6] = ["chronyd", "ntpd", "systemd-timesyn", "timemaster", "ptp4l", "phc2sys"];

/// Looks at this machine.
///
/// # Errors
/// Its settings cannot be read: then nothing is known of it.
pub async fn machine() -> Asked<Machine> {
    let settings = Settings::of_host()?;
    let etcd = Settings::of_etcd()?;
    let docker = Docker(settings.or("EVENKEEL_DOCKER_CLI", "docker"));
    let info = docker.json(&["info", "--format", "{{json .}}"]);
    let root = info.as_ref().ok().and_then(|info| text(info, "DockerRootDir"));
    let state = settings.path("EVENKEEL_STATE_DIR", "/var/lib/evenkeel");
    let data = etcd.as_ref().map(|etcd| etcd.path("ETCD_DATA", "/var/lib/evenkeel-etcd"));
    let keeps = Path::new(BACKUP_TLS).exists();
    let disks = [
        Some(disk("the engine", Path::new(root.as_deref().unwrap_or("/var/lib/docker")))),
        Some(disk("the controllers", &state)),
        data.as_ref().map(|data| disk("etcd", data)),
        keeps.then(|| disk("backups", Path::new(BACKUPS))),
    ];
    let (lan, bridges) = devices(&settings).await;
    Ok(Machine {
        evenkeel: env!("CARGO_PKG_VERSION").to_owned(),
        time: time(),
        engine: info.map(|info| engine(&info)),
        settings: engine_settings(),
        forwards: fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
            .map(|text| text.trim() == "1")
            .map_err(|error| error.to_string()),
        lan,
        bridges,
        disks: disks.into_iter().flatten().collect::<Vec<Disk>>(),
        containers: containers(&docker, &settings, etcd.is_some(), keeps),
        certificates: certificates(&settings, etcd.is_some(), keeps),
        etcd: etcd.zip(data).map(|(etcd, data)| MemberHere {
            quota: etcd.get("ETCD_QUOTA").and_then(|bytes| bytes.parse().ok()),
            disk: syncs(&data),
        }),
        backups: keeps.then(|| backups(&settings)),
        ahead: None,
        // The last: whoever asked from elsewhere compares it with the time of the answer.
        clock: u64::try_from(crate::cluster::now().as_millis()).unwrap_or(u64::MAX),
    })
}

/// The command of the engine.
struct Docker(String);

impl Docker {
    fn said(&self, args: &[&str]) -> Asked<String> {
        said(&self.0, args)
    }

    fn json(&self, args: &[&str]) -> Asked<Value> {
        let value: Value = serde_json::from_str(&self.said(args)?).map_err(|error| error.to_string())?;
        // Without a server the command says what it knows itself, and succeeds.
        match value.get("ServerErrors").and_then(Value::as_array).and_then(|errors| errors.first()) {
            Some(error) => Err(error.as_str().unwrap_or("it does not answer").to_owned()),
            None => Ok(value),
        }
    }
}

fn said(program: &str, args: &[&str]) -> Asked<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(why.trim().lines().next().unwrap_or("it failed without a word").to_owned())
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn engine(info: &Value) -> Engine {
    let options = info.get("SecurityOptions").and_then(Value::as_array);
    let rootless = options.is_some_and(|options| options.iter().any(|option| option == "name=rootless"));
    Engine {
        version: text(info, "ServerVersion").unwrap_or_default(),
        live_restore: info.get("LiveRestoreEnabled").and_then(Value::as_bool).unwrap_or_default(),
        log_driver: text(info, "LoggingDriver").unwrap_or_default(),
        rootful: !rootless,
    }
}

/// From the file that the engine reads, and the words that it was started with.
fn engine_settings() -> Asked<EngineSettings> {
    let file = match fs::read_to_string(DAEMON_JSON) {
        Ok(text) if text.trim().is_empty() => Value::Null,
        Ok(text) => serde_json::from_str(&text).map_err(|error| format!("{DAEMON_JSON}: {error}"))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
        Err(error) => return Err(format!("{DAEMON_JSON}: {error}")),
    };
    let words = processes().find(|(_, name)| name == "dockerd").map(|(folder, _)| folder.join("cmdline"));
    let words = words.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    Ok(settings_of(&file, &words.split('\0').collect::<Vec<_>>()))
}

fn settings_of(file: &Value, words: &[&str]) -> EngineSettings {
    let limit = file.get("log-opts").is_some_and(|options| options.get("max-size").is_some());
    EngineSettings {
        log_limit: limit || words.iter().any(|word| word.contains("max-size=")),
        firewall: file.get("iptables").and_then(Value::as_bool).unwrap_or(true)
            && !words.contains(&"--iptables=false"),
    }
}

/// All processes that are seen from here: their folders, and what the kernel calls them.
fn processes() -> impl Iterator<Item = (std::path::PathBuf, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| {
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some((entry.path(), name.trim_end().to_owned()))
    })
}

fn time() -> Asked<TimeSync> {
    let runs = processes().any(|(_, name)| TIME_KEEPERS.contains(&name.as_str()));
    if !Path::new(SYSTEMD).exists() {
        return Ok(if runs { TimeSync::Runs } else { TimeSync::Nothing });
    }
    let said = said("timedatectl", &["show", "--property", "NTPSynchronized", "--value"])?;
    Ok(match (said.as_str(), runs) {
        ("yes", _) => TimeSync::Synchronized,
        (_, true) => TimeSync::NotYet,
        (_, false) => TimeSync::Nothing,
    })
}

/// The device on the LAN, and the bridges of our networks.
async fn devices(settings: &Settings) -> (Asked<Device>, Vec<Device>) {
    let bridges = fs::read_dir("/sys/class/net").into_iter().flatten().filter_map(Result::ok);
    let bridges = bridges.filter_map(|entry| entry.file_name().into_string().ok());
    let mut bridges: Vec<Device> =
        bridges.filter(|name| name.starts_with("ek-")).filter_map(|name| device(&name).ok()).collect();
    bridges.sort_by(|one, other| one.name.cmp(&other.name));
    (lan(settings).await, bridges)
}

async fn lan(settings: &Settings) -> Asked<Device> {
    let address = match settings.get("EVENKEEL_ADDRESS") {
        Some(text) => text.parse().map_err(|error| format!("EVENKEEL_ADDRESS {text}: {error}"))?,
        None => crate::cluster::machine::address().map_err(|failure| failure.message)?,
    };
    let machine = Linux.observe().await.map_err(|error| error.to_string())?;
    let found = machine.addresses.iter().find(|found| found.address == address);
    device(&found.ok_or_else(|| format!("no device has the address {address}"))?.device)
}

fn device(name: &str) -> Asked<Device> {
    let path = format!("/sys/class/net/{name}/mtu");
    let told = |why: &dyn std::fmt::Display| format!("{path}: {why}");
    let text = fs::read_to_string(&path).map_err(|error| told(&error))?;
    let mtu = text.trim().parse().map_err(|error| told(&error))?;
    Ok(Device { name: name.to_owned(), mtu })
}

/// The containers that the settings ask for, and all that bear the bundle's label.
fn containers(docker: &Docker, settings: &Settings, etcd: bool, keeps: bool) -> Asked<Containers> {
    let mut wanted = BTreeMap::new();
    let start = "evenkeel-host start";
    if settings.get("EVENKEEL_SEPARATE") == Some("true") {
        let names = evenkeel_api::key::Controller::ALL.map(|name| format!("evenkeel-{name}"));
        wanted.extend(names.map(|name| (name, start.to_owned())));
    } else {
        wanted.insert("evenkeel".to_owned(), start.to_owned());
    }
    for (there, name) in [(etcd, "evenkeel-etcd"), (keeps, "evenkeel-backup")] {
        wanted.extend(there.then(|| (name.to_owned(), format!("{name} start"))));
    }
    let labelled =
        docker.said(&["ps", "-a", "--filter", "label=evenkeel.system", "--format", "{{.Names}}"])?;
    let names = labelled.lines().map(str::to_owned).chain(wanted.keys().cloned());
    let names: std::collections::BTreeSet<String> = names.collect();
    let found = names.into_iter().filter_map(|name| {
        let form = "{{.State.Status}} {{.RestartCount}}";
        let said = docker.said(&["container", "inspect", "--format", form, &name]).ok()?;
        let (state, restarts) = said.split_once(' ')?;
        let restarts = restarts.parse().unwrap_or_default();
        Some((name, Container { state: state.to_owned(), restarts }))
    });
    Ok(Containers { found: found.collect(), wanted })
}

fn certificates(settings: &Settings, etcd: bool, keeps: bool) -> Vec<Shown> {
    let again = "where the cluster was made: evenkeel cert rotate";
    let mut found = Vec::new();
    if let Some(folder) = settings.get("EVENKEEL_IDENTITIES") {
        let folders = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let mut folders: Vec<_> = folders.map(|entry| entry.path()).collect();
        folders.sort();
        for folder in folders {
            found.push(shown(&folder.join("client.crt"), again));
            found.push(shown_authority(&folder.join("ca.crt")));
        }
    }
    for name in ["EVENKEEL_CERT", "EVENKEEL_CA"] {
        let mend = "there: put a new one into its place, then evenkeel-host restart";
        found.extend(settings.get(name).map(|path| shown(Path::new(path), mend)));
    }
    if etcd {
        found.extend(["server.crt", "peer.crt"].map(|name| shown(&Path::new(ETCD_TLS).join(name), again)));
        found.push(shown_authority(&Path::new(ETCD_TLS).join("peer-ca.crt")));
    }
    if keeps {
        found.push(shown(&Path::new(BACKUP_TLS).join("client.crt"), again));
    }
    found
}

fn backups(settings: &Settings) -> Backups {
    let entries = fs::read_dir(BACKUPS).into_iter().flatten().filter_map(Result::ok);
    let times = entries.filter_map(|entry| names::time(entry.file_name().to_str()?));
    let every = settings.get("EVENKEEL_BACKUP_EVERY").and_then(|text| text.parse().ok());
    let every = every.map_or(Duration::from_secs(3600), |evenkeel_api::quantity::Span(every)| every);
    Backups { newest: times.max().map(|time| time.as_secs()), every: every.as_secs() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_engine_is_understood_as_it_was_set_up() {
        for (file, words, log_limit, firewall) in [
            (Value::Null, vec!["dockerd"], false, true),
            (json!({"log-opts": {"max-size": "10m"}}), vec![], true, true),
            (json!({"log-opts": {"max-file": "3"}, "iptables": false}), vec![], false, false),
            (Value::Null, vec!["dockerd", "--log-opt", "max-size=5m", "--iptables=false"], true, false),
        ] {
            assert_eq!(
                settings_of(&file, &words),
                EngineSettings { log_limit, firewall },
                "{file} {words:?}"
            );
        }
        let info = json!({"ServerVersion": "28.1", "LiveRestoreEnabled": true, "LoggingDriver": "local",
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]});
        let expected = Engine {
            version: "28.1".to_owned(),
            live_restore: true,
            log_driver: "local".to_owned(),
            rootful: false,
        };
        assert_eq!(engine(&info), expected);
        assert!(engine(&json!({})).rootful);
    }
}
