//! `evenkeel cp`: files out of a copy, and into one.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use evenkeel_api::name::{HostName, Namespace};
use evenkeel_api::session::{Action, Destination};
use evenkeel_sessions::{Frame, Receiver, Sender};
use tokio::sync::{mpsc, oneshot};

use crate::config::Settings;
use crate::failure::Failure;
use crate::sessions::Desk;
use crate::sessions::archive::{Arrival, Arriving, WAITING, on_a_thread, pack, unpack};
use crate::sessions::stop::{Stop, stopped};
use crate::sessions::target::Target;

/// What, and where to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel cp shop.db.1.4:/var/log/db.log .     into this folder
  evenkeel cp shop/db:/etc/db ./db              a folder, under another name
  evenkeel cp shop/db:/etc/db/. ./db            what is in it, whatever that is called
  evenkeel cp dump.sql shop/db:/tmp/            into a folder of its first ready copy
  evenkeel cp shop/db:/data - | tar t           as a tar archive

What is copied in belongs to root there. It may be done by whoever may change the namespace, and leaves an event.")]
pub struct Cp {
    /// PATH, or SERVICE:PATH or COPY:PATH; - for a tar archive
    #[arg(value_name = "FROM")]
    from: String,
    /// The same
    #[arg(value_name = "TO")]
    to: String,
    /// The namespace of a service that is named without one
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
}

/// One of both ends.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    Here(&'a str),
    There(&'a str, &'a str),
}

/// What has a name before a colon is in a copy; a path with a slash before it is here, and so is what has no colon.
fn end(text: &str) -> End<'_> {
    let is_path = |name: &str| name.is_empty() || name.starts_with(['.', '/']);
    match text.split_once(':') {
        Some((name, path)) if !is_path(name) => End::There(name, path),
        _ => End::Here(text),
    }
}

impl Cp {
    /// Copies.
    ///
    /// # Errors
    /// One end cannot be read or written, there is no such copy, or one may not.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        match (end(&self.from), end(&self.to)) {
            (End::There(name, path), End::Here(to)) => self.fetch(settings, name, path, to).await,
            (End::Here(from), End::There(name, path)) => self.store(settings, from, name, path).await,
            (End::Here(_), End::Here(_)) => Err(Failure::new(
                "both are on this machine: write one as SERVICE:PATH or COPY:PATH, like shop/web:/etc/hosts",
            )),
            (End::There(..), End::There(..)) => {
                Err(Failure::new("both are in copies: copy to this machine in between"))
            }
        }
    }

    async fn fetch(&self, settings: &Settings, name: &str, path: &str, to: &str) -> Result<(), Failure> {
        let path = absolute(path)?;
        let wanted = last_part(&path);
        let target = Target::read(name, self.namespace.as_ref())?;
        let desk = Desk::new(settings)?;
        let (copy, host) = target.one(&desk.store).await?;
        let begun = desk.ask(&host, Action::Fetch { copy, path }).await?;
        let (_sender, mut receiver) = begun.link.split();
        bring(&mut receiver, &host, to, wanted).await
    }

    async fn store(&self, settings: &Settings, from: &str, name: &str, path: &str) -> Result<(), Failure> {
        let path = absolute(path)?;
        let source = source(from)?;
        let target = Target::read(name, self.namespace.as_ref())?;
        let desk = Desk::new(settings)?;
        let (copy, host) = target.one(&desk.store).await?;
        let begun = desk.ask(&host, Action::Store { copy, path: path.clone() }).await?;
        let (sender, mut receiver) = begun.link.split();
        let said = |why: String| Failure::new(format!("host {host}: {why}"));
        let destination: Destination =
            match receiver.receive().await.map_err(|broken| said(broken.to_string()))? {
                Frame::Answer(answer) => serde_json::from_slice(&answer).map_err(Failure::new)?,
                Frame::Refused(why) => return Err(said(why)),
                _ => return Err(said("it gives an answer that is none".to_owned())),
            };
        if source.is_none() && destination.name.is_some() {
            return Err(Failure::new(format!("{path} is no folder in there, and an archive goes into one")));
        }
        let (leave, left) = mpsc::channel(WAITING);
        let reading = on_a_thread(move || match source {
            None => send_all(&mut std::io::stdin().lock(), &leave),
            Some((from, own)) => pack(&from, destination.name.as_deref().unwrap_or(&own), leave),
        });
        tokio::select! {
            ended = ended(&mut receiver) => ended.map_err(said),
            failure = send(&sender, left, reading) => Err(failure),
        }
    }
}

fn absolute(path: &str) -> Result<String, Failure> {
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    Err(Failure::new(format!("{path:?}: in a copy, say where from its root, like /etc/hosts")))
}

/// What the one thing that comes is called; `None`: what is in a folder is asked for, as of `/etc/.`, or the root.
fn last_part(path: &str) -> Option<String> {
    if path.ends_with("/.") {
        return None;
    }
    // As engines read it: by what is written, not by where links lead.
    let mut parts = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.pop().map(|part| part.to_string_lossy().into_owned())
}

/// What is to be sent, and what it is called here; `None`: an archive that comes as it is.
fn source(from: &str) -> Result<Option<(PathBuf, String)>, Failure> {
    if from == "-" {
        return Ok(None);
    }
    let failed = |error: std::io::Error| Failure::new(format!("{from}: {error}"));
    let whole = Path::new(from).canonicalize().map_err(failed)?;
    // As it is named here, also where that is a link; `.` has no name but its folder's.
    let named =
        Path::new(from).file_name().or(whole.file_name()).map(|name| name.to_string_lossy().into_owned());
    let named = named.ok_or_else(|| Failure::new(format!("{from}: copy what is in it, not the root")))?;
    Ok(Some((whole, named)))
}

/// Takes what a host sends to where it goes: what came when a path was asked for whose last part is `wanted`.
async fn bring(
    receiver: &mut Receiver,
    host: &HostName,
    to: &str,
    wanted: Option<String>,
) -> Result<(), Failure> {
    let (arrive, arrived) = mpsc::channel(WAITING);
    // Of a stream nothing is to be taken away, and who writes it may hang on its reader.
    let mut stop = if to == "-" { None } else { Some(Stop::watch()?) };
    let to = to.to_owned();
    let writing = on_a_thread(move || match to.as_str() {
        "-" => std::io::copy(&mut Arriving::new(arrived), &mut std::io::stdout().lock()).map(drop),
        to => unpack(Arriving::new(arrived), Path::new(to), wanted.as_deref()),
    });
    let received = tokio::select! {
        received = receive(receiver, arrive) => {
            received.map_err(|why| Failure::new(format!("host {host}: {why}")))
        }
        stopped = stopped(&mut stop) => Err(stopped),
    };
    // Where there was no last word, whoever writes takes away what it has.
    let written = writing.await.map_err(Failure::new)?;
    received?;
    written.map_err(Failure::new)
}

/// Hands an archive on to whoever writes it.
async fn receive(receiver: &mut Receiver, arrive: mpsc::Sender<Arrival>) -> Result<(), String> {
    loop {
        match receiver.receive().await.map_err(|broken| broken.to_string())? {
            Frame::Output(data) => {
                let taken = arrive.send(Arrival::Data(data)).await;
                // Whoever writes says itself why it takes no more.
                if taken.is_err() {
                    return Ok(());
                }
            }
            Frame::End(_) => {
                let _over = arrive.send(Arrival::End).await;
                return Ok(());
            }
            Frame::Refused(why) => return Err(why),
            _ => {}
        }
    }
}

/// Sends what is read here; its end is said only if all of it was. Comes back only if it was not: how it ends there is
/// the other end's to say.
async fn send(
    sender: &Sender,
    mut left: mpsc::Receiver<Bytes>,
    reading: oneshot::Receiver<std::io::Result<()>>,
) -> Failure {
    while let Some(data) = left.recv().await {
        if sender.send(Frame::Input(data)).await.is_err() {
            return std::future::pending().await;
        }
    }
    match reading.await {
        Ok(Ok(())) => {
            let _gone = sender.send(Frame::InputEnd).await;
            std::future::pending().await
        }
        // Nothing says that it is over, so half is not taken for the whole.
        Ok(Err(error)) => Failure::new(error),
        Err(gone) => Failure::new(gone),
    }
}

async fn ended(receiver: &mut Receiver) -> Result<(), String> {
    loop {
        match receiver.receive().await.map_err(|broken| broken.to_string())? {
            Frame::End(_) => return Ok(()),
            Frame::Refused(why) => return Err(why),
            _ => {}
        }
    }
}

fn send_all(from: &mut impl Read, leave: &mpsc::Sender<Bytes>) -> std::io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let gone = |_| std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the connection ended");
        leave.blocking_send(Bytes::copy_from_slice(&buffer[..read])).map_err(gone)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_colon_is_a_copy_unless_it_is_a_path() {
        for (text, expected) in [
            ("shop/db:/etc", End::There("shop/db", "/etc")),
            ("shop.db.1.4:/etc:x", End::There("shop.db.1.4", "/etc:x")),
            ("db:/", End::There("db", "/")),
            ("./a:b", End::Here("./a:b")),
            ("/a:b", End::Here("/a:b")),
            ("../a:b", End::Here("../a:b")),
            ("a", End::Here("a")),
            (".", End::Here(".")),
            ("-", End::Here("-")),
        ] {
            assert_eq!(end(text), expected, "{text}");
        }
        assert!(absolute("etc").is_err());
    }

    #[test]
    fn what_comes_is_called_as_it_was_asked_for() {
        for (path, name) in [
            ("/var/log/db.log", Some("db.log")),
            ("/etc/", Some("etc")),
            ("//etc/./db//", Some("db")),
            ("/etc/db/..", Some("etc")),
            ("/etc/.", None),
            ("/etc/..", None),
            ("/", None),
        ] {
            assert_eq!(last_part(path).as_deref(), name, "{path}");
        }
    }

    #[tokio::test]
    async fn who_is_told_to_end_leaves_nothing_half_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = tokio::io::duplex(1 << 16);
        let (host, to) = ("h1".parse().unwrap(), folder.path().to_str().unwrap().to_owned());
        let mut header = tar::Header::new_gnu();
        header.set_size(1 << 20);
        header.set_mode(0o644);
        header.set_path("f").unwrap();
        header.set_cksum();
        let sends = async {
            let link = evenkeel_sessions::Link::over(far);
            let head = Bytes::copy_from_slice(header.as_bytes());
            for piece in [head, Bytes::from(vec![7; 1000])] {
                link.send(Frame::Output(piece)).await.unwrap();
            }
            // Once some of it lies there.
            while std::fs::read_dir(folder.path()).unwrap().count() == 0 {
                tokio::task::yield_now().await;
            }
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
            std::future::pending::<()>().await;
        };
        let (_sender, mut receiver) = evenkeel_sessions::Link::over(near).split();
        let ended = tokio::select! {
            ended = bring(&mut receiver, &host, &to, Some("f".to_owned())) => ended,
            () = sends => Ok(()),
        };
        assert_eq!(ended.unwrap_err().code, 143);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
