//! How long a client waits before it connects again.
//!
//! Invariants: never shorter than what the server asked for; on top of that a draw from zero to a
//! bound that doubles with each failure up to a cap ("full jitter"), so that clients that were cut
//! together do not come back together.

use crate::base::chance::Chance;
use std::time::Duration;

/// The waiting times of one subscription.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
    chance: Chance,
}

impl Backoff {
    /// Draws from zero to `base` at first, to `cap` at most.
    pub(crate) fn new(base: Duration, cap: Duration, chance: Chance) -> Self {
        Self { base, cap, failures: 0, chance }
    }

    /// The connection worked: the next wait is a short one.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Connections that failed since the last that worked, this one included; and how long to
    /// wait now, at least `floor`.
    pub(crate) fn failed(&mut self, floor: Duration) -> (u32, Duration) {
        let doubled =
            self.base.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let bound = u64::try_from(doubled.min(self.cap).as_micros()).unwrap_or(u64::MAX);
        let drawn = Duration::from_micros(self.chance.below(bound.saturating_add(1)));
        self.failures = self.failures.saturating_add(1);
        (self.failures, floor.saturating_add(drawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(2);

    #[test]
    fn waits_grow_to_the_cap_and_fill_their_range() {
        let mut longest = [Duration::ZERO; 50];
        let mut shortest = [Duration::MAX; 50];
        for seed in 0..200 {
            let mut backoff = Backoff::new(BASE, CAP, Chance::new(seed));
            for n in 0..50 {
                let (failures, wait) = backoff.failed(Duration::ZERO);
                assert_eq!(usize::try_from(failures).unwrap(), n + 1);
                longest[n] = longest[n].max(wait);
                shortest[n] = shortest[n].min(wait);
            }
        }
        for n in 0..50 {
            let bound = BASE.saturating_mul(1 << n.min(10)).min(CAP);
            assert!(longest[n] <= bound && longest[n] > bound * 9 / 10, "failure {n}");
            assert!(shortest[n] < bound / 10, "failure {n}: full jitter starts at zero");
        }
    }

    #[test]
    fn the_servers_wish_is_a_floor_and_success_starts_over() {
        let mut backoff = Backoff::new(BASE, CAP, Chance::new(1));
        let floor = Duration::from_secs(7);
        for _ in 0..20 {
            let wait = backoff.failed(floor).1;
            assert!(wait >= floor && wait <= floor + CAP);
        }
        backoff.succeeded();
        let (failures, wait) = backoff.failed(floor);
        assert!(failures == 1 && wait <= floor + BASE);
    }
}
