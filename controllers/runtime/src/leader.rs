//! Who leads.

use std::sync::Arc;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::name::HostName;
use tokio::sync::watch;

use crate::env::Env;
use crate::store::Store;

/// That we lead: every write of a leader demands that `key` is unchanged since `mod_revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// `leaders/<controller>`.
    pub key: Key,
    /// The revision at which we put it.
    pub mod_revision: i64,
}

/// A candidate for leading a controller.
#[derive(Clone)]
pub struct Leadership {
    lead: watch::Receiver<Option<Lead>>,
}

impl Leadership {
    /// Start to campaign, if `eligible`.
    pub fn start(
        _store: Arc<dyn Store>,
        _env: Arc<Env>,
        _host: HostName,
        _controller: Controller,
        _eligible: bool,
    ) -> Leadership {
        Leadership { lead: watch::channel(None).1 }
    }
    /// Some while we lead.
    pub fn current(&self) -> Option<Lead> {
        None
    }
    /// Told of every change.
    pub fn subscribe(&self) -> watch::Receiver<Option<Lead>> {
        self.lead.clone()
    }
}
