//! `evenkeel apply`: a set of documents into the store, in one guarded transaction.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::Key;
use evenkeel_api::name::Namespace;
use evenkeel_runtime::store::{Store, TxnBuilder};

use crate::documents::Files;
use crate::failure::Failure;
use crate::lacking;
use crate::output::{Format, say};
use crate::plan_file::PlanFile;
use crate::steps::{Effect, Step, steps};
use crate::wait::{Asked, Waiting};

/// What to apply.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel apply -f shop/ --wait                      a folder of documents, until every copy is ready
  evenkeel apply -f web.yaml --dry-run                what would happen
  evenkeel import compose.yaml | evenkeel apply -f -  from standard input
  evenkeel apply --plan shop.plan                     what `evenkeel plan --out` kept, and nothing else

All documents are put, or none is. One that is as it was is not written again.")]
pub struct Apply {
    #[command(flatten)]
    files: Files,
    /// What `evenkeel plan --out` kept, unless what it was made from has changed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["Files", "namespace", "dry_run"])]
    plan: Option<PathBuf>,
    /// The namespace of documents that name none
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    #[command(flatten)]
    waiting: Waiting,
    /// Say what would happen, and change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
}

impl Apply {
    /// Applies it.
    ///
    /// # Errors
    /// A document is bad, the store does not answer, or, with `--wait`, what is wanted does not come about.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format) -> Result<(), Failure> {
        let plan = self.plan.as_deref().map(PlanFile::read).transpose()?;
        let steps = match &plan {
            Some(plan) => plan.steps()?,
            None => steps(store, self.files.read(self.namespace.as_ref())?).await?,
        };
        for step in &steps {
            for warning in &step.found.document.warnings {
                eprintln!("warning: {}: {}: {warning}", step.found.file, step.found.document.object);
            }
        }
        let documents: Vec<_> = steps.iter().map(|step| &step.found.document).collect();
        for warning in lacking::networks(store, &documents).await? {
            eprintln!("warning: {warning}");
        }
        if self.dry_run {
            return super::plan::print(store, &steps, format).await;
        }
        let revision = put(store, &steps, plan.as_ref()).await?;
        for step in &steps {
            let word = match step.effect {
                Effect::Created => "created",
                Effect::Changed => "changed",
                Effect::Unchanged => "unchanged",
            };
            say!("{} {word}", step.found.document.object);
        }
        let asked: Vec<Asked> = steps
            .into_iter()
            .map(|step| {
                let revision = if step.effect == Effect::Unchanged { step.revision } else { revision };
                Asked::document(step.found.document.object, revision)
            })
            .collect();
        self.waiting.upon(store, &asked).await
    }
}

/// Puts what differs, all or nothing; gives the revision at which the set holds.
async fn put(store: &Arc<dyn Store>, steps: &[Step], plan: Option<&PlanFile>) -> Result<i64, Failure> {
    let mut txn = TxnBuilder::new();
    let mut writes = 0;
    for step in steps {
        let key = Key::Document(step.found.document.object.clone());
        if plan.is_none() {
            txn = txn.if_unchanged(&key, step.revision);
        }
        if step.effect != Effect::Unchanged {
            txn = txn.put(&key, step.found.document.source.clone());
            writes += 1;
        }
    }
    if writes == 0 {
        return Ok(0);
    }
    if let Some(plan) = plan {
        txn = plan.demand(txn)?;
    }
    let committed = store.commit(&txn.build()?).await?;
    if committed.succeeded {
        return Ok(committed.header.revision);
    }
    match plan {
        Some(plan) => {
            let broken = plan.broken(store).await?.iter().map(ToString::to_string).collect::<Vec<_>>();
            Err(Failure::new(format!(
                "what the plan was made from has changed, so nothing was applied: plan again ({} changed since)",
                broken.join(", ")
            )))
        }
        None => Err(Failure::new(
            "somebody changed one of these documents meanwhile; nothing was applied, try again",
        )),
    }
}
