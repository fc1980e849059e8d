//! Users and roles as data, and what leads from one table of them to another.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::access::{Grant, Role};
use evenkeel_api::key::prefix;

use crate::keys::Prefix;

/// What the names of all roles and users that are ours begin with.
const OURS: &str = "evenkeel.";

/// Who is allowed to be what: users by name, with their roles.
pub type Access = BTreeMap<String, BTreeSet<Role>>;

/// Roles and users as etcd has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// What each role may do.
    pub roles: BTreeMap<String, BTreeSet<Permission>>,
    /// Which roles each user has.
    pub users: BTreeMap<String, BTreeSet<String>>,
}

/// What a role may do with a range of keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The first key.
    pub key: Vec<u8>,
    /// The key after the last; empty: the first alone.
    pub end: Vec<u8>,
    /// Else they may be read alone.
    pub write: bool,
}

/// One step from what is to what shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A role, without rights at first.
    AddRole(String),
    /// A right of a role.
    Grant(String, Permission),
    /// A right that a role has no more.
    Revoke(String, Permission),
    /// A user, known by the name in its certificate.
    AddUser(String),
    /// A role for a user.
    Give(String, String),
    /// A role that a user has no more.
    Take(String, String),
    /// A user is no more.
    RemoveUser(String),
    /// A role is no more.
    RemoveRole(String),
}

impl Permission {
    /// Of a grant.
    fn new(grant: &Grant, ours: &Prefix) -> Self {
        let key = ours.full(&grant.prefix).into_bytes();
        let mut end = Vec::new();
        if prefix::is_wide(&grant.prefix) {
            end.clone_from(&key);
            // It ends with a slash, and this comes after all that begin with it.
            end.pop();
            end.push(b'/' + 1);
        }
        Self { key, end, write: grant.write }
    }

    /// Of what etcd says. A right to write without reading, which none of ours is, counts as one to read: it is
    /// granted anew then.
    pub(super) fn of(permission: &etcd_client::Permission) -> Self {
        let write = permission.get_type() == etcd_client::PermissionType::Readwrite as i32;
        Self { key: permission.key().to_vec(), end: permission.range_end().to_vec(), write }
    }
}

/// Whether a role or user is ours by its name.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(OURS)
}

/// The roles that `access` needs, and its users.
pub(super) fn rights(access: &Access, ours: &Prefix) -> Rights {
    // What root may do is etcd's to say.
    let roles: BTreeSet<&Role> = access.values().flatten().filter(|role| **role != Role::Root).collect();
    let permissions = |role: &Role| role.grants().iter().map(|grant| Permission::new(grant, ours)).collect();
    Rights {
        roles: roles.into_iter().map(|role| (role.to_string(), permissions(role))).collect(),
        users: access
            .iter()
            .map(|(user, roles)| (user.clone(), roles.iter().map(Role::to_string).collect()))
            .collect(),
    }
}

/// What makes all that stands in `wanted` true. Roles and users that do not stand there stay as they are.
pub fn changes(stored: &Rights, wanted: &Rights) -> Vec<Change> {
    let mut changes = Vec::new();
    for (role, permissions) in &wanted.roles {
        let had = stored.roles.get(role);
        if had.is_none() {
            changes.push(Change::AddRole(role.clone()));
        }
        let had = had.cloned().unwrap_or_default();
        // One range has one right: granting it anew replaces what it was.
        let ranges: BTreeSet<_> = permissions.iter().map(|wanted| (&wanted.key, &wanted.end)).collect();
        let surplus = had.iter().filter(|had| !ranges.contains(&(&had.key, &had.end)));
        changes.extend(surplus.map(|permission| Change::Revoke(role.clone(), permission.clone())));
        let new = permissions.difference(&had);
        changes.extend(new.map(|permission| Change::Grant(role.clone(), permission.clone())));
    }
    for (user, roles) in &wanted.users {
        let had = stored.users.get(user);
        if had.is_none() {
            changes.push(Change::AddUser(user.clone()));
        }
        let had = had.cloned().unwrap_or_default();
        changes.extend(had.difference(roles).map(|role| Change::Take(user.clone(), role.clone())));
        changes.extend(roles.difference(&had).map(|role| Change::Give(user.clone(), role.clone())));
    }
    changes
}

/// What gives each role that is there the rights that it has in this version; who has which role stays.
pub(super) fn renewal(stored: &Rights, ours: &Prefix) -> Vec<Change> {
    let permissions = |role: &Role| role.grants().iter().map(|grant| Permission::new(grant, ours)).collect();
    let role = |name: &String| name.parse().ok().filter(|role| *role != Role::Root);
    let known = stored.roles.keys().filter_map(|name| Some((name.clone(), permissions(&role(name)?))));
    changes(stored, &Rights { roles: known.collect(), users: BTreeMap::new() })
}

/// What takes users away, with the roles that were theirs alone.
pub fn removal(stored: &Rights, users: &BTreeSet<String>) -> Vec<Change> {
    let gone = stored.users.iter().filter(|(user, _)| users.contains(*user));
    let left: BTreeSet<&String> =
        stored.users.iter().filter(|(user, _)| !users.contains(*user)).flat_map(|(_, roles)| roles).collect();
    let roles: BTreeSet<&String> = gone
        .clone()
        .flat_map(|(_, roles)| roles)
        .filter(|role| is_ours(role) && !left.contains(role))
        .collect();
    let users = gone.map(|(user, _)| Change::RemoveUser(user.clone()));
    users.chain(roles.into_iter().map(|role| Change::RemoveRole(role.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::ROOT;
    use super::*;

    fn ours() -> Prefix {
        Prefix::new("/evenkeel/v1")
    }

    fn access(users: &[(&str, &[Role])]) -> Access {
        users.iter().map(|(user, roles)| ((*user).to_owned(), roles.iter().cloned().collect())).collect()
    }

    fn team(name: &str) -> Role {
        Role::Team(name.parse().unwrap())
    }

    /// As etcd does it: one right for each range.
    fn carry_out(rights: &mut Rights, changes: &[Change]) {
        for change in changes {
            match change.clone() {
                Change::AddRole(role) => assert!(rights.roles.insert(role, BTreeSet::new()).is_none()),
                Change::Grant(role, new) => {
                    let permissions = rights.roles.get_mut(&role).unwrap();
                    permissions.retain(|had| (&had.key, &had.end) != (&new.key, &new.end));
                    permissions.insert(new);
                }
                Change::Revoke(role, old) => assert!(rights.roles.get_mut(&role).unwrap().remove(&old)),
                Change::AddUser(user) => assert!(rights.users.insert(user, BTreeSet::new()).is_none()),
                Change::Give(user, role) => assert!(rights.users.get_mut(&user).unwrap().insert(role)),
                Change::Take(user, role) => assert!(rights.users.get_mut(&user).unwrap().remove(&role)),
                Change::RemoveUser(user) => assert!(rights.users.remove(&user).is_some()),
                Change::RemoveRole(role) => assert!(rights.roles.remove(&role).is_some()),
            }
        }
    }

    #[test]
    fn roles_of_an_older_version_get_the_rights_of_this_one_and_nobody_another_role() {
        let people =
            access(&[("evenkeel.user.ann", &[team("shop")]), ("evenkeel.user.joe", &[Role::Viewer])]);
        let wanted = rights(&people, &ours());
        let mut stored = wanted.clone();
        for permissions in stored.roles.values_mut() {
            permissions.pop_last();
        }
        // Those that are not ours, and etcd's own.
        let others = ["evenkeel.what.is.this", ROOT].map(|name| (name.to_owned(), BTreeSet::new()));
        stored.roles.extend(others.clone());
        let renewal_of = |stored: &Rights| renewal(stored, &ours());
        let steps = renewal_of(&stored);
        carry_out(&mut stored, &steps);
        let mut expected = wanted;
        expected.roles.extend(others);
        assert_eq!(stored, expected);
        assert_eq!(renewal_of(&stored), []);
    }

    #[test]
    fn ranges_end_where_a_prefix_does() {
        let of = |prefix: &str| Permission::new(&Grant { prefix: prefix.into(), write: true }, &ours());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for (prefix, key, end) in [
            ("alive/h1", "/evenkeel/v1/alive/h1", ""),
            ("alive/", "/evenkeel/v1/alive/", "/evenkeel/v1/alive0"),
            ("", "/evenkeel/v1/", "/evenkeel/v10"),
        ] {
            let permission = of(prefix);
            assert_eq!((text(&permission.key).as_str(), text(&permission.end).as_str()), (key, end));
        }
    }

    #[test]
    fn what_is_wished_comes_about_once_and_others_stay() {
        let mut rights = Rights::default();
        let theirs = Rights {
            roles: BTreeMap::from([("evenkeel.other".to_owned(), BTreeSet::new())]),
            users: BTreeMap::from([("evenkeel.bob".to_owned(), BTreeSet::new())]),
        };
        rights.roles.extend(theirs.roles.clone());
        rights.users.extend(theirs.users.clone());
        for users in [
            access(&[("evenkeel.ann", &[team("shop"), Role::Viewer])]),
            access(&[("evenkeel.ann", &[team("pay")]), ("evenkeel.joe", &[Role::Operator])]),
        ] {
            let wanted = super::rights(&users, &ours());
            let steps = changes(&rights, &wanted);
            carry_out(&mut rights, &steps);
            assert_eq!(changes(&rights, &wanted), []);
            assert!(wanted.users.iter().all(|(user, roles)| rights.users.get(user) == Some(roles)));
            assert!(wanted.roles.iter().all(|(role, may)| rights.roles.get(role) == Some(may)));
            assert!(rights.users.contains_key("evenkeel.bob") && rights.roles.contains_key("evenkeel.other"));
        }
    }

    #[test]
    fn a_right_that_changed_is_granted_anew_and_one_too_many_is_revoked() {
        let wanted = rights(&access(&[("evenkeel.ann", &[team("shop")])]), &ours());
        let mut stored = wanted.clone();
        let role = stored.roles.get_mut("evenkeel.team.shop").unwrap();
        let mut first = role.pop_first().unwrap();
        first.write = !first.write;
        role.insert(first.clone());
        let more = Permission { key: b"/evenkeel/v1/instances/".to_vec(), end: Vec::new(), write: true };
        role.insert(more.clone());
        let name = || "evenkeel.team.shop".to_owned();
        let right = Permission { write: !first.write, ..first };
        assert_eq!(changes(&stored, &wanted), [Change::Revoke(name(), more), Change::Grant(name(), right)]);
    }

    #[test]
    fn whoever_goes_takes_along_what_nobody_else_has() {
        let stored = rights(
            &access(&[
                ("evenkeel.ann", &[team("shop"), team("pay"), Role::Root]),
                ("evenkeel.joe", &[team("shop")]),
            ]),
            &ours(),
        );
        // etcd's own role is neither made nor unmade.
        assert_eq!(stored.roles.len(), 2);
        let gone = BTreeSet::from(["evenkeel.ann".to_owned(), "evenkeel.nobody".to_owned()]);
        assert_eq!(
            removal(&stored, &gone),
            [
                Change::RemoveUser("evenkeel.ann".to_owned()),
                Change::RemoveRole("evenkeel.team.pay".to_owned())
            ]
        );
    }
}
