//! Being told to end, for who has something to put right first.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// What ends a process unless it sees to it: Ctrl-C, somebody's `kill`, the end of the terminal.
const KINDS: [fn() -> SignalKind; 3] = [SignalKind::interrupt, SignalKind::terminate, SignalKind::hangup];

/// Hears of them; while it does, the process goes on.
pub struct Stop(Vec<(u8, Signal)>);

impl Stop {
    /// Listens from now on, to those that whoever began this process lets it hear: of a hangup not under `nohup`.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn watch() -> io::Result<Self> {
        let unheard = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let mut heard = Vec::new();
        for kind in KINDS.map(|kind| kind()) {
            let number = u8::try_from(kind.as_raw_value()).unwrap_or_default();
            if unheard & (1 << number >> 1) == 0 {
                heard.push((number, signal(kind)?));
            }
        }
        Ok(Self(heard))
    }

    /// Waits until it comes: with the exit code that shells give a process that it ended.
    pub async fn told(&mut self) -> Failure {
        let number = std::future::poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        });
        Failure { code: 128 + number.await, message: String::new() }
    }
}

/// The same, for who may have nothing to put right: it never comes.
pub async fn stopped(stop: &mut Option<Stop>) -> Failure {
    match stop {
        Some(stop) => stop.told().await,
        None => std::future::pending().await,
    }
}

/// The signals that a process ignores, by bit, as its status in /proc says.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[tokio::test]
    async fn whoever_is_told_to_end_hears_of_it() {
        let mut stop = Stop::watch().unwrap();
        for (sent, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
            raise(sent).unwrap();
            assert_eq!(stop.told().await.code, code);
        }
    }

    #[test]
    fn what_is_ignored_is_not_heard() {
        assert_eq!(ignored("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored(""), 0);
    }
}
