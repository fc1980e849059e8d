//! `evenkeel logs`: what copies write, on whichever hosts they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use clap::Args;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::name::{HostName, InstanceId, Namespace};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::Timestamp;
use evenkeel_api::session::Since;
use evenkeel_runtime::mirror::Mirror;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::Settings;
use crate::failure::Failure;
use crate::output::{complain, is_lively};
use crate::sessions::Desk;
use crate::sessions::console::{Console, Out};
use crate::sessions::lines::{Line, Lines};
use crate::sessions::merge::Merger;
use crate::sessions::reader::{Reader, Told};
use crate::sessions::target::Target;
use crate::visible;

/// Of what, and which lines.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel logs shop/web                     what all its copies wrote, by time
  evenkeel logs -f --tail 20 shop/web        and what they will write: through restarts, rollouts and lost hosts
  evenkeel logs --since 10m shop/web
  evenkeel logs shop.web.1.n 2>/dev/null     of one copy: its standard output alone

A host that does not answer is named on standard error, and the others are shown all the same.")]
pub struct Logs {
    /// SERVICE, NAMESPACE/SERVICE, or a copy as `evenkeel get copies` shows it
    #[arg(value_name = "SERVICE|COPY")]
    target: String,
    /// The namespace of a service that is named without one
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// What is written from now on, too, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Nothing older than that: 10m, or a time like 2026-11-30T02:00:00Z
    #[arg(long, value_name = "AGO|TIME", value_parser = since)]
    since: Option<Since>,
    /// Of each copy, only so many lines of what there is
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
}

/// A line waits that long for older ones of other copies, where there is no end.
const PATIENCE: Duration = Duration::from_millis(300);
/// etcd is given that long.
const STORE_WITHIN: Duration = Duration::from_secs(10);
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 96];

fn since(text: &str) -> Result<Since, String> {
    if let Ok(span) = text.parse::<Span>() {
        return Ok(Since::Ago(span));
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| Since::At(Timestamp(time.as_millisecond())))
        .map_err(|_| format!("{text:?} is neither a duration like 10m nor a time like 2026-11-30T02:00:00Z"))
}

impl Logs {
    /// Prints them.
    ///
    /// # Errors
    /// Nothing is called that, etcd does not answer, or no host does.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let target = Target::read(&self.target, self.namespace.as_ref())?;
        let desk = Desk::new(settings)?;
        let mirror = Mirror::start(desk.store.clone(), vec![prefix::instances(), prefix::observed()]);
        if tokio::time::timeout(STORE_WITHIN, mirror.synced()).await.is_err() {
            desk.store.get(&Key::Cluster).await?;
            return Err(Failure::timed_out("etcd did not answer in time"));
        }
        let copies = of(&mirror, &target);
        if copies.is_empty() && !self.follow {
            target.silently(&desk.store).await?;
        }
        let (tell, told) = mpsc::channel(64);
        let show = Show::new(&target, self.timestamps);
        let mut following =
            Following { logs: self, target, desk, mirror, tell: Some(tell), readers: JoinSet::new(), show };
        following.begin(copies, false);
        following.run(told).await
    }
}

fn of(mirror: &Mirror, target: &Target) -> BTreeMap<InstanceId, HostName> {
    let instances = mirror.list(&prefix::instances()).into_iter();
    let keys = instances.filter_map(|kv| kv.key.parse::<Key>().ok());
    keys.filter_map(|key| match key {
        Key::Instance(host, id) if target.means(&id) => Some((id, host)),
        _ => None,
    })
    .collect()
}

/// The readers of all copies, and what they tell.
struct Following<'a> {
    logs: &'a Logs,
    target: Target,
    desk: Desk,
    mirror: Mirror,
    /// Kept while copies may come.
    tell: Option<mpsc::Sender<Told>>,
    readers: JoinSet<()>,
    show: Show,
}

impl Following<'_> {
    /// Reads the copies that are not read yet; those that came later from their beginning.
    fn begin(&mut self, copies: BTreeMap<InstanceId, HostName>, later: bool) {
        let Some(tell) = &self.tell else { return };
        for (copy, host) in copies {
            let Some(number) = self.show.add(&copy, &host) else { continue };
            let reader = Reader {
                desk: self.desk.clone(),
                copy,
                host,
                number,
                since: self.logs.since.filter(|_| !later),
                tail: self.logs.tail.filter(|_| !later),
                follow: self.logs.follow.then(|| self.mirror.clone()),
                tell: tell.clone(),
                lines: Lines::default(),
                room: Reader::room(),
            };
            self.readers.spawn(reader.run());
        }
    }

    async fn run(&mut self, mut told: mpsc::Receiver<Told>) -> Result<(), Failure> {
        let (console, began) = (Console::new(), Instant::now());
        let mut changed = self.mirror.subscribe();
        let mut merger = Merger::new(self.logs.follow.then_some(PATIENCE));
        self.show.open_all(&mut merger);
        if !self.logs.follow {
            self.tell = None;
        }
        loop {
            let due =
                merger.due().map_or(Duration::from_secs(3600), |due| due.saturating_sub(began.elapsed()));
            tokio::select! {
                heard = told.recv() => match heard {
                    Some(heard) => self.show.hear(heard, &mut merger, began.elapsed()),
                    None => break,
                },
                _ = changed.next(), if self.logs.follow => {
                    let copies = of(&self.mirror, &self.target);
                    self.begin(copies, true);
                    self.show.open_all(&mut merger);
                }
                () = tokio::time::sleep(due) => {}
            }
            while let Some((out, line, _waits)) = merger.pop(began.elapsed()) {
                if !console.write(out, line).await {
                    return Ok(());
                }
            }
        }
        while let Some((out, line, _waits)) = merger.pop(Duration::MAX / 2) {
            if !console.write(out, line).await {
                break;
            }
        }
        console.finish();
        self.show.verdict()
    }
}

/// What is shown of whom.
struct Show {
    /// A service is asked for: each line names its copy.
    named: bool,
    timestamps: bool,
    colours: bool,
    /// Which of both outputs a person looks at.
    terminals: Vec<Out>,
    copies: Vec<Shown>,
    known: BTreeSet<InstanceId>,
}

struct Shown {
    host: HostName,
    name: String,
    opened: bool,
    /// What was last said of it on standard error.
    trouble: Option<String>,
    was_read: bool,
}

/// What is shown where; and its place among those that wait, which is free once it is shown.
type Shows = (Out, Bytes, OwnedSemaphorePermit);

impl Show {
    fn new(target: &Target, timestamps: bool) -> Self {
        let mut terminals = Vec::new();
        terminals.extend(std::io::stdout().is_terminal().then_some(Out::Output));
        terminals.extend(std::io::stderr().is_terminal().then_some(Out::Error));
        let named = matches!(target, Target::Service(_));
        let (copies, known) = (Vec::new(), BTreeSet::new());
        Self { named, timestamps, colours: is_lively(), terminals, copies, known }
    }

    /// A copy's number; `None`: it has one.
    fn add(&mut self, copy: &InstanceId, host: &HostName) -> Option<usize> {
        if !self.known.insert(copy.clone()) {
            return None;
        }
        let whole = copy.to_string();
        let name = whole.split_once('.').map_or(whole.as_str(), |(_, name)| name).to_owned();
        self.copies.push(Shown { host: host.clone(), name, opened: false, trouble: None, was_read: false });
        Some(self.copies.len() - 1)
    }

    fn open_all(&mut self, merger: &mut Merger<Shows>) {
        for (number, copy) in self.copies.iter_mut().enumerate().filter(|(_, copy)| !copy.opened) {
            copy.opened = true;
            merger.open(number);
        }
    }

    fn hear(&mut self, told: Told, merger: &mut Merger<Shows>, now: Duration) {
        match told {
            Told::Line { copy, line: Line { time, error, text }, waits } => {
                let out = if error && !self.named { Out::Error } else { Out::Output };
                let line = self.line(out, copy, &time, &text);
                merger.push(copy, &time, (out, line, waits), now);
            }
            Told::Trouble { copy, why } => {
                let host = self.copies.get(copy).map(|copy| copy.host.clone());
                let known = self.copies.iter().any(|other| {
                    Some(&other.host) == host.as_ref() && other.trouble.as_deref() == Some(why.as_str())
                });
                if !known {
                    complain!("{why}");
                }
                if let Some(copy) = self.copies.get_mut(copy) {
                    copy.trouble = Some(why);
                }
            }
            Told::Reads { copy } => {
                if let Some(copy) = self.copies.get_mut(copy) {
                    (copy.trouble, copy.was_read) = (None, true);
                }
            }
            Told::Over { copy } => merger.close(copy),
        }
    }

    /// A line as it is shown. What a copy wrote goes on as it is, but to a terminal nothing that it would obey.
    fn line(&self, out: Out, copy: usize, time: &str, text: &[u8]) -> Bytes {
        let (time, text) = match self.terminals.contains(&out) {
            true => (visible::text(time), visible::line(text)),
            false => (time.into(), text.into()),
        };
        let mut line = BytesMut::new();
        if self.named {
            let width = self.copies.iter().map(|copy| copy.name.len()).max().unwrap_or(0);
            let name = self.copies.get(copy).map_or("", |copy| copy.name.as_str());
            let colour = COLOURS[copy % COLOURS.len()];
            let prefix = match self.colours {
                true => format!("\x1b[{colour}m{name:width$} |\x1b[0m "),
                false => format!("{name:width$} | "),
            };
            line.put_slice(prefix.as_bytes());
        }
        if self.timestamps {
            line.put_slice(time.as_bytes());
            line.put_u8(b' ');
        }
        line.put_slice(&text);
        if !text.ends_with(b"\n") {
            line.put_u8(b'\n');
        }
        line.freeze()
    }

    /// Whether anything could be read at all.
    fn verdict(&self) -> Result<(), Failure> {
        if !self.copies.is_empty() && self.copies.iter().all(|copy| !copy.was_read) {
            // Why stands there already.
            return Err(Failure { code: 1, message: String::new() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_an_age_or_a_time() {
        assert_eq!(since("10m"), Ok(Since::Ago("10m".parse().unwrap())));
        assert_eq!(since("1970-01-01T00:00:02Z"), Ok(Since::At(Timestamp(2000))));
        for wrong in ["yesterday", "", "2026-11-30"] {
            assert!(since(wrong).unwrap_err().contains("10m"), "{wrong}");
        }
    }

    #[test]
    fn lines_name_their_copy_where_there_may_be_many() {
        let (host, copy): (HostName, InstanceId) = ("h1".parse().unwrap(), "shop.web.1.n".parse().unwrap());
        for (target, timestamps, shown) in [
            (Target::Service(copy.service.clone()), false, "web.1.n | hi\n"),
            (Target::Service(copy.service.clone()), true, "web.1.n | T hi\n"),
            (Target::Copy(copy.clone()), false, "hi\n"),
        ] {
            let mut show = Show::new(&target, timestamps);
            (show.colours, show.terminals) = (false, Vec::new());
            assert_eq!((show.add(&copy, &host), show.add(&copy, &host)), (Some(0), None));
            assert_eq!(show.line(Out::Output, 0, "T", b"hi\n"), shown);
            let line = show.line(Out::Output, 0, "T", b"hi");
            assert_eq!(line, shown, "a last line without an end gets one");
        }
        let mut show = Show::new(&Target::Service(copy.service.clone()), false);
        show.colours = true;
        show.add(&copy, &host);
        assert_eq!(show.line(Out::Output, 0, "T", b"x\n"), "\x1b[36mweb.1.n |\x1b[0m x\n");
    }

    #[test]
    fn what_a_copy_writes_moves_no_terminal_and_goes_into_a_file_as_it_is() {
        let (host, copy): (HostName, InstanceId) = ("h1".parse().unwrap(), "shop.web.1.n".parse().unwrap());
        let mut show = Show::new(&Target::Copy(copy.clone()), false);
        show.add(&copy, &host);
        show.terminals = vec![Out::Output];
        assert_eq!(show.line(Out::Output, 0, "T", b"\x1b[2J\xff\n"), "\\x1b[2J\\xff\n");
        assert_eq!(show.line(Out::Error, 0, "T", b"\x1b[2J\xff\n"), &b"\x1b[2J\xff\n"[..]);
    }
}
