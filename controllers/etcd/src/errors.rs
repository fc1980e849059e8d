//! What etcd's errors mean. The one question that matters: was a write surely not done? Only then it is
//! `Unavailable`; whatever leaves a doubt is `Unknown`.

use std::error::Error as _;

use etcd_client::Error;
use evenkeel_runtime::store::StoreError;
use tonic::{Code, Status};

/// The meaning of an error of the client library.
pub(crate) fn meaning(error: &Error) -> StoreError {
    match error {
        Error::GRpcStatus(status) => of_status(status),
        Error::LeaseKeepAliveError(text) if text.contains("lease not found") => StoreError::LeaseGone,
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
            StoreError::Refused(error.to_string())
        }
        other => StoreError::Unknown(other.to_string()),
    }
}

fn of_status(status: &Status) -> StoreError {
    let text = status.message();
    if never_connected(status) {
        return StoreError::Unavailable(chain(status));
    }
    match status.code() {
        Code::ResourceExhausted if text.contains("database space exceeded") => StoreError::Full,
        // Said before anything is proposed.
        Code::ResourceExhausted | Code::Unavailable if text.contains("too many requests") => {
            StoreError::Unavailable(text.to_owned())
        }
        // Somebody's rights were changed while it was under way: it was looked at, and not done.
        Code::InvalidArgument if text.contains("revision of auth store is old") => {
            StoreError::Unavailable(text.to_owned())
        }
        Code::Unavailable if text.contains("etcdserver: no leader") => {
            StoreError::Unavailable(text.to_owned())
        }
        // A member that learns has done nothing with it, and the others take it.
        Code::Unavailable if text.contains("rpc not supported for learner") => {
            StoreError::Unavailable(text.to_owned())
        }
        Code::OutOfRange if text.contains("has been compacted") => StoreError::Compacted(0),
        Code::NotFound if text.contains("lease not found") => StoreError::LeaseGone,
        Code::ResourceExhausted
        | Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange => StoreError::Refused(text.to_owned()),
        _ => StoreError::Unknown(format!("{:?}: {text}", status.code())),
    }
}

/// A status and what it comes from, each once: `tcp connect error: Connection refused (os error 111)`.
fn chain(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) && !said.contains("transport error") {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// Whether there was no connection to send anything on.
fn never_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_says_is_understood_by_code_and_text() {
        let unknown = |text: &str| StoreError::Unknown(text.to_owned());
        let refused = |text: &str| StoreError::Refused(text.to_owned());
        for (code, text, expected) in [
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", StoreError::Full),
            (
                Code::ResourceExhausted,
                "grpc: received message larger than max (3 vs. 2)",
                refused("grpc: received message larger than max (3 vs. 2)"),
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                refused("etcdserver: request is too large"),
            ),
            (
                Code::Unavailable,
                "etcdserver: no leader",
                StoreError::Unavailable("etcdserver: no leader".to_owned()),
            ),
            (
                Code::Unavailable,
                "etcdserver: rpc not supported for learner",
                StoreError::Unavailable("etcdserver: rpc not supported for learner".to_owned()),
            ),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                StoreError::Unavailable("etcdserver: revision of auth store is old".to_owned()),
            ),
            (
                Code::Unavailable,
                "etcdserver: request timed out",
                unknown("Unavailable: etcdserver: request timed out"),
            ),
            (Code::Unavailable, "transport error", unknown("Unavailable: transport error")),
            (Code::Cancelled, "Timeout expired", unknown("Cancelled: Timeout expired")),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                StoreError::Compacted(0),
            ),
            (Code::NotFound, "etcdserver: requested lease not found", StoreError::LeaseGone),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                refused("etcdserver: permission denied"),
            ),
        ] {
            assert_eq!(meaning(&Error::GRpcStatus(Status::new(code, text))), expected);
        }
    }
}
