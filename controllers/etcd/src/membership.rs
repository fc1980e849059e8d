//! Who the members of an etcd are. A new one learns first and votes later: until it has all there is, the others'
//! quorum is what it was.

use etcd_client::{Client, MemberAddOptions};
use evenkeel_runtime::store::StoreError;

use crate::rights::Admin;

/// A member of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOfEtcd {
    /// etcd's number for it.
    pub id: u64,
    /// Its name; empty until it has started for the first time.
    pub name: String,
    /// Where the others reach it.
    pub peer_url: String,
    /// Where clients reach it; empty until it has started for the first time.
    pub client_urls: Vec<String>,
    /// It does not vote yet.
    pub learns: bool,
}

impl Admin {
    /// All members.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn members(&self) -> Result<Vec<MemberOfEtcd>, StoreError> {
        let list = |client: Client| async move { client.cluster_client().member_list().await };
        let members = self.ask(list).await?;
        let member = |member: &etcd_client::Member| MemberOfEtcd {
            id: member.id(),
            name: member.name().to_owned(),
            peer_url: member.peer_urls().first().cloned().unwrap_or_default(),
            client_urls: member.client_urls().to_vec(),
            learns: member.is_learner(),
        };
        Ok(members.members().iter().map(member).collect())
    }

    /// Lets one more in, which learns. It must then be started.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn add_learner(&self, peer_url: &str) -> Result<(), StoreError> {
        let add = |client: Client| async move {
            let options = Some(MemberAddOptions::new().with_is_learner());
            client.cluster_client().member_add(vec![peer_url.to_owned()], options).await
        };
        self.ask(add).await.map(drop)
    }

    /// Lets one vote.
    ///
    /// # Errors
    /// See [`StoreError`]; refused while it has not all there is.
    pub async fn promote(&self, id: u64) -> Result<(), StoreError> {
        let promote = |client: Client| async move { client.cluster_client().member_promote(id).await };
        self.ask(promote).await.map(drop)
    }

    /// Lets one go.
    ///
    /// # Errors
    /// See [`StoreError`]; refused where too few others are there.
    pub async fn remove_member(&self, id: u64) -> Result<(), StoreError> {
        let remove = |client: Client| async move { client.cluster_client().member_remove(id).await };
        self.ask(remove).await.map(drop)
    }
}
