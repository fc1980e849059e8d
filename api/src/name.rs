//! Validated names. Each is a DNS label, because each becomes part of a host name that users resolve.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a usable name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a DNS label.
    #[error(
        "{what} {text:?} is not a DNS label: 1 to 63 of a-z, 0-9 and '-', neither first nor last a '-'{}",
        hint(text)
    )]
    NotALabel {
        /// What the name is for, as the user knows it.
        what: &'static str,
        /// The text that was refused.
        text: String,
    },
    /// A name that evenkeel keeps for itself.
    #[error("{what} {text:?} is reserved: {why}")]
    Reserved {
        /// What the name is for.
        what: &'static str,
        /// The text that was refused.
        text: String,
        /// What it is reserved for.
        why: &'static str,
    },
    /// A compound name (`namespace/name`, an instance id, a template reference) of the wrong shape.
    #[error("{text:?} is not {shape}")]
    Shape {
        /// The text that was refused.
        text: String,
        /// The shape that was expected.
        shape: &'static str,
    },
}

/// The nearest label to a refused text, worded as advice; empty when there is none.
fn hint(text: &str) -> String {
    let near: String = text
        .to_ascii_lowercase()
        .chars()
        .map(|c| if matches!(c, '_' | '.' | ' ') { '-' } else { c })
        .collect();
    if near != text && is_label(&near) { format!("; try {near:?}") } else { String::new() }
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal, $reserved:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let reserved: &[(&str, &'static str)] = &$reserved;
                if let Some((_, why)) = reserved.iter().find(|(name, _)| *name == text) {
                    return Err(NameError::Reserved { what: $what, text: text.to_owned(), why });
                }
                if is_label(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError::NotALabel { what: $what, text: text.to_owned() })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

label!(
    /// A team's own room: services and checks of two namespaces never meet by name.
    Namespace,
    "namespace",
    [("node", "host names are found below it")]
);
label!(
    /// A Service or a HealthCheck, unique within its namespace and kind.
    ObjectName,
    "name",
    []
);
label!(
    /// A Network, unique in the cluster.
    NetworkName,
    "network name",
    []
);
label!(
    /// A host, unique in the cluster.
    HostName,
    "host name",
    []
);
label!(
    /// A place among the copies of a service: `1`…`N`, or the host's name in global mode.
    Slot,
    "slot",
    []
);

impl Slot {
    /// The slot numbered `n`, counted from 1.
    pub fn numbered(n: u32) -> Self {
        Self(n.to_string())
    }

    /// The slot's number; `None` in global mode.
    pub fn number(&self) -> Option<u32> {
        self.0.parse().ok()
    }
}

impl From<&HostName> for Slot {
    fn from(host: &HostName) -> Self {
        Self(host.0.clone())
    }
}

/// A namespaced object: `shop/web`. Which kind it is follows from where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scoped {
    /// The team's room.
    pub namespace: Namespace,
    /// The name within it.
    pub name: ObjectName,
}

/// A service, as `namespace/name`.
pub type ServiceId = Scoped;
/// A health check, as `namespace/name`.
pub type CheckId = Scoped;

impl fmt::Display for Scoped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for Scoped {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (namespace, name) = text
            .split_once('/')
            .ok_or_else(|| NameError::Shape { text: text.to_owned(), shape: "namespace/name" })?;
        Ok(Self { namespace: namespace.parse()?, name: name.parse()? })
    }
}

impl TryFrom<String> for Scoped {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Scoped> for String {
    fn from(id: Scoped) -> String {
        id.to_string()
    }
}

/// One numbered template of a service: `shop/web@812`. The number is the store revision of the document
/// that brought it, so it is never used twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TemplateRef {
    /// The service.
    pub service: ServiceId,
    /// The template's number.
    pub revision: i64,
}

impl fmt::Display for TemplateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.service, self.revision)
    }
}

impl FromStr for TemplateRef {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let shape = || NameError::Shape { text: text.to_owned(), shape: "namespace/name@revision" };
        let (service, revision) = text.split_once('@').ok_or_else(shape)?;
        Ok(Self { service: service.parse()?, revision: revision.parse().map_err(|_| shape())? })
    }
}

impl TryFrom<String> for TemplateRef {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<TemplateRef> for String {
    fn from(template: TemplateRef) -> String {
        template.to_string()
    }
}

/// One copy of a service, for its whole life: `<namespace>.<service>.<slot>.<seq in base 36>`. It is also
/// the container's name, and is never used again, also not by a service of the same name made later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId {
    /// The service that it is a copy of.
    pub service: ServiceId,
    /// The place that it fills.
    pub slot: Slot,
    /// The number that makes it unique, from the service's rollout record.
    pub seq: u64,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scoped { namespace, name } = &self.service;
        write!(f, "{namespace}.{name}.{}.{}", self.slot, base36(self.seq))
    }
}

fn base36(mut n: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((n % 36) as u32, 36).unwrap_or('0'));
        n /= 36;
        if n == 0 {
            return digits.iter().rev().collect();
        }
    }
}

impl FromStr for InstanceId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let shape = || NameError::Shape { text: text.to_owned(), shape: "namespace.service.slot.seq" };
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or_else(shape);
        let (namespace, name, slot, seq) = (part()?, part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(shape());
        }
        Ok(Self {
            service: Scoped { namespace: namespace.parse()?, name: name.parse()? },
            slot: slot.parse()?,
            seq: u64::from_str_radix(seq, 36).map_err(|_| shape())?,
        })
    }
}

impl TryFrom<String> for InstanceId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for text in ["shop.web.1.lt", "shop.web.h3.0", "a.b.c.zzzzzzzzzzz"] {
            assert_eq!(text.parse::<InstanceId>().unwrap().to_string(), text);
        }
        assert_eq!("shop/web@812".parse::<TemplateRef>().unwrap().to_string(), "shop/web@812");
    }

    #[test]
    fn a_refused_name_says_what_would_do() {
        let error = "celery_worker".parse::<ObjectName>().unwrap_err().to_string();
        assert!(error.ends_with("; try \"celery-worker\""), "{error}");
        assert!("node".parse::<Namespace>().unwrap_err().to_string().contains("reserved"));
    }

    #[test]
    fn compound_names_refuse_a_wrong_shape() {
        assert!("web".parse::<Scoped>().is_err());
        assert!("shop/web".parse::<TemplateRef>().is_err());
        assert!("shop.web.1.2.3".parse::<InstanceId>().is_err());
        assert!("shop.web.1.!".parse::<InstanceId>().is_err());
    }
}
