//! Standard input and output for who must not wait for them: a terminal that a person has stopped, or a slow reader,
//! holds up what is written, but not that the other end hears of us.

use std::io::{Read, Write};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Pieces that wait for the terminal.
const WAITING: usize = 16;
const PIECE: usize = 16 * 1024;

/// Where something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Both of them, written to by a thread.
pub struct Console {
    pieces: mpsc::Sender<(Out, Bytes)>,
    writer: JoinHandle<()>,
}

impl Console {
    /// One to write to.
    pub fn new() -> Self {
        let (pieces, mut arriving) = mpsc::channel::<(Out, Bytes)>(WAITING);
        let writer = std::thread::spawn(move || {
            while let Some((out, piece)) = arriving.blocking_recv() {
                let written = match out {
                    Out::Output => write(&mut std::io::stdout().lock(), &piece),
                    Out::Error => write(&mut std::io::stderr().lock(), &piece),
                };
                if written.is_err() {
                    return;
                }
            }
        });
        Self { pieces, writer }
    }

    /// Writes; false once nobody reads any more. Cancel-safe.
    pub async fn write(&self, out: Out, piece: impl Into<Bytes>) -> bool {
        self.pieces.send((out, piece.into())).await.is_ok()
    }

    /// Until all is written.
    pub fn finish(self) {
        drop(self.pieces);
        let _ended = self.writer.join();
    }
}

fn write(to: &mut impl Write, piece: &[u8]) -> std::io::Result<()> {
    to.write_all(piece)?;
    to.flush()
}

/// Standard input, piece by piece. The thread that reads ends with the process.
pub fn input() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(2);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        let mut input = std::io::stdin().lock();
        while let Ok(read) = input.read(&mut buffer) {
            if read == 0 || sender.blocking_send(Bytes::copy_from_slice(&buffer[..read])).is_err() {
                return;
            }
        }
    });
    receiver
}
