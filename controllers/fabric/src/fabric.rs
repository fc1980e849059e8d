//! The host's network as controllers see it.

use std::fmt;

use async_trait::async_trait;
use evenkeel_plan::network::state::{FabricAction, FabricState};

/// Why the host's network was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    /// The kernel refused something about links or routes.
    #[error("cannot {what}: {why}")]
    Kernel {
        /// What was tried.
        what: String,
        /// What the kernel said.
        why: String,
    },
    /// A firewall program failed.
    #[error("{program} failed: {why}")]
    Program {
        /// Which.
        program: &'static str,
        /// Its last words.
        why: String,
    },
    /// A firewall program cannot be run at all.
    #[error("cannot run {program}")]
    Start {
        /// Which.
        program: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An answer was not understood; it says nothing about what there is.
    #[error("what {program} printed was not understood: {why}")]
    Garbled {
        /// Which program.
        program: &'static str,
        /// Where it differs from what is known.
        why: String,
    },
}

/// Wake-ups: something about the host's network may have changed.
#[async_trait]
pub trait Wakes: Send {
    /// Waits for the next one. Says nothing of what changed, may come without a change, and is cancel-safe.
    async fn next(&mut self);
}

/// The host's network. Every action is safe to repeat.
#[async_trait]
pub trait Fabric: Send + Sync + fmt::Debug {
    /// How it is now.
    ///
    /// # Errors
    /// Anything that could not be read: half a picture is none.
    async fn observe(&self) -> Result<FabricState, FabricError>;

    /// Do one thing.
    ///
    /// # Errors
    /// It was not done.
    async fn apply(&self, action: &FabricAction) -> Result<(), FabricError>;

    /// Wake-ups from now on.
    ///
    /// # Errors
    /// The kernel gives none; looking from time to time must do.
    async fn changes(&self) -> Result<Box<dyn Wakes>, FabricError>;
}
