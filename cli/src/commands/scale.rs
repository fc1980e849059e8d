//! `evenkeel scale`: another number of copies, written into the stored document as its author would.

use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::Key;
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::Namespace;
use evenkeel_api::service::Mode;
use evenkeel_api::text::{DocumentSpec, Origin, parse_document_bytes, set_replicas};
use evenkeel_runtime::store::{Kv, Store, TxnBuilder};

use crate::failure::Failure;
use crate::output::say;
use crate::wait::{Asked, Waiting, Wanted};
use crate::words;

/// Which services, and how many copies of each.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel scale shop/web=5
  evenkeel scale shop/web=5 shop/api=3 --wait

The number is changed in the document in the store, all of them or none; whatever else is written there stays, comments
too. A document that is kept in files or in git is to be changed there as well: the next apply puts back what it says.")]
pub struct Scale {
    /// SERVICE=COPIES or NAMESPACE/SERVICE=COPIES
    #[arg(required = true, value_name = "SERVICE=COPIES", value_parser = pair)]
    services: Vec<(String, u32)>,
    /// The namespace of services that are named without one
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    #[command(flatten)]
    waiting: Waiting,
}

fn pair(text: &str) -> Result<(String, u32), String> {
    let (service, copies) = text.split_once('=').ok_or("write SERVICE=COPIES, like shop/web=5")?;
    let copies = copies.parse().map_err(|_| format!("{copies:?} is no number of copies"))?;
    Ok((service.to_owned(), copies))
}

impl Scale {
    /// Does it.
    ///
    /// # Errors
    /// There is no such service, its text cannot be changed so, somebody changed it meanwhile, or the store does
    /// not answer.
    pub async fn run(&self, store: &Arc<dyn Store>) -> Result<(), Failure> {
        let mut changes: Vec<Change> = Vec::new();
        for (name, copies) in &self.services {
            let object = words::object(Kind::Service, name, self.namespace.as_ref())?;
            if changes.iter().any(|known| known.object == object) {
                return Err(Failure::new(format!("{object} is named twice; nothing was changed")));
            }
            changes.push(change(store, object, *copies).await?);
        }
        let revision = put(store, &changes).await?;
        for Change { object, copies, new, .. } in &changes {
            match new {
                Some((_, before)) => say!("{object}: {before} copies before, {copies} now"),
                None => say!("{object}: {copies} copies, as before"),
            }
        }
        if revision.is_some() {
            eprintln!("note: a document that is kept in files or in git is to be changed there too");
        }
        // Whichever template runs: that is not what was asked for.
        let asked = |change: Change| Asked {
            revision: revision.filter(|_| change.new.is_some()).unwrap_or(change.revision),
            object: change.object,
            rollout: Wanted::AtRest,
        };
        let asked: Vec<Asked> = changes.into_iter().map(asked).collect();
        self.waiting.upon(store, &asked).await
    }
}

/// What becomes of one document.
struct Change {
    object: ObjectRef,
    /// The revision of the stored one.
    revision: i64,
    copies: u32,
    /// The new text, and how many copies there were; `None`: as many.
    new: Option<(String, u32)>,
}

async fn change(store: &Arc<dyn Store>, object: ObjectRef, copies: u32) -> Result<Change, Failure> {
    let kv = store.get(&Key::Document(object.clone())).await?.0;
    let kv = kv.ok_or_else(|| Failure::new(format!("there is no {object}; nothing was changed")))?;
    let new = rewritten(&object, &kv, copies)?;
    Ok(Change { object, revision: kv.mod_revision, copies, new })
}

/// Puts all of them or none; at which revision, if anything differs.
async fn put(store: &Arc<dyn Store>, changes: &[Change]) -> Result<Option<i64>, Failure> {
    let mut txn = TxnBuilder::new();
    for Change { object, revision, new, .. } in changes {
        let key = Key::Document(object.clone());
        txn = txn.if_unchanged(&key, *revision);
        if let Some((text, _)) = new {
            txn = txn.put(&key, text.clone());
        }
    }
    if changes.iter().all(|change| change.new.is_none()) {
        return Ok(None);
    }
    let committed = store.commit(&txn.build()?).await?;
    match committed.succeeded {
        true => Ok(Some(committed.header.revision)),
        false => Err(Failure::new(
            "somebody changed one of these documents meanwhile; nothing was changed, look and try again",
        )),
    }
}

/// The document with so many copies, and how many there were; `None`: as many.
fn rewritten(object: &ObjectRef, kv: &Kv, copies: u32) -> Result<Option<(String, u32)>, Failure> {
    let from = Origin::Key(object.clone());
    let edit = |why: &dyn std::fmt::Display| {
        let name = object.path();
        Failure::new(format!(
            "{object}: {why}\n  change the document yourself: `evenkeel get service {name} >FILE`, edit it, and \
             `evenkeel apply -f FILE`; nothing was changed"
        ))
    };
    let document = parse_document_bytes(&kv.value, &from).map_err(|error| edit(&error))?;
    let DocumentSpec::Service(spec) = &document.spec else { return Err(edit(&"it is no Service")) };
    if spec.mode() == Mode::Global {
        let why = "it has one copy on every host that is meant (mode: global), and so no number of copies";
        return Err(edit(&why));
    }
    if spec.replicas() == copies {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&kv.value);
    let text = set_replicas(&text, &from, copies).map_err(|why| edit(&why))?;
    Ok(Some((text, spec.replicas())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(spec: &str) -> Kv {
        let text = format!("apiVersion: evenkeel/v1\nkind: Service\nspec: {spec}\n");
        let key = "services/shop/web".to_owned();
        Kv { key, value: text.into(), mod_revision: 7, create_revision: 7, lease: 0 }
    }

    #[test]
    fn a_document_is_rewritten_or_it_is_said_what_to_do() {
        let object = ObjectRef::from_path(Kind::Service, "shop/web").unwrap();
        let to_five = |spec: &str| rewritten(&object, &kv(spec), 5);
        assert_eq!(to_five("{image: web, deploy: {replicas: 5}}").unwrap(), None);
        let (text, before) = to_five("{image: web, deploy: {replicas: 2}}").unwrap().unwrap();
        assert!(before == 2 && text.ends_with("spec: {image: web, deploy: {replicas: 5}}\n"), "{text}");
        for (spec, why) in [
            ("{image: web, deploy: {mode: global}}", "mode: global"),
            ("{image: web, replica: 3}", "services/shop/web"),
            ("{image: web, deploy: }", "written in a way"),
        ] {
            let said = to_five(spec).unwrap_err().message;
            assert!(said.contains(why) && said.contains("evenkeel get service shop/web"), "{said}");
        }
    }

    #[test]
    fn pairs_are_a_service_and_a_number() {
        assert_eq!(pair("shop/web=5"), Ok(("shop/web".to_owned(), 5)));
        for bad in ["shop/web", "shop/web=", "shop/web=-1", "shop/web=many"] {
            assert!(pair(bad).is_err(), "{bad}");
        }
    }
}
