//! The page over HTTP: as little of it as Prometheus needs, bounded in every direction.

use std::convert::Infallible;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::page::{Form, Page};

/// Connections at a time; more wait in the kernel.
const MOST_CONNECTIONS: usize = 16;
/// From taking a connection to its end.
const WHOLE: Duration = Duration::from_secs(10);
/// Until a request's head is there.
const HEAD: Duration = Duration::from_secs(3);
/// A request's head has no more bytes.
const MOST_HEAD: usize = 8 * 1024;
/// Before an address that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// Before connections are taken again, after one could not be: descriptors come back with time.
const TAKE_AGAIN: Duration = Duration::from_millis(100);

/// Serve `/metrics` and `/healthz` for ever. An address that cannot be had is told once, and tried again:
/// controllers do their work without it.
pub async fn serve(address: SocketAddrV4, page: Arc<Page>) -> Infallible {
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(%address, %error, "figures are not served; EVENKEEL_METRICS gives them another port");
            }
            Err(_) => {}
        }
        sleep(AGAIN).await;
    };
    tracing::info!(%address, "figures are served");
    take(listener, page).await
}

async fn take(listener: TcpListener, page: Arc<Page>) -> Infallible {
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // Never closed.
        let room = connections.clone().acquire_owned().await.ok();
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = page.clone();
                tokio::spawn(async move {
                    // Who is too slow gets nothing; who goes away needs nothing.
                    let _over = timeout(WHOLE, connection(stream, page)).await;
                    drop(room);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection for figures cannot be taken");
                sleep(TAKE_AGAIN).await;
            }
        }
    }
}

/// One request, one answer.
async fn connection(stream: TcpStream, page: Arc<Page>) -> Result<(), hyper::Error> {
    let answering = service_fn(move |request| {
        let answer = answer(&request, &page);
        async move { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MOST_HEAD)
        .serve_connection(TokioIo::new(stream), answering)
        .await
}

fn answer(request: &Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "GET alone\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => {
            let form = form(request.headers().get(ACCEPT));
            let mut response = Response::new(Full::from(page.text(form)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
            response
        }
        // That it comes says it all: the controllers have turns on the same thread.
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        _ => plain(StatusCode::NOT_FOUND, "/metrics and /healthz are here\n"),
    }
}

/// What the asker understands.
fn form(accepts: Option<&HeaderValue>) -> Form {
    let accepts = accepts.and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/openmetrics-text") { Form::OpenMetrics } else { Form::Prometheus }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::page::Build;

    async fn served() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let page = Page::new(&Build { version: "1".into(), level: 2, started: 0.0 });
        tokio::spawn(take(listener, Arc::new(page)));
        address
    }

    async fn ask(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_page_a_sign_of_life_and_nothing_else() {
        let address = served().await;
        let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: h1\r\n{more}\r\n");
        let page = ask(address, &get("/metrics", "")).await;
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("version=0.0.4"), "{page}");
        assert!(page.contains("evenkeel_build_info{"), "{page}");
        let open = get("/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
        let open = ask(address, &open).await;
        assert!(open.contains("content-type: application/openmetrics-text") && open.ends_with("# EOF\n"));
        assert!(ask(address, &get("/healthz", "")).await.ends_with("\r\n\r\nok\n"));
        assert!(ask(address, &get("/", "")).await.starts_with("HTTP/1.1 404 "));
        let post = ask(address, "POST /metrics HTTP/1.1\r\nHost: h1\r\nContent-Length: 0\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
        let long = format!("X: {}\r\n", "x".repeat(2 * MOST_HEAD));
        assert!(!ask(address, &get("/metrics", &long)).await.contains(" 200 "));
    }

    #[tokio::test]
    async fn who_says_nothing_holds_up_others_no_longer_than_the_head_may_take() {
        let address = served().await;
        let mut silent = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let asked = ask(address, "GET /healthz HTTP/1.1\r\nHost: h1\r\n\r\n");
        let answer = timeout(HEAD * 3, asked).await.unwrap();
        assert!(answer.ends_with("ok\n"), "{answer}");
    }
}
