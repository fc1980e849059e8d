//! What is wrong and why. Most of it stands in the objects' status, which the leading controllers write; what
//! they cannot say, since they are away or have not looked yet, is read from the records themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_api::key::{Controller, Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::HostName;
use evenkeel_api::record::{
    BrakeState, Condition, ConditionType, Distrust, Phase, Rollout, Status, Timestamp,
};
use evenkeel_api::text::tame;
use evenkeel_runtime::store::{Kv, Store, StoreError, TxnBuilder};
use serde::Serialize;

use crate::failure::Failure;
use crate::snapshot::{self, Hosts};

/// Of a key that is none of ours, so much is shown: anybody may have put it, and a line is to fit a terminal.
const KEY: usize = 60;

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Since when; 0: nobody knows.
    pub since: Timestamp,
    /// What is wrong.
    pub what: String,
    /// Why, and what to do.
    pub why: String,
}

/// What every status says.
pub type Objects = BTreeMap<ObjectRef, Status>;

/// All of it, newest first; `made_here`: the cluster was made from here by `evenkeel init`.
///
/// # Errors
/// The store does not answer.
pub async fn all(
    store: &Arc<dyn Store>,
    hosts: &Hosts,
    documents: &[Kv],
    objects: &Objects,
    made_here: bool,
) -> Result<Vec<Trouble>, Failure> {
    let mut trouble: Vec<Trouble> =
        objects.iter().flat_map(|(object, status)| of_object(object, status)).collect();
    let brakes = snapshot::get::<BrakeState>(store, &Key::Brakes).await?.map(|found| found.value);
    trouble.extend(brakes.iter().flat_map(of_brakes));
    trouble.extend(distrust(store).await?);
    let halted = halted(store).await?;
    // What documents there are, and that nobody looks at them, says nothing then.
    if halted.is_none() {
        trouble.extend(of_hosts(hosts, documents, objects));
        trouble.extend(documents.iter().filter_map(|kv| of_document(&kv.key, kv.mod_revision, objects)));
    }
    trouble.extend(halted);
    trouble.extend(no_writes(store, made_here).await);
    trouble.extend(paused(store, objects).await?);
    let leaders = store.list(&prefix::leaders()).await?;
    trouble.extend(of_leaders(leaders.kvs.iter().filter_map(|kv| kv.key.parse().ok())));
    trouble.sort_by_key(|trouble| std::cmp::Reverse(trouble.since));
    Ok(trouble)
}

/// Something that is wrong since nobody knows when.
fn now(what: String, why: impl Into<String>) -> Trouble {
    Trouble { since: Timestamp(0), what, why: why.into() }
}

/// The conditions of an object that a person should know of.
fn of_object(object: &ObjectRef, status: &Status) -> Vec<Trouble> {
    let bad = |condition: &&Condition| match condition.kind {
        ConditionType::Valid | ConditionType::Available => !condition.status,
        ConditionType::Degraded => condition.status,
        ConditionType::Progressing => false,
    };
    let word = |condition: &Condition| match condition.kind {
        ConditionType::Valid => "invalid document",
        ConditionType::Available if status.copies.is_some_and(|copies| copies.ready > 0) => "too few copies",
        ConditionType::Available => "not available",
        ConditionType::Degraded | ConditionType::Progressing => "degraded",
    };
    status
        .conditions
        .iter()
        .filter(bad)
        .map(|condition| Trouble {
            since: condition.since,
            what: format!("{object}: {}", word(condition)),
            why: condition.message.clone(),
        })
        .collect()
}

fn of_brakes(brakes: &BrakeState) -> Vec<Trouble> {
    let mut trouble = Vec::new();
    if !brakes.held.is_empty() {
        let hosts: Vec<&str> = brakes.held.keys().map(HostName::as_str).collect();
        let are = if hosts.len() == 1 { "is gone, its" } else { "are gone at once, their" };
        trouble.push(Trouble {
            since: brakes.since,
            what: format!("brake: {} {are} copies are not replaced", hosts.join(", ")),
            why: "it ends when they are back; or say `evenkeel host confirm-dead HOST` of each that is dead, or \
                  `evenkeel brake release` of all"
                .to_owned(),
        });
    }
    if !brakes.deletions.is_empty() {
        let objects: Vec<String> = brakes.deletions.iter().map(ToString::to_string).collect();
        trouble.push(Trouble {
            since: brakes.since,
            what: format!("brake: {} documents vanished at once, what they brought is kept", objects.len()),
            why: format!(
                "{}: put them back, or confirm with `evenkeel brake release --deletions`",
                objects.join(", ")
            ),
        });
    }
    trouble
}

/// Controllers that do not believe the store any more: a line a host, for they mostly find out together.
///
/// # Errors
/// The store does not answer.
pub async fn distrust(store: &Arc<dyn Store>) -> Result<Vec<Trouble>, Failure> {
    let listing = store.list(&prefix::reports()).await?;
    let mut hosts: BTreeMap<HostName, Vec<(Controller, Distrust)>> = BTreeMap::new();
    for kv in listing.kvs {
        if let (Ok(Key::Distrust(host, controller)), Ok(distrust)) =
            (kv.key.parse(), serde_json::from_slice(&kv.value))
        {
            hosts.entry(host).or_default().push((controller, distrust));
        }
    }
    Ok(hosts.iter().filter_map(|(host, said)| of_distrust(host, said)).collect())
}

fn of_distrust(host: &HostName, said: &[(Controller, Distrust)]) -> Option<Trouble> {
    let (_, first) = said.iter().min_by_key(|(_, distrust)| distrust.since)?;
    let controllers: Vec<&str> = said.iter().map(|(controller, _)| controller.as_str()).collect();
    let do_not = match said {
        [_] => "controller does not trust etcd and stops",
        _ => "controllers do not trust etcd and stop",
    };
    Some(Trouble {
        since: first.since,
        what: format!("{host}: {} {do_not} nothing", controllers.join(", ")),
        why: format!("{}; `evenkeel recover` shows the difference and both ways out", first.why),
    })
}

/// Whether the store went back, and what it has lost.
async fn halted(store: &Arc<dyn Store>) -> Result<Option<Trouble>, Failure> {
    Ok(super::recover::summary(store).await?.map(|(halt, lost)| Trouble {
        since: halt.since,
        what: "etcd went back to the past: nothing is decided, and nothing is stopped".to_owned(),
        why: format!("{}; {lost}; `evenkeel recover` shows the difference and both ways out", halt.why),
    }))
}

/// Whether the store takes no writes. Reads do not tell: so a write is asked for whose demand never holds,
/// which a store that is full refuses before it looks at the demand.
async fn no_writes(store: &Arc<dyn Store>, made_here: bool) -> Option<Trouble> {
    let never = TxnBuilder::new().if_unchanged(&Key::Cluster, i64::MAX).put(&Key::Confirmed, "");
    match store.commit(&never.build().ok()?).await {
        Ok(_) => None,
        Err(StoreError::Full) => {
            let revision = store.get(&Key::Cluster).await.map_or(0, |(_, header)| header.revision);
            Some(now(
                "etcd is full (NOSPACE) and takes no writes: nothing new is decided, what runs goes on"
                    .to_owned(),
                room(made_here, revision),
            ))
        }
        // Who may only read is refused too.
        Err(StoreError::Refused(why)) if why.contains("permission denied") => None,
        Err(error) => Some(now("etcd takes no writes: nothing new is decided".to_owned(), error.to_string())),
    }
}

/// What gives an etcd room that is full.
fn room(made_here: bool, revision: i64) -> String {
    if made_here {
        return "`evenkeel etcd defrag` gives it room, and takes writes again".to_owned();
    }
    format!(
        "with all members in ETCDCTL_ENDPOINTS: `etcdctl compact {revision}`, then `etcdctl defrag`, then `etcdctl \
         alarm disarm`; let etcd compact by itself, and it does not fill up (of a cluster of `evenkeel init`, \
         `evenkeel etcd defrag` where it was made does all of that)"
    )
}

/// Rollouts that paused a moment ago, of which the status does not tell yet.
async fn paused(store: &Arc<dyn Store>, objects: &Objects) -> Result<Vec<Trouble>, Failure> {
    let rollouts = snapshot::list::<Rollout>(store, &prefix::rollouts()).await?;
    let told = |object: &ObjectRef| {
        let degraded = objects.get(object).and_then(|status| status.condition(ConditionType::Degraded));
        degraded.is_some_and(|condition| condition.status)
    };
    Ok(rollouts
        .into_iter()
        .filter_map(|(key, found)| match (key, found.value.phase) {
            (Key::Rollout(id), Phase::Paused { why }) => {
                let object = ObjectRef::Service(id);
                (!told(&object))
                    .then(|| now(format!("{object}: degraded"), format!("the rollout is paused: {why}")))
            }
            _ => None,
        })
        .collect())
}

/// Controllers of which one must lead and none does.
fn of_leaders(leaders: impl Iterator<Item = Key>) -> Option<Trouble> {
    let lead: Vec<Key> = leaders.collect();
    let missing: Vec<&str> = [Controller::Network, Controller::Service, Controller::Healthcheck]
        .into_iter()
        .filter(|controller| !lead.contains(&Key::Leader(*controller)))
        .map(Controller::as_str)
        .collect();
    (!missing.is_empty()).then(|| {
        now(
            format!("no {} controller leads: nothing is decided", missing.join(", no ")),
            "what runs goes on, and what is said below may be old; see with `evenkeel-host status` on the \
             hosts that may lead whether evenkeel runs there",
        )
    })
}

/// Hosts that are not what their status says, or have no document.
fn of_hosts(hosts: &Hosts, documents: &[Kv], objects: &Objects) -> Vec<Trouble> {
    let said_gone = |host: &HostName| {
        let status = objects.get(&ObjectRef::Host(host.clone()));
        let available = status.and_then(|status| status.condition(ConditionType::Available));
        available.is_some_and(|condition| !condition.status)
    };
    let gone = hosts.accepted.keys().filter(|host| !hosts.alive.contains_key(*host) && !said_gone(host));
    let gone = gone.map(|host| {
        now(
            format!("Host {host}: not available"),
            "the host does not renew its lease, and no controller has said so yet",
        )
    });
    let unwanted = hosts.alive.keys().filter(|host| {
        let key = Key::Document(ObjectRef::Host((*host).clone())).to_string();
        !hosts.accepted.contains_key(*host) && documents.iter().all(|kv| kv.key != key)
    });
    let unwanted = unwanted.map(|host| {
        now(
            format!("Host {host}: no document"),
            "evenkeel runs there, and nobody wants the host: its document was deleted; apply one to take it in, \
             or end evenkeel there with `evenkeel-host stop`",
        )
    });
    gone.chain(unwanted).collect()
}

/// A document that no controller has looked at, or a key where none belongs.
fn of_document(key: &str, revision: i64, objects: &Objects) -> Option<Trouble> {
    let Ok(Key::Document(object)) = key.parse() else {
        let kind = Kind::ALL.into_iter().find(|kind| key.starts_with(&prefix::documents(*kind)))?;
        let name = if kind.namespaced() { "NAMESPACE/NAME" } else { "NAME" };
        let why = format!("a {kind}'s key is {}{name}, of DNS labels", prefix::documents(kind));
        return Some(now(format!("key {}: nobody reads it", tame(key, KEY)), why));
    };
    let observed = objects.get(&object).map_or(0, |status| status.observed_revision);
    (observed < revision).then(|| {
        now(format!("{object}: new document"), format!("no controller has looked at revision {revision} yet"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(observed_revision: i64) -> Status {
        Status { observed_revision, ..Status::default() }
    }

    #[test]
    fn a_document_that_nobody_looks_at_is_told_of() {
        let web: ObjectRef = ObjectRef::from_path(Kind::Service, "shop/web").unwrap();
        let objects = Objects::from([(web, status(7))]);
        assert_eq!(of_document("services/shop/web", 7, &objects), None);
        for (key, revision, said) in [
            (
                "services/shop/web",
                8,
                "Service shop/web: new document: no controller has looked at revision 8 yet",
            ),
            (
                "services/shop/new",
                3,
                "Service shop/new: new document: no controller has looked at revision 3 yet",
            ),
            (
                "services/shop",
                3,
                "key services/shop: nobody reads it: a Service's key is services/NAMESPACE/NAME, of DNS labels",
            ),
            (
                "networks/a/b",
                3,
                "key networks/a/b: nobody reads it: a Network's key is networks/NAME, of DNS labels",
            ),
            (
                &format!("hosts/\u{1b}[2J{}", "x".repeat(9000)),
                3,
                &format!(
                    "key hosts/?[2J{}…: nobody reads it: a Host's key is hosts/NAME, of DNS labels",
                    "x".repeat(50)
                ),
            ),
        ] {
            let found = of_document(key, revision, &objects).unwrap();
            assert_eq!(format!("{}: {}", found.what, found.why), said);
        }
    }

    #[test]
    fn distrust_is_a_line_a_host() {
        let said = |controller, since| {
            (controller, Distrust { since: Timestamp(since), why: format!("revision {since} was there") })
        };
        let two = [said(Controller::Dns, 9), said(Controller::Network, 7)];
        let found = of_distrust(&"h1".parse().unwrap(), &two).unwrap();
        assert_eq!(found.since, Timestamp(7));
        assert_eq!(found.what, "h1: dns, network controllers do not trust etcd and stop nothing");
        assert!(found.why.starts_with("revision 7 was there; `evenkeel recover`"), "{}", found.why);
    }

    #[test]
    fn a_full_store_is_told_of_without_a_write() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let memory = evenkeel_etcd::MemoryStore::new(1);
            let store: Arc<dyn Store> = Arc::new(memory.clone());
            assert_eq!(no_writes(&store, false).await, None);
            memory.set_full(true);
            let said = no_writes(&store, true).await.unwrap();
            assert!(said.why.contains("evenkeel etcd defrag"), "{}", said.why);
            assert!(!said.why.contains("etcdctl"), "{}", said.why);
            let said = no_writes(&store, false).await.unwrap();
            assert!(said.what.starts_with("etcd is full (NOSPACE)"), "{}", said.what);
            assert!(said.why.contains(&format!("etcdctl compact {}", memory.revision())), "{}", said.why);
            memory.set_full(false);
            let before = memory.revision();
            assert_eq!(no_writes(&store, false).await, None);
            assert_eq!(memory.revision(), before);
        });
    }

    #[test]
    fn who_does_not_lead_is_named() {
        let all = [Controller::Network, Controller::Service, Controller::Healthcheck].map(Key::Leader);
        assert_eq!(of_leaders(all.iter().cloned()), None);
        let said = of_leaders(all.into_iter().take(1)).unwrap().what;
        assert_eq!(said, "no service, no healthcheck controller leads: nothing is decided");
    }

    #[test]
    fn hosts_that_went_are_told_of_though_nobody_wrote_it_down() {
        let h1: HostName = "h1".parse().unwrap();
        let accepted: evenkeel_api::record::Accepted<evenkeel_api::host::HostSpec> = serde_json::from_value(
            serde_json::json!({"source_revision": 1, "create_revision": 1, "metadata": {"name": "h1"}, "spec": {"address": "10.0.0.11"}}),
        )
        .unwrap();
        let hosts = Hosts { accepted: BTreeMap::from([(h1.clone(), accepted)]), ..Hosts::default() };
        let found = of_hosts(&hosts, &[], &Objects::new());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "Host h1: not available");

        let gone = serde_json::json!({"type": "Available", "status": false, "reason": "Gone", "since": 5});
        let status = Status { conditions: vec![serde_json::from_value(gone).unwrap()], ..status(1) };
        assert_eq!(of_hosts(&hosts, &[], &Objects::from([(ObjectRef::Host(h1), status)])), []);
    }
}
