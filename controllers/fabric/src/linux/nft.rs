//! The `nft` program: text in, JSON out.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::fabric::FabricError;

/// Longer than any ruleset takes; a program that hangs must not hang us.
const DEADLINE: Duration = Duration::from_secs(10);

/// Run a program with `input` on its standard input.
pub async fn program(name: &'static str, arguments: &[&str], input: &str) -> Result<Output, FabricError> {
    let start = |source| FabricError::Start { program: name, source };
    let mut child = Command::new(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let run = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends before it has read all says why on its standard error.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await.map_err(start)
    };
    match tokio::time::timeout(DEADLINE, run).await {
        Ok(result) => result,
        Err(_) => Err(FabricError::Program { program: name, why: format!("no end after {DEADLINE:?}") }),
    }
}

/// What a failed program said, short enough for a status.
pub fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or("");
    format!("{} ({})", line.trim(), output.status)
}

/// Load a text, all of it or nothing.
pub async fn run(text: &str) -> Result<(), FabricError> {
    let output = program("nft", &["-f", "-"], text).await?;
    if output.status.success() {
        return Ok(());
    }
    Err(FabricError::Program { program: "nft", why: last_words(&output) })
}

/// List one thing, like `table inet evenkeel`; `None`: there is no such thing.
pub async fn list(what: &[&str]) -> Result<Option<Vec<Value>>, FabricError> {
    let mut arguments = vec!["-j", "list"];
    arguments.extend_from_slice(what);
    let output = program("nft", &arguments, "").await?;
    if !output.status.success() {
        let why = last_words(&output);
        // The kernel says ENOENT for a table as for a chain that is not there.
        let missing = why.contains("No such file or directory");
        return if missing { Ok(None) } else { Err(FabricError::Program { program: "nft", why }) };
    }
    let garbled = |why: String| FabricError::Garbled { program: "nft", why };
    let mut value: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| garbled(error.to_string()))?;
    match value.get_mut("nftables").map(Value::take) {
        Some(Value::Array(items)) => Ok(Some(items)),
        _ => Err(garbled("no list `nftables`".to_owned())),
    }
}
