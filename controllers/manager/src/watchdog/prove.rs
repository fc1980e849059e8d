//! Proof of life: a transaction that the cluster, not one member's memory, has answered, and that found this
//! host registered under its own lease and read the copies' records. Its time is when it was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_api::key::{Controller, Key};
use evenkeel_api::name::InstanceId;
use evenkeel_api::record::{Alive, Cluster, Desired, Instance};
use evenkeel_metrics::Trouble;
use evenkeel_plan::host::register::Memory;
use evenkeel_plan::watchdog::Watch;
use evenkeel_runtime::disk::peek;
use evenkeel_runtime::store::{Kv, StoreError, TxnBuilder};
use evenkeel_runtime::witness::Trust;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::{News, WatchdogDeps, aside};

/// Between two proofs.
const EVERY: Duration = Duration::from_millis(500);
/// Records in one transaction.
const AT_ONCE: usize = 100;

/// `host/state.json`, as far as it is looked at.
#[derive(Debug, Default, Deserialize)]
struct HostFile {
    #[serde(default)]
    registration: Memory,
}

/// Proves for ever. Nothing is asked while there is nothing to guard.
pub(super) async fn run(deps: WatchdogDeps, mut watched: watch::Receiver<Watch>, tell: mpsc::Sender<News>) {
    let (mut failing, mut believed) = (false, None);
    loop {
        let instances: Vec<InstanceId> = watched.borrow_and_update().instances().into_iter().collect();
        // What failed was about others, and must not keep what comes next from being asked for.
        failing &= !instances.is_empty();
        for some in instances.chunks(AT_ONCE) {
            let sent = deps.env.boot_time();
            let measured = deps.meter.pass();
            let answer = ask(&deps, some, &mut believed).await;
            drop(measured);
            if answer.is_err() {
                deps.meter.failed(Trouble::Store);
            }
            match answer {
                Ok(records) => {
                    failing = false;
                    if tell.send(News::Proof(sent, records)).await.is_err() {
                        return;
                    }
                }
                Err(why) => match std::mem::replace(&mut failing, true) {
                    true => {}
                    false => tracing::warn!(why, "there is no proof of life"),
                },
            }
        }
        let rest = tokio::time::sleep(EVERY);
        tokio::pin!(rest);
        // What is new to guard does not wait for its first proof. Proofs change what is watched, too.
        loop {
            let idle = instances.is_empty();
            tokio::select! { biased;
                changed = watched.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if !failing && !watched.borrow_and_update().instances().into_iter().eq(instances.iter().cloned()) {
                        break;
                    }
                }
                () = &mut rest, if !idle => break,
            }
        }
    }
}

/// The records of those copies, from a store that says that this host lives. `believed`: the cluster as it was
/// when the store was last believed.
async fn ask(
    deps: &WatchdogDeps,
    instances: &[InstanceId],
    believed: &mut Option<Cluster>,
) -> Result<BTreeMap<InstanceId, Desired>, String> {
    let dir = deps.state_dir.clone();
    let read = move || peek::<HostFile>(&dir, Controller::Host, "state");
    let file = aside(&deps.state_dir, read).await.flatten().unwrap_or_default();
    let registered = file.registration;
    let Some(lease) = registered.lease else {
        return Err("this host is not registered".to_owned());
    };
    let alive = Key::Alive(deps.host.clone());
    let record = |id: &InstanceId| Key::Instance(deps.host.clone(), id.clone());
    let txn = TxnBuilder::new().if_leased(&alive, lease);
    let txn = txn.get(&Key::Cluster).get(&Key::Halt).get(&alive);
    let txn = instances.iter().fold(txn, |txn, id| txn.get(&record(id)));
    let txn = txn.build().map_err(|error| error.to_string())?;
    let answer = deps.store.commit(&txn).await.map_err(|error: StoreError| error.to_string())?;
    let mut reads = answer.reads.into_iter();
    let (cluster, halt) = (parsed::<Cluster>(reads.next().flatten()), reads.next().flatten());
    if let Trust::Untrusted { why } = deps.store.witness().trust() {
        // No writer shares this connection: nobody else notices here that a person has decided.
        if halt.is_none() && is_after(cluster.as_ref(), believed.as_ref()) {
            tracing::warn!("a person declared the store's past void; the watchdog trusts it again");
            deps.store.witness().forgive();
        }
        return Err(why);
    }
    if cluster.is_some() {
        *believed = cluster;
    }
    let mine = Alive { boot_id: registered.boot_id, incarnation: registered.incarnation };
    if !answer.succeeded || parsed::<Alive>(reads.next().flatten()) != Some(mine) {
        return Err("this host's lease is gone".to_owned());
    }
    let found = instances.iter().zip(reads);
    Ok(found.filter_map(|(id, kv)| Some((id.clone(), parsed::<Instance>(kv)?.desired))).collect())
}

/// Whether a person has declared void what was believed. Who believed nothing waits only for the end of the halt.
fn is_after(now: Option<&Cluster>, believed: Option<&Cluster>) -> bool {
    match (now, believed) {
        (Some(now), Some(before)) => now.voids(&before.uid, before.epoch),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn parsed<T: serde::de::DeserializeOwned>(kv: Option<Kv>) -> Option<T> {
    serde_json::from_slice(&kv?.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_epoch_of_the_same_cluster_declares_void_what_was_believed() {
        let cluster = |uid: &str, epoch| Cluster { uid: uid.into(), epoch, level: 1, floor: 0 };
        let before = cluster("u1", 4);
        let table = [
            (None, None, false),
            (None, Some(&before), false),
            (Some(cluster("u1", 1)), None, true),
            (Some(cluster("u1", 3)), Some(&before), false),
            (Some(cluster("u1", 4)), Some(&before), false),
            (Some(cluster("u1", 5)), Some(&before), true),
            (Some(cluster("u2", 5)), Some(&before), false),
        ];
        for (now, before, expected) in table {
            assert_eq!(is_after(now.as_ref(), before), expected, "{now:?} after {before:?}");
        }
    }
}
