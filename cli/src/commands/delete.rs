//! `evenkeel delete`: documents, in one guarded transaction.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::Key;
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::Namespace;
use evenkeel_api::record::Confirmed;
use evenkeel_runtime::store::{Store, TxnBuilder};

use crate::failure::Failure;
use crate::output::say;
use crate::{documents, words};

/// What to delete.
#[derive(Debug, Args)]
pub struct Delete {
    /// SERVICE, NAMESPACE/SERVICE, or KIND NAME
    #[arg(num_args = 0..=2, required_unless_present = "files")]
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
        let all = store.list(&evenkeel_api::key::prefix::documents(Kind::Service)).await?.kvs.len();
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
        for object in gone {
            say!("{object} deleted");
        }
        Ok(())
    }

    fn objects(&self) -> Result<Vec<ObjectRef>, Failure> {
        if self.files.is_empty() {
            return Ok(vec![words::target(&self.object, self.namespace.as_ref())?]);
        }
        let set = documents::read(&self.files, self.namespace.as_ref())?;
        // What others stand on goes last.
        Ok(set.into_iter().rev().map(|found| found.document.object).collect())
    }
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
