//! Who may do what at etcd, brought about.

use std::collections::BTreeSet;

use evenkeel_api::access::Role;
use evenkeel_api::name::HostName;
use evenkeel_api::user::User;
use evenkeel_etcd::rights::{Access, Admin, Change, Rights, changes, removal};
use evenkeel_runtime::store::StoreError;

use super::book::Book;
use super::generations::Generations;
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

/// Takes from hosts that are none of `known` what is more than a host's: to lead, and to read all of etcd for backups. Whoever was
/// taken out may do nothing.
///
/// # Errors
/// etcd does not answer, or refuses.
pub async fn take_from_strangers(
    admin: &Admin,
    known: &BTreeSet<HostName>,
    generations: &Generations,
) -> Result<(), Failure> {
    let done = async {
        admin.apply(&from_strangers(&admin.read().await?, known)).await?;
        admin.apply(&generations.voided(&admin.read().await?)).await
    };
    done.await.map_err(refused)
}

/// Sees that the book counts no less than etcd does which names were taken out.
///
/// # Errors
/// etcd does not answer, or refuses; the book cannot be kept.
pub async fn catch_up(admin: &Admin, book: &mut Book) -> Result<(), Failure> {
    let stored = admin.read().await.map_err(refused)?;
    if book.facts.generations.learn(&stored) {
        book.save()?;
    }
    Ok(())
}

/// Makes `access` true at etcd, and takes out whoever had these names before.
///
/// # Errors
/// etcd does not answer, or refuses.
pub async fn ensure_anew(admin: &Admin, access: &Access, generations: &Generations) -> Result<(), Failure> {
    // The other way round their roles would go and come.
    ensure(admin, access).await?;
    let done = async { admin.apply(&generations.voided(&admin.read().await?)).await };
    done.await.map_err(refused)
}

fn from_strangers(stored: &Rights, known: &BTreeSet<HostName>) -> Vec<Change> {
    let strange = |user: &str| matches!(user.parse(), Ok(User::Host { host, .. }) if !known.contains(&host));
    let is_root = |roles: &BTreeSet<String>| roles.contains(&Role::Root.to_string());
    let leads = |role: &str| matches!(role.parse(), Ok(Role::Lead(_)));
    let strangers = || stored.users.iter().filter(|(user, _)| strange(user));
    let backups = strangers().filter(|(_, roles)| is_root(roles)).map(|(user, _)| user.clone()).collect();
    let mut taken = removal(stored, &backups);
    for (user, roles) in strangers().filter(|(user, _)| !backups.contains(*user)) {
        taken.extend(
            roles.iter().filter(|role| leads(role)).map(|role| Change::Take(user.clone(), role.clone())),
        );
    }
    taken
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_the_book_does_not_have_neither_lead_nor_read_everything() {
        let user = |name: &str, roles: &[&str]| {
            (name.to_owned(), roles.iter().map(|role| (*role).to_owned()).collect::<BTreeSet<_>>())
        };
        let own = "evenkeel.host.h9.dns";
        let users = [
            user("evenkeel.host.h1", &["evenkeel.lead.service", "evenkeel.host.h1.dns"]),
            user("evenkeel.host.h1.backup", &["root"]),
            user("evenkeel.host.h9", &["evenkeel.lead.service", own]),
            user("evenkeel.host.h9.backup", &["root"]),
            user("evenkeel.user.operator", &["evenkeel.operator"]),
        ];
        let stored = Rights { users: users.into(), ..Rights::default() };
        assert_eq!(
            from_strangers(&stored, &BTreeSet::from(["h1".parse().unwrap()])),
            [
                Change::RemoveUser("evenkeel.host.h9.backup".to_owned()),
                Change::Take("evenkeel.host.h9".to_owned(), "evenkeel.lead.service".to_owned())
            ]
        );
    }
}
