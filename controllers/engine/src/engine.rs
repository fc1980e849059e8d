//! The engine as controllers see it. Every method has a deadline of its own, is safe to repeat, and says
//! «done» when what was asked for is so already.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::service::Limits;
use evenkeel_plan::instance::container::{Container, ContainerSpec};

use crate::types::{
    EngineEvent, EngineInfo, ExecOutput, Image, Network, NetworkCreate, RegistryAuth, Volume,
};

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is no such thing.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Something else has that name, or uses it.
    #[error("conflict: {who}")]
    Conflict {
        /// What is in the way.
        who: String,
    },
    /// The engine cannot be reached.
    #[error("the Docker engine cannot be reached: {0}")]
    Unavailable(String),
    /// No answer in time: whether it was done is not known.
    #[error("the Docker engine did not answer in time ({0})")]
    Timeout(String),
    /// The engine does not have the image.
    #[error("the image {0} is not on this host")]
    ImageMissing(String),
    /// The address is taken by somebody else.
    #[error("an address is taken: {0}")]
    AddressTaken(String),
    /// A port of the host is taken by somebody else.
    #[error("a port is taken: {0}")]
    PortTaken(String),
    /// The engine says no, and would again.
    #[error("the Docker engine refused: {0}")]
    Refused(String),
    /// The answer was not understood; it says nothing about what there is.
    #[error("the Docker engine's answer was not understood: {0}")]
    Garbled(String),
}

impl EngineError {
    /// Whether the engine itself is in trouble, so that the next call is likely to fail as well.
    pub fn is_engine_away(&self) -> bool {
        matches!(self, EngineError::Unavailable(_) | EngineError::Timeout(_) | EngineError::Garbled(_))
    }
}

/// The stream of wake-ups.
#[async_trait]
pub trait Events: Send {
    /// The next one; `None`: the stream is over, subscribe again and then list. Cancel-safe.
    async fn next(&mut self) -> Option<EngineEvent>;
}

/// A Docker engine. Errors of every method: see [`EngineError`].
#[async_trait]
pub trait Engine: Send + Sync + fmt::Debug {
    /// What it is. Also the cheapest proof that it answers.
    async fn info(&self) -> Result<EngineInfo, EngineError>;

    /// All containers with the label of the cluster `uid`, whatever their state. An answer that is not
    /// understood is an error, never an empty list.
    async fn containers(&self, uid: &str) -> Result<Vec<Container>, EngineError>;
    /// One container, by id or name, ours or not; `None`: there is none.
    async fn inspect(&self, container: &str) -> Result<Option<Container>, EngineError>;
    /// Make a container, attached to all of its networks; gives the engine's id of it.
    async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError>;
    /// Start it.
    async fn start(&self, container: &str) -> Result<(), EngineError>;
    /// Its stop signal, then after `grace` a kill. Done when it has ended.
    async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError>;
    /// Kill it at once.
    async fn kill(&self, container: &str) -> Result<(), EngineError>;
    /// Remove it, with its volumes that have no name; kills it if it still runs.
    async fn remove(&self, container: &str) -> Result<(), EngineError>;
    /// Change the limits of a running or stopped container; what is `None` becomes unlimited.
    async fn update(&self, container: &str, limits: &Limits) -> Result<(), EngineError>;
    /// Run a command in a container. After `timeout`: [`EngineError::Timeout`], the command may run on.
    async fn exec(
        &self,
        container: &str,
        argv: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, EngineError>;

    /// Get an image from its registry.
    async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        auth: Option<&RegistryAuth>,
    ) -> Result<Image, EngineError>;
    /// An image that the engine has.
    async fn image(&self, reference: &str) -> Result<Option<Image>, EngineError>;

    /// All volumes with the label of the cluster `uid`.
    async fn volumes(&self, uid: &str) -> Result<Vec<Volume>, EngineError>;
    /// Make a volume. One of that name that stands already is left as it is.
    async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError>;
    /// Remove a volume and the data in it.
    async fn remove_volume(&self, name: &str) -> Result<(), EngineError>;

    /// All networks, ours or not.
    async fn networks(&self) -> Result<Vec<Network>, EngineError>;
    /// One network with who is on it, by name or id; `None`: there is none.
    async fn network(&self, name: &str) -> Result<Option<Network>, EngineError>;
    /// Make a bridge network. One of that name that stands already is a conflict.
    async fn create_network(&self, network: &NetworkCreate) -> Result<(), EngineError>;
    /// Remove a network; one with containers on it is a conflict.
    async fn remove_network(&self, name: &str) -> Result<(), EngineError>;

    /// Wake-ups from now on.
    async fn events(&self) -> Result<Box<dyn Events>, EngineError>;
}
