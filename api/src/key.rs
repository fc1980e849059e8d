//! The store's keys, built and parsed here and nowhere else. All are relative to the configured prefix,
//! which the store adapter puts in front.
//!
//! | key | what | its one writer |
//! |---|---|---|
//! | `services/<ns>/<n>` `healthchecks/<ns>/<n>` `networks/<n>` `hosts/<h>` | documents, raw text | people (a host may create its own) |
//! | `pins/<ns>/<n>` `brake` `confirmed` | what people say about a rollout, about dead hosts, about a mass deletion | people |
//! | `cluster` | [`crate::record::Cluster`] | the first controller; its epoch: people |
//! | `halt` | the store went back: nothing is stopped | create-only: whoever sees it first; people take it away |
//! | `accepted/<kind>/…` `status/<kind>/…` `revisions/services/<ns>/<n>/<k>` | admission | the leader of the kind's controller (Hosts: the service leader) |
//! | `revisions/services/<ns>/<n>/<k>/digest` | create-only | the host that pulled first |
//! | `rollouts/<ns>/<n>` `instances/<h>/<id>` `endpoints/<ns>/<n>/<shard>` `brakes` | | service leader |
//! | `subnets/<network>/<h>` | | network leader |
//! | `alive/<h>` `facts/<h>` | | host controller of h |
//! | `observed/<h>/<id>` | | instance controller of h |
//! | `health/<h>/<id>` | | healthcheck controller of h |
//! | `reports/<h>/…` | | the controller on h that it is named for |
//! | `events/<writer>/<n>` `writers/<host>/<controller>` | | that writer |
//! | `leaders/<controller>` | | candidates |
//! | `sessions/<ns>/<challenge>` | [`crate::session::Session`], for a moment | people who may change that namespace |
//! | `views/<challenge>` | the same, of what is only looked at | people |

pub mod prefix;

use std::fmt;
use std::str::FromStr;

use crate::meta::{Kind, ObjectRef};
use crate::name::{HostName, InstanceId, Namespace, NetworkName, Scoped, ServiceId};
use crate::session::{Action, Challenge};

/// A controller, by the name that `evenkeel controller` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    /// Registers the machine and keeps it alive.
    Host,
    /// Bridges, routes, firewall.
    Network,
    /// Copies, rollouts, endpoints.
    Service,
    /// Probes.
    Healthcheck,
    /// Containers.
    Instance,
    /// Names.
    Dns,
    /// The end of exclusive copies whose host cannot prove that it lives.
    Watchdog,
}

impl Controller {
    /// All of them, in the order in which they start.
    pub const ALL: [Controller; 7] = [
        Controller::Host,
        Controller::Network,
        Controller::Service,
        Controller::Healthcheck,
        Controller::Instance,
        Controller::Dns,
        Controller::Watchdog,
    ];

    /// Those of whose kind one in the cluster leads.
    pub const LEADING: [Controller; 3] = [Controller::Network, Controller::Service, Controller::Healthcheck];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Controller::Host => "host",
            Controller::Network => "network",
            Controller::Service => "service",
            Controller::Healthcheck => "healthcheck",
            Controller::Instance => "instance",
            Controller::Dns => "dns",
            Controller::Watchdog => "watchdog",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Controller {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Controller::ALL.into_iter().find(|c| c.as_str() == text).ok_or_else(|| {
            let names = Controller::ALL.map(Controller::as_str).join(", ");
            format!("no controller is called {text:?}; there are {names}")
        })
    }
}

/// A key of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A document.
    Document(ObjectRef),
    /// What people say about a rollout.
    Pin(ServiceId),
    /// Who this cluster is.
    Cluster,
    /// The store went back, and nothing is stopped.
    Halt,
    /// A person meant a mass deletion.
    Confirmed,
    /// Hosts that a person declared dead.
    Brake,
    /// What the service leader says of its brakes.
    Brakes,
    /// The newest valid document.
    Accepted(ObjectRef),
    /// How an object is.
    Status(ObjectRef),
    /// A template.
    Revision(ServiceId, i64),
    /// What a template's image meant.
    Digest(ServiceId, i64),
    /// What is remembered of a service.
    Rollout(ServiceId),
    /// What a host must run.
    Instance(HostName, InstanceId),
    /// Who serves.
    Endpoints(ServiceId, u32),
    /// A host's part of a network.
    Subnet(NetworkName, HostName),
    /// A host under its lease.
    Alive(HostName),
    /// What a machine is.
    Facts(HostName),
    /// What became of an instance.
    Observed(HostName, InstanceId),
    /// The verdicts on an instance.
    Health(HostName, InstanceId),
    /// What became of a network on a host.
    NetworkReport(HostName, NetworkName),
    /// What a host's name server serves.
    DnsReport(HostName),
    /// A controller that does not believe the store.
    Distrust(HostName, Controller),
    /// A piece of what a controller remembers of a store that it does not believe.
    Recall(HostName, Controller, u32),
    /// Something that happened: host and controller that say so, and its number in their ring.
    Event(HostName, Controller, u64),
    /// A writer's chain guard.
    Writer(HostName, Controller),
    /// Who leads.
    Leader(Controller),
    /// A person asks something of a copy that needs the right to change its namespace.
    Session(Namespace, Challenge),
    /// A person asks to see something of copies.
    View(Challenge),
}

impl Key {
    /// By which key the right to do something on a host is shown, once the host has made up `challenge`.
    pub fn asks(action: &Action, challenge: Challenge) -> Self {
        match action.changes() {
            Some(namespace) => Key::Session(namespace.clone(), challenge),
            None => Key::View(challenge),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Document(o) => write!(f, "{}/{}", o.kind().plural(), o.path()),
            Key::Pin(s) => write!(f, "pins/{s}"),
            Key::Cluster => f.write_str("cluster"),
            Key::Halt => f.write_str("halt"),
            Key::Confirmed => f.write_str("confirmed"),
            Key::Brake => f.write_str("brake"),
            Key::Brakes => f.write_str("brakes"),
            Key::Accepted(o) => write!(f, "accepted/{}/{}", o.kind().plural(), o.path()),
            Key::Status(o) => write!(f, "status/{}/{}", o.kind().plural(), o.path()),
            Key::Revision(s, k) => write!(f, "revisions/services/{s}/{k}"),
            Key::Digest(s, k) => write!(f, "revisions/services/{s}/{k}/digest"),
            Key::Rollout(s) => write!(f, "rollouts/{s}"),
            Key::Instance(h, id) => write!(f, "instances/{h}/{id}"),
            Key::Endpoints(s, shard) => write!(f, "endpoints/{s}/{shard}"),
            Key::Subnet(n, h) => write!(f, "subnets/{n}/{h}"),
            Key::Alive(h) => write!(f, "alive/{h}"),
            Key::Facts(h) => write!(f, "facts/{h}"),
            Key::Observed(h, id) => write!(f, "observed/{h}/{id}"),
            Key::Health(h, id) => write!(f, "health/{h}/{id}"),
            Key::NetworkReport(h, n) => write!(f, "reports/{h}/network/{n}"),
            Key::DnsReport(h) => write!(f, "reports/{h}/dns"),
            Key::Distrust(h, c) => write!(f, "reports/{h}/trust/{c}"),
            Key::Recall(h, c, n) => write!(f, "reports/{h}/memory/{c}/{n}"),
            Key::Event(h, c, n) => write!(f, "events/{h}.{c}/{n}"),
            Key::Writer(h, c) => write!(f, "writers/{h}/{c}"),
            Key::Leader(c) => write!(f, "leaders/{c}"),
            Key::Session(ns, challenge) => write!(f, "sessions/{ns}/{challenge}"),
            Key::View(challenge) => write!(f, "views/{challenge}"),
        }
    }
}

/// A text that is no key of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no evenkeel key: {1}")]
pub struct KeyError(String, String);

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let refused = |why: String| KeyError(text.to_owned(), why);
        let key = parse(text).map_err(refused)?;
        // One object, one key: whoever put `endpoints/shop/web/00` must not stand for shard 0.
        let canonical = key.to_string();
        if canonical == text { Ok(key) } else { Err(refused(format!("write {canonical:?} instead"))) }
    }
}

fn parse(text: &str) -> Result<Key, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let name = |e: crate::name::NameError| e.to_string();
    let scoped = |ns: &str, n: &str| -> Result<Scoped, String> { format!("{ns}/{n}").parse().map_err(name) };
    let object = |kind: Kind, rest: &[&str]| ObjectRef::from_path(kind, &rest.join("/")).map_err(name);
    let number = |n: &str| n.parse::<i64>().map_err(|_| format!("{n:?} is no number"));
    let kind_of = |p: &str| Kind::from_plural(p).ok_or_else(|| format!("no kind is called {p:?}"));
    Ok(match parts.as_slice() {
        ["cluster"] => Key::Cluster,
        ["halt"] => Key::Halt,
        ["confirmed"] => Key::Confirmed,
        ["brake"] => Key::Brake,
        ["brakes"] => Key::Brakes,
        ["pins", ns, n] => Key::Pin(scoped(ns, n)?),
        ["accepted", kind, rest @ ..] => Key::Accepted(object(kind_of(kind)?, rest)?),
        ["status", kind, rest @ ..] => Key::Status(object(kind_of(kind)?, rest)?),
        ["revisions", "services", ns, n, k] => Key::Revision(scoped(ns, n)?, number(k)?),
        ["revisions", "services", ns, n, k, "digest"] => Key::Digest(scoped(ns, n)?, number(k)?),
        ["rollouts", ns, n] => Key::Rollout(scoped(ns, n)?),
        ["instances", h, id] => Key::Instance(h.parse().map_err(name)?, id.parse().map_err(name)?),
        ["endpoints", ns, n, shard] => {
            Key::Endpoints(scoped(ns, n)?, u32::try_from(number(shard)?).map_err(|e| e.to_string())?)
        }
        ["subnets", n, h] => Key::Subnet(n.parse().map_err(name)?, h.parse().map_err(name)?),
        ["alive", h] => Key::Alive(h.parse().map_err(name)?),
        ["facts", h] => Key::Facts(h.parse().map_err(name)?),
        ["observed", h, id] => Key::Observed(h.parse().map_err(name)?, id.parse().map_err(name)?),
        ["health", h, id] => Key::Health(h.parse().map_err(name)?, id.parse().map_err(name)?),
        ["reports", h, "network", n] => {
            Key::NetworkReport(h.parse().map_err(name)?, n.parse().map_err(name)?)
        }
        ["reports", h, "dns"] => Key::DnsReport(h.parse().map_err(name)?),
        ["reports", h, "trust", c] => Key::Distrust(h.parse().map_err(name)?, c.parse()?),
        ["reports", h, "memory", c, n] => {
            let n = u32::try_from(number(n)?).map_err(|e| e.to_string())?;
            Key::Recall(h.parse().map_err(name)?, c.parse()?, n)
        }
        ["events", writer, n] => {
            let (h, c) = writer.rsplit_once('.').ok_or("an event's writer is host.controller")?;
            let n = u64::try_from(number(n)?).map_err(|e| e.to_string())?;
            Key::Event(h.parse().map_err(name)?, c.parse()?, n)
        }
        ["writers", h, c] => Key::Writer(h.parse().map_err(name)?, c.parse()?),
        ["leaders", c] => Key::Leader(c.parse()?),
        ["sessions", ns, challenge] => Key::Session(
            ns.parse().map_err(name)?,
            challenge.parse().map_err(|e: crate::session::NoChallenge| e.to_string())?,
        ),
        ["views", challenge] => {
            Key::View(challenge.parse().map_err(|e: crate::session::NoChallenge| e.to_string())?)
        }
        [kind, rest @ ..] => Key::Document(object(kind_of(kind)?, rest)?),
        [] => return Err("it is empty".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_means_all_below_it_and_a_key_means_itself() {
        for (prefix, key, covered) in [
            ("", "alive/h1", true),
            ("", "", true),
            ("alive/", "alive/h1", true),
            ("alive/", "alive/", true),
            ("alive/", "alive", false),
            ("alive/h1", "alive/h1", true),
            ("alive/h1", "alive/h10", false),
            ("alive/h1", "alive/h1/x", false),
            ("brake", "brakes", false),
        ] {
            assert_eq!(prefix::covers(prefix, key), covered, "{prefix:?} and {key:?}");
        }
    }

    #[test]
    fn keys_round_trip() {
        for text in [
            "services/shop/web",
            "networks/lan",
            "hosts/h1",
            "healthchecks/shop/web-http",
            "pins/shop/web",
            "cluster",
            "halt",
            "confirmed",
            "brake",
            "brakes",
            "accepted/services/shop/web",
            "accepted/networks/lan",
            "status/hosts/h1",
            "revisions/services/shop/web/812",
            "revisions/services/shop/web/812/digest",
            "rollouts/shop/web",
            "instances/h1/shop.web.1.lt",
            "endpoints/shop/web/0",
            "subnets/lan/h1",
            "alive/h1",
            "facts/h1",
            "observed/h1/shop.web.1.lt",
            "health/h1/shop.web.1.lt",
            "reports/h1/network/lan",
            "reports/h1/dns",
            "reports/h1/trust/instance",
            "reports/h1/memory/service/3",
            "events/h1.service/7",
            "writers/h1/dns",
            "leaders/service",
            "sessions/shop/0123456789abcdef0123456789abcdef",
            "views/0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_the_one_way_to_write_its_key(
            text in "(services|revisions/services|instances|observed|endpoints|events|accepted/hosts|reports)(/[a-z0-9.+-]{0,6}){0,4}",
        ) {
            if let Ok(key) = text.parse::<Key>() {
                assert_eq!(key.to_string(), text);
            }
        }
    }

    #[test]
    fn foreign_keys_are_refused() {
        for text in [
            "",
            "services/web",
            "services/shop/web/x",
            "networks/a/b",
            "instances/h1/web",
            "nothing/x",
            "leaders/sync",
            "networks/",
            "revisions/services/shop/web/007",
            "endpoints/shop/web/+0",
            "events/h1.service/-0",
            "instances/h1/shop.web.1.0lt",
            "instances/h1/shop.web.1.LT",
            "sessions/shop/1",
            "sessions/0123456789abcdef0123456789abcdef",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
