//! Keeps the networks of one real host, with what the store would say taken from a file: for trying bridges,
//! routes and rules on hosts without etcd.
//!
//! ```text
//! network_host HOST STATE_DIR DOCKER_SOCKET INPUTS.json
//! ```
//!
//! `INPUTS.json` is the `inputs` part of a network controller's `state.json`. It is read again each second.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::host::HostSpec;
use evenkeel_api::key::Key;
use evenkeel_api::meta::{Metadata, ObjectRef};
use evenkeel_api::record::{Accepted, Cluster, Subnet};
use evenkeel_engine::{Deadlines, Docker};
use evenkeel_etcd::MemoryStore;
use evenkeel_fabric::LinuxFabric;
use evenkeel_manager::network::{NetworkDeps, run};
use evenkeel_plan::network::host::Inputs;
use evenkeel_runtime::env::Env;
use evenkeel_runtime::store::{Store, TxnBuilder};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn accepted<S>(spec: S, deleting: bool) -> Accepted<S> {
    let metadata = Metadata::default();
    Accepted { source_revision: 1, create_revision: 1, template: None, deleting, metadata, spec }
}

/// Make the store say what the inputs say.
async fn say(store: &MemoryStore, inputs: &Inputs) -> Result<(), Failure> {
    let mut txn = TxnBuilder::new();
    let cluster = Cluster { uid: inputs.cluster.clone(), epoch: 0, level: 1, floor: 0 };
    txn = txn.put(&Key::Cluster, serde_json::to_vec(&cluster)?);
    for (name, wanted) in &inputs.networks {
        let key = Key::Accepted(ObjectRef::Network(name.clone()));
        txn = txn.put(&key, serde_json::to_vec(&accepted(wanted.spec.clone(), wanted.deleting))?);
    }
    for (host, address) in &inputs.hosts {
        let spec = HostSpec { address: *address, availability: None, reserved: None };
        let key = Key::Accepted(ObjectRef::Host(host.clone()));
        txn = txn.put(&key, serde_json::to_vec(&accepted(spec, false))?);
    }
    for (network, parts) in &inputs.subnets {
        for (host, subnet) in parts {
            let key = Key::Subnet(network.clone(), host.clone());
            txn = txn.put(&key, serde_json::to_vec(&Subnet { subnet: *subnet })?);
        }
    }
    for prefix in ["accepted/networks/", "subnets/"] {
        for kv in store.list(prefix).await?.kvs {
            let key: Key = kv.key.parse()?;
            let kept = match &key {
                Key::Accepted(ObjectRef::Network(name)) => inputs.networks.contains_key(name),
                Key::Subnet(name, host) => inputs.subnets.get(name).is_some_and(|p| p.contains_key(host)),
                _ => true,
            };
            if !kept {
                txn = txn.delete(&key);
            }
        }
    }
    store.commit(&txn.build()?).await?;
    Ok(())
}

async fn tell(store: &MemoryStore, host: &str) -> Result<(), Failure> {
    let mut told = BTreeSet::new();
    loop {
        for kv in store.list(&format!("reports/{host}/")).await?.kvs {
            let line = format!("{} {}", kv.key, String::from_utf8_lossy(&kv.value));
            if told.insert((kv.mod_revision, line.clone())) {
                println!("{line}");
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn follow(store: &MemoryStore, path: &Path) -> Result<(), Failure> {
    let mut before = None;
    loop {
        let text = std::fs::read_to_string(path)?;
        if before.as_ref() != Some(&text) {
            say(store, &serde_json::from_str(&text)?).await?;
            before = Some(text);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_ansi(false).with_env_filter("info").init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, state, socket, inputs] = arguments.as_slice() else {
        return Err("network_host HOST STATE_DIR DOCKER_SOCKET INPUTS.json".into());
    };
    let store = MemoryStore::default();
    let deps = NetworkDeps {
        store: Arc::new(store.clone()),
        env: Arc::new(Env::system()?),
        engine: Arc::new(Docker::new(Path::new(socket), Deadlines::default())),
        fabric: Arc::new(LinuxFabric::new()?),
        host: host.parse()?,
        state_dir: PathBuf::from(state).into(),
        leads: false,
        etcd: BTreeSet::new(),
        meter: evenkeel_metrics::Meter::default(),
    };
    let path = PathBuf::from(inputs);
    tokio::select! {
        result = follow(&store, &path) => result,
        result = tell(&store, host) => result,
        result = run(deps) => result.map_err(Into::into),
    }
}
