//! What this host's name server tells the others: how new its zone is.

use std::convert::Infallible;
use std::time::Duration;

use evenkeel_api::key::Key;
use evenkeel_api::name::HostName;
use evenkeel_api::record::DnsReport;
use evenkeel_runtime::mirror::Mirror;
use evenkeel_runtime::store::TxnBuilder;
use evenkeel_runtime::writer::{Outcome, WriteError, Writer};
use tokio::sync::watch;

/// Between two reports: a host writes at most ten a second.
const PERIOD: Duration = Duration::from_millis(100);
/// Before another try after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Reports the newest revision served, when it is not what stands there.
pub(super) async fn run(
    host: HostName,
    writer: Writer,
    mirror: Mirror,
    mut served: watch::Receiver<Option<i64>>,
) -> Infallible {
    let key = Key::DnsReport(host);
    mirror.synced().await;
    loop {
        let revision = *served.borrow_and_update();
        let settled = match revision {
            Some(revision) => report(&key, &writer, &mirror, DnsReport { revision }).await,
            None => true,
        };
        if !settled {
            tokio::time::sleep(PAUSE).await;
        } else if served.changed().await.is_err() {
            std::future::pending::<()>().await;
        } else {
            tokio::time::sleep(PERIOD).await;
        }
    }
}

/// Whether there is nothing left to do.
async fn report(key: &Key, writer: &Writer, mirror: &Mirror, wanted: DnsReport) -> bool {
    let stands = mirror.stands::<DnsReport>(key);
    if stands.as_ref().is_some_and(|stands| stands.value == wanted) {
        return true;
    }
    // What does not parse is replaced as well.
    let revision = mirror.get(key).map_or(0, |kv| kv.mod_revision);
    let txn = TxnBuilder::new().if_unchanged(key, revision);
    let txn = match (wanted.revision, serde_json::to_vec(&wanted)) {
        // A zone without endpoints has nothing to tell, and leaves nothing behind.
        (0, _) if revision == 0 => return true,
        (0, _) => txn.delete(key),
        (_, Ok(value)) => txn.put(key, value),
        (_, Err(_)) => return true,
    };
    match writer.commit(txn).await {
        Ok(Outcome::Done { revision }) => {
            mirror.caught_up(revision).await;
            true
        }
        Ok(Outcome::Lost) => false,
        // Serving goes on without the store; that is not worth a line a second.
        Err(WriteError::Store(error)) => {
            tracing::debug!(%error, "not reported");
            false
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not reported");
            false
        }
    }
}
