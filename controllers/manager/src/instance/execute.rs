//! The executor's room: one step of one instance, done on the engine.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_engine::{Engine, EngineError, EngineEvent, Image, Turns};
use evenkeel_plan::instance::container::{Container, ContainerSpec, ContainerState, NetworkChoice};
use evenkeel_plan::instance::decide::Action;
use evenkeel_runtime::store::TxnBuilder;
use evenkeel_runtime::writer::{Outcome as Written, Writer};

/// What tasks tell the driver.
pub(super) enum Message {
    /// A step is over.
    Done(InstanceId, Box<Outcome>),
    /// A list of all our containers, asked for at that time.
    Listed(Duration, Result<Vec<Container>, EngineError>),
    /// A pull is over.
    Pulled(String, Result<Image, EngineError>),
    /// Events are heard from now on.
    Subscribed,
    /// One of them.
    Event(EngineEvent),
}

/// How a step ended.
pub(super) enum Outcome {
    /// The container as it is now.
    Saw(Option<Box<Container>>),
    /// The engine took the limits.
    Updated,
    /// The image that the pinned reference has here, if it is here.
    Image(Option<Image>),
    /// An address of it is taken; those that others hold, by engine network.
    AddressTaken(Vec<(String, BTreeSet<Ipv4Addr>)>),
    /// The store does not confirm that it may be stopped: not now.
    Unconfirmed(String),
    /// The engine said no.
    Failed(EngineError),
}

/// What steps need.
#[derive(Clone)]
pub(super) struct Executor {
    pub engine: Arc<dyn Engine>,
    pub writer: Writer,
    pub host: HostName,
    /// Makings, starts and removals at a time: more of them only wait for each other in the engine.
    pub turns: Turns,
}

/// That something may be stopped or removed, to be confirmed by the store first.
pub(super) struct Confirm {
    /// The record's revision; 0: there is none.
    pub revision: i64,
}

impl Executor {
    /// Looks at a container: at the one that is known, as a person may have renamed it, else by its name.
    pub(super) async fn look(&self, id: &InstanceId, uid: &str, known: Option<String>) -> Outcome {
        let by_id = match known {
            Some(known) => self.engine.inspect(&known).await,
            None => Ok(None),
        };
        let found = match by_id {
            Ok(None) => self.engine.inspect(&id.to_string()).await,
            found => found,
        };
        match found {
            // What has our name without our label is not ours.
            Ok(found) => saw(found.filter(|one| is_ours(one, uid, id))),
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Does one step; a destructive one only once the store has confirmed it.
    pub(super) async fn act(
        &self,
        id: &InstanceId,
        container: Option<&Container>,
        action: Action,
        confirm: Option<Confirm>,
    ) -> Outcome {
        if let Some(confirm) = confirm
            && let Err(why) = self.confirm(id, confirm.revision).await
        {
            return Outcome::Unconfirmed(why);
        }
        match self.step(container, action).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Whether the record is as the decision saw it, in a store that has not gone back.
    async fn confirm(&self, id: &InstanceId, revision: i64) -> Result<(), String> {
        let key = Key::Instance(self.host.clone(), id.clone());
        let txn = TxnBuilder::new().if_unchanged(&key, revision).get(&key);
        match self.writer.commit(txn).await {
            Ok(Written::Done { .. }) => Ok(()),
            Ok(Written::Lost) => Err("its record has changed meanwhile".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn step(&self, container: Option<&Container>, action: Action) -> Result<Outcome, EngineError> {
        let at = || container.map(|one| one.id.as_str()).ok_or(EngineError::NotFound("container".to_owned()));
        match action {
            Action::Create { spec, volumes } => {
                let create = async {
                    for (name, labels) in &volumes {
                        self.engine.create_volume(name, labels).await?;
                    }
                    self.engine.create(&spec).await
                };
                let id = self.turns.run(create).await?;
                Ok(saw(Some(just_made(id, &spec))))
            }
            Action::Start => match self.turns.run(self.engine.start(at()?)).await {
                Err(EngineError::AddressTaken(_)) => self.who_has_them(container).await,
                other => {
                    other?;
                    Ok(saw(self.engine.inspect(at()?).await?))
                }
            },
            // Takes no turn: graces are long, and others must not wait for them.
            Action::Stop { grace } => {
                self.engine.stop(at()?, grace.0).await?;
                Ok(saw(self.engine.inspect(at()?).await?))
            }
            Action::Remove => {
                self.turns.run(self.engine.remove(at()?)).await?;
                Ok(Outcome::Saw(None))
            }
            Action::Update(limits) => {
                self.engine.update(at()?, &limits).await?;
                Ok(Outcome::Updated)
            }
            Action::Verify { reference } => Ok(Outcome::Image(self.engine.image(&reference).await?)),
            // Pulls are the driver's: shared by all who want them.
            Action::Pull { .. } => Ok(saw(container.cloned())),
        }
    }

    async fn who_has_them(&self, container: Option<&Container>) -> Result<Outcome, EngineError> {
        let mut taken = Vec::new();
        for name in container.into_iter().flat_map(|one| one.addresses.keys()) {
            if let Some(network) = self.engine.network(name).await? {
                taken.push((name.clone(), network.containers.into_values().collect()));
            }
        }
        Ok(Outcome::AddressTaken(taken))
    }
}

fn saw(container: Option<Container>) -> Outcome {
    Outcome::Saw(container.map(Box::new))
}

/// Whether a container bears our labels for that instance.
pub(super) fn is_ours(container: &Container, uid: &str, id: &InstanceId) -> bool {
    use evenkeel_plan::instance::container::label::CLUSTER;
    container.labels.get(CLUSTER).is_some_and(|of| of == uid) && container.instance().as_ref() == Some(id)
}

/// A container as it surely is when it has just been made: asking would cost a call.
fn just_made(id: String, spec: &ContainerSpec) -> Container {
    let addresses = match &spec.network {
        NetworkChoice::Attached(all) => all.iter().map(|one| (one.network.clone(), one.address)).collect(),
        NetworkChoice::Host | NetworkChoice::None => std::collections::BTreeMap::new(),
    };
    Container {
        id,
        name: spec.name.clone(),
        labels: spec.labels.clone(),
        image: spec.image.clone(),
        image_id: String::new(),
        state: ContainerState::Created,
        started: None,
        finished: None,
        health: None,
        addresses,
        ports: Vec::new(),
        limits: spec.limits,
        pid: None,
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_engine::FakeEngine;
    use evenkeel_plan::instance::container::label;

    use super::*;

    #[test]
    fn a_container_is_ours_by_its_cluster_and_its_instance() {
        let id = "shop.web.1.1".parse().unwrap();
        for (cluster, instance, ours) in [
            (Some("u1"), Some("shop.web.1.1"), true),
            (Some("u2"), Some("shop.web.1.1"), false),
            (Some("u1"), Some("shop.web.2.2"), false),
            (None, Some("shop.web.1.1"), false),
            (Some("u1"), None, false),
        ] {
            let engine = FakeEngine::new();
            let labels = [(label::CLUSTER, cluster), (label::INSTANCE, instance)].into_iter();
            let labels = labels.filter_map(|(label, of)| Some((label.to_owned(), of?.to_owned())));
            engine.add_foreign("shop.web.1.1", labels.collect());
            assert_eq!(is_ours(&engine.all()[0], "u1", &id), ours, "{instance:?} of {cluster:?}");
        }
    }
}
