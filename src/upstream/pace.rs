//! How long to wait before the next attempt: reconnection time, exponential back-off, jitter.
//!
//! ```text
//! end of a healthy stream    R  ..  R + SPREAD
//! failure n in a row         R  ..  min(backoff_max, R * 2^n), but at least R
//! with Retry-After           the same, but at least that (five minutes at most)
//! ```
//!
//! R is the reconnection time: what the upstream named last (C6: it lasts over reconnects), at
//! least `backoff_min`, and an hour at most. Both draws are even over their range.
//!
//! Invariants: no wait is shorter than R, and none is longer than the largest of R + `SPREAD`,
//! `backoff_max` and five minutes + `SPREAD`.

use super::RECONNECTION_MAX;
use super::RETRY_AFTER_MAX;
use super::SPREAD;
use crate::base::chance::Chance;
use crate::config::gateway::Upstream;
use std::time::Duration;

/// The pace of one tap's attempts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Failures in a row.
    failures: u32,
    /// The reconnection time that the upstream named, in milliseconds.
    named: Option<u32>,
}

impl Pace {
    /// Failures since the last healthy stream.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The upstream named a reconnection time.
    pub(super) fn name(&mut self, millis: u64) {
        let max = u64::try_from(RECONNECTION_MAX.as_millis()).unwrap_or(u64::MAX);
        self.named = u32::try_from(millis.min(max)).ok();
    }

    /// A stream was healthy.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The reconnection time.
    pub(super) fn reconnection(&self, definition: &Upstream) -> Duration {
        let named = Duration::from_millis(self.named.unwrap_or(0).into());
        named.max(definition.backoff_min)
    }

    /// The wait after the end of a healthy stream.
    pub(super) fn after_end(&self, definition: &Upstream, chance: &mut Chance) -> Duration {
        self.reconnection(definition) + draw(SPREAD, chance)
    }

    /// The wait after one more failure.
    pub(super) fn after_failure(
        &mut self,
        definition: &Upstream,
        retry_after: Option<Duration>,
        chance: &mut Chance,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let least = self.reconnection(definition);
        let most = least.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let room = most.min(definition.backoff_max).saturating_sub(least);
        let wait = least + draw(room, chance);
        let Some(asked) = retry_after.map(|asked| asked.min(RETRY_AFTER_MAX)) else { return wait };
        if wait >= asked { wait } else { asked + draw(SPREAD, chance) }
    }
}

/// From nothing to `room`, evenly.
fn draw(room: Duration, chance: &mut Chance) -> Duration {
    Duration::from_micros(chance.below(u64::try_from(room.as_micros()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::tests::definition;

    const R: Duration = Duration::from_millis(250);

    fn waits(pace: Pace, failures: u32) -> (Duration, Duration) {
        let mut seen = (Duration::MAX, Duration::ZERO);
        for seed in 0..2000 {
            let (mut pace, mut chance) = (pace, Chance::new(seed));
            let mut wait = Duration::ZERO;
            for _ in 0..failures {
                wait = pace.after_failure(&definition(), None, &mut chance);
            }
            seen = (seen.0.min(wait), seen.1.max(wait));
        }
        seen
    }

    #[test]
    fn failures_back_off_with_full_jitter_from_the_reconnection_time() {
        assert_eq!((definition().backoff_min, definition().backoff_max.as_secs()), (R, 30));
        for (failures, most) in [(1, 2 * R), (2, 4 * R), (5, 32 * R), (7, 120 * R), (90, 120 * R)] {
            let (least, largest) = waits(Pace::default(), failures);
            assert!((R..R + most / 50).contains(&least), "{failures}: {least:?}");
            assert!((most - most / 50..=most).contains(&largest), "{failures}: {largest:?}");
        }
    }

    #[test]
    fn an_end_is_followed_by_the_reconnection_time_and_hardly_more() {
        let mut pace = Pace::default();
        for (named, want) in [(500, 500), (10, 250), (u64::MAX, 3_600_000), (700, 700)] {
            pace.name(named);
            let want = Duration::from_millis(want);
            for seed in 0..200 {
                let wait = pace.after_end(&definition(), &mut Chance::new(seed));
                assert!((want..=want + SPREAD).contains(&wait), "{named}: {wait:?}");
            }
        }
    }

    #[test]
    fn a_long_reconnection_time_is_kept_by_failures() {
        let mut pace = Pace::default();
        pace.name(60_000);
        assert_eq!(waits(pace, 3), (Duration::from_secs(60), Duration::from_secs(60)));
    }

    #[test]
    fn retry_after_is_the_least_up_to_its_cap() {
        for (asked, least) in [(0, 0), (7, 7), (300, 300), (100_000, 300)] {
            let asked = Some(Duration::from_secs(asked));
            let least = Duration::from_secs(least).max(R);
            for seed in 0..200 {
                let mut chance = Chance::new(seed);
                let wait = Pace::default().after_failure(&definition(), asked, &mut chance);
                assert!((least..=least + 2 * R).contains(&wait), "{asked:?}: {wait:?}");
            }
        }
    }
}
