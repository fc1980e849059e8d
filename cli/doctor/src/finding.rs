//! What the judges say.

use evenkeel_api::name::HostName;
use serde::{Deserialize, Serialize};

/// How bad it is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It hurts, or will.
    Hurts,
    /// It may hurt some day, or could not be looked at.
    Warns,
    /// It is as it should be.
    Fine,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// On which host; none: of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// What was looked at, one word for programs.
    pub check: String,
    /// What was found.
    pub what: String,
    /// What mends it; empty where nothing is to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mend: String,
}

/// Takes down what is found in one place.
pub(crate) struct Chart {
    host: Option<HostName>,
    pub findings: Vec<Finding>,
}

impl Chart {
    pub fn of_host(host: &HostName) -> Self {
        Self { host: Some(host.clone()), findings: Vec::new() }
    }

    pub fn of_cluster() -> Self {
        Self { host: None, findings: Vec::new() }
    }

    pub fn say(&mut self, severity: Severity, check: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.findings.push(Finding {
            severity,
            host: self.host.clone(),
            check: check.to_owned(),
            what: what.into(),
            mend: mend.into(),
        });
    }

    pub fn hurts(&mut self, check: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.say(Severity::Hurts, check, what, mend);
    }

    pub fn warns(&mut self, check: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.say(Severity::Warns, check, what, mend);
    }

    pub fn fine(&mut self, check: &str, what: impl Into<String>) {
        self.say(Severity::Fine, check, what, "");
    }
}
