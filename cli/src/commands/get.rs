//! `evenkeel get`: objects of a kind, or one document as it was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::Namespace;
use evenkeel_api::record::Status;
use evenkeel_runtime::store::Store;

use super::hosts;
use crate::failure::Failure;
use crate::output::{Format, say, structured, table};
use crate::{snapshot, words};

/// What to get.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel get services -n shop
  evenkeel get service shop/web  its document, as it was written
  evenkeel get copies shop/web   where they run, and how they are
  evenkeel get copies -o json    for a program")]
pub struct Get {
    /// service, network, healthcheck, host, or copies
    kind: String,
    /// One object; its document is printed as it was written
    name: Option<String>,
    /// Only this namespace
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
}

impl Get {
    /// All objects of a kind.
    pub fn all_of(kind: &str) -> Self {
        Self { kind: kind.to_owned(), name: None, namespace: None }
    }

    /// Prints it.
    ///
    /// # Errors
    /// There is no such object, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format) -> Result<(), Failure> {
        if ["copies", "copy", "instances", "ps"].contains(&self.kind.as_str()) {
            return self.copies(store, format).await;
        }
        let kind = words::kind(&self.kind)
            .map_err(|failure| Failure::new(format!("{failure}; and there are copies")))?;
        match &self.name {
            Some(name) => document(store, &words::object(kind, name, self.namespace.as_ref())?, format).await,
            None => self.all(store, kind, format).await,
        }
    }

    async fn all(&self, store: &Arc<dyn Store>, kind: Kind, format: Format) -> Result<(), Failure> {
        if kind == Kind::Host && format == Format::Table {
            let hosts = snapshot::hosts(store).await?;
            hosts::print(&hosts::rows(&hosts, &snapshot::copies(store, None).await?));
            return Ok(());
        }
        let documents = store.list(&prefix::documents(kind)).await?;
        let statuses = snapshot::statuses(store, kind).await?;
        let mut objects: BTreeMap<ObjectRef, Option<Status>> =
            statuses.into_iter().map(|(object, status)| (object, Some(status))).collect();
        let mut revisions = BTreeMap::new();
        for kv in documents.kvs {
            if let Ok(Key::Document(object)) = kv.key.parse() {
                objects.entry(object.clone()).or_default();
                revisions.insert(object, kv.mod_revision);
            }
        }
        if let Some(namespace) = &self.namespace {
            objects.retain(|object, _| object.namespace().is_none_or(|of| of == namespace));
        }
        if format != Format::Table {
            let objects: BTreeMap<String, Option<Status>> =
                objects.into_iter().map(|(object, status)| (object.to_string(), status)).collect();
            return structured(format, &objects);
        }
        let rows = objects
            .iter()
            .map(|(object, status)| row(object, status.as_ref(), revisions.get(object).copied().unwrap_or(0)))
            .collect();
        let header: &[&str] = match kind {
            Kind::Service => &["NAME", "READY", "UPDATED", "STATE", "WHY"],
            _ => &["NAME", "STATE", "WHY"],
        };
        table(header, rows, &format!("no {}", kind.plural()));
        Ok(())
    }

    async fn copies(&self, store: &Arc<dyn Store>, format: Format) -> Result<(), Failure> {
        let service = match &self.name {
            Some(name) => match words::object(Kind::Service, name, self.namespace.as_ref())? {
                ObjectRef::Service(id) => Some(id),
                _ => None,
            },
            None => None,
        };
        let mut copies = snapshot::copies(store, service.as_ref()).await?;
        if let Some(namespace) = &self.namespace {
            copies.retain(|copy| copy.id.service.namespace == *namespace);
        }
        if format != Format::Table {
            return structured(format, &copies);
        }
        copies_table(&copies);
        Ok(())
    }
}

/// Copies as a table.
pub fn copies_table(copies: &[snapshot::Copy]) {
    let rows = copies
        .iter()
        .map(|copy| {
            let addresses = copy.observed.iter().flat_map(|observed| observed.addresses.values());
            vec![
                copy.id.to_string(),
                copy.host.to_string(),
                addresses.map(ToString::to_string).collect::<Vec<_>>().join(" "),
                format!("@{}", copy.instance.template.revision),
                copy.observed.as_ref().map_or(0, |observed| observed.restarts).to_string(),
                words::health(copy),
                words::state(copy),
            ]
        })
        .collect();
    table(&["COPY", "HOST", "ADDRESS", "TEMPLATE", "RESTARTS", "HEALTH", "STATE"], rows, "no copies");
}

/// One object as a row, whose document is of `revision`.
fn row(object: &ObjectRef, status: Option<&Status>, revision: i64) -> Vec<String> {
    let pending = |why: &str| ("Pending".to_owned(), why.to_owned());
    let (state, why) = match status {
        None => pending("no controller has looked at it yet"),
        Some(status) if status.observed_revision < revision => {
            pending("no controller has looked at the new document yet")
        }
        Some(status) => words::summary(status),
    };
    let mut row = vec![object.path()];
    if object.kind() == Kind::Service {
        let copies = status.and_then(|status| status.copies).unwrap_or_default();
        row.push(format!("{}/{}", copies.ready, copies.desired));
        row.push(copies.updated.to_string());
    }
    row.extend([state, why]);
    row
}

/// Prints one document: as written, or with all that is known of it for programs.
async fn document(store: &Arc<dyn Store>, object: &ObjectRef, format: Format) -> Result<(), Failure> {
    let (kv, _) = store.get(&Key::Document(object.clone())).await?;
    let kv = kv.ok_or_else(|| Failure::new(format!("there is no {object}")))?;
    let text = String::from_utf8_lossy(&kv.value);
    if format != Format::Json {
        say!("{}", text.trim_end());
        return Ok(());
    }
    let status: Option<Status> =
        snapshot::get(store, &Key::Status(object.clone())).await?.map(|found| found.value);
    let accepted: Option<serde_json::Value> =
        snapshot::get(store, &Key::Accepted(object.clone())).await?.map(|found| found.value);
    structured(
        format,
        &serde_json::json!({
            "object": object, "revision": kv.mod_revision, "document": text, "accepted": accepted, "status": status,
        }),
    )
}
