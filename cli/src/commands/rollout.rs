//! `evenkeel rollout`: how the exchange of a service's copies goes, and a person's word on it.

use std::sync::Arc;

use clap::{Args, Subcommand};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{Namespace, ServiceId};
use evenkeel_api::record::{Phase, Pin};
use evenkeel_runtime::store::Store;

use super::pins::{self, Known};
use super::{describe, get};
use crate::failure::Failure;
use crate::output::{Format, say};
use crate::wait::{self, Asked, Waiting};
use crate::{snapshot, words};

/// Examples of both `rollout history` and its short form.
pub const HISTORY: &str = "\
Examples:
  evenkeel history shop/web

@812 there is what `evenkeel rollback shop/web --to @812` goes to.";

/// Examples of both `rollout resume` and its short form.
pub const RESUME: &str = "\
Examples:
  evenkeel resume shop/web
  evenkeel resume shop/web --wait  until all copies are exchanged and ready";

/// Examples of both `rollout retry` and its short form.
pub const RETRY: &str = "\
Examples:
  evenkeel retry shop/web --wait  when what its copies lacked is there now";

/// Examples of both `rollout rollback` and its short form.
pub const ROLLBACK: &str = "\
Examples:
  evenkeel rollback shop/web --wait     to the last template that ran well
  evenkeel rollback shop/web --to @812  to one that `evenkeel history shop/web` lists";

/// Examples of both `rollout pause` and its short form.
pub const PAUSE: &str = "\
Examples:
  evenkeel pause shop/web

`evenkeel resume shop/web` goes on.";

/// Examples of both `rollout unpin` and its short form.
pub const UNPIN: &str = "\
Examples:
  evenkeel unpin shop/web
  evenkeel unpin shop/web --wait  until what the document says runs";

/// What about a rollout.
#[derive(Debug, Args)]
pub struct Rollout {
    #[command(subcommand)]
    verb: Verb,
}

/// Which service.
#[derive(Debug, Args)]
pub struct Which {
    /// SERVICE or NAMESPACE/SERVICE
    service: String,
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
}

/// Which service goes on, and whether that is waited for.
#[derive(Debug, Args)]
pub struct On {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    waiting: Waiting,
}

/// Back to which template of which service.
#[derive(Debug, Args)]
pub struct Back {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    waiting: Waiting,
    /// The number of a template, as `rollout history` shows it; without, the last one that ran well
    #[arg(long, value_name = "TEMPLATE", alias = "to-revision", value_parser = pins::number)]
    to: Option<i64>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How it goes
    #[command(after_help = "\
Examples:
  evenkeel rollout status shop/web
  evenkeel rollout status shop/web --wait --timeout 5m  until it is done; exit code 3 if it fails")]
    Status {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// The templates that are kept, and what became of them
    #[command(after_help = HISTORY)]
    History(Which),
    /// Go on after a pause, whatever failed so far
    #[command(after_help = RESUME)]
    Resume(On),
    /// Try the newest template again that was rejected
    #[command(after_help = RETRY)]
    Retry(On),
    /// Run an older template, until the document brings another or you unpin it
    #[command(alias = "undo", after_help = ROLLBACK)]
    Rollback(Back),
    /// Exchange nothing, whatever documents say, until you resume
    #[command(after_help = PAUSE)]
    Pause(Which),
    /// Take a pause or an older template back: the document holds again
    #[command(after_help = UNPIN)]
    Unpin(On),
}

impl Rollout {
    /// Does it.
    ///
    /// # Errors
    /// There is no such service, it cannot be done as things are, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format) -> Result<(), Failure> {
        match &self.verb {
            Verb::Status { which, waiting } => {
                let id = which.id()?;
                match waiting.patience() {
                    Some(patience) => wait::until(store, &[Asked::word(id)], patience).await,
                    None => status(store, &id, format).await,
                }
            }
            Verb::History(which) => which.history(store, format).await,
            Verb::Resume(on) => on.resume(store).await,
            Verb::Retry(on) => on.retry(store).await,
            Verb::Rollback(back) => back.run(store).await,
            Verb::Pause(which) => which.pause(store).await,
            Verb::Unpin(on) => on.unpin(store).await,
        }
    }
}

impl Which {
    /// The service that is meant.
    ///
    /// # Errors
    /// It is no name, or needs a namespace.
    pub fn id(&self) -> Result<ServiceId, Failure> {
        match words::object(Kind::Service, &self.service, self.namespace.as_ref())? {
            ObjectRef::Service(id) => Ok(id),
            other => Err(Failure::new(format!("{other} is no service"))),
        }
    }

    /// Prints the templates that are kept.
    ///
    /// # Errors
    /// There is no such service, or the store does not answer.
    pub async fn history(&self, store: &Arc<dyn Store>, format: Format) -> Result<(), Failure> {
        pins::history(store, &self.id()?, format).await
    }

    /// Pauses the exchange of copies.
    ///
    /// # Errors
    /// There is no such service, it is paused, or the store does not answer.
    pub async fn pause(&self, store: &Arc<dyn Store>) -> Result<(), Failure> {
        let id = self.id()?;
        let known = Known::read(store, &id).await?;
        if known.pin.pause {
            return Err(Failure::new(format!("the rollout of Service {id} is paused already")));
        }
        let pin = Pin { pause: true, resume: None, retry: None, ..known.pin.clone() };
        known.put(store, &pin).await?;
        say!("Service {id}: no copy is exchanged until `evenkeel rollout resume {id}`");
        wait::glance(store, &[Asked::word(id)]).await
    }
}

impl On {
    /// Takes all standing words back.
    ///
    /// # Errors
    /// There is nothing to take back, or the store does not answer.
    pub async fn unpin(&self, store: &Arc<dyn Store>) -> Result<(), Failure> {
        let id = self.which.id()?;
        let known = Known::read(store, &id).await?;
        let restarts = known.pin.restart.is_some() && known.rollout.phase != Phase::Done;
        if !known.pin.pause && known.pin.template.is_none() && !restarts {
            return Err(Failure::new(format!("Service {id} is neither pinned nor paused")));
        }
        known.put(store, &Pin::default()).await?;
        follow(store, id, &self.waiting, "its document holds again").await
    }

    /// Goes on after a pause, whatever failed so far.
    ///
    /// # Errors
    /// There is no such service, it is not paused, or the store does not answer.
    pub async fn resume(&self, store: &Arc<dyn Store>) -> Result<(), Failure> {
        let id = self.which.id()?;
        let known = Known::read(store, &id).await?;
        let paused = matches!(known.rollout.phase, Phase::Paused { .. });
        if !paused && !known.pin.pause {
            return Err(Failure::new(format!(
                "the rollout of Service {id} is not paused{}",
                match known.rejected() {
                    Some(number) => format!(
                        ": template @{number} is rejected; try it again with `evenkeel rollout retry {id}`"
                    ),
                    None => String::new(),
                }
            )));
        }
        let resume = known.rollout.target.filter(|_| paused);
        known.put(store, &Pin { pause: false, resume, retry: None, ..known.pin.clone() }).await?;
        follow(store, id, &self.waiting, "its rollout goes on").await
    }

    /// Tries the newest template again that was rejected.
    ///
    /// # Errors
    /// There is no such service, that is not rejected, a word stands in the way, or the store does not answer.
    pub async fn retry(&self, store: &Arc<dyn Store>) -> Result<(), Failure> {
        let id = self.which.id()?;
        let known = Known::read(store, &id).await?;
        let Some(number) = known.rejected() else {
            return Err(Failure::new(format!(
                "the newest template of Service {id} is not rejected; what paused goes on with `evenkeel rollout resume {id}`"
            )));
        };
        if known.pin.pause || known.pinned().is_some() {
            return Err(Failure::new(format!(
                "Service {id} is pinned or paused: take that back first, with `evenkeel rollout unpin {id}`"
            )));
        }
        known.put(store, &Pin { retry: Some(number), ..Pin::default() }).await?;
        follow(store, id, &self.waiting, &format!("template @{number} is tried again")).await
    }
}

impl Back {
    /// Pins an older template.
    ///
    /// # Errors
    /// There is no such service or template, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>) -> Result<(), Failure> {
        let id = self.which.id()?;
        let known = Known::read(store, &id).await?;
        let newest = known.newest()?;
        let to = match self.to {
            Some(to) => known.template(to)?,
            None => known.before()?,
        };
        if to == newest {
            return Err(Failure::new(format!(
                "@{to} is the document's own template: {}",
                match known.rollout.rejected.contains(&to) {
                    true => format!("try it again with `evenkeel rollout retry {id}`"),
                    false => format!("take a pin or a pause back with `evenkeel rollout unpin {id}`"),
                }
            )));
        }
        let pin = Pin { template: Some(to), of: Some(newest), ..Pin::default() };
        known.put(store, &pin).await?;
        let said = format!(
            "copies go back to template @{to}, and stay there until its document brings another template, or `evenkeel \
             rollout unpin {id}`"
        );
        follow(store, id, &self.waiting, &said).await
    }
}

/// Says what comes now, and waits for it, or tells how to.
async fn follow(store: &Arc<dyn Store>, id: ServiceId, waiting: &Waiting, said: &str) -> Result<(), Failure> {
    match waiting.patience() {
        Some(_) => say!("Service {id}: {said}"),
        None => say!("Service {id}: {said}; follow it with `evenkeel rollout status {id} --wait`"),
    }
    waiting.upon(store, &[Asked::word(id)]).await
}

async fn status(store: &Arc<dyn Store>, id: &ServiceId, format: Format) -> Result<(), Failure> {
    let known = Known::read(store, id).await?;
    if format != Format::Table {
        return crate::output::structured(format, &known.rollout);
    }
    describe::rollout(&known.rollout, &known.pin);
    say!();
    get::copies_table(&snapshot::copies(store, Some(id)).await?);
    Ok(())
}
