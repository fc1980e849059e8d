//! What a service says of others by their names: networks, services that must be there first, hosts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::name::{NetworkName, ObjectName};
use crate::service::{Attachment, Dependency, DependencyCondition};

use super::forms::OneOrMany;

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
