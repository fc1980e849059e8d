//! The lines of one copy, read from its host for as long as the copy is there.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_api::record::{InstanceState, Observed, Timestamp};
use evenkeel_api::session::{Action, Since};
use evenkeel_runtime::mirror::Mirror;
use evenkeel_sessions::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::lines::{Line, Lines};
use super::{Begun, Desk};
use crate::failure::Failure;

/// Lines of one copy that wait to be shown, and how much of a line counts as one.
const WAITING: usize = 64;
const PIECE: usize = 16 * 1024;
/// The end of a line comes within that time, or what there is of it is shown without.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// Between two tries to read a copy; the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

/// How often in a row a host may say that there is nothing to read before a person is told.
const REFUSALS: u32 = 4;

/// What a copy's reader tells.
pub enum Told {
    /// A line: of which copy, and what waits for it to be shown.
    Line { copy: usize, line: Line, waits: OwnedSemaphorePermit },
    /// Its host does not answer, or not any more.
    Trouble { copy: usize, why: String },
    /// What there is of it did not come to its end.
    BrokeOff { copy: usize },
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
    /// What has come of it.
    pub lines: Lines,
    /// For what waits to be shown.
    pub room: Arc<Semaphore>,
}

impl Reader {
    /// For what may wait of one copy.
    pub fn room() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(WAITING))
    }

    /// Until there is nothing more, or nobody listens.
    pub async fn run(mut self) {
        let (mut pause, mut refused) = (PAUSES.0, 0);
        loop {
            self.is_made().await;
            if self.follow.is_some() && !self.goes_on() {
                break;
            }
            match self.begin().await {
                Ok(begun) => {
                    let _nobody = self.tell.send(Told::Reads { copy: self.number }).await;
                    let before = self.lines.last().to_owned();
                    let ended = self.pass_on(begun).await;
                    let came = before != self.lines.last();
                    if came {
                        (pause, refused) = (PAUSES.0, 0);
                    }
                    // Refused before the first line, there is nothing to read.
                    if matches!(&ended, Err(Stopped::Broken(_))) || came && ended.is_err() {
                        let _nobody = self.tell.send(Told::BrokeOff { copy: self.number }).await;
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
        self.show_rest().await;
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

    async fn begin(&mut self) -> Result<Begun, Failure> {
        // Again: from what was seen last. Engines look at whole seconds, so some of it comes twice.
        if let Ok(time) = self.lines.last().parse::<jiff::Timestamp>() {
            (self.since, self.tail) = (Some(Since::At(Timestamp(time.as_millisecond()))), None);
        }
        self.lines.begin();
        let follow = self.follow.is_some();
        let action = Action::Logs { copy: self.copy.clone(), follow, since: self.since, tail: self.tail };
        self.desk.ask(&self.host, action).await
    }

    async fn pass_on(&mut self, begun: Begun) -> Result<(), Stopped> {
        let mut link = begun.link;
        loop {
            let patience = if self.lines.is_open() { OPEN_WITHIN } else { Duration::MAX };
            let lines = match timeout(patience, link.receive()).await {
                Err(_) => self.lines.rest(),
                Ok(frame) => {
                    match frame.map_err(|error| Stopped::Broken(format!("host {}: {error}", self.host)))? {
                        Frame::Output(data) => self.lines.take(false, data),
                        Frame::Error(data) => self.lines.take(true, data),
                        Frame::End(_) => {
                            self.show_rest().await;
                            return Ok(());
                        }
                        Frame::Refused(why) => {
                            return Err(Stopped::Refused(format!("host {}: {why}", self.host)));
                        }
                        _ => continue,
                    }
                }
            };
            if !self.show(lines).await {
                return Ok(());
            }
        }
    }

    /// Tells of lines; false once nobody listens.
    async fn show(&self, lines: Vec<Line>) -> bool {
        for line in lines {
            // A long line takes the room of many.
            let room = WAITING.min(1 + line.text.len() / PIECE) as u32;
            let Ok(waits) = self.room.clone().acquire_many_owned(room).await else { return false };
            if self.tell.send(Told::Line { copy: self.number, line, waits }).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn show_rest(&mut self) {
        let rest = self.lines.rest();
        self.show(rest).await;
    }
}
