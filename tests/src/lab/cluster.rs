//! The store as people and controllers see it: through etcd's own CLI, records by their types.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use evenkeel_api::key::Key;
use evenkeel_api::record::{Alive, Leader, Phase, Rollout, Status, Subnet};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Done, Lab};

/// Where evenkeel's keys begin.
pub const PREFIX: &str = "/evenkeel/v1/";

/// All keys at one revision.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The store's revision.
    pub revision: i64,
    /// Values by key, without the prefix.
    pub values: BTreeMap<String, Vec<u8>>,
}

impl Snapshot {
    /// One record; panics where it is there and not of that type.
    pub fn record<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.values.get(key).map(|value| {
            serde_json::from_slice(value)
                .unwrap_or_else(|error| panic!("{key}: {error}: {}", String::from_utf8_lossy(value)))
        })
    }

    /// All records below a prefix that ends in `/`, by what follows it.
    pub fn records<T: DeserializeOwned>(&self, prefix: &str) -> BTreeMap<String, T> {
        self.keys(prefix)
            .filter_map(|key| Some((key[prefix.len()..].to_owned(), self.record(key)?)))
            .collect()
    }

    /// The keys below a prefix.
    pub fn keys(&self, prefix: &str) -> impl Iterator<Item = &String> {
        self.values.keys().filter(move |key| key.starts_with(prefix))
    }

    /// How an object is; `services/shop/web`.
    pub fn status(&self, object: &str) -> Option<Status> {
        self.record(&format!("status/{object}"))
    }
}

impl Lab {
    /// etcd's CLI.
    pub fn etcdctl(&self, words: &[&str]) -> Done {
        self.call(&[&["etcdctl"], words].concat())
    }

    /// Puts a document, as a person does: `etcdctl put KEY <FILE`. The key is without the prefix.
    pub fn put(&self, key: &str, text: &str) {
        let key = format!("{PREFIX}{key}");
        self.feed(&["etcdctl", "put", &key], text).ok();
    }

    /// Deletes a key.
    pub fn delete(&self, key: &str) {
        let key = format!("{PREFIX}{key}");
        self.etcdctl(&["del", &key]).ok();
    }

    /// Deletes keys as somebody who means it, in as few transactions as etcd allows: else many at once count
    /// as a slip.
    pub fn delete_all<'k>(&self, keys: impl IntoIterator<Item = &'k str>) {
        let keys: Vec<&str> = keys.into_iter().collect();
        for part in keys.chunks(100) {
            let mut txn = String::from("\n");
            for key in part {
                let _ = writeln!(txn, "del {PREFIX}{key}");
            }
            // Without quotes around it: of what stands in them, etcdctl takes the first character alone.
            let _ = writeln!(txn, "put {PREFIX}confirmed {{\"by\":\"e2e\",\"what\":\"all\"}}\n\n");
            self.feed(&["etcdctl", "txn"], &txn).ok();
        }
    }

    /// All that is in the store.
    ///
    /// # Errors
    /// etcd does not answer.
    pub fn try_store(&self) -> Result<Snapshot, String> {
        let text = self.etcdctl(&["get", "--prefix", PREFIX, "-w", "json"]).result()?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let decode = |value: &Value| {
            base64::prelude::BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default()
        };
        let values = answer["kvs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|kv| {
                let key = String::from_utf8_lossy(&decode(&kv["key"])).into_owned();
                (key.trim_start_matches(PREFIX).to_owned(), decode(&kv["value"]))
            })
            .collect();
        Ok(Snapshot { revision: answer["header"]["revision"].as_i64().unwrap_or(0), values })
    }

    /// All that is in the store, which must answer.
    pub fn store(&self) -> Snapshot {
        self.try_store().unwrap_or_else(|error| panic!("etcd: {error}"))
    }

    /// The store's revision.
    pub fn revision(&self) -> i64 {
        self.store().revision
    }

    /// A host's gateway address on a network: where its name server listens.
    pub fn gateway(&self, network: &str, host: &str) -> String {
        super::eventually(30, &format!("{host}'s part of {network}"), || {
            let subnet: Option<Subnet> = self.try_store()?.record(&format!("subnets/{network}/{host}"));
            let subnet = subnet.ok_or("there is no such key")?.subnet.to_string();
            let (first, _) = subnet.split_once('/').ok_or("no subnet")?;
            let address: std::net::Ipv4Addr = first.parse().map_err(|_| "no address")?;
            Ok(std::net::Ipv4Addr::from(u32::from(address) + 1).to_string())
        })
    }

    /// SIGKILL to the worker that runs a controller; where it is just being started again, to the next one.
    pub fn kill(&self, host: &str, controller: &str) {
        super::eventually(10, &format!("a worker that runs {controller} on {host}"), || {
            self.call(&["controllers", host, "kill", controller]).result()
        });
    }

    /// Which host's process leads a controller.
    pub fn leader(&self, controller: &str) -> String {
        super::eventually(15, &format!("a leader of {controller}"), || {
            let leader: Option<Leader> = self.try_store()?.record(&format!("leaders/{controller}"));
            leader.map(|leader| leader.host.to_string()).ok_or_else(|| "none".to_owned())
        })
    }

    /// The machine whose etcd member leads etcd.
    pub fn etcd_leader(&self) -> String {
        super::eventually(15, "a leader of etcd", || {
            // It fails where one member does not answer, and has printed those that do.
            let text = self.etcdctl(&["endpoint", "status", "--cluster", "-w", "json"]).out;
            let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{text}: {error}"))?;
            let leads =
                |member: &&Value| member["Status"]["leader"] == member["Status"]["header"]["member_id"];
            let endpoint = answer.as_array().into_iter().flatten().find(leads).ok_or("none")?;
            let endpoint = endpoint["Endpoint"].as_str().unwrap_or_default();
            let mut machines = self.hosts();
            machines.push("infra".to_owned());
            machines
                .into_iter()
                .find(|machine| endpoint.contains(&format!("{}:", self.address(machine))))
                .ok_or_else(|| format!("no machine has {endpoint}"))
        })
    }

    /// The hosts that are there, with boot and incarnation.
    pub fn alive(&self) -> BTreeMap<String, Alive> {
        self.store().records("alive/")
    }

    /// Waits until a service has as many copies as wanted, all ready, of the newest template, and no rollout.
    pub fn settled(&self, service: &str, copies: u32, seconds: u64) {
        super::eventually(seconds, &format!("{service} with {copies} ready copies"), || {
            let store = self.try_store()?;
            settled(&store, service, copies)?;
            let running = self.copies(service).len();
            if running == copies as usize { Ok(()) } else { Err(format!("{running} containers run")) }
        });
    }

    /// The status of an object once its condition message fits.
    pub fn told(&self, object: &str, seconds: u64, what: &str, fits: impl Fn(&Status) -> bool) -> Status {
        super::eventually(seconds, &format!("status of {object}: {what}"), || {
            let status = self.try_store()?.status(object).ok_or("no status")?;
            if fits(&status) { Ok(status) } else { Err(format!("{:?}", status.conditions)) }
        })
    }

    /// The answers of a host's name server.
    pub fn dig(&self, host: &str, name: &str) -> Vec<String> {
        let mut found: Vec<String> =
            self.call(&["dig", &format!("@{host}"), name]).out.lines().map(str::to_owned).collect();
        found.retain(|line| line.parse::<std::net::Ipv4Addr>().is_ok());
        found.sort();
        found
    }
}

/// Whether a service is as its newest document wants it, and if not, why not.
///
/// # Errors
/// It is not.
pub fn settled(store: &Snapshot, service: &str, copies: u32) -> Result<(), String> {
    let status = store.status(&format!("services/{service}")).ok_or("no status")?;
    let counts = status.copies.unwrap_or_default();
    let rollout: Rollout = store.record(&format!("rollouts/{service}")).unwrap_or_default();
    let as_wanted = counts.desired == copies
        && counts.ready == copies
        && counts.running == copies
        && counts.updated == copies
        && rollout.phase == Phase::Done;
    let prefix = service.replace('/', ".");
    let instances = store
        .keys("instances/")
        .filter(|key| key.split('/').nth(2).is_some_and(|id| id.starts_with(&format!("{prefix}."))))
        .count();
    if as_wanted && instances == copies as usize {
        Ok(())
    } else {
        Err(format!("{counts:?}, {instances} instances, {:?}, {:?}", rollout.phase, status.conditions))
    }
}

/// The key of a document of ours, or a panic.
pub fn key(text: &str) -> Key {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}
