//! The channel of the checks: `<state_dir>/instance/exec.sock`. One JSON line asks
//! `{"instance", "command", "timeout_ms"}`, one answers `{"code", "output"}` or `{"error", "away"}`. Only here is the
//! engine's socket needed for it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_api::name::InstanceId;
use evenkeel_engine::{Engine, EngineError, Turns};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// Which containers run, by instance.
pub(super) type Running = Arc<Mutex<BTreeMap<InstanceId, String>>>;

#[derive(Debug, Deserialize)]
struct Ask {
    instance: InstanceId,
    command: Vec<String>,
    timeout_ms: u64,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Done {
        code: i64,
        output: String,
    },
    /// `away`: for a reason that is not the copy's, so that it says nothing about its health.
    Not {
        error: String,
        away: bool,
    },
}

/// Commands at a time, of all checks: each is three calls of the engine.
const AT_ONCE: usize = 16;
/// The longest question, in bytes.
const LONGEST: u64 = 1 << 16;

pub(super) fn listen(path: &Path) -> std::io::Result<UnixListener> {
    // The state's lock is held: a socket that is there is an earlier life's.
    let _none = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

pub(super) async fn serve(listener: UnixListener, engine: Arc<dyn Engine>, running: Running) {
    let turns = Turns::new(AT_ONCE);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: they come back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        tokio::spawn(talk(stream, engine.clone(), running.clone(), turns.clone()));
    }
}

async fn talk(stream: UnixStream, engine: Arc<dyn Engine>, running: Running, turns: Turns) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = String::new();
        match (&mut read).take(LONGEST).read_line(&mut line).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        let answer = match serde_json::from_str(&line) {
            Ok(ask) => answer(ask, &*engine, &running, &turns).await,
            Err(error) => Answer::Not { error: format!("not understood: {error}"), away: true },
        };
        let Ok(mut text) = serde_json::to_vec(&answer) else { return };
        text.push(b'\n');
        if write.write_all(&text).await.is_err() {
            return;
        }
    }
}

async fn answer(ask: Ask, engine: &dyn Engine, running: &Running, turns: &Turns) -> Answer {
    let container = running.lock().unwrap_or_else(PoisonError::into_inner).get(&ask.instance).cloned();
    let Some(container) = container else {
        return Answer::Not { error: format!("{} does not run", ask.instance), away: true };
    };
    let timeout = Duration::from_millis(ask.timeout_ms);
    let work = turns.run(engine.exec(&container, &ask.command, timeout));
    match tokio::time::timeout(timeout, work).await {
        Ok(Ok(done)) => Answer::Done { code: done.code, output: done.output },
        Ok(Err(EngineError::Timeout(_))) | Err(_) => {
            Answer::Not { error: format!("no answer within {} ms", ask.timeout_ms), away: false }
        }
        Ok(Err(error)) => Answer::Not { away: error.is_engine_away(), error: error.to_string() },
    }
}
