//! Frames: one byte that says which, four that say how long, and that many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use evenkeel_api::name::HostName;
use evenkeel_api::session::{Challenge, Session};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The most bytes that one frame carries. A line of output, and a question with its command, fit well.
pub const MAX_DATA: usize = 64 * 1024;
const HEAD: usize = 5;

/// What goes over a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The host's first word.
    Hello(Hello),
    /// The person's first word.
    Open(Opening),
    /// The host does as asked. For [`evenkeel_api::session::Action::Forward`], further connections show this token.
    Accepted(Option<Challenge>),
    /// It does not, or not any more, for this reason. The last frame.
    Refused(String),
    /// What is typed, or sent into a copy.
    Input(Bytes),
    /// No more of that.
    InputEnd,
    /// The terminal has another size.
    Resize(Size),
    /// What a command or copy wrote, or what a port or file gives.
    Output(Bytes),
    /// The same, of its standard error.
    Error(Bytes),
    /// An answer as JSON: its form is the action's.
    Answer(Bytes),
    /// It is done; of a command, with its exit code. The last frame.
    End(i64),
    /// Nothing; whoever sends it is there.
    Ping,
}

/// The host's first word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Which it is.
    pub host: HostName,
    /// By which key whoever asks shows that they may.
    pub challenge: Challenge,
}

/// The person's first word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// A new session.
    Ask(Session),
    /// One more connection of a session that stands.
    Join(Challenge),
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Across.
    pub columns: u16,
    /// Down.
    pub rows: u16,
}

/// Bytes that are no frames of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what came is not understood ({0}): is this the port of an evenkeel host?")]
pub struct Garbled(String);

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Frame::Hello(_) => 1,
            Frame::Open(_) => 2,
            Frame::Accepted(_) => 3,
            Frame::Refused(_) => 4,
            Frame::Input(_) => 5,
            Frame::InputEnd => 6,
            Frame::Resize(_) => 7,
            Frame::Output(_) => 8,
            Frame::Error(_) => 9,
            Frame::Answer(_) => 10,
            Frame::End(_) => 11,
            Frame::Ping => 12,
        }
    }

    /// Writes it behind what is in `out`.
    ///
    /// # Errors
    /// It is longer than [`MAX_DATA`].
    pub(crate) fn put(&self, out: &mut BytesMut) -> Result<(), Garbled> {
        let data = match self {
            Frame::Input(data) | Frame::Output(data) | Frame::Error(data) | Frame::Answer(data) => {
                data.clone()
            }
            Frame::Hello(hello) => json(hello)?,
            Frame::Open(opening) => json(opening)?,
            Frame::Accepted(token) => json(token)?,
            Frame::Resize(size) => json(size)?,
            Frame::Refused(why) => shortened(why),
            Frame::End(code) => Bytes::copy_from_slice(&code.to_be_bytes()),
            Frame::InputEnd | Frame::Ping => Bytes::new(),
        };
        let length = u32::try_from(data.len()).ok().filter(|_| data.len() <= MAX_DATA);
        let length = length.ok_or_else(|| Garbled(format!("{} bytes in one frame", data.len())))?;
        out.reserve(HEAD + data.len());
        out.put_u8(self.kind());
        out.put_u32(length);
        out.put_slice(&data);
        Ok(())
    }

    /// Takes the first whole one out of `from`; `None`: there is none yet.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn take(from: &mut BytesMut) -> Result<Option<Self>, Garbled> {
        let Some((&kind, rest)) = from.split_first() else { return Ok(None) };
        let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_DATA || !(1..=12).contains(&kind) {
            return Err(Garbled(format!("kind {kind}, {length} bytes")));
        }
        if from.len() < HEAD + length {
            return Ok(None);
        }
        from.advance(HEAD);
        let data = from.split_to(length).freeze();
        Ok(Some(match kind {
            1 => Frame::Hello(read(&data)?),
            2 => Frame::Open(read(&data)?),
            3 => Frame::Accepted(read(&data)?),
            4 => Frame::Refused(String::from_utf8_lossy(&data).into_owned()),
            5 => Frame::Input(data),
            6 => Frame::InputEnd,
            7 => Frame::Resize(read(&data)?),
            8 => Frame::Output(data),
            9 => Frame::Error(data),
            10 => Frame::Answer(data),
            11 => {
                let code = data.first_chunk::<8>().ok_or_else(|| Garbled("a short end".to_owned()))?;
                Frame::End(i64::from_be_bytes(*code))
            }
            _ => Frame::Ping,
        }))
    }
}

/// A reason is for people: one that is too long loses its end.
fn shortened(why: &str) -> Bytes {
    let end = why.floor_char_boundary(MAX_DATA.min(4096));
    Bytes::copy_from_slice(&why.as_bytes()[..end])
}

fn json<T: Serialize>(value: &T) -> Result<Bytes, Garbled> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Garbled(error.to_string()))
}

fn read<T: DeserializeOwned>(data: &[u8]) -> Result<T, Garbled> {
    serde_json::from_slice(data).map_err(|error| Garbled(error.to_string()))
}

#[cfg(test)]
mod tests {
    use evenkeel_api::session::Action;

    use super::*;

    fn all() -> Vec<Frame> {
        let data = Bytes::from_static(b"\x00data");
        let host: HostName = "h1".parse().unwrap();
        let action = Action::Usage { service: None, follow: true };
        vec![
            Frame::Hello(Hello { host: host.clone(), challenge: Challenge(7) }),
            Frame::Open(Opening::Ask(Session { by: "ann".to_owned(), host, action })),
            Frame::Open(Opening::Join(Challenge(8))),
            Frame::Accepted(None),
            Frame::Accepted(Some(Challenge(9))),
            Frame::Refused("no".to_owned()),
            Frame::Input(data.clone()),
            Frame::InputEnd,
            Frame::Resize(Size { columns: 80, rows: 25 }),
            Frame::Output(data.clone()),
            Frame::Error(data.clone()),
            Frame::Answer(data),
            Frame::End(-1),
            Frame::Ping,
        ]
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_the_bytes_arrive() {
        let mut sent = BytesMut::new();
        for frame in all() {
            frame.put(&mut sent).unwrap();
        }
        for step in [1, 3, 7, sent.len()] {
            let (mut arrived, mut found) = (BytesMut::new(), Vec::new());
            for piece in sent.chunks(step) {
                arrived.put_slice(piece);
                while let Some(frame) = Frame::take(&mut arrived).unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!((found, arrived.len()), (all(), 0), "{step} bytes at a time");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_at_once() {
        for wrong in
            [&b"GET / HTTP/1.1\r\n"[..], b"\x05\xff\xff\xff\xff", b"\x01\0\0\0\x01x", b"\x0b\0\0\0\x01x"]
        {
            assert!(Frame::take(&mut BytesMut::from(wrong)).is_err(), "{wrong:?}");
        }
        let long = Frame::Output(Bytes::from(vec![0; MAX_DATA + 1]));
        assert!(long.put(&mut BytesMut::new()).is_err());
        Frame::Refused("é".repeat(MAX_DATA)).put(&mut BytesMut::new()).unwrap();
    }
}
