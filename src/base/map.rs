//! Hash maps whose hasher is seeded by the caller.
//!
//! Invariants: no map in the crate uses a hasher of its own choice, so a run is reproducible from
//! its seed, while a production process draws the seed at start and so cannot be attacked with
//! prepared collisions.

use std::hash::Hash;

/// A map with a seeded hasher; make it with [`Hasher::map`].
#[allow(clippy::disallowed_types, reason = "the alias that the rule points to")]
pub type Map<K, V> = std::collections::HashMap<K, V, ahash::RandomState>;

/// A set with a seeded hasher; make it with [`Hasher::set`].
#[allow(clippy::disallowed_types, reason = "the alias that the rule points to")]
pub type Set<K> = std::collections::HashSet<K, ahash::RandomState>;

/// The process's hash seed. Equal hashers give equal hashes, also on different threads.
#[derive(Clone, Debug)]
pub struct Hasher(ahash::RandomState);

impl Hasher {
    /// A hasher from a seed: production draws it once, tests fix it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ahash::RandomState::with_seeds(
            seed,
            seed.rotate_left(16) ^ 0x9e37_79b9_7f4a_7c15,
            seed.rotate_left(32) ^ 0xc2b2_ae3d_27d4_eb4f,
            seed.rotate_left(48) ^ 0x1656_67b1_9e37_79f9,
        ))
    }

    /// The hash of a value.
    pub fn hash<T: Hash + ?Sized>(&self, value: &T) -> u64 {
        self.0.hash_one(value)
    }

    /// An empty map with this seed.
    #[must_use]
    pub fn map<K, V>(&self) -> Map<K, V> {
        Map::with_hasher(self.0.clone())
    }

    /// An empty set with this seed.
    #[must_use]
    pub fn set<K>(&self) -> Set<K> {
        Set::with_hasher(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_hash_alike_and_others_do_not() {
        assert_eq!(Hasher::new(7).hash("a"), Hasher::new(7).hash("a"));
        assert_ne!(Hasher::new(7).hash("a"), Hasher::new(8).hash("a"));
    }
}
