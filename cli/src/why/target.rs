//! What a person means by the words that they give.

use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{HostName, InstanceId, Namespace, ServiceId, Slot};
use evenkeel_api::text::near;

use super::{Scene, name};
use crate::failure::Failure;
use crate::words;

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A service.
    Service(ServiceId),
    /// What is in one of its slots.
    Slot(ServiceId, Slot),
    /// One copy.
    Copy(InstanceId),
    /// A name, as containers ask for it.
    Name(String),
    /// A host.
    Host(HostName),
}

impl Target {
    /// The one that `given` means in `scene`.
    ///
    /// # Errors
    /// There is nothing of that name, or it is not said which; with what was probably meant.
    pub fn find(scene: &Scene, given: &[String], namespace: Option<&Namespace>) -> Result<Self, Failure> {
        let word = match given {
            [word] => word.trim_end_matches('.'),
            [kind, name] => return Self::of_kind(scene, kind, name, namespace),
            _ => return Err(Failure::new(SHAPES)),
        };
        match word.split('/').collect::<Vec<_>>().as_slice() {
            [kind, name] if words::kind(kind).is_ok_and(|kind| kind == Kind::Host) => host(scene, name),
            [_, _] => service(scene, word).map(Target::Service),
            [namespace, name, slot] => {
                let id = service(scene, &format!("{namespace}/{name}"))?;
                let slot = slot.parse().map_err(|error| Failure::new(format!("{error}; {SHAPES}")))?;
                Ok(Target::Slot(id, slot))
            }
            [word] if word.contains('.') => dotted(scene, word),
            [word] => bare(scene, word, namespace),
            _ => Err(Failure::new(SHAPES)),
        }
    }

    fn of_kind(
        scene: &Scene,
        kind: &str,
        name: &str,
        namespace: Option<&Namespace>,
    ) -> Result<Self, Failure> {
        if ["copy", "copies", "instance"].contains(&kind) {
            return dotted(scene, name);
        }
        if kind == "name" {
            return Ok(Target::Name(name.trim_end_matches('.').to_owned()));
        }
        match words::object(words::kind(kind)?, name, namespace)? {
            ObjectRef::Host(_) => host(scene, name),
            ObjectRef::Service(id) => service(scene, &id.to_string()).map(Target::Service),
            other => Err(Failure::new(format!(
                "explain tells of services, copies, names and hosts; of {other} tells `evenkeel describe {kind} {name}`"
            ))),
        }
    }
}

const SHAPES: &str = "name one thing: NAMESPACE/SERVICE, NAMESPACE/SERVICE/SLOT, a copy as `evenkeel get copies` shows it, \
                      a name like web.shop.internal, or a host";

/// A copy or a name.
fn dotted(scene: &Scene, word: &str) -> Result<Target, Failure> {
    match name::copy(scene, word) {
        Some(copy) => {
            service(scene, &copy.service.to_string())?;
            Ok(Target::Copy(copy))
        }
        None => Ok(Target::Name(word.to_ascii_lowercase())),
    }
}

fn service(scene: &Scene, word: &str) -> Result<ServiceId, Failure> {
    let id: ServiceId = word.parse().map_err(Failure::new)?;
    if scene.service(&id).is_some() {
        return Ok(id);
    }
    let known: Vec<String> = scene.services().map(ToString::to_string).collect();
    let meant = near(word, known.iter().map(String::as_str));
    // Right but for the namespace.
    let elsewhere = || scene.services().find(|other| other.name == id.name).map(ToString::to_string);
    Err(unknown(&format!("Service {id}"), meant.or_else(elsewhere), "evenkeel get services"))
}

fn host(scene: &Scene, word: &str) -> Result<Target, Failure> {
    let name: HostName = word.parse().map_err(Failure::new)?;
    if scene.world.hosts.contains_key(&name) {
        return Ok(Target::Host(name));
    }
    let meant = near(word, scene.world.hosts.keys().map(HostName::as_str));
    Err(unknown(&format!("Host {name}"), meant, "evenkeel get hosts"))
}

/// One word: a host, or a service of the namespace that is given, or of the only one that has it.
fn bare(scene: &Scene, word: &str, namespace: Option<&Namespace>) -> Result<Target, Failure> {
    if let Some(namespace) = namespace {
        return service(scene, &format!("{namespace}/{word}")).map(Target::Service);
    }
    if scene.world.hosts.keys().any(|host| host.as_str() == word) {
        return host(scene, word);
    }
    let found: Vec<&ServiceId> = scene.services().filter(|id| id.name.as_str() == word).collect();
    match found.as_slice() {
        [one] => Ok(Target::Service((*one).clone())),
        [] => {
            let names = scene.services().map(|id| id.name.as_str());
            let meant = near(word, names.chain(scene.world.hosts.keys().map(HostName::as_str)));
            Err(unknown(&format!("service or host {word}"), meant, "evenkeel status"))
        }
        several => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(Failure::new(format!("which {word}? there are {}", several.join(", "))))
        }
    }
}

fn unknown(what: &str, meant: Option<String>, list: &str) -> Failure {
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    Failure::new(format!("there is no {what}{meant}\n  `{list}` lists those that there are"))
}
