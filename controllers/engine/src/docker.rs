//! The adapter to a real engine, over its unix socket. The only place that knows the engine's API, its
//! status codes and its spellings.

mod calls;
mod errors;
mod events;
mod inside;
mod raw;
mod read;
mod spec;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use bollard::Docker as Client;

use crate::engine::EngineError;
use crate::types::Deadlines;

/// An engine behind a unix socket.
pub struct Docker {
    socket: PathBuf,
    deadlines: Deadlines,
    /// Dropped when the engine is away: after an upgrade it may speak another API version.
    session: Mutex<Option<Session>>,
}

/// A client that has agreed on an API version.
#[derive(Clone)]
pub(crate) struct Session {
    client: Client,
    /// CPUs of the machine: a limit of as many is no limit.
    cpus: u64,
}

impl Docker {
    /// The engine behind `socket`. Connects at the first call, so that a controller may start first.
    pub fn new(socket: &Path, deadlines: Deadlines) -> Self {
        Self { socket: socket.to_owned(), deadlines, session: Mutex::new(None) }
    }

    async fn session(&self) -> Result<Session, EngineError> {
        if let Some(session) = self.kept() {
            return Ok(session);
        }
        let connecting = async {
            // The library's own timeout covers headers only and is shared by quick and slow calls:
            // it is set beyond all of ours, which cover whole calls.
            let longest = self.deadlines.pull.as_secs() + 60;
            let path = self.socket.to_string_lossy();
            let client = Client::connect_with_unix(&path, longest, bollard::API_DEFAULT_VERSION)?
                .negotiate_version()
                .await?;
            let cpus = client.info().await?.ncpu.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
            Ok(Session { client, cpus })
        };
        let session = within("connect", self.deadlines.read, connecting).await?;
        *self.lock() = Some(session.clone());
        Ok(session)
    }

    fn kept(&self) -> Option<Session> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// One call of the API, with its deadline, and its error told in our words.
    async fn call<T, F>(
        &self,
        what: &str,
        deadline: Duration,
        call: impl FnOnce(Session) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        let session = self.session().await?;
        let result = within(what, deadline, call(session)).await;
        if matches!(result, Err(EngineError::Unavailable(_))) {
            *self.lock() = None;
        }
        result
    }
}

async fn within<T>(
    what: &str,
    deadline: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(result) => result.map_err(|error| errors::told(what, error)),
        Err(_) => Err(EngineError::Timeout(what.to_owned())),
    }
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Docker({})", self.socket.display())
    }
}

#[cfg(test)]
mod tests;
