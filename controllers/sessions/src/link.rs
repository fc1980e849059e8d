//! A connection as frames. Whoever is slow makes the other wait: no more than a few frames lie in between. Whoever
//! is silent for too long is gone.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::frame::{Frame, Garbled, MAX_DATA};

/// Who has nothing to say says so that often.
const PING: Duration = Duration::from_secs(4);
/// Who says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(12);
/// Frames on their way out.
const WAITING: usize = 4;

/// A connection that is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The other end hung up.
    #[error("the connection ended")]
    Closed,
    /// It broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The other end says nothing any more.
    #[error("nothing was heard for {} seconds", SILENCE.as_secs())]
    Silent,
    /// The other end said why it does no more.
    #[error("{0}")]
    Refused(String),
    /// The other end is not one of us.
    #[error(transparent)]
    Garbled(#[from] Garbled),
}

/// Anything that bytes go over.
trait Wire: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Wire for T {}

/// A connection.
pub struct Link {
    sender: Sender,
    receiver: Receiver,
}

/// Its outgoing half. A clone is the same one.
#[derive(Debug, Clone)]
pub struct Sender(mpsc::Sender<Frame>);

/// Its incoming half.
pub struct Receiver {
    wire: ReadHalf<Box<dyn Wire>>,
    arrived: BytesMut,
    writer: JoinHandle<()>,
    /// Told whenever something is taken of what we say; closed once nothing more is said.
    taken: watch::Receiver<()>,
}

impl Link {
    /// Frames over `wire`.
    pub fn over(wire: impl AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static) -> Self {
        let wire: Box<dyn Wire> = Box::new(wire);
        let (read, write) = tokio::io::split(wire);
        let (sender, frames) = mpsc::channel(WAITING);
        let (tell, taken) = watch::channel(());
        let writer = tokio::spawn(write_all(write, frames, tell));
        let receiver = Receiver { wire: read, arrived: BytesMut::new(), writer, taken };
        Self { sender: Sender(sender), receiver }
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// See [`Broken`].
    pub async fn send(&self, frame: Frame) -> Result<(), Broken> {
        self.sender.send(frame).await
    }

    /// The next frame. Cancel-safe.
    ///
    /// # Errors
    /// See [`Broken`].
    pub async fn receive(&mut self) -> Result<Frame, Broken> {
        self.receiver.receive().await
    }

    /// Both halves, for two tasks.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// See [`Receiver::finish`].
    pub async fn finish(self, last: Frame) {
        let (sender, receiver) = self.split();
        receiver.finish(sender, last).await;
    }
}

impl Sender {
    /// Sends one frame; waits while the other end is slow. Cancel-safe: sent, or not.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub async fn send(&self, frame: Frame) -> Result<(), Broken> {
        self.0.send(frame).await.map_err(|_| Broken::Closed)
    }

    /// Waits until nothing can be sent any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl Receiver {
    /// The next frame. Cancel-safe.
    ///
    /// # Errors
    /// See [`Broken`].
    pub async fn receive(&mut self) -> Result<Frame, Broken> {
        loop {
            match Frame::take(&mut self.arrived)? {
                Some(Frame::Ping) => {}
                Some(frame) => return Ok(frame),
                None => {
                    self.arrived.reserve(MAX_DATA);
                    // Counted only while it is waited for: who is slow to take what came does not hear it meanwhile.
                    match timeout(SILENCE, self.wire.read_buf(&mut self.arrived)).await {
                        Ok(Ok(0)) => return Err(Broken::Closed),
                        Ok(read) => drop(read?),
                        Err(_) => return Err(Broken::Silent),
                    }
                }
            }
        }
    }

    /// Sends what is the last frame, and waits until the other end has all of it and hangs up: for as long as it is
    /// heard, however slowly it takes what waits, or at least takes some of it.
    pub async fn finish(mut self, sender: Sender, last: Frame) {
        let say = async {
            let _gone = sender.send(last).await;
            std::future::pending::<()>().await;
        };
        let there = async {
            // Closed with something unread in it, a connection is reset, and what is under way on it is lost.
            while self.receive().await.is_ok() {}
            // Who has hung up one way, or is too busy to speak, may take what we say all the same.
            self.taken.mark_unchanged();
            while let Ok(Ok(())) = timeout(SILENCE, self.taken.changed()).await {}
        };
        tokio::select! {
            () = say => {}
            () = there => {}
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// Writes frames, and that we are here, until nobody sends any more; tells of all that is taken.
async fn write_all(
    mut wire: WriteHalf<Box<dyn Wire>>,
    mut frames: mpsc::Receiver<Frame>,
    taken: watch::Sender<()>,
) {
    let mut out = BytesMut::new();
    loop {
        let frame = match timeout(PING, frames.recv()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(_) => Frame::Ping,
        };
        let mut last = matches!(frame, Frame::End(_) | Frame::Refused(_));
        if frame.put(&mut out).is_err() {
            break;
        }
        // What waits goes along.
        while out.len() < MAX_DATA
            && !last
            && let Ok(frame) = frames.try_recv()
        {
            last = matches!(frame, Frame::End(_) | Frame::Refused(_));
            if frame.put(&mut out).is_err() {
                return;
            }
        }
        while out.has_remaining() {
            match wire.write_buf(&mut out).await {
                Ok(0) | Err(_) => return,
                Ok(_) => taken.send_replace(()),
            }
        }
        if wire.flush().await.is_err() {
            return;
        }
        if last {
            break;
        }
    }
    let _gone = wire.shutdown().await;
}

/// Carries bytes between a link and a wire until both have said all: what comes is [`Frame::Input`] on one side and
/// [`Frame::Output`] on the other; `speaks` is how this side sends.
///
/// Whether the wire took all that came: where it did not, the other end may have more to say, for ever.
///
/// # Errors
/// The link breaks; the wire's end is no error.
pub async fn pipe<R, W>(
    sender: &Sender,
    receiver: &mut Receiver,
    from: R,
    to: W,
    speaks: fn(bytes::Bytes) -> Frame,
) -> Result<bool, Broken>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let outward = async {
        let mut from = from;
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(MAX_DATA / 2);
            match from.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return sender.send(Frame::InputEnd).await,
                Ok(_) => {
                    let length = buffer.len().min(MAX_DATA);
                    sender.send(speaks(buffer.split_to(length).freeze())).await?;
                }
            }
        }
    };
    let inward = async {
        let mut to = to;
        loop {
            match receiver.receive().await? {
                Frame::Input(data) | Frame::Output(data) if to.write_all(&data).await.is_err() => {
                    return Ok(false);
                }
                Frame::InputEnd => {
                    let _gone = to.shutdown().await;
                    return Ok(true);
                }
                Frame::Refused(why) => return Err(Broken::Refused(why)),
                Frame::End(_) => return Err(Broken::Closed),
                _ => {}
            }
        }
    };
    tokio::try_join!(outward, inward).map(|((), took_all)| took_all)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_idle_is_heard_and_who_is_gone_is_missed() {
        let (one, other) = tokio::io::duplex(1 << 16);
        let (mut one, other) = (Link::over(one), Link::over(other));
        let quiet = timeout(Duration::from_secs(3600), one.receive()).await;
        assert!(quiet.is_err(), "an idle link stands: {quiet:?}");
        other.send(Frame::End(3)).await.unwrap();
        assert_eq!(one.receive().await.unwrap(), Frame::End(3));
        // Its end is open, but nobody is there.
        let (mute, held) = tokio::io::duplex(1 << 16);
        let (began, mut link) = (Instant::now(), Link::over(mute));
        assert!(matches!(link.receive().await, Err(Broken::Silent)));
        assert!(began.elapsed() <= Duration::from_secs(15));
        drop((held, other));
        assert!(matches!(one.receive().await, Err(Broken::Closed)));
    }

    #[tokio::test]
    async fn whoever_is_slow_makes_the_other_wait() {
        let (one, other) = tokio::io::duplex(1024);
        let (one, mut other) = (Link::over(one), Link::over(other));
        let data = Bytes::from(vec![7; MAX_DATA]);
        let mut sent = 0;
        while timeout(Duration::from_millis(50), one.send(Frame::Output(data.clone()))).await.is_ok() {
            sent += 1;
            assert!(sent < 20, "what nobody takes piles up");
        }
        for _ in 0..sent {
            assert_eq!(other.receive().await.unwrap(), Frame::Output(data.clone()));
        }
    }

    #[tokio::test]
    async fn the_last_frame_arrives() {
        let (one, other) = tokio::io::duplex(64);
        let (one, mut other) = (Link::over(one), Link::over(other));
        let data = Bytes::from(vec![1; 10_000]);
        one.send(Frame::Output(data.clone())).await.unwrap();
        let end = tokio::spawn(one.finish(Frame::End(0)));
        assert_eq!(other.receive().await.unwrap(), Frame::Output(data));
        assert_eq!(other.receive().await.unwrap(), Frame::End(0));
        assert!(matches!(other.receive().await, Err(Broken::Closed)));
        drop(other);
        end.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_and_there_gets_all_of_it_before_the_end() {
        let (one, other) = tokio::io::duplex(1024);
        let (one, mut other) = (Link::over(one), Link::over(other));
        let data = Bytes::from(vec![7; MAX_DATA]);
        let say = async {
            for _ in 0..6 {
                one.send(Frame::Output(data.clone())).await.unwrap();
            }
            one.finish(Frame::End(0)).await;
        };
        let take = async {
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_secs(120)).await;
                assert_eq!(other.receive().await.unwrap(), Frame::Output(data.clone()));
            }
            assert_eq!(other.receive().await.unwrap(), Frame::End(0));
            drop(other);
        };
        tokio::join!(say, take);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_more_is_waited_for_while_something_is_taken() {
        let (one, mut other) = tokio::io::duplex(1024);
        let one = Link::over(one);
        let whole = 2 * (5 + MAX_DATA) + 13;
        for _ in 0..2 {
            one.send(Frame::Output(Bytes::from(vec![7; MAX_DATA]))).await.unwrap();
        }
        other.shutdown().await.unwrap();
        let end = tokio::spawn(one.finish(Frame::End(0)));
        let (mut piece, mut taken) = (vec![0; 10_000], 0);
        while taken < whole {
            tokio::time::sleep(Duration::from_secs(10)).await;
            match other.read(&mut piece).await.unwrap() {
                0 => panic!("{taken} of {whole} bytes came"),
                more => taken += more,
            }
        }
        end.await.unwrap();
        // Neither heard nor taking: gone, however much there is to say.
        let (one, other) = tokio::io::duplex(1024);
        let one = Link::over(one);
        for _ in 0..4 {
            one.send(Frame::Output(Bytes::from(vec![7; MAX_DATA]))).await.unwrap();
        }
        let began = Instant::now();
        one.finish(Frame::End(0)).await;
        assert!(began.elapsed() <= 2 * SILENCE, "{:?}", began.elapsed());
        drop(other);
    }

    #[tokio::test]
    async fn a_pipe_whose_wire_is_gone_is_told_from_one_that_took_all() {
        let (near, far) = tokio::io::duplex(64);
        let (gone, wire) = tokio::io::duplex(64);
        drop(gone);
        let far = Link::over(far);
        // It would go on for ever.
        let says = async { while far.send(Frame::Output(Bytes::from_static(b"more"))).await.is_ok() {} };
        let piped = async {
            let (sender, mut receiver) = Link::over(near).split();
            let (read, write) = tokio::io::split(wire);
            pipe(&sender, &mut receiver, read, write, Frame::Input).await.unwrap()
        };
        let (took_all, ()) = tokio::join!(piped, says);
        assert!(!took_all);
    }

    #[tokio::test]
    async fn a_pipe_ends_when_both_sides_have_said_all() {
        let (near, far) = tokio::io::duplex(64);
        let (mut asker, asked) = tokio::io::duplex(64);
        let (answerer, mut answering) = tokio::io::duplex(64);
        let carry = |link, wire, speaks: fn(Bytes) -> Frame| async move {
            let (sender, mut receiver) = Link::over(link).split();
            let (read, write) = tokio::io::split(wire);
            assert!(pipe(&sender, &mut receiver, read, write, speaks).await.unwrap());
            receiver.finish(sender, Frame::End(0)).await;
        };
        let one = tokio::spawn(carry(near, asked, Frame::Input));
        let other = tokio::spawn(carry(far, answerer, Frame::Output));
        let text = vec![b'q'; 5000];
        let (_, question) = tokio::join!(
            async {
                asker.write_all(&text).await.unwrap();
                asker.shutdown().await.unwrap();
            },
            async {
                let mut question = Vec::new();
                answering.read_to_end(&mut question).await.unwrap();
                question
            }
        );
        assert_eq!(question, text);
        // Half closed: the answer still comes.
        answering.write_all(b"answer").await.unwrap();
        answering.shutdown().await.unwrap();
        let mut answer = Vec::new();
        asker.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        one.await.unwrap();
        other.await.unwrap();
    }
}
