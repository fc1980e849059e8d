//! The members of an etcd cluster, one client each. The library balances over several endpoints and does
//! not fail over; we take one member, stay with it while it answers, and take the next one when not.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error};
use evenkeel_runtime::store::StoreError;
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, timeout};

use crate::errors::meaning;

/// After that long away from the first member, which is the nearest, it is tried again.
const HOME_AFTER: Duration = Duration::from_secs(60);

/// Whether a call may be sent again to another member though it may have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Reads, and what does no harm twice.
    Always,
    /// Only while it was surely not done.
    IfNotDone,
}

pub(crate) struct Members {
    list: Vec<Member>,
    current: AtomicUsize,
    away_since: Mutex<Option<Instant>>,
}

pub(crate) struct Member {
    endpoint: String,
    options: ConnectOptions,
    client: OnceCell<Client>,
    failures: watch::Sender<u64>,
}

impl Members {
    /// Not empty.
    pub fn new(endpoints: &[String], options: &ConnectOptions) -> Self {
        let member = |endpoint: &String| Member {
            endpoint: endpoint.clone(),
            options: options.clone(),
            client: OnceCell::new(),
            failures: watch::Sender::new(0),
        };
        let list = endpoints.iter().map(member).collect();
        Self { list, current: AtomicUsize::new(0), away_since: Mutex::default() }
    }

    /// Ask the present member, and the others in turn while nobody answers. `attempt`: for each of them.
    pub async fn ask<T, F, Fut>(
        self: &Arc<Self>,
        repeat: Repeat,
        attempt: Duration,
        call: F,
    ) -> Result<T, StoreError>
    where
        F: Fn(Client, &Member) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        self.go_home();
        let first = self.current.load(Ordering::Relaxed);
        let mut last = StoreError::Unavailable("there is no member to ask".to_owned());
        for step in 0..self.list.len() {
            let at = (first + step) % self.list.len();
            let Some(member) = self.list.get(at) else { continue };
            match member.ask(attempt, &call).await {
                Ok(answer) => {
                    if step > 0 {
                        self.move_to(at);
                    }
                    return Ok(answer);
                }
                Err(error @ StoreError::Unavailable(_)) => last = worse(last, error),
                Err(error @ StoreError::Unknown(_)) => {
                    if repeat == Repeat::IfNotDone {
                        self.move_to((at + 1) % self.list.len());
                        return Err(error);
                    }
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// What each member is, as far as they answer; one after the other, as nobody waits for it.
    pub async fn versions(&self, attempt: Duration) -> Result<BTreeMap<String, String>, StoreError> {
        let status = |client: Client, _: &Member| async move { client.maintenance_client().status().await };
        let mut found = BTreeMap::new();
        let mut last = StoreError::Unavailable("there is no member to ask".to_owned());
        for member in &self.list {
            match member.ask(attempt, &status).await {
                Ok(answer) => drop(found.insert(member.endpoint.clone(), answer.version().to_owned())),
                Err(error) => last = error,
            }
        }
        if found.is_empty() { Err(last) } else { Ok(found) }
    }

    fn move_to(&self, at: usize) {
        let was = self.current.swap(at, Ordering::Relaxed);
        if was == at {
            return;
        }
        if let Some(member) = self.list.get(at) {
            tracing::info!(endpoint = member.endpoint, "another etcd member is asked from now on");
        }
        let mut away = self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        *away = (at != 0).then(Instant::now);
    }

    /// Try the nearest member again now and then, beside the calls so that none of them waits for it.
    fn go_home(self: &Arc<Self>) {
        {
            let mut away = self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
            match *away {
                Some(since) if since.elapsed() >= HOME_AFTER => *away = Some(Instant::now()),
                _ => return,
            }
        }
        let members = self.clone();
        tokio::spawn(async move {
            let Some(home) = members.list.first() else { return };
            // A linearizable read of a key that need not exist: it answers only if it has a quorum.
            let read = async |client: Client| client.kv_client().get("evenkeel", None).await;
            match timeout(HOME_AFTER / 10, async { read(home.client().await?).await }).await {
                Ok(Ok(_)) => members.move_to(0),
                // It answered, if only that we may not read that.
                Ok(Err(error)) if matches!(meaning(&error), StoreError::Refused(_)) => members.move_to(0),
                _ => {}
            }
        });
    }
}

/// Of two failures the one that leaves more doubt.
fn worse(one: StoreError, other: StoreError) -> StoreError {
    if matches!(one, StoreError::Unknown(_)) { one } else { other }
}

impl Member {
    async fn client(&self) -> Result<Client, Error> {
        let connect = || Client::connect([self.endpoint.as_str()], Some(self.options.clone()));
        self.client.get_or_try_init(connect).await.cloned()
    }

    async fn ask<T, F, Fut>(&self, attempt: Duration, call: &F) -> Result<T, StoreError>
    where
        F: Fn(Client, &Member) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let answer = async {
            // Connecting is lazy, but logging in is not; nothing was asked before that.
            let client = self.client().await.map_err(|error| match meaning(&error) {
                StoreError::Unknown(text) => StoreError::Unavailable(text),
                other => other,
            })?;
            call(client, self).await.map_err(|error| meaning(&error))
        };
        let late = |_| StoreError::Unknown(format!("no answer from {} within {attempt:?}", self.endpoint));
        let result = timeout(attempt, answer).await.unwrap_or_else(|elapsed| Err(late(elapsed)));
        let result = result.map_err(|error| match error {
            StoreError::Unavailable(text) => StoreError::Unavailable(format!("{}: {text}", self.endpoint)),
            other => other,
        });
        if let Err(StoreError::Unavailable(_) | StoreError::Unknown(_)) = &result {
            self.failures.send_modify(|failures| *failures += 1);
        }
        result
    }

    /// Told when a call to this member fails: its streams are not to be relied on then.
    pub fn failures(&self) -> watch::Receiver<u64> {
        self.failures.subscribe()
    }
}
