//! The trait's methods in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::record::Timestamp;
use evenkeel_api::service::Limits;
use evenkeel_plan::instance::container::{Container, ContainerSpec, ContainerState, label};
use tokio::sync::mpsc;

use super::state::State;
use super::{Behaviour, FakeEngine, Op};
use crate::engine::{Engine, EngineError, Events};
use crate::types::{
    Deadlines, EngineEvent, EngineInfo, ExecOutput, Image, Network, NetworkCreate, NetworkSubnet,
    RegistryAuth, Volume,
};

impl FakeEngine {
    /// One call: logged, delayed, failed as scripted, then done.
    pub(super) async fn call<T>(
        &self,
        op: Op,
        of: &str,
        act: impl FnOnce(&mut State, Timestamp) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let (delay, hung) = {
            let mut state = self.lock();
            state.calls.push((op, of.to_owned()));
            (state.delays.get(&op).copied().unwrap_or_default(), state.hung)
        };
        if hung {
            tokio::time::sleep(Deadlines::default().read).await;
            return Err(EngineError::Timeout(format!("{op:?} {of}")));
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let wall = self.wall();
        let mut state = self.lock();
        if state.away {
            return Err(EngineError::Unavailable("the fake engine is away".to_owned()));
        }
        if let Some(error) = state.take_failure(op, false) {
            return Err(error);
        }
        let done = act(&mut state, wall);
        match state.take_failure(op, true) {
            Some(error) => Err(error),
            None => done,
        }
    }

    /// What a container does by itself once started.
    fn behave_on(&self, container: &str, behaviour: Behaviour) {
        let Behaviour::Exits { after, code } = behaviour else { return };
        let (engine, container) = (self.clone(), container.to_owned());
        let run = self.lock().find_mut(&container).and_then(|held| held.container.started);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let wall = engine.wall();
            let mut state = engine.lock();
            // Only that very run.
            if state.find_mut(&container).is_some_and(|held| held.container.started == run) {
                state.end(&container, code, false, wall);
            }
        });
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        let info = EngineInfo {
            version: "28.0.0".to_owned(),
            api: "1.48".to_owned(),
            cpus: 4,
            memory: 8 << 30,
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            live_restore: true,
        };
        self.call(Op::Info, "", |_, _| Ok(info)).await
    }

    async fn containers(&self, uid: &str) -> Result<Vec<Container>, EngineError> {
        self.call(Op::Containers, uid, |state, _| {
            let all = state.containers.values().map(|held| &held.container);
            let ours = |c: &&Container| c.labels.get(label::CLUSTER).is_some_and(|of| of == uid);
            Ok(all.filter(ours).cloned().collect())
        })
        .await
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>, EngineError> {
        self.call(Op::Inspect, container, |state, _| {
            Ok(state.find_mut(container).map(|held| held.container.clone()))
        })
        .await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        self.call(Op::Create, &spec.name, |state, _| state.create(spec)).await
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        let behaviour = self.call(Op::Start, container, |state, wall| state.start(container, wall)).await?;
        if let Some(behaviour) = behaviour {
            self.behave_on(container, behaviour);
        }
        Ok(())
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        let takes = self
            .call(Op::Stop, container, |state, _| {
                let Some(held) = state.find_mut(container) else { return Ok(None) };
                let of = held.spec.as_ref().map(|spec| spec.template.image.clone());
                let runs = matches!(held.container.state, ContainerState::Running | ContainerState::Paused);
                let takes = match of.and_then(|of| state.behaviours.get(&of)) {
                    Some(Behaviour::SlowToStop(takes)) => *takes,
                    _ => Duration::ZERO,
                };
                Ok(runs.then_some(takes))
            })
            .await?;
        let Some(takes) = takes else { return Ok(()) };
        tokio::time::sleep(takes.min(grace)).await;
        let (code, wall) = (if takes > grace { 137 } else { 143 }, self.wall());
        self.lock().end(container, code, false, wall);
        Ok(())
    }

    async fn kill(&self, container: &str) -> Result<(), EngineError> {
        self.call(Op::Kill, container, |state, wall| {
            state.end(container, 137, false, wall);
            Ok(())
        })
        .await
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        self.call(Op::Remove, container, |state, wall| {
            state.end(container, 137, false, wall);
            state.drop_container(container);
            Ok(())
        })
        .await
    }

    async fn update(&self, container: &str, limits: &Limits) -> Result<(), EngineError> {
        self.call(Op::Update, container, |state, _| match state.find_mut(container) {
            Some(held) => {
                held.container.limits = *limits;
                Ok(())
            }
            None => Err(EngineError::NotFound(format!("container {container}"))),
        })
        .await
    }

    async fn exec(
        &self,
        container: &str,
        argv: &[String],
        _timeout: Duration,
    ) -> Result<ExecOutput, EngineError> {
        let said = argv.join(" ");
        self.call(Op::Exec, container, |state, _| match state.find_mut(container) {
            Some(held) if held.container.state == ContainerState::Running => {
                // `false` and its like fail; all else succeeds and says what it was told to do.
                let code = i64::from(argv.first().is_some_and(|word| word.ends_with("false")));
                Ok(ExecOutput { code, output: said })
            }
            Some(_) => Err(EngineError::Conflict { who: format!("container {container} is not running") }),
            None => Err(EngineError::NotFound(format!("container {container}"))),
        })
        .await
    }

    async fn pull(
        &self,
        reference: &str,
        _platform: Option<&str>,
        _auth: Option<&RegistryAuth>,
    ) -> Result<Image, EngineError> {
        self.call(Op::Pull, reference, |state, _| match state.registry.get(reference).cloned() {
            Some(image) => {
                state.images.insert(reference.to_owned(), image.clone());
                Ok(image)
            }
            None => Err(EngineError::Refused(format!("manifest for {reference} not found"))),
        })
        .await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, EngineError> {
        self.call(Op::Image, reference, |state, _| Ok(state.image(reference).cloned())).await
    }

    async fn volumes(&self, uid: &str) -> Result<Vec<Volume>, EngineError> {
        self.call(Op::Volumes, uid, |state, _| {
            let ours = state
                .volumes
                .iter()
                .filter(|(_, labels)| labels.get(label::CLUSTER).is_some_and(|of| of == uid));
            Ok(ours.map(|(name, labels)| Volume { name: name.clone(), labels: labels.clone() }).collect())
        })
        .await
    }

    async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        self.call(Op::CreateVolume, name, |state, _| {
            state.volumes.entry(name.to_owned()).or_insert_with(|| labels.clone());
            Ok(())
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.call(Op::RemoveVolume, name, |state, _| {
            state.volumes.remove(name);
            Ok(())
        })
        .await
    }

    async fn networks(&self) -> Result<Vec<Network>, EngineError> {
        self.call(Op::Networks, "", |state, _| Ok(state.networks.values().cloned().collect())).await
    }

    async fn network(&self, name: &str) -> Result<Option<Network>, EngineError> {
        self.call(Op::Networks, name, |state, _| {
            let Some(network) = state.networks.values().find(|one| one.name == name || one.id == name) else {
                return Ok(None);
            };
            let on_it = state.containers.values().map(|held| &held.container);
            let on_it = on_it
                .filter(|one| one.state == ContainerState::Running)
                .filter_map(|one| Some((one.id.clone(), *one.addresses.get(&network.name)?)));
            Ok(Some(Network { containers: on_it.collect(), ..network.clone() }))
        })
        .await
    }

    async fn create_network(&self, network: &NetworkCreate) -> Result<(), EngineError> {
        self.call(Op::CreateNetwork, &network.name, |state, _| {
            if state.networks.contains_key(&network.name) {
                return Err(EngineError::Conflict { who: format!("a network {} exists", network.name) });
            }
            let overlaps = |one: &&Network| one.subnets.iter().any(|s| s.subnet.overlaps(&network.subnet));
            if let Some(other) = state.networks.values().find(overlaps) {
                let why = format!("Pool overlaps with other one on this address space ({})", other.name);
                return Err(EngineError::Refused(why));
            }
            let id = state.next_id();
            let (subnet, ip_range) = (network.subnet, Some(network.ip_range));
            let made = Network {
                id,
                name: network.name.clone(),
                driver: "bridge".to_owned(),
                labels: network.labels.clone(),
                options: network.options.clone(),
                subnets: vec![NetworkSubnet { subnet, ip_range, gateway: Some(network.gateway) }],
                bridge: Some(network.bridge.clone()),
                containers: BTreeMap::new(),
            };
            state.networks.insert(network.name.clone(), made);
            Ok(())
        })
        .await
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        self.call(Op::RemoveNetwork, name, |state, _| {
            let in_use = state.containers.values().find(|held| held.container.addresses.contains_key(name));
            if let Some(held) = in_use {
                let who = format!("network {name} has active endpoints ({})", held.container.name);
                return Err(EngineError::Conflict { who });
            }
            state.networks.remove(name);
            Ok(())
        })
        .await
    }

    async fn events(&self) -> Result<Box<dyn Events>, EngineError> {
        self.call(Op::Events, "", |state, _| {
            let (sender, receiver) = mpsc::unbounded_channel();
            state.readers.push(sender);
            Ok(Box::new(Reader(receiver)) as Box<dyn Events>)
        })
        .await
    }
}

struct Reader(mpsc::UnboundedReceiver<EngineEvent>);

#[async_trait]
impl Events for Reader {
    async fn next(&mut self) -> Option<EngineEvent> {
        self.0.recv().await
    }
}
