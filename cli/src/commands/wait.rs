//! `evenkeel wait`: until a service is as it should be, or gone.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{Namespace, ServiceId};
use evenkeel_api::quantity::Span;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::output::say;
use crate::wait::{self, Asked, Wanted};
use crate::words;

/// What to wait for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel wait shop/web                          until every copy is ready and in the names
  evenkeel wait shop/web shop/api --timeout 2m
  evenkeel wait shop/web --for rollout            until all copies are of the document's own template
  evenkeel delete shop/web && evenkeel wait shop/web --for gone

Exit codes: 0 it is so, 3 it will not come about by waiting, 4 time ran out")]
pub struct Wait {
    /// SERVICE or NAMESPACE/SERVICE
    #[arg(required = true)]
    services: Vec<String>,
    /// What to wait for
    #[arg(long = "for", value_name = "WHAT", default_value = "ready")]
    what: What,
    /// At most so long
    #[arg(long, default_value = "5m")]
    timeout: Span,
    /// The namespace of services that are named without one
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Every copy ready and in the names, of whatever template is to run
    Ready,
    /// The same, of the template of the newest document
    Rollout,
    /// No document, and no copy left
    Gone,
}

impl Wait {
    /// Waits.
    ///
    /// # Errors
    /// There is no such service, it does not come about, the time runs out, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>) -> Result<(), Failure> {
        let mut ids = Vec::new();
        for name in &self.services {
            match words::object(Kind::Service, name, self.namespace.as_ref())? {
                ObjectRef::Service(id) => ids.push(id),
                other => return Err(Failure::new(format!("{other} is no service"))),
            }
        }
        if self.what == What::Gone {
            return gone(store, &ids, self.timeout.0).await;
        }
        let mut asked = Vec::new();
        for id in ids {
            let object = ObjectRef::Service(id);
            let document = store.get(&Key::Document(object.clone())).await?.0;
            let document = document.ok_or_else(|| Failure::new(format!("there is no {object}")))?;
            asked.push(match self.what {
                What::Rollout => Asked::document(object, document.mod_revision),
                _ => Asked { object, revision: document.mod_revision, rollout: Wanted::AtRest },
            });
        }
        wait::until(store, &asked, self.timeout.0).await
    }
}

/// Waits until nothing is left of services.
async fn gone(store: &Arc<dyn Store>, ids: &[ServiceId], patience: Duration) -> Result<(), Failure> {
    // A store that does not answer says so at once; a mirror would only wait.
    store.get(&Key::Cluster).await?;
    let mirror = Mirror::start(
        store.clone(),
        vec![prefix::documents(Kind::Service), prefix::accepted(Kind::Service), prefix::instances()],
    );
    let mut changed = mirror.subscribe();
    let end = Instant::now() + patience;
    tokio::time::timeout_at(end, mirror.synced())
        .await
        .map_err(|_| Failure::timed_out("etcd did not answer in time"))?;
    loop {
        let left: Vec<String> = ids.iter().filter_map(|id| left(&mirror, id)).collect();
        if left.is_empty() {
            ids.iter().for_each(|id| say!("Service {id}: gone"));
            return Ok(());
        }
        // Only a person takes a document away, and may do so while this waits.
        if tokio::time::timeout_at(end, changed.next()).await.is_err() {
            return Err(Failure::timed_out(format!(
                "not gone when the time ran out:\n  {}",
                left.join("\n  ")
            )));
        }
    }
}

/// What is left of a service, in words.
fn left(mirror: &Mirror, id: &ServiceId) -> Option<String> {
    let object = ObjectRef::Service(id.clone());
    let has = |key: Key| mirror.list(&key.to_string()).iter().any(|kv| kv.key == key.to_string());
    if has(Key::Document(object.clone())) {
        return Some(format!("{object}: its document is there; `evenkeel delete {id}` takes it away"));
    }
    let copies = mirror.list(&prefix::instances());
    let copies = copies.iter().filter(|kv| match kv.key.parse() {
        Ok(Key::Instance(_, copy)) => copy.service == *id,
        _ => false,
    });
    match copies.count() {
        0 if has(Key::Accepted(object.clone())) => Some(format!("{object}: it is being taken down")),
        0 => None,
        1 => Some(format!("{object}: 1 copy is left")),
        n => Some(format!("{object}: {n} copies are left")),
    }
}
