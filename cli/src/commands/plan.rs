//! `evenkeel plan`: what would happen if documents were applied or hosts were lost, and on which hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evenkeel_api::change;
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, Namespace, ServiceId};
use evenkeel_api::text::DocumentSpec;
use evenkeel_manager::service;
use evenkeel_plan::service::{Act, Lacks, Rehearsal, World};
use evenkeel_runtime::env::{SystemClock, WallClock};
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::Store;
use serde::Serialize;

use crate::documents::{self, Files};
use crate::failure::Failure;
use crate::output::{Format, say, structured};
use crate::plan_file::PlanFile;
use crate::steps::{Effect, Step, steps};

/// What to plan.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel plan -f shop.yaml                  what changes, which copies go where, and whether a host may be lost then
  evenkeel plan -f shop.yaml --out shop.plan  and `evenkeel apply --plan shop.plan` does just that, or refuses
  evenkeel plan                               whether everything would still run without any one host
  evenkeel plan --without h2,h3               what would go where, and what would not fit: exit code 3 if anything

Nothing is changed. Exit codes: 0 all that would be changed comes to rest, 3 something of it does not, as when it fits nowhere.")]
pub struct Plan {
    #[command(flatten)]
    files: Files,
    /// The namespace of documents that name none
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// Keep the plan in a file, for `apply --plan`
    #[arg(long, value_name = "FILE", requires = "Files", conflicts_with = "without")]
    out: Option<PathBuf>,
    /// As if these hosts were gone for good
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    without: Vec<HostName>,
}

impl Plan {
    /// Prints it.
    ///
    /// # Errors
    /// A document is bad, the store does not answer, or something would not fit without the hosts named.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format) -> Result<(), Failure> {
        let documents = match &self.files.all()[..] {
            [] => Vec::new(),
            files => documents::read(files, self.namespace.as_ref())?,
        };
        let steps = steps(store, documents).await?;
        let look = Look::at(store).await?;
        if !self.without.is_empty() {
            return look.without(&steps, &self.without.iter().cloned().collect(), format);
        }
        let (report, rehearsal) = look.report(&steps)?;
        if let Some(path) = &self.out {
            PlanFile::new(&look.mirror, &steps, rehearsal.world(), &report.touched())?.write(path)?;
        }
        report.print(format)?;
        if let Some(path) = &self.out {
            say!("\nas long as nothing of that changes: evenkeel apply --plan {}", path.display());
        }
        report.verdict()
    }
}

/// What would become of one object.
#[derive(Debug, Serialize)]
struct Outcome {
    object: ObjectRef,
    effect: &'static str,
    /// What of it changes, as a person would say it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<String>,
    /// What would be done to its copies, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    copies: Vec<Act>,
    /// Why it would not come to rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    #[serde(skip)]
    changes_something: bool,
}

/// All that would happen.
#[derive(Debug, Serialize)]
struct Report {
    documents: Vec<Outcome>,
    /// What would be done to copies of other services.
    others: Vec<Act>,
    /// What would be lacking afterwards, were a host lost: by that host.
    losses: BTreeMap<HostName, Lacks>,
}

/// What would happen without some hosts.
#[derive(Debug, Serialize)]
struct Without {
    copies: Vec<Act>,
    lacks: Lacks,
}

/// Prints what applying `steps` would do.
///
/// # Errors
/// The store does not answer.
pub async fn print(store: &Arc<dyn Store>, steps: &[Step], format: Format) -> Result<(), Failure> {
    let report = Look::at(store).await?.report(steps)?.0;
    report.print(format)?;
    report.verdict()
}

/// The cluster at one moment.
pub struct Look {
    mirror: Mirror,
    world: World,
    revision: i64,
}

impl Look {
    /// Reads all that the leader would plan from.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn at(store: &Arc<dyn Store>) -> Result<Self, Failure> {
        let mirror = Mirror::start(store.clone(), service::prefixes());
        tokio::time::timeout(Duration::from_secs(10), mirror.synced())
            .await
            .map_err(|_| Failure::timed_out("etcd did not answer in time"))?;
        let world = World { wall: SystemClock.now(), ..service::world(&mirror) };
        let revision = store.get(&Key::Cluster).await?.1.revision;
        Ok(Self { mirror, world, revision })
    }

    /// A copy of it, in which nothing has happened yet.
    pub fn rehearsal(&self) -> Rehearsal {
        Rehearsal::new(self.world.clone(), self.revision)
    }

    /// The cluster with the documents, and what is done to copies until it is at rest.
    fn rehearse(&self, steps: &[Step]) -> Result<(Rehearsal, Vec<Act>), Failure> {
        let mut rehearsal = self.rehearsal();
        for step in steps.iter().filter(|step| step.effect != Effect::Unchanged) {
            rehearsal.put(&step.found.document);
        }
        let acts = rehearsal.run().map_err(Failure::new)?;
        Ok((rehearsal, acts))
    }

    fn report(&self, steps: &[Step]) -> Result<(Report, Rehearsal), Failure> {
        let (rehearsal, acts) = self.rehearse(steps)?;
        let lacks = rehearsal.lacks();
        let documents: Vec<Outcome> =
            steps.iter().map(|step| outcome(step, &self.world, &lacks, &acts)).collect();
        let planned = |id: &ServiceId| documents.iter().any(|o| o.object == ObjectRef::Service(id.clone()));
        let others = acts.iter().filter(|act| !planned(&act.copy.service)).cloned().collect();
        let losses = rehearsal.losses().map_err(Failure::new)?;
        Ok((Report { documents, others, losses }, rehearsal))
    }

    fn without(&self, steps: &[Step], hosts: &BTreeSet<HostName>, format: Format) -> Result<(), Failure> {
        if let Some(host) = hosts.iter().find(|host| !self.world.hosts.contains_key(*host)) {
            return Err(Failure::new(format!("there is no host {host}: see `evenkeel host list`")));
        }
        let (mut rehearsal, _) = self.rehearse(steps)?;
        let known = rehearsal.lacks();
        rehearsal.lose(hosts);
        let copies =
            rehearsal.run().map_err(Failure::new)?.into_iter().filter(|act| act.verb == "start").collect();
        let report = Without { copies, lacks: rehearsal.lost(&known) };
        let names = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        if format == Format::Table {
            report.copies.iter().for_each(say_act);
            if report.lacks.is_empty() {
                say!("without {names}, everything would run");
            }
        } else {
            structured(format, &report)?;
        }
        if report.lacks.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = report.lacks.iter().map(|(id, why)| format!("  {id}: {why}")).collect();
        Err(Failure::not_converged(format!(
            "without {names}, something would be lacking:\n{}",
            lines.join("\n")
        )))
    }
}

impl Report {
    /// Whether all that would be changed would come to rest.
    fn verdict(&self) -> Result<(), Failure> {
        let changes = |outcome: &&Outcome| outcome.changes_something && outcome.trouble.is_some();
        let restless: Vec<String> =
            self.documents.iter().filter(changes).map(|outcome| outcome.object.to_string()).collect();
        match restless.is_empty() {
            true => Ok(()),
            false => Err(Failure::not_converged(format!(
                "{} would not come to rest; what stands in the way is marked ! above",
                restless.join(", ")
            ))),
        }
    }

    /// The services that anything is done to.
    fn touched(&self) -> BTreeSet<ServiceId> {
        let of = |outcome: &Outcome| match &outcome.object {
            ObjectRef::Service(id) => Some(id.clone()),
            _ => None,
        };
        let others = self.others.iter().map(|act| act.copy.service.clone());
        self.documents.iter().filter_map(of).chain(others).collect()
    }

    fn print(&self, format: Format) -> Result<(), Failure> {
        if format != Format::Table {
            return structured(format, self);
        }
        self.documents.iter().for_each(say);
        let others: BTreeSet<&ServiceId> = self.others.iter().map(|act| &act.copy.service).collect();
        for id in others {
            say!("Service {id} is also touched:");
            self.others.iter().filter(|act| act.copy.service == *id).for_each(say_act);
        }
        let than = if self.documents.is_empty() { "" } else { " then" };
        if self.losses.is_empty() {
            say!("Any one host may be lost{than}: everything would run on the others.");
        }
        for (host, lacks) in &self.losses {
            say!("Without {host}, something would be lacking{than}:");
            lacks.iter().for_each(|(id, why)| say!("  ! {id}: {why}"));
        }
        Ok(())
    }
}

fn say(outcome: &Outcome) {
    say!("{} {}", outcome.object, outcome.effect);
    for change in &outcome.changes {
        say!("    {change}");
    }
    outcome.copies.iter().for_each(say_act);
    if let Some(trouble) = &outcome.trouble {
        say!("  ! {trouble}");
    }
}

fn say_act(act: &Act) {
    let sign = if act.verb == "start" { '+' } else { '-' };
    say!("  {sign} {} {} on {}: {}", act.verb, act.copy, act.host, act.cause);
}

fn outcome(step: &Step, before: &World, lacks: &Lacks, acts: &[Act]) -> Outcome {
    let object = step.found.document.object.clone();
    let effect = match step.effect {
        Effect::Created => "would be created",
        Effect::Changed => "would be changed",
        Effect::Unchanged => "is unchanged",
    };
    let mut outcome = Outcome {
        object: object.clone(),
        effect,
        changes: Vec::new(),
        copies: Vec::new(),
        trouble: None,
        changes_something: step.effect != Effect::Unchanged,
    };
    let ObjectRef::Service(id) = &object else { return outcome };
    let old = before.services.get(id).and_then(|service| service.accepted.as_ref());
    if let (Some(old), DocumentSpec::Service(new)) = (old, &step.found.document.spec) {
        let change = change::change(&old.value.spec, new);
        if !change.fields().is_empty() {
            outcome.changes.push(change.to_string());
        }
    }
    outcome.copies = acts.iter().filter(|act| act.copy.service == *id).cloned().collect();
    outcome.trouble = lacks.get(id).cloned();
    outcome
}
