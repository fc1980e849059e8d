//! The smaller keys of a service that have more than one form.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use crate::quantity::Span;
use crate::service::{Device, RestartCondition, RestartPolicy, Ulimit};

use super::forms::{Either, Scalar, either_schema};

/// The engine's own health check.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EngineCheck")]
pub(crate) struct Check {
    /// A line for the container's shell, or `[CMD, …]`, `[CMD-SHELL, line]`, `[NONE]`.
    pub test: Option<CheckTest>,
    /// Time between checks.
    pub interval: Option<Span>,
    /// Time for one check.
    pub timeout: Option<Span>,
    /// Failures before unhealthy.
    pub retries: Option<u32>,
    /// Time after the start in which failures do not count.
    pub start_period: Option<Span>,
    /// Time between checks until the first pass.
    pub start_interval: Option<Span>,
    /// Switch the image's own check off.
    pub disable: Option<bool>,
}

/// What the engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckTest(pub Vec<String>);

impl<'de> Deserialize<'de> for CheckTest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Test;
        impl<'de> Visitor<'de> for Test {
            type Value = CheckTest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line for a shell, or a list like [CMD, …]")
            }
            fn visit_str<E: de::Error>(self, line: &str) -> Result<CheckTest, E> {
                Ok(CheckTest(vec!["CMD-SHELL".to_owned(), line.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<CheckTest, A::Error> {
                let mut test = Vec::new();
                while let Some(Scalar(word)) = items.next_element()? {
                    test.push(word);
                }
                let good = match test.first().map(String::as_str) {
                    Some("NONE") => test.len() == 1,
                    Some("CMD") => test.len() > 1,
                    Some("CMD-SHELL") => test.len() == 2,
                    _ => false,
                };
                if good {
                    return Ok(CheckTest(test));
                }
                Err(de::Error::custom(
                    "a list begins with CMD and the words of a command, or with CMD-SHELL and one line, or is [NONE]",
                ))
            }
        }
        deserializer.deserialize_any(Test)
    }
}

impl JsonSchema for CheckTest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CheckTest".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number", "boolean"]}}]})
    }
}

/// A limit of processes: one number, or soft and hard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UlimitEntry(pub Ulimit);

/// Both limits.
#[derive(Debug, Clone, Copy, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Ulimit")]
pub(crate) struct LongUlimit {
    /// What holds now; -1: no limit.
    pub soft: i64,
    /// What it may be raised to; -1: no limit.
    pub hard: i64,
}

impl<'de> Deserialize<'de> for UlimitEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let short = |text: &str| match text.parse() {
            Ok(n) => Ok(Ulimit { soft: n, hard: n }),
            Err(_) => Err(format!("{text:?} is no limit: write a number, or soft and hard")),
        };
        let long = |LongUlimit { soft, hard }: LongUlimit| {
            if hard != -1 && (soft > hard || soft == -1) {
                return Err(format!("the soft limit {soft} lies above the hard one, {hard}"));
            }
            Ok(Ulimit { soft, hard })
        };
        Either::read(deserializer, "a number, or soft and hard", short, long).map(Self)
    }
}

either_schema!(UlimitEntry, LongUlimit, "integer");

/// A device of the host.
#[derive(Debug, Clone)]
pub(crate) struct DeviceEntry(pub Device);

/// A device in the long form.
#[derive(Debug, Clone, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Device")]
pub(crate) struct LongDevice {
    /// On the host.
    pub source: String,
    /// In the container; the same when absent.
    pub target: Option<String>,
    /// Of `rwm`; all when absent.
    pub permissions: Option<String>,
}

impl<'de> Deserialize<'de> for DeviceEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let short = |text: &str| {
            let mut parts = text.split(':').map(str::to_owned);
            let device = (parts.next().unwrap_or_default(), parts.next(), parts.next());
            match parts.next() {
                None => device_of(device.0, device.1, device.2),
                Some(_) => Err(format!("{text:?} is no device: write it like /dev/a:/dev/b:rwm")),
            }
        };
        let long = |form: LongDevice| device_of(form.source, form.target, form.permissions);
        Either::read(deserializer, "a device like /dev/ttyUSB0 or a mapping", short, long).map(Self)
    }
}

either_schema!(DeviceEntry, LongDevice, "string");

fn device_of(source: String, target: Option<String>, permissions: Option<String>) -> Result<Device, String> {
    // `/dev/a:r` leaves the target out.
    let (target, permissions) = match (target, permissions) {
        (Some(word), None) if !word.starts_with('/') => (None, Some(word)),
        other => other,
    };
    let target = target.unwrap_or_else(|| source.clone());
    let permissions = permissions.unwrap_or_else(|| "rwm".to_owned());
    if !source.starts_with('/') {
        return Err(format!(
            "{source:?} is no device of the host: write an absolute path, like /dev/ttyUSB0"
        ));
    }
    if permissions.is_empty() || !permissions.chars().all(|c| "rwm".contains(c)) {
        return Err(format!("{permissions:?}: a device's permissions are made of r, w and m"));
    }
    Ok(Device { source, target, permissions })
}

/// GPUs: -1 for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gpus(pub i64);

impl<'de> Deserialize<'de> for Gpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match (text.as_str(), text.parse::<u32>()) {
            ("all", _) => Ok(Self(-1)),
            (_, Ok(count)) => Ok(Self(count.into())),
            _ => Err(de::Error::custom("`gpus` takes `all` or a number")),
        }
    }
}

impl JsonSchema for Gpus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Gpus".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [{"const": "all"}, {"type": "integer", "minimum": 0}]})
    }
}

/// Where output goes.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Logging {
    /// The engine's log driver.
    pub driver: Option<String>,
    /// Its options.
    pub options: Option<BTreeMap<String, Scalar>>,
}

/// Compose's `restart`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restart(pub RestartPolicy);

impl<'de> Deserialize<'de> for Restart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let policy = |condition, max_attempts| RestartPolicy {
            condition: Some(condition),
            max_attempts,
            ..Default::default()
        };
        let policy = match text.as_str() {
            "no" => policy(RestartCondition::None, None),
            // Nobody but evenkeel stops these containers, so there is no difference.
            "always" | "unless-stopped" => policy(RestartCondition::Any, None),
            "on-failure" => policy(RestartCondition::OnFailure, None),
            other => match other.strip_prefix("on-failure:").and_then(|n| n.parse().ok()) {
                Some(attempts) => policy(RestartCondition::OnFailure, Some(attempts)),
                None => {
                    return Err(de::Error::custom(format!(
                        "{other:?} is not one of always, unless-stopped, on-failure, on-failure:3 and \"no\""
                    )));
                }
            },
        };
        Ok(Self(policy))
    }
}

impl JsonSchema for Restart {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Restart".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^(no|always|unless-stopped|on-failure(:[0-9]+)?)$"})
    }
}
