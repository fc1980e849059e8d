//! The lines of one copy, read from its host for as long as the copy is there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_api::key::Key;
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::record::{InstanceState, Observed, Timestamp};
use evenkeel_api::session::{Action, Since};
use evenkeel_runtime::mirror::Mirror;
use evenkeel_sessions::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;

use super::{Begun, Desk};
use crate::failure::Failure;

/// Lines of one copy that wait to be shown.
const WAITING: usize = 64;
/// Between two tries to read a copy; the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

/// How often in a row a host may say that there is nothing to read before a person is told.
const REFUSALS: u32 = 4;

/// What a copy's reader tells.
pub enum Told {
    /// A line: of which copy, when it was written, whether to standard error, and its text with its end.
    Line { copy: usize, time: String, error: bool, text: Bytes, waits: OwnedSemaphorePermit },
    /// Its host does not answer, or not any more.
    Trouble { copy: usize, why: String },
    /// It is read.
    Reads { copy: usize },
    /// There is nothing more.
    Over { copy: usize },
}

/// Why a copy is not read any more.
enum Stopped {
    /// Its host is not heard.
    Broken(String),
    /// Its host says why.
    Refused(String),
}

/// Reads one copy.
pub struct Reader {
    pub desk: Desk,
    pub copy: InstanceId,
    pub host: HostName,
    /// By which it is known to whom it tells.
    pub number: usize,
    pub since: Option<Since>,
    pub tail: Option<u64>,
    /// While its record stands there, it is read; `None`: once.
    pub follow: Option<Mirror>,
    pub tell: mpsc::Sender<Told>,
}

impl Reader {
    /// Until there is nothing more, or nobody listens.
    pub async fn run(mut self) {
        let room = Arc::new(Semaphore::new(WAITING));
        let (mut last, mut pause, mut refused) = (String::new(), PAUSES.0, 0);
        loop {
            self.is_made().await;
            if self.follow.is_some() && !self.goes_on() {
                break;
            }
            match self.begin(&last).await {
                Ok(begun) => {
                    let _nobody = self.tell.send(Told::Reads { copy: self.number }).await;
                    let before = last.clone();
                    let ended = self.pass_on(begun, &room, &mut last).await;
                    if before != last {
                        (pause, refused) = (PAUSES.0, 0);
                    }
                    match ended {
                        Ok(()) => {}
                        Err(Stopped::Broken(why)) => self.trouble(why).await,
                        // A container that goes is gone before its record is: that is no news.
                        Err(Stopped::Refused(_)) if self.follow.is_some() && refused < REFUSALS => {
                            refused += 1
                        }
                        Err(Stopped::Refused(why)) => self.trouble(why).await,
                    }
                }
                Err(failure) => self.trouble(failure.message).await,
            }
            if !self.goes_on() || self.tell.is_closed() {
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            if !self.goes_on() {
                break;
            }
        }
        let _nobody = self.tell.send(Told::Over { copy: self.number }).await;
    }

    async fn trouble(&self, why: String) {
        let _nobody = self.tell.send(Told::Trouble { copy: self.number, why }).await;
    }

    /// Waits until there is a container to read, where more is to come: before that its host could only say that there
    /// is none.
    async fn is_made(&self) {
        let Some(mirror) = &self.follow else { return };
        let key = Key::Observed(self.host.clone(), self.copy.clone());
        let mut changed = mirror.subscribe();
        while self.goes_on() {
            match mirror.stands::<Observed>(&key).map(|observed| observed.value.state) {
                None
                | Some(
                    InstanceState::Waiting { .. } | InstanceState::Pulling | InstanceState::Stopped { .. },
                ) => {
                    changed.next().await;
                }
                Some(_) => return,
            }
        }
    }

    /// Whether it is looked at again: a container may end and start again.
    fn goes_on(&self) -> bool {
        let key = Key::Instance(self.host.clone(), self.copy.clone());
        self.follow.as_ref().is_some_and(|mirror| mirror.get(&key).is_some())
    }

    async fn begin(&mut self, last: &str) -> Result<Begun, Failure> {
        // Again: from what was seen last. Engines look at whole seconds, so some of it comes twice.
        if let Ok(time) = last.parse::<jiff::Timestamp>() {
            (self.since, self.tail) = (Some(Since::At(Timestamp(time.as_millisecond()))), None);
        }
        let follow = self.follow.is_some();
        let action = Action::Logs { copy: self.copy.clone(), follow, since: self.since, tail: self.tail };
        self.desk.ask(&self.host, action).await
    }

    async fn pass_on(&self, begun: Begun, room: &Arc<Semaphore>, last: &mut String) -> Result<(), Stopped> {
        let (mut link, seen) = (begun.link, last.clone());
        loop {
            let frame = link.receive().await;
            let frame = frame.map_err(|error| Stopped::Broken(format!("host {}: {error}", self.host)))?;
            let (data, error) = match frame {
                Frame::Output(data) => (data, false),
                Frame::Error(data) => (data, true),
                Frame::End(_) => return Ok(()),
                Frame::Refused(why) => return Err(Stopped::Refused(format!("host {}: {why}", self.host))),
                _ => continue,
            };
            let (time, text) = split(data);
            if !seen.is_empty() && *time <= *seen {
                continue;
            }
            last.clone_from(&time);
            let Ok(waits) = room.clone().acquire_owned().await else { return Ok(()) };
            let line = Told::Line { copy: self.number, time, error, text, waits };
            if self.tell.send(line).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// A line's time and its text.
fn split(line: Bytes) -> (String, Bytes) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(space) => (String::from_utf8_lossy(&line[..space]).into_owned(), line.slice(space + 1..)),
        None => (String::new(), line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time_before_it() {
        let (time, text) = split(Bytes::from_static(b"2026-11-30T02:18:26.123456789Z hello world\n"));
        assert_eq!((time.as_str(), &text[..]), ("2026-11-30T02:18:26.123456789Z", &b"hello world\n"[..]));
        assert!(time.parse::<jiff::Timestamp>().is_ok());
        assert_eq!(split(Bytes::from_static(b"x")), (String::new(), Bytes::from_static(b"x")));
    }
}
