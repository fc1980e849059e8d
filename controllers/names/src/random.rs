//! Chance for the order of answers: cheap, and of no use to an attacker, as nothing is guarded by it.

use std::net::Ipv4Addr;

/// A small generator, one a socket.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * end as u128) >> 64) as usize
    }

    /// The indices below `len` in random order, at most `most` of them.
    pub fn pick(&mut self, len: usize, most: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..len).collect();
        for at in 0..len.min(most) {
            let other = at + self.below(len - at);
            all.swap(at, other);
        }
        all.truncate(most);
        all
    }

    /// Some of `addresses` in random order, at most `most`.
    pub fn addresses(&mut self, addresses: &[Ipv4Addr], most: usize) -> Vec<Ipv4Addr> {
        self.pick(addresses.len(), most).into_iter().filter_map(|at| addresses.get(at).copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_each_at_most_once_and_in_every_order() {
        let mut random = Random::new(1);
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..200 {
            orders.insert(random.pick(3, 30));
        }
        assert_eq!(orders.len(), 6);
        assert_eq!(random.pick(0, 30), Vec::<usize>::new());
        let some: std::collections::BTreeSet<_> = random.pick(100, 30).into_iter().collect();
        assert_eq!(some.len(), 30);
    }
}
