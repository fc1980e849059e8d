//! What a copy wrote, and what it writes.

use std::time::Duration;

use evenkeel_api::record::Timestamp;
use evenkeel_api::session::Since;
use evenkeel_engine::{Inside, Lines, Piece};
use evenkeel_sessions::{Frame, MAX_DATA, Sender};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{Ended, Ends};
use evenkeel_engine::inside::Output;

/// Which lines are meant; `now` is this host's, as the times of its engine are.
pub(super) fn lines(now: Timestamp, since: Option<Since>, tail: Option<u64>, follow: bool) -> Lines {
    let since = since.map(|since| match since {
        Since::At(time) => time,
        Since::Ago(span) => {
            Timestamp(now.0.saturating_sub(i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX)))
        }
    });
    Lines { since, tail, follow }
}

pub(super) async fn serve(
    engine: &dyn Inside,
    container: &str,
    lines: Lines,
    ends: &mut Ends,
) -> Result<i64, Ended> {
    let output = engine.logs(container, lines).await?;
    tokio::select! {
        done = pass_on(output, &ends.sender, Duration::MAX) => done.map(|()| 0),
        // Nothing more is asked; that whoever did is gone shows here.
        gone = async { loop { if let Err(gone) = ends.receiver.receive().await { break gone } } } => Err(gone.into()),
    }
}

/// Sends output as it comes, at the pace at which it is taken; each piece must be taken within `patience`.
pub(super) async fn pass_on(mut output: Output, sender: &Sender, patience: Duration) -> Result<(), Ended> {
    while let Some(piece) = output.next().await {
        let (mut data, frame): (_, fn(_) -> Frame) = match piece? {
            Piece::Output(data) => (data, Frame::Output),
            Piece::Error(data) => (data, Frame::Error),
        };
        while !data.is_empty() {
            let sent = sender.send(frame(data.split_to(data.len().min(MAX_DATA))));
            let taken = timeout(patience, sent).await;
            taken
                .map_err(|_| Ended::Why(format!("nothing was taken for {} seconds", patience.as_secs())))??;
        }
    }
    Ok(())
}
