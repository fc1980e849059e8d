//! A plan that is kept: the documents, and what it was made from, so that it is carried out in that world or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, ServiceId};
use evenkeel_api::text::{Origin, parse_document};
use evenkeel_plan::service::World;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::{MAX_OPERATIONS, Store, TxnBuilder};
use serde::{Deserialize, Serialize};

use crate::cluster;
use crate::documents::FromFile;
use crate::failure::Failure;
use crate::steps::{Effect, Step};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// The documents, in their order.
    documents: Vec<Planned>,
    /// What must still stand at its revision; 0: what must not be there.
    holds: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Planned {
    object: ObjectRef,
    file: String,
    text: String,
    changes: bool,
}

impl PlanFile {
    /// Of what was read to plan `steps`, which do something to the services `touched` and lead to the world `after`.
    ///
    /// # Errors
    /// It rests on more than one transaction of the store can compare.
    pub fn new(
        mirror: &Mirror,
        steps: &[Step],
        after: &World,
        touched: &BTreeSet<ServiceId>,
    ) -> Result<Self, Failure> {
        let at = |key: &Key| mirror.get(key).map_or(0, |kv| kv.mod_revision);
        let keys = rests_on(after, touched);
        let mut holds: BTreeMap<String, i64> = keys.iter().map(|key| (key.to_string(), at(key))).collect();
        for step in steps {
            holds.insert(Key::Document(step.found.document.object.clone()).to_string(), step.revision);
        }
        if holds.len() > MAX_OPERATIONS {
            return Err(Failure::new(format!(
                "this plan rests on {} records, and {MAX_OPERATIONS} at most can be compared when it is carried out: plan \
                 fewer documents at once",
                holds.len()
            )));
        }
        let documents = steps.iter().map(|step| Planned {
            object: step.found.document.object.clone(),
            file: step.found.file.clone(),
            text: step.found.document.source.clone(),
            changes: step.effect != Effect::Unchanged,
        });
        Ok(Self { documents: documents.collect(), holds })
    }

    /// Keeps it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(Failure::new)?;
        // A pipe or a device is no file that could be replaced.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            return fs::write(path, text)
                .map_err(|error| Failure::new(format!("{}: {error}", path.display())));
        }
        // Variables are filled in by now, passwords among them.
        cluster::replace(path, 0o600, &text)
    }

    /// The one that was kept.
    ///
    /// # Errors
    /// There is none, or it is none.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let told = |error: &dyn std::fmt::Display| {
            Failure::new(format!("{}: {error}; `evenkeel plan --out` makes a plan", path.display()))
        };
        let text = fs::read(path).map_err(|error| told(&error))?;
        serde_json::from_slice(&text).map_err(|error| told(&error))
    }

    /// What it does, a step a document.
    ///
    /// # Errors
    /// Somebody changed a document in it to one that is not valid.
    pub fn steps(&self) -> Result<Vec<Step>, Failure> {
        let step = |planned: &Planned| {
            let origin = Origin::Key(planned.object.clone());
            let document = parse_document(&planned.text, &origin).map_err(Failure::new)?;
            let revision =
                self.holds.get(&Key::Document(planned.object.clone()).to_string()).copied().unwrap_or(0);
            let effect = match (planned.changes, revision) {
                (false, _) => Effect::Unchanged,
                (true, 0) => Effect::Created,
                (true, _) => Effect::Changed,
            };
            Ok(Step { found: FromFile { file: planned.file.clone(), document }, effect, revision })
        };
        self.documents.iter().map(step).collect()
    }

    /// Demands of a transaction that what it rests on still stands.
    ///
    /// # Errors
    /// Somebody wrote a key into it that is none.
    pub fn demand(&self, mut txn: TxnBuilder) -> Result<TxnBuilder, Failure> {
        for (key, revision) in self.keys()? {
            txn = txn.if_unchanged(&key, revision);
        }
        Ok(txn)
    }

    fn keys(&self) -> Result<Vec<(Key, i64)>, Failure> {
        let key = |text: &str| text.parse().map_err(|error| Failure::new(format!("the plan: {error}")));
        self.holds.iter().map(|(text, revision)| Ok((key(text)?, *revision))).collect()
    }

    /// What of it is not so any more.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn broken(&self, store: &Arc<dyn Store>) -> Result<Vec<Key>, Failure> {
        let mut broken = Vec::new();
        for (key, revision) in self.keys()? {
            if store.get(&key).await?.0.map_or(0, |kv| kv.mod_revision) != revision {
                broken.push(key);
            }
        }
        Ok(broken)
    }
}

/// The records that decide where the copies of some services go: the hosts, those services, and whatever else is on
/// the hosts that they come to.
fn rests_on(after: &World, touched: &BTreeSet<ServiceId>) -> BTreeSet<Key> {
    let mut keys = BTreeSet::from([Key::Cluster]);
    for host in after.hosts.keys() {
        keys.extend([Key::Accepted(ObjectRef::Host(host.clone())), Key::Alive(host.clone())]);
    }
    let on = |id: &ServiceId| -> BTreeSet<HostName> {
        let copies = after.services.get(id).into_iter().flat_map(|service| service.copies.values());
        copies.filter(|copy| copy.record.is_some()).map(|copy| copy.host.clone()).collect()
    };
    let hosts: BTreeSet<HostName> = touched.iter().flat_map(on).collect();
    keys.extend(touched.iter().cloned().map(Key::Rollout));
    let beside = after.services.keys().filter(|id| !on(id).is_disjoint(&hosts));
    keys.extend(touched.iter().chain(beside).cloned().map(|id| Key::Accepted(ObjectRef::Service(id))));
    keys
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use evenkeel_api::name::TemplateRef;
    use evenkeel_api::record::{Desired, Instance};
    use evenkeel_etcd::MemoryStore;
    use evenkeel_manager::service;
    use evenkeel_plan::service::{At, Copy};

    use super::*;
    use crate::steps::steps;

    const TEXT: &str =
        "apiVersion: evenkeel/v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {image: a}\n";

    async fn put(store: &Arc<dyn Store>, key: &str, value: &str) {
        let txn = TxnBuilder::new().put(&key.parse().unwrap(), value.to_owned()).build().unwrap();
        assert!(store.commit(&txn).await.unwrap().succeeded);
    }

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    /// A plan for one service, on a cluster of two hosts, as it is read back from its file.
    async fn planned(store: &Arc<dyn Store>) -> PlanFile {
        for at in ["alive/h1", "alive/h2", "accepted/hosts/h1", "accepted/hosts/h2", "cluster"] {
            put(store, at, "{}").await;
        }
        let mirror = Mirror::start(store.clone(), service::prefixes());
        mirror.synced().await;
        let document = parse_document(TEXT, &Origin::file("web.yaml")).unwrap();
        let steps = steps(store, vec![FromFile { file: "web.yaml".to_owned(), document }]).await.unwrap();
        let mut world = World::default();
        for host in ["h1", "h2"] {
            world.hosts.entry(host.parse().unwrap()).or_default();
        }
        let plan = PlanFile::new(&mirror, &steps, &world, &["shop/web".parse().unwrap()].into()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        plan.write(file.path()).unwrap();
        let read = PlanFile::read(file.path()).unwrap();
        assert_eq!(read, plan);
        read
    }

    #[tokio::test]
    async fn a_plan_is_carried_out_in_the_world_that_it_was_made_from_and_in_no_other() {
        for change in ["", "alive/h2", "accepted/hosts/h1", "rollouts/shop/web", "services/shop/web"] {
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
            let plan = planned(&store).await;
            if !change.is_empty() {
                put(&store, change, "{ }").await;
            }
            let steps = plan.steps().unwrap();
            assert_eq!((steps.len(), &steps[0].effect, steps[0].revision), (1, &Effect::Created, 0));
            let web = key("services/shop/web");
            let txn = TxnBuilder::new().put(&web, steps[0].found.document.source.clone());
            let done = store.commit(&plan.demand(txn).unwrap().build().unwrap()).await.unwrap().succeeded;
            assert_eq!(done, change.is_empty(), "{change}");
            if !done {
                assert_eq!(plan.broken(&store).await.unwrap(), [key(change)]);
            }
        }
    }

    #[test]
    fn nobody_else_reads_it_and_a_pipe_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let plan = PlanFile { documents: Vec::new(), holds: BTreeMap::new() };
        let kept = folder.path().join("plan");
        fs::write(&kept, "of before").unwrap();
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o644)).unwrap();
        plan.write(&kept).unwrap();
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(PlanFile::read(&kept).unwrap(), plan);
        let (link, target) = (folder.path().join("stdout"), folder.path().join("target"));
        fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        plan.write(&link).unwrap();
        assert_eq!(PlanFile::read(&target).unwrap(), plan);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "something is left over");
    }

    #[test]
    fn it_rests_on_hosts_on_what_it_touches_and_on_what_is_beside_that() {
        let mut world = World::default();
        for host in ["h1", "h2"] {
            world.hosts.entry(host.parse().unwrap()).or_default();
        }
        for (service, host) in [("shop/web", "h1"), ("shop/near", "h1"), ("shop/far", "h2")] {
            let service: ServiceId = service.parse().unwrap();
            let id = format!("{}.1.2", service.to_string().replace('/', ".")).parse().unwrap();
            let value = Instance {
                template: TemplateRef { service: service.clone(), revision: 1 },
                slot: "1".parse().unwrap(),
                desired: Desired::Run,
                cause: String::new(),
                fence: None,
                restart: None,
            };
            let record = Some(At { value, mod_revision: 1, create_revision: 1 });
            let copy = Copy { host: host.parse().unwrap(), record, observed: None, health: None };
            world.services.entry(service).or_default().copies.insert(id, copy);
        }
        let keys = rests_on(&world, &["shop/web".parse().unwrap()].into());
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        for expected in ["alive/h2", "accepted/hosts/h2", "rollouts/shop/web", "accepted/services/shop/near"]
        {
            assert!(keys.iter().any(|key| key == expected), "{expected}: {keys:?}");
        }
        assert!(!keys.iter().any(|key| key.contains("far")), "{keys:?}");
    }
}
