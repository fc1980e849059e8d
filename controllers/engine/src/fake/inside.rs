//! What people reach in a running copy, in memory: scripts that `echo`, a few commands, and files.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use evenkeel_api::record::Timestamp;
use evenkeel_plan::instance::container::ContainerState;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::mpsc;

use super::state::State;
use super::{FakeEngine, Op};
use crate::engine::EngineError;
use crate::inside::{Archive, Incoming, Inside, Lines, Output, Piece, Running, Used};

/// What containers have beside their state.
#[derive(Default)]
pub(super) struct Insides {
    lines: BTreeMap<String, Vec<Line>>,
    readers: BTreeMap<String, Vec<mpsc::UnboundedSender<Line>>>,
    codes: BTreeMap<String, i64>,
    /// Entries of archives, each with its head, by container and path.
    files: BTreeMap<(String, String), Bytes>,
}

#[derive(Clone)]
struct Line {
    at: Timestamp,
    error: bool,
    text: String,
}

impl Line {
    fn piece(self) -> Piece {
        let (seconds, rest) = (self.at.0 / 1000, self.at.0 % 1000);
        // Days are not told apart: whoever reads compares texts.
        let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let time = format!("2023-11-14T{hours:02}:{minutes:02}:{seconds:02}.{rest:03}000000Z");
        let data = Bytes::from(format!("{time} {}\n", self.text));
        if self.error { Piece::Error(data) } else { Piece::Output(data) }
    }
}

impl FakeEngine {
    /// A container writes a line.
    pub fn writes(&self, container: &str, text: &str, error: bool) {
        let at = self.wall();
        let mut state = self.lock();
        if let Some(id) = state.find_mut(container).map(|held| held.container.id.clone()) {
            state.insides.write(&id, Line { at, error, text: text.to_owned() });
        }
    }
}

impl Insides {
    /// A container of that command has started: what its script says before all else.
    pub fn started(&mut self, id: &str, command: &[String], at: Timestamp) {
        let script = match command {
            [shell, flag, script] if shell.ends_with("sh") && flag == "-c" => script.as_str(),
            _ => return,
        };
        let said = script.split(';').map(str::trim).map_while(|part| part.strip_prefix("echo "));
        for text in said {
            let (text, error) = match text.strip_suffix(" >&2") {
                Some(text) => (text, true),
                None => (text, false),
            };
            self.write(id, Line { at, error, text: text.to_owned() });
        }
    }

    /// A container has ended: nobody hears more of it.
    pub fn ended(&mut self, id: &str) {
        self.readers.remove(id);
    }

    fn write(&mut self, id: &str, line: Line) {
        if let Some(readers) = self.readers.get_mut(id) {
            readers.retain(|reader| reader.send(line.clone()).is_ok());
        }
        self.lines.entry(id.to_owned()).or_default().push(line);
    }
}

#[async_trait]
impl Inside for FakeEngine {
    async fn logs(&self, container: &str, lines: Lines) -> Result<Output, EngineError> {
        self.call(Op::Logs, container, |state, _| {
            let (id, runs) = found(state, container)?;
            let since = lines.since.map_or(i64::MIN, |since| since.0 / 1000 * 1000);
            let had = state.insides.lines.get(&id).cloned().unwrap_or_default();
            let had: Vec<Line> = had.into_iter().filter(|line| line.at.0 >= since).collect();
            let tail = lines.tail.and_then(|tail| usize::try_from(tail).ok()).unwrap_or(usize::MAX);
            let skip = had.len().saturating_sub(tail);
            let had = stream::iter(had.into_iter().skip(skip)).map(|line| Ok(line.piece()));
            if !lines.follow || !runs {
                return Ok(Box::pin(had) as Output);
            }
            let (sender, receiver) = mpsc::unbounded_channel();
            state.insides.readers.entry(id).or_default().push(sender);
            let more = stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|line| (Ok(line.piece()), receiver))
            });
            Ok(Box::pin(had.chain(more)) as Output)
        })
        .await
    }

    async fn attach(
        &self,
        container: &str,
        argv: &[String],
        tty: bool,
        stdin: bool,
    ) -> Result<Running, EngineError> {
        let id = self
            .call(Op::Attach, container, |state, _| match found(state, container)? {
                (_, true) => Ok(state.next_id()),
                (_, false) => {
                    Err(EngineError::Conflict { who: format!("container {container} is not running") })
                }
            })
            .await?;
        let (input, reads) = tokio::io::duplex(4096);
        let (says, said) = mpsc::channel(4);
        let (engine, command, argv) = (self.clone(), id.clone(), argv.to_vec());
        tokio::spawn(async move {
            let reads = if stdin { reads } else { tokio::io::duplex(1).1 };
            let code = run(&argv, tty, reads, &says).await;
            engine.lock().insides.codes.insert(command, code);
        });
        let output =
            stream::unfold(said, |mut said| async move { said.recv().await.map(|piece| (Ok(piece), said)) });
        Ok(Running { id, output: Box::pin(output), input: Box::pin(input) })
    }

    async fn resize(&self, command: &str, _columns: u16, _rows: u16) -> Result<(), EngineError> {
        self.call(Op::Attach, command, |_, _| Ok(())).await
    }

    async fn exit_code(&self, command: &str) -> Result<i64, EngineError> {
        self.call(Op::Attach, command, |state, _| {
            let code = state.insides.codes.get(command).copied();
            code.ok_or_else(|| EngineError::NotFound(format!("command {command}")))
        })
        .await
    }

    async fn fetch(&self, container: &str, path: &str) -> Result<Archive, EngineError> {
        self.call(Op::Fetch, container, |state, _| {
            let (id, _) = found(state, container)?;
            // Whatever ends so must be a folder.
            let (path, inside) = path.strip_suffix("/.").map_or((path, false), |path| (path, true));
            let path = format!("/{}", path.trim_matches('/'));
            if inside && !is_folder(&path) {
                return Err(EngineError::Refused(format!("{path} is not a directory")));
            }
            let entry = match state.insides.files.get(&(id, path.clone())) {
                Some(entry) => entry.clone(),
                None if is_folder(&path) => folder(&path),
                None => return Err(EngineError::NotFound(format!("{path} in {container}"))),
            };
            let pieces = [entry, Bytes::from_static(&[0; 1024])];
            Ok(Box::pin(stream::iter(pieces.map(Ok))) as Archive)
        })
        .await
    }

    async fn store(&self, container: &str, path: &str, archive: Incoming) -> Result<(), EngineError> {
        let path = format!("/{}", path.trim_matches('/'));
        // What it refuses, it refuses before it reads, as the real one does.
        let id = self
            .call(Op::Store, container, |state, _| {
                let (id, _) = found(state, container)?;
                is_folder(&path)
                    .then_some(id)
                    .ok_or_else(|| EngineError::NotFound(format!("{path} in {container}")))
            })
            .await?;
        let refused = |error: std::io::Error| EngineError::Refused(error.to_string());
        let whole = archive.map_err(refused).try_fold(BytesMut::new(), async |mut whole, piece| {
            whole.extend_from_slice(&piece);
            Ok(whole)
        });
        let archive = whole.await?.freeze();
        let mut state = self.lock();
        for (name, entry) in entries(&archive) {
            let path = format!("{}/{name}", path.trim_end_matches('/'));
            state.insides.files.insert((id.clone(), path), entry);
        }
        Ok(())
    }

    async fn usage(&self, container: &str) -> Result<Used, EngineError> {
        self.call(Op::Usage, container, |state, _| {
            let (_, runs) = found(state, container)?;
            let memory = if runs { 1 << 20 } else { 0 };
            Ok(Used { cpu: 0.0, memory, limit: 8 << 30 })
        })
        .await
    }
}

fn found(state: &mut State, container: &str) -> Result<(String, bool), EngineError> {
    let held =
        state.find_mut(container).ok_or_else(|| EngineError::NotFound(format!("container {container}")))?;
    Ok((held.container.id.clone(), held.container.state == ContainerState::Running))
}

/// `cat` gives back what it reads; `sleep infinity` sleeps; `sh -c "exit N"` and `false` end so; all else says what it is.
async fn run(argv: &[String], tty: bool, mut reads: DuplexStream, says: &mpsc::Sender<Piece>) -> i64 {
    match argv.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["cat"] => {
            let mut buffer = BytesMut::new();
            while reads.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
                if says.send(Piece::Output(buffer.split().freeze())).await.is_err() {
                    break;
                }
            }
            0
        }
        ["false"] => 1,
        // Neither reads nor ends.
        ["sleep", "infinity"] => std::future::pending().await,
        ["sh", "-c", script] if script.starts_with("exit ") => script[5..].parse().unwrap_or(2),
        ["sh", "-c", script] if script.starts_with("echo ") && script.ends_with(" >&2") && !tty => {
            let text = Bytes::from(format!("{}\n", &script[5..script.len() - 4]));
            let _nobody = says.send(Piece::Error(text)).await;
            0
        }
        words => {
            let _nobody = says.send(Piece::Output(Bytes::from(format!("{}\n", words.join(" "))))).await;
            0
        }
    }
}

fn is_folder(path: &str) -> bool {
    matches!(path, "/" | "/tmp")
}

/// The head of a folder's entry.
fn folder(path: &str) -> Bytes {
    let mut head = [0; 512];
    let name = format!("{}/", path.rsplit('/').next().unwrap_or_default());
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[156] = b'5';
    Bytes::copy_from_slice(&head)
}

/// The entries of an archive, by name.
fn entries(archive: &Bytes) -> Vec<(String, Bytes)> {
    let (mut entries, mut at) = (Vec::new(), 0);
    while let Some(head) = archive.get(at..at + 512).filter(|head| head[0] != 0) {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&head[range]).trim_matches(['\0', ' ']).to_owned()
        };
        let size = usize::from_str_radix(&text(124..136), 8).unwrap_or(0);
        let end = (at + 512 + size.div_ceil(512) * 512).min(archive.len());
        entries.push((text(0..100), archive.slice(at..end)));
        at = end;
    }
    entries
}
