//! What the hosts remember beside what the store says now, and what would have to be written to bring the one
//! into the other. Pure: nothing is read or written here.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{HostName, InstanceId, ServiceId, Slot};
use evenkeel_api::recall::{Recall, Remembered, is_durable};
use evenkeel_api::record::{Cluster, Desired, Instance, Rollout, Timestamp};
use serde::Serialize;

/// A record of the store as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// Its value.
    pub value: String,
    /// The revision of its last change.
    pub revision: i64,
}

/// The store as it is now.
#[derive(Debug, Clone, Default)]
pub struct Store {
    /// Who it says that the cluster is.
    pub cluster: Option<Cluster>,
    /// Its revision.
    pub revision: i64,
    /// Its durable records.
    pub records: BTreeMap<Key, Stands>,
}

/// What all hosts remember, taken together.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The cluster's uid.
    pub uid: String,
    /// Its highest epoch.
    pub epoch: u64,
    /// The highest revision that was seen.
    pub revision: i64,
    /// By key.
    pub records: BTreeMap<Key, Remembered>,
    /// Whether one of them remembers all documents.
    pub complete: bool,
}

/// Whose memory it is: an archive of all that there was, or what one host runs.
#[derive(Debug, Clone)]
pub enum Of {
    /// Of the whole cluster.
    Archive(Recall),
    /// Of that host.
    Host(HostName, Recall),
}

impl Of {
    fn recall(&self) -> &Recall {
        match self {
            Self::Archive(recall) | Self::Host(_, recall) => recall,
        }
    }
}

/// How a document in the store differs from what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It is not there.
    Lost,
    /// It is as it was at an earlier time.
    Older,
    /// It was written since the store went back.
    Newer,
    /// It had been deleted, and is back.
    Returned,
    /// It was made since the store went back.
    New,
}

/// A document that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// Which.
    pub object: ObjectRef,
    /// How.
    pub word: Word,
    /// The store's revision of it; 0: it has none.
    pub stands: i64,
    /// The remembered one; 0: none.
    pub remembered: i64,
}

/// A copy of which store and hosts think differently.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CopyDiffers {
    /// Which.
    pub id: InstanceId,
    /// Where.
    pub host: HostName,
    /// It runs, and the store knows nothing of it; else the other way round.
    pub runs: bool,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Documents.
    pub documents: Vec<Differs>,
    /// Copies.
    pub copies: Vec<CopyDiffers>,
    /// Services that run and of which no document is left anywhere.
    pub without_document: BTreeSet<ServiceId>,
}

/// What to do with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The new value; `None`: it goes.
    pub value: Option<String>,
    /// The revision that it must be at.
    pub revision: i64,
}

impl Memory {
    /// One archive is the ground; of its own copies each host knows best.
    ///
    /// # Errors
    /// They are of different clusters.
    pub fn of(all: Vec<Of>, now: &Store) -> Result<Self, String> {
        // One that never ran anything belongs to no cluster yet.
        let uids = all.iter().map(|of| of.recall().uid.as_str()).filter(|uid| !uid.is_empty());
        let uids: BTreeSet<&str> = uids.collect();
        if uids.len() > 1 {
            let uids: Vec<&str> = uids.into_iter().collect();
            return Err(format!("hosts of several clusters are here: {}", uids.join(", ")));
        }
        let uid = uids.into_iter().next().unwrap_or_default().to_owned();
        let mut memory = Self { uid, ..Self::default() };
        for recall in all.iter().map(Of::recall) {
            memory.epoch = memory.epoch.max(recall.epoch);
            memory.revision = memory.revision.max(recall.revision);
        }
        let archives = all.iter().filter_map(|of| match of {
            Of::Archive(archive) => Some(archive),
            Of::Host(..) => None,
        });
        if let Some(ground) = ground(archives, now) {
            memory.complete = true;
            memory.records.extend(keyed(ground.clone()));
        }
        for of in &all {
            let Of::Host(host, recall) = of else { continue };
            for (key, value) in keyed(recall.clone()) {
                let own = matches!(&key, Key::Instance(of, _) | Key::Observed(of, _) if of == host);
                match memory.records.get(&key) {
                    // The leader's word on a copy is newer than the host's, where both are known.
                    Some(_) if !own || matches!(key, Key::Instance(..)) => {}
                    _ => drop(memory.records.insert(key, value)),
                }
            }
        }
        Ok(memory)
    }
}

/// The archive to go by. Of the newest epoch; one that the store contradicts before one that took the store's past
/// over and knows nothing else; of those that are left the one that saw the highest revision.
fn ground<'a>(archives: impl Iterator<Item = &'a Recall>, now: &Store) -> Option<&'a Recall> {
    archives.max_by_key(|archive| {
        (archive.epoch, now.seen(archive).is_behind(archive).is_some(), archive.revision)
    })
}

impl Store {
    /// As who keeps this archive would remember it.
    fn seen(&self, archive: &Recall) -> Recall {
        let records = self.records.iter().map(|(key, stands)| {
            (key.to_string(), Remembered { value: stands.value.clone(), revision: stands.revision })
        });
        let (uid, epoch) = match &self.cluster {
            Some(cluster) => (cluster.uid.clone(), cluster.epoch),
            None => (archive.uid.clone(), archive.epoch),
        };
        Recall { uid, epoch, revision: self.revision, records: records.collect() }
    }
}

fn keyed(recall: Recall) -> impl Iterator<Item = (Key, Remembered)> {
    let parse = |(key, value): (String, Remembered)| Some((key.parse::<Key>().ok()?, value));
    recall.records.into_iter().filter_map(parse).filter(|(key, _)| is_durable(key))
}

/// The newest revision that both have: what the store has beyond it was written since it went back.
fn fork(store: &Store, memory: &Memory) -> i64 {
    let common = memory.records.iter().filter(|(key, known)| {
        let stands = store.records.get(*key);
        stands.is_some_and(|stands| stands.revision == known.revision && stands.value == known.value)
    });
    common.map(|(_, known)| known.revision).max().unwrap_or(0)
}

/// How a document stands; `None`: as it is remembered.
fn word(stands: Option<&Stands>, known: Option<&Remembered>, fork: i64) -> Option<Word> {
    match (stands, known) {
        (Some(stands), Some(known)) if stands.value == known.value => None,
        (None, None) => None,
        (None, Some(_)) => Some(Word::Lost),
        (Some(stands), Some(_)) => Some(if stands.revision > fork { Word::Newer } else { Word::Older }),
        (Some(stands), None) => Some(if stands.revision > fork { Word::New } else { Word::Returned }),
    }
}

/// Compare the two.
pub fn difference(store: &Store, memory: &Memory) -> Difference {
    let fork = fork(store, memory);
    let mut difference = Difference::default();
    let keys: BTreeSet<&Key> = store.records.keys().chain(memory.records.keys()).collect();
    for key in keys {
        let (stands, known) = (store.records.get(key), memory.records.get(key));
        match key {
            // Who remembers no documents misses none.
            Key::Document(object) if memory.complete => {
                if let Some(word) = word(stands, known, fork) {
                    difference.documents.push(Differs {
                        object: object.clone(),
                        word,
                        stands: stands.map_or(0, |stands| stands.revision),
                        remembered: known.map_or(0, |known| known.revision),
                    });
                }
            }
            Key::Instance(host, id) => {
                let runs = known.is_some_and(|known| wanted(&known.value));
                let stands = stands.is_some_and(|stands| wanted(&stands.value));
                if runs != stands {
                    difference.copies.push(CopyDiffers { id: id.clone(), host: host.clone(), runs });
                }
                let document = Key::Document(ObjectRef::Service(id.service.clone()));
                let none = !store.records.contains_key(&document) && !memory.records.contains_key(&document);
                if runs && none {
                    difference.without_document.insert(id.service.clone());
                }
            }
            _ => {}
        }
    }
    difference
}

fn wanted(record: &str) -> bool {
    serde_json::from_str::<Instance>(record)
        .is_ok_and(|record| matches!(record.desired, Desired::Run | Desired::Drain))
}

/// What brings the store to what the hosts remember. What people wrote since it went back stays.
pub fn import(store: &Store, memory: &Memory) -> BTreeMap<Key, Write> {
    let fork = fork(store, memory);
    let mut writes = BTreeMap::new();
    let keys: BTreeSet<&Key> = store.records.keys().chain(memory.records.keys()).collect();
    for key in keys {
        let (stands, known) = (store.records.get(key), memory.records.get(key));
        let Some(word) = word(stands, known, fork) else { continue };
        let peoples = matches!(key, Key::Document(_) | Key::Pin(_) | Key::Brake);
        let keep = match word {
            Word::Newer | Word::New if peoples => true,
            // Without an archive, nobody knows what was not there.
            Word::New | Word::Returned if !memory.complete => true,
            // What was made of a new document goes with that.
            Word::New => of_new_document(key, store, memory),
            _ => false,
        };
        if !keep {
            let revision = stands.map_or(0, |stands| stands.revision);
            writes.insert(key.clone(), Write { value: known.map(|known| known.value.clone()), revision });
        }
    }
    one_of_each_exclusive_slot(store, &mut writes);
    writes
}

/// A copy's record and its key, with its sequence number.
type Numbered = (u64, Key, Instance);

/// Memories of several times may know several copies of an exclusive slot, and each would be proved alive. The
/// newest one holds, and the others are lost.
fn one_of_each_exclusive_slot(store: &Store, writes: &mut BTreeMap<Key, Write>) {
    let mut slots: BTreeMap<(ServiceId, Slot), Vec<Numbered>> = BTreeMap::new();
    let keys: BTreeSet<Key> = store.records.keys().chain(writes.keys()).cloned().collect();
    for key in keys {
        let Key::Instance(_, id) = &key else { continue };
        let value = match writes.get(&key) {
            Some(write) => write.value.as_deref(),
            None => store.records.get(&key).map(|stands| stands.value.as_str()),
        };
        let Some(record) = value.and_then(|value| serde_json::from_str::<Instance>(value).ok()) else {
            continue;
        };
        if record.fence.is_some() && record.desired < Desired::Lost {
            let slot = (id.service.clone(), record.slot.clone());
            slots.entry(slot).or_default().push((id.seq, key, record));
        }
    }
    for mut copies in slots.into_values() {
        copies.sort_by_key(|(seq, ..)| *seq);
        copies.pop();
        for (_, key, record) in copies {
            let revision = store.records.get(&key).map_or(0, |stands| stands.revision);
            let cause = "a newer copy is known".to_owned();
            let lost = Instance { desired: Desired::Lost, cause, ..record };
            writes.insert(key, Write { value: serde_json::to_string(&lost).ok(), revision });
        }
    }
}

fn of_new_document(key: &Key, store: &Store, memory: &Memory) -> bool {
    let service = match key {
        Key::Accepted(object) => return new_document(object, store, memory),
        Key::Revision(id, _) | Key::Digest(id, _) | Key::Rollout(id) | Key::Endpoints(id, _) => id,
        Key::Instance(_, id) | Key::Observed(_, id) | Key::Health(_, id) => &id.service,
        // Facts and reports of a host that came since.
        _ => return true,
    };
    new_document(&ObjectRef::Service(service.clone()), store, memory)
}

fn new_document(object: &ObjectRef, store: &Store, memory: &Memory) -> bool {
    let key = Key::Document(object.clone());
    store.records.contains_key(&key) && !memory.records.contains_key(&key)
}

/// The cluster's record after a recovery: its epoch declares the past void, and no number of that past is used
/// again.
pub fn cluster(store: &Store, memory: &Memory, now: Timestamp) -> Cluster {
    let known = store.cluster.clone().unwrap_or(Cluster { uid: String::new(), epoch: 0, level: 1, floor: 0 });
    let seq = |key: &Key, value: &str| match key {
        Key::Instance(_, id) | Key::Observed(_, id) => id.seq,
        Key::Rollout(_) => serde_json::from_str::<Rollout>(value).map_or(0, |rollout| rollout.seq),
        Key::Revision(_, number) => u64::try_from(*number).unwrap_or(0),
        _ => 0,
    };
    let remembered = memory.records.iter().map(|(key, known)| seq(key, &known.value));
    let stands = store.records.iter().map(|(key, stands)| seq(key, &stands.value));
    let used = remembered.chain(stands).max().unwrap_or(0);
    let used = i64::try_from(used).unwrap_or(i64::MAX - 1);
    Cluster {
        uid: memory.uid.clone(),
        // Not only one more: that number may have been given before, to a word that went with the past.
        epoch: (known.epoch.max(memory.epoch) + 1).max(u64::try_from(now.0 / 1000).unwrap_or(0)),
        level: known.level,
        floor: known.floor.max(memory.revision).max(store.revision).max(used),
    }
}

#[cfg(test)]
mod tests;
