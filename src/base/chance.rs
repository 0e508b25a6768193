//! Chance as a parameter: a small generator that a seed determines.
//!
//! Invariants: equal seeds give equal sequences on every machine. Not for secrets: ids and jitter
//! only. Algorithm: `SplitMix64` (public domain, Steele, Lea and Flood 2014).

/// A seeded sequence of numbers.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence that nobody can foretell, from the system's entropy.
    ///
    /// # Errors
    /// The system's entropy source cannot be read.
    pub fn from_system() -> std::io::Result<Self> {
        getrandom::u64().map(Self).map_err(|e| std::io::Error::other(e.to_string()))
    }

    /// The next number.
    #[allow(clippy::should_implement_trait, reason = "an endless sequence is no iterator here")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias is below 2⁻³² for small bounds.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// True once in `n` draws on average; never for 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n != 0 && self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut chance = Chance::new(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            let n = chance.below(5);
            seen[usize::try_from(n).unwrap()] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(chance.below(0), 0);
    }

    #[test]
    fn a_seed_is_a_sequence() {
        let (mut a, mut b) = (Chance::new(9), Chance::new(9));
        assert!((0..100).all(|_| a.next() == b.next()));
    }
}
