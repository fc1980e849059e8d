//! Places for connections: so many in all, and no more than a share of them for one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places, and who has taken how many.
pub struct Places<K: Ord + Clone> {
    all: usize,
    each: usize,
    taken: Mutex<BTreeMap<K, usize>>,
}

/// A place that is taken until this is dropped.
pub struct Place<K: Ord + Clone> {
    places: Arc<Places<K>>,
    whose: K,
}

impl<K: Ord + Clone> Places<K> {
    /// `all` of them, and no more than `each` for one.
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::default() })
    }

    /// A place, if one is left, also for them.
    pub fn take(self: &Arc<Self>, whose: K) -> Option<Place<K>> {
        let mut taken = self.taken();
        let own = taken.get(&whose).copied().unwrap_or(0);
        if own >= self.each || taken.values().sum::<usize>() >= self.all {
            return None;
        }
        taken.insert(whose.clone(), own + 1);
        Some(Place { places: self.clone(), whose })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match taken.get_mut(&self.whose) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.whose)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_more_than_a_share_and_what_is_given_back_is_free() {
        let places = Places::new(3, 2);
        let (one, two) = (places.take("ann").unwrap(), places.take("ann").unwrap());
        assert!(places.take("ann").is_none(), "that was her share");
        let joe = places.take("joe").unwrap();
        assert!(places.take("joe").is_none(), "there is none left");
        drop(one);
        let sue = places.take("sue").unwrap();
        drop((two, joe, sue));
        assert!(places.taken().is_empty());
        assert!(places.take("ann").is_some());
    }
}
