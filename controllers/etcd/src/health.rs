//! How the members of an etcd are, and room for one that is full. Each member has a file of its own, and is asked
//! alone: an [`Admin`] with its endpoint and no other.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmResponse, AlarmType, Client, CompactionOptions};
use evenkeel_runtime::store::StoreError;

use crate::rights::Admin;

/// How long a member may take to write its file anew: it answers nobody meanwhile.
const DEFRAGMENTS_WITHIN: Duration = Duration::from_secs(120);

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberHealth {
    /// Its version.
    pub version: String,
    /// The number of the member that leads; 0: none.
    pub leader: u64,
    /// The size of its file, in bytes.
    pub size: u64,
    /// What of it is in use.
    pub used: u64,
    /// How large it may become; members before 3.6 do not tell.
    pub quota: Option<u64>,
}

impl Admin {
    /// How the member is that answers first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn health(&self) -> Result<MemberHealth, StoreError> {
        let status = |client: Client| async move { client.maintenance_client().status().await };
        let said = self.ask(status).await?;
        let bytes = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(MemberHealth {
            version: said.version().to_owned(),
            leader: said.leader(),
            size: bytes(said.db_size()),
            // The library's word for what etcd calls `dbSizeInUse`.
            used: bytes(said.raft_used_db_size()),
            quota: Some(bytes(said.db_size_quota())).filter(|quota| *quota > 0),
        })
    }

    /// The alarms that are raised, in etcd's words.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn alarms(&self) -> Result<BTreeSet<String>, StoreError> {
        let word = |alarm: AlarmType| match alarm {
            AlarmType::None => None,
            AlarmType::Nospace => Some("NOSPACE".to_owned()),
            AlarmType::Corrupt => Some("CORRUPT".to_owned()),
        };
        Ok(self.raised().await?.alarms().iter().filter_map(|alarm| word(alarm.alarm())).collect())
    }

    async fn raised(&self) -> Result<AlarmResponse, StoreError> {
        let list = |client: Client| async move {
            client.maintenance_client().alarm(AlarmAction::Get, AlarmType::None, None).await
        };
        self.ask(list).await
    }

    /// Takes back what says that there is no room, of each member that says so.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn disarm(&self) -> Result<(), StoreError> {
        for alarm in self.raised().await?.alarms().iter().filter(|it| it.alarm() == AlarmType::Nospace) {
            let member = alarm.member_id();
            let disarm = |client: Client| async move {
                let mut options = AlarmOptions::new();
                options.with_member(member);
                let mut maintenance = client.maintenance_client();
                maintenance.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options)).await
            };
            self.ask(disarm).await?;
        }
        Ok(())
    }

    /// Lets etcd forget all but the present; the revision that is the oldest from now on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn compact(&self) -> Result<i64, StoreError> {
        // Of a key that need not exist: it is the revision that counts.
        let now = |client: Client| async move { client.kv_client().get("evenkeel", None).await };
        let revision = self.ask(now).await?.header().map_or(0, |header| header.revision());
        let compact = |client: Client| async move {
            // Until it is done: what is defragmented then is all that there is.
            let options = CompactionOptions::new().with_physical();
            client.kv_client().compact(revision, Some(options)).await
        };
        match self.ask_patiently(DEFRAGMENTS_WITHIN, compact).await {
            // Somebody did it in this very moment.
            Err(StoreError::Compacted(_)) => Ok(revision),
            other => other.map(|_| revision),
        }
    }

    /// Lets the member that answers first write its file anew, without what is not used.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn defragment(&self) -> Result<(), StoreError> {
        let defragment = |client: Client| async move { client.maintenance_client().defragment().await };
        self.ask_patiently(DEFRAGMENTS_WITHIN, defragment).await.map(drop)
    }

    /// Whether this identity may read what etcd shows its root alone: it is root, or access control is off.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn sees_all(&self) -> Result<bool, StoreError> {
        match self.ask(|client| async move { client.auth_client().role_list().await }).await {
            Ok(_) => Ok(true),
            Err(StoreError::Refused(why)) if why.contains("permission denied") => Ok(false),
            Err(error) => Err(error),
        }
    }
}
