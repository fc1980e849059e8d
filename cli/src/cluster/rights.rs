//! Who may do what at etcd, brought about.

use evenkeel_etcd::rights::{Access, Admin, changes};
use evenkeel_runtime::store::StoreError;

use crate::failure::Failure;

/// Makes `access` true at etcd; users that do not stand there stay as they are.
///
/// # Errors
/// etcd does not answer, or refuses.
pub async fn ensure(admin: &Admin, access: &Access) -> Result<(), Failure> {
    let done = async { admin.apply(&changes(&admin.read().await?, &admin.rights(access))).await };
    done.await.map_err(refused)
}

/// Gives the roles that stand at etcd the rights that they have in this version: those of a version before may lack some.
///
/// # Errors
/// etcd does not answer, or refuses.
pub async fn renew(admin: &Admin) -> Result<(), Failure> {
    let done = async { admin.apply(&admin.renewal(&admin.read().await?)).await };
    done.await.map_err(refused)
}

/// What to do when etcd does not let its access control be changed.
pub fn refused(error: StoreError) -> Failure {
    match error {
        StoreError::Refused(text) if text.contains("permission denied") => Failure::new(
            "only etcd's root may change who may do what, and etcd does not know this one: is this the folder of the \
             `evenkeel init` that made the cluster?",
        ),
        other => other.into(),
    }
}
