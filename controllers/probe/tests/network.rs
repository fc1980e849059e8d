//! The real probe against real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::future::Future;
use std::net::SocketAddrV4;
use std::time::Duration;

use evenkeel_plan::health::target::Question;
use evenkeel_plan::health::verdict::{Answer, Outcome};
use evenkeel_probe::exec::{ExecReply, ExecRequest};
use evenkeel_probe::{Network, Probe};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener};

const TIMEOUT: Duration = Duration::from_millis(400);

/// A server that treats one connection after another with `serve`.
async fn server<F, R>(serve: F) -> SocketAddrV4
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await;
        }
    });
    address
}

/// A server that reads a request and answers `text`.
async fn saying(text: impl Into<Vec<u8>>) -> SocketAddrV4 {
    let text: Vec<u8> = text.into();
    server(move |mut stream| {
        let text = text.clone();
        async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(&text).await;
        }
    })
    .await
}

fn http(address: SocketAddrV4) -> Question {
    Question::Http {
        address,
        host: "web".into(),
        method: "GET".into(),
        path: "/healthz".into(),
        header: [("X-Probe".to_owned(), "1".to_owned())].into(),
    }
}

async fn ask(question: &Question) -> Answer {
    Network::new("/nonexistent".as_ref()).ask(question, TIMEOUT).await
}

async fn asked(address: SocketAddrV4) -> Answer {
    ask(&http(address)).await
}

#[tokio::test]
async fn a_status_from_200_to_399_passes_and_redirects_are_not_followed() {
    for (text, answer) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Answer::pass("200 OK")),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", Answer::pass("302 Found")),
        ("HTTP/1.0 204\r\n\r\n", Answer::pass("204")),
        ("HTTP/1.1 404 Not Found\r\n\r\n", Answer::fail("404 Not Found")),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Answer::fail("503 Service Unavailable")),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Answer::pass("200 OK")),
    ] {
        assert_eq!(asked(saying(text).await).await, answer);
    }
}

#[tokio::test]
async fn a_request_arrives_whole() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        tell.send(String::from_utf8_lossy(&request[..length]).into_owned()).unwrap();
    });
    assert_eq!(asked(address).await, Answer::pass("200 OK"));
    let request = told.await.unwrap();
    assert!(request.starts_with("GET /healthz HTTP/1.1\r\nHost: web\r\n"), "{request}");
    assert!(request.ends_with("X-Probe: 1\r\n\r\n"), "{request}");
}

#[tokio::test]
async fn what_is_not_http_fails_with_what_was_seen() {
    assert_eq!(asked(saying("SSH-2.0-x\r\n").await).await, Answer::fail("not HTTP: SSH-2.0-x\\r\\n"));
    assert_eq!(asked(saying("").await).await.outcome, Outcome::Fail);
    assert_eq!(
        asked(saying("HTTP/1.1 2").await).await,
        Answer::fail("connection closed within the status line")
    );
}

#[tokio::test]
async fn huge_headers_and_endless_bodies_cost_nothing() {
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(4 << 20));
    assert_eq!(asked(saying(huge).await).await, Answer::pass("200 OK"));
    let endless = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
    });
    assert_eq!(asked(endless.await).await, Answer::pass("200 OK"));
    let line = "x".repeat(1 << 20);
    let evidence = asked(saying(format!("HTTP/1.1 200 {line}")).await).await.evidence;
    assert_eq!(evidence, "no HTTP status in the first 16 KiB of the answer");
}

#[tokio::test]
async fn the_timeout_bounds_all_of_it() {
    let silent = server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    });
    let began = tokio::time::Instant::now();
    assert_eq!(asked(silent.await).await, Answer::fail("no answer within 400ms"));
    let dripping = server(|mut stream| async move {
        for byte in b"HTTP/1.1 200 OK\r\n" {
            let _ = stream.write_all(&[*byte]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert_eq!(asked(dripping.await).await, Answer::fail("no answer within 400ms"));
    assert!(began.elapsed() < TIMEOUT * 3);
}

#[tokio::test]
async fn a_port_is_open_or_closed() {
    let open = saying("").await;
    assert_eq!(ask(&Question::Tcp { address: open }).await, Answer::pass("connection accepted"));
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        address
    };
    assert_eq!(ask(&Question::Tcp { address: closed }).await, Answer::fail("connection refused"));
    assert_eq!(asked(closed).await, Answer::fail("connection refused"));
}

#[tokio::test]
async fn a_command_passes_with_exit_code_0_and_an_absent_engine_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let probe = Network::new(dir.path());
    let question =
        Question::Exec { instance: "shop.db.1.a".parse().unwrap(), command: vec!["pg_isready".into()] };
    assert_eq!(probe.ask(&question, TIMEOUT).await.outcome, Outcome::Unasked);
    std::fs::create_dir(dir.path().join("instance")).unwrap();
    let listener = UnixListener::bind(evenkeel_probe::exec::socket(dir.path())).unwrap();
    let replies = [
        (ExecReply { code: Some(0), ..ExecReply::default() }, Answer::pass("exit 0")),
        (
            ExecReply { code: Some(2), output: "x\nno response\n".into(), ..ExecReply::default() },
            Answer::fail("exit 2: no response"),
        ),
        (
            ExecReply { error: Some("no such program".into()), ..ExecReply::default() },
            Answer::fail("no such program"),
        ),
        (
            ExecReply { error: Some("engine away".into()), away: true, ..ExecReply::default() },
            Answer::unasked("engine away"),
        ),
    ];
    let given = replies.clone();
    tokio::spawn(async move {
        for (reply, _) in given {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            let request: ExecRequest = serde_json::from_str(&line).unwrap();
            assert_eq!((request.command, request.timeout_ms), (vec!["pg_isready".to_owned()], 400));
            let reply = format!("{}\n", serde_json::to_string(&reply).unwrap());
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    for (_, answer) in replies {
        assert_eq!(probe.ask(&question, TIMEOUT).await, answer);
    }
}
