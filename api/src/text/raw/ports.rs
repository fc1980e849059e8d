//! `ports`, in the short form and the long one.

use std::net::Ipv4Addr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};

use crate::name::ObjectName;
use crate::network::Cidr;
use crate::service::{Port, Protocol, Published};

use super::forms::{Either, Scalar, either_schema};

/// One entry of `ports`: a range is several ports.
#[derive(Debug, Clone)]
pub(crate) struct PortEntry(pub Vec<Port>);

/// A port in the long form.
#[derive(Debug, Clone, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Port")]
pub(crate) struct LongPort {
    /// What SRV names and checks call it.
    pub name: Option<ObjectName>,
    /// The port in the container.
    pub target: Target,
    /// The port on the host; 0: the engine picks one. Absent: reachable inside the network only.
    pub published: Option<Scalar>,
    /// The host's address, or a range that picks the host's own, like 10.0.0.0/24. Absent: all addresses.
    pub host_ip: Option<Cidr>,
    /// `tcp` when absent.
    pub protocol: Option<Protocol>,
    /// For people and tools.
    #[expect(dead_code, reason = "accepted, and of no effect")]
    pub app_protocol: Option<String>,
    /// Published on the host where the copy is; the only mode.
    #[expect(dead_code, reason = "there is only one mode")]
    pub mode: Option<PortMode>,
}

/// Where a port is published.
#[derive(Debug, Clone, Copy, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PortMode {
    /// On the host where the copy is.
    Host,
}

/// A port number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target(u16);

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number(&String::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

impl JsonSchema for Target {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PortNumber".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [
            {"type": "integer", "minimum": 1, "maximum": 65535},
            {"type": "string", "pattern": "^[0-9]+$"},
        ]})
    }
}

impl<'de> Deserialize<'de> for PortEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Either::read(deserializer, "a port like \"8080:80\" or a mapping", short, long).map(Self)
    }
}

either_schema!(PortEntry, LongPort, ["string", "integer"]);

fn number(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("{text:?} is no port: 1 to 65535"))
}

/// `8080` or `8080-8090`.
fn range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("the range {text} runs backwards"));
    }
    Ok((first, last))
}

/// `[[ip:]published:]target[/protocol]`. A target alone gets a port of the engine's choice, as in Compose.
fn short(text: &str) -> Result<Vec<Port>, String> {
    let (rest, protocol) = match text.rsplit_once('/') {
        // In 10.0.0.0/24:80:80 the slash belongs to the address.
        Some((rest, word)) if !word.contains(':') => (rest, protocol_of(word)?),
        _ => (text, Protocol::Tcp),
    };
    let (rest, target) = match rest.rsplit_once(':') {
        Some((rest, target)) => (Some(rest), target),
        None => (None, rest),
    };
    let target = range(target)?;
    let (host_ip, published) = match rest.map(|rest| rest.rsplit_once(':').unwrap_or(("", rest))) {
        None => (None, None),
        Some((_, "")) if !rest.is_some_and(|rest| rest.contains(':')) => {
            return Err(format!("{text:?} publishes nothing; write the port of the host before the colon"));
        }
        Some((ip, published)) => (address(ip)?, Some(published).filter(|text| !text.is_empty())),
    };
    pair(target, published, host_ip)?
        .map(|(target, published)| Ok(Port { name: None, target, protocol, published: Some(published) }))
        .collect()
}

fn protocol_of(word: &str) -> Result<Protocol, String> {
    match word {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Err("sctp is not supported yet; there are tcp and udp".to_owned()),
        other => Err(format!("{other:?} is no protocol: there are tcp and udp")),
    }
}

/// The host's address in a short form; all addresses, however written, are none in particular.
fn address(text: &str) -> Result<Option<Cidr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains(['[', ':']) {
        return Err(format!("{text}: IPv6 is not supported yet; write an IPv4 address"));
    }
    text.parse().map(any_is_none)
}

fn any_is_none(range: Cidr) -> Option<Cidr> {
    (range.network() != Ipv4Addr::UNSPECIFIED).then_some(range)
}

/// Pairs the ports of two ranges.
fn pair(
    target: (u16, u16),
    published: Option<&str>,
    host_ip: Option<Cidr>,
) -> Result<impl Iterator<Item = (u16, Published)>, String> {
    let from = match published {
        None | Some("0") => None,
        Some(text) => {
            let published = range(text)?;
            if published.1 - published.0 != target.1 - target.0 {
                return Err(format!(
                    "the ranges differ in length: {} published for {} in the container; write one for each",
                    published.1 - published.0 + 1,
                    target.1 - target.0 + 1,
                ));
            }
            Some(published.0)
        }
    };
    Ok((target.0..=target.1)
        .zip(0u16..)
        .map(move |(target, index)| (target, Published { port: from.map(|from| from + index), host_ip })))
}

fn long(form: LongPort) -> Result<Vec<Port>, String> {
    let LongPort { name, target: Target(target), published, host_ip, protocol, app_protocol: _, mode: _ } =
        form;
    let host_ip = host_ip.and_then(any_is_none);
    let published = match (published, host_ip) {
        (None, None) => None,
        (None, host_ip) => Some(Published { port: None, host_ip }),
        (Some(Scalar(text)), host_ip) => {
            pair((target, target), Some(text.as_str()).filter(|text| !text.is_empty()), host_ip)?
                .next()
                .map(|(_, p)| p)
        }
    };
    Ok(vec![Port { name, target, protocol: protocol.unwrap_or_default(), published }])
}
