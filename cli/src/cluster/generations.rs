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

    /// From now on the host's users are others.
    pub fn retire_host(&mut self, host: &HostName) {
        *self.hosts.entry(host.clone()).or_default() += 1;
    }

    /// From now on the person's user is another.
    pub fn retire_person(&mut self, name: &Namespace) {
        *self.people.entry(name.clone()).or_default() += 1;
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

/// The person whose user at etcd that is, or was.
pub fn person_of(user: &str) -> Option<Namespace> {
    match user.parse() {
        Ok(User::Person { name, .. }) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        generations.retire_host(&h2);
        generations.retire_person(&ann);
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
