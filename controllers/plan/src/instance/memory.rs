//! What a host remembers of an instance beside its container: what was tried, and how it went.

use std::time::Duration;

use evenkeel_api::record::{Restart, Timestamp};
use evenkeel_api::service::Limits;

use super::restart::{Runs, back_off};

/// What is remembered of one instance. Times are this process's monotonic ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// Its runs.
    pub runs: Runs,
    /// The newest pull for it.
    pub pull: Option<Pull>,
    /// The image that the engine said is not there.
    pub missing: Option<String>,
    /// Its container has the image that the tag was pinned to.
    pub verified: bool,
    /// Its container has another one.
    pub wrong_image: bool,
    /// Why its container could not be made or started.
    pub trouble: Option<Trouble>,
    /// Its address is held by what is not ours.
    pub address_taken: bool,
    /// The limits that the engine took last.
    pub limits_set: Option<Limits>,
    /// The engine refused limits: not again before then.
    pub limits_again: Option<Duration>,
    /// Which run the leader wants to end for a new one, and since when that is known here.
    pub asked: Option<(Timestamp, Duration)>,
    /// The exit code of its last run.
    pub last_code: Option<i64>,
    /// The kernel killed its last run for memory.
    pub oom: bool,
}

/// A pull for an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Pull {
    /// It came.
    Done {
        /// What was pulled.
        reference: String,
        /// What the registry calls it.
        digest: Option<String>,
    },
    /// It did not come.
    Failed {
        /// What was asked for.
        reference: String,
        /// Why not.
        why: String,
        /// How often, in a row.
        times: u32,
        /// Not again before then.
        until: Duration,
        /// Another try is unlikely to help: the registry says that there is no such image, or not for us.
        certain: bool,
    },
}

/// The longest time between two pulls.
const LONGEST: Duration = Duration::from_secs(300);

impl Pull {
    /// What was asked for.
    pub fn reference(&self) -> &str {
        match self {
            Pull::Done { reference, .. } | Pull::Failed { reference, .. } => reference,
        }
    }

    /// A pull that failed, after `before`.
    pub fn failed(reference: &str, error: &str, before: Option<&Pull>, now: Duration) -> Self {
        let times = match before {
            Some(Pull::Failed { times, reference: same, .. }) if same == reference => times + 1,
            _ => 1,
        };
        let lower = error.to_ascii_lowercase();
        let definite =
            ["not found", "manifest unknown", "denied", "unauthorized", "no basic auth", "invalid reference"];
        Pull::Failed {
            reference: reference.to_owned(),
            why: format!("cannot pull {reference}: {error}"),
            times,
            until: now + Duration::from_secs(5 << (times - 1).min(6)).min(LONGEST),
            certain: definite.iter().any(|word| lower.contains(word)),
        }
    }
}

/// Something that did not work, and is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// What.
    pub why: String,
    /// How often, in a row.
    pub times: u32,
    /// Not again before then.
    pub until: Duration,
}

impl Memory {
    /// Something did not work.
    pub fn troubled(&mut self, why: String, now: Duration) {
        let times = self.trouble.as_ref().map_or(1, |trouble| trouble.times + 1);
        self.trouble = Some(Trouble { why, times, until: now + back_off(times) });
    }

    /// What the leader wants of its runs, as of `now`.
    pub fn asked_for(&mut self, restart: Option<&Restart>, now: Duration) {
        let Some(run) = restart.map(|restart| restart.run) else { return };
        self.runs.excuse(run);
        if self.asked.is_none_or(|(known, _)| known != run) {
            self.asked = Some((run, now));
        }
    }

    /// The container is gone: what was known of it holds no more.
    pub fn container_gone(&mut self) {
        self.verified = false;
        self.wrong_image = false;
        self.address_taken = false;
        self.limits_set = None;
        self.limits_again = None;
    }
}
