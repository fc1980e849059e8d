//! How a command ends when it does not end well: a message for a person, and an exit code for a program.

use std::fmt;

use evenkeel_runtime::store::{StoreError, TxnError};

/// A command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub code: u8,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl Failure {
    /// Something was wrong with what was asked, or could not be done: exit code 1.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// The same, with all that it comes from.
    pub fn chain(error: impl std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self::new(message)
    }

    /// It was not said what to do: exit code 2, as of words that are not understood.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// Nothing failed, and two texts differ: exit code 1, as with diff(1), without a word.
    pub fn differs() -> Self {
        Self { code: 1, message: String::new() }
    }

    /// It was done, but what was asked for did not come about: exit code 3.
    pub fn not_converged(message: impl fmt::Display) -> Self {
        Self { code: 3, message: message.to_string() }
    }

    /// The time ran out first: exit code 4.
    pub fn timed_out(message: impl fmt::Display) -> Self {
        Self { code: 4, message: message.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable(_) | StoreError::Unknown(_) => Self::new(format!(
                "{error}\n  are the endpoints right (--endpoints, EVENKEEL_ENDPOINTS or the config file), and is etcd running? `evenkeel doctor` on its hosts looks closer"
            )),
            StoreError::Refused(text) if text.contains("permission denied") => Self::new(
                "etcd does not let you do that: your identity has not the right, or is no more known\n  \
                 whoever made the cluster sees by `evenkeel user list` what you may do, and changes it by `user add`",
            ),
            StoreError::Refused(text) if text.contains("grpc-status header missing") => Self::new(format!(
                "{error}\n  what answers there is not etcd: are the endpoints right (--endpoints, EVENKEEL_ENDPOINTS or the config file)?"
            )),
            _ => Self::new(error),
        }
    }
}

impl From<TxnError> for Failure {
    fn from(error: TxnError) -> Self {
        Self::new(format!("{error}; apply fewer documents at once"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}
