//! What a person asks of a host's copies beside documents: their output, a command in them, a way to a port, files,
//! and what they use. Who may is not said here, nor by the host: it is asked by a key that only the right people may
//! write ([`crate::key::Key::Session`], [`crate::key::Key::View`]), and whose name the host has just made up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{HostName, InstanceId, Namespace, ServiceId};
use crate::quantity::Span;
use crate::record::Timestamp;

/// Where hosts answer, unless they are told otherwise.
pub const PORT: u16 = 7730;

/// A number that nobody can guess, made up by a host for one connection; 32 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Challenge(pub u128);

/// A text that is no challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a challenge is 32 hexadecimal digits")]
pub struct NoChallenge;

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Challenge {
    type Err = NoChallenge;
    fn from_str(text: &str) -> Result<Self, NoChallenge> {
        let number = u128::from_str_radix(text, 16).map_err(|_| NoChallenge)?;
        Some(Self(number)).filter(|challenge| challenge.to_string() == text).ok_or(NoChallenge)
    }
}

impl TryFrom<String> for Challenge {
    type Error = NoChallenge;
    fn try_from(text: String) -> Result<Self, NoChallenge> {
        text.parse()
    }
}

impl From<Challenge> for String {
    fn from(challenge: Challenge) -> String {
        challenge.to_string()
    }
}

/// What is asked, word for word: the same in the store as over the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who asks: the name in their certificate; without certificates, what they call themselves.
    pub by: String,
    /// Of which host.
    pub host: HostName,
    /// What.
    pub action: Action,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Action {
    /// What a copy wrote.
    Logs {
        /// Which.
        copy: InstanceId,
        /// And what it will write.
        #[serde(default)]
        follow: bool,
        /// Nothing older.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Since>,
        /// Of what there is, at most so many lines, the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tail: Option<u64>,
    },
    /// What copies use.
    Usage {
        /// Of one service; absent: of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceId>,
        /// Again and again.
        #[serde(default)]
        follow: bool,
    },
    /// A command in a copy.
    Exec {
        /// Which.
        copy: InstanceId,
        /// Its words.
        command: Vec<String>,
        /// On a terminal.
        #[serde(default)]
        tty: bool,
        /// With what is typed.
        #[serde(default)]
        stdin: bool,
    },
    /// Connections to a port of a copy.
    Forward {
        /// Which.
        copy: InstanceId,
        /// Its port.
        port: u16,
    },
    /// A file or folder out of a copy.
    Fetch {
        /// Which.
        copy: InstanceId,
        /// Where it is in there.
        path: String,
    },
    /// Files into a copy.
    Store {
        /// Which.
        copy: InstanceId,
        /// Where they go.
        path: String,
    },
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// So long ago, by the host's own clock.
    Ago(Span),
    /// That time.
    At(Timestamp),
}

impl Action {
    /// The namespace that whoever asks must be allowed to change; `None`: seeing is enough.
    pub fn changes(&self) -> Option<&Namespace> {
        match self {
            Self::Logs { .. } | Self::Usage { .. } => None,
            Self::Exec { .. } | Self::Forward { .. } | Self::Fetch { .. } | Self::Store { .. } => {
                self.copy().map(|copy| &copy.service.namespace)
            }
        }
    }

    /// The copy that is meant, if it is one.
    pub fn copy(&self) -> Option<&InstanceId> {
        match self {
            Self::Usage { .. } => None,
            Self::Logs { copy, .. }
            | Self::Exec { copy, .. }
            | Self::Forward { copy, .. }
            | Self::Fetch { copy, .. }
            | Self::Store { copy, .. } => Some(copy),
        }
    }
}

/// Where files go that are copied into a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The folder that they are unpacked in.
    pub folder: String,
    /// What the file or folder is called there; absent: as where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What one copy uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Which.
    pub copy: InstanceId,
    /// CPU, in percent of one.
    pub cpu: f64,
    /// Memory that it could not give back, in bytes.
    pub memory: u64,
    /// Memory that it may use at most; the machine's where nothing is said.
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_copy_needs_its_namespace_and_what_looks_does_not() {
        let copy: InstanceId = "shop.web.1.1".parse().unwrap();
        let shop: Namespace = "shop".parse().unwrap();
        let path = "/x".to_owned();
        let exec = Action::Exec { copy: copy.clone(), command: Vec::new(), tty: false, stdin: false };
        let forward = Action::Forward { copy: copy.clone(), port: 80 };
        let fetch = Action::Fetch { copy: copy.clone(), path: path.clone() };
        let store = Action::Store { copy: copy.clone(), path };
        for action in [exec, forward, fetch, store] {
            assert_eq!((action.changes(), action.copy()), (Some(&shop), Some(&copy)), "{action:?}");
        }
        let logs = Action::Logs { copy: copy.clone(), follow: true, since: None, tail: None };
        assert_eq!((logs.changes(), logs.copy()), (None, Some(&copy)));
        let usage = Action::Usage { service: Some(copy.service), follow: false };
        assert_eq!((usage.changes(), usage.copy()), (None, None));
    }

    #[test]
    fn a_challenge_is_written_in_one_way() {
        let text = "000000000000000000000000000000ff";
        assert_eq!(text.parse::<Challenge>(), Ok(Challenge(255)));
        assert_eq!(Challenge(255).to_string(), text);
        for other in ["ff", "", "000000000000000000000000000000FF", "+00000000000000000000000000000ff"] {
            assert_eq!(other.parse::<Challenge>(), Err(NoChallenge), "{other}");
        }
    }
}
