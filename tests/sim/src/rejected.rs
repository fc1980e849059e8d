//! I9: what was rejected stays so, whoever leads, and whatever is put again, until a person says otherwise.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::ServiceId;
use evenkeel_api::record::{Accepted, Instance, Pin, Rollout};
use evenkeel_api::service::ServiceSpec;
use evenkeel_runtime::store::{Change, Kv};
use serde::de::DeserializeOwned;

use crate::stored::Written;
use crate::timeline::Timeline;

/// See the module.
#[derive(Default)]
pub struct Rejected {
    of: BTreeMap<ServiceId, Known>,
}

/// What is known of one service.
#[derive(Default)]
struct Known {
    /// Rejected templates, with the revision at which they were.
    rejected: BTreeMap<i64, i64>,
    /// When a person last wanted a template, though it may be rejected.
    wanted: BTreeMap<i64, i64>,
    /// The templates that are kept.
    templates: BTreeMap<i64, Vec<u8>>,
}

impl Known {
    /// Whether a person wanted it to be tried since.
    fn is_forgiven(&self, number: i64, since: i64) -> bool {
        self.wanted.get(&number).is_some_and(|at| *at >= since)
    }
}

impl Rejected {
    /// Looks at what was written, and tells what does not hold.
    pub fn look(&mut self, timeline: &Timeline, written: &Written) {
        if written.anew {
            self.of.clear();
        }
        let mut found = Vec::new();
        // What one transaction wrote is seen together: templates and words before what follows from them.
        let mut last = Vec::new();
        let mut revision = 0;
        for change in &written.changes {
            if change.mod_revision() != revision {
                self.one(&std::mem::take(&mut last), written.anew, &mut found);
                revision = change.mod_revision();
            }
            last.push(change);
        }
        self.one(&last, written.anew, &mut found);
        for what in found {
            timeline.violated("I9 rejected stays", &what);
        }
    }

    /// One transaction.
    fn one(&mut self, changes: &[&Change], anew: bool, found: &mut Vec<String>) {
        let keyed = |change: &&Change| Some((change.key().parse::<Key>().ok()?, (*change).clone()));
        let changes: Vec<(Key, Change)> = changes.iter().filter_map(keyed).collect();
        for (key, change) in &changes {
            match key {
                Key::Pin(id) => {
                    let pin = put(change).and_then(read::<Pin>).unwrap_or_default();
                    let wanted = &mut self.of.entry(id.clone()).or_default().wanted;
                    wanted.extend(
                        pin.retry.into_iter().chain(pin.template).map(|n| (n, change.mod_revision())),
                    );
                }
                Key::Revision(id, number) => {
                    let templates = &mut self.of.entry(id.clone()).or_default().templates;
                    match put(change) {
                        Some(kv) => drop(templates.insert(*number, kv.value.to_vec())),
                        None => drop(templates.remove(number)),
                    }
                }
                _ => {}
            }
        }
        for (key, change) in &changes {
            match (key, put(change)) {
                // Whoever is deleted begins anew.
                (Key::Rollout(id), None) => drop(self.of.remove(id)),
                (Key::Rollout(id), Some(kv)) => self.rollout(id, kv, found),
                (Key::Accepted(ObjectRef::Service(id)), Some(kv)) => self.accepted(id, kv, found),
                (Key::Instance(_, id), Some(kv)) if kv.create_revision == kv.mod_revision && !anew => {
                    self.copy(&id.service, kv, found);
                }
                _ => {}
            }
        }
    }

    fn rollout(&mut self, id: &ServiceId, kv: &Kv, found: &mut Vec<String>) {
        let Some(rollout) = read::<Rollout>(kv) else { return };
        let known = self.of.entry(id.clone()).or_default();
        for (number, since) in &known.rejected {
            let kept = rollout.rejected.contains(number) || !known.templates.contains_key(number);
            if !kept && !known.is_forgiven(*number, *since) {
                found.push(format!("{id}@{number} was rejected at {since}, and nobody took that back"));
            }
        }
        known.rejected.retain(|number, _| rollout.rejected.contains(number));
        for number in rollout.rejected {
            known.rejected.entry(number).or_insert(kv.mod_revision);
        }
    }

    /// The same content put again is the same template.
    fn accepted(&mut self, id: &ServiceId, kv: &Kv, found: &mut Vec<String>) {
        let accepted = read::<Accepted<ServiceSpec>>(kv);
        let (Some(number), Some(known)) = (accepted.and_then(|of| of.template), self.of.get(id)) else {
            return;
        };
        let content = known.templates.get(&number);
        let same: BTreeSet<&i64> = (known.rejected.iter())
            .filter(|(other, since)| **other != number && **since < kv.mod_revision)
            .map(|(other, _)| other)
            .filter(|other| content.is_some() && known.templates.get(other) == content)
            .collect();
        if let Some(other) = same.first() {
            found.push(format!("{id}@{number} is the rejected @{other} under another number"));
        }
    }

    fn copy(&mut self, id: &ServiceId, kv: &Kv, found: &mut Vec<String>) {
        let (Some(record), Some(known)) = (read::<Instance>(kv), self.of.get(id)) else { return };
        let number = record.template.revision;
        if let Some(since) = known.rejected.get(&number).filter(|since| **since < kv.mod_revision)
            && !known.is_forgiven(number, *since)
        {
            found.push(format!("{} is a new copy of {id}@{number}, rejected at {since}", kv.key));
        }
    }
}

fn put(change: &Change) -> Option<&Kv> {
    match change {
        Change::Put(kv) => Some(kv),
        Change::Delete { .. } => None,
    }
}

fn read<T: DeserializeOwned>(kv: &Kv) -> Option<T> {
    serde_json::from_slice(&kv.value).ok()
}
