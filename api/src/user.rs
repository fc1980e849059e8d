//! Whom etcd knows: the users of hosts and people, as their certificates name them.
//!
//! A name that was taken out may be given again, to another machine or person, while the certificate of before holds on. So the users of
//! a name have a generation, which is another one then: `evenkeel.host.h2` is gone for good, and the new host is
//! `evenkeel.host.h2@1`.

use std::fmt;
use std::str::FromStr;

use crate::key::Controller;
use crate::name::{HostName, Namespace};

/// What a person's user begins with.
const PERSON: &str = "evenkeel.user.";
/// What the users of a host begin with.
const HOST: &str = "evenkeel.host.";
const BACKUP: &str = "backup";

/// A user at etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// A host's.
    Host {
        /// Which.
        host: HostName,
        /// How often that name was taken out before.
        generation: u32,
        /// For what on it.
        part: Part,
    },
    /// A person's.
    Person {
        /// Their name.
        name: Namespace,
        /// How often that name was taken out before.
        generation: u32,
    },
}

/// What acts as a user of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All controllers, in one process.
    All,
    /// One controller, where each has a process of its own.
    One(Controller),
    /// What makes backups of etcd: with all rights, but gone with the host.
    Backup,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = match self {
            Self::Host { host, generation, .. } => {
                write!(f, "{HOST}{host}")?;
                generation
            }
            Self::Person { name, generation } => {
                write!(f, "{PERSON}{name}")?;
                generation
            }
        };
        if *generation > 0 {
            write!(f, "@{generation}")?;
        }
        match self {
            Self::Host { part: Part::One(controller), .. } => write!(f, ".{controller}"),
            Self::Host { part: Part::Backup, .. } => write!(f, ".{BACKUP}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let stranger = || format!("{text:?} is no user of ours");
        let user = if let Some(rest) = text.strip_prefix(PERSON) {
            let (name, generation) = named(rest).ok_or_else(stranger)?;
            Self::Person { name: name.parse().map_err(|_| stranger())?, generation }
        } else {
            let rest = text.strip_prefix(HOST).ok_or_else(stranger)?;
            let (named_so, part) = match rest.split_once('.') {
                None => (rest, Part::All),
                Some((named_so, BACKUP)) => (named_so, Part::Backup),
                Some((named_so, controller)) => {
                    (named_so, Part::One(controller.parse().map_err(|_| stranger())?))
                }
            };
            let (host, generation) = named(named_so).ok_or_else(stranger)?;
            Self::Host { host: host.parse().map_err(|_| stranger())?, generation, part }
        };
        // Whoever is called otherwise than we write it is somebody else to etcd.
        if user.to_string() == text { Ok(user) } else { Err(stranger()) }
    }
}

/// A name and its generation.
fn named(text: &str) -> Option<(&str, u32)> {
    match text.split_once('@') {
        None => Some((text, 0)),
        Some((name, generation)) => Some((name, generation.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_as_they_are_written_and_nobody_else_is() {
        let host = |generation, part| User::Host { host: "h2".parse().unwrap(), generation, part };
        for (text, user) in [
            ("evenkeel.host.h2", host(0, Part::All)),
            ("evenkeel.host.h2@3", host(3, Part::All)),
            ("evenkeel.host.h2.dns", host(0, Part::One(Controller::Dns))),
            ("evenkeel.host.h2@1.dns", host(1, Part::One(Controller::Dns))),
            ("evenkeel.host.h2@12.backup", host(12, Part::Backup)),
            ("evenkeel.user.ann", User::Person { name: "ann".parse().unwrap(), generation: 0 }),
            ("evenkeel.user.ann@1", User::Person { name: "ann".parse().unwrap(), generation: 1 }),
        ] {
            assert_eq!((text.parse(), user.to_string().as_str()), (Ok(user.clone()), text));
        }
        for wrong in [
            "root",
            "h2",
            "evenkeel.host.",
            "evenkeel.host.h2@0",
            "evenkeel.host.h2@01",
            "evenkeel.host.h2@+1",
            "evenkeel.host.h2@",
            "evenkeel.host.h2@4294967296",
            "evenkeel.host.h2.nobody",
            "evenkeel.host.h2.dns@1",
            "evenkeel.user.ann.dns",
            "evenkeel.user.Ann",
        ] {
            assert!(wrong.parse::<User>().is_err(), "{wrong}");
        }
    }
}
