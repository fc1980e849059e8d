//! What the engine in memory holds.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_api::record::{HostPort, Timestamp};
use evenkeel_plan::instance::container::{Container, ContainerSpec, ContainerState};
use tokio::sync::mpsc;

use super::inside::Insides;
use super::{Behaviour, Op};
use crate::engine::EngineError;
use crate::types::{EngineEvent, Image, Network};

pub(super) struct Held {
    pub container: Container,
    /// `None`: made by hand.
    pub spec: Option<ContainerSpec>,
}

#[derive(Default)]
pub(super) struct State {
    pub containers: BTreeMap<String, Held>,
    pub images: BTreeMap<String, Image>,
    pub registry: BTreeMap<String, Image>,
    pub behaviours: BTreeMap<String, Behaviour>,
    pub volumes: BTreeMap<String, BTreeMap<String, String>>,
    pub networks: BTreeMap<String, Network>,
    pub delays: BTreeMap<Op, Duration>,
    /// Which call, its error, and whether it is done all the same.
    pub failures: Vec<(Op, EngineError, bool)>,
    pub away: bool,
    pub hung: bool,
    pub mute: bool,
    pub readers: Vec<mpsc::UnboundedSender<EngineEvent>>,
    pub calls: Vec<(Op, String)>,
    /// Counts what happened to containers.
    pub version: u64,
    /// Called for each of that.
    pub told: Option<Box<dyn Fn() + Send + Sync>>,
    pub insides: Insides,
    made: u64,
}

impl State {
    pub fn new() -> Self {
        let network = |name: &str, driver: &str| {
            let network = Network {
                id: format!("{name}-id"),
                name: name.to_owned(),
                driver: driver.to_owned(),
                ..Network::default()
            };
            (name.to_owned(), network)
        };
        let networks = [network("bridge", "bridge"), network("host", "host"), network("none", "null")];
        Self { networks: networks.into_iter().collect(), ..Self::default() }
    }

    pub fn next_id(&mut self) -> String {
        self.made += 1;
        format!("{:012x}", self.made)
    }

    pub fn find_mut(&mut self, container: &str) -> Option<&mut Held> {
        self.containers.values_mut().find(|held| is(&held.container, container))
    }

    /// An image that is here, by a reference or by one of its digests.
    pub fn image(&self, reference: &str) -> Option<&Image> {
        let by_digest = || self.images.values().find(|image| image.digests.iter().any(|d| d == reference));
        self.images.get(reference).or_else(by_digest)
    }

    pub fn tell(&mut self, action: &str, id: &str, name: &str, attributes: BTreeMap<String, String>) {
        self.version += 1;
        if let Some(told) = &self.told {
            told();
        }
        if self.mute {
            return;
        }
        let event = EngineEvent {
            kind: "container".to_owned(),
            action: action.to_owned(),
            id: id.to_owned(),
            name: name.to_owned(),
            attributes,
        };
        self.readers.retain(|reader| reader.send(event.clone()).is_ok());
    }

    pub fn take_failure(&mut self, op: Op, after: bool) -> Option<EngineError> {
        let at = self.failures.iter().position(|(of, _, then)| *of == op && *then == after)?;
        Some(self.failures.remove(at).1)
    }

    pub fn create(&mut self, spec: &ContainerSpec) -> Result<String, EngineError> {
        use evenkeel_plan::instance::container::NetworkChoice;
        let image = self.image(&spec.image).cloned();
        let image = image.ok_or_else(|| EngineError::ImageMissing(spec.image.clone()))?;
        if self.containers.values().any(|held| held.container.name == spec.name) {
            let who = format!("the container name {} is in use", spec.name);
            return Err(EngineError::Conflict { who });
        }
        let mut addresses = BTreeMap::new();
        if let NetworkChoice::Attached(all) = &spec.network {
            for attachment in all {
                if !self.networks.contains_key(&attachment.network) {
                    return Err(EngineError::NotFound(format!("network {}", attachment.network)));
                }
                addresses.insert(attachment.network.clone(), attachment.address);
            }
        }
        let id = self.next_id();
        let container = Container {
            id: id.clone(),
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            image: spec.image.clone(),
            image_id: image.id,
            state: ContainerState::Created,
            started: None,
            finished: None,
            health: None,
            addresses,
            ports: Vec::new(),
            limits: spec.limits,
            pid: None,
        };
        self.containers.insert(id.clone(), Held { container, spec: Some(spec.clone()) });
        self.tell("create", &id, &spec.name, BTreeMap::new());
        Ok(id)
    }

    /// Starts a container; gives what its image does then, or `None` if it runs already.
    pub fn start(&mut self, container: &str, wall: Timestamp) -> Result<Option<Behaviour>, EngineError> {
        let Some(held) = self.containers.values().find(|held| is(&held.container, container)) else {
            return Err(EngineError::NotFound(format!("container {container}")));
        };
        if held.container.state == ContainerState::Running {
            return Ok(None);
        }
        let (id, addresses) = (held.container.id.clone(), held.container.addresses.clone());
        let ports = held.spec.as_ref().map(|spec| self.ports(spec)).unwrap_or_default();
        self.may_start(&id, &addresses, &ports)?;
        let of = self.containers[&id].spec.as_ref().map(|spec| spec.template.image.clone());
        let behaviour = of.and_then(|of| self.behaviours.get(&of)).cloned().unwrap_or(Behaviour::Runs);
        if let Behaviour::FailsToStart(why) = behaviour {
            return Err(EngineError::Refused(why));
        }
        let pid = u32::try_from(self.made + 1000).ok();
        if let Some(held) = self.containers.get_mut(&id) {
            let container = &mut held.container;
            // Two runs never begin at the same time: the time tells them apart.
            let last = container.started.map_or(0, |started| started.0 + 1);
            container.started = Some(Timestamp(wall.0.max(last)));
            container.state = ContainerState::Running;
            container.ports = ports;
            container.pid = pid;
            let name = container.name.clone();
            let command = held.spec.as_ref().and_then(|spec| spec.template.command.clone());
            self.insides.started(&id, &command.unwrap_or_default(), wall);
            self.tell("start", &id, &name, BTreeMap::new());
        }
        Ok(Some(behaviour))
    }

    fn ports(&self, spec: &ContainerSpec) -> Vec<HostPort> {
        let picked = (32768u16..).zip(&spec.ports).map(|(free, port)| HostPort {
            address: port.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
            port: port.port.unwrap_or(free),
            target: port.target,
            protocol: port.protocol,
        });
        picked.collect()
    }

    fn may_start(
        &self,
        id: &str,
        addresses: &BTreeMap<String, Ipv4Addr>,
        ports: &[HostPort],
    ) -> Result<(), EngineError> {
        let running = |held: &&Held| {
            held.container.id != id
                && matches!(held.container.state, ContainerState::Running | ContainerState::Paused)
        };
        for other in self.containers.values().filter(running).map(|held| &held.container) {
            for (network, address) in addresses {
                if other.addresses.get(network) == Some(address) {
                    return Err(EngineError::AddressTaken(format!("{address} by {}", other.name)));
                }
            }
            let clash = |port: &&HostPort| {
                other.ports.iter().any(|o| o.port == port.port && o.protocol == port.protocol)
            };
            if let Some(port) = ports.iter().find(clash) {
                return Err(EngineError::PortTaken(format!("{} by {}", port.port, other.name)));
            }
        }
        Ok(())
    }

    pub fn end(&mut self, container: &str, code: i64, oom: bool, wall: Timestamp) {
        let Some(held) = self.find_mut(container) else { return };
        let container = &mut held.container;
        if !matches!(container.state, ContainerState::Running | ContainerState::Paused) {
            return;
        }
        container.state = ContainerState::Exited { code, oom };
        container.finished = Some(wall);
        container.health = None;
        container.ports.clear();
        container.pid = None;
        let (id, name) = (container.id.clone(), container.name.clone());
        self.insides.ended(&id);
        self.tell("die", &id, &name, BTreeMap::from([("exitCode".to_owned(), code.to_string())]));
    }

    pub fn drop_container(&mut self, container: &str) {
        let Some(held) = self.find_mut(container) else { return };
        let (id, name) = (held.container.id.clone(), held.container.name.clone());
        self.containers.remove(&id);
        self.tell("destroy", &id, &name, BTreeMap::new());
    }
}

pub(super) fn is(container: &Container, wanted: &str) -> bool {
    container.id == wanted || container.name == wanted
}
