//! A host's engine as one life of its controllers sees it. What was asked of it goes on when the asker dies.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::service::Limits;
use evenkeel_engine::{
    Engine, EngineError, EngineEvent, EngineInfo, Events, ExecOutput, FakeEngine, Image, Network,
    NetworkCreate, RegistryAuth, Volume,
};
use evenkeel_plan::instance::container::{Container, ContainerSpec};

use crate::chance::Chance;
use crate::judge::Judge;
use crate::life::{Life, Point};

/// See the module.
pub struct LifeEngine {
    engine: FakeEngine,
    life: Life,
    chance: Mutex<Chance>,
    judge: Arc<Judge>,
}

impl fmt::Debug for LifeEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LifeEngine({})", self.life.who())
    }
}

impl LifeEngine {
    /// For one life.
    pub fn new(engine: FakeEngine, life: Life, chance: Chance, judge: Arc<Judge>) -> Self {
        Self { engine, life, chance: Mutex::new(chance), judge }
    }

    fn takes(&self, low: u64, high: u64) -> Duration {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).ms(low, high)
    }

    /// A call that only reads.
    async fn read<T>(&self, call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
        if !self.life.turn().await {
            return Err(dead());
        }
        let takes = self.takes(1, 20);
        tokio::time::sleep(takes).await;
        let done = call.await;
        if self.life.turn().await { done } else { Err(dead()) }
    }

    /// A call that changes something: it is the engine's from the moment that it is asked.
    async fn change<T: Send + 'static>(
        &self,
        verb: &'static str,
        of: &str,
        takes: Duration,
        call: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let what = format!("{verb} {of}");
        if !self.life.turn().await || !self.life.passes(Point::Before, &what) {
            return Err(dead());
        }
        self.judge.asked(&self.life, &self.engine, verb, of);
        let (timeline, who, said) = (self.life.timeline().clone(), self.life.who().to_owned(), what.clone());
        let work = tokio::spawn(async move {
            tokio::time::sleep(takes).await;
            let done = call.await;
            match &done {
                Ok(_) => timeline.say(&who, &format!("engine: {said}")),
                Err(error) => timeline.say(&who, &format!("engine: {said}: {error}")),
            }
            done
        });
        let done = work.await.map_err(|gone| EngineError::Unavailable(gone.to_string()))?;
        let alive = self.life.turn().await && self.life.passes(Point::After, &what);
        if alive { done } else { Err(dead()) }
    }
}

fn dead() -> EngineError {
    EngineError::Unavailable("this process is dead".to_owned())
}

macro_rules! owned {
    ($self:ident, $engine:ident, $call:expr) => {{
        let $engine = $self.engine.clone();
        async move { $call.await }
    }};
}

#[async_trait]
impl Engine for LifeEngine {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.read(self.engine.info()).await
    }

    async fn containers(&self, uid: &str) -> Result<Vec<Container>, EngineError> {
        self.read(self.engine.containers(uid)).await
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>, EngineError> {
        self.read(self.engine.inspect(container)).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        let (takes, of) = (self.takes(20, 400), spec.clone());
        self.change("create", &spec.name, takes, owned!(self, engine, engine.create(&of))).await
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        let (takes, of) = (self.takes(50, 800), container.to_owned());
        self.change("start", container, takes, owned!(self, engine, engine.start(&of))).await
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        let (takes, of) = (self.takes(5, 50), container.to_owned());
        self.change("stop", container, takes, owned!(self, engine, engine.stop(&of, grace))).await
    }

    async fn kill(&self, container: &str) -> Result<(), EngineError> {
        let (takes, of) = (self.takes(5, 50), container.to_owned());
        self.change("kill", container, takes, owned!(self, engine, engine.kill(&of))).await
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let (takes, of) = (self.takes(20, 300), container.to_owned());
        self.change("remove", container, takes, owned!(self, engine, engine.remove(&of))).await
    }

    async fn update(&self, container: &str, limits: &Limits) -> Result<(), EngineError> {
        let (takes, of, limits) = (self.takes(5, 50), container.to_owned(), *limits);
        self.change("update", container, takes, owned!(self, engine, engine.update(&of, &limits))).await
    }

    async fn exec(
        &self,
        container: &str,
        argv: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, EngineError> {
        self.read(self.engine.exec(container, argv, timeout)).await
    }

    async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        auth: Option<&RegistryAuth>,
    ) -> Result<Image, EngineError> {
        let (takes, of) = (self.takes(50, 3000), reference.to_owned());
        let (platform, auth) = (platform.map(str::to_owned), auth.cloned());
        let call = owned!(self, engine, engine.pull(&of, platform.as_deref(), auth.as_ref()));
        self.change("pull", reference, takes, call).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, EngineError> {
        self.read(self.engine.image(reference)).await
    }

    async fn volumes(&self, uid: &str) -> Result<Vec<Volume>, EngineError> {
        self.read(self.engine.volumes(uid)).await
    }

    async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        let (takes, of, labels) = (self.takes(5, 50), name.to_owned(), labels.clone());
        self.change("create volume", name, takes, owned!(self, engine, engine.create_volume(&of, &labels)))
            .await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let (takes, of) = (self.takes(5, 50), name.to_owned());
        self.change("remove volume", name, takes, owned!(self, engine, engine.remove_volume(&of))).await
    }

    async fn networks(&self) -> Result<Vec<Network>, EngineError> {
        self.read(self.engine.networks()).await
    }

    async fn network(&self, name: &str) -> Result<Option<Network>, EngineError> {
        self.read(self.engine.network(name)).await
    }

    async fn create_network(&self, network: &NetworkCreate) -> Result<(), EngineError> {
        let (takes, of) = (self.takes(50, 300), network.clone());
        self.change("create network", &network.name, takes, owned!(self, engine, engine.create_network(&of)))
            .await
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        let (takes, of) = (self.takes(20, 200), name.to_owned());
        self.change("remove network", name, takes, owned!(self, engine, engine.remove_network(&of))).await
    }

    async fn events(&self) -> Result<Box<dyn Events>, EngineError> {
        let events = self.read(self.engine.events()).await?;
        Ok(Box::new(LifeEvents { events, life: self.life.clone() }))
    }
}

struct LifeEvents {
    events: Box<dyn Events>,
    life: Life,
}

#[async_trait]
impl Events for LifeEvents {
    async fn next(&mut self) -> Option<EngineEvent> {
        if !self.life.turn().await {
            return None;
        }
        self.events.next().await
    }
}
