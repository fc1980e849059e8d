//! Leases, over connections of their own and with little patience for each member: a member that is lost,
//! or a big list under way, must never cost a healthy host its lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Error, LeaseKeepAliveStream, LeaseKeeper};
use evenkeel_runtime::store::{Lease, StoreError};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::members::{Members, Repeat};

/// What each member is given for an answer.
pub(crate) const ATTEMPT: Duration = Duration::from_millis(500);

pub(crate) struct Leases {
    members: Arc<Members>,
    /// One open stream a lease: proxies do not serve streams that are closed after a request.
    streams: Mutex<BTreeMap<i64, Renewal>>,
}

type Renewal = (LeaseKeeper, LeaseKeepAliveStream);

impl Leases {
    pub fn new(members: Arc<Members>) -> Self {
        Self { members, streams: Mutex::default() }
    }

    /// A lease whose answer was lost just ends by itself, so the next member may be asked.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let seconds = i64::try_from(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).unwrap_or(i64::MAX);
        let grant = |client: Client, _: &_| async move { client.lease_client().grant(seconds, None).await };
        let granted = self.members.ask(Repeat::Always, ATTEMPT, grant).await?;
        Ok(Lease { id: granted.id(), ttl: seconds_of(granted.ttl()) })
    }

    pub async fn renew(&self, lease: i64) -> Result<Duration, StoreError> {
        // Taken out while in use: a future that is dropped half-way leaves no stream with an answer due.
        let open = self.streams.lock().await.remove(&lease);
        if let Some(mut renewal) = open
            && let Ok(Ok(ttl)) = timeout(ATTEMPT, once_more(&mut renewal)).await
        {
            return self.renewed(lease, renewal, ttl).await;
        }
        let open = |client: Client, _: &_| async move {
            let mut renewal = client.lease_client().keep_alive(lease).await?;
            // Opening has renewed it, but the answer with its time was swallowed by the library.
            let ttl = once_more(&mut renewal).await?;
            Ok((renewal, ttl))
        };
        let (renewal, ttl) = self.members.ask(Repeat::Always, ATTEMPT, open).await?;
        self.renewed(lease, renewal, ttl).await
    }

    async fn renewed(&self, lease: i64, renewal: Renewal, ttl: i64) -> Result<Duration, StoreError> {
        if ttl <= 0 {
            return Err(StoreError::LeaseGone);
        }
        self.streams.lock().await.insert(lease, renewal);
        Ok(seconds_of(ttl))
    }

    pub async fn revoke(&self, lease: i64) -> Result<(), StoreError> {
        self.streams.lock().await.remove(&lease);
        let revoke = |client: Client, _: &_| async move { client.lease_client().revoke(lease).await };
        self.members.ask(Repeat::Always, ATTEMPT, revoke).await.map(|_| ())
    }
}

async fn once_more((keeper, answers): &mut Renewal) -> Result<i64, Error> {
    keeper.keep_alive().await?;
    let answer = answers.message().await?;
    answer.map(|answer| answer.ttl()).ok_or_else(|| Error::WatchError("etcd ended the renewal".to_owned()))
}

fn seconds_of(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}
