//! What people reach in a running copy. Apart from [`Engine`], as nothing in here may be repeated, and most of it
//! lasts as long as a person looks: only the beginning has a deadline.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_api::record::Timestamp;
use futures_util::Stream;
use tokio::io::AsyncWrite;

use crate::engine::{Engine, EngineError};

/// What containers and commands write, piece by piece.
pub type Output = Pin<Box<dyn Stream<Item = Result<Piece, EngineError>> + Send>>;
/// A tar archive, piece by piece.
pub type Archive = Pin<Box<dyn Stream<Item = Result<Bytes, EngineError>> + Send>>;
/// The same on its way into a container: an error leaves it as far as it came.
pub type Incoming = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// A piece of output. Of a container, a line with the time before it; of a command, whatever came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Of its standard output, or its terminal.
    Output(Bytes),
    /// Of its standard error.
    Error(Bytes),
}

/// Which lines of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    /// None that is older; engines look at whole seconds.
    pub since: Option<Timestamp>,
    /// Of those that there are, at most so many, the newest.
    pub tail: Option<u64>,
    /// And those to come.
    pub follow: bool,
}

/// A command that runs in a container.
pub struct Running {
    /// By which its size is changed and its end is asked.
    pub id: String,
    /// What it writes; ends when it does.
    pub output: Output,
    /// What it reads.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

/// What a container uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    /// CPU, in percent of one.
    pub cpu: f64,
    /// Memory that it could not give back, in bytes.
    pub memory: u64,
    /// The most that it may use.
    pub limit: u64,
}

/// An engine whose containers people reach into.
#[async_trait]
pub trait Inside: Engine {
    /// What a container wrote, each line with the time before it (RFC 3339, nine digits of a second, UTC).
    async fn logs(&self, container: &str, lines: Lines) -> Result<Output, EngineError>;
    /// Runs a command in a container, with its ends; `tty`: on a terminal of its own; without `stdin` it reads nothing.
    async fn attach(
        &self,
        container: &str,
        argv: &[String],
        tty: bool,
        stdin: bool,
    ) -> Result<Running, EngineError>;
    /// The terminal of a command has another size.
    async fn resize(&self, command: &str, columns: u16, rows: u16) -> Result<(), EngineError>;
    /// The exit code of a command that ended.
    async fn exit_code(&self, command: &str) -> Result<i64, EngineError>;
    /// What is at `path` in a container, as a tar archive whose first entry has the last part of `path` as its name.
    async fn fetch(&self, container: &str, path: &str) -> Result<Archive, EngineError>;
    /// Unpacks a tar archive in the folder `path` of a container.
    async fn store(&self, container: &str, path: &str, archive: Incoming) -> Result<(), EngineError>;
    /// What a container uses, measured over about a second.
    async fn usage(&self, container: &str) -> Result<Used, EngineError>;
}
