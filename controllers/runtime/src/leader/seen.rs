//! What a standby saw of those who led: the reader's witness. A leader that wrote after a snapshot may be lost
//! together with its disk, and then none of its own keys would tell that the snapshot was restored. So each
//! candidate remembers the leaders' guards, and compares them before it leads.

use std::collections::BTreeMap;

use bytes::Bytes;
use evenkeel_api::key::{Controller, Key};
use evenkeel_api::name::HostName;
use evenkeel_api::record::Writer as Guard;

use crate::store::{Kv, Store, StoreError, TxnBuilder};

/// A leader's guard as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    revision: i64,
    value: Bytes,
}

/// The guards of all hosts that were seen to lead.
#[derive(Debug, Default)]
pub(super) struct Seen {
    of: BTreeMap<HostName, Option<Mark>>,
    generation: u64,
}

/// More leaders are not read at once.
const HOSTS: usize = 100;

impl Seen {
    /// That host leads.
    pub fn leads(&mut self, host: HostName) {
        if self.of.len() < HOSTS {
            self.of.entry(host).or_default();
        }
    }

    /// Compare what was seen with what stands there, and remember that. What contradicts costs the store its
    /// trust.
    pub async fn look(&mut self, store: &dyn Store, controller: Controller) -> Result<(), StoreError> {
        let generation = store.witness().generation();
        if generation != self.generation {
            self.of.values_mut().for_each(|mark| *mark = None);
            self.generation = generation;
        }
        if self.of.is_empty() {
            return Ok(());
        }
        let mut txn = TxnBuilder::new();
        for host in self.of.keys() {
            txn = txn.get(&Key::Writer(host.clone(), controller));
        }
        let txn = txn.build().map_err(|error| StoreError::Refused(error.to_string()))?;
        let reads = store.commit(&txn).await?.reads;
        if generation != store.witness().generation() {
            return Ok(());
        }
        for ((host, mark), now) in self.of.iter_mut().zip(reads) {
            if let Some(why) = mark.as_ref().and_then(|mark| past(mark, now.as_ref())) {
                let what = format!("what the {controller} leader on {host} wrote is lost: {why}");
                store.witness().distrust(what);
                return Ok(());
            }
            *mark = now.map(|kv| Mark { revision: kv.mod_revision, value: kv.value });
        }
        Ok(())
    }
}

/// Why what stands there cannot have come after what was seen.
fn past(seen: &Mark, now: Option<&Kv>) -> Option<String> {
    let Some(now) = now else { return Some("its guard is gone".to_owned()) };
    if now.mod_revision < seen.revision {
        return Some(format!("its guard was at revision {}, and is at {}", seen.revision, now.mod_revision));
    }
    let same = now.value == seen.value;
    if now.mod_revision == seen.revision {
        return (!same).then(|| format!("its guard at revision {} says something else", seen.revision));
    }
    // A later guard counts on from the one that was seen, whoever wrote it.
    let count = |value: &[u8]| serde_json::from_slice::<Guard>(value).ok().map(|guard| guard.n);
    match (count(&seen.value), count(&now.value)) {
        (Some(before), Some(after)) if after <= before => {
            Some(format!("its guard had counted to {before}, and is at {after}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(n: u64, process: &str) -> Bytes {
        serde_json::to_vec(&Guard { n, process: process.to_owned(), event: 0 }).unwrap().into()
    }

    #[test]
    fn only_what_comes_after_what_was_seen_is_no_past() {
        let seen = Mark { revision: 10, value: guard(5, "a") };
        let kv = |revision, value| Kv {
            key: "writers/h1/service".to_owned(),
            value,
            create_revision: 1,
            mod_revision: revision,
            lease: 0,
        };
        for (now, trusted) in [
            (Some(kv(10, guard(5, "a"))), true),
            (Some(kv(12, guard(6, "a"))), true),
            (Some(kv(12, guard(6, "b"))), true),
            (None, false),
            (Some(kv(9, guard(4, "a"))), false),
            // The same revision of another history, and a history that has gone past it.
            (Some(kv(10, guard(5, "b"))), false),
            (Some(kv(40, guard(5, "b"))), false),
            (Some(kv(40, guard(3, "a"))), false),
        ] {
            assert_eq!(past(&seen, now.as_ref()).is_none(), trusted, "{now:?}");
        }
    }

    #[test]
    fn no_more_leaders_are_remembered_than_one_transaction_reads() {
        let mut seen = Seen::default();
        for n in 0..150 {
            seen.leads(format!("h{n}").parse().unwrap());
        }
        assert_eq!(seen.of.len(), HOSTS);
    }
}
