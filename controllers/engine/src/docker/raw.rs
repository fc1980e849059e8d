//! What a terminal shows, as the engine sends it: bytes without frames. The library reads frames into whatever
//! begins like one and waits for what they promise, so these few connections are our own.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::errors::answered;
use crate::engine::EngineError;

/// The longest head of an answer, and text of an error, in bytes.
const LONGEST_HEAD: u64 = 1 << 16;
/// Bytes in one piece, at most: a line without an end must not be waited for.
const LONGEST_PIECE: usize = 1 << 15;

/// Sends `request` (its head without the empty line at its end, and a body), and gives the connection after the head of a
/// good answer.
pub(super) async fn open(
    socket: &Path,
    what: &str,
    request: &str,
    body: &str,
) -> Result<BufReader<UnixStream>, EngineError> {
    let away = |error: std::io::Error| EngineError::Unavailable(format!("{what}: {error}"));
    let mut wire = BufReader::new(UnixStream::connect(socket).await.map_err(away)?);
    let length = body.len();
    let head = format!(
        "{request}\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    wire.write_all(format!("{head}{body}").as_bytes()).await.map_err(away)?;
    let (status, length) = read_head(&mut wire, what).await?;
    if (100..400).contains(&status) {
        return Ok(wire);
    }
    let mut text = Vec::new();
    // The connection stays open after it.
    wire.take(length.unwrap_or(LONGEST_HEAD).min(LONGEST_HEAD)).read_to_end(&mut text).await.map_err(away)?;
    let told: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
    let told = told.and_then(|told| Some(told.get("message")?.as_str()?.to_owned()));
    let told = told.unwrap_or_else(|| String::from_utf8_lossy(&text).into_owned());
    Err(answered(what, status, told))
}

/// The status of an answer, and how many bytes follow its head, if it says so; they are left to be read.
async fn read_head(wire: &mut BufReader<UnixStream>, what: &str) -> Result<(u16, Option<u64>), EngineError> {
    let garbled = || EngineError::Garbled(format!("{what}: no answer in HTTP"));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = wire.read_u8().await.map_err(|_| garbled())?;
        head.push(byte);
        if head.len() as u64 > LONGEST_HEAD {
            return Err(garbled());
        }
    }
    let text = String::from_utf8_lossy(&head);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(garbled)?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok((status, length))
}

/// What comes, as it comes.
pub(super) fn pieces(
    wire: impl AsyncRead + Send + Unpin + 'static,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    stream::unfold(Some(wire), |wire| async move {
        let mut wire = wire?;
        let mut piece = BytesMut::with_capacity(LONGEST_PIECE);
        match wire.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.freeze()), Some(wire))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// The same, line by line; a line that is too long comes in pieces.
pub(super) fn lines(
    wire: impl AsyncRead + Send + Unpin + 'static,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let state = (Some(wire), BytesMut::new());
    stream::unfold(state, |(mut wire, mut arrived)| async move {
        loop {
            let end = arrived.iter().take(LONGEST_PIECE).position(|byte| *byte == b'\n').map(|at| at + 1);
            if let Some(end) = end.or((arrived.len() >= LONGEST_PIECE).then_some(LONGEST_PIECE)) {
                return Some((Ok(arrived.split_to(end).freeze()), (wire, arrived)));
            }
            let read = match &mut wire {
                Some(open) => open.read_buf(&mut arrived).await,
                None => Ok(0),
            };
            match read {
                Ok(0) if arrived.is_empty() => return None,
                Ok(0) => return Some((Ok(arrived.split().freeze()), (None, arrived))),
                Ok(_) => {}
                Err(error) => return Some((Err(error), (None, BytesMut::new()))),
            }
        }
    })
}
