//! Guarded writing: one writer for a controller process, whose transactions follow each other, carry the
//! chain guard and the events that wait, and are read back when their outcome is not known.

mod chain;
mod events;
mod guarded;
mod tend;

use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::record::Event;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::env::Env;
use crate::store::{Store, StoreError, TxnBuilder, TxnError};
pub use crate::witness::Trust;
pub(crate) use chain::contradicts;
pub use chain::{LastWrite, Memory};
pub(crate) use guarded::json;

/// Longer messages of events are cut.
const MAX_MESSAGE: usize = 1024;

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done {
        /// The revision of its writes.
        revision: i64,
    },
    /// A demand did not hold: read again and plan again.
    Lost,
}

/// Why a transaction was not done.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The store did not do it. Only after `Unknown` may it still have been done: read again before
    /// planning; the next transaction waits until that is settled.
    #[error("the store did not take the transaction")]
    Store(#[source] StoreError),
    /// It could not be built.
    #[error("the transaction cannot be built")]
    Txn(#[source] TxnError),
    /// The store is not believed.
    #[error("the store is not trusted: {0}")]
    Untrusted(String),
}

/// Something that happened, to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// To what.
    pub object: ObjectRef,
    /// Which copy, if one.
    pub instance: Option<InstanceId>,
    /// Whether a person should care.
    pub warning: bool,
    /// One word for programs.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The one writer of a controller process; a cheap handle. All roles of the process share it, since the
/// guard is one key: two writers would refuse each other's every other transaction.
#[derive(Clone)]
pub struct Writer {
    inner: Arc<Inner>,
    _tending: Arc<Tending>,
}

/// Ends the task that flushes events, with the last handle.
struct Tending(Option<AbortHandle>);

impl Drop for Tending {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

struct Inner {
    store: Arc<dyn Store>,
    env: Arc<Env>,
    host: HostName,
    controller: Controller,
    /// Tells this process from the next.
    process: String,
    /// Held through a whole transaction: they follow each other.
    chain: tokio::sync::Mutex<Option<chain::Link>>,
    events: Mutex<events::Events>,
    memory: Mutex<Kept>,
    news: Notify,
}

#[derive(Default)]
struct Kept {
    memory: Option<Box<dyn Memory>>,
    /// Not saved yet.
    unsaved: Option<LastWrite>,
}

impl Writer {
    /// A writer for `controller` on `host`. Within a tokio runtime, events are also flushed by themselves;
    /// without one only by [`Writer::flush`].
    pub fn new(store: Arc<dyn Store>, env: Arc<Env>, host: HostName, controller: Controller) -> Writer {
        let inner = Arc::new(Inner {
            process: format!("{:016x}", env.random()),
            store,
            env,
            host,
            controller,
            chain: tokio::sync::Mutex::default(),
            events: Mutex::default(),
            memory: Mutex::default(),
            news: Notify::new(),
        });
        inner.store.witness().mark(inner.guard(), LastWrite::default());
        let runtime = tokio::runtime::Handle::try_current().ok();
        let task = runtime.map(|runtime| runtime.spawn(tend::tend(inner.clone())).abort_handle());
        Writer { inner, _tending: Arc::new(Tending(task)) }
    }

    /// Keep the last write's revision there, so that the next life of this process notices a store that
    /// went back meanwhile. Call before the first commit.
    #[must_use]
    pub fn remember(self, memory: impl Memory + 'static) -> Writer {
        if let Some(last) = memory.load() {
            self.inner.store.witness().mark(self.inner.guard(), last);
        }
        self.inner.kept().memory = Some(Box::new(memory));
        self
    }

    /// Commit with the chain guard, and with as many waiting events as there is room for. Reads of `txn`
    /// are done, but their results are not given; its writes may be [`MAX_WRITES`](crate::store::MAX_WRITES).
    /// An outcome that is not known is read back for up to 5 s. If the future is dropped, the next commit
    /// reads back first.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn commit(&self, txn: TxnBuilder) -> Result<Outcome, WriteError> {
        self.inner.commit(txn).await
    }

    /// Tell that something happened: rides on the next commit, or is flushed within about a second. The
    /// same again within a minute counts up the entry. At most 20 wait.
    pub fn event(&self, event: NewEvent) {
        let now = self.inner.env.now();
        let mut message = event.message;
        if let Some((cut, _)) = message.char_indices().find(|(at, _)| *at >= MAX_MESSAGE) {
            message.truncate(cut);
        }
        let event = Event {
            time: self.inner.env.wall(),
            object: event.object,
            host: Some(self.inner.host.clone()),
            instance: event.instance,
            warning: event.warning,
            reason: event.reason,
            message,
            count: 1,
        };
        self.inner.events().add(event, now);
        self.inner.news.notify_one();
    }

    /// Put the events that wait, now; for a process about to end.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn flush(&self) -> Result<(), WriteError> {
        self.inner.flush().await
    }

    /// What this writer, or its last life, left in the store that it believed last.
    pub async fn known(&self) -> Option<LastWrite> {
        self.inner.known().await
    }

    /// Told whenever a person declares void what was known of the store.
    pub fn generations(&self) -> crate::latest::Listener<u64> {
        self.inner.store.witness().generations()
    }

    /// Whether the store is believed. While it is not, executors refuse to stop or remove anything.
    pub fn trust(&self) -> Trust {
        self.inner.store.witness().trust()
    }
}

impl Inner {
    fn guard(&self) -> Key {
        Key::Writer(self.host.clone(), self.controller)
    }

    fn events(&self) -> std::sync::MutexGuard<'_, events::Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chain was left so: to be kept on disk, and not to be gone behind.
    fn left(&self, last: &LastWrite) {
        self.store.witness().mark(self.guard(), last.clone());
        self.kept().unsaved = Some(last.clone());
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
