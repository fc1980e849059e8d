//! A command in a copy, with what is typed.

use std::time::Duration;

use evenkeel_engine::Inside;
use evenkeel_sessions::{Broken, Frame, Receiver};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::logs::pass_on;
use super::{Ended, Ends};

pub(super) async fn serve(
    engine: &dyn Inside,
    container: &str,
    argv: &[String],
    tty: bool,
    stdin: bool,
    ends: &mut Ends,
) -> Result<i64, Ended> {
    if argv.is_empty() {
        return Err(Ended::Why("no command is given".to_owned()));
    }
    let running = engine.attach(container, argv, tty, stdin).await?;
    let (id, input, output) = (running.id, running.input, running.output);
    tokio::select! {
        done = pass_on(output, &ends.sender, Duration::MAX) => done?,
        // Seen also while a command that reads nothing keeps what was typed from being handed on.
        () = ends.sender.closed() => return Err(Broken::Closed.into()),
        gone = listen(engine, &id, input, &mut ends.receiver) => return Err(gone),
    }
    Ok(engine.exit_code(&id).await?)
}

/// Hands on what is typed, until whoever types is gone.
async fn listen(engine: &dyn Inside, id: &str, input: impl AsyncWrite, receiver: &mut Receiver) -> Ended {
    let mut input = std::pin::pin!(input);
    loop {
        let frame = match receiver.receive().await {
            Ok(frame) => frame,
            Err(gone) => return gone.into(),
        };
        // A command that reads no more is not a failure: how it ended is told in the end.
        match frame {
            Frame::Input(data) => drop(input.write_all(&data).await),
            Frame::InputEnd => drop(input.shutdown().await),
            Frame::Resize(size) => {
                if let Err(error) = engine.resize(id, size.columns, size.rows).await {
                    tracing::debug!(%error, "a terminal keeps its size");
                }
            }
            _ => {}
        }
    }
}
