//! The smaller keys of a service that have more than one form.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::name::{NetworkName, ObjectName};
use crate::quantity::Span;
use crate::service::{
    Attachment, Dependency, DependencyCondition, Device, RestartCondition, RestartPolicy, Ulimit,
};

use super::forms::{Either, OneOrMany, Scalar, either_schema};

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

/// The networks, as a list or as a mapping.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks(pub BTreeMap<NetworkName, Attachment>);

/// What a service is called on a network.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Attachment")]
pub(crate) struct LongAttachment {
    /// Further names of the service on this network.
    pub aliases: Option<Vec<ObjectName>>,
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Attachments;
        impl<'de> Visitor<'de> for Attachments {
            type Value = Networks;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of networks, or a mapping of them")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Networks, A::Error> {
                let mut networks = BTreeMap::new();
                while let Some(name) = items.next_element()? {
                    networks.insert(name, Attachment::default());
                }
                Ok(Networks(networks))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Networks, A::Error> {
                let mut networks = BTreeMap::new();
                while let Some((name, attachment)) = entries.next_entry::<_, Option<LongAttachment>>()? {
                    let aliases = attachment.and_then(|attachment| attachment.aliases).unwrap_or_default();
                    networks.insert(name, Attachment { aliases });
                }
                Ok(Networks(networks))
            }
        }
        deserializer.deserialize_any(Attachments)
    }
}

impl JsonSchema for Networks {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Networks".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, long) =
            (generator.subschema_for::<NetworkName>(), generator.subschema_for::<Option<LongAttachment>>());
        json_schema!({"oneOf": [{"type": "array", "items": name}, {"type": "object", "additionalProperties": long}]})
    }
}

/// Services that must be there first, as a list or as a mapping.
#[derive(Debug, Clone, Default)]
pub(crate) struct DependsOn(pub BTreeMap<ObjectName, Dependency>);

/// How a service must be there.
#[derive(Debug, Clone, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Dependency")]
pub(crate) struct LongDependency {
    /// How far it must be; `service_started` when absent.
    pub condition: Option<DependencyCondition>,
    /// `false`: start also where the other service does not exist; true when absent.
    pub required: Option<bool>,
}

impl<'de> Deserialize<'de> for DependsOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const STARTED: Dependency =
            Dependency { condition: DependencyCondition::ServiceStarted, required: true };
        struct Dependencies;
        impl<'de> Visitor<'de> for Dependencies {
            type Value = DependsOn;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of services, or a mapping of them")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<DependsOn, A::Error> {
                let mut services = BTreeMap::new();
                while let Some(name) = items.next_element()? {
                    services.insert(name, STARTED);
                }
                Ok(DependsOn(services))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<DependsOn, A::Error> {
                let mut services = BTreeMap::new();
                while let Some((name, long)) = entries.next_entry::<_, Option<LongDependency>>()? {
                    let dependency = long.map_or(STARTED, |long| Dependency {
                        condition: long.condition.unwrap_or(STARTED.condition),
                        required: long.required.unwrap_or(true),
                    });
                    services.insert(name, dependency);
                }
                Ok(DependsOn(services))
            }
        }
        deserializer.deserialize_any(Dependencies)
    }
}

impl JsonSchema for DependsOn {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DependsOn".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, long) =
            (generator.subschema_for::<ObjectName>(), generator.subschema_for::<Option<LongDependency>>());
        json_schema!({"oneOf": [{"type": "array", "items": name}, {"type": "object", "additionalProperties": long}]})
    }
}

/// Lines of `/etc/hosts`, as a list of `name:address` or as a mapping.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExtraHosts(pub Vec<String>);

struct HostLine(String);

impl<'de> Deserialize<'de> for HostLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let line =
            text.split_once(['=', ':']).ok_or_else(|| format!("{text:?}: write it like name:10.0.0.7"));
        line.and_then(|(name, address)| host_line(name, address)).map(Self).map_err(de::Error::custom)
    }
}

fn host_line(name: &str, address: &str) -> Result<String, String> {
    let (name, bare) = (name.trim(), address.trim().trim_start_matches('[').trim_end_matches(']'));
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(format!("{name:?} is no host name"));
    }
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(format!("{address:?} is no address; write an IP address or host-gateway"));
    }
    Ok(format!("{name}:{bare}"))
}

impl<'de> Deserialize<'de> for ExtraHosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = ExtraHosts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of name:address, or a mapping")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ExtraHosts, A::Error> {
                let mut lines = Vec::new();
                while let Some(HostLine(line)) = items.next_element()? {
                    lines.push(line);
                }
                Ok(ExtraHosts(lines))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<ExtraHosts, A::Error> {
                let mut lines = Vec::new();
                while let Some((name, addresses)) = entries.next_entry::<String, OneOrMany>()? {
                    for address in addresses.0 {
                        lines.push(host_line(&name, &address).map_err(de::Error::custom)?);
                    }
                }
                Ok(ExtraHosts(lines))
            }
        }
        deserializer.deserialize_any(Lines)
    }
}

impl JsonSchema for ExtraHosts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ExtraHosts".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let many = generator.subschema_for::<OneOrMany>();
        json_schema!({"oneOf": [
            {"type": "array", "items": {"type": "string", "pattern": "^[^=:]+[=:]."}},
            {"type": "object", "additionalProperties": many},
        ]})
    }
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
