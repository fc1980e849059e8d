//! `evenkeel delete`: documents, in one guarded transaction.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{CheckId, Namespace, ServiceId};
use evenkeel_api::record::Confirmed;
use evenkeel_api::text::{DocumentSpec, Origin, parse_document_bytes};
use evenkeel_runtime::store::{Store, TxnBuilder};

use crate::failure::Failure;
use crate::output::say;
use crate::{documents, words};

/// What to delete.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel delete shop/web                   its copies stop, and its names lead nowhere
  evenkeel delete healthcheck shop/web-http
  evenkeel delete -f shop/ --ignore-missing  all that the documents of a folder name")]
pub struct Delete {
    /// SERVICE or NAMESPACE/SERVICE, one or several; or KIND NAME…
    #[arg(num_args = 0.., required_unless_present = "files")]
    object: Vec<String>,
    /// The objects of these files or folders (- is standard input)
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-", conflicts_with = "object")]
    files: Vec<PathBuf>,
    /// The namespace of the object, and of documents that name none
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// Do not fail where an object is already gone
    #[arg(long)]
    ignore_missing: bool,
    /// Yes, delete half of all services or more
    #[arg(long)]
    yes: bool,
}

/// From how many services on a deletion of half of all needs to be meant.
const MANY: usize = 3;

impl Delete {
    /// Deletes them.
    ///
    /// # Errors
    /// An object is not there, the deletion is large and not confirmed, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>) -> Result<(), Failure> {
        let objects = self.objects()?;
        let mut txn = TxnBuilder::new();
        let mut gone = Vec::new();
        for object in objects {
            let key = Key::Document(object.clone());
            match store.get(&key).await?.0 {
                Some(kv) => {
                    txn = txn.if_unchanged(&key, kv.mod_revision).delete(&key);
                    // A namesake of later is not held by what was said of this one.
                    if let ObjectRef::Service(id) = &object
                        && let Some(pin) = store.get(&Key::Pin(id.clone())).await?.0
                    {
                        let key = Key::Pin(id.clone());
                        txn = txn.if_unchanged(&key, pin.mod_revision).delete(&key);
                    }
                    gone.push(object);
                }
                None if self.ignore_missing => say!("{object} is not there"),
                None => return Err(Failure::new(format!("there is no {object}; nothing was deleted"))),
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let services = gone.iter().filter(|object| object.kind() == Kind::Service).count();
        let all = store.list(&prefix::documents(Kind::Service)).await?.kvs.len();
        if services >= MANY && services * 2 >= all {
            if !self.yes {
                return Err(Failure::new(format!(
                    "this deletes {services} of {all} services; if that is meant, say it again with --yes"
                )));
            }
            txn = txn.put(&Key::Confirmed, serde_json::to_vec(&confirmed(&gone)).map_err(Failure::new)?);
        }
        if !store.commit(&txn.build()?).await?.succeeded {
            return Err(Failure::new(
                "somebody changed a document meanwhile; nothing was deleted, try again",
            ));
        }
        for object in &gone {
            say!("{object} deleted");
        }
        for check in orphans(store, &gone).await? {
            say!(
                "note: HealthCheck {check} asked it, and stays: `evenkeel delete healthcheck {check}` takes that away too"
            );
        }
        Ok(())
    }

    fn objects(&self) -> Result<Vec<ObjectRef>, Failure> {
        if self.files.is_empty() {
            return words::targets(&self.object, self.namespace.as_ref());
        }
        let set = documents::read(&self.files, self.namespace.as_ref())?;
        // What others stand on goes last.
        Ok(set.into_iter().rev().map(|found| found.document.object).collect())
    }
}

/// The checks that are left of services that are gone.
async fn orphans(store: &Arc<dyn Store>, gone: &[ObjectRef]) -> Result<Vec<CheckId>, Failure> {
    let mut orphans = Vec::new();
    for kv in store.list(&prefix::documents(Kind::HealthCheck)).await?.kvs {
        let Ok(Key::Document(object)) = kv.key.parse() else { continue };
        // One that is not valid asks nobody.
        let Ok(document) = parse_document_bytes(&kv.value, &Origin::Key(object.clone())) else { continue };
        if let (ObjectRef::HealthCheck(id), DocumentSpec::HealthCheck(spec)) = (object, &document.spec) {
            let target = ServiceId { namespace: id.namespace.clone(), name: spec.target.service.clone() };
            if gone.contains(&ObjectRef::Service(target)) {
                orphans.push(id);
            }
        }
    }
    Ok(orphans)
}

/// That a person meant it.
pub fn confirmed(objects: &[ObjectRef]) -> Confirmed {
    let by = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
    let what: Vec<String> = objects.iter().take(20).map(ToString::to_string).collect();
    Confirmed {
        by,
        what: format!("{} objects: {}", objects.len(), what.join(", ")),
        objects: objects.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_etcd::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn checks_of_a_service_that_goes_are_named() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
        for (key, target) in [("shop/web-http", "web"), ("shop/api-http", "api"), ("data/web-http", "web")] {
            let text = format!(
                "apiVersion: evenkeel/v1\nkind: HealthCheck\nspec: {{target: {{service: {target}}}, type: tcp, port: 80}}\n"
            );
            let key: Key = format!("healthchecks/{key}").parse().unwrap();
            store.commit(&TxnBuilder::new().put(&key, text).build().unwrap()).await.unwrap();
        }
        let gone = [ObjectRef::from_path(Kind::Service, "shop/web").unwrap()];
        let left: Vec<String> =
            orphans(&store, &gone).await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(left, ["shop/web-http"]);
        // Gone with it: nothing is left to say.
        let key: Key = "healthchecks/shop/web-http".parse().unwrap();
        store.commit(&TxnBuilder::new().delete(&key).build().unwrap()).await.unwrap();
        assert_eq!(orphans(&store, &gone).await.unwrap(), []);
    }
}
