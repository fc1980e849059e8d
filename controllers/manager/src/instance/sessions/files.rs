//! Files out of a copy and into one, as tar archives that nobody holds as a whole.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_api::session::Destination;
use evenkeel_engine::{EngineError, Inside, Piece};
use evenkeel_sessions::{Frame, Receiver};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::logs::pass_on;
use super::{Ended, Ends};

/// How long either end of a copy may keep the other waiting. The engine neither stops the container nor tells of it
/// while files go in or out: whoever falls asleep over it must not hold up all others.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pieces on their way into the engine.
const WAITING: usize = 2;

pub(super) async fn fetch(
    engine: &dyn Inside,
    container: &str,
    path: &str,
    ends: &mut Ends,
) -> Result<i64, Ended> {
    let archive = engine.fetch(container, path).await?;
    let output = archive.map(|piece| piece.map(Piece::Output));
    tokio::select! {
        done = pass_on(Box::pin(output), &ends.sender, PATIENCE) => done.map(|()| 0),
        gone = async { loop { if let Err(gone) = ends.receiver.receive().await { break gone } } } => Err(gone.into()),
    }
}

pub(super) async fn store(
    engine: &dyn Inside,
    container: &str,
    path: &str,
    ends: &mut Ends,
) -> Result<i64, Ended> {
    let destination = destination(engine, container, path).await?;
    let told = serde_json::to_vec(&destination).map_err(|error| Ended::Why(error.to_string()))?;
    ends.sender.send(Frame::Answer(told.into())).await?;
    let (pieces, arriving) = mpsc::channel(WAITING);
    let archive = stream::unfold(arriving, |mut arriving| async move {
        arriving.recv().await.map(|piece| (piece, arriving))
    });
    let storing = engine.store(container, &destination.folder, Box::pin(archive));
    let listening = listen(&mut ends.receiver, pieces);
    let (stored, ()) = tokio::join!(storing, listening);
    stored?;
    Ok(0)
}

/// Hands pieces on until the last one; where there is no last one, the archive breaks off.
async fn listen(receiver: &mut Receiver, pieces: mpsc::Sender<std::io::Result<Bytes>>) {
    loop {
        let piece = match timeout(PATIENCE, receiver.receive()).await {
            Ok(Ok(Frame::Input(data))) => Ok(data),
            Ok(Ok(Frame::InputEnd)) => return,
            Ok(Ok(Frame::Refused(why))) => Err(std::io::Error::other(why)),
            Ok(Ok(_)) => continue,
            Ok(Err(gone)) => Err(std::io::Error::other(gone)),
            Err(_) => Err(std::io::Error::other(format!("nothing came for {} seconds", PATIENCE.as_secs()))),
        };
        let is_last = piece.is_err();
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// Into a folder that is there, also where a link leads to one; else beside what is there already, under the last part
/// of the path.
async fn destination(engine: &dyn Inside, container: &str, path: &str) -> Result<Destination, Ended> {
    let path = path.trim_end_matches('/');
    match engine.fetch(container, &format!("{path}/.")).await {
        Ok(_) => return Ok(Destination { folder: format!("{path}/"), name: None }),
        // Nothing is there, or what has nothing below it.
        Err(EngineError::NotFound(_) | EngineError::Refused(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok(Destination { folder: format!("{folder}/"), name: Some(name.to_owned()) })
}
