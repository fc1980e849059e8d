//! A Network: one pool of addresses over all hosts, of which each host owns a part.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{HostName, NetworkName};
use crate::quantity::Span;

/// What people want of one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// The pools of addresses.
    pub ipam: Ipam,
    /// How hosts reach each other's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
    /// The names on this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// Who else may reach the containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

/// The pools of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipam {
    /// Pools; more can be appended later, none changed.
    pub config: Vec<Pool>,
    /// The size of a host's part, as a prefix length; 24 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 28))]
    pub host_prefix_length: Option<u8>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Like 10.88.0.0/16.
    pub subnet: Cidr,
}

/// How hosts reach each other's part of a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Routing {
    /// Plain routes by the hosts' LAN addresses.
    #[default]
    HostGw,
}

/// The names on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// The domain below which services are found; `internal` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
    /// How long answers may be cached; 5s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
}

/// Who else may reach the containers of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Outside addresses that may reach containers directly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Cidr>,
}

/// The longest time that answers may be cached where a network says nothing.
pub const TTL: Span = Span::seconds(5);
/// The prefix length of a host's part where a network says nothing.
pub const HOST_PREFIX_LENGTH: u8 = 24;

impl NetworkSpec {
    /// The domain below which services are found.
    pub fn domain(&self) -> &str {
        self.dns.as_ref().and_then(|dns| dns.domain.as_ref()).map_or("internal", |domain| domain.as_str())
    }

    /// How long answers may be cached.
    pub fn ttl(&self) -> Span {
        self.dns.as_ref().and_then(|dns| dns.ttl).unwrap_or(TTL)
    }

    /// The prefix length of a host's part.
    pub fn host_prefix_length(&self) -> u8 {
        self.ipam.host_prefix_length.unwrap_or(HOST_PREFIX_LENGTH)
    }

    /// The pools.
    pub fn pools(&self) -> impl Iterator<Item = Cidr> + '_ {
        self.ipam.config.iter().map(|pool| pool.subnet)
    }

    /// Outside addresses that may reach containers directly.
    pub fn access_from(&self) -> &[Cidr] {
        self.access.as_ref().map_or(&[], |access| &access.from)
    }
}

/// A DNS domain: lower-case labels with dots between, at most 100 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl Domain {
    /// As text, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Domain {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let good = text.len() <= 100
            && text.split('.').all(|label| label.parse::<crate::name::ObjectName>().is_ok());
        if good {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is no domain: write it like internal or shop.lan"))
        }
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> String {
        domain.0
    }
}

/// An IPv4 range, kept with its host bits cleared: `10.88.0.0/16`. A plain address is a `/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: Ipv4Addr,
    prefix: u8,
}

impl Cidr {
    /// The range of `prefix` bits that holds `address`; prefixes past 32 count as 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { address: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix }
    }

    /// The first address.
    pub fn network(&self) -> Ipv4Addr {
        self.address
    }

    /// The prefix length, in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// How many addresses it holds.
    pub fn size(&self) -> u64 {
        1 << (32 - self.prefix)
    }

    /// The `n`th address, counted from 0; `None` past the end.
    pub fn nth(&self, n: u64) -> Option<Ipv4Addr> {
        (n < self.size()).then(|| Ipv4Addr::from_bits(self.address.to_bits() + n as u32))
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Cidr) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Its parts of `prefix` bits each, in order; empty when `prefix` is shorter than its own.
    pub fn parts(&self, prefix: u8) -> impl Iterator<Item = Cidr> + use<> {
        let (base, count) = (
            self.address.to_bits(),
            if prefix < self.prefix || prefix > 32 { 0 } else { 1u64 << (prefix - self.prefix) },
        );
        (0..count).map(move |n| Cidr::new(Ipv4Addr::from_bits(base + ((n as u32) << (32 - prefix))), prefix))
    }
}

fn mask(prefix: u8) -> u32 {
    if prefix == 0 { 0 } else { u32::MAX << (32 - u32::from(prefix)) }
}

impl FromStr for Cidr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            if text.contains(':') {
                format!("{text:?}: IPv6 is not supported yet; write an IPv4 range like 10.88.0.0/16")
            } else {
                format!("{text:?} is no IPv4 address or range: write it like 10.0.0.7 or 10.88.0.0/16")
            }
        };
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let (address, prefix): (Ipv4Addr, u8) =
            (address.parse().map_err(|_| bad())?, prefix.parse().map_err(|_| bad())?);
        if prefix > 32 {
            return Err(bad());
        }
        let cidr = Cidr::new(address, prefix);
        if cidr.address == address {
            Ok(cidr)
        } else {
            Err(format!("{text:?} has bits set after its prefix; did you mean {cidr}?"))
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == 32 {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.prefix)
        }
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

impl JsonSchema for Cidr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cidr".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(\\.[0-9]+){3}(/[0-9]+)?$",
            "description": "An IPv4 address or range, like 10.88.0.0/16",
        })
    }
}

/// The part of a network that one host owns: which addresses in it mean what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSubnet {
    /// The network.
    pub network: NetworkName,
    /// The host.
    pub host: HostName,
    /// The part.
    pub subnet: Cidr,
}

impl HostSubnet {
    /// The host's own address on the network: its bridge, its name server, and the source of its probes.
    pub fn gateway(&self) -> Ipv4Addr {
        self.subnet.nth(1).unwrap_or(self.subnet.network())
    }

    /// The addresses that copies may get, in order: all but the network's, the gateway's, the last
    /// sixteen, which are left to what is started by hand, and the broadcast's among them.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        (2..self.subnet.size().saturating_sub(16)).filter_map(|n| self.subnet.nth(n))
    }

    /// The range that the engine picks from for what is started by hand: the last sixteen addresses.
    pub fn engine_range(&self) -> Cidr {
        let first = self.subnet.nth(self.subnet.size().saturating_sub(16)).unwrap_or(self.subnet.network());
        Cidr::new(first, 28)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let pool: Cidr = "10.88.0.0/16".parse().unwrap();
        assert_eq!(pool.parts(24).nth(3).unwrap().to_string(), "10.88.3.0/24");
        assert_eq!(pool.parts(24).count(), 256);
        assert!(pool.overlaps(&"10.88.3.0/24".parse().unwrap()));
        assert!(!pool.overlaps(&"10.89.0.0/16".parse().unwrap()));
        assert!("10.88.0.1/16".parse::<Cidr>().unwrap_err().contains("did you mean 10.88.0.0/16"));
        assert!("fd00::/8".parse::<Cidr>().unwrap_err().contains("IPv6"));
        assert_eq!("0.0.0.0/0".parse::<Cidr>().unwrap().size(), 1 << 32);
    }

    #[test]
    fn a_hosts_part() {
        let part = HostSubnet {
            network: "lan".parse().unwrap(),
            host: "h3".parse().unwrap(),
            subnet: "10.88.3.0/24".parse().unwrap(),
        };
        assert_eq!(part.gateway().to_string(), "10.88.3.1");
        assert_eq!(part.engine_range().to_string(), "10.88.3.240/28");
        let all: Vec<_> = part.addresses().collect();
        assert_eq!(
            (all[0].to_string(), all[all.len() - 1].to_string()),
            ("10.88.3.2".into(), "10.88.3.239".into())
        );
    }
}
