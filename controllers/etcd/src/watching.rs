//! A watch on etcd.

use async_trait::async_trait;
use etcd_client::proto::PbEvent;
use etcd_client::{Client, Error, WatchOptions, WatchResponse, WatchStream};
use evenkeel_runtime::store::{Change, Changes, StoreError, Watch};
use evenkeel_runtime::witness::Witness;
use std::sync::Arc;
use tokio::sync::watch;

use crate::MAX_MESSAGE;
use crate::errors::meaning;
use crate::keys::{Prefix, header_of};

/// A stream and etcd's first word on it.
pub(crate) struct Opened {
    stream: WatchStream,
    first: Option<WatchResponse>,
    failures: watch::Receiver<u64>,
}

/// Open a watch on `key`, or on all keys that begin with it (`wide`), from `revision` on.
pub(crate) async fn open(
    client: Client,
    key: String,
    wide: bool,
    revision: i64,
    failures: watch::Receiver<u64>,
) -> Result<Opened, Error> {
    let options = WatchOptions::new().with_start_revision(revision).with_fragment();
    let options = if wide { options.with_prefix() } else { options };
    let mut watches = client.watch_client().max_decoding_message_size(MAX_MESSAGE);
    let mut stream = watches.watch(key, Some(options)).await?;
    let first = stream.message().await?;
    Ok(Opened { stream, first, failures })
}

/// Changes under one prefix.
pub(crate) struct EtcdWatch {
    stream: WatchStream,
    failures: watch::Receiver<u64>,
    prefix: Prefix,
    witness: Arc<Witness>,
    seen: i64,
    /// Pieces of one response that etcd has cut up.
    pieces: Vec<Change>,
}

impl EtcdWatch {
    /// Take a stream over; its first message is the confirmation.
    pub fn new(
        opened: Opened,
        prefix: Prefix,
        witness: Arc<Witness>,
        revision: i64,
    ) -> Result<Self, StoreError> {
        let Opened { stream, first, failures } = opened;
        let first = first.ok_or_else(ended)?;
        let mut watch = Self { stream, failures, prefix, witness, seen: revision, pieces: Vec::new() };
        watch.take(first)?;
        Ok(watch)
    }

    /// The changes of a response, once all of its pieces are there.
    fn take(&mut self, response: WatchResponse) -> Result<Option<Changes>, StoreError> {
        let response = response.0;
        if response.compact_revision != 0 {
            return Err(StoreError::Compacted(response.compact_revision));
        }
        if response.canceled {
            let why = response.cancel_reason;
            let denied = why.contains("PermissionDenied") || why.contains("permission denied");
            return Err(if denied { StoreError::Refused(why) } else { StoreError::Unavailable(why) });
        }
        let header = header_of(response.header.as_ref());
        if header.cluster_id != 0 {
            self.witness.heard(&header);
        }
        let (prefix, seen) = (&self.prefix, self.seen);
        let changes = response.events.into_iter().filter_map(|event| change(event, prefix));
        self.pieces.extend(changes.filter(|change| change.mod_revision() > seen));
        if response.fragment || self.pieces.is_empty() {
            return Ok(None);
        }
        let changes = std::mem::take(&mut self.pieces);
        self.seen = changes.iter().map(Change::mod_revision).fold(self.seen, i64::max);
        Ok(Some(Changes { changes, header }))
    }
}

fn change(event: PbEvent, prefix: &Prefix) -> Option<Change> {
    const DELETE: i32 = 1;
    let kv = event.kv?;
    if event.r#type == DELETE {
        let key = prefix.strip(kv.key)?;
        return Some(Change::Delete { key, mod_revision: kv.mod_revision });
    }
    Some(Change::Put(prefix.kv(kv)?))
}

fn ended() -> StoreError {
    StoreError::Unavailable("etcd ended the watch".to_owned())
}

#[async_trait]
impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        loop {
            let message = tokio::select! { biased;
                message = self.stream.message() => message,
                // A call to the same member got no answer: the stream may be as dead, and would not say so.
                _ = self.failures.changed() => {
                    return Err(StoreError::Unavailable("the member does not answer any more".to_owned()));
                }
            };
            let response = message.map_err(|error| StoreError::Unavailable(meaning(&error).to_string()))?;
            if let Some(changes) = self.take(response.ok_or_else(ended)?)? {
                return Ok(changes);
            }
        }
    }
}
