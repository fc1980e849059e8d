//! Files out of a copy and into one, as tar archives that nobody holds as a whole.

use bytes::Bytes;
use evenkeel_api::session::Destination;
use evenkeel_engine::{EngineError, Inside, Piece};
use evenkeel_sessions::{Frame, Receiver};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::logs::pass_on;
use super::{Ended, Ends};

/// Where the head of a tar entry says what it is, and that it is a folder.
const KIND: (usize, u8) = (156, b'5');
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
        done = pass_on(Box::pin(output), &ends.sender) => done.map(|()| 0),
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
        let piece = match receiver.receive().await {
            Ok(Frame::Input(data)) => Ok(data),
            Ok(Frame::InputEnd) => return,
            Ok(Frame::Refused(why)) => Err(std::io::Error::other(why)),
            Ok(_) => continue,
            Err(gone) => Err(std::io::Error::other(gone)),
        };
        let is_last = piece.is_err();
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// Into a folder that is there; else beside what is there already, under the last part of the path.
async fn destination(engine: &dyn Inside, container: &str, path: &str) -> Result<Destination, Ended> {
    let path = path.trim_end_matches('/');
    match engine.fetch(container, if path.is_empty() { "/" } else { path }).await {
        Ok(mut archive) => {
            let head = archive.next().await.transpose()?.unwrap_or_default();
            if path.is_empty() || head.get(KIND.0) == Some(&KIND.1) {
                return Ok(Destination { folder: format!("{path}/"), name: None });
            }
        }
        Err(EngineError::NotFound(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok(Destination { folder: format!("{folder}/"), name: Some(name.to_owned()) })
}
