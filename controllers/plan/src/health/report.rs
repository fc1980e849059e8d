//! What the store must be told, so that it knows of this host's copies what the host knows.

use std::collections::BTreeMap;

use evenkeel_api::name::InstanceId;
use evenkeel_api::record::Health;

/// A key as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The record; `None`: the value cannot be read.
    pub health: Option<Health>,
    /// The revision of its last change.
    pub mod_revision: i64,
}

/// One key to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Of which copy.
    pub instance: InstanceId,
    /// The record; `None`: remove it, the copy is gone.
    pub health: Option<Health>,
    /// What the key must be at; 0: absent.
    pub revision: i64,
}

/// What to change, at most `most` keys: first what is known of copies, then what is left of those that
/// are gone.
pub fn plan(
    known: &BTreeMap<InstanceId, Health>,
    told: &BTreeMap<InstanceId, Told>,
    most: usize,
) -> Vec<Write> {
    let puts = known.iter().filter_map(|(instance, health)| {
        let old = told.get(instance);
        let news = old.is_none_or(|old| old.health.as_ref() != Some(health));
        let revision = old.map_or(0, |old| old.mod_revision);
        news.then(|| Write { instance: instance.clone(), health: Some(health.clone()), revision })
    });
    let gone = told.iter().filter(|(instance, _)| !known.contains_key(*instance));
    let deletes = gone.map(|(instance, old)| Write {
        instance: instance.clone(),
        health: None,
        revision: old.mod_revision,
    });
    puts.chain(deletes).take(most).collect()
}

#[cfg(test)]
mod tests {
    use evenkeel_api::record::Timestamp;

    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let id = |text: &str| text.parse::<InstanceId>().unwrap();
        let health = |run| Health { started: Timestamp(run), checks: BTreeMap::new() };
        let known =
            [(id("a.b.1.1"), health(1)), (id("a.b.2.2"), health(2)), (id("a.b.3.3"), health(3))].into();
        let told = |health, mod_revision| Told { health, mod_revision };
        let stands = [
            (id("a.b.1.1"), told(Some(health(1)), 7)),
            (id("a.b.2.2"), told(None, 8)),
            (id("a.b.4.4"), told(Some(health(4)), 9)),
        ]
        .into();
        let writes = plan(&known, &stands, 10);
        let short: Vec<_> =
            writes.iter().map(|w| (w.instance.to_string(), w.health.is_some(), w.revision)).collect();
        let want = [("a.b.2.2", true, 8), ("a.b.3.3", true, 0), ("a.b.4.4", false, 9)];
        assert_eq!(short, want.map(|(id, put, at)| (id.to_owned(), put, at)));
        assert_eq!(plan(&known, &stands, 1).len(), 1);
    }
}
