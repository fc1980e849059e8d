//! Prefixes to list and watch, each ending in `/`.

use super::Controller;
use crate::meta::Kind;
use crate::name::{HostName, Namespace, NetworkName, ServiceId};

/// Whether a text means many keys: all that begin with it. It ends with `/`, or is empty and means all there
/// are; any other text means the key that it is, and no key that is longer.
pub fn is_wide(prefix: &str) -> bool {
    prefix.is_empty() || prefix.ends_with('/')
}
/// Whether `prefix` means `key`, or all that `key` means.
pub fn covers(prefix: &str, key: &str) -> bool {
    if is_wide(prefix) { key.starts_with(prefix) } else { key == prefix }
}
/// The documents of a kind.
pub fn documents(kind: Kind) -> String {
    format!("{}/", kind.plural())
}
/// The accepted documents of a kind.
pub fn accepted(kind: Kind) -> String {
    format!("accepted/{}/", kind.plural())
}
/// The status of all objects of a kind.
pub fn status(kind: Kind) -> String {
    format!("status/{}/", kind.plural())
}
/// The templates of all services, with their digests.
pub fn revisions() -> String {
    "revisions/services/".to_owned()
}
/// The templates of one service, with their digests.
pub fn revisions_of(service: &ServiceId) -> String {
    format!("revisions/services/{service}/")
}
/// What is remembered of all services.
pub fn rollouts() -> String {
    "rollouts/".to_owned()
}
/// What people say about rollouts.
pub fn pins() -> String {
    "pins/".to_owned()
}
/// What all hosts must run.
pub fn instances() -> String {
    "instances/".to_owned()
}
/// What one host must run.
pub fn instances_on(host: &HostName) -> String {
    format!("instances/{host}/")
}
/// Who serves, of all services.
pub fn endpoints() -> String {
    "endpoints/".to_owned()
}
/// Who serves, of one service.
pub fn endpoints_of(service: &ServiceId) -> String {
    format!("endpoints/{service}/")
}
/// All hosts' parts of all networks.
pub fn subnets() -> String {
    "subnets/".to_owned()
}
/// All hosts' parts of one network.
pub fn subnets_of(network: &NetworkName) -> String {
    format!("subnets/{network}/")
}
/// All hosts that are alive.
pub fn alive() -> String {
    "alive/".to_owned()
}
/// What all machines are.
pub fn facts() -> String {
    "facts/".to_owned()
}
/// What became of all instances.
pub fn observed() -> String {
    "observed/".to_owned()
}
/// What became of one host's instances.
pub fn observed_on(host: &HostName) -> String {
    format!("observed/{host}/")
}
/// All verdicts.
pub fn health() -> String {
    "health/".to_owned()
}
/// The verdicts on one host's instances.
pub fn health_on(host: &HostName) -> String {
    format!("health/{host}/")
}
/// What hosts' network and DNS controllers tell.
pub fn reports() -> String {
    "reports/".to_owned()
}
/// What a controller remembers of a store that it does not believe.
pub fn recall_of(host: &HostName, controller: Controller) -> String {
    format!("reports/{host}/memory/{controller}/")
}
/// What became of all networks on one host.
pub fn network_reports_of(host: &HostName) -> String {
    format!("reports/{host}/network/")
}
/// What happened.
pub fn events() -> String {
    "events/".to_owned()
}
/// What one writer says that happened.
pub fn events_of(host: &HostName, controller: Controller) -> String {
    format!("events/{host}.{controller}/")
}
/// All chain guards.
pub fn writers() -> String {
    "writers/".to_owned()
}
/// Who leads.
pub fn leaders() -> String {
    "leaders/".to_owned()
}
/// What people ask of copies that needs the right to change their namespace.
pub fn sessions() -> String {
    "sessions/".to_owned()
}
/// The same of one namespace.
pub fn sessions_in(namespace: &Namespace) -> String {
    format!("sessions/{namespace}/")
}
/// What people ask to see of copies.
pub fn views() -> String {
    "views/".to_owned()
}
