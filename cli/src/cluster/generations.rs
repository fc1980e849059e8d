//! How often a name was taken out: whoever has its certificate of before is nobody, also once the name is given again.

use std::collections::BTreeMap;

use evenkeel_api::key::Controller;
use evenkeel_api::name::{HostName, Namespace};
use evenkeel_api::user::{Part, User};
use evenkeel_etcd::rights::{Change, Rights, removal};
use serde::{Deserialize, Serialize};

/// See the module. What is not in it was never taken out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Generations {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    hosts: BTreeMap<HostName, u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    people: BTreeMap<Namespace, u32>,
}

impl Generations {
    /// Nothing was ever taken out.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.people.is_empty()
    }

    /// A host's user, or that of one controller there.
    pub fn host(&self, host: &HostName, controller: Option<Controller>) -> String {
        self.part(host, controller.map_or(Part::All, Part::One))
    }

    /// Who makes backups of etcd on a host.
    pub fn backup(&self, host: &HostName) -> String {
        self.part(host, Part::Backup)
    }

    fn part(&self, host: &HostName, part: Part) -> String {
        User::Host { host: host.clone(), generation: self.of_host(host), part }.to_string()
    }

    /// A person's user.
    pub fn person(&self, name: &Namespace) -> String {
        User::Person { name: name.clone(), generation: self.of_person(name) }.to_string()
    }

    fn of_host(&self, host: &HostName) -> u32 {
        self.hosts.get(host).copied().unwrap_or_default()
    }

    fn of_person(&self, name: &Namespace) -> u32 {
        self.people.get(name).copied().unwrap_or_default()
    }

    /// Takes over what etcd knows more of: an older copy of the book may be used, or somebody taken out meanwhile. Whether there
    /// was anything.
    pub fn learn(&mut self, stored: &Rights) -> bool {
        let before = self.clone();
        for user in stored.users.keys() {
            match user.parse() {
                Ok(User::Host { host, generation, .. }) if generation > self.of_host(&host) => {
                    self.hosts.insert(host, generation);
                }
                Ok(User::Person { name, generation }) if generation > self.of_person(&name) => {
                    self.people.insert(name, generation);
                }
                _ => {}
            }
        }
        *self != before
    }

    /// From now on the host's users are others: what etcd is told. It keeps one that may do nothing, who stands for the next
    /// generation, so that it is known there, too.
    pub fn retire_host(&mut self, host: &HostName, stored: &Rights) -> Vec<Change> {
        self.learn(stored);
        *self.hosts.entry(host.clone()).or_default() += 1;
        let known = stored.users.keys().filter(|user| is_of_host(user, host)).cloned().collect();
        [Change::AddUser(self.host(host, None))].into_iter().chain(removal(stored, &known)).collect()
    }

    /// The same for a person.
    pub fn retire_person(&mut self, name: &Namespace, stored: &Rights) -> Vec<Change> {
        self.learn(stored);
        *self.people.entry(name.clone()).or_default() += 1;
        let known =
            stored.users.keys().filter(|user| person_of(user).as_ref() == Some(name)).cloned().collect();
        [Change::AddUser(self.person(name))].into_iter().chain(removal(stored, &known)).collect()
    }

    /// What takes from etcd whoever has been taken out: a backup, or a removal that was cut off, may have left them there.
    pub fn voided(&self, stored: &Rights) -> Vec<Change> {
        removal(stored, &stored.users.keys().filter(|user| self.is_void(user)).cloned().collect())
    }

    fn is_void(&self, user: &str) -> bool {
        match user.parse() {
            Ok(User::Host { host, generation, .. }) => generation < self.of_host(&host),
            Ok(User::Person { name, generation }) => generation < self.of_person(&name),
            Err(_) => false,
        }
    }
}

/// Whether a user at etcd is a host, one of its controllers, or makes its backups; now or before.
pub fn is_of_host(user: &str, of: &HostName) -> bool {
    matches!(user.parse(), Ok(User::Host { host, .. }) if host == *of)
}

/// Whether a user at etcd makes backups of it.
pub fn is_backup(user: &str) -> bool {
    matches!(user.parse(), Ok(User::Host { part: Part::Backup, .. }))
}

/// The person whose user at etcd that is, or was.
pub fn person_of(user: &str) -> Option<Namespace> {
    match user.parse() {
        Ok(User::Person { name, .. }) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn who_has_counted_less_than_etcd_knows_learns_it() {
        let stored = |users: &[&str]| {
            let users = users.iter().map(|user| ((*user).to_owned(), BTreeSet::new())).collect();
            Rights { users, ..Rights::default() }
        };
        let mut generations = Generations::default();
        assert!(!generations.learn(&stored(&["root", "evenkeel.host.h2", "evenkeel.user.ann", "else@7"])));
        assert!(generations.learn(&stored(&["evenkeel.host.h2@3.dns", "evenkeel.user.ann@2"])));
        let (h2, ann) = ("h2".parse().unwrap(), "ann".parse().unwrap());
        assert_eq!((generations.of_host(&h2), generations.of_person(&ann)), (3, 2));
        // It never counts back, as where an older backup was restored.
        assert!(!generations.learn(&stored(&["evenkeel.host.h2@1", "evenkeel.user.ann"])));
        let told = generations.retire_host(&h2, &stored(&["evenkeel.host.h2@5"]));
        assert_eq!(told[0], Change::AddUser("evenkeel.host.h2@6".to_owned()));
    }

    #[test]
    fn a_name_that_was_taken_out_is_somebody_else_when_it_is_given_again() {
        let (h2, ann): (HostName, Namespace) = ("h2".parse().unwrap(), "ann".parse().unwrap());
        let mut generations = Generations::default();
        let users = |generations: &Generations| {
            let dns = generations.host(&h2, Some(Controller::Dns));
            [generations.host(&h2, None), dns, generations.backup(&h2), generations.person(&ann)]
        };
        let first = users(&generations);
        assert_eq!(
            first,
            ["evenkeel.host.h2", "evenkeel.host.h2.dns", "evenkeel.host.h2.backup", "evenkeel.user.ann"]
        );
        let rights = |users: &[String]| {
            let role = BTreeSet::from(["evenkeel.viewer".to_owned()]);
            let users = users.iter().map(|user| (user.clone(), role.clone())).collect();
            Rights { users, ..Rights::default() }
        };
        let told = generations.retire_host(&h2, &rights(&first));
        let removed = [0, 2, 1].map(|at| Change::RemoveUser(first[at].clone()));
        let expected: Vec<_> =
            [Change::AddUser("evenkeel.host.h2@1".to_owned())].into_iter().chain(removed).collect();
        assert_eq!(told, expected);
        assert_eq!(
            generations.retire_person(&ann, &rights(&first[3..])),
            [
                Change::AddUser("evenkeel.user.ann@1".to_owned()),
                Change::RemoveUser("evenkeel.user.ann".to_owned()),
                Change::RemoveRole("evenkeel.viewer".to_owned()),
            ]
        );
        let second = users(&generations);
        assert!(second.iter().all(|user| !first.contains(user)), "{second:?}");
        assert!(first[..3].iter().chain(&second[..3]).all(|user| is_of_host(user, &h2)));
        assert_eq!(
            (person_of(&first[3]), person_of(&second[3]), person_of(&first[0])),
            (Some(ann.clone()), Some(ann), None)
        );
        // Those of before are taken from etcd wherever they come from, and nobody else.
        let others = ["root", "evenkeel.host.h20", "evenkeel.user.joe", "somebody"].map(str::to_owned);
        let all = first.iter().chain(&second).chain(&others);
        let stored = Rights {
            users: all.map(|user| (user.clone(), Default::default())).collect(),
            ..Rights::default()
        };
        let mut expected = first.map(Change::RemoveUser).to_vec();
        let mut voided = generations.voided(&stored);
        expected.sort_by_key(|change| format!("{change:?}"));
        voided.sort_by_key(|change| format!("{change:?}"));
        assert_eq!(voided, expected);
    }
}
