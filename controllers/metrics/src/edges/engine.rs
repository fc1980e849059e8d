//! The Docker engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::service::Limits;
use evenkeel_engine::{
    Engine, EngineError, EngineInfo, Events, ExecOutput, Image, Network, NetworkCreate, RegistryAuth, Volume,
};
use evenkeel_plan::instance::container::{Container, ContainerSpec};
use tokio::time::Instant;

use crate::meter::Meter;

/// An engine that counts what it is asked for, and how that ends.
#[derive(Debug)]
pub struct MeteredEngine {
    engine: Arc<dyn Engine>,
    meter: Meter,
}

impl MeteredEngine {
    /// Around an engine that a controller asks.
    pub fn new(engine: Arc<dyn Engine>, meter: Meter) -> Self {
        Self { engine, meter }
    }

    async fn count<T>(
        &self,
        call: &'static str,
        asked: impl Future<Output = Result<T, EngineError>> + Send,
    ) -> Result<T, EngineError> {
        let began = Instant::now();
        let result = asked.await;
        let (figures, call) = (&self.meter.figures, ("call", call));
        let took = began.elapsed().as_secs_f64();
        figures.engine_times.get_or_create(&[self.meter.of(), call]).observe(took);
        if let Err(error) = &result {
            figures.engine_errors.get_or_create(&[self.meter.of(), call, ("kind", kind(error))]).inc();
        }
        result
    }
}

fn kind(error: &EngineError) -> &'static str {
    match error {
        EngineError::NotFound(_) => "not_found",
        EngineError::Conflict { .. } => "conflict",
        EngineError::Unavailable(_) => "unavailable",
        EngineError::Timeout(_) => "timeout",
        EngineError::ImageMissing(_) => "image_missing",
        EngineError::AddressTaken(_) => "address_taken",
        EngineError::PortTaken(_) => "port_taken",
        EngineError::Refused(_) => "refused",
        EngineError::Garbled(_) => "garbled",
    }
}

#[async_trait]
impl Engine for MeteredEngine {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.count("info", self.engine.info()).await
    }

    async fn containers(&self, uid: &str) -> Result<Vec<Container>, EngineError> {
        self.count("list", self.engine.containers(uid)).await
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>, EngineError> {
        self.count("inspect", self.engine.inspect(container)).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        self.count("create", self.engine.create(spec)).await
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.count("start", self.engine.start(container)).await
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        self.count("stop", self.engine.stop(container, grace)).await
    }

    async fn kill(&self, container: &str) -> Result<(), EngineError> {
        self.count("kill", self.engine.kill(container)).await
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        self.count("remove", self.engine.remove(container)).await
    }

    async fn update(&self, container: &str, limits: &Limits) -> Result<(), EngineError> {
        self.count("update", self.engine.update(container, limits)).await
    }

    async fn exec(
        &self,
        container: &str,
        argv: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, EngineError> {
        self.count("exec", self.engine.exec(container, argv, timeout)).await
    }

    async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        auth: Option<&RegistryAuth>,
    ) -> Result<Image, EngineError> {
        let pulled = self.count("pull", self.engine.pull(reference, platform, auth)).await;
        let outcome = if pulled.is_ok() { "done" } else { "failed" };
        self.meter.figures.pulls.get_or_create(&[("outcome", outcome)]).inc();
        pulled
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, EngineError> {
        self.count("image", self.engine.image(reference)).await
    }

    async fn volumes(&self, uid: &str) -> Result<Vec<Volume>, EngineError> {
        self.count("volumes", self.engine.volumes(uid)).await
    }

    async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        self.count("create_volume", self.engine.create_volume(name, labels)).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.count("remove_volume", self.engine.remove_volume(name)).await
    }

    async fn networks(&self) -> Result<Vec<Network>, EngineError> {
        self.count("networks", self.engine.networks()).await
    }

    async fn network(&self, name: &str) -> Result<Option<Network>, EngineError> {
        self.count("network", self.engine.network(name)).await
    }

    async fn create_network(&self, network: &NetworkCreate) -> Result<(), EngineError> {
        self.count("create_network", self.engine.create_network(network)).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        self.count("remove_network", self.engine.remove_network(name)).await
    }

    async fn events(&self) -> Result<Box<dyn Events>, EngineError> {
        self.count("events", self.engine.events()).await
    }
}
