//! Joins the cluster, and says what the machine is: the five rooms of this host's own description.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::local::Beat;
use evenkeel_api::record::{Cluster, Facts, LEVEL};
use evenkeel_engine::{Engine, EngineError};
use evenkeel_metrics::Trouble;
use evenkeel_plan::host::document::document;
use evenkeel_plan::host::facts::{self, facts};
use evenkeel_plan::host::join::{Action, Stored, plan};
use evenkeel_plan::watchdog::runs;
use evenkeel_runtime::backoff::Backoff;
use evenkeel_runtime::disk::{Siblings, peek};
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::{StoreError, TxnBuilder};
use evenkeel_runtime::writer::{Outcome, WriteError, Writer};

use super::machine::MachineError;
use super::memory::Memory;
use super::{Error, HostDeps, HostSettings, object};

/// The label of all that is ours.
const CLUSTER_LABEL: &str = "evenkeel.cluster";
/// Siblings save often while many containers start; the facts need not follow each time.
const SETTLE: Duration = Duration::from_secs(1);

/// The loop that describes the host.
pub(super) struct Card {
    deps: HostDeps,
    memory: Arc<Memory>,
    writer: Writer,
    mirror: Mirror,
    siblings: Siblings,
    /// What was last refused, so that it is logged once.
    refused: String,
}

/// Why a pass did not do all.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("the engine does not tell what it is")]
    Engine(#[source] EngineError),
    #[error("the kernel does not tell its addresses and routes")]
    Machine(#[source] MachineError),
    #[error("the host's description is not in the store")]
    Write(#[source] WriteError),
    #[error("a record cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

impl From<&PassError> for Trouble {
    fn from(error: &PassError) -> Self {
        match error {
            PassError::Engine(_) => Self::Engine,
            PassError::Machine(_) => Self::Machine,
            PassError::Write(error) => error.into(),
            PassError::Json(_) => Self::Record,
        }
    }
}

impl Card {
    /// A loop that has not looked yet.
    pub fn new(
        deps: &HostDeps,
        memory: Arc<Memory>,
        writer: Writer,
        mirror: Mirror,
        siblings: Siblings,
    ) -> Self {
        Self { deps: deps.clone(), memory, writer, mirror, siblings, refused: String::new() }
    }

    /// Describe the host, for ever.
    pub async fn run(mut self) -> Error {
        let mut changed = self.mirror.subscribe();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        self.mirror.synced().await;
        loop {
            let every = self.deps.settings.observe_every;
            let pause = match self.pass().await {
                // What was done changed the store, and wakes us: it may call for more.
                Ok(()) => {
                    backoff.reset();
                    every - (every / 10).mul_f64((self.deps.env.random() % 1000) as f64 / 1000.0)
                }
                Err(error) => {
                    self.deps.meter.failed(&error);
                    tracing::warn!(error = &error as &dyn std::error::Error, "the host is not described yet");
                    backoff.next(self.deps.env.random())
                }
            };
            tokio::select! {
                biased;
                // All three are cancel-safe, and why we woke does not matter.
                () = tokio::time::sleep(pause) => {}
                _ = changed.next() => {}
                _ = self.siblings.changed() => tokio::time::sleep(SETTLE).await,
            }
        }
    }

    /// One pass.
    async fn pass(&mut self) -> Result<(), PassError> {
        let _measured = self.deps.meter.pass();
        let stored = self.validate();
        let observed = self.observe(&stored).await;
        let facts = observed.as_ref().ok();
        let actions = plan(&stored, self.memory.get().joined.as_ref(), facts);
        for action in actions {
            let makes = action == Action::Document;
            match self.execute(action).await {
                // Where people make hosts, etcd lets nobody else do it.
                Err(PassError::Write(WriteError::Store(StoreError::Refused(why)))) if makes => {
                    let host = &self.deps.host;
                    self.refuse(format!(
                        "it has no document, and may make none ({why}): `evenkeel host add` of {host} does"
                    ));
                }
                done => done?,
            }
        }
        observed.map(drop)
    }

    /// Says why it does not join: once.
    fn refuse(&mut self, why: String) {
        if self.refused != why {
            tracing::error!("this host does not join: {why}");
            self.refused = why;
        }
    }

    /// What stands in the store.
    fn validate(&self) -> Stored {
        let host = &self.deps.host;
        Stored {
            cluster: self.mirror.json(&Key::Cluster).map(|cluster| cluster.value),
            document: self.mirror.get(&Key::Document(object(host))).is_some(),
            facts: self.mirror.stands(&Key::Facts(host.clone())).map(|facts| facts.value),
        }
    }

    /// What the machine is.
    async fn observe(&self, stored: &Stored) -> Result<Facts, PassError> {
        let uid = stored.cluster.as_ref().map_or("", |cluster| cluster.uid.as_str());
        let machine = self.deps.machine.observe().await.map_err(PassError::Machine)?;
        let engine = engine(&*self.deps.engine, uid).await.map_err(PassError::Engine)?;
        let (address, version) = (self.deps.settings.address, &self.deps.settings.version);
        let found = facts(address, &machine, &engine, version, self.has_watchdog());
        let HostSettings { sessions, generation, .. } = self.deps.settings;
        Ok(Facts { sessions, generation, ..found })
    }

    fn has_watchdog(&self) -> bool {
        let beat = peek::<Beat>(&self.deps.state_dir, Controller::Watchdog, "beat");
        runs(beat.as_ref(), self.deps.env.boot(), self.deps.env.boot_time())
    }

    /// Do one thing.
    async fn execute(&mut self, action: Action) -> Result<(), PassError> {
        let host = self.deps.host.clone();
        let txn = match action {
            Action::Refuse { why } => {
                self.refuse(why);
                return Ok(());
            }
            Action::Remember(joined) => {
                self.memory.change(|state| state.joined = Some(joined));
                return Ok(());
            }
            Action::Found => {
                let uid = format!("{:016x}", self.deps.env.random());
                let cluster = Cluster { uid, epoch: 1, level: LEVEL, floor: 0 };
                TxnBuilder::new().if_absent(&Key::Cluster).put(&Key::Cluster, json(&cluster)?)
            }
            Action::Document => {
                let key = Key::Document(object(&host));
                let text = document(&host, self.deps.settings.address, &BTreeMap::new());
                TxnBuilder::new().if_absent(&key).put(&key, text)
            }
            Action::Facts(facts) => {
                let key = Key::Facts(host);
                let at = self.mirror.get(&key).map_or(0, |kv| kv.mod_revision);
                TxnBuilder::new().if_unchanged(&key, at).put(&key, json(&facts)?)
            }
        };
        match self.writer.commit(txn).await.map_err(PassError::Write)? {
            Outcome::Done { revision } => self.mirror.caught_up(revision).await,
            // Somebody was faster: the mirror will tell, and that wakes us.
            Outcome::Lost => {}
        }
        Ok(())
    }
}

/// What the engine says; `uid` is empty while there is no cluster, and then nothing is ours.
async fn engine(engine: &dyn Engine, uid: &str) -> Result<facts::Engine, EngineError> {
    let info = engine.info().await?;
    let volumes = if uid.is_empty() { Vec::new() } else { engine.volumes(uid).await? };
    let networks = engine.networks().await?.into_iter().map(|network| facts::EngineNetwork {
        ours: !uid.is_empty() && network.labels.get(CLUSTER_LABEL).is_some_and(|label| label == uid),
        subnets: network.subnets.iter().map(|subnet| subnet.subnet).collect(),
        name: network.name,
    });
    Ok(facts::Engine {
        networks: networks.collect(),
        volumes: volumes.into_iter().map(|volume| volume.name).collect(),
        version: info.version,
        os: info.os,
        arch: info.arch,
        cpus: evenkeel_api::quantity::MilliCpus(info.cpus * 1000),
        memory: evenkeel_api::quantity::Bytes(info.memory),
    })
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, PassError> {
    serde_json::to_vec(value).map_err(PassError::Json)
}

#[cfg(test)]
mod tests {
    use evenkeel_api::quantity::{Bytes, MilliCpus};
    use evenkeel_engine::{FakeEngine, Network};

    use super::*;

    #[tokio::test]
    async fn networks_with_our_clusters_label_are_ours_and_none_while_there_is_no_cluster() {
        let fake = FakeEngine::new();
        for (name, of) in [("ek-lan", Some("u1")), ("ek-old", Some("u2")), ("odd", Some("")), ("bare", None)]
        {
            let labels = of.map(|of| (CLUSTER_LABEL.to_owned(), of.to_owned())).into_iter().collect();
            fake.add_network(Network { name: name.to_owned(), labels, ..Network::default() });
        }
        for (uid, expected) in [("u1", vec!["ek-lan"]), ("", Vec::new())] {
            let said = engine(&fake, uid).await.unwrap();
            let ours = said.networks.iter().filter(|network| network.ours);
            assert_eq!(ours.map(|network| network.name.as_str()).collect::<Vec<_>>(), expected, "of {uid:?}");
            assert_eq!((said.cpus, said.memory), (MilliCpus(4000), Bytes(8 << 30)));
        }
    }
}
