//! A command in the container; exit code 0 is a pass.
//!
//! The engine's socket belongs to the instance controller alone, so that it is asked: one line of JSON
//! ([`ExecRequest`]) over its unix socket, one line back ([`ExecReply`]), one question a connection.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_api::name::InstanceId;
use evenkeel_plan::health::verdict::Answer;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::span;

/// The longest reply that is read, in bytes.
const MOST: u64 = 64 * 1024;
/// What the instance controller gets beyond the command's own time, to say that it ran out.
const GRACE: Duration = Duration::from_secs(1);

/// Where the instance controller listens.
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("instance").join("exec.sock")
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// In whose container.
    pub instance: InstanceId,
    /// The words of the command; no shell reads them.
    pub command: Vec<String>,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
}

/// What is replied: `code` and `output`, or `error`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecReply {
    /// The command's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// The beginning of what it wrote.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Why it did not run to its end: there is no such program, or its time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The error is not the copy's: the engine is away, or knows no such container. It says nothing about
    /// the copy's health.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
}

/// Run a command in an instance's container.
pub(crate) async fn ask(
    socket: &Path,
    instance: &InstanceId,
    command: &[String],
    within: Duration,
) -> Answer {
    let request = ExecRequest {
        instance: instance.clone(),
        command: command.to_vec(),
        timeout_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
    };
    match timeout(within + GRACE, call(socket, &request)).await {
        Ok(Ok(reply)) => judge(reply),
        Ok(Err(error)) => Answer::unasked(&format!("the instance controller does not answer: {error}")),
        Err(_) => Answer::unasked(&format!(
            "the instance controller did not answer within {}",
            span(within + GRACE)
        )),
    }
}

async fn call(socket: &Path, request: &ExecRequest) -> io::Result<ExecReply> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut reply = String::new();
    BufReader::new(stream.take(MOST)).read_line(&mut reply).await?;
    Ok(serde_json::from_str(&reply)?)
}

fn judge(reply: ExecReply) -> Answer {
    match reply {
        ExecReply { error: Some(error), away: true, .. } => Answer::unasked(&error),
        ExecReply { error: Some(error), .. } => Answer::fail(&error),
        ExecReply { code: Some(0), output, .. } => Answer::pass(&said("exit 0", &output)),
        ExecReply { code: Some(code), output, .. } => Answer::fail(&said(&format!("exit {code}"), &output)),
        ExecReply { .. } => Answer::unasked("the instance controller said neither code nor error"),
    }
}

/// An exit code with the last line that was written: programs tend to end with what matters.
fn said(exit: &str, output: &str) -> String {
    match output.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => format!("{exit}: {line}"),
        None => exit.to_owned(),
    }
}
