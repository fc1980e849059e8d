//! All that etcd holds at one moment, as the file that `etcdutl snapshot restore` takes.

use std::io;
use std::time::Duration;

use etcd_client::Client;
use evenkeel_runtime::store::StoreError;
use tokio::time::timeout;

use crate::errors::meaning;
use crate::rights::Admin;

/// How long a member may be silent in the middle of one.
const SILENCE: Duration = Duration::from_secs(30);

/// There is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// etcd gives none.
    #[error("{0}")]
    Store(#[source] StoreError),
    /// It cannot be kept.
    #[error("it cannot be written: {0}")]
    Write(#[source] io::Error),
    /// The stream ended, or stood still, before its end.
    #[error("etcd did not send all of it")]
    CutOff,
}

impl Admin {
    /// Hands a snapshot to `write`, piece by piece; how many bytes it has. Only root may ask for one.
    ///
    /// # Errors
    /// etcd gives none, it is cut off, or `write` fails: what was written is worth nothing then.
    pub async fn snapshot(
        &self,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<u64, SnapshotError> {
        let open = |client: Client| async move { client.maintenance_client().snapshot().await };
        let mut stream = self.ask(open).await.map_err(SnapshotError::Store)?;
        let (mut bytes, mut left) = (0, u64::MAX);
        loop {
            let next = timeout(SILENCE, stream.message()).await.map_err(|_| SnapshotError::CutOff)?;
            let Some(piece) = next.map_err(|error| SnapshotError::Store(meaning(&error)))? else { break };
            write(piece.blob()).map_err(SnapshotError::Write)?;
            bytes += piece.blob().len() as u64;
            left = piece.remaining_bytes();
        }
        if left == 0 { Ok(bytes) } else { Err(SnapshotError::CutOff) }
    }
}
