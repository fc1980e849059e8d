//! An HTTP request; a status of 200 to 399 is a pass. The request is plain bytes, and of the answer only
//! the status line is read: a probe is no client.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::time::Duration;

use evenkeel_plan::health::verdict::Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::{span, tcp, words};

/// The most that is read of an answer.
const MOST: usize = 16 * 1024;
/// Header lines of interim answers that are looked at.
const LINES: usize = 64;

/// The bytes of a request.
///
/// # Errors
/// A part that would break the request apart, for people.
pub(crate) fn request(
    method: &str,
    path: &str,
    host: &str,
    header: &BTreeMap<String, String>,
) -> Result<Vec<u8>, String> {
    let broken = |text: &str| text.chars().any(|c| c.is_ascii_control());
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(format!("{method:?} is no HTTP method"));
    }
    if !path.starts_with('/') || broken(path) || path.contains(' ') {
        return Err(format!("{path:?} is no HTTP path: it begins with a / and holds no space"));
    }
    let has = |name: &str| header.keys().any(|key| key.eq_ignore_ascii_case(name));
    let mut text = format!("{} {path} HTTP/1.1\r\n", method.to_ascii_uppercase());
    let usual = [
        ("Host", host),
        ("User-Agent", "evenkeel"),
        ("Accept", "*/*"),
        ("Connection", "close"),
        ("Content-Length", "0"),
    ];
    let bodiless = matches!(method.to_ascii_uppercase().as_str(), "GET" | "HEAD" | "OPTIONS");
    for (name, value) in usual {
        if !has(name) && (name != "Content-Length" || !bodiless) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    for (name, value) in header {
        if name.is_empty() || broken(name) || broken(value) || name.contains([':', ' ']) {
            return Err(format!("the header {name:?} cannot be sent"));
        }
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    Ok(text.into_bytes())
}

/// Send a request, and judge the status of the answer. `within` bounds all of it.
pub(crate) async fn ask(address: SocketAddrV4, request: &[u8], within: Duration) -> Answer {
    let mut connected = false;
    let answer = timeout(within, async {
        let mut stream = tcp::connect(address).await?;
        connected = true;
        let sent = stream.write_all(request).await;
        // A server may answer and hang up before it has read all: what it said still counts.
        let status = status(&mut stream).await;
        match (status, sent) {
            (Ok(status), _) => Ok(status),
            (Err(_), Err(error)) => Err(words(&error)),
            (Err(why), Ok(())) => Err(why),
        }
    });
    match answer.await {
        Ok(Ok(status)) if (200..400).contains(&status.code) => Answer::pass(&status.line()),
        Ok(Ok(status)) => Answer::fail(&status.line()),
        Ok(Err(why)) => Answer::fail(&why),
        Err(_) if connected => Answer::fail(&format!("no answer within {}", span(within))),
        Err(_) => Answer::fail(&format!("no connection within {}", span(within))),
    }
}

/// What a status line says.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    code: u16,
    reason: String,
}

impl Status {
    fn line(&self) -> String {
        format!("{} {}", self.code, self.reason)
    }
}

/// Reads until the status of the final answer is there.
async fn status(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Status, String> {
    let mut read = Vec::with_capacity(1024);
    loop {
        if let Some(status) = parse(&read)? {
            return Ok(status);
        }
        if read.len() >= MOST {
            return Err(format!("no HTTP status in the first {} KiB of the answer", MOST / 1024));
        }
        match stream.read_buf(&mut read).await {
            Ok(0) if read.is_empty() => return Err("connection closed without an answer".to_owned()),
            Ok(0) => return Err("connection closed within the status line".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(words(&error)),
        }
    }
}

/// The status in what was read so far; `None`: not yet.
fn parse(mut read: &[u8]) -> Result<Option<Status>, String> {
    loop {
        let mut lines = [httparse::EMPTY_HEADER; LINES];
        let mut answer = httparse::Response::new(&mut lines);
        let parsed = answer.parse(read);
        // The status line is whole as soon as there is a reason: header lines are of no interest, be they
        // too many, too long or broken.
        let status = match (answer.code, answer.reason) {
            (Some(code), Some(reason)) => Status { code, reason: reason.to_owned() },
            _ => match parsed {
                Ok(_) => return Ok(None),
                Err(_) => return Err(format!("not HTTP: {}", printable(read))),
            },
        };
        // 1xx but for 101 announce another answer.
        if !(100..200).contains(&status.code) || status.code == 101 {
            return Ok(Some(status));
        }
        match parsed {
            Ok(httparse::Status::Complete(length)) => read = read.get(length..).unwrap_or_default(),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Ok(Some(status)),
        }
    }
}

/// The beginning of something that is no text, perhaps.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..bytes.len().min(40)).unwrap_or_default()).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_status_line_matters() {
        let ok = |text: &str| parse(text.as_bytes()).map(|s| s.map(|s| s.line()));
        assert_eq!(ok("HTTP/1.1 20"), Ok(None));
        assert_eq!(ok("HTTP/1.1 200 O"), Ok(None));
        assert_eq!(ok("HTTP/1.1 200 OK\r\n"), Ok(Some("200 OK".into())));
        assert_eq!(ok("HTTP/1.0 204 No Content\r\nbro ken header\r\n"), Ok(Some("204 No Content".into())));
        assert_eq!(ok("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Down\r\n"), Ok(Some("503 Down".into())));
        assert_eq!(ok("HTTP/1.1 100 Continue\r\n\r\n"), Ok(None));
        assert_eq!(ok("SSH-2.0-OpenSSH\r\n"), Err("not HTTP: SSH-2.0-OpenSSH\\r\\n".into()));
    }

    #[test]
    fn a_request_has_what_a_server_needs_and_what_was_asked_for() {
        let none = BTreeMap::new();
        let text = |method, header: &BTreeMap<String, String>| {
            request(method, "/healthz?full=1", "web", header).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        let plain = "GET /healthz?full=1 HTTP/1.1\r\nHost: web\r\nUser-Agent: evenkeel\r\nAccept: */*\r\n\
                     Connection: close\r\n\r\n";
        assert_eq!(text("get", &none).unwrap(), plain);
        let header = [("host".to_owned(), "shop.example".to_owned())].into();
        let posted = text("POST", &header).unwrap();
        assert!(posted.contains("Content-Length: 0\r\n") && posted.contains("host: shop.example\r\n"));
        assert!(!posted.contains("Host: web"));
        let split = [("X-A".to_owned(), "1\r\nX-B: 2".to_owned())].into();
        assert!(text("GET", &split).is_err());
        assert!(request("GET", "healthz", "web", &none).is_err());
        assert!(request("GET", "/a b", "web", &none).is_err());
    }
}
