//! The engine's stream of wake-ups, subscribed to again and again.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_engine::Engine;
use evenkeel_runtime::backoff::Backoff;
use evenkeel_runtime::env::Env;
use tokio::sync::mpsc;

use super::execute::Message;

/// Runs for ever: tells of every subscription, so that a list follows it, and of every event.
pub(super) async fn follow(engine: Arc<dyn Engine>, env: Arc<Env>, tell: mpsc::UnboundedSender<Message>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        match engine.events().await {
            Ok(mut events) => {
                backoff.reset();
                if tell.send(Message::Subscribed).is_err() {
                    return;
                }
                while let Some(event) = events.next().await {
                    if tell.send(Message::Event(event)).is_err() {
                        return;
                    }
                }
                tracing::info!("the engine's event stream ended");
            }
            Err(error) => tracing::warn!(%error, "the engine gives no events"),
        }
        tokio::time::sleep(backoff.next(env.random())).await;
    }
}
