//! What people say about a rollout, read and written: one record, `pins/<ns>/<n>`, that nobody else writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{Accepted, Desired, Pin, Revision, Rollout};
use evenkeel_api::service::ServiceSpec;
use evenkeel_runtime::store::{Store, TxnBuilder};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Format, structured, table};
use crate::snapshot;

/// A template's number, as people write it: `812` or `@812`.
pub fn number(text: &str) -> Result<i64, String> {
    text.trim_start_matches('@').parse().map_err(|_| format!("{text:?} is no template's number, like @812"))
}

/// What is known of a service's rollout.
pub struct Known {
    /// Which service.
    pub id: ServiceId,
    /// What the leader remembers.
    pub rollout: Rollout,
    /// What people said.
    pub pin: Pin,
    said: i64,
    newest: Option<i64>,
    images: BTreeMap<i64, String>,
}

impl Known {
    /// Reads it.
    ///
    /// # Errors
    /// There is no such service, a record cannot be read, or the store does not answer.
    pub async fn read(store: &Arc<dyn Store>, id: &ServiceId) -> Result<Self, Failure> {
        let rollout = snapshot::get::<Rollout>(store, &Key::Rollout(id.clone()))
            .await?
            .ok_or_else(|| Failure::new(format!("Service {id} has no rollout: is there such a service?")))?;
        let pin = snapshot::get::<Pin>(store, &Key::Pin(id.clone())).await?;
        let accepted = Key::Accepted(ObjectRef::Service(id.clone()));
        let accepted = snapshot::get::<Accepted<ServiceSpec>>(store, &accepted).await?;
        let revisions = store.list(&prefix::revisions_of(id)).await?;
        let images = revisions.kvs.iter().filter_map(|kv| match kv.key.parse() {
            Ok(Key::Revision(_, number)) => {
                let revision: Revision = serde_json::from_slice(&kv.value).ok()?;
                Some((number, revision.template.image))
            }
            _ => None,
        });
        Ok(Self {
            id: id.clone(),
            rollout: rollout.value,
            said: pin.as_ref().map_or(0, |pin| pin.mod_revision),
            pin: pin.map(|pin| pin.value).unwrap_or_default(),
            newest: accepted.and_then(|accepted| accepted.value.template),
            images: images.collect(),
        })
    }

    /// What is known where only that is.
    #[cfg(test)]
    pub fn of(id: ServiceId, rollout: Rollout, pin: Pin) -> Self {
        Self { id, rollout, pin, said: 0, newest: None, images: BTreeMap::new() }
    }

    /// The number of the document's template.
    pub fn newest(&self) -> Result<i64, Failure> {
        self.newest
            .ok_or_else(|| Failure::new(format!("no document of Service {} was ever accepted", self.id)))
    }

    /// The newest template, if it is rejected.
    pub fn rejected(&self) -> Option<i64> {
        self.newest.filter(|newest| self.rollout.rejected.contains(newest))
    }

    /// The template that a person pinned and that is not over.
    pub fn pinned(&self) -> Option<i64> {
        self.pin.template.filter(|_| self.pin.of == self.newest && self.rollout.ended != Some(self.said))
    }

    /// A template that is kept.
    ///
    /// # Errors
    /// It is not; with those that are.
    pub fn template(&self, number: i64) -> Result<i64, Failure> {
        if self.images.contains_key(&number) {
            return Ok(number);
        }
        let known: Vec<String> = self.images.iter().map(|(n, image)| format!("@{n} ({image})")).collect();
        Err(Failure::new(format!(
            "Service {} has no template @{number}; there are {}",
            self.id,
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        )))
    }

    /// The template that ran before the one that runs.
    ///
    /// # Errors
    /// There is none.
    pub fn before(&self) -> Result<i64, Failure> {
        let target = self.rollout.target;
        let good = self.rollout.current.filter(|number| Some(*number) != target);
        let older = self.images.keys().rev().copied();
        let older = older
            .filter(|number| target.is_some_and(|target| *number < target))
            .find(|number| !self.rollout.rejected.contains(number));
        good.filter(|number| self.images.contains_key(number)).or(older).ok_or_else(|| {
            Failure::new(format!(
                "Service {} has no template before the one that runs; `evenkeel rollout history {}` lists them",
                self.id, self.id
            ))
        })
    }

    /// Writes what a person says, if nobody said something else meanwhile. What says nothing is taken away.
    ///
    /// # Errors
    /// Somebody did, or the store does not answer.
    pub async fn put(&self, store: &Arc<dyn Store>, pin: &Pin) -> Result<(), Failure> {
        let key = Key::Pin(self.id.clone());
        let txn = TxnBuilder::new().if_unchanged(&key, self.said);
        let txn = match *pin == Pin::default() {
            true => txn.delete(&key),
            false => txn.put(&key, serde_json::to_vec(pin).map_err(Failure::new)?),
        };
        match store.commit(&txn.build()?).await?.succeeded {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "somebody else said something about the rollout of Service {} meanwhile; look, and try again",
                self.id
            ))),
        }
    }
}

/// One template, for a program.
#[derive(Debug, Serialize)]
struct Line {
    template: i64,
    image: String,
    copies: usize,
    state: String,
}

/// Prints the templates of a service, newest first.
///
/// # Errors
/// There is no such service, or the store does not answer.
pub async fn history(store: &Arc<dyn Store>, id: &ServiceId, format: Format) -> Result<(), Failure> {
    let known = Known::read(store, id).await?;
    let copies = snapshot::copies(store, Some(id)).await?;
    let lines = known.images.iter().rev().map(|(number, image)| {
        let mut state = Vec::new();
        if known.newest == Some(*number) {
            state.push("the document's".to_owned());
        }
        if known.rollout.target == Some(*number) {
            state.push("wanted".to_owned());
        }
        if known.pinned() == Some(*number) {
            state.push("pinned".to_owned());
        }
        if known.rollout.rejected.contains(number) {
            let why = known.rollout.evidence.get(number).map_or("it failed", String::as_str);
            state.push(format!("rejected: {why}"));
        }
        let of = copies.iter().filter(|copy| copy.instance.template.revision == *number);
        let copies = of.filter(|copy| copy.instance.desired == Desired::Run).count();
        Line { template: *number, image: image.clone(), copies, state: state.join(", ") }
    });
    let lines: Vec<Line> = lines.collect();
    if format != Format::Table {
        return structured(format, &lines);
    }
    let rows = lines
        .into_iter()
        .map(|line| vec![format!("@{}", line.template), line.image, line.copies.to_string(), line.state]);
    table(&["TEMPLATE", "IMAGE", "COPIES", "STATE"], rows.collect(), "no templates");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(target: i64, current: Option<i64>, rejected: &[i64], images: &[i64]) -> Known {
        let rejected = rejected.iter().copied().collect();
        let rollout = Rollout { target: Some(target), current, rejected, ..Rollout::default() };
        let images = images.iter().map(|n| (*n, format!("web:{n}"))).collect();
        let id = "shop/web".parse().unwrap();
        Known { id, rollout, pin: Pin::default(), said: 0, newest: images_last(&images), images }
    }

    fn images_last(images: &BTreeMap<i64, String>) -> Option<i64> {
        images.keys().next_back().copied()
    }

    #[test]
    fn what_ran_before_is_what_was_good_else_the_next_older_that_is_not_rejected() {
        for (target, current, rejected, expected) in [
            (30, Some(30), &[][..], Some(20)),
            (30, Some(10), &[], Some(10)),
            (30, Some(30), &[20], Some(10)),
            (10, Some(10), &[], None),
        ] {
            let known = known(target, current, rejected, &[10, 20, 30]);
            assert_eq!(known.before().ok(), expected, "{target} {current:?} {rejected:?}");
        }
    }

    #[test]
    fn an_unknown_template_is_refused_with_those_that_are_known() {
        let said = known(30, None, &[], &[10, 30]).template(20).unwrap_err().message;
        assert!(said.ends_with("no template @20; there are @10 (web:10), @30 (web:30)"), "{said}");
        assert_eq!((number("@30"), number("30")), (Ok(30), Ok(30)));
        assert!(number("web").is_err());
    }
}
