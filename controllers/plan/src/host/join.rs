//! How a host joins a cluster: what it still has to write of itself.

use evenkeel_api::record::{Cluster, Facts};
use serde::{Deserialize, Serialize};

/// The cluster that a host joined, on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The cluster's uid.
    pub uid: String,
    /// Its epoch then.
    pub epoch: u64,
}

/// What stands in the store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    /// Who the cluster is; `None`: nobody said yet.
    pub cluster: Option<Cluster>,
    /// The host has a document.
    pub document: bool,
    /// What it last said of itself.
    pub facts: Option<Facts>,
}

/// Something to write, or a reason to write nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Found the cluster, unless another host was faster.
    Found,
    /// The store is not that of the cluster that this host belongs to. A person must decide.
    Refuse {
        /// What is wrong.
        why: String,
    },
    /// Make the host's document, unless there is one.
    Document,
    /// Remember to have joined.
    Remember(Joined),
    /// Say anew what the machine is.
    Facts(Facts),
}

/// What to do now, in this order. `facts` are the newest, `None` while they cannot be told.
///
/// The document is made once in each epoch of a cluster and never again: a person who deletes it means
/// that the host shall go, though its controller still runs.
pub fn plan(stored: &Stored, joined: Option<&Joined>, facts: Option<&Facts>) -> Vec<Action> {
    let cluster = match (&stored.cluster, joined) {
        (None, None) => return vec![Action::Found],
        (None, Some(joined)) => {
            return vec![refuse(format!(
                "etcd knows no cluster, but this host belongs to cluster {}: etcd was wiped, or it is another etcd",
                joined.uid
            ))];
        }
        (Some(cluster), Some(joined)) if cluster.uid != joined.uid => {
            return vec![refuse(format!(
                "etcd holds cluster {}, but this host belongs to cluster {}",
                cluster.uid, joined.uid
            ))];
        }
        (Some(cluster), _) => cluster,
    };
    let mut actions = Vec::new();
    if joined.is_none_or(|joined| joined.epoch != cluster.epoch) {
        if !stored.document {
            actions.push(Action::Document);
        }
        actions.push(Action::Remember(Joined { uid: cluster.uid.clone(), epoch: cluster.epoch }));
    }
    if let Some(facts) = facts.filter(|facts| stored.facts.as_ref() != Some(facts)) {
        actions.push(Action::Facts(facts.clone()));
    }
    actions
}

fn refuse(why: String) -> Action {
    Action::Refuse { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(uid: &str, epoch: u64) -> Joined {
        Joined { uid: uid.into(), epoch }
    }

    fn stored(uid: &str, document: bool, facts: Option<Facts>) -> Stored {
        let cluster = (!uid.is_empty()).then(|| Cluster { uid: uid.into(), epoch: 1, level: 1, floor: 0 });
        Stored { cluster, document, facts }
    }

    #[test]
    fn a_host_joins_once_and_then_only_tells_changes() {
        let facts = Facts { engine: "28".into(), ..Facts::default() };
        let none = stored("", false, None);
        assert_eq!(plan(&none, None, Some(&facts)), [Action::Found]);
        let remember = Action::Remember(joined("u", 1));
        let tell = Action::Facts(facts.clone());
        assert_eq!(
            plan(&stored("u", false, None), None, Some(&facts)),
            [Action::Document, remember.clone(), tell.clone()]
        );
        // A document that a person wrote beforehand stays.
        assert_eq!(plan(&stored("u", true, None), None, None), std::slice::from_ref(&remember));
        let me = joined("u", 1);
        assert_eq!(plan(&stored("u", true, Some(facts.clone())), Some(&me), Some(&facts)), []);
        assert_eq!(plan(&stored("u", true, None), Some(&me), Some(&facts)), [tell]);
        // Deleted by a person: it stays deleted, until an operator declares a new epoch.
        assert_eq!(plan(&stored("u", false, None), Some(&me), None), []);
        assert_eq!(
            plan(&stored("u", false, None), Some(&joined("u", 0)), None),
            [Action::Document, remember]
        );
    }

    #[test]
    fn another_clusters_store_gets_nothing() {
        for stored in [stored("", false, None), stored("v", true, None)] {
            let actions = plan(&stored, Some(&joined("u", 1)), Some(&Facts::default()));
            assert!(matches!(actions.as_slice(), [Action::Refuse { .. }]), "{actions:?}");
        }
    }
}
