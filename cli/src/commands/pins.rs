//! What people say about a rollout, read and written: one record, `pins/<ns>/<n>`, that nobody else writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_api::key::{Key, prefix};
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{Accepted, Desired, Phase, Pin, Revision, Rollout};
use evenkeel_api::service::{ServiceSpec, Template};
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
    templates: BTreeMap<i64, Template>,
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
        let templates = revisions.kvs.iter().filter_map(|kv| match kv.key.parse() {
            Ok(Key::Revision(_, number)) => {
                let revision: Revision = serde_json::from_slice(&kv.value).ok()?;
                Some((number, revision.template))
            }
            _ => None,
        });
        Ok(Self {
            id: id.clone(),
            rollout: rollout.value,
            said: pin.as_ref().map_or(0, |pin| pin.mod_revision),
            pin: pin.map(|pin| pin.value).unwrap_or_default(),
            newest: accepted.and_then(|accepted| accepted.value.template),
            templates: templates.collect(),
        })
    }

    /// What is known where only that is.
    #[cfg(test)]
    pub fn of(id: ServiceId, rollout: Rollout, pin: Pin) -> Self {
        Self { id, rollout, pin, said: 0, newest: None, templates: BTreeMap::new() }
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
        if self.templates.contains_key(&number) {
            return Ok(number);
        }
        let named = |(number, template): (&i64, &Template)| format!("@{number} ({})", template.image);
        let known: Vec<String> = self.templates.iter().map(named).collect();
        Err(Failure::new(format!(
            "Service {} has no template @{number}; there are {}",
            self.id,
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        )))
    }

    /// Whether a template is known to have run well.
    pub fn ran_well(&self, number: i64) -> bool {
        self.rollout.proven.contains(&number) || self.rollout.current == Some(number)
    }

    /// The last template that ran well, but for the one that runs.
    ///
    /// # Errors
    /// There is none, or a person chose the one that runs: the one before it is not what the next step back means.
    pub fn before(&self) -> Result<i64, Failure> {
        let id = &self.id;
        if let Some(pinned) = self.pinned() {
            return Err(Failure::new(format!(
                "Service {id} went back already: a person pinned template @{pinned}\n  to another one: `evenkeel \
                 rollback {id} --to TEMPLATE`, of those that `evenkeel history {id}` lists; to the document's own: \
                 `evenkeel unpin {id}`"
            )));
        }
        let runs = self.rollout.target;
        let same = |number: i64| {
            Some(number) == runs
                || self.templates.get(&number) == runs.and_then(|runs| self.templates.get(&runs))
        };
        let proven = self.rollout.proven.iter().copied();
        let good = proven.chain(self.rollout.current).rev().find(|number| {
            self.templates.contains_key(number)
                && !same(*number)
                && Some(*number) != self.newest
                && !self.rollout.rejected.contains(number)
        });
        good.ok_or_else(|| {
            Failure::new(format!(
                "no other template of Service {id} is known to have run well: `evenkeel history {id}` lists those that are \
                 kept, and `evenkeel rollback {id} --to TEMPLATE` goes to any of them"
            ))
        })
    }

    /// What became of a template, in words.
    fn state(&self, number: i64) -> Vec<String> {
        let mut state = Vec::new();
        let target = self.rollout.target == Some(number);
        if self.newest == Some(number) {
            state.push("the document's".to_owned());
        }
        if target {
            state.push("wanted".to_owned());
        }
        if self.pinned() == Some(number) {
            state.push("pinned now".to_owned());
        }
        if self.rollout.rejected.contains(&number) {
            let why = self.rollout.evidence.get(&number).map_or("it failed", String::as_str);
            state.push(format!("rejected: {why}"));
            return state;
        }
        match &self.rollout.phase {
            Phase::Paused { why } if target => state.push(format!("stands still: {why}")),
            _ if self.ran_well(number) => state.push("ran well".to_owned()),
            _ if target => {}
            _ => state.push("not known to have run well".to_owned()),
        }
        state
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
    ran_well: bool,
    state: String,
}

/// Prints the templates of a service, newest first.
///
/// # Errors
/// There is no such service, or the store does not answer.
pub async fn history(store: &Arc<dyn Store>, id: &ServiceId, format: Format) -> Result<(), Failure> {
    let known = Known::read(store, id).await?;
    let copies = snapshot::copies(store, Some(id)).await?;
    let lines = known.templates.iter().rev().map(|(number, template)| {
        let of = copies.iter().filter(|copy| copy.instance.template.revision == *number);
        let copies = of.filter(|copy| copy.instance.desired == Desired::Run).count();
        Line {
            template: *number,
            image: template.image.clone(),
            copies,
            ran_well: known.ran_well(*number),
            state: known.state(*number).join(", "),
        }
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

    /// Of templates 10, 20, 30 and 40, of which 40 is the document's.
    fn known(target: i64, proven: &[i64], rejected: &[i64], pin: Pin) -> Known {
        let rollout = Rollout {
            target: Some(target),
            current: proven.last().copied(),
            proven: proven.to_vec(),
            rejected: rejected.iter().copied().collect(),
            ..Rollout::default()
        };
        let of = |n: i64| (n, Template { image: format!("web:{n}"), ..Template::default() });
        let templates = [10, 20, 30, 40].map(of).into();
        let id = "shop/web".parse().unwrap();
        Known { id, rollout, pin, said: 0, newest: Some(40), templates }
    }

    #[test]
    fn back_is_to_the_last_template_but_the_one_that_runs_that_ran_well() {
        for (target, proven, rejected, expected) in [
            (40, &[10, 30, 40][..], &[][..], Some(30)),
            // 30 never ran, as when its image could not be pulled.
            (40, &[10, 20, 40], &[], Some(20)),
            // 40 itself does not come up.
            (40, &[10, 20], &[], Some(20)),
            // A person went back to 10 before 40 came.
            (40, &[20, 30, 10, 40], &[], Some(10)),
            // 40 is rejected, and 30 runs in its place.
            (30, &[20, 30], &[40], Some(20)),
            (40, &[20, 30, 40], &[30], Some(20)),
            (40, &[5, 40], &[], None),
            (40, &[40], &[], None),
            (40, &[], &[], None),
        ] {
            let known = known(target, proven, rejected, Pin::default());
            assert_eq!(known.before().ok(), expected, "{target} {proven:?} {rejected:?}");
        }
        // What an older leader left knows of the last one only.
        let mut old = known(40, &[], &[], Pin::default());
        old.rollout.current = Some(20);
        assert_eq!(old.before().ok(), Some(20));
        // The same content under another number is no way back.
        let mut alike = known(40, &[20, 30, 40], &[], Pin::default());
        alike.templates.insert(30, alike.templates[&40].clone());
        assert_eq!(alike.before().ok(), Some(20));
    }

    #[test]
    fn who_went_back_already_says_how_far() {
        let pin = Pin { template: Some(30), of: Some(40), ..Pin::default() };
        let said = known(30, &[20, 40, 30], &[], pin).before().unwrap_err().message;
        for clue in ["pinned template @30", "rollback shop/web --to TEMPLATE", "unpin shop/web"] {
            assert!(said.contains(clue), "{said}");
        }
    }

    #[test]
    fn history_tells_what_became_of_each_template() {
        let pin = Pin { template: Some(20), of: Some(40), ..Pin::default() };
        let mut known = known(20, &[40, 20], &[30], pin);
        known.rollout.evidence.insert(30, "exited with code 1".to_owned());
        let said = |known: &Known| [10, 20, 30, 40].map(|n| known.state(n).join(", "));
        assert_eq!(
            said(&known),
            [
                "not known to have run well",
                "wanted, pinned now, ran well",
                "rejected: exited with code 1",
                "the document's, ran well"
            ]
        );
        known.rollout.phase = Phase::Paused { why: "no such image".to_owned() };
        assert_eq!(known.state(20).join(", "), "wanted, pinned now, stands still: no such image");
    }

    #[test]
    fn an_unknown_template_is_refused_with_those_that_are_known() {
        let mut known = known(40, &[], &[], Pin::default());
        known.templates.retain(|number, _| [10, 30].contains(number));
        let said = known.template(20).unwrap_err().message;
        assert!(said.ends_with("no template @20; there are @10 (web:10), @30 (web:30)"), "{said}");
        assert_eq!((number("@30"), number("30")), (Ok(30), Ok(30)));
        assert!(number("web").is_err());
    }
}
