//! `evenkeel events`: what happened and why, newest last.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use evenkeel_api::key::{Key, prefix};
use evenkeel_api::name::Namespace;
use evenkeel_api::record::{Event, Timestamp};
use evenkeel_runtime::store::Store;

use crate::failure::Failure;
use crate::output::{Format, age, structured, table};
use crate::{snapshot, words};

/// Which events.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel events --warnings
  evenkeel events shop/web --limit 20
  evenkeel events host h2
  evenkeel events -n shop -o json      of all objects of a namespace, for a program")]
pub struct Events {
    /// Only those of one object: SERVICE, NAMESPACE/SERVICE, or KIND NAME
    #[arg(num_args = 0..=2)]
    object: Vec<String>,
    /// The namespace of the object, or all objects of it
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// Only warnings
    #[arg(short, long)]
    warnings: bool,
    /// At most so many, the newest
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

impl Events {
    /// Prints them.
    ///
    /// # Errors
    /// The object is no name, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format, now: Timestamp) -> Result<(), Failure> {
        let object = match self.object.as_slice() {
            [] => None,
            words => Some(words::target(words, self.namespace.as_ref())?),
        };
        let mut events = all(store).await?;
        events.retain(|event| {
            object.as_ref().is_none_or(|object| event.object == *object)
                && self.namespace.as_ref().is_none_or(|namespace| {
                    object.is_some() || event.object.namespace().is_none_or(|of| of == namespace)
                })
                && (event.warning || !self.warnings)
        });
        let skip = events.len().saturating_sub(self.limit);
        print(&events[skip..], format, now)
    }
}

/// Prints events.
///
/// # Errors
/// They cannot be written in that format.
pub fn print(events: &[Event], format: Format, now: Timestamp) -> Result<(), Failure> {
    if format != Format::Table {
        return structured(format, &events);
    }
    let rows = events
        .iter()
        .map(|event| {
            let times = if event.count > 1 { format!(" (x{})", event.count) } else { String::new() };
            vec![
                age(event.time, now),
                if event.warning { "warning" } else { "normal" }.to_owned(),
                event.reason.clone(),
                event.instance.as_ref().map_or_else(|| event.object.to_string(), ToString::to_string),
                format!("{}{times}", event.message),
            ]
        })
        .collect();
    table(&["AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"], rows, "no events");
    Ok(())
}

/// All events that are kept, oldest first.
///
/// # Errors
/// The store does not answer.
pub async fn all(store: &Arc<dyn Store>) -> Result<Vec<Event>, Failure> {
    let found: BTreeMap<Key, snapshot::Found<Event>> = snapshot::list(store, &prefix::events()).await?;
    let mut events: Vec<_> = found.into_values().collect();
    events.sort_by_key(|found| (found.value.time, found.mod_revision));
    Ok(events.into_iter().map(|found| found.value).collect())
}
