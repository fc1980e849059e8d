//! etcd's own access control: which users there are, which roles they have, and what those may do. What is
//! wished is compared with what is there, and only the difference is written; names that do not begin with ours
//! are never touched.

mod table;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Error, Permission, PermissionType, RoleRevokePermissionOptions, UserAddOptions};
use evenkeel_runtime::store::StoreError;

use crate::config::{ConfigError, EtcdConfig};
use crate::keys::Prefix;
use crate::members::{Member, Members, Repeat};

pub use table::{Access, Change, Rights, changes, removal};

/// What each member is given for an answer: people wait, and nothing else does.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The user and the role that etcd lets do all.
pub const ROOT: &str = "root";

/// Access control of one etcd, for whoever may change it: `root`, or anyone while it is not switched on.
pub struct Admin {
    members: Arc<Members>,
    prefix: Prefix,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Admin {
    /// One that will connect when first asked.
    ///
    /// # Errors
    /// No endpoint is given, or a certificate cannot be read.
    pub fn new(config: &EtcdConfig) -> Result<Self, ConfigError> {
        if config.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoint);
        }
        let members = Arc::new(Members::new(&config.endpoints, &config.options(ATTEMPT)?));
        Ok(Self { members, prefix: Prefix::new(&config.prefix) })
    }

    /// What `access` means on this etcd, whose keys begin with a prefix of ours.
    pub fn rights(&self, access: &Access) -> Rights {
        table::rights(access, &self.prefix)
    }

    /// What is there now, of the names that are ours.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn read(&self) -> Result<Rights, StoreError> {
        let mut rights = Rights::default();
        let roles = self.ask(|client| async move { client.auth_client().role_list().await }).await?;
        for role in roles.roles().iter().filter(|role| table::is_ours(role)) {
            let get = |client: Client| async move { client.auth_client().role_get(role.as_str()).await };
            let permissions = self.ask(get).await?.permissions().iter().map(table::Permission::of).collect();
            rights.roles.insert(role.clone(), permissions);
        }
        let users = self.ask(|client| async move { client.auth_client().user_list().await }).await?;
        for user in users.users().iter().filter(|user| table::is_ours(user)) {
            let get = |client: Client| async move { client.auth_client().user_get(user.as_str()).await };
            rights.users.insert(user.clone(), self.ask(get).await?.roles().iter().cloned().collect());
        }
        Ok(rights)
    }

    /// What gives each role in `stored` the rights that it has in this version.
    pub fn renewal(&self, stored: &Rights) -> Vec<Change> {
        table::renewal(stored, &self.prefix)
    }

    /// Carries changes out, in their order. Each is asked once: repeated after a failure, `read` comes first.
    ///
    /// # Errors
    /// See [`StoreError`]; those before it are done.
    pub async fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            self.ask(|client| carry_out(client, change)).await?;
        }
        Ok(())
    }

    /// Switches access control on, with [`ROOT`], who is known by certificate and has no password.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn enable(&self) -> Result<(), StoreError> {
        let users = self.ask(|client| async move { client.auth_client().user_list().await }).await?;
        if !users.users().iter().any(|user| user == ROOT) {
            self.apply(&[Change::AddUser(ROOT.to_owned())]).await?;
        }
        let roles = self.ask(|client| async move { client.auth_client().role_list().await }).await?;
        if !roles.roles().iter().any(|role| role == ROOT) {
            self.apply(&[Change::AddRole(ROOT.to_owned())]).await?;
        }
        self.apply(&[Change::Give(ROOT.to_owned(), ROOT.to_owned())]).await?;
        self.ask(|client| async move { client.auth_client().auth_enable().await }).await?;
        Ok(())
    }

    pub(crate) async fn ask<T, F, Fut>(&self, call: F) -> Result<T, StoreError>
    where
        F: Fn(Client) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        self.ask_patiently(ATTEMPT, call).await
    }

    /// The same, with so much time for each member.
    pub(crate) async fn ask_patiently<T, F, Fut>(&self, attempt: Duration, call: F) -> Result<T, StoreError>
    where
        F: Fn(Client) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        self.members.ask(Repeat::IfNotDone, attempt, |client, _: &Member| call(client)).await
    }
}

async fn carry_out(client: Client, change: &Change) -> Result<(), Error> {
    let mut auth = client.auth_client();
    match change {
        Change::AddRole(role) => auth.role_add(role.as_str()).await.map(drop),
        Change::Grant(role, permission) => {
            let kind = if permission.write { PermissionType::Readwrite } else { PermissionType::Read };
            let granted =
                Permission::new(kind, permission.key.clone()).with_range_end(permission.end.clone());
            auth.role_grant_permission(role.as_str(), granted).await.map(drop)
        }
        Change::Revoke(role, permission) => {
            let options = RoleRevokePermissionOptions::new().with_range_end(permission.end.clone());
            auth.role_revoke_permission(role.as_str(), permission.key.clone(), Some(options)).await.map(drop)
        }
        Change::AddUser(user) => {
            let options = Some(UserAddOptions::new().with_no_pwd());
            auth.user_add(user.as_str(), "", options).await.map(drop)
        }
        Change::Give(user, role) => auth.user_grant_role(user.as_str(), role.as_str()).await.map(drop),
        Change::Take(user, role) => auth.user_revoke_role(user.as_str(), role.as_str()).await.map(drop),
        Change::RemoveUser(user) => auth.user_delete(user.as_str()).await.map(drop),
        Change::RemoveRole(role) => auth.role_delete(role.as_str()).await.map(drop),
    }
}
