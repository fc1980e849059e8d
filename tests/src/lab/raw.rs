//! Raw Docker: the same container as a copy, made and kept by bare calls to the engine, to measure against.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::engine::Container;
pub use super::engine::Engine;

/// What the engine wants for a container like `copy` at `address`. The labels are as many and as long, but
/// not evenkeel's: it would take the container for a copy that nobody wants.
pub fn like(copy: &Container, network: &str, address: &str) -> Value {
    let mut body = copy.raw["Config"].as_object().cloned().unwrap_or_default();
    let labels: BTreeMap<String, String> = copy
        .labels
        .iter()
        .map(|(key, value)| (key.replace("evenkeel.", "e2e-like."), value.clone()))
        .collect();
    body.insert("Labels".to_owned(), json!(labels));
    body.insert("HostConfig".to_owned(), copy.raw["HostConfig"].clone());
    let endpoint = json!({"IPAMConfig": {"IPv4Address": address}});
    let endpoints = Map::from_iter([(format!("ek-{network}"), endpoint)]);
    body.insert("NetworkingConfig".to_owned(), json!({ "EndpointsConfig": endpoints }));
    if let Some(host) = body.get_mut("HostConfig").and_then(Value::as_object_mut) {
        host.insert("NetworkMode".to_owned(), json!(format!("ek-{network}")));
    }
    Value::Object(body)
}

/// Creates and starts a container.
///
/// # Errors
/// The engine refuses.
pub fn run(engine: &Engine, name: &str, body: &Value) -> Result<(), String> {
    let (status, answer) = engine.request("POST", &format!("/containers/create?name={name}"), Some(body))?;
    if status != 201 {
        return Err(format!("create {name}: {status} {answer}"));
    }
    start(engine, name)
}

/// Starts a container.
///
/// # Errors
/// The engine refuses.
pub fn start(engine: &Engine, name: &str) -> Result<(), String> {
    match engine.request("POST", &format!("/containers/{name}/start"), None)? {
        (204 | 304, _) => Ok(()),
        (status, answer) => Err(format!("start {name}: {status} {answer}")),
    }
}

/// Kills a container.
///
/// # Errors
/// The engine refuses.
pub fn kill(engine: &Engine, name: &str) -> Result<(), String> {
    match engine.request("POST", &format!("/containers/{name}/kill"), None)? {
        (204, _) => Ok(()),
        (status, answer) => Err(format!("kill {name}: {status} {answer}")),
    }
}

/// Removes a container, whether or not it runs.
///
/// # Errors
/// The engine refuses.
pub fn remove(engine: &Engine, name: &str) -> Result<(), String> {
    match engine.request("DELETE", &format!("/containers/{name}?force=1&v=1"), None)? {
        (204 | 404, _) => Ok(()),
        (status, answer) => Err(format!("remove {name}: {status} {answer}")),
    }
}

/// Keeps `name` running as barely as can be: `die` → start, `destroy` → create and start, until the keeper
/// is dropped.
///
/// # Errors
/// The engine does not answer.
pub fn keep(engine: Engine, name: String, body: Value) -> Result<Keeper, String> {
    let events = engine.events()?;
    let on = Arc::new(AtomicBool::new(true));
    let keeper = Keeper(on.clone());
    std::thread::spawn(move || {
        for (action, who, _) in events {
            if !on.load(Ordering::SeqCst) {
                return;
            }
            if who == name {
                // What is being removed refuses its start; its end comes as the next event.
                let _ = match action.as_str() {
                    "die" => start(&engine, &name),
                    "destroy" => run(&engine, &name, &body),
                    _ => Ok(()),
                };
            }
        }
    });
    Ok(keeper)
}

/// Who keeps a container running.
#[derive(Debug)]
pub struct Keeper(Arc<AtomicBool>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// The events of an engine, with the engine's own times.
pub struct Recorder {
    events: Receiver<(String, String, i64)>,
}

impl Recorder {
    /// From now on.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn start(engine: &Engine) -> Result<Self, String> {
        let (tell, events) = channel();
        let stream = engine.events()?;
        std::thread::spawn(move || {
            for event in stream {
                if tell.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Self { events })
    }

    /// The next event of this action whose container's name fits, within `patience`: name and nanoseconds.
    pub fn next(
        &self,
        action: &str,
        fits: impl Fn(&str) -> bool,
        patience: Duration,
    ) -> Option<(String, i64)> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let (what, who, nanoseconds) = self.events.recv_timeout(left).ok()?;
            if what == action && fits(&who) {
                return Some((who, nanoseconds));
            }
        }
    }

    /// Milliseconds from the end of `name` to its next start.
    pub fn outage(&self, name: &str, patience: Duration) -> Option<f64> {
        let (_, died) = self.next("die", |who| who == name, patience)?;
        let (_, started) = self.next("start", |who| who == name, patience)?;
        Some((started - died) as f64 / 1e6)
    }
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}
