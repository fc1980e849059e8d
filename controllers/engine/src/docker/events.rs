//! The engine's event stream.

use async_trait::async_trait;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use std::collections::HashMap;
use tokio::sync::mpsc;

use super::Session;
use crate::engine::Events;
use crate::types::EngineEvent;

/// Events that wait for a slow reader; then the stream ends, and its reader lists instead.
const WAITING: usize = 1024;

/// The reader's end. The request is made by a task at once, not when it is first read: what happens
/// after a list that follows the subscription is never missed.
pub(super) struct Stream(mpsc::Receiver<EngineEvent>);

pub(super) fn subscribe(session: &Session) -> Stream {
    let (sender, receiver) = mpsc::channel(WAITING);
    let client = session.client.clone();
    tokio::spawn(async move {
        let kinds = HashMap::from([("type", vec!["container", "network", "volume", "daemon"])]);
        let mut events = Box::pin(client.events(Some(EventsOptionsBuilder::new().filters(&kinds).build())));
        loop {
            let message = tokio::select! {
                biased;
                // Cancel-safe: nothing is taken from the stream.
                () = sender.closed() => return,
                message = events.next() => message,
            };
            let Some(Ok(message)) = message else { return };
            let Some(event) = told(message) else { continue };
            if sender.try_send(event).is_err() {
                return;
            }
        }
    });
    Stream(receiver)
}

/// `None` for what says nothing about states: every exec check would wake everybody three times.
fn told(message: EventMessage) -> Option<EngineEvent> {
    let action = message.action.unwrap_or_default();
    if action.starts_with("exec_") || matches!(action.as_str(), "attach" | "top" | "resize" | "export") {
        return None;
    }
    let actor = message.actor.unwrap_or_default();
    let attributes = actor.attributes.unwrap_or_default();
    Some(EngineEvent {
        kind: message.typ.map(|kind| kind.to_string()).unwrap_or_default(),
        action,
        id: actor.id.unwrap_or_default(),
        name: attributes.get("name").cloned().unwrap_or_default(),
        attributes: attributes.into_iter().collect(),
    })
}

#[async_trait]
impl Events for Stream {
    async fn next(&mut self) -> Option<EngineEvent> {
        self.0.recv().await
    }
}
