//! What the engine's answers mean. The one place where status codes and messages are read.

use bollard::errors::Error;

use crate::engine::EngineError;

/// The engine's error about `what`, in our words.
pub(super) fn told(what: &str, error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => answered(what, status_code, message),
        Error::DockerStreamError { error } => EngineError::Refused(error),
        Error::RequestTimeoutError => EngineError::Timeout(what.to_owned()),
        Error::JsonDataError { message, .. } => EngineError::Garbled(format!("{what}: {message}")),
        Error::JsonSerdeError { err } => EngineError::Garbled(format!("{what}: {err}")),
        Error::SocketNotFoundError(path) => EngineError::Unavailable(format!("there is no socket {path}")),
        // All else is a connection that was not made or broke.
        other => EngineError::Unavailable(format!("{what}: {}", chain(&other))),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

pub(super) fn answered(what: &str, status: u16, message: String) -> EngineError {
    let lower = message.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // A port or an address that is taken comes as 500 or 403, by the engine's version.
    if any(&["port is already allocated", "failed to bind", "error starting userland proxy"]) {
        return EngineError::PortTaken(message);
    }
    if any(&["no such image"]) {
        return EngineError::ImageMissing(message);
    }
    if status >= 400 && any(&["address already in use"]) {
        return EngineError::AddressTaken(message);
    }
    match status {
        404 => EngineError::NotFound(format!("{what}: {message}")),
        409 => EngineError::Conflict { who: message },
        503 => EngineError::Unavailable(message),
        _ => EngineError::Refused(message),
    }
}

/// What was to be gone is gone, or what was to end has ended.
pub(super) fn gone_is_done(result: Result<(), EngineError>) -> Result<(), EngineError> {
    match result {
        Err(EngineError::NotFound(_)) => Ok(()),
        other => other,
    }
}

/// `None` where there is no such thing.
pub(super) fn optional<T>(result: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(EngineError::NotFound(_) | EngineError::ImageMissing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_engines() {
        // Worded by 20.10, 26 and 28.
        let port = "driver failed programming external connectivity on endpoint web (1a): Bind for 0.0.0.0:80 failed: port is already allocated";
        assert!(matches!(answered("start", 500, port.into()), EngineError::PortTaken(_)));
        let proxy = "Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use";
        assert!(matches!(answered("start", 500, proxy.into()), EngineError::PortTaken(_)));
        let address = "Address already in use";
        assert!(matches!(answered("start", 403, address.into()), EngineError::AddressTaken(_)));
        let image = "No such image: nginx:1";
        assert!(matches!(answered("create", 404, image.into()), EngineError::ImageMissing(_)));
        assert!(matches!(answered("start", 404, "No such container: x".into()), EngineError::NotFound(_)));
    }
}
