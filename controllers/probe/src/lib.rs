//! How copies are asked for their health: http, tcp, and commands in the container.
//!
//! A probe opens a connection of its own each time, reads no more than it needs, and ends the connection
//! with a reset: on a host with many copies, thousands of closed connections would else wait for minutes.

pub mod exec;
pub mod fake;
mod http;
mod tcp;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_plan::health::target::Question;
use evenkeel_plan::health::verdict::Answer;

/// Something that can ask.
#[async_trait]
pub trait Probe: Send + Sync + fmt::Debug {
    /// Ask one question. Always answers, at the latest a little after `timeout`.
    async fn ask(&self, question: &Question, timeout: Duration) -> Answer;
}

/// The real one: asks over the network, and over the local channel of the instance controller.
#[derive(Debug, Clone)]
pub struct Network {
    exec_socket: PathBuf,
}

impl Network {
    /// A probe on the host whose controllers keep their state in `state_dir`.
    pub fn new(state_dir: &Path) -> Self {
        Self { exec_socket: exec::socket(state_dir) }
    }
}

#[async_trait]
impl Probe for Network {
    async fn ask(&self, question: &Question, timeout: Duration) -> Answer {
        match question {
            Question::Tcp { address } => tcp::ask(*address, timeout).await,
            Question::Http { address, host, method, path, header } => {
                let request = match http::request(method, path, host, header) {
                    Ok(request) => request,
                    Err(why) => return Answer::unasked(&why),
                };
                http::ask(*address, &request, timeout).await
            }
            Question::Exec { instance, command } => {
                exec::ask(&self.exec_socket, instance, command, timeout).await
            }
        }
    }
}

/// A time as people write it.
fn span(time: Duration) -> evenkeel_api::quantity::Span {
    evenkeel_api::quantity::Span(time)
}

/// What went wrong with a connection, in few words.
fn words(error: &io::Error) -> String {
    match error.kind() {
        // The kernel's own words, without its numbers.
        io::ErrorKind::Other => error.to_string(),
        kind => kind.to_string(),
    }
}
