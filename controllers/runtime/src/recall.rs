//! Telling what this process remembers, while the store is not trusted.

use std::time::Duration;

use evenkeel_api::key::{Controller, Key, prefix};
use evenkeel_api::name::HostName;
use evenkeel_api::recall::{Piece, Recall};
use tokio::time::sleep;

use crate::store::{Store, StoreError, TxnBuilder};
use crate::witness::Trust;
use crate::writer::{Writer, json};

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(5);
/// Pieces of one transaction: some 800 kB.
const AT_ONCE: usize = 4;
/// More pieces would fill the store themselves.
const MOST: usize = 250;

/// Put what `recall` gives beside the store's records whenever the store loses its trust, and take it away when
/// it is trusted again. Runs for ever.
pub async fn tell(
    store: &dyn Store,
    host: &HostName,
    controller: Controller,
    writer: &Writer,
    recall: impl Fn() -> Option<Recall>,
) {
    let mut trust = store.witness().trust_changes();
    loop {
        let trusted = trust.get() == Trust::Trusted;
        let done = if trusted {
            // Also what a last life has told.
            withdraw(store, host, controller).await
        } else {
            match recall() {
                Some(mut recall) => {
                    if let Some(known) = writer.known().await {
                        recall.epoch = recall.epoch.max(known.epoch);
                    }
                    put(store, host, controller, &recall).await
                }
                None => Ok(()),
            }
        };
        match done {
            Ok(()) => trust.changed().await,
            Err(error) => {
                tracing::debug!(%error, "what is remembered is not told yet");
                tokio::select! { biased;
                    () = trust.changed() => {}
                    () = sleep(AGAIN) => {}
                }
            }
        }
    }
}

async fn put(
    store: &dyn Store,
    host: &HostName,
    controller: Controller,
    recall: &Recall,
) -> Result<(), StoreError> {
    let refused = |error: &dyn std::fmt::Display| StoreError::Refused(error.to_string());
    let pieces = recall.pieces().map_err(|error| refused(&error))?;
    if !fits(pieces.len()) {
        tracing::error!(
            pieces = pieces.len(),
            "what is remembered is too much to be put into the store: it stays on disk"
        );
        return Ok(());
    }
    let numbered: Vec<(u32, Piece)> = (0..).zip(pieces).collect();
    for some in numbered.chunks(AT_ONCE) {
        // Unguarded, as what is said of distrust: the guard is just what does not hold any more.
        let txn = some.iter().fold(TxnBuilder::new(), |txn, (number, piece)| {
            txn.put(&Key::Recall(host.clone(), controller, *number), json(piece))
        });
        store.commit(&txn.build().map_err(|error| refused(&error))?).await?;
    }
    Ok(())
}

/// Whether that many pieces may be put into the store.
fn fits(pieces: usize) -> bool {
    pieces <= MOST
}

async fn withdraw(store: &dyn Store, host: &HostName, controller: Controller) -> Result<(), StoreError> {
    let told = store.list(&prefix::recall_of(host, controller)).await?;
    let keys: Vec<Key> = told.kvs.iter().filter_map(|kv| kv.key.parse().ok()).collect();
    for some in keys.chunks(crate::store::MAX_WRITES) {
        let txn = some.iter().fold(TxnBuilder::new(), TxnBuilder::delete);
        store.commit(&txn.build().map_err(|error| StoreError::Refused(error.to_string()))?).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_not_filled_with_what_is_remembered() {
        assert!(fits(MOST));
        assert!(!fits(MOST + 1));
    }
}
