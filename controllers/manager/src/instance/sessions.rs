//! What people reach in the copies of this host: their output, commands in them, their ports and files. It runs on a
//! thread of its own, with connections of its own: however much somebody copies, no lease and no container waits.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::record::{Cluster, Timestamp};
use evenkeel_api::session::{Action, Challenge, Session};
use evenkeel_engine::{EngineError, Inside};
use evenkeel_plan::instance::container::Container;
use evenkeel_runtime::env::Env;
use evenkeel_runtime::store::Store;
use evenkeel_runtime::writer::{NewEvent, Writer};
use evenkeel_sessions::{Broken, Copies, Frame, Identity, Link, Server};

use super::execute::is_ours;

mod command;
mod files;
mod forward;
mod logs;
#[cfg(test)]
mod tests;
mod usage;

/// The edges that sessions have of their own: the store, and the engine.
pub type Edges = (Arc<dyn Store>, Arc<dyn Inside>);

/// Where and how people reach the copies of this host.
#[derive(Clone)]
pub struct Sessions {
    /// The address and port.
    pub listen: SocketAddr,
    /// The certificates, where etcd asks for some.
    pub identity: Option<Identity>,
    /// Makes the edges, on the thread that uses them.
    pub connect: Arc<dyn Fn() -> Result<Edges, String> + Send + Sync>,
}

impl Sessions {
    /// Answers from now on, on a thread of its own that ends with the process.
    pub(super) fn begin(&self, host: &HostName, env: &Arc<Env>, writer: &Writer) -> std::io::Result<()> {
        let (sessions, host, env, writer) = (self.clone(), host.clone(), env.clone(), writer.clone());
        std::thread::Builder::new().name("sessions".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!(%error, "nobody can reach the copies of this host");
                    return;
                }
            };
            runtime.block_on(async {
                match (sessions.connect)() {
                    Ok((store, engine)) => {
                        let copies = Here { host: host.clone(), env, store, engine, writer };
                        Server::new(host, sessions.identity, copies).run(sessions.listen).await;
                    }
                    Err(why) => tracing::error!(%why, "nobody can reach the copies of this host"),
                }
            });
        })?;
        Ok(())
    }
}

/// The copies of this host.
struct Here {
    host: HostName,
    env: Arc<Env>,
    store: Arc<dyn Store>,
    engine: Arc<dyn Inside>,
    writer: Writer,
}

/// Why a session ended before its end.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// For a reason that whoever asked should know.
    #[error("{0}")]
    Why(String),
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Whoever asked is gone.
    #[error(transparent)]
    Gone(#[from] Broken),
}

#[async_trait]
impl Copies for Here {
    async fn permit(&self, challenge: Challenge, asked: &Session) -> Result<(), String> {
        let key = Key::asks(&asked.action, challenge);
        let (stored, _) = self.store.get(&key).await.map_err(|error| format!("{}: {error}", self.host))?;
        let stored = stored.and_then(|kv| serde_json::from_slice::<Session>(&kv.value).ok());
        if stored.as_ref() != Some(asked) {
            return Err(format!("etcd does not hold what was asked under {key}"));
        }
        tracing::info!(by = %asked.by, action = ?asked.action, "a session");
        if let Some(event) = event(asked) {
            self.writer.event(event);
        }
        Ok(())
    }

    async fn serve(&self, asked: &Session, link: Link) {
        let engine = &*self.engine;
        let (sender, receiver) = link.split();
        let mut ends = Ends { sender: sender.clone(), receiver };
        let done = match &asked.action {
            Action::Usage { service, follow } => match self.uid().await {
                Ok(uid) => usage::serve(engine, &uid, service.as_ref(), *follow, &mut ends).await,
                Err(ended) => Err(ended),
            },
            action => match self.container(action.copy()).await {
                Ok(container) => reach(engine, &container, action, self.env.wall(), &mut ends).await,
                Err(ended) => Err(ended),
            },
        };
        let last = match done {
            Ok(code) => Frame::End(code),
            Err(Ended::Gone(_)) => return,
            Err(ended) => Frame::Refused(ended.to_string()),
        };
        ends.receiver.finish(sender, last).await;
    }
}

/// Both halves of a connection.
struct Ends {
    sender: evenkeel_sessions::Sender,
    receiver: evenkeel_sessions::Receiver,
}

/// Does what is asked of one copy.
async fn reach(
    engine: &dyn Inside,
    container: &Container,
    action: &Action,
    now: Timestamp,
    ends: &mut Ends,
) -> Result<i64, Ended> {
    match action {
        Action::Logs { follow, since, tail, .. } => {
            logs::serve(engine, &container.name, logs::lines(now, *since, *tail, *follow), ends).await
        }
        Action::Exec { command, tty, stdin, .. } => {
            command::serve(engine, &container.name, command, *tty, *stdin, ends).await
        }
        Action::Forward { port, .. } => forward::serve(container, *port, ends).await,
        Action::Fetch { path, .. } => files::fetch(engine, &container.name, path, ends).await,
        Action::Store { path, .. } => files::store(engine, &container.name, path, ends).await,
        Action::Usage { .. } => Err(Ended::Why("that is asked of a host, not of a copy".to_owned())),
    }
}

impl Here {
    /// What the label of all that is ours says.
    async fn uid(&self) -> Result<String, Ended> {
        let (stored, _) =
            self.store.get(&Key::Cluster).await.map_err(|error| Ended::Why(error.to_string()))?;
        let cluster = stored.and_then(|kv| serde_json::from_slice::<Cluster>(&kv.value).ok());
        cluster.map(|cluster| cluster.uid).ok_or_else(|| Ended::Why("there is no cluster yet".to_owned()))
    }

    /// The container of a copy. What bears its name without our labels is nobody's to reach.
    async fn container(&self, copy: Option<&InstanceId>) -> Result<Container, Ended> {
        let copy = copy.ok_or_else(|| Ended::Why("no copy is named".to_owned()))?;
        let uid = self.uid().await?;
        let found = self.engine.inspect(&copy.to_string()).await?;
        found
            .filter(|container| is_ours(container, &uid, copy))
            .ok_or_else(|| Ended::Why(format!("{copy} has no container on {}", self.host)))
    }
}

/// What is kept of a session that could change something.
fn event(asked: &Session) -> Option<NewEvent> {
    let (reason, what) = match &asked.action {
        Action::Logs { .. } | Action::Usage { .. } => return None,
        Action::Exec { command, .. } => ("Exec", format!("runs `{}`", shown(&command.join(" ")))),
        Action::Forward { port, .. } => ("PortForward", format!("connects to port {port}")),
        Action::Fetch { path, .. } => ("CopyOut", format!("copies {} out", shown(path))),
        Action::Store { path, .. } => ("CopyIn", format!("copies to {}", shown(path))),
    };
    let copy = asked.action.copy()?;
    Some(NewEvent {
        object: ObjectRef::Service(copy.service.clone()),
        instance: Some(copy.clone()),
        warning: false,
        reason: reason.to_owned(),
        message: format!("{} {what}", shown(&asked.by)),
    })
}

/// A text of a person's on one line, not longer than a record of it should be.
fn shown(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}
