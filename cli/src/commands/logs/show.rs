//! What is shown of whom: lines with their copies' names, troubles, and how it all ended.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use evenkeel_api::name::{HostName, InstanceId};
use tokio::sync::OwnedSemaphorePermit;

use crate::failure::Failure;
use crate::output::{complain, is_lively};
use crate::sessions::console::Out;
use crate::sessions::lines::Line;
use crate::sessions::merge::Merger;
use crate::sessions::reader::Told;
use crate::sessions::target::Target;
use crate::visible;

const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 96];

/// See the module.
pub struct Show {
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
    broke_off: bool,
}

/// What is shown where; and its place among those that wait, which is free once it is shown.
pub type Shows = (Out, Bytes, OwnedSemaphorePermit);

impl Show {
    pub fn new(target: &Target, timestamps: bool) -> Self {
        let mut terminals = Vec::new();
        terminals.extend(std::io::stdout().is_terminal().then_some(Out::Output));
        terminals.extend(std::io::stderr().is_terminal().then_some(Out::Error));
        let named = matches!(target, Target::Service(_));
        let (copies, known) = (Vec::new(), BTreeSet::new());
        Self { named, timestamps, colours: is_lively(), terminals, copies, known }
    }

    /// A copy's number; `None`: it has one.
    pub fn add(&mut self, copy: &InstanceId, host: &HostName) -> Option<usize> {
        if !self.known.insert(copy.clone()) {
            return None;
        }
        let whole = copy.to_string();
        let name = whole.split_once('.').map_or(whole.as_str(), |(_, name)| name).to_owned();
        let host = host.clone();
        self.copies.push(Shown {
            host,
            name,
            opened: false,
            trouble: None,
            was_read: false,
            broke_off: false,
        });
        Some(self.copies.len() - 1)
    }

    pub fn open_all(&mut self, merger: &mut Merger<Shows>) {
        for (number, copy) in self.copies.iter_mut().enumerate().filter(|(_, copy)| !copy.opened) {
            copy.opened = true;
            merger.open(number);
        }
    }

    pub fn hear(&mut self, told: Told, merger: &mut Merger<Shows>, now: Duration) {
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
            Told::BrokeOff { copy } => {
                if let Some(copy) = self.copies.get_mut(copy) {
                    copy.broke_off = true;
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

    /// Whether anything could be read at all, and what was read to its end. Why not stands there already.
    pub fn verdict(&self, follow: bool) -> Result<(), Failure> {
        if !self.copies.is_empty() && self.copies.iter().all(|copy| !copy.was_read) {
            return Err(Failure { code: 1, message: String::new() });
        }
        // Who follows goes on from where it broke off.
        let broke_off = self.copies.iter().filter(|copy| copy.broke_off && !follow);
        let names: Vec<&str> = broke_off.map(|copy| copy.name.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Failure::not_converged(format!("not all that was asked for is shown of {}", names.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_broke_off_is_told_in_the_end_unless_it_was_followed() {
        let copies: [InstanceId; 2] = ["shop.web.1.n", "shop.web.2.n"].map(|copy| copy.parse().unwrap());
        let host: HostName = "h1".parse().unwrap();
        let verdict = |told: Vec<Told>, follow| {
            let mut show = Show::new(&Target::Service(copies[0].service.clone()), false);
            for copy in &copies {
                show.add(copy, &host);
            }
            told.into_iter().for_each(|told| show.hear(told, &mut Merger::new(None), Duration::ZERO));
            show.verdict(follow).map_err(|failure| (failure.code, failure.message))
        };
        assert_eq!(verdict(vec![], false), Err((1, String::new())));
        let read = || vec![Told::Reads { copy: 0 }, Told::Reads { copy: 1 }];
        assert_eq!(verdict(read(), false), Ok(()));
        let broke_off = || read().into_iter().chain([Told::BrokeOff { copy: 1 }]).collect();
        assert!(matches!(verdict(broke_off(), false), Err((3, said)) if said.ends_with("of web.2.n")));
        assert_eq!(verdict(broke_off(), true), Ok(()));
    }
}
