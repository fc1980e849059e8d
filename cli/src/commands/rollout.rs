//! `evenkeel rollout`: how the exchange of a service's copies goes, and going on after a pause.

use std::sync::Arc;

use clap::{Args, Subcommand};
use evenkeel_api::key::Key;
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{Namespace, ServiceId};
use evenkeel_api::quantity::Span;
use evenkeel_api::record::{Phase, Pin, Rollout as Record};
use evenkeel_runtime::store::{Store, TxnBuilder};

use super::{describe, get};
use crate::failure::Failure;
use crate::output::{Format, say};
use crate::{snapshot, wait, words};

/// What about a rollout.
#[derive(Debug, Args)]
pub struct Rollout {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How it goes
    Status {
        /// SERVICE or NAMESPACE/SERVICE
        service: String,
        #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
        namespace: Option<Namespace>,
        /// Until it is done; exit code 3 when it pauses
        #[arg(long)]
        wait: bool,
        /// At most so long
        #[arg(long, default_value = "10m")]
        timeout: Span,
    },
    /// Go on after a pause, whatever failed so far
    Resume {
        /// SERVICE or NAMESPACE/SERVICE
        service: String,
        #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
        namespace: Option<Namespace>,
    },
}

impl Rollout {
    /// Does it.
    ///
    /// # Errors
    /// There is no such service, nothing to resume, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format) -> Result<(), Failure> {
        match &self.verb {
            Verb::Status { service, namespace, wait, timeout } => {
                let id = id(service, namespace.as_ref())?;
                if *wait {
                    let object = ObjectRef::Service(id);
                    return wait::until(store, &[(object, 0)], timeout.0).await;
                }
                status(store, &id, format).await
            }
            Verb::Resume { service, namespace } => resume(store, &id(service, namespace.as_ref())?).await,
        }
    }
}

fn id(service: &str, namespace: Option<&Namespace>) -> Result<ServiceId, Failure> {
    match words::object(Kind::Service, service, namespace)? {
        ObjectRef::Service(id) => Ok(id),
        other => Err(Failure::new(format!("{other} is no service"))),
    }
}

async fn record(store: &Arc<dyn Store>, id: &ServiceId) -> Result<Record, Failure> {
    let found = snapshot::get::<Record>(store, &Key::Rollout(id.clone())).await?;
    found
        .map(|found| found.value)
        .ok_or_else(|| Failure::new(format!("Service {id} has no rollout: is there such a service?")))
}

async fn status(store: &Arc<dyn Store>, id: &ServiceId, format: Format) -> Result<(), Failure> {
    let record = record(store, id).await?;
    if format != Format::Table {
        return crate::output::structured(format, &record);
    }
    describe::rollout(&record);
    say!();
    get::copies_table(&snapshot::copies(store, Some(id)).await?);
    Ok(())
}

async fn resume(store: &Arc<dyn Store>, id: &ServiceId) -> Result<(), Failure> {
    let record = record(store, id).await?;
    let (Phase::Paused { .. }, Some(target)) = (&record.phase, record.target) else {
        return Err(Failure::new(format!("the rollout of Service {id} is not paused")));
    };
    let pin = serde_json::to_vec(&Pin { resume: Some(target) }).map_err(Failure::new)?;
    let txn = TxnBuilder::new().put(&Key::Pin(id.clone()), pin).build()?;
    store.commit(&txn).await?;
    say!(
        "Service {id}: the rollout of @{target} goes on; follow it with `evenkeel rollout status {id} --wait`"
    );
    Ok(())
}
