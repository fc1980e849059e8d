//! The envelope around every document, and the kinds that there are.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{HostName, Namespace, NetworkName, ObjectName, Scoped};

/// The only `apiVersion` that documents may carry.
pub const API_VERSION: &str = "evenkeel/v1";

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// Containers, kept in a wanted number.
    Service,
    /// An internal network over all hosts.
    Network,
    /// A check on the copies of a service.
    HealthCheck,
    /// A machine with a Docker engine.
    Host,
}

impl Kind {
    /// All kinds, in the order in which they are applied: what others need comes first.
    pub const ALL: [Kind; 4] = [Kind::Host, Kind::Network, Kind::Service, Kind::HealthCheck];

    /// The kind as the store's keys spell it.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Service => "services",
            Kind::Network => "networks",
            Kind::HealthCheck => "healthchecks",
            Kind::Host => "hosts",
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn namespaced(self) -> bool {
        matches!(self, Kind::Service | Kind::HealthCheck)
    }

    /// The kind that `plural` names.
    pub fn from_plural(plural: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.plural() == plural)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Service => "Service",
            Kind::Network => "Network",
            Kind::HealthCheck => "HealthCheck",
            Kind::Host => "Host",
        })
    }
}

/// One object of any kind. Displayed as `Service shop/web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ObjectRef {
    /// A Service.
    Service(Scoped),
    /// A Network.
    Network(NetworkName),
    /// A HealthCheck.
    HealthCheck(Scoped),
    /// A Host.
    Host(HostName),
}

impl ObjectRef {
    /// The object's kind.
    pub fn kind(&self) -> Kind {
        match self {
            ObjectRef::Service(_) => Kind::Service,
            ObjectRef::Network(_) => Kind::Network,
            ObjectRef::HealthCheck(_) => Kind::HealthCheck,
            ObjectRef::Host(_) => Kind::Host,
        }
    }

    /// `namespace/name`, or `name` where the kind has no namespace: the object's part of a store key.
    pub fn path(&self) -> String {
        match self {
            ObjectRef::Service(id) | ObjectRef::HealthCheck(id) => id.to_string(),
            ObjectRef::Network(name) => name.to_string(),
            ObjectRef::Host(name) => name.to_string(),
        }
    }

    /// The object of `kind` that `path` names.
    ///
    /// # Errors
    /// The part of the path that is no name.
    pub fn from_path(kind: Kind, path: &str) -> Result<Self, crate::name::NameError> {
        Ok(match kind {
            Kind::Service => ObjectRef::Service(path.parse()?),
            Kind::HealthCheck => ObjectRef::HealthCheck(path.parse()?),
            Kind::Network => ObjectRef::Network(path.parse()?),
            Kind::Host => ObjectRef::Host(path.parse()?),
        })
    }

    /// The object's namespace, where its kind has one.
    pub fn namespace(&self) -> Option<&Namespace> {
        match self {
            ObjectRef::Service(id) | ObjectRef::HealthCheck(id) => Some(&id.namespace),
            ObjectRef::Network(_) | ObjectRef::Host(_) => None,
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.path())
    }
}

impl FromStr for ObjectRef {
    type Err = crate::name::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || crate::name::NameError::Shape { text: text.to_owned(), shape: "Kind name" };
        let (kind, path) = text.split_once(' ').ok_or_else(shape)?;
        let kind = Kind::ALL.into_iter().find(|k| k.to_string() == kind).ok_or_else(shape)?;
        ObjectRef::from_path(kind, path)
    }
}

impl TryFrom<String> for ObjectRef {
    type Error = crate::name::NameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ObjectRef> for String {
    fn from(object: ObjectRef) -> String {
        object.to_string()
    }
}

/// What people say about an object beside its spec. The name may be absent where the store key gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The object's name: a DNS label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ObjectName>,
    /// The team's room. Networks and Hosts have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Words to select by. On a Host, placement constraints see them as `node.labels.<key>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Words for people and tools; evenkeel does not read them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
