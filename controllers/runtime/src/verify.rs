//! Own keys as witness: each writer of a process left a guard in the store. One that is gone, or older than it
//! was left, gives away a store that was restored or wiped, also where its revision has since gone past all
//! that was seen. And where one process has seen that, all others learn it from `halt`.

use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::record::{Cluster, Halt};

use crate::store::{Kv, Store, StoreError, TxnBuilder};
use crate::writer::{LastWrite, contradicts};

/// The marks need not be compared again so soon.
pub(crate) const VERIFY_EVERY: Duration = Duration::from_secs(5);

/// Compare the store with what the writers of this process left in it, and see whether anybody halted the
/// cluster; what contradicts costs the store its trust. A process without writers compares nothing.
///
/// # Errors
/// The store does not answer.
pub async fn verify(store: &dyn Store) -> Result<(), StoreError> {
    let witness = store.witness();
    let generation = witness.generation();
    let marks = witness.marks();
    if marks.is_empty() {
        return Ok(());
    }
    let mut txn = TxnBuilder::new().get(&Key::Cluster).get(&Key::Halt);
    for guard in marks.keys() {
        txn = txn.get(guard);
    }
    let txn = txn.build().map_err(|error| StoreError::Refused(error.to_string()))?;
    let reads = store.commit(&txn).await?.reads;
    // A person has decided meanwhile: what was remembered is void.
    if generation != witness.generation() {
        return Ok(());
    }
    let mut reads = reads.into_iter();
    let cluster = reads.next().flatten();
    let halt = reads.next().flatten();
    let past = marks.iter().zip(reads).find_map(|((guard, last), now)| {
        let why = contradicts(last, &now_of(cluster.as_ref(), now.as_ref()))?;
        Some(format!("{guard}: {why}"))
    });
    match past.or_else(|| halt.as_ref().map(halted)) {
        Some(why) => witness.distrust(why),
        None => witness.verified(),
    }
    Ok(())
}

fn now_of(cluster: Option<&Kv>, guard: Option<&Kv>) -> LastWrite {
    let (cluster, epoch) = identity(cluster);
    LastWrite { cluster, epoch, revision: guard.map_or(0, |kv| kv.mod_revision) }
}

/// The cluster's uid and epoch; none is no uid.
pub(crate) fn identity(cluster: Option<&Kv>) -> (String, u64) {
    record(cluster).map(|cluster| (cluster.uid, cluster.epoch)).unwrap_or_default()
}

/// The cluster's record, if it can be read.
pub(crate) fn record(cluster: Option<&Kv>) -> Option<Cluster> {
    serde_json::from_slice(&cluster?.value).ok()
}

/// Why the cluster is halted. That it is counts, also if the reason cannot be read.
pub(crate) fn halted(halt: &Kv) -> String {
    match serde_json::from_slice::<Halt>(&halt.value) {
        Ok(halt) => halt.why,
        Err(_) => "somebody wrote `halt`".to_owned(),
    }
}
