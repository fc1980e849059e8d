//! What people reach in a running copy.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_engine::inside::{Incoming, Output};
use evenkeel_engine::{EngineError, Lines, Piece};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::AsyncWriteExt;

use crate::{World, exited};

/// All cases.
pub async fn all(world: &World) {
    what_is_written_is_told(world).await;
    commands_have_ends(world).await;
    files_go_in_and_out(world).await;
    usage_is_measured(world).await;
}

async fn output(mut output: Output, lines: usize) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    while found.len() < lines {
        let next = tokio::time::timeout(Duration::from_secs(20), output.next()).await.unwrap();
        let Some(piece) = next else { break };
        let (error, data) = match piece.unwrap() {
            Piece::Output(data) => (false, data),
            Piece::Error(data) => (true, data),
        };
        found.push((error, String::from_utf8(data.to_vec()).unwrap()));
    }
    found
}

/// Their times and what follows them, the standard error last: engines keep no order between both.
fn told(mut lines: Vec<(bool, String)>) -> Vec<(bool, String)> {
    for (_, line) in &mut lines {
        let (time, text) = line.split_once(' ').unwrap();
        assert!(time.len() == 30 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
        *line = text.to_owned();
    }
    lines.sort();
    lines
}

fn is(lines: &[(bool, String)], expected: &[(bool, &str)]) {
    let lines: Vec<_> = lines.iter().map(|(error, line)| (*error, line.as_str())).collect();
    assert_eq!(lines, expected);
}

async fn what_is_written_is_told(world: &World) {
    let mut spec = world.spec("says");
    let script = "echo one; echo two >&2; trap 'exit 3' TERM; while :; do sleep 0.05; done";
    spec.template.command = Some(vec!["sh".into(), "-c".into(), script.into()]);
    let id = world.made(&spec).await;
    world.engine.start(&id).await.unwrap();
    let following = world.engine.logs(&id, Lines { follow: true, ..Lines::default() }).await.unwrap();
    is(&told(output(following, 2).await), &[(false, "one\n"), (true, "two\n")]);
    let all = world.engine.logs(&id, Lines::default()).await.unwrap();
    is(&told(output(all, 9).await), &[(false, "one\n"), (true, "two\n")]);
    let tail = world.engine.logs(&id, Lines { tail: Some(1), ..Lines::default() }).await.unwrap();
    assert_eq!(output(tail, 9).await.len(), 1);
    // What is followed ends with the container, and can be read when it has.
    let following =
        world.engine.logs(&id, Lines { follow: true, tail: Some(0), ..Lines::default() }).await.unwrap();
    world.engine.kill(&id).await.unwrap();
    assert_eq!(output(following, 9).await, []);
    world.wait_for("says", exited).await;
    let all = world.engine.logs(&id, Lines { follow: true, ..Lines::default() }).await.unwrap();
    is(&told(output(all, 9).await), &[(false, "one\n"), (true, "two\n")]);
    world.engine.remove(&id).await.unwrap();
    let gone = world.engine.logs(&id, Lines::default()).await;
    let gone = match gone {
        Ok(mut output) => output.next().await.unwrap().err(),
        Err(error) => Some(error),
    };
    assert!(matches!(gone, Some(EngineError::NotFound(_))), "{gone:?}");
}

async fn commands_have_ends(world: &World) {
    let id = world.made(&world.spec("attach")).await;
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let early = world.engine.attach(&id, &words(&["cat"]), false, true).await.err();
    assert!(matches!(early, Some(EngineError::Conflict { .. })), "{early:?}");
    world.engine.start(&id).await.unwrap();
    let mut cat = world.engine.attach(&id, &words(&["cat"]), false, true).await.unwrap();
    let text = "x".repeat(100_000);
    let (_, echoed) = tokio::join!(
        async {
            cat.input.write_all(text.as_bytes()).await.unwrap();
            cat.input.shutdown().await.unwrap();
        },
        output(cat.output, usize::MAX)
    );
    assert_eq!(echoed.iter().map(|(_, text)| text.len()).sum::<usize>(), text.len());
    assert_eq!(world.engine.exit_code(&cat.id).await.unwrap(), 0);
    let seven = world.engine.attach(&id, &words(&["sh", "-c", "exit 7"]), false, false).await.unwrap();
    assert_eq!(output(seven.output, 9).await, []);
    assert_eq!(world.engine.exit_code(&seven.id).await.unwrap(), 7);
    let error = world.engine.attach(&id, &words(&["sh", "-c", "echo no >&2"]), false, false).await.unwrap();
    is(&output(error.output, 9).await, &[(true, "no\n")]);
    let terminal = world.engine.attach(&id, &words(&["cat"]), true, true).await.unwrap();
    world.engine.resize(&terminal.id, 100, 30).await.unwrap();
    drop(terminal);
    world.engine.remove(&id).await.unwrap();
}

/// An archive of one file.
fn archive(name: &str, text: &str) -> Bytes {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    archive.into_inner().unwrap().into()
}

/// The first file of an archive: its name, and what is in it.
fn first(archive: &[u8]) -> (String, String) {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let name = entry.path().unwrap().to_str().unwrap().to_owned();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
    (name, text)
}

async fn files_go_in_and_out(world: &World) {
    let id = world.made(&world.spec("files")).await;
    world.engine.start(&id).await.unwrap();
    let incoming = |archive: Bytes| -> Incoming { Box::pin(stream::iter([Ok(archive)])) };
    world.engine.store(&id, "/tmp", incoming(archive("kept", "hello"))).await.unwrap();
    let fetched = world.engine.fetch(&id, "/tmp/kept").await.unwrap();
    let fetched: Vec<Bytes> = fetched.try_collect().await.unwrap();
    assert_eq!(first(&fetched.concat()), ("kept".to_owned(), "hello".to_owned()));
    // What is there is told by the first entry.
    for (path, kind) in [("/tmp/kept", b'0'), ("/tmp", b'5'), ("/", b'5')] {
        let head = world.engine.fetch(&id, path).await.unwrap().next().await.unwrap().unwrap();
        assert_eq!(head[156], kind, "{path}");
    }
    let nowhere = world.engine.fetch(&id, "/tmp/nothing").await.err();
    assert!(matches!(nowhere, Some(EngineError::NotFound(_))), "{nowhere:?}");
    let nowhere = world.engine.store(&id, "/nowhere", incoming(archive("x", "x"))).await;
    assert!(matches!(nowhere, Err(EngineError::NotFound(_))), "{nowhere:?}");
    let broken = stream::iter([Ok(archive("half", "x").slice(..700)), Err(std::io::Error::other("gone"))]);
    assert!(world.engine.store(&id, "/tmp", Box::pin(broken)).await.is_err());
    world.engine.remove(&id).await.unwrap();
}

async fn usage_is_measured(world: &World) {
    let id = world.made(&world.spec("used")).await;
    world.engine.start(&id).await.unwrap();
    let used = world.engine.usage(&id).await.unwrap();
    assert!(used.memory > 0 && used.limit > used.memory && used.cpu >= 0.0, "{used:?}");
    world.engine.remove(&id).await.unwrap();
    let gone = world.engine.usage(&id).await;
    assert!(matches!(gone, Err(EngineError::NotFound(_))), "{gone:?}");
}
