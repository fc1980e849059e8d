//! What an engine's odd answers become: of one that says what a test lets it say.

use std::time::Duration;

use evenkeel_plan::instance::container::ContainerState;
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::engine::Engine;
use crate::inside::{Inside, Lines, Piece};

/// Answers each request by its path; `None`: never.
async fn answer(stream: UnixStream, body: fn(&str) -> Option<&'static str>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(first) = lines.next_line().await? {
        while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
        let path = first.split(' ').nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default().trim_start_matches("/v1.41");
        let Some(body) = body(path) else { std::future::pending().await };
        if let Some(why) = body.strip_prefix("409 ") {
            let head = format!("HTTP/1.1 409 Conflict\r\nContent-Length: {}\r\n\r\n", why.len());
            write.write_all(format!("{head}{why}").as_bytes()).await?;
            std::future::pending::<()>().await;
        }
        if let Some(bytes) = body.strip_prefix("RAW ") {
            // To its end, and no more.
            write.write_all(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n").await?;
            return write.write_all(bytes.as_bytes()).await;
        }
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
        write.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await?;
    }
    Ok(())
}

fn engine(folder: &Path, body: fn(&str) -> Option<&'static str>) -> Docker {
    let socket = folder.join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, body));
        }
    });
    Docker::new(&socket, Deadlines { read: Duration::from_millis(500), ..Deadlines::default() })
}

#[tokio::test]
async fn a_container_that_the_engine_holds_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), |path| match path {
        "/version" => Some(r#"{"ApiVersion": "1.41"}"#),
        "/info" => Some(r#"{"NCPU": 2}"#),
        "/containers/json" => Some(
            r#"[{"Id": "a", "Names": ["/shop.web.1.1"], "Labels": {"x": "y"}, "Image": "web:1", "ImageID": "sha256:1"},
                {"Id": "b", "Names": ["/shop.web.2.2"]}]"#,
        ),
        "/containers/b/json" => {
            Some(r#"{"Id": "b", "Name": "/shop.web.2.2", "State": {"Status": "running"}}"#)
        }
        _ => None,
    });
    let found = engine.containers("u1").await.unwrap();
    let said: Vec<_> = found.iter().map(|one| (one.id.as_str(), one.name.as_str(), one.state)).collect();
    assert_eq!(
        said,
        [("a", "shop.web.1.1", ContainerState::Changing), ("b", "shop.web.2.2", ContainerState::Running)]
    );
    assert_eq!((found[0].labels["x"].as_str(), found[0].image_id.as_str()), ("y", "sha256:1"));
}

/// What looks like the head of a frame that promises four gigabytes, and more than a piece without an end of a line.
const SCREEN: &str = "RAW \u{1}\0\0\0\u{7f}\u{7f}\u{7f}\u{7f}prompt";

#[tokio::test]
async fn what_a_terminal_shows_is_taken_for_no_frame() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), |path| match path {
        "/version" => Some(r#"{"ApiVersion": "1.41"}"#),
        "/info" => Some(r#"{"NCPU": 2}"#),
        "/containers/c/exec" => Some(r#"{"Id": "e"}"#),
        "/containers/c/json" => Some(r#"{"Id": "c", "Config": {"Tty": true}}"#),
        "/exec/e/start" | "/containers/c/logs" => Some(SCREEN),
        _ => None,
    });
    let running = engine.attach("c", &["sh".to_owned()], true, true).await.unwrap();
    let logs = engine.logs("c", Lines::default()).await.unwrap();
    for output in [running.output, logs] {
        let shown: Vec<Piece> = output.map(Result::unwrap).collect().await;
        let Some(Piece::Output(bytes)) = shown.first() else { panic!("{shown:?}") };
        assert_eq!((shown.len(), bytes.as_ref()), (1, &SCREEN.as_bytes()[4..]));
    }
}

#[tokio::test]
async fn an_engine_that_hangs_has_no_list_and_one_that_refuses_says_why_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), |path| match path {
        "/version" => Some(r#"{"ApiVersion": "1.41"}"#),
        "/info" => Some(r#"{"NCPU": 2}"#),
        "/containers/json" => {
            Some(r#"[{"Id": "a", "Names": ["/shop.web.1.1"]}, {"Id": "b", "Names": ["/shop.web.2.2"]}]"#)
        }
        "/containers/c/exec" => Some(r#"{"Id": "e"}"#),
        "/exec/e/start" => Some(r#"409 {"message": "container c is not running"}"#),
        _ => None,
    });
    assert!(matches!(engine.containers("u1").await, Err(EngineError::Timeout(_))));
    let refused = engine.attach("c", &["sh".to_owned()], true, true).await.err().unwrap();
    assert!(
        matches!(&refused, EngineError::Conflict { who } if who == "container c is not running"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_line_of_a_terminal_without_an_end_is_not_waited_for() {
    let (mut writes, reads) = tokio::io::duplex(1 << 20);
    let text = format!("one\n{}\ntwo", "x".repeat(40_000));
    writes.write_all(text.as_bytes()).await.unwrap();
    let mut lines = Box::pin(raw::lines(reads));
    let mut lengths = Vec::new();
    for _ in 0..3 {
        lengths.push(lines.next().await.unwrap().unwrap().len());
    }
    assert_eq!(lengths, [4, 1 << 15, 40_001 - (1 << 15)]);
    drop(writes);
    assert_eq!(lines.next().await.unwrap().unwrap(), "two");
    assert!(lines.next().await.is_none());
}
