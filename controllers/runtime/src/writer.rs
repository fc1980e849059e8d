//! Guarded writing.

use std::sync::Arc;

use evenkeel_api::key::Controller;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, InstanceId};

use crate::env::Env;
use crate::store::{Store, StoreError, TxnBuilder, TxnError};
pub use crate::witness::Trust;

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
    /// The store did not do it.
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

/// The one writer of a controller process.
#[derive(Clone)]
pub struct Writer {}

impl Writer {
    /// A writer for `controller` on `host`.
    pub fn new(_store: Arc<dyn Store>, _env: Arc<Env>, _host: HostName, _controller: Controller) -> Writer {
        Writer {}
    }
    /// Commit with the chain guard.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn commit(&self, _txn: TxnBuilder) -> Result<Outcome, WriteError> {
        std::future::pending().await
    }
    /// Tell that something happened.
    pub fn event(&self, _event: NewEvent) {}
    /// Whether the store is believed.
    pub fn trust(&self) -> Trust {
        Trust::Trusted
    }
}
