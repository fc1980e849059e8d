//! How records are said to people, the same in every command.

use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{InstanceId, Namespace, ObjectName};
use evenkeel_api::record::{ConditionType, Desired, InstanceState, Status, Verdict};
use evenkeel_plan::service::REFUSED;

use crate::failure::Failure;
use crate::snapshot::Copy;

/// What a copy is doing, in a few words.
pub fn state(copy: &Copy) -> String {
    if !copy.host_alive && copy.instance.desired != Desired::Lost {
        return format!("unknown: {} is gone", copy.host);
    }
    let Some(observed) = &copy.observed else { return "assigned".to_owned() };
    let state = match &observed.state {
        InstanceState::Waiting { why } => format!("waiting: {why}"),
        InstanceState::Pulling => "pulling".to_owned(),
        InstanceState::Created => "created".to_owned(),
        InstanceState::Running => "running".to_owned(),
        InstanceState::Exited { code, oom: true } => format!("exited {code}: out of memory"),
        InstanceState::Exited { code, oom: false } => format!("exited {code}"),
        InstanceState::Failed { why, .. } => format!("failed: {why}"),
        InstanceState::Stopped { code: Some(code) } => format!("stopped {code}"),
        InstanceState::Stopped { code: None } => "stopped".to_owned(),
    };
    match copy.instance.desired {
        Desired::Run if restarts(copy) => format!("{state}, to be restarted for its health"),
        Desired::Run => state,
        Desired::Drain => format!("{state}, draining"),
        Desired::Stop => format!("{state}, stopping"),
        Desired::Lost => "lost with its host".to_owned(),
    }
}

/// Whether a copy counts as being on its host: until it has stopped; where the host is gone, so that nobody can know,
/// as long as it is to run there.
pub fn is_there(desired: Desired, host_alive: bool) -> bool {
    host_alive || desired == Desired::Run
}

/// Whether this run of it is to end for a new one.
fn restarts(copy: &Copy) -> bool {
    let started = copy.observed.as_ref().and_then(|observed| observed.started);
    copy.instance.restart.is_some_and(|restart| Some(restart.run) == started)
}

/// What the checks of a copy say, in a few words.
pub fn health(copy: &Copy) -> String {
    if !copy.host_alive {
        return "-".to_owned();
    }
    let Some(health) = &copy.health else {
        return match copy.observed.as_ref().and_then(|observed| observed.engine_health) {
            Some(verdict) => self::verdict(verdict).to_owned(),
            None => "-".to_owned(),
        };
    };
    let sick: Vec<String> = health
        .checks
        .iter()
        .filter(|(_, check)| check.verdict != Verdict::Healthy)
        .map(|(name, check)| format!("{name} {}: {}", verdict(check.verdict), check.evidence))
        .collect();
    if sick.is_empty() { "healthy".to_owned() } else { sick.join("; ") }
}

/// A verdict, in Compose's word.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Starting => "starting",
        Verdict::Healthy => "healthy",
        Verdict::Unhealthy => "unhealthy",
    }
}

/// How an object is: the worst of its conditions, with its message.
pub fn summary(status: &Status) -> (String, String) {
    let bad = |kind, wanted: bool| status.condition(kind).filter(|condition| condition.status != wanted);
    let found = bad(ConditionType::Valid, true)
        .map(|condition| ("Invalid", condition))
        .or_else(|| bad(ConditionType::Degraded, false).map(|condition| ("Degraded", condition)))
        .or_else(|| bad(ConditionType::Progressing, false).map(|condition| ("Progressing", condition)))
        .or_else(|| bad(ConditionType::Available, true).map(|condition| ("Unavailable", condition)))
        .or_else(|| {
            let stands = status.condition(ConditionType::Progressing)?;
            let word = ["Pinned", "Paused"].into_iter().find(|word| *word == stands.reason)?;
            Some((word, stands))
        });
    match found {
        Some((word, condition)) => (word.to_owned(), condition.message.clone()),
        None => ("OK".to_owned(), String::new()),
    }
}

/// What the leader says is in the way of a service at this moment, but for what is seen of document, rollout and
/// copies themselves.
pub fn hindrance(status: &Status) -> Option<String> {
    let degraded = status.condition(ConditionType::Degraded).filter(|condition| condition.status)?;
    let elsewhere = ["RolloutPaused", "RolledBack", "DeletionHeld", "CopyFailed", REFUSED];
    (!elsewhere.contains(&degraded.reason.as_str())).then(|| degraded.message.clone())
}

/// Words by which people may call a kind.
const KINDS: [(Kind, &[&str]); 4] = [
    (Kind::Service, &["service", "services", "svc"]),
    (Kind::Network, &["network", "networks", "net"]),
    (Kind::HealthCheck, &["healthcheck", "healthchecks", "check", "checks", "hc"]),
    (Kind::Host, &["host", "hosts", "node", "nodes"]),
];

/// The kind that a person means.
///
/// # Errors
/// No kind is called that.
pub fn kind(word: &str) -> Result<Kind, Failure> {
    let lower = word.to_ascii_lowercase();
    KINDS.iter().find(|(_, words)| words.contains(&lower.as_str())).map(|(kind, _)| *kind).ok_or_else(|| {
        Failure::new(format!("no kind is called {word:?}: there are service, network, healthcheck and host"))
    })
}

/// The object that a person means by `name`: `namespace/name`, or a name in `namespace`.
///
/// # Errors
/// It is no name, or needs a namespace.
pub fn object(kind: Kind, name: &str, namespace: Option<&Namespace>) -> Result<ObjectRef, Failure> {
    if !kind.namespaced() || name.contains('/') {
        return ObjectRef::from_path(kind, name).map_err(Failure::new);
    }
    let name: ObjectName = name.parse().map_err(Failure::new)?;
    let namespace = namespace.ok_or_else(|| {
        Failure::new(format!("in which namespace? write NAMESPACE/{name}, or give --namespace"))
    })?;
    ObjectRef::from_path(kind, &format!("{namespace}/{name}")).map_err(Failure::new)
}

/// An object by one word, `shop/web`, or by two, `network lan`.
///
/// # Errors
/// It is no name.
pub fn target(words: &[String], namespace: Option<&Namespace>) -> Result<ObjectRef, Failure> {
    match words {
        [name] if name.contains('/') => match name.split('/').collect::<Vec<_>>().as_slice() {
            [first, rest] if kind(first).is_ok_and(|kind| !kind.namespaced()) => {
                object(kind(first)?, rest, None)
            }
            _ => object(Kind::Service, name, None),
        },
        [word] if kind(word).is_ok() && namespace.is_none() => {
            Err(Failure::new(format!("which {word}? name one: {word} NAME")))
        }
        [name] => match (name.parse::<InstanceId>(), namespace) {
            (Ok(id), _) => Err(Failure::new(format!(
                "{id} is a copy: `evenkeel describe {}` tells of all copies of its service",
                id.service
            ))),
            (Err(_), None) => Err(Failure::new(format!(
                "which {name}? for a service write NAMESPACE/{name}, or give --namespace; for another object \
                 its kind too: host {name}"
            ))),
            (Err(_), Some(_)) => object(Kind::Service, name, namespace),
        },
        [kind_word, name] => object(kind(kind_word)?, name, namespace),
        _ => Err(Failure::new("name one object: SERVICE, NAMESPACE/SERVICE, or KIND NAME")),
    }
}

/// Several objects: of one kind where that is said first, services else.
///
/// # Errors
/// One is no name.
pub fn targets(words: &[String], namespace: Option<&Namespace>) -> Result<Vec<ObjectRef>, Failure> {
    match words {
        [first, names @ ..] if kind(first).is_ok() && !names.is_empty() => {
            names.iter().map(|name| object(kind(first)?, name, namespace)).collect()
        }
        words => words.iter().map(|word| target(std::slice::from_ref(word), namespace)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_by_the_words_people_use() {
        let shop: Namespace = "shop".parse().unwrap();
        for (words, namespace, expected) in [
            (vec!["shop/web"], None, "Service shop/web"),
            (vec!["web"], Some(&shop), "Service shop/web"),
            (vec!["net", "lan"], None, "Network lan"),
            (vec!["check", "web-http"], Some(&shop), "HealthCheck shop/web-http"),
            (vec!["host", "h1"], None, "Host h1"),
            (vec!["host/h1"], None, "Host h1"),
        ] {
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            assert_eq!(target(&words, namespace).unwrap().to_string(), expected);
        }
        for (word, hint) in [
            ("web", "NAMESPACE/web"),
            ("lan", "host lan"),
            ("host", "host NAME"),
            ("shop.web.1.n", "evenkeel describe shop/web"),
        ] {
            let said = target(&[word.to_owned()], None).unwrap_err().message;
            assert!(said.contains(hint), "{said}");
        }
    }

    #[test]
    fn several_objects_are_of_the_kind_that_is_said_or_services() {
        for (words, expected) in [
            ("shop/web", Some("Service shop/web")),
            ("shop/web shop/api data/db", Some("Service shop/web, Service shop/api, Service data/db")),
            ("networks lan wan", Some("Network lan, Network wan")),
            ("hc shop/a shop/b", Some("HealthCheck shop/a, HealthCheck shop/b")),
            ("host/h1 host/h2", Some("Host h1, Host h2")),
            ("networks", None),
            ("web api", None),
        ] {
            let given: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let found = targets(&given, None).ok();
            let found =
                found.map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
            assert_eq!(found.as_deref(), expected, "{words}");
        }
    }
}
